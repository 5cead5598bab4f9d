//! The engine against the JDK's own tools: packages that keytool and jarsigner made verify, and from each of them every
//! way to break it is refused by its reason. What jarsigner says of the same bytes is written beside ours: where it has
//! an opinion, ours is never the laxer one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests that run outside tools"
)]

#[path = "support/java.rs"]
mod java;
mod support;

use java::{Workshop, now, succeeds};
use mexe_certs::{RootKind, TrustStore, TrustVerdict};
use mexe_model::{Reason, SecurityDomain};
use support::{judge_at, replaced};

/// What jarsigner says: its exit status under `-strict`, and a part of its text.
type Theirs = (i32, &'static str);

const VERIFIED: Theirs = (0, "jar verified.");

/// jarsigner 17 verifies it, because it does not look there; later ones look at more. Only ours is asserted.
const NO_OPINION: Theirs = (-1, "");

#[track_caller]
fn verified(shop: &Workshop, what: &str, bytes: &[u8], store: &TrustStore, domain: SecurityDomain) {
    match judge_at(bytes, store, now()).verdict {
        TrustVerdict::Verified(voucher) => assert_eq!(voucher.domain, domain, "{what}"),
        other => panic!("{what}: expected it verified into {domain}, got {other:?}"),
    }
    agrees(shop, what, bytes, VERIFIED);
}

#[track_caller]
fn not_verified(
    shop: &Workshop,
    what: &str,
    bytes: &[u8],
    store: &TrustStore,
    reason: Reason,
    theirs: Theirs,
) {
    let verdict = judge_at(bytes, store, now()).verdict;
    assert_eq!(verdict.reason(), Some(reason), "{what}: {verdict:?}");
    agrees(shop, what, bytes, theirs);
}

#[track_caller]
fn agrees(shop: &Workshop, what: &str, bytes: &[u8], theirs: Theirs) {
    if theirs == NO_OPINION {
        return;
    }
    let opinion = shop.opinion(bytes);
    assert!(
        opinion.exit == theirs.0 && opinion.says.contains(theirs.1),
        "{what}: jarsigner says {opinion:?}"
    );
}

#[test]
fn what_jarsigner_signs_verifies_in_the_domain_of_its_root() {
    let shop = Workshop::new();
    shop.jar("plain.jar");
    shop.root("root");
    shop.issuer("issuer", "root");
    let store = shop.store(&[(RootKind::Manufacturer, "root")]);
    for (alias, how) in [
        ("rsa2048", "-keyalg RSA -keysize 2048"),
        ("rsa3072", "-keyalg RSA -keysize 3072"),
        ("p256", "-keyalg EC -groupname secp256r1"),
        ("p384", "-keyalg EC -groupname secp384r1"),
        ("p521", "-keyalg EC -groupname secp521r1"),
        ("ed25519", "-keyalg Ed25519"),
    ] {
        shop.signer(alias, "issuer", how);
        let package = shop.sign("plain.jar", "signed.jar", alias, "");
        verified(&shop, alias, &package, &store, SecurityDomain::Manufacturer);
        let facts = judge_at(&package, &store, now()).package.unwrap();
        assert_eq!((facts.name.as_deref(), facts.version.as_deref()), (Some("sample"), Some("1.0")));
    }
    for how in ["-sigalg RSASSA-PSS", "-sigalg SHA512withRSA -digestalg SHA-512", "-sigalg SHA384withRSA"] {
        let package = shop.sign("plain.jar", "signed.jar", "rsa2048", how);
        verified(&shop, how, &package, &store, SecurityDomain::Manufacturer);
    }
}

#[test]
fn a_signature_without_signed_attributes_verifies_for_both() {
    let shop = Workshop::new();
    shop.jar("plain.jar");
    shop.root("root");
    shop.signer("leaf", "root", "-keyalg RSA -keysize 2048");
    let store = shop.store(&[(RootKind::ThirdParty, "root")]);
    shop.sign("plain.jar", "signed.jar", "leaf", "");
    // The same signature file, signed by openssl directly, as signers did before they signed attributes.
    let mut unzip = shop.tool("python3");
    unzip.args(["-c", "import zipfile; zipfile.ZipFile('signed.jar').extract('META-INF/LEAF.SF')"]);
    succeeds(unzip);
    let mut export = shop.tool("openssl");
    export.args(["pkcs12", "-in", "keys.p12", "-passin", "pass:changeit", "-nodes", "-out", "all.pem"]);
    succeeds(export);
    shop.write("leaf.pem", shop.keytool("-exportcert -rfc -alias leaf"));
    shop.write("root.pem", shop.keytool("-exportcert -rfc -alias root"));
    let key = key_of(&shop.read("all.pem"), "leaf");
    shop.write("leaf.key", key);
    let mut sign = shop.tool("openssl");
    sign.args("cms -sign -binary -noattr -outform DER -md sha256 -in META-INF/LEAF.SF".split(' '));
    sign.args("-signer leaf.pem -inkey leaf.key -certfile root.pem -out block".split(' '));
    succeeds(sign);
    let package = shop.edit("signed.jar", "replace META-INF/LEAF.RSA block");
    verified(&shop, "without signed attributes", &package, &store, SecurityDomain::ThirdParty);
}

/// The private key of an alias, out of what `openssl pkcs12 -nodes` prints.
fn key_of(pem: &[u8], alias: &str) -> String {
    let text = String::from_utf8(pem.to_vec()).unwrap();
    let (_, of_alias) = text.split_once(&format!("friendlyName: {alias}\n")).unwrap();
    let (_, key) = of_alias.split_once("-----BEGIN PRIVATE KEY-----").unwrap();
    let (key, _) = key.split_once("-----END PRIVATE KEY-----").unwrap();
    format!("-----BEGIN PRIVATE KEY-----{key}-----END PRIVATE KEY-----\n")
}

#[test]
fn every_way_to_break_a_signed_package_is_refused_by_its_reason() {
    let shop = Workshop::new();
    shop.jar("plain.jar");
    shop.root("root");
    shop.issuer("issuer", "root");
    shop.signer("leaf", "issuer", "-keyalg EC -groupname secp256r1");
    let store = shop.store(&[(RootKind::Operator, "root")]);
    let signed = shop.sign("plain.jar", "signed.jar", "leaf", "");
    verified(&shop, "as signed", &signed, &store, SecurityDomain::Operator);
    let broken =
        |what, bytes: &[u8], reason, theirs| not_verified(&shop, what, bytes, &store, reason, theirs);

    shop.write("changed", "class A: some bytes that stand for Code");
    let package = shop.edit("signed.jar", "replace com/A.class changed");
    broken("a byte of a class changed", &package, Reason::EntryChanged, (1, "digest error"));

    let package = with_a_damaged_byte(&signed, "com/A.class");
    broken("a byte of a packed class damaged", &package, Reason::EntryChanged, (1, "digest error"));

    let package = shop.edit("signed.jar", "add com/C.class changed");
    broken("an entry added", &package, Reason::EntryUnsigned, (16, "unsigned entries"));

    let package = shop.edit("signed.jar", "add META-INF/versions/9/com/A.class changed");
    broken("a version of a class added", &package, Reason::EntryUnsigned, (16, "unsigned entries"));

    // jarsigner 17 does not miss an entry.
    let package = shop.edit("signed.jar", "remove com/A.class");
    broken("an entry removed", &package, Reason::EntryMissing, NO_OPINION);

    let manifest = manifest_of(&shop, "signed.jar");
    shop.write("wrapped", manifest.replace("MExE-Name: sample", "MExE-Name: sam\r\n ple"));
    let package = shop.edit("signed.jar", "replace META-INF/MANIFEST.MF wrapped");
    broken("the manifest wrapped anew", &package, Reason::SignatureWrong, (1, "SecurityException"));

    shop.sign("plain.jar", "other.jar", "leaf", "-digestalg SHA-512");
    shop.write("other.sf", entry_of(&shop, "other.jar", "META-INF/LEAF.SF"));
    let package = shop.edit("signed.jar", "replace META-INF/LEAF.SF other.sf");
    broken(
        "the signature file of another package",
        &package,
        Reason::SignatureWrong,
        (1, "SecurityException"),
    );

    // A package without its block is unsigned to the JDK; half a signature is broken to us.
    let package = shop.edit("signed.jar", "remove META-INF/LEAF.EC");
    broken("the block removed", &package, Reason::SignatureMalformed, (16, "treated as unsigned"));

    let package = shop.edit("signed.jar", "add com/A.class changed");
    broken("a name twice", &package, Reason::DuplicateEntry, (1, ""));

    // The JDK allows bytes in front of an archive.
    let package = [b"#!/bin/sh\nexit\n", signed.as_slice()].concat();
    broken("bytes in front", &package, Reason::ContainerMalformed, NO_OPINION);

    let package = [signed.as_slice(), b"more"].concat();
    broken("bytes behind", &package, Reason::ContainerMalformed, NO_OPINION);

    let package = with_another_local_name(&signed, "com/A.class", "com/X.class");
    broken("local and central name differ", &package, Reason::ContainerMalformed, NO_OPINION);
}

#[test]
fn signers_that_may_not_vouch_are_refused_by_their_reason() {
    let shop = Workshop::new();
    shop.jar("plain.jar");
    shop.root("root");
    let rsa = "-keyalg RSA -keysize 2048";
    shop.signer("good", "root", rsa);
    shop.signer("expired", "root", &format!("{rsa} -startdate -400d"));
    shop.signer("future", "root", &format!("{rsa} -startdate +10d"));
    shop.signer("small", "root", "-keyalg RSA -keysize 1024");
    shop.signer("dsa", "root", "-keyalg DSA -keysize 2048");
    let plain = |alias: &str, how: &str| {
        shop.keytool(&format!(
            "-genkeypair -alias {alias} -signer root -dname CN={alias} -validity 365 {rsa} {how}"
        ));
    };
    plain("purposeless", "-ext ku:c=digitalSignature");
    plain("server", "-ext ku:c=digitalSignature -ext eku=serverAuth");
    plain("encrypting", "-ext ku:c=keyEncipherment -ext eku=codeSigning");
    plain("sha1", "-sigalg SHA1withRSA -ext ku:c=digitalSignature -ext eku=codeSigning");
    let store = shop.store(&[(RootKind::Operator, "root")]);
    for (alias, how, reason, theirs) in [
        ("expired", "", Reason::CertificateExpired, (4, "expired")),
        ("future", "", Reason::CertificateNotYetValid, (4, "not yet valid")),
        ("small", "", Reason::KeyTooSmall, VERIFIED),
        ("dsa", "", Reason::AlgorithmWeak, VERIFIED),
        ("purposeless", "", Reason::UsageNotCodeSigning, VERIFIED),
        ("server", "", Reason::UsageNotCodeSigning, (8, "")),
        ("encrypting", "", Reason::UsageNotCodeSigning, (16, "treated as unsigned")),
        ("sha1", "", Reason::AlgorithmWeak, (4, "")),
        ("good", "-sigalg SHA1withRSA -digestalg SHA-1", Reason::AlgorithmWeak, (16, "unsigned")),
        ("good", "-digestalg SHA-1", Reason::AlgorithmWeak, (16, "unsigned")),
    ] {
        let package = shop.sign("plain.jar", "signed.jar", alias, how);
        not_verified(&shop, &format!("{alias} {how}"), &package, &store, reason, theirs);
    }
    let package = shop.sign("plain.jar", "signed.jar", "good", "");
    let nobody = TrustStore::builder().build();
    not_verified(&shop, "unknown root", &package, &nobody, Reason::NoRoot, VERIFIED);
    let package = shop.read("plain.jar");
    not_verified(&shop, "unsigned", &package, &store, Reason::Unsigned, (16, "jar is unsigned"));
    // What is broken is said before what is weak, for signers of known and unknown roots alike.
    shop.write("changed", "other");
    shop.sign("plain.jar", "signed.jar", "good", "-sigalg SHA1withRSA -digestalg SHA-1");
    let package = shop.edit("signed.jar", "replace com/A.class changed");
    for store in [&store, &nobody] {
        assert_eq!(judge_at(&package, store, now()).verdict.reason(), Some(Reason::EntryChanged));
    }
}

#[test]
fn a_second_signer_must_be_of_the_same_domain() {
    let shop = Workshop::new();
    shop.jar("plain.jar");
    for root in ["one", "two"] {
        shop.root(root);
    }
    shop.signer("first", "one", "-keyalg RSA -keysize 2048");
    shop.signer("second", "two", "-keyalg EC -groupname secp256r1");
    shop.sign("plain.jar", "signed.jar", "first", "");
    let package = shop.sign("signed.jar", "twice.jar", "second", "");
    let same = shop.store(&[(RootKind::ThirdParty, "one"), (RootKind::Administrator, "two")]);
    verified(&shop, "two signers of one domain", &package, &same, SecurityDomain::ThirdParty);
    // Domains are ours: jarsigner has no opinion on them.
    let apart = shop.store(&[(RootKind::Operator, "one"), (RootKind::ThirdParty, "two")]);
    not_verified(&shop, "two domains", &package, &apart, Reason::AmbiguousDomain, VERIFIED);
    let half = shop.store(&[(RootKind::Operator, "one")]);
    not_verified(&shop, "one of two known", &package, &half, Reason::NoRoot, VERIFIED);
}

#[test]
fn what_the_forge_signs_is_what_jarsigner_accepts() {
    use mexe_forge::pki::{Authority, KeyKind, Shape};
    let shop = Workshop::new();
    for key in [KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048, KeyKind::Ed25519] {
        let shape = Shape::at(now()).with_key(key);
        let root = Authority::root("Forged Root", &shape).unwrap();
        let signer = root.intermediate("Issuer", &shape).unwrap().signer("Signer", &shape).unwrap();
        shop.write("root.pem", root.pem());
        let alias = format!("{key:?}");
        // jarsigner wants the signer itself to be known, and a root to end in.
        shop.write("signer.pem", mexe_forge::pki::pem("CERTIFICATE", signer.certificate()));
        shop.keytool(&format!("-importcert -noprompt -alias {alias}root -file root.pem"));
        shop.keytool(&format!("-importcert -noprompt -alias {alias} -file signer.pem"));
        let store = support::store_at(&[(RootKind::Operator, &root)], now());
        verified(&shop, &alias, &support::sample().sign(&signer).unwrap(), &store, SecurityDomain::Operator);
    }
}

fn entry_of(shop: &Workshop, package: &str, name: &str) -> Vec<u8> {
    let bytes = shop.read(package);
    let size = bytes.len() as u64;
    mexe_certs::read_entry(std::io::Cursor::new(bytes), size, name, &mexe_certs::Limits::default()).unwrap()
}

fn manifest_of(shop: &Workshop, package: &str) -> String {
    String::from_utf8(entry_of(shop, package, "META-INF/MANIFEST.MF")).unwrap()
}

/// One byte of the entry's packed data is another.
fn with_a_damaged_byte(package: &[u8], name: &str) -> Vec<u8> {
    let mut bytes = package.to_vec();
    let at = local_name(&bytes, name);
    bytes[at + name.len() + 8] ^= 0x55;
    bytes
}

/// The local header has another name than the central directory.
fn with_another_local_name(package: &[u8], name: &str, other: &str) -> Vec<u8> {
    let mut bytes = package.to_vec();
    let at = local_name(&bytes, name);
    let changed = replaced(&bytes[at..at + name.len()], name, other);
    bytes[at..at + name.len()].copy_from_slice(&changed);
    bytes
}

/// Where the name stands in the entry's local header.
fn local_name(package: &[u8], name: &str) -> usize {
    (30..package.len())
        .find(|at| {
            package[*at..].starts_with(name.as_bytes()) && package[*at - 30..].starts_with(b"PK\x03\x04")
        })
        .unwrap()
}
