//! Writes the signature block of a JAR: a detached CMS SignedData with one signer, with signed attributes as jarsigner
//! makes them, or directly over the content. Called from [`crate::jar`].

use aws_lc_rs::digest;
use der::{Decode, Encode};

use crate::Fault;
use crate::pki::Signer;

/// Signs `content`; the block carries the signer's whole chain.
pub(crate) fn sign(signer: &Signer, content: &[u8], with_attributes: bool) -> Result<Vec<u8>, Fault> {
    let certificate = x509_cert::Certificate::from_der(signer.certificate())?;
    let tbs = certificate.tbs_certificate();
    let signature_algorithm = signature_algorithm(signer);
    let (digest_oid, digest) = digest_of(signer);
    let digest_algorithm = sequence(&[digest_oid, &[0x05, 0x00]]);
    let issuer_and_serial = sequence(&[&tbs.issuer().to_der()?, &tbs.serial_number().to_der()?]);
    let mut signer_info = vec![tlv(0x02, &[1]), issuer_and_serial, digest_algorithm.clone()];
    let signature = if with_attributes {
        let content_digest = digest::digest(digest, content);
        let mut attributes = [
            attribute(OID_CONTENT_TYPE, OID_DATA),
            attribute(OID_MESSAGE_DIGEST, &tlv(0x04, content_digest.as_ref())),
        ];
        attributes.sort();
        let attributes = attributes.concat();
        signer_info.push(tlv(0xa0, &attributes));
        signer.signature(&tlv(0x31, &attributes))?
    } else {
        signer.signature(content)?
    };
    signer_info.push(signature_algorithm.to_vec());
    signer_info.push(tlv(0x04, &signature));
    let signed_data = sequence(&[
        &tlv(0x02, &[1]),
        &tlv(0x31, &digest_algorithm),
        &sequence(&[OID_DATA]),
        &tlv(0xa0, &signer.chain.concat()),
        &tlv(0x31, &tlv(0x30, &signer_info.concat())),
    ]);
    Ok(sequence(&[OID_SIGNED_DATA, &tlv(0xa0, &signed_data)]))
}

fn attribute(oid: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[oid, &tlv(0x31, value)])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// One DER value: tag, length, contents.
fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
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

fn digest_of(signer: &Signer) -> (&'static [u8], &'static digest::Algorithm) {
    let algorithm = signer.key.algorithm();
    if *algorithm == rcgen::PKCS_ED25519 {
        (OID_SHA512, &digest::SHA512)
    } else if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
        (OID_SHA384, &digest::SHA384)
    } else {
        (OID_SHA256, &digest::SHA256)
    }
}

fn signature_algorithm(signer: &Signer) -> &'static [u8] {
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

const OID_CONTENT_TYPE: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
const OID_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const OID_MESSAGE_DIGEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
const OID_SHA256: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const OID_SHA384: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const OID_SHA512: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03";
const OID_SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
