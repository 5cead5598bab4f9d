//! WTLS certificates of a card as the ends of X.509 chains. openssl makes the chain and both signatures, and accepts the
//! chain under the same name and key in an X.509 certificate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::string_slice,
    missing_docs,
    reason = "tests"
)]

#[path = "support/card.rs"]
mod card;
#[path = "support/openssl.rs"]
mod openssl;

use std::io::Cursor;

use mexe_certs::ccm::{CcmLimits, CcmState, Receiver, apply};
use mexe_certs::usim::{CandidateCertificate, WtlsCertificate, decode};
use mexe_certs::{
    Evidence, Limits, Provenance, RootKind, Rules, Staleness, TrustStore, TrustVerdict, verify,
};
use mexe_forge::ccm::Message;
use mexe_forge::usim::{self as forge, Card, Slot};
use mexe_model::{Reason, SecurityDomain};
use openssl::{Bench, CODE, now};

const FILE: &[u8] = b"a program of the period";
const LEGACY: Rules = Rules { legacy: true, staleness: Staleness::Strict };
const DAY: u64 = 86_400;
/// CN=root and CN=other, as openssl encodes them.
const NAMES: [&[u8]; 2] = [
    b"\x30\x0f\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x0c\x04root",
    b"\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x05other",
];

/// What one test needs: an authority, a signer of it by this digest, and a signature beside [`FILE`].
struct World {
    bench: Bench,
    signature: Vec<u8>,
}

impl World {
    fn new(bits: u32, digest: &str) -> Self {
        let bench = Bench::new();
        bench.write("app.bin", FILE);
        let key = format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}");
        bench.root("root", &key, &format!("-{digest}"));
        bench.certificate("signer", "root", &key, CODE, &format!("-{digest}"));
        let signature = bench.cms("app.bin", "signer", &format!("-outform DER -md {digest}"));
        if digest != "sha1" {
            assert!(bench.accepts("app.bin", &signature, "DER", "root"));
        }
        Self { bench, signature }
    }

    /// The authority's key as a card holds it in WTLS form, and as it comes out of the card.
    fn root(&self, name: &[u8], from: u64, to: u64, slot: Slot) -> (RootKind, WtlsCertificate) {
        let modulus = self.bench.openssl("rsa -in root.key -noout -modulus").stdout;
        let modulus = String::from_utf8(modulus).unwrap();
        let digits = modulus.trim().strip_prefix("Modulus=").unwrap();
        let modulus: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        let time = |secs: u64| u32::try_from(secs).unwrap();
        let signed = forge::wtls_to_be_signed(name, time(from), time(to), &[1, 0, 1], &modulus);
        self.bench.write("signed", &signed);
        let signature = self.bench.openssl("dgst -sha1 -sign root.key -binary signed").stdout;
        let spki = self.bench.openssl("rsa -in root.key -pubout -outform DER").stdout;
        let mut card = Card::new(forge::CardKind::Usim);
        let certificate = forge::wtls_signed(&signed, &signature);
        let record = card.describe(slot, 0, &certificate, forge::key_identifier(&spki).unwrap()).unwrap();
        card.add_record(slot, record.encode());
        let read = decode(&card::image(&card));
        let candidates = read.candidates(LEGACY);
        let CandidateCertificate::Wtls(found) = candidates[0].certificate else { panic!("{candidates:?}") };
        assert_eq!(found.encoded(), certificate);
        (candidates[0].kind, found.clone())
    }

    fn judge(&self, store: &TrustStore) -> TrustVerdict {
        let evidence = Evidence::Detached(&self.signature);
        let size = FILE.len() as u64;
        verify(Cursor::new(FILE), size, evidence, store, now(), &Limits::default()).verdict
    }
}

fn store(rules: Rules, roots: &[(RootKind, WtlsCertificate)]) -> TrustStore {
    let mut builder = TrustStore::builder();
    builder.rules(rules);
    for (kind, certificate) in roots {
        // What a root of the wrong time is told of, is asked again at each judgement.
        let _ = builder.add_wtls(*kind, "card TPRPK 1", certificate, now());
    }
    builder.build()
}

fn around() -> (u64, u64) {
    (now().as_secs() - DAY, now().as_secs() + DAY)
}

#[test]
fn a_wtls_root_ends_chains_of_the_third_party_domain_under_the_legacy_rules() {
    let (from, to) = around();
    for (bits, digest) in [(1024, "sha1"), (2048, "sha256")] {
        let world = World::new(bits, digest);
        for slot in [Slot::ThirdParty, Slot::Administrator] {
            let root = world.root(NAMES[0], from, to, slot);
            let store = store(LEGACY, &[root]);
            assert_eq!(store.roots()[0].provenance(), Provenance::Usim);
            assert_eq!(store.roots()[0].subject(), "CN=root");
            let TrustVerdict::Verified(verified) = world.judge(&store) else {
                panic!("{bits} {digest}: {:?}", world.judge(&store))
            };
            assert_eq!(verified.domain, SecurityDomain::ThirdParty);
            assert!(verified.legacy, "said to hold by the legacy rules alone");
        }
    }
}

