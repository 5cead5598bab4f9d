//! Any bytes as the descriptor of a MIDlet suite. A verified one has the signer's signature in it.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use libfuzzer_sys::fuzz_target;
use mexe_certs::{Evidence, TrustStore, TrustVerdict};
use mexe_fuzz::{AT, SUITE, SUITE_SIGNATURE, builder, judge};

static STORE: LazyLock<TrustStore> = LazyLock::new(|| builder().build());

fuzz_target!(|bytes: &[u8]| {
    if let TrustVerdict::Verified(_) = judge(SUITE, Evidence::Descriptor(bytes), &STORE, AT).verdict {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.contains(&BASE64.encode(SUITE_SIGNATURE)));
    }
});
