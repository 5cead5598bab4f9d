//! Any bytes as a message of the administrator, and as the content of one that it signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mexe_certs::ccm::{CcmLimits, CcmState, Receiver, apply};
use mexe_certs::{Fingerprint, RootKind, TrustStore};
use mexe_forge::pki::{Authority, Shape, Signer};
use mexe_forge::sealed::{SealDefect, key_hash, seal};
use mexe_fuzz::{AT, DEVICE, OLD_KEY, filled};

struct Office {
    signer: Signer,
    key: [u8; 32],
    store: TrustStore,
}

static OFFICE: LazyLock<Office> = LazyLock::new(|| {
    let arpk = Authority::root("Administrator", &Shape::at(AT)).unwrap();
    let mut builder = TrustStore::builder();
    builder.add(RootKind::Administrator, "arpk", arpk.certificate(), AT)[0].as_ref().unwrap();
    let key = key_hash(arpk.certificate()).unwrap();
    Office { signer: arpk.as_signer().unwrap(), key, store: builder.build() }
});

/// 2.25.230570099.2, DER.
const OID_CCM: &[u8] = b"\x06\x06\x69\xed\xf8\xf0\x73\x02";

fuzz_target!(|bytes: &[u8]| {
    let receiver = Receiver { device: DEVICE, home_network: Some("26201") };
    let (office, limits) = (&*OFFICE, CcmLimits::default());
    let applied = |message: &[u8], state: &CcmState| {
        apply(message, state, &office.store.roots()[0], receiver, AT, &limits)
    };
    // Its key is new in each run, so nothing that was kept can be its.
    assert!(applied(bytes, &CcmState::default()).is_err());
    let content = filled(bytes, &[(OLD_KEY, office.key)]);
    let message = seal(&office.signer, OID_CCM, &content, SealDefect::None).unwrap();
    if let Ok(first) = applied(&message, &CcmState::default()) {
        assert!(first.state.of(&Fingerprint(office.key)).is_some());
        // No message counts twice.
        assert!(applied(&message, &first.state).is_err());
    }
});
