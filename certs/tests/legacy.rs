//! The legacy rules: SHA-1 and RSA 1024 reach the third party domain and no other, only when the owner wants it, and it is
//! always told. Chains and signatures are openssl's.

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

#[path = "support/openssl.rs"]
mod openssl;
mod support;

use std::io::Cursor;

use mexe_certs::{
    Evidence, Limits, RootFault, RootKind, Rules, TrustStore, TrustVerdict, Verification, verify,
};
use mexe_forge::jar::SignOptions;
use mexe_model::{Reason, SecurityDomain};
use openssl::{Bench, CODE, now};
use support::World;

const FILE: &[u8] = b"an old program";
const LEGACY: Rules = Rules { legacy: true, staleness: mexe_certs::Staleness::Strict };
const STRONG: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const SMALL: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:1024";

fn judge(signature: &[u8], store: &TrustStore) -> Verification {
    let size = FILE.len() as u64;
    verify(Cursor::new(FILE), size, Evidence::Detached(signature), store, now(), &Limits::default())
}

#[test]
fn what_is_old_reaches_the_third_party_domain_and_no_other() {
    let bench = Bench::new();
    bench.write("app.bin", FILE);
    bench.root("root", STRONG, "-sha1");
    bench.certificate("strong", "root", STRONG, CODE, "-sha256");
    bench.certificate("sha1", "root", STRONG, CODE, "-sha1");
    bench.certificate("small", "root", SMALL, CODE, "-sha256");
    bench.certificate("both", "root", SMALL, CODE, "-sha1");
    for (signer, digest, reason) in [
        ("strong", "sha256", None),
        ("strong", "sha1", Some(Reason::AlgorithmWeak)),
        ("sha1", "sha256", Some(Reason::AlgorithmWeak)),
        ("small", "sha256", Some(Reason::KeyTooSmall)),
        ("small", "sha512", Some(Reason::KeyTooSmall)),
        ("both", "sha1", Some(Reason::KeyTooSmall)),
    ] {
        for how in ["", "-noattr"] {
            let signature = bench.cms("app.bin", signer, &format!("-outform DER -md {digest} {how}"));
            for kind in RootKind::ALL {
                for rules in [Rules::default(), LEGACY] {
                    let what = format!("{signer} {digest} {how} {kind:?} {rules:?}");
                    let store = bench.builder(&[(kind, "root")], rules).build();
                    let judged = judge(&signature, &store);
                    let open = rules.legacy && kind.domain() == SecurityDomain::ThirdParty;
                    match judged.verdict {
                        TrustVerdict::Verified(voucher) => {
                            assert!(open || reason.is_none(), "{what}");
                            assert_eq!(voucher.legacy, reason.is_some(), "{what}");
                        }
                        other => {
                            assert!(!open, "{what}: {other:?}");
                            assert_eq!(other.reason(), reason, "{what}: {other:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_too_old_for_everything_stays_refused() {
    let bench = Bench::new();
    bench.write("app.bin", FILE);
    bench.root("root", STRONG, "-sha256");
    let store = bench.builder(&[(RootKind::ThirdParty, "root")], LEGACY).build();
    bench.certificate("tiny", "root", "-algorithm RSA -pkeyopt rsa_keygen_bits:768", CODE, "-sha256");
    let signature = bench.cms("app.bin", "tiny", "-outform DER -md sha256");
    assert_eq!(judge(&signature, &store).verdict.reason(), Some(Reason::KeyTooSmall));
    bench.certificate("signer", "root", STRONG, CODE, "-sha256");
    let signature = bench.cms("app.bin", "signer", "-outform DER -md md5");
    assert_eq!(judge(&signature, &store).verdict.reason(), Some(Reason::AlgorithmWeak));
    // A wrong signature is wrong, however old.
    let signature = bench.cms("app.bin", "signer", "-outform DER -md sha1");
    let size = FILE.len() as u64;
    let other = vec![b'x'; FILE.len()];
    let judged =
        verify(Cursor::new(other), size, Evidence::Detached(&signature), &store, now(), &Limits::default());
    assert_eq!(judged.verdict.reason(), Some(Reason::SignatureWrong));
}

#[test]
fn a_small_root_is_one_for_the_third_party_by_the_legacy_rules_only() {
    let bench = Bench::new();
    bench.write("app.bin", FILE);
    bench.root("root", SMALL, "-sha1");
    bench.certificate("signer", "root", STRONG, CODE, "-sha256");
    let signature = bench.cms("app.bin", "signer", "-outform DER -md sha256");
    let pem = bench.read("root.pem");
    for kind in RootKind::ALL {
        for rules in [Rules::default(), LEGACY] {
            let mut builder = TrustStore::builder();
            builder.rules(rules);
            let added = builder.add(kind, "root.pem", &pem, now()).remove(0);
            let store = builder.build();
            if rules.legacy && kind.domain() == SecurityDomain::ThirdParty {
                added.unwrap();
                let TrustVerdict::Verified(voucher) = judge(&signature, &store).verdict else {
                    panic!("{kind:?}")
                };
                assert!(voucher.legacy);
            } else {
                assert!(matches!(added.unwrap_err().fault(), RootFault::KeyTooSmall(_)), "{kind:?}");
                assert_eq!(judge(&signature, &store).verdict.reason(), Some(Reason::NoRoot));
            }
        }
    }
    let mut builder = TrustStore::builder();
    builder.rules(LEGACY);
    let added = builder.add_timestamping(SecurityDomain::ThirdParty, "tsa.pem", &pem, now()).remove(0);
    assert!(matches!(added.unwrap_err().fault(), RootFault::KeyTooSmall(_)));
}

#[test]
fn a_package_whose_digests_are_sha_1_is_legacy_too() {
    let world = World::new(RootKind::ThirdParty);
    let options = SignOptions { digests: vec!["SHA-1"], ..SignOptions::default() };
    let package = support::sample().options(options).sign(&world.signer).unwrap();
    support::assert_refused(&package, &world.store, Reason::AlgorithmWeak);
    let mut builder = TrustStore::builder();
    builder.rules(LEGACY);
    builder.add(RootKind::ThirdParty, "root.pem", world.root.pem().as_bytes(), support::AT)[0]
        .clone()
        .unwrap();
    let TrustVerdict::Verified(voucher) = support::judge(&package, &builder.build()).verdict else {
        panic!()
    };
    assert!(voucher.legacy);
}
