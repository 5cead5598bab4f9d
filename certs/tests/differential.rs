//! The engine against two judges at once, over some hundred packages: sound ones made here, by jarsigner and by openssl, and
//! what a seeded mutator makes of them. Whatever the engine verifies, the judge must verify too, with the same roots. What
//! only the judge verifies is counted and printed: the engine is the stricter one on purpose.
//!
//! The changes are the same each time, while keys are made anew; `MEXEGATE_SEED=N` chooses others. A package that fails is
//! kept, and named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests that run outside tools"
)]

#[path = "support/java.rs"]
mod java;
#[path = "support/mutator.rs"]
mod mutator;
#[path = "support/openssl.rs"]
mod openssl;
mod support;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use java::{Opinion, Workshop, now};
use mexe_certs::{Evidence, Limits, RootKind, Timestamp, TrustStore, TrustVerdict, verify};
use mexe_forge::cms::{Defect, detached, stamped};
use mexe_forge::jar::{JarBuilder, Part, SignOptions, pack};
use mexe_forge::pki::{Authority, KeyKind, Shape, Signer};
use mexe_forge::timestamp::{self, token};
use mexe_model::{Reason, SecurityDomain};
use mutator::{ELEMENTS, LAYOUTS, LINES, Random};
use openssl::{Bench, CODE};
use support::sample;

/// What was judged, in a word or two, and its bytes.
type Case = (String, Vec<u8>);

/// A package, its files, and who signed it, if that key is at hand.
struct Good<'a> {
    what: String,
    parts: Vec<Part>,
    signer: Option<&'a Signer>,
}

#[derive(Default)]
struct Tally {
    both: usize,
    neither: usize,
    only_judge: BTreeMap<String, usize>,
    stamp_ignored: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn note(&mut self, case: &Case, ours: &TrustVerdict, judge: bool, says: &str) {
        match (ours, judge) {
            (TrustVerdict::Verified(_), true) => self.both += 1,
            // The engine gives nothing for a timestamp by strangers; the judge refuses the whole package for it.
            (TrustVerdict::Verified(voucher), false)
                if voucher.signers.iter().any(|s| matches!(s.timestamp, Timestamp::Ignored { .. })) =>
            {
                self.stamp_ignored += 1;
            }
            (TrustVerdict::Verified(_), false) => {
                let kept = std::env::temp_dir().join(format!("differential-{}", self.wrong.len()));
                std::fs::write(&kept, &case.1).unwrap();
                self.wrong.push(format!("{} ({}): {says}", case.0, kept.display()));
            }
            (_, true) => {
                let code = ours.reason().unwrap().code();
                *self.only_judge.entry(format!("{code}: {}", case.0)).or_default() += 1;
            }
            (_, false) => self.neither += 1,
        }
    }

    #[track_caller]
    fn settle(&self, judge: &str, least: usize) {
        let Self { both, neither, only_judge, stamp_ignored, wrong } = self;
        let only: usize = only_judge.values().sum();
        let all = both + neither + only + stamp_ignored + wrong.len();
        eprintln!(
            "{all} judged: {both} verified by both, {neither} by neither, {only} by {judge} only, {stamp_ignored} with a \
             timestamp that counts for nothing"
        );
        for (why, times) in only_judge {
            eprintln!("  {judge} only, {times} times: {why}");
        }
        assert!(wrong.is_empty(), "verified by the engine, and not by {judge}:\n{}", wrong.join("\n"));
        assert!(all >= least && *both >= least / 20 && *neither >= least / 20, "only {all} judged");
    }
}

fn ours(bytes: &[u8], evidence: Evidence<'_>, store: &TrustStore) -> TrustVerdict {
    verify(Cursor::new(bytes), bytes.len() as u64, evidence, store, now(), &Limits::default()).verdict
}

/// Exit status 32 only says that the signer is not in the keystore by name; whether its chain leads to one of the roots there
/// is in status 4.
fn verified(opinion: &Opinion) -> bool {
    opinion.exit & !32 == 0 && opinion.says.contains("jar verified")
}

struct Signers {
    root: Authority,
    times: Authority,
    clock: Signer,
    all: Vec<Signer>,
}

