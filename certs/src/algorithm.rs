//! Digest and signature algorithms: their names, which are strong enough to vouch, and computing them. SHA-1 and RSA 1024
//! are computed, so that a broken package is told from an old one; whether they may vouch is asked of
//! [`Digest::is_strong`], [`Scheme::is_strong`] and [`PublicKey::is_large_enough`] by [`crate::jar`] and [`crate::path`].

use aws_lc_rs::{digest, signature as aws};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber};
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
        let name = name.to_ascii_uppercase();
        if name == "SHA" {
            return Some(Self::Sha1);
        }
        Self::ALL.into_iter().find(|digest| digest.name() == name || digest.name().replace('-', "") == name)
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
    let mut out = [0; 32];
    out.copy_from_slice(Digest::Sha256.of(bytes).as_ref());
    out
}

/// Why something cannot be computed, and what the package is refused for then.
#[derive(Debug, Clone)]
pub(crate) struct Unusable {
    pub(crate) reason: Reason,
    pub(crate) what: String,
}

impl Unusable {
    fn weak(what: impl Into<String>) -> Self {
        Self { reason: Reason::AlgorithmWeak, what: what.into() }
    }

    fn malformed(what: impl Into<String>) -> Self {
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
fn pss(parameters: Option<AnyRef<'_>>) -> Result<Scheme, Unusable> {
    let parameters = parameters.ok_or_else(|| Unusable::malformed("RSASSA-PSS without parameters"))?;
    parameters.sequence(|reader| {
        let mut digest = Err(Unusable::weak("RSASSA-PSS with SHA-1"));
        let (mut mask, mut salt) = (false, false);
        while !reader.is_finished() {
            let field: AnyRef<'_> = reader.decode()?;
            let value = field.value();
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

/// A public key that signatures can be checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Rsa { key: Vec<u8>, bits: usize },
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn read(spki: &[u8]) -> Result<Self, Unusable> {
        let mut reader = SliceReader::new(spki)?;
        let (identifier, key) = reader.sequence(|reader| {
            let identifier = reader.tlv_bytes()?;
            Ok::<_, der::Error>((identifier, reader.decode::<BitStringRef<'_>>()?))
        })?;
        reader.finish()?;
        let key = key.as_bytes().ok_or_else(|| Unusable::malformed("a key of uneven length"))?.to_vec();
        let (oid, parameters) = split(identifier)?;
        match oid {
            OID_RSA => Ok(Self::Rsa { bits: modulus_bits(&key)?, key }),
            OID_ED25519 if parameters.is_none() => Ok(Self::Ed25519(key)),
            OID_EC => match parameters.map(AnyRef::decode_as::<ObjectIdentifier>).transpose()? {
                Some(OID_P256) => Ok(Self::P256(key)),
                Some(OID_P384) => Ok(Self::P384(key)),
                Some(OID_P521) => Ok(Self::P521(key)),
                _ => Err(Unusable::weak("the elliptic curve is not accepted: use P-256, P-384 or P-521")),
            },
            _ => {
                Err(Unusable::weak(format!("keys of kind {oid} are not accepted: use RSA, ECDSA or Ed25519")))
            }
        }
    }

    pub(crate) const fn is_large_enough(&self) -> bool {
        !matches!(self, Self::Rsa { bits, .. } if *bits < 2048)
    }

    /// As `RSA 2048`, for messages.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Ed25519(_) => "Ed25519".to_owned(),
            Self::P256(_) => "EC P-256".to_owned(),
            Self::P384(_) => "EC P-384".to_owned(),
            Self::P521(_) => "EC P-521".to_owned(),
            Self::Rsa { bits, .. } => format!("RSA {bits}"),
        }
    }

    /// Whether `signature` is this key's over `message`.
    ///
    /// # Errors
    /// It cannot be computed: the scheme is not this kind of key's, or the key's size or digest is out of all use.
    pub(crate) fn verifies(
        &self,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, Unusable> {
        use Digest::{Sha1, Sha256, Sha384, Sha512};
        let too_weak =
            || Unusable::weak(format!("{} with {} is not accepted", scheme.name(), self.description()));
        let (algorithm, key): (&'static dyn aws::VerificationAlgorithm, _) = match (self, scheme) {
            (Self::Ed25519(key), Scheme::Ed25519) => (&aws::ED25519, key),
            (Self::P256(key), Scheme::Ecdsa(Sha1)) => (&aws::ECDSA_P256_SHA1_ASN1, key),
            (Self::P256(key), Scheme::Ecdsa(Sha256)) => (&aws::ECDSA_P256_SHA256_ASN1, key),
            (Self::P256(key), Scheme::Ecdsa(Sha384)) => (&aws::ECDSA_P256_SHA384_ASN1, key),
            (Self::P256(key), Scheme::Ecdsa(Sha512)) => (&aws::ECDSA_P256_SHA512_ASN1, key),
            (Self::P384(key), Scheme::Ecdsa(Sha256)) => (&aws::ECDSA_P384_SHA256_ASN1, key),
            (Self::P384(key), Scheme::Ecdsa(Sha384)) => (&aws::ECDSA_P384_SHA384_ASN1, key),
            (Self::P384(key), Scheme::Ecdsa(Sha512)) => (&aws::ECDSA_P384_SHA512_ASN1, key),
            (Self::P521(key), Scheme::Ecdsa(Sha1)) => (&aws::ECDSA_P521_SHA1_ASN1, key),
            (Self::P521(key), Scheme::Ecdsa(Sha256)) => (&aws::ECDSA_P521_SHA256_ASN1, key),
            (Self::P521(key), Scheme::Ecdsa(Sha384)) => (&aws::ECDSA_P521_SHA384_ASN1, key),
            (Self::P521(key), Scheme::Ecdsa(Sha512)) => (&aws::ECDSA_P521_SHA512_ASN1, key),
            (Self::Rsa { bits, .. }, _) if *bits > 8192 => {
                return Err(Unusable::malformed(format!(
                    "RSA {bits} is larger than the 8192 bits that are accepted"
                )));
            }
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(Sha1)) => {
                (&aws::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, key)
            }
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(Sha256)) => {
                (&aws::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)
            }
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(Sha512)) => {
                (&aws::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, key)
            }
            (Self::Rsa { bits, .. }, Scheme::RsaPkcs1(_) | Scheme::RsaPss(_)) if *bits < 2048 => {
                let what = format!("{} with {} is not accepted", scheme.name(), self.description());
                return Err(Unusable { reason: Reason::KeyTooSmall, what });
            }
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(Sha384)) => (&aws::RSA_PKCS1_2048_8192_SHA384, key),
            (Self::Rsa { key, .. }, Scheme::RsaPss(Sha256)) => (&aws::RSA_PSS_2048_8192_SHA256, key),
            (Self::Rsa { key, .. }, Scheme::RsaPss(Sha384)) => (&aws::RSA_PSS_2048_8192_SHA384, key),
            (Self::Rsa { key, .. }, Scheme::RsaPss(Sha512)) => (&aws::RSA_PSS_2048_8192_SHA512, key),
            (Self::Rsa { .. }, Scheme::RsaPkcs1(_) | Scheme::RsaPss(_)) => return Err(too_weak()),
            (Self::P256(_) | Self::P384(_) | Self::P521(_), Scheme::Ecdsa(_)) => return Err(too_weak()),
            _ => return Ok(false),
        };
        if matches!(self, Self::Rsa { bits, .. } if *bits < 1024) {
            return Err(Unusable {
                reason: Reason::KeyTooSmall,
                what: format!("the key is {}", self.description()),
            });
        }
        Ok(aws::UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok())
    }
}

/// The object identifier and the parameters of an AlgorithmIdentifier.
fn split(identifier: &[u8]) -> Result<(ObjectIdentifier, Option<AnyRef<'_>>), der::Error> {
    AnyRef::from_der(identifier)?.sequence(|reader| {
        let oid = reader.decode()?;
        let parameters = if reader.is_finished() { None } else { Some(reader.decode()?) };
        Ok((oid, parameters))
    })
}

fn modulus_bits(key: &[u8]) -> Result<usize, der::Error> {
    AnyRef::from_der(key)?.sequence(|reader| {
        let modulus: UintRef<'_> = reader.decode()?;
        let _exponent: UintRef<'_> = reader.decode()?;
        let bytes = modulus.as_bytes();
        let unused = bytes.first().map_or(0, |first| first.leading_zeros());
        Ok::<_, der::Error>((bytes.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or(0)))
    })
}

const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_ECDSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const OID_ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const OID_ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const OID_ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const OID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const OID_RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
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
