//! Any bytes as a WTLS certificate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mexe_certs::usim::WtlsCertificate;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = WtlsCertificate::read(bytes) {
        let anchors = certificate.anchor().is_some();
        let signed = certificate.is_signed_by(&certificate.key);
        assert!(!signed || certificate.key.spki().is_some());
        assert!(!anchors || certificate.key.spki().is_some());
    }
});
