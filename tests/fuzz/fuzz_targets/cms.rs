//! Any bytes as the signature beside a file. A verified one is by one of the two that ever signed the file.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mexe_certs::{Evidence, TrustStore, TrustVerdict};
use mexe_forge::sealed::key_hash;
use mexe_fuzz::{AT, OTHER, PROGRAM, SIGNER, builder, judge};

static STORE: LazyLock<TrustStore> = LazyLock::new(|| builder().build());
static KEYS: LazyLock<[[u8; 32]; 2]> =
    LazyLock::new(|| [SIGNER, OTHER].map(|certificate| key_hash(certificate).unwrap()));

fuzz_target!(|bytes: &[u8]| {
    if let TrustVerdict::Verified(voucher) = judge(PROGRAM, Evidence::Detached(bytes), &STORE, AT).verdict {
        assert!(matches!(voucher.signers.as_slice(), [signer] if KEYS.contains(&signer.key)));
        let other = judge(b"b program", Evidence::Detached(bytes), &STORE, AT).verdict;
        assert!(matches!(other, TrustVerdict::Refused(_)));
    }
});
