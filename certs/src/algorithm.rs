//! Digest and signature algorithms: their names, which are strong enough to vouch, and computing them. SHA-1 and RSA 1024
//! are computed, so that a broken package is told from an old one; whether they may vouch is asked of
//! [`Digest::is_strong`] and [`Scheme::is_strong`] by [`crate::jar`] and [`crate::path`]. Keys are in [`crate::key`].

use aws_lc_rs::digest;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, Tag, TagNumber};
use mexe_model::Reason;

/// A digest algorithm that can be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// By the name that manifests use, with or without its hyphen; `SHA` is SHA-1. Case does not count.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("SHA") {
            return Some(Self::Sha1);
        }
        let unhyphenated = |digest: &Self| {
            let letters = digest.name().bytes().filter(|b| *b != b'-');
            letters.eq(name.bytes().map(|b| b.to_ascii_uppercase()))
        };
        Self::ALL.into_iter().find(|digest| name.eq_ignore_ascii_case(digest.name()) || unhyphenated(digest))
    }

    pub(crate) const fn is_strong(self) -> bool {
        matches!(self, Self::Sha256 | Self::Sha384 | Self::Sha512)
    }

    pub(crate) fn context(self) -> digest::Context {
        digest::Context::new(match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        })
    }

    pub(crate) fn of(self, bytes: &[u8]) -> digest::Digest {
        let mut context = self.context();
        context.update(bytes);
        context.finish()
    }

    fn by_oid(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            OID_SHA1 => Some(Self::Sha1),
            OID_SHA224 => Some(Self::Sha224),
            OID_SHA256 => Some(Self::Sha256),
            OID_SHA384 => Some(Self::Sha384),
            OID_SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Reads an AlgorithmIdentifier.
    pub(crate) fn read(identifier: &[u8]) -> Result<Self, Unusable> {
        let (oid, parameters) = split(identifier)?;
        match Self::by_oid(oid) {
            Some(digest) if parameters.is_none_or(AnyRef::is_null) => Ok(digest),
            Some(_) => Err(Unusable::malformed("a digest algorithm has parameters")),
            None => Err(Unusable::weak(format!("the digest algorithm {oid} is not accepted"))),
        }
    }
}

/// SHA-256 as bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha256_bytes(&Digest::Sha256.of(bytes))
}

/// The bytes of a digest that is SHA-256.
pub(crate) fn sha256_bytes(digest: &digest::Digest) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// Why something cannot be computed, and what the package is refused for then.
#[derive(Debug, Clone)]
pub(crate) struct Unusable {
    pub(crate) reason: Reason,
    pub(crate) what: String,
}

impl Unusable {
    pub(crate) fn weak(what: impl Into<String>) -> Self {
        Self { reason: Reason::AlgorithmWeak, what: what.into() }
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self { reason: Reason::CertificateMalformed, what: what.into() }
    }
}

impl From<der::Error> for Unusable {
    fn from(_: der::Error) -> Self {
        Self::malformed("an algorithm or key is not well-formed DER")
    }
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Ecdsa(Digest),
    Ed25519,
    RsaPkcs1(Digest),
    RsaPss(Digest),
}

