//! Whether a record's key identifier is that of the key. It has to be computed from the key: an identifier that a
//! certificate only claims in its own extension names nothing (security.md S18). Accepted is what issuers compute:
//!
//! - as a WIM does: SHA-1 of the key material, the modulus (RSA) or the x coordinate (EC);
//! - RFC 5280, 4.2.1.2, method 1: SHA-1 of the key's bit string;
//! - RFC 7093, 2: the first 20 bytes of SHA-256 of the bit string, or all 32; the same of the whole SubjectPublicKeyInfo.
//!
//! It is a link and no proof: what the owner accepts is SHA-256 of the whole SubjectPublicKeyInfo.

use der::asn1::{BitStringRef, UintRef};
use der::{Reader, SliceReader};

use crate::algorithm::{Digest, sha256};

/// Whether `identifier` names the key in `spki`.
pub(super) fn names(identifier: &[u8], spki: &[u8]) -> bool {
    let Ok(key) = bits(spki) else { return false };
    let is =
        |digest: &[u8]| digest == identifier || (digest.len() == 32 && digest.get(..20) == Some(identifier));
    let sha1 = |bytes: &[u8]| Digest::Sha1.of(bytes);
    is(sha1(key).as_ref())
        || material(key).is_some_and(|material| is(sha1(material).as_ref()))
        || is(&sha256(key))
        || is(&sha256(spki))
}

/// The bit string of a SubjectPublicKeyInfo.
fn bits(spki: &[u8]) -> Result<&[u8], der::Error> {
    let mut reader = SliceReader::new(spki)?;
    let key = reader.sequence(|reader| {
        reader.tlv_bytes()?;
        reader.decode::<BitStringRef<'_>>()
    })?;
    Ok(key.as_bytes().unwrap_or_default())
}

/// The modulus of an RSA key, or the x coordinate of a point.
fn material(key: &[u8]) -> Option<&[u8]> {
    match key.split_first() {
        // An uncompressed point: 04, x, y.
        Some((4, point)) if point.len() % 2 == 0 => point.get(..point.len() / 2),
        _ => modulus(key).ok(),
    }
}

fn modulus(key: &[u8]) -> Result<&[u8], der::Error> {
    let mut reader = SliceReader::new(key)?;
    reader.sequence(|reader| {
        let modulus: UintRef<'_> = reader.decode()?;
        let _exponent: UintRef<'_> = reader.decode()?;
        Ok(modulus.as_bytes())
    })
}
