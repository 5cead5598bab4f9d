//! Makes the world and the kept corpus anew: `cargo run --bin seed` in this folder. Every key is fresh, so everything that
//! the corpus had before is replaced. Only certificates, packages and signatures are written, no private key.

use std::fs;
use std::path::Path;

use flate2::{Compress, Compression, FlushCompress};
use mexe_forge::ccm::Message;
use mexe_forge::cms::{Defect, detached, stamped};
use mexe_forge::jad::JadBuilder;
use mexe_forge::jar::{JarBuilder, SignOptions};
use mexe_forge::pki::{Authority, DemoPki, KeyKind, ListShape, Shape, Signer, pem};
use mexe_forge::rotation::Statement;
use mexe_forge::timestamp::{self, token};
use mexe_forge::usim::{Body, Card, CardKind, Slot, wtls_signed, wtls_to_be_signed};
use mexe_fuzz::{APP, AT, DEVICE, NEW_KEY, OLD_KEY, PROGRAM, filled};
use mexe_model::{SecurityDomain, WallTime};
use mexe_wire::socks5::client;
use mexe_wire::{RawHost, Target};

type Done<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Done<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (world, corpus) = (here.join("world"), here.join("corpus"));
    for folder in [&world, &corpus] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
    }
    let keep = |target: &str, name: &str, bytes: &[u8]| -> Done<()> {
        fs::create_dir_all(corpus.join(target))?;
        Ok(fs::write(corpus.join(target).join(name), bytes)?)
    };
    let days = |days: u64| WallTime::from_secs(AT.as_secs() + days * 86_400);
    let sound = Shape::at(AT);
    let root = Authority::root("Root", &sound)?;
    let soon = Shape { not_after: days(10), ..Shape::at(AT) };
    // RSA, because a descriptor knows nothing else.
    let signer = root.signer("Signer", &soon.clone().with_key(KeyKind::Rsa2048))?;
    let times = Authority::root("Times", &sound)?;
    let clock = times.signer("Clock", &Shape { time_stamping: Some(true), ..Shape::at(AT) })?;
    fs::write(world.join("root.der"), root.certificate())?;
    fs::write(world.join("times.der"), times.certificate())?;
    fs::write(world.join("signer.der"), signer.certificate())?;

    let package = || {
        JarBuilder::new()
            .attribute("MExE-Name", APP)
            .entry("com/example/Main.class", "class bytes")
            .entry("data.bin", [7; 300])
    };
    let signed = package().sign(&signer)?;
    fs::write(world.join("signed.jar"), &signed)?;
    keep("container", "signed", &signed)?;
    keep("container", "unsigned", &package().unsigned()?)?;
    let other = root.signer("Other", &soon.with_key(KeyKind::Ed25519))?;
    fs::write(world.join("other.der"), other.certificate())?;
    keep("container", "two-signers", &package().sign_all(&[("A", &signer), ("B", &other)])?)?;
    let sections =
        SignOptions { whole_manifest: false, digests: vec!["SHA-384", "SHA-512"], ..SignOptions::default() };
    keep("container", "sections", &package().options(sections).sign(&signer)?)?;

    streams(&keep)?;
    manifests(&signer, &keep)?;
    suite(&world, &signer, &keep)?;

    let signature = detached(&signer, PROGRAM, true, Defect::None)?;
    fs::write(world.join("program.p7s"), &signature)?;
    keep("cms", "signature", &signature)?;
    keep("cms", "pem", pem("CMS", &signature).as_bytes())?;
    keep("cms", "no-attributes", &detached(&signer, PROGRAM, false, Defect::None)?)?;
    keep("cms", "ed25519", &detached(&other, PROGRAM, true, Defect::None)?)?;
    keep("cms", "unsigned-attributes", &detached(&other, PROGRAM, true, Defect::UnsignedAttributes)?)?;
    let stamp = |value: &[u8]| token(&clock, value, AT, timestamp::Defect::None).into_iter().collect();
    keep("cms", "stamped", &stamped(&signer, PROGRAM, stamp)?)?;
    // The signer's value is the same each time: RSA with PKCS #1 v1.5.
    for (name, defect) in [
        ("sound", timestamp::Defect::None),
        ("weak", timestamp::Defect::ImprintWeak),
        ("critical", timestamp::Defect::CriticalExtension),
        ("other", timestamp::Defect::OtherNamed),
    ] {
        let mut made = Vec::new();
        let take = |value: &[u8]| {
            made = token(&clock, value, AT, defect).unwrap_or_default();
            Vec::new()
        };
        stamped(&signer, PROGRAM, take)?;
        keep("timestamp", name, &made)?;
    }

    let list = ListShape::at(AT);
    keep("crl", "empty", &root.list(&list)?)?;
    keep("crl", "revoked", &root.list(&list.clone().revoking(signer.certificate(), AT)?)?)?;
    keep("crl", "future", &root.list(&list.clone().revoking(signer.certificate(), days(5))?)?)?;
    keep("crl", "pem", pem("X509 CRL", &root.list(&list)?).as_bytes())?;
    keep("crl", "others", &times.list(&list)?)?;

    messages(&root, &times, &keep)?;
    cards(&keep)?;
    datagrams(&keep)
}

