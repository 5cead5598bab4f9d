//! Any bytes as the timestamp of a signature whose signer has expired since: only the token that the authority made
//! forgives it, with the time that stands in it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mexe_certs::{Evidence, TrustStore, TrustVerdict};
use mexe_fuzz::{AT, PROGRAM, SIGNATURE, builder, judge, stamped};
use mexe_model::WallTime;

static STORE: LazyLock<TrustStore> = LazyLock::new(|| builder().build());
/// The signer's certificate ends ten days after the world's time.
const LATER: WallTime = WallTime::from_secs(AT.as_secs() + 20 * 86_400);

fuzz_target!(|token: &[u8]| {
    let block = stamped(SIGNATURE, token);
    let judged = judge(PROGRAM, Evidence::Detached(&block), &STORE, LATER).verdict;
    if let TrustVerdict::Verified(voucher) = judged {
        assert_eq!(voucher.signers[0].timestamp.counts_at(), Some(AT));
    }
    let _ = judge(PROGRAM, Evidence::Detached(&block), &STORE, AT);
});