impl Signers {
    fn new() -> Self {
        let sound = Shape::at(now());
        let root = Authority::root("Forged Root", &sound).unwrap();
        let issuer = root.intermediate("Forged Issuer", &sound).unwrap();
        let kinds = [KeyKind::P256, KeyKind::Rsa2048, KeyKind::P384, KeyKind::Ed25519];
        let signer =
            |kind: KeyKind| issuer.signer(&format!("{kind:?}"), &sound.clone().with_key(kind)).unwrap();
        let all = kinds.map(signer).into();
        let times = Authority::root("Forged Times", &sound).unwrap();
        let clock = times.signer("Clock", &Shape { time_stamping: Some(true), ..Shape::at(now()) }).unwrap();
        Self { root, times, clock, all }
    }

    fn store(&self, others: &[Vec<u8>]) -> TrustStore {
        let mut builder = TrustStore::builder();
        for root in others.iter().map(Vec::as_slice).chain([self.root.certificate()]) {
            builder.add(RootKind::Manufacturer, "root", root, now())[0].as_ref().unwrap();
        }
        let domain = SecurityDomain::Manufacturer;
        builder.add_timestamping(domain, "times", self.times.certificate(), now())[0].as_ref().unwrap();
        builder.build()
    }

    /// The packages that are made here.
    fn packages(&self) -> Vec<Good<'_>> {
        let mut all = Vec::new();
        for signer in &self.all {
            for digests in
                [vec!["SHA-256"], vec!["SHA-384"], vec!["SHA-512", "SHA-256"], vec!["SHA-1", "SHA-256"]]
            {
                for (signed_attributes, whole_manifest) in [(true, true), (true, false), (false, true)] {
                    let what = format!("forged {digests:?} {signed_attributes} {whole_manifest}");
                    let options = SignOptions {
                        digests: digests.clone(),
                        signed_attributes,
                        whole_manifest,
                        ..SignOptions::default()
                    };
                    let parts = sample().options(options).sign_parts(&[("A", signer)]).unwrap();
                    all.push(Good { what, parts, signer: Some(signer) });
                }
            }
            let parts = JarBuilder::new().entry("a", "b").sign_parts(&[("A", signer)]).unwrap();
            all.push(Good {
                what: "forged, stamped".to_owned(),
                parts: self.stamped(parts, signer),
                signer: None,
            });
        }
        let [one, two, three, ..] = self.all.as_slice() else { panic!() };
        for signers in [vec![("A", one), ("B", two)], vec![("A", two), ("B", one), ("C", three)]] {
            let parts = sample().sign_parts(&signers).unwrap();
            all.push(Good { what: "forged, several signers".to_owned(), parts, signer: None });
        }
        all
    }

    fn stamped(&self, mut parts: Vec<Part>, signer: &Signer) -> Vec<Part> {
        let (at, file) = (block(&parts).unwrap(), file(&parts).unwrap());
        let stamp = |value: &[u8]| vec![token(&self.clock, value, now(), timestamp::Defect::None).unwrap()];
        parts[at].1 = stamped(signer, &parts[file].1, stamp).unwrap();
        parts
    }
}

fn is_block(name: &str) -> bool {
    name.starts_with("META-INF/") && [".EC", ".RSA", ".DSA"].iter().any(|end| name.ends_with(end))
}

fn block(parts: &[Part]) -> Option<usize> {
    parts.iter().position(|(name, _)| is_block(name))
}

fn file(parts: &[Part]) -> Option<usize> {
    parts.iter().position(|(name, _)| name.ends_with(".SF"))
}

fn unpacked(package: &[u8]) -> Vec<Part> {
    let mut archive = zip::ZipArchive::new(Cursor::new(package)).unwrap();
    let count = archive.len();
    let read = |index: usize| {
        let mut file = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        (file.name().unwrap().into_owned(), content)
    };
    (0..count).map(read).collect()
}

