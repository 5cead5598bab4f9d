//! Signs messages that hold their content: a CMS SignedData with one signer and signed attributes, as `openssl cms -sign
//! -nodetach` makes it; and the few DER values that such contents are made of. Called from [`crate::ccm`] and
//! [`crate::rotation`].

use aws_lc_rs::digest;
use der::asn1::GeneralizedTime;
use der::{DateTime, Decode, Encode};
use mexe_model::WallTime;
use rcgen::KeyPair;

use crate::Fault;
use crate::cms::{attribute, digest_of, sequence, signature_algorithm, tlv};
use crate::pki::{Authority, Signer};

/// How a message is broken on purpose. Its signature is computed over what stands in it, except where said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SealDefect {
    /// It is sound.
    #[default]
    None,
    /// The attributes are not in the order of DER.
    AttributesUnsorted,
    /// The content is left out.
    ContentDetached,
    /// The content was changed after it was signed: its last byte.
    ContentChanged,
    /// The content type of the attributes is another than the message's.
    ContentTypeOther,
    /// The content type is `id-data`, everywhere.
    ContentTypeData,
    /// The signature was changed: its last byte.
    SignatureChanged,
    /// There are no signed attributes: the content is signed directly.
    NoAttributes,
    /// There are two signers' entries, both right.
    SignerTwice,
    /// No certificate comes along.
    NoCertificates,
    /// A byte follows the message.
    TrailingByte,
    /// The last byte is missing.
    Truncated,
    /// There are attributes that are not signed.
    UnsignedAttributes,
}

impl SealDefect {
    /// Every way.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::AttributesUnsorted,
        Self::ContentDetached,
        Self::ContentChanged,
        Self::ContentTypeOther,
        Self::ContentTypeData,
        Self::SignatureChanged,
        Self::NoAttributes,
        Self::SignerTwice,
        Self::NoCertificates,
        Self::TrailingByte,
        Self::Truncated,
        Self::UnsignedAttributes,
    ];
}

/// Signs `content` of the type `kind` (an object identifier, DER). The signer's whole chain comes along.
///
/// # Errors
/// The signature cannot be made.
pub fn seal(signer: &Signer, kind: &[u8], content: &[u8], defect: SealDefect) -> Result<Vec<u8>, Fault> {
    let certificate = x509_cert::Certificate::from_der(signer.certificate())?;
    let tbs = certificate.tbs_certificate();
    let (digest_oid, algorithm) = digest_of(signer);
    let digest_algorithm = sequence(&[digest_oid, &[0x05, 0x00]]);
    let issuer_and_serial = sequence(&[&tbs.issuer().to_der()?, &tbs.serial_number().to_der()?]);
    let kind = if defect == SealDefect::ContentTypeData { OID_DATA } else { kind };
    let signed_kind = if defect == SealDefect::ContentTypeOther { OID_DATA } else { kind };
    let mut attributes = [
        attribute(OID_CONTENT_TYPE, signed_kind),
        attribute(OID_MESSAGE_DIGEST, &tlv(0x04, digest::digest(algorithm, content).as_ref())),
    ];
    attributes.sort();
    if defect == SealDefect::AttributesUnsorted {
        attributes.reverse();
    }
    let attributes = attributes.concat();
    let mut info = vec![tlv(0x02, &[1]), issuer_and_serial, digest_algorithm.clone()];
    let mut signature = if defect == SealDefect::NoAttributes {
        signer.signature(content)?
    } else {
        info.push(tlv(0xa0, &attributes));
        signer.signature(&tlv(0x31, &attributes))?
    };
    if defect == SealDefect::SignatureChanged {
        flip_last(&mut signature);
    }
    info.push(signature_algorithm(signer).to_vec());
    info.push(tlv(0x04, &signature));
    if defect == SealDefect::UnsignedAttributes {
        info.push(tlv(0xa1, &attribute(OID_CONTENT_TYPE, OID_DATA)));
    }
    let info = tlv(0x30, &info.concat());
    let infos = if defect == SealDefect::SignerTwice { info.repeat(2) } else { info };
    let mut content = content.to_vec();
    if defect == SealDefect::ContentChanged {
        flip_last(&mut content);
    }
    let inside =
        if defect == SealDefect::ContentDetached { Vec::new() } else { tlv(0xa0, &tlv(0x04, &content)) };
    let certificates =
        if defect == SealDefect::NoCertificates { Vec::new() } else { tlv(0xa0, &signer.chain.concat()) };
    let signed_data = sequence(&[
        &tlv(0x02, &[3]),
        &tlv(0x31, &digest_algorithm),
        &sequence(&[kind, &inside]),
        &certificates,
        &tlv(0x31, &infos),
    ]);
    let mut message = sequence(&[OID_SIGNED_DATA, &tlv(0xa0, &signed_data)]);
    match defect {
        SealDefect::TrailingByte => message.push(0),
        SealDefect::Truncated => message.truncate(message.len().saturating_sub(1)),
        _ => {}
    }
    Ok(message)
}

fn flip_last(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

impl Authority {
    /// The authority's own key as the signer of messages.
    ///
    /// # Errors
    /// The key cannot be read back.
    pub fn as_signer(&self) -> Result<Signer, Fault> {
        Ok(Signer { key: KeyPair::from_pem(&self.key_pem())?, chain: vec![self.certificate().to_vec()] })
    }
}

/// A GeneralizedTime, DER.
pub(crate) fn time(at: WallTime) -> Result<Vec<u8>, Fault> {
    let time = DateTime::from_unix_duration(std::time::Duration::from_secs(at.as_secs()))?;
    Ok(GeneralizedTime::from_date_time(time).to_der()?)
}

/// An OCTET STRING.
pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    tlv(0x04, bytes)
}

/// SHA-256 of the key (SubjectPublicKeyInfo) in a certificate.
///
/// # Errors
/// The certificate cannot be read.
pub fn key_hash(certificate: &[u8]) -> Result<[u8; 32], Fault> {
    let certificate = x509_cert::Certificate::from_der(certificate)?;
    Ok(sha256(&certificate.tbs_certificate().subject_public_key_info().to_der()?))
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

const OID_CONTENT_TYPE: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
const OID_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const OID_MESSAGE_DIGEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
const OID_SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