/// Packed data of each kind of block, behind two bytes that say how they are cut into pieces.
fn streams(keep: &impl Fn(&str, &str, &[u8]) -> Done<()>) -> Done<()> {
    let words = b"the gate opens a connection only after both agree; ".repeat(20);
    let mixed: Vec<u8> = (0..3000_u32).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 24) as u8).collect();
    let few: Vec<u8> = mixed.iter().map(|byte| byte & 0x3F).collect();
    let contents = [("words", words), ("short", b"gate gate gate".to_vec()), ("mixed", mixed), ("few", few)];
    for (name, plain) in contents {
        let mut packer = Compress::new(Compression::best(), false);
        let mut stream = Vec::with_capacity(plain.len() + 100);
        packer.compress_vec(&plain, &mut stream, FlushCompress::Finish)?;
        keep("inflate", name, &[&[15, 15], &stream[..]].concat())?;
        keep("inflate", &format!("{name}-pieces"), &[&[2, 4], &stream[..]].concat())?;
    }
    Ok(())
}

fn manifests(signer: &Signer, keep: &impl Fn(&str, &str, &[u8]) -> Done<()>) -> Done<()> {
    let package =
        || JarBuilder::new().attribute("MExE-Name", APP).entry("a", "one").entry("b/C.class", "two");
    let halves = |options: SignOptions| -> Done<[Vec<u8>; 2]> {
        let mut parts = package().options(options).sign_parts(&[("A", signer)])?.into_iter();
        let mut next = || parts.next().map(|(_, bytes)| bytes).unwrap_or_default();
        Ok([next(), next()])
    };
    let [manifest, file] = halves(SignOptions::default())?;
    keep("manifest", "manifest", &manifest)?;
    keep("manifest", "both", &[&manifest[..], &[0xff], &file].concat())?;
    let line_feeds = String::from_utf8(manifest)?.replace("\r\n", "\n");
    keep("manifest", "line-feeds", line_feeds.as_bytes())?;
    let [manifest, file] = halves(SignOptions { whole_manifest: false, ..SignOptions::default() })?;
    keep("manifest", "sections", &[&manifest[..], &[0xff], &file].concat())?;
    let [manifest, file] =
        halves(SignOptions { digests: vec!["SHA-1", "SHA-512", "SHA-256"], ..SignOptions::default() })?;
    keep("manifest", "digests", &[&manifest[..], &[0xff], &file].concat())?;
    let asking = "Manifest-Version: 1.0\r\nMExE-Permissions: network.connect,no.such\r\nMExE-Runtime: native\r\n\
                  MExE-Executable: b/C.cl\r\n ass\r\nMIDlet-Permissions-Opt: javax.microedition.io.Connector.http\r\n\r\n";
    keep("manifest", "asking", asking.as_bytes())
}

fn suite(world: &Path, signer: &Signer, keep: &impl Fn(&str, &str, &[u8]) -> Done<()>) -> Done<()> {
    let identity = [("MIDlet-Name", "Sample"), ("MIDlet-Version", "1.0"), ("MIDlet-Vendor", "Example")];
    let package =
        identity.iter().fold(JarBuilder::new(), |package, (name, value)| package.attribute(name, value));
    let package = package.entry("A.class", "class bytes").unsigned()?;
    fs::write(world.join("suite.jar"), &package)?;
    let plain = identity.iter().fold(JadBuilder::for_package(&package), |descriptor, (name, value)| {
        descriptor.attribute(name, value)
    });
    keep("jad", "unsigned", plain.build().as_bytes())?;
    let signed = plain.sign(&package, signer)?;
    let text = signed.build();
    let value =
        text.lines().find_map(|line| line.strip_prefix("MIDlet-Jar-RSA-SHA256: ")).unwrap_or_default();
    fs::write(
        world.join("suite.signature"),
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, value)?,
    )?;
    keep("jad", "signed", text.as_bytes())?;
    let ways = signed.way(2, &signer.chain);
    keep("jad", "two-ways", ways.build().as_bytes())?;
    keep("jad", "asking", ways.attribute("MIDlet-Permissions-Opt", "no.such").build().as_bytes())
}

