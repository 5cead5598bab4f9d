//! Timestamp tokens (RFC 3161) over a signature's value, sound or broken in one way each. The authority's certificate is a
//! signer's whose [`Shape`](crate::pki::Shape) has `time_stamping`.

use std::time::Duration;

use aws_lc_rs::digest;
use der::Encode;
use der::asn1::GeneralizedTime;
use mexe_model::WallTime;

use crate::Fault;
use crate::cms::{
    OID_CONTENT_TYPE, OID_MESSAGE_DIGEST, OID_SHA256, OID_SIGNED_DATA, attribute, digest_of, sequence,
    signature_algorithm, tlv,
};
use crate::pki::Signer;

/// How a token is broken on purpose. Its signature is right for what stands in it, except where said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Defect {
    /// It is sound.
    #[default]
    None,
    /// It has an extension that is critical and nobody's.
    CriticalExtension,
    /// It is for another signature.
    ImprintOfOther,
    /// Its imprint is by SHA-1.
    ImprintWeak,
    /// No signed attribute names the authority's certificate.
    NotNamed,
    /// Another certificate is named.
    OtherNamed,
    /// Its signature is that over another time.
    SignatureWrong,
    /// It is no timestamp, but signs plain data.
    Type,
    /// It is of a version that does not exist.
    Version,
}

/// The authority's token for a signature, made at the time `at`.
///
/// # Errors
/// The token cannot be signed.
pub fn token(authority: &Signer, signature: &[u8], at: WallTime, defect: Defect) -> Result<Vec<u8>, Fault> {
    let (imprint_oid, imprint) = match defect {
        Defect::ImprintWeak => (OID_SHA1, digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, signature)),
        Defect::ImprintOfOther => (OID_SHA256, digest::digest(&digest::SHA256, b"another signature")),
        _ => (OID_SHA256, digest::digest(&digest::SHA256, signature)),
    };
    let time = GeneralizedTime::from_unix_duration(Duration::from_secs(at.as_secs()))?.to_der()?;
    let extension = sequence(&[b"\x06\x02\x69\x01", b"\x01\x01\xff", b"\x04\x02\x05\x00"]);
    let extensions = tlv(0xa1, &extension);
    let info = sequence(&[
        &tlv(0x02, &[if defect == Defect::Version { 2 } else { 1 }]),
        b"\x06\x04\x2a\x03\x04\x01",
        &sequence(&[&sequence(&[imprint_oid, b"\x05\x00"]), &tlv(0x04, imprint.as_ref())]),
        &tlv(0x02, &[7]),
        &time,
        if defect == Defect::CriticalExtension { &extensions } else { &[] },
    ]);
    let content_type = if defect == Defect::Type { OID_DATA } else { OID_TST_INFO };
    let (digest_oid, algorithm) = digest_of(authority);
    let digest_algorithm = sequence(&[digest_oid, b"\x05\x00"]);
    let named = match defect {
        Defect::OtherNamed => digest::digest(&digest::SHA256, b"another certificate"),
        _ => digest::digest(&digest::SHA256, authority.certificate()),
    };
    let named = sequence(&[&sequence(&[&sequence(&[&tlv(0x04, named.as_ref())])])]);
    let mut attributes = vec![
        attribute(OID_CONTENT_TYPE, content_type),
        attribute(OID_MESSAGE_DIGEST, &tlv(0x04, digest::digest(algorithm, &info).as_ref())),
    ];
    if defect != Defect::NotNamed {
        attributes.push(attribute(OID_SIGNING_CERTIFICATE_V2, &named));
    }
    attributes.sort();
    let attributes = attributes.concat();
    let value = match defect {
        Defect::SignatureWrong => authority.signature(b"another time")?,
        _ => authority.signature(&tlv(0x31, &attributes))?,
    };
    let certificate = <x509_cert::Certificate as der::Decode>::from_der(authority.certificate())?;
    let tbs = certificate.tbs_certificate();
    let signer_info = sequence(&[
        &tlv(0x02, &[1]),
        &sequence(&[&tbs.issuer().to_der()?, &tbs.serial_number().to_der()?]),
        &digest_algorithm,
        &tlv(0xa0, &attributes),
        signature_algorithm(authority),
        &tlv(0x04, &value),
    ]);
    let signed_data = sequence(&[
        &tlv(0x02, &[3]),
        &tlv(0x31, &digest_algorithm),
        &sequence(&[content_type, &tlv(0xa0, &tlv(0x04, &info))]),
        &tlv(0xa0, &authority.chain.concat()),
        &tlv(0x31, &signer_info),
    ]);
    Ok(sequence(&[OID_SIGNED_DATA, &tlv(0xa0, &signed_data)]))
}

const OID_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const OID_SHA1: &[u8] = b"\x06\x05\x2b\x0e\x03\x02\x1a";
const OID_SIGNING_CERTIFICATE_V2: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x2f";
const OID_TST_INFO: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04";
