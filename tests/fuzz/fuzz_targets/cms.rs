//! Any bytes as the signature beside a file. A verified one is by the only signer that ever signed the file.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mexe_certs::{Evidence, TrustStore, TrustVerdict};
use mexe_forge::sealed::key_hash;
use mexe_fuzz::{AT, PROGRAM, SIGNER, builder, judge};

static STORE: LazyLock<TrustStore> = LazyLock::new(|| builder().build());
static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| key_hash(SIGNER).unwrap());

fuzz_target!(|bytes: &[u8]| {
    if let TrustVerdict::Verified(voucher) = judge(PROGRAM, Evidence::Detached(bytes), &STORE, AT).verdict {
        assert!(matches!(voucher.signers.as_slice(), [signer] if signer.key == *KEY));
        let other = judge(b"b program", Evidence::Detached(bytes), &STORE, AT).verdict;
        assert!(matches!(other, TrustVerdict::Refused(_)));
    }
});