impl Scheme {
    /// Reads the AlgorithmIdentifier of a signature. CMS may name the digest apart from it: then it is `named_apart`.
    pub(crate) fn read(identifier: &[u8], named_apart: Option<Digest>) -> Result<Self, Unusable> {
        let (oid, parameters) = split(identifier)?;
        let no_parameters = parameters.is_none_or(AnyRef::is_null);
        let scheme = match (oid, named_apart) {
            (OID_RSA_PSS, _) => return pss(parameters),
            (OID_SHA1_RSA, _) => Self::RsaPkcs1(Digest::Sha1),
            (OID_SHA256_RSA, _) => Self::RsaPkcs1(Digest::Sha256),
            (OID_SHA384_RSA, _) => Self::RsaPkcs1(Digest::Sha384),
            (OID_SHA512_RSA, _) => Self::RsaPkcs1(Digest::Sha512),
            (OID_RSA, Some(digest)) => Self::RsaPkcs1(digest),
            (OID_ECDSA_SHA1, _) => Self::Ecdsa(Digest::Sha1),
            (OID_ECDSA_SHA256, _) => Self::Ecdsa(Digest::Sha256),
            (OID_ECDSA_SHA384, _) => Self::Ecdsa(Digest::Sha384),
            (OID_ECDSA_SHA512, _) => Self::Ecdsa(Digest::Sha512),
            (OID_ED25519, _) => Self::Ed25519,
            _ => return Err(Unusable::weak(format!("the signature algorithm {oid} is not accepted"))),
        };
        if no_parameters {
            Ok(scheme)
        } else {
            Err(Unusable::malformed("a signature algorithm has parameters"))
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ecdsa(Digest::Sha1) => "SHA1withECDSA",
            Self::Ecdsa(Digest::Sha224) => "SHA224withECDSA",
            Self::Ecdsa(Digest::Sha256) => "SHA256withECDSA",
            Self::Ecdsa(Digest::Sha384) => "SHA384withECDSA",
            Self::Ecdsa(Digest::Sha512) => "SHA512withECDSA",
            Self::Ed25519 => "Ed25519",
            Self::RsaPkcs1(Digest::Sha1) => "SHA1withRSA",
            Self::RsaPkcs1(Digest::Sha224) => "SHA224withRSA",
            Self::RsaPkcs1(Digest::Sha256) => "SHA256withRSA",
            Self::RsaPkcs1(Digest::Sha384) => "SHA384withRSA",
            Self::RsaPkcs1(Digest::Sha512) => "SHA512withRSA",
            Self::RsaPss(_) => "RSASSA-PSS",
        }
    }

    /// The digest that is part of the signature; Ed25519 has its own.
    pub(crate) const fn digest(self) -> Option<Digest> {
        match self {
            Self::Ecdsa(digest) | Self::RsaPkcs1(digest) | Self::RsaPss(digest) => Some(digest),
            Self::Ed25519 => None,
        }
    }

    pub(crate) const fn is_strong(self) -> bool {
        match self.digest() {
            Some(digest) => digest.is_strong(),
            None => true,
        }
    }
}

/// RFC 4055, 3.1, with the only parameters in use: one digest throughout, and a salt as long as it.
pub(crate) fn pss(parameters: Option<AnyRef<'_>>) -> Result<Scheme, Unusable> {
    let parameters = parameters.ok_or_else(|| Unusable::malformed("RSASSA-PSS without parameters"))?;
    parameters.sequence(|reader| {
        let mut digest = Err(Unusable::weak("RSASSA-PSS with SHA-1"));
        let (mut mask, mut salt) = (false, false);
        let mut before = None;
        while !reader.is_finished() {
            let field: AnyRef<'_> = reader.decode()?;
            let value = field.value();
            // Each once and in order: a digest that came again would have a mask and a salt of another.
            if before.replace(field.header().tag()).is_some_and(|before| before >= field.header().tag()) {
                return Err(Unusable::malformed("RSASSA-PSS with parameters out of order"));
            }
            match field.header().tag() {
                Tag::ContextSpecific { constructed: true, number: TagNumber(0) } => {
                    digest = Digest::read(value)
                }
                Tag::ContextSpecific { constructed: true, number: TagNumber(1) } => {
                    let (oid, of) = split(value)?;
                    let of = of.map(|of| der::Encode::to_der(&of)).transpose()?.unwrap_or_default();
                    mask = oid == OID_MGF1 && Digest::read(&of)? == digest.clone()?;
                }
                Tag::ContextSpecific { constructed: true, number: TagNumber(2) } => {
                    let length = u16::from_der(value)?;
                    salt = usize::from(length) == digest.clone()?.context().algorithm().output_len();
                }
                Tag::ContextSpecific { constructed: true, number: TagNumber(3) }
                    if u8::from_der(value)? == 1 => {}
                _ => return Err(Unusable::malformed("RSASSA-PSS with unknown parameters")),
            }
        }
        let digest = digest?;
        if mask && salt {
            Ok(Scheme::RsaPss(digest))
        } else {
            Err(Unusable::malformed("RSASSA-PSS with parameters that do not belong together"))
        }
    })
}