/// One change of that package.
fn mutant(random: &mut Random, good: &Good<'_>, others: &[Good<'_>]) -> Option<Case> {
    let mut parts = good.parts.clone();
    let (block, file) = (block(&parts)?, file(&parts)?);
    match random.below(8) {
        0 => {
            let package = pack(&parts).unwrap();
            Some(("bytes".to_owned(), mutator::bytes(random, &package)))
        }
        1 | 2 => {
            let how = *random.one(&LAYOUTS);
            Some((how.to_owned(), mutator::layout(random, &parts, how)))
        }
        3 => {
            let how = *random.one(&ELEMENTS);
            let other = &random.one(others).parts;
            let other = &other[self::block(other)?].1;
            parts[block].1 = mutator::elements(random, &parts[block].1, other, how)?;
            Some((format!("block {how}"), pack(&parts).unwrap()))
        }
        4 => {
            let defect = *random.one(&DEFECTS);
            parts[block].1 = detached(good.signer?, &parts[file].1, true, defect).unwrap();
            Some((format!("block {defect:?}"), pack(&parts).unwrap()))
        }
        kind => {
            let how = *random.one(&LINES);
            let manifest = kind != 5;
            let at = if manifest { parts.iter().position(|(name, _)| name == MANIFEST)? } else { file };
            parts[at].1 = mutator::lines(random, &parts[at].1, how);
            let mut what = format!("{} {how}", if manifest { "manifest" } else { "signature file" });
            // Signed again, the change itself is what is judged.
            if let Some(signer) = good.signer.filter(|_| random.below(4) > 0) {
                what.push_str(", signed");
                if manifest {
                    parts[file].1 = covering(&parts[at].1, &parts[file].1);
                }
                parts[block].1 = detached(signer, &parts[file].1, true, Defect::None).unwrap();
            }
            Some((what, pack(&parts).unwrap()))
        }
    }
}

const MANIFEST: &str = "META-INF/MANIFEST.MF";

const DEFECTS: [Defect; 14] = [
    Defect::None,
    Defect::AttributeTwice,
    Defect::AttributesUnsorted,
    Defect::AttributesUnsortedAfterwards,
    Defect::ContentTypeMissing,
    Defect::ContentTypeUnsigned,
    Defect::ContentTypeWrong,
    Defect::ContentInside,
    Defect::DigestMissing,
    Defect::DigestWrong,
    Defect::ProtectionWrong,
    Defect::SignerTwice,
    Defect::SignerMissing,
    Defect::UnsignedAttributes,
];

/// The signature file with the digest of this whole manifest; its sections stay what they were.
fn covering(manifest: &[u8], file: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let digest = base64::prelude::BASE64_STANDARD.encode(mexe_forge::sealed::sha256(manifest));
    let text = std::str::from_utf8(file).unwrap();
    let sections = text.split_once("\r\n\r\n").map_or("", |(_, sections)| sections);
    format!("Signature-Version: 1.0\r\nSHA-256-Digest-Manifest: {digest}\r\n\r\n{sections}").into_bytes()
}

#[test]
fn whatever_the_engine_verifies_jarsigner_verifies_too() {
    let mut random = Random::seeded(SEED);
    let shop = Workshop::new();
    let signers = Signers::new();
    shop.write("forged.pem", signers.root.pem());
    shop.write("times.pem", signers.times.pem());
    let by_jarsigner = signed_by_jarsigner(&shop);
    let store = signers.store(&[shop.read("root.der")]);

    let mut goods = signers.packages();
    goods.extend(by_jarsigner.into_iter().map(|(what, package)| Good {
        what,
        parts: unpacked(&package),
        signer: None,
    }));
    let mut cases: Vec<Case> =
        goods.iter().map(|good| (good.what.clone(), pack(&good.parts).unwrap())).collect();
    for (what, package) in &cases {
        let verdict = ours(package, Evidence::Inside, &store);
        assert!(matches!(verdict, TrustVerdict::Verified(_)), "{what}: {verdict:?}");
    }
    let sound = cases.len();
    while cases.len() < sound + MUTANTS {
        let good = random.one(&goods);
        cases.extend(mutant(&mut random, good, &goods));
    }
    let commands = cases.iter().enumerate().map(|(at, (_, package))| {
        shop.write(&format!("{at}.jar"), package);
        format!("jarsigner -verify -strict -keystore judge.p12 -storepass changeit {at}.jar")
    });
    let opinions = shop.batch(&commands.collect::<Vec<_>>());

    let mut tally = Tally::default();
    for (at, (case, opinion)) in cases.iter().zip(&opinions).enumerate() {
        let judge = verified(opinion);
        tally.note(case, &ours(&case.1, Evidence::Inside, &store), judge, &format!("{opinion:?}"));
        assert!(at >= sound || judge, "{}: jarsigner says {opinion:?}", case.0);
    }
    tally.settle("jarsigner", 300);
    // That the tool says in a batch what it says by itself.
    for _ in 0..SAMPLES {
        let at = random.below(cases.len());
        let mut alone = shop.tool("jarsigner");
        alone.args(["-verify", "-strict", "-keystore", "judge.p12", "-storepass", "changeit"]);
        let output = alone.arg(format!("{at}.jar")).output().unwrap();
        let says = String::from_utf8_lossy(&output.stdout).into_owned();
        let alone = Opinion { exit: output.status.code().unwrap(), says };
        let (one, other) = (verified(&alone), verified(&opinions[at]));
        assert_eq!(one, other, "{}: {alone:?}, in a batch {:?}", cases[at].0, opinions[at]);
        assert_eq!(alone.exit, opinions[at].exit, "{}", cases[at].0);
    }
}

