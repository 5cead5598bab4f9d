//! Any bytes as a revocation list, and as the list of the world's root that came with a package.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mexe_certs::{Evidence, Revocation, TrustVerdict};
use mexe_fuzz::{AT, PROGRAM, SIGNATURE, builder, judge};
use mexe_model::Reason;

static BEFORE: LazyLock<TrustVerdict> =
    LazyLock::new(|| judge(PROGRAM, Evidence::Detached(SIGNATURE), &builder().build(), AT).verdict);

fuzz_target!(|bytes: &[u8]| {
    let mut builder = builder();
    let added = builder.add_list("list", bytes);
    let store = builder.build();
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), store.lists().count());
    if store.lists().next().is_none() {
        return;
    }
    match judge(PROGRAM, Evidence::Detached(SIGNATURE), &store, AT).verdict {
        TrustVerdict::Verified(voucher) if voucher.revocation == Revocation::NotCovered => {
            assert_eq!(TrustVerdict::Verified(voucher), *BEFORE);
        }
        TrustVerdict::Verified(_) => {}
        other => assert!(matches!(
            other.reason(),
            Some(Reason::CertificateRevoked | Reason::RevocationStale | Reason::TooCostly)
        )),
    }
});