fn messages(root: &Authority, heir: &Authority, keep: &impl Fn(&str, &str, &[u8]) -> Done<()>) -> Done<()> {
    let key = mexe_forge::sealed::key_hash(root.certificate())?;
    let message = |sequence| Message::new(root.certificate(), DEVICE, sequence, AT);
    let open = |content: Vec<u8>| filled(&content, &[(key, OLD_KEY)]);
    keep("ccm", "replace-all", &open(message(1)?.replace_all(&[heir.certificate()]).content()?))?;
    keep("ccm", "enable", &open(message(2)?.enable(&[heir.certificate()], None).content()?))?;
    keep("ccm", "disable", &open(message(3)?.disable(&[heir.certificate()])?.content()?))?;
    keep("ccm", "hand-over", &open(message(4)?.replace_all(&[]).hand_over(heir.certificate()).content()?))?;
    keep("ccm", "sealed", &message(5)?.replace_all(&[]).sign(&root.as_signer()?)?)?;
    let statement = |name: &str| {
        let mut made =
            Statement::new(SecurityDomain::ThirdParty, name, root.certificate(), heir.certificate(), AT)?;
        (made.old_key, made.new_key) = (OLD_KEY.to_vec(), NEW_KEY.to_vec());
        Ok::<_, mexe_forge::Fault>(made)
    };
    keep("rotation", "sound", &statement(APP)?.content()?)?;
    keep("rotation", "other-name", &statement("other")?.content()?)?;
    keep(
        "rotation",
        "sealed",
        &statement(APP)?.sign(&root.as_signer()?, mexe_forge::sealed::SealDefect::None)?,
    )
}

fn cards(keep: &impl Fn(&str, &str, &[u8]) -> Done<()>) -> Done<()> {
    let mut several = Card::new(CardKind::Usim);
    for slot in [Slot::Operator, Slot::Administrator, Slot::ThirdParty] {
        several.add_root(slot, Authority::root("Card Root", &Shape::at(AT))?.certificate())?;
    }
    for (name, card) in [
        ("demo", Card::demo(&DemoPki::make(AT)?)?),
        ("several", several),
        ("empty", Card::new(CardKind::GsmSim)),
    ] {
        keep("usim", name, &card_bytes(&card))?;
    }
    let name = b"\x30\x0f\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x0c\x04Root";
    let wtls = wtls_to_be_signed(name, 1_700_000_000, 1_900_000_000, &[1, 0, 1], &[0xC5; 128]);
    keep("wtls", "rsa", &wtls_signed(&wtls, &[0x11; 128]))?;
    keep("wtls", "no-signature", &wtls_signed(&wtls, &[]))?;
    keep(
        "wtls",
        "null-names",
        b"\x01\x02\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x02\x00\x00\x01\x03\x00\x01\x0f\x00\x01\x11",
    )?;
    keep(
        "wtls",
        "text",
        b"\x01\x01\x01\x00\x6a\x04Root\x00\x00\x00\x00\x7f\xff\xff\xff\x02\x01A\x03\x00\x01\x02\x00\x01\x11",
    )
}

fn datagrams(keep: &impl Fn(&str, &str, &[u8]) -> Done<()>) -> Done<()> {
    for (name, host, payload) in [
        ("ipv4", RawHost::Address("192.0.2.1".parse()?), &b"question"[..]),
        ("ipv6", RawHost::Address("2001:db8::1".parse()?), b"question"),
        ("name", RawHost::Name("Example.ORG".to_owned()), b"question"),
        ("longest-name", RawHost::Name("a".repeat(255)), b"?"),
        ("empty", RawHost::Name("b.example".to_owned()), b""),
    ] {
        keep("datagram", name, &client::datagram(&Target { host, port: 53 }, payload)?)?;
    }
    keep("datagram", "fragment", b"\0\0\x01\x01\xc0\x00\x02\x01\x00\x35part")?;
    keep("datagram", "port-0", b"\0\0\0\x01\xc0\x00\x02\x01\x00\x00")?;
    keep("datagram", "no-utf-8", b"\0\0\0\x03\x02\xc3\x28\x00\x35")?;
    keep("datagram", "short", b"\0\0\0\x03\x0bexample.org\x01")
}

/// The card as the target `usim` reads it.
fn card_bytes(card: &Card) -> Vec<u8> {
    let mut out = vec![u8::from(card.kind == CardKind::GsmSim)];
    let mut file = |id: u16, contents: &[u8]| {
        out.extend(id.to_be_bytes());
        out.extend(u16::try_from(contents.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(contents);
    };
    file(0x2FE2, card.iccid.as_bytes());
    file(0x6F07, card.imsi.as_bytes());
    for (path, body) in card.tree() {
        let Some(id) = path.last() else { continue };
        match body {
            Body::Transparent(bytes) => file(*id, &bytes),
            Body::Records(records) => {
                let length = records.first().map_or(1, Vec::len);
                let header = [u8::try_from(length).unwrap_or(u8::MAX)];
                file(*id, &[&header[..], &records.concat()].concat());
            }
        }
    }
    out
}
