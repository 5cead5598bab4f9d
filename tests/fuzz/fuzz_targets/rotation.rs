//! Any bytes as a rotation statement, and as the content of one that the old key signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mexe_certs::Fingerprint;
use mexe_certs::rotation::{Claim, judge_rotation};
use mexe_forge::pki::{Authority, Shape, Signer};
use mexe_forge::sealed::{SealDefect, key_hash, seal};
use mexe_fuzz::{APP, AT, NEW_KEY, OLD_KEY, filled};
use mexe_model::SecurityDomain;

static SIGNERS: LazyLock<[Signer; 2]> = LazyLock::new(|| {
    let root = Authority::root("Root", &Shape::at(AT)).unwrap();
    ["Old", "New"].map(|name| root.signer(name, &Shape::at(AT)).unwrap())
});

/// 2.25.230570099.3, DER.
const OID_ROTATION: &[u8] = b"\x06\x06\x69\xed\xf8\xf0\x73\x03";

fuzz_target!(|bytes: &[u8]| {
    let [old, new] = &*SIGNERS;
    let [old_key, new_key] = [old, new].map(|signer| key_hash(signer.certificate()).unwrap());
    let claim = Claim {
        old_key: Fingerprint(old_key),
        new_key: Fingerprint(new_key),
        domain: SecurityDomain::ThirdParty,
        name: APP,
        at: AT,
        barred: &|_| false,
    };
    // The keys are new in each run, so nothing that was kept can be theirs.
    assert!(judge_rotation(&[bytes.to_vec()], &claim).is_err());
    let content = filled(bytes, &[(OLD_KEY, old_key), (NEW_KEY, new_key)]);
    let by_new = seal(new, OID_ROTATION, &content, SealDefect::None).unwrap();
    assert!(judge_rotation(&[by_new], &claim).is_err(), "the new key took over by itself");
    let by_old = seal(old, OID_ROTATION, &content, SealDefect::None).unwrap();
    if judge_rotation(&[by_old], &claim).is_ok() {
        assert!([old_key, new_key].iter().all(|key| content.windows(32).any(|part| part == key)));
    }
});