/// The object identifier and the parameters of an AlgorithmIdentifier.
pub(crate) fn split(identifier: &[u8]) -> Result<(ObjectIdentifier, Option<AnyRef<'_>>), der::Error> {
    AnyRef::from_der(identifier)?.sequence(|reader| {
        let oid = reader.decode()?;
        let parameters = if reader.is_finished() { None } else { Some(reader.decode()?) };
        Ok((oid, parameters))
    })
}

const OID_ECDSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const OID_ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const OID_ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const OID_ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
pub(crate) const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
pub(crate) const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const OID_RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const OID_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const OID_SHA1_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const OID_SHA224: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4");
const OID_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const OID_SHA256_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const OID_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const OID_SHA384_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const OID_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const OID_SHA512_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_known_by_all_their_names() {
        for (name, digest) in [
            ("SHA", Digest::Sha1),
            ("SHA1", Digest::Sha1),
            ("SHA-1", Digest::Sha1),
            ("SHA-256", Digest::Sha256),
            ("sha256", Digest::Sha256),
            ("SHA-384", Digest::Sha384),
            ("SHA-512", Digest::Sha512),
        ] {
            assert_eq!(Digest::named(name), Some(digest), "{name}");
        }
        for name in ["MD5", "SHA-2", "S-HA-1", "SHA3-256", "SHA-512/256", ""] {
            assert_eq!(Digest::named(name), None, "{name}");
        }
    }

    #[test]
    fn only_sha_256_and_up_are_strong() {
        let strong: Vec<_> = Digest::ALL.into_iter().filter(|d| d.is_strong()).map(Digest::name).collect();
        assert_eq!(strong, ["SHA-256", "SHA-384", "SHA-512"]);
        assert!(!Scheme::RsaPkcs1(Digest::Sha1).is_strong() && Scheme::Ed25519.is_strong());
    }

    /// RSASSA-PSS with these parameters, DER.
    fn pss_with(fields: &[&[u8]]) -> Result<Scheme, Unusable> {
        let tlv =
            |tag: u8, contents: &[u8]| [&[tag, u8::try_from(contents.len()).unwrap()], contents].concat();
        let parameters = tlv(0x30, &fields.concat());
        let oid = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
        Scheme::read(&tlv(0x30, &[&oid[..], &parameters].concat()), None)
    }

    #[test]
    fn pss_parameters_stand_once_and_in_order() {
        let sha256 = b"\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
        let sha512 = b"\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03";
        let mask = b"\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
        let salt = b"\xa2\x03\x02\x01\x20";
        assert_eq!(pss_with(&[sha256, mask, salt]).unwrap(), Scheme::RsaPss(Digest::Sha256));
        // The mask and the salt are those of SHA-256.
        for fields in
            [&[&sha256[..], mask, salt, sha512][..], &[sha256, salt, mask], &[sha256, mask, mask, salt]]
        {
            assert_eq!(pss_with(fields).unwrap_err().reason, Reason::CertificateMalformed);
        }
    }

    #[test]
    fn unknown_algorithms_are_weak_and_never_guessed() {
        // md5WithRSAEncryption and dsa-with-sha256.
        for identifier in [
            &b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04\x05\x00"[..],
            &b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x02"[..],
        ] {
            assert_eq!(
                Scheme::read(identifier, Some(Digest::Sha256)).unwrap_err().reason,
                Reason::AlgorithmWeak
            );
        }
        let rsa_with_junk = b"\x30\x0e\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x02\x01\x07";
        assert_eq!(Scheme::read(rsa_with_junk, None).unwrap_err().reason, Reason::CertificateMalformed);
    }
}
