//! Writes a detached CMS SignedData with one signer, with signed attributes as jarsigner makes them, or directly over the
//! content: the signature block of a JAR, or the signature beside a file. [`crate::jar`] makes its blocks here.

use aws_lc_rs::digest;
use der::{Decode, Encode};

use crate::Fault;
use crate::pki::Signer;

/// How a block is broken on purpose. Its signature is computed over what stands in it, except where said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Defect {
    /// It is sound.
    #[default]
    None,
    /// An attribute stands there twice.
    AttributeTwice,
    /// The attributes are not in the order of DER.
    AttributesUnsorted,
    /// The attributes are not in the order of DER, but were when they were signed.
    AttributesUnsortedAfterwards,
    /// The content type attribute is missing.
    ContentTypeMissing,
    /// A content type attribute stands among the unsigned ones too.
    ContentTypeUnsigned,
    /// The content type attribute names another type.
    ContentTypeWrong,
    /// The content stands in the block.
    ContentInside,
    /// The message digest attribute is missing.
    DigestMissing,
    /// The message digest attribute is that of another content.
    DigestWrong,
    /// The attribute that protects the algorithms names others.
    ProtectionWrong,
    /// There are two signers' entries, both right.
    SignerTwice,
    /// There is no signer's entry.
    SignerMissing,
    /// Attributes that follow the signature: allowed, and worth nothing.
    UnsignedAttributes,
}

/// Signs a file; the signature carries the signer's whole chain.
///
/// # Errors
/// The signature cannot be made.
pub fn detached(
    signer: &Signer,
    content: &[u8],
    with_attributes: bool,
    defect: Defect,
) -> Result<Vec<u8>, Fault> {
    sign(signer, content, with_attributes, defect, |_| Vec::new())
}

/// Signs a file; `stamp` gets the signature's value, and gives the timestamp tokens that are put beside it, each as an
/// attribute of its own.
///
/// # Errors
/// The signature cannot be made.
pub fn stamped(
    signer: &Signer,
    content: &[u8],
    stamp: impl FnOnce(&[u8]) -> Vec<Vec<u8>>,
) -> Result<Vec<u8>, Fault> {
    sign(signer, content, true, Defect::None, stamp)
}

/// Signs `content`; the block carries the signer's whole chain.
pub(crate) fn sign(
    signer: &Signer,
    content: &[u8],
    with_attributes: bool,
    defect: Defect,
    stamp: impl FnOnce(&[u8]) -> Vec<Vec<u8>>,
) -> Result<Vec<u8>, Fault> {
    let certificate = x509_cert::Certificate::from_der(signer.certificate())?;
    let tbs = certificate.tbs_certificate();
    let signature_algorithm = signature_algorithm(signer);
    let (digest_oid, digest) = digest_of(signer);
    let digest_algorithm = sequence(&[digest_oid, &[0x05, 0x00]]);
    let issuer_and_serial = sequence(&[&tbs.issuer().to_der()?, &tbs.serial_number().to_der()?]);
    let mut signer_info = vec![tlv(0x02, &[1]), issuer_and_serial, digest_algorithm.clone()];
    let signature = if with_attributes {
        let content_digest =
            digest::digest(digest, if defect == Defect::DigestWrong { b"other" } else { content });
        let (sorted, standing) = attributes(content_digest.as_ref(), defect);
        signer_info.push(tlv(0xa0, &standing));
        signer.signature(&tlv(0x31, &sorted))?
    } else {
        signer.signature(content)?
    };
    signer_info.push(signature_algorithm.to_vec());
    signer_info.push(tlv(0x04, &signature));
    let mut unsigned: Vec<u8> =
        stamp(&signature).iter().flat_map(|token| attribute(OID_TIMESTAMP, token)).collect();
    match defect {
        Defect::ContentTypeUnsigned => unsigned.extend(attribute(OID_CONTENT_TYPE, OID_DATA)),
        // 2.25.1 is nobody's attribute.
        Defect::UnsignedAttributes => unsigned.extend(attribute(b"\x06\x02\x69\x01", OID_DATA)),
        _ => {}
    }
    if !unsigned.is_empty() {
        signer_info.push(tlv(0xa1, &unsigned));
    }
    let signer_info = tlv(0x30, &signer_info.concat());
    let signer_infos = match defect {
        Defect::SignerMissing => Vec::new(),
        Defect::SignerTwice => signer_info.repeat(2),
        _ => signer_info,
    };
    let inside = if defect == Defect::ContentInside { tlv(0xa0, &tlv(0x04, content)) } else { Vec::new() };
    let signed_data = sequence(&[
        &tlv(0x02, &[1]),
        &tlv(0x31, &digest_algorithm),
        &sequence(&[OID_DATA, &inside]),
        &tlv(0xa0, &signer.chain.concat()),
        &tlv(0x31, &signer_infos),
    ]);
    Ok(sequence(&[OID_SIGNED_DATA, &tlv(0xa0, &signed_data)]))
}

/// The signed attributes as they are hashed, and as they stand in the block.
fn attributes(content_digest: &[u8], defect: Defect) -> (Vec<u8>, Vec<u8>) {
    let content_type = attribute(OID_CONTENT_TYPE, OID_DATA);
    let mut all = vec![content_type.clone(), attribute(OID_MESSAGE_DIGEST, &tlv(0x04, content_digest))];
    match defect {
        Defect::AttributeTwice => all.push(content_type),
        Defect::ContentTypeMissing => all.retain(|attribute| *attribute != content_type),
        Defect::ContentTypeWrong => {
            all.retain(|attribute| *attribute != content_type);
            all.push(attribute(OID_CONTENT_TYPE, OID_SIGNED_DATA));
        }
        Defect::DigestMissing => all.truncate(1),
        Defect::ProtectionWrong => {
            let algorithm = sequence(&[OID_SHA512, &[0x05, 0x00]]);
            let signature = tlv(0xa1, b"\x06\x03\x2b\x65\x71");
            all.push(attribute(OID_ALGORITHM_PROTECTION, &sequence(&[&algorithm, &signature])));
        }
        _ => {}
    }
    all.sort();
    let sorted = all.concat();
    all.reverse();
    match defect {
        Defect::AttributesUnsorted => (all.concat(), all.concat()),
        Defect::AttributesUnsortedAfterwards => (sorted, all.concat()),
        _ => (sorted.clone(), sorted),
    }
}

pub(crate) fn attribute(oid: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[oid, &tlv(0x31, value)])
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// One DER value: tag, length, contents.
pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match significant.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(contents);
    out
}

pub(crate) fn digest_of(signer: &Signer) -> (&'static [u8], &'static digest::Algorithm) {
    let algorithm = signer.key.algorithm();
    if *algorithm == rcgen::PKCS_ED25519 {
        (OID_SHA512, &digest::SHA512)
    } else if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
        (OID_SHA384, &digest::SHA384)
    } else {
        (OID_SHA256, &digest::SHA256)
    }
}

pub(crate) fn signature_algorithm(signer: &Signer) -> &'static [u8] {
    let algorithm = signer.key.algorithm();
    if *algorithm == rcgen::PKCS_ED25519 {
        b"\x30\x05\x06\x03\x2b\x65\x70"
    } else if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 {
        b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
    } else if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
        b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"
    } else {
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"
    }
}

const OID_ALGORITHM_PROTECTION: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x34";
pub(crate) const OID_CONTENT_TYPE: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
const OID_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
pub(crate) const OID_MESSAGE_DIGEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
pub(crate) const OID_SHA256: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const OID_SHA384: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const OID_SHA512: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03";
pub(crate) const OID_SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const OID_TIMESTAMP: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x0e";