/// Packages that come with the change of one thing.
const MUTANTS: usize = 300;
/// Packages that the real tool judges too.
const SAMPLES: usize = 20;

/// Makes the keystore of roots `judge.p12` and `root.der`, and packages that the JDK signed, in one go.
fn signed_by_jarsigner(shop: &Workshop) -> Vec<Case> {
    shop.write("classes/com/A.class", "class A: some bytes that stand for code");
    shop.write("classes/META-INF/services/com.Service", "com.A\n");
    shop.write("manifest.txt", "MExE-Name: sample\nMExE-Version: 1.0\n");
    let store = "-keystore keys.p12 -storepass changeit";
    let judge = "-importcert -noprompt -keystore judge.p12 -storepass changeit";
    let mut commands = vec![
        "jar cfm plain.jar manifest.txt -C classes .".to_owned(),
        format!(
            "keytool -genkeypair -alias root -keyalg EC -groupname secp384r1 -dname CN=root -ext bc:c=ca:true -ext ku:c=keyCertSign -validity 3650 {store}"
        ),
        format!("keytool -exportcert -file root.der -alias root {store}"),
        format!("keytool {judge} -alias jdk -file root.der"),
        format!("keytool {judge} -alias forged -file forged.pem"),
        format!("keytool {judge} -alias times -file times.pem"),
    ];
    for (alias, key) in [
        ("rsa", "-keyalg RSA -keysize 2048"),
        ("p256", "-keyalg EC -groupname secp256r1"),
        ("p521", "-keyalg EC -groupname secp521r1"),
        ("ed", "-keyalg Ed25519"),
    ] {
        commands.push(format!(
            "keytool -genkeypair -alias {alias} -signer root -dname CN={alias} -validity 3650 -ext ku:c=digitalSignature -ext eku=codeSigning {key} {store}"
        ));
    }
    let hows = [
        ("rsa", "", "plain"),
        ("p256", "", "plain"),
        ("p521", "-digestalg SHA-512", "plain"),
        ("ed", "", "plain"),
        ("rsa", "-sigalg RSASSA-PSS", "plain"),
        ("rsa", "-sigalg SHA384withRSA -digestalg SHA-384 -sectionsonly", "plain"),
        ("p256", "-sigfile MINE -internalsf", "plain"),
        ("p256", "", "signed-0"),
        ("ed", "", "signed-7"),
    ];
    for (at, (alias, how, from)) in hows.iter().enumerate() {
        commands.push(format!("jarsigner {store} {how} -signedjar signed-{at}.jar {from}.jar {alias}"));
    }
    for (command, opinion) in commands.iter().zip(shop.batch(&commands)) {
        assert_eq!(opinion.exit, 0, "{command}: {opinion:?}");
    }
    let read = |(at, (alias, how, _)): (usize, &(&str, &str, &str))| {
        (format!("by jarsigner: {alias} {how}"), shop.read(&format!("signed-{at}.jar")))
    };
    // A signature that holds its signature file is not taken here; jarsigner itself advises against it.
    hows.iter().enumerate().filter(|(_, (_, how, _))| !how.contains("internalsf")).map(read).collect()
}

