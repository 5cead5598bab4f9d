//! The files that the fuzz targets begin with (tests/fuzz) are still what their names say: a seed that nothing accepts any
//! more would leave a target in front of the first check.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use std::io::Cursor;
use std::path::Path;

use mexe_certs::usim::WtlsCertificate;
use mexe_certs::{Evidence, Limits, RootKind, TrustStore, TrustStoreBuilder, TrustVerdict, verify};
use mexe_model::{Reason, SecurityDomain, WallTime};

/// The time of the seeds' world.
const AT: WallTime = WallTime::from_secs(1_795_489_491);
const PROGRAM: &[u8] = b"a program";

fn file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn seed(target: &str, name: &str) -> Vec<u8> {
    file(&format!("corpus/{target}/{name}"))
}

fn builder() -> TrustStoreBuilder {
    let mut builder = TrustStore::builder();
    builder.add(RootKind::ThirdParty, "root.der", &file("world/root.der"), AT)[0].as_ref().unwrap();
    let times =
        builder.add_timestamping(SecurityDomain::ThirdParty, "times.der", &file("world/times.der"), AT);
    times[0].as_ref().unwrap();
    builder
}

fn judge(bytes: &[u8], evidence: Evidence<'_>, store: &TrustStore) -> TrustVerdict {
    verify(Cursor::new(bytes), bytes.len() as u64, evidence, store, AT, &Limits::default()).verdict
}

#[test]
fn packages_and_signatures_are_verified_by_the_roots_of_their_world() {
    let store = builder().build();
    let verified = |verdict: TrustVerdict, what: &str| {
        assert!(matches!(verdict, TrustVerdict::Verified(_)), "{what}: {verdict:?}");
    };
    for name in ["signed", "two-signers"] {
        verified(judge(&seed("container", name), Evidence::Inside, &store), name);
    }
    assert!(matches!(
        judge(&seed("container", "unsigned"), Evidence::Inside, &store),
        TrustVerdict::Untrusted(_)
    ));
    for name in ["ed25519", "no-attributes", "pem", "signature", "stamped"] {
        verified(judge(PROGRAM, Evidence::Detached(&seed("cms", name)), &store), name);
    }
    let unsigned = judge(PROGRAM, Evidence::Detached(&seed("cms", "unsigned-attributes")), &store);
    assert_eq!(unsigned.reason(), Some(Reason::SignatureMalformed));
    let suite = file("world/suite.jar");
    for name in ["signed", "two-ways"] {
        verified(judge(&suite, Evidence::Descriptor(&seed("jad", name)), &store), name);
    }
    let asking = judge(&suite, Evidence::Descriptor(&seed("jad", "asking")), &store);
    assert_eq!(asking.reason(), Some(Reason::DescriptorMismatch));
}

#[test]
fn revocation_lists_count_as_they_are_named() {
    let signature = file("world/program.p7s");
    let under = |name: &str| {
        let mut builder = builder();
        builder.add_list(name, &seed("crl", name))[0].as_ref().unwrap();
        judge(PROGRAM, Evidence::Detached(&signature), &builder.build())
    };
    for name in ["empty", "pem", "others", "future"] {
        assert_eq!(under(name).reason(), None, "{name}");
    }
    assert_eq!(under("revoked").reason(), Some(Reason::CertificateRevoked));
}

#[test]
fn wtls_certificates_are_read() {
    for name in ["no-signature", "null-names", "rsa", "text"] {
        assert!(WtlsCertificate::read(&seed("wtls", name)).is_ok(), "{name}");
    }
}