#[test]
fn without_the_legacy_rules_or_for_another_domain_it_is_no_root() {
    let (from, to) = around();
    let world = World::new(2048, "sha256");
    let (_, certificate) = world.root(NAMES[0], from, to, Slot::ThirdParty);
    let refused = |rules: Rules, kind| {
        let mut builder = TrustStore::builder();
        builder.rules(rules);
        let code = builder.add_wtls(kind, "card", &certificate, now()).unwrap_err().code();
        assert!(builder.build().roots().is_empty());
        code
    };
    assert_eq!(refused(Rules::default(), RootKind::ThirdParty), "root-wtls-not-allowed");
    for kind in [RootKind::Operator, RootKind::Manufacturer] {
        assert_eq!(refused(LEGACY, kind), "root-wtls-not-allowed");
    }
}

#[test]
fn another_name_another_key_and_another_time_vouch_for_nothing() {
    let (from, to) = around();
    let world = World::new(2048, "sha256");
    let other = World::new(2048, "sha256");
    let roots = [
        (world.root(NAMES[1], from, to, Slot::ThirdParty), None),
        (other.root(NAMES[0], from, to, Slot::ThirdParty), None),
        (world.root(NAMES[0], from - 9 * DAY, from, Slot::ThirdParty), Some(Reason::CertificateExpired)),
        (world.root(NAMES[0], to, to + DAY, Slot::ThirdParty), Some(Reason::CertificateNotYetValid)),
    ];
    for (root, reason) in roots {
        let verdict = world.judge(&store(LEGACY, &[root]));
        match reason {
            None => assert!(matches!(verdict, TrustVerdict::Untrusted(_)), "{verdict:?}"),
            Some(reason) => assert_eq!(verdict.reason(), Some(reason)),
        }
    }
}

#[test]
fn a_subject_that_nothing_can_be_issued_under_is_named() {
    let (from, to) = around();
    let (kind, certificate) = World::new(2048, "sha256").root(b"\x30\x00", from, to, Slot::ThirdParty);
    let mut builder = TrustStore::builder();
    builder.rules(LEGACY);
    let refused = builder.add_wtls(kind, "card", &certificate, now()).unwrap_err();
    assert_eq!(refused.code(), "root-wtls-without-name");
}

#[test]
fn a_chain_that_needs_no_legacy_rule_is_preferred() {
    let (from, to) = around();
    let world = World::new(2048, "sha256");
    let (kind, bare) = world.root(NAMES[0], from, to, Slot::ThirdParty);
    let whole = world.bench.der("root");
    for bare_first in [true, false] {
        let mut builder = TrustStore::builder();
        builder.rules(LEGACY);
        if bare_first {
            builder.add_wtls(kind, "card TPRPK 1", &bare, now()).unwrap();
        }
        builder.add(kind, "root.pem", &whole, now());
        if !bare_first {
            // The key is a root already.
            let _ = builder.add_wtls(kind, "card TPRPK 1", &bare, now());
        }
        let TrustVerdict::Verified(verified) = world.judge(&builder.build()) else { panic!() };
        assert!(!verified.legacy, "bare first: {bare_first}");
    }
}

#[test]
fn a_wtls_administrator_configures_and_a_small_key_does_not_even_through_a_delegate() {
    let (from, to) = around();
    let receiver = Receiver { device: "device-17", home_network: None };
    for (bits, refused) in [(2048, None), (1024, Some(Reason::KeyTooSmall))] {
        let world = World::new(bits, "sha256");
        let bench = &world.bench;
        let purpose = CODE.replace("codeSigning", "2.25.230570099.4");
        bench.certificate(
            "deputy",
            "root",
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            &purpose,
            "-sha256",
        );
        let store = store(LEGACY, &[world.root(NAMES[0], from, to, Slot::Administrator)]);
        let root = bench.der("root");
        let message = Message::new(&root, "device-17", 1, now()).unwrap().replace_all(&[&root]);
        bench.write("content", message.content().unwrap());
        for signer in ["root", "deputy"] {
            let how = "-nodetach -outform DER -md sha256 -econtent_type 2.25.230570099.2";
            let signed = bench.cms("content", signer, how);
            let (state, limits) = (CcmState::default(), CcmLimits::default());
            let applied = apply(&signed, &state, &store.roots()[0], receiver, now(), &limits);
            assert_eq!(applied.map_err(|refusal| refusal.reason).err(), refused, "RSA {bits}, {signer}");
        }
    }
}