#[test]
fn whatever_the_engine_verifies_beside_a_file_openssl_verifies_too() {
    let mut random = Random::seeded(SEED);
    let bench = Bench::new();
    let signers = Signers::new();
    bench.root("root", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-sha256");
    bench.certificate("rsa", "root", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", CODE, "-sha256");
    bench.certificate("p256", "root", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", CODE, "-sha256");
    let store = signers.store(&[bench.der("root")]);
    let both = [bench.read("root.pem"), signers.root.pem().into_bytes()].concat();
    bench.write("both.pem", both);
    let program = [b"a program, or anything else ", &[7; 5000][..]].concat();
    bench.write("program", &program);

    let mut goods: Vec<Case> = Vec::new();
    for (signer, how) in [
        ("rsa", "-md sha256"),
        ("rsa", "-md sha384 -noattr"),
        ("rsa", "-md sha512 -keyid"),
        ("rsa", "-md sha256 -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:digest"),
        ("rsa", "-md sha256 -certfile root.pem -nosmimecap"),
        ("p256", "-md sha256"),
        ("p256", "-md sha384 -keyid"),
        ("p256", "-md sha512 -noattr"),
    ] {
        goods.push((
            format!("by openssl {how}"),
            bench.cms("program", signer, &format!("{how} -outform DER")),
        ));
    }
    // Without the last: openssl 3.0 has no Ed25519 in CMS.
    let known = &signers.all[..3];
    for signer in known {
        for with_attributes in [true, false] {
            let signature = detached(signer, &program, with_attributes, Defect::None).unwrap();
            goods.push((format!("forged {with_attributes}"), signature));
        }
    }
    let sound = goods.len();
    let mut cases = goods.clone();
    for defect in DEFECTS {
        let signature = detached(random.one(known), &program, true, defect).unwrap();
        cases.push((format!("{defect:?}"), signature));
    }
    while cases.len() < sound + SIGNATURES {
        let (one, other) = (random.one(&goods), random.one(&goods));
        let how = *random.one(&ELEMENTS);
        match random.below(5) {
            0 => cases.push(("bytes".to_owned(), mutator::bytes(&mut random, &one.1))),
            _ => {
                let changed = mutator::elements(&mut random, &one.1, &other.1, how);
                cases.extend(changed.map(|changed| (how.to_owned(), changed)));
            }
        }
    }
    let mut tally = Tally::default();
    for (at, case) in cases.iter().enumerate() {
        let verdict = ours(&program, Evidence::Detached(&case.1), &store);
        let judge = bench.accepts("program", &case.1, "DER", "both");
        assert!(
            at >= sound || (matches!(verdict, TrustVerdict::Verified(_)) && judge),
            "{}: {verdict:?}",
            case.0
        );
        tally.note(case, &verdict, judge, "refused");
    }
    tally.settle("openssl", 200);
}

/// What the mutator begins with, unless told.
const SEED: u64 = 1;

/// The mutator found this one: openssl refused it, the engine did not look.
#[test]
fn whatever_is_no_algorithm_among_the_digest_algorithms_is_malformed() {
    const DIGEST_ALGORITHMS: [usize; 4] = [0, 1, 0, 1];
    let signers = Signers::new();
    let sound = detached(&signers.all[0], b"program", true, Defect::None).unwrap();
    let store = signers.store(&[]);
    let judged = |what: &[u8]| {
        let signature = mutator::appended(&sound, &DIGEST_ALGORITHMS, what);
        ours(b"program", Evidence::Detached(&signature), &store).reason()
    };
    assert_eq!(judged(&[]), None);
    // SHA3-256 is an algorithm, though none that is used here.
    let sha3_256 = [0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 8];
    assert_eq!(judged(&sha3_256), None);
    for not_one in [[2, 1, 2].as_slice(), &[5, 0], &[0x30, 0], &[0x30, 3, 2, 1, 2]] {
        assert_eq!(judged(not_one), Some(Reason::SignatureMalformed), "{not_one:?}");
    }
}

/// Signatures that come with the change of one thing.
const SIGNATURES: usize = 200;
