//! Public keys: their kinds and sizes, and checking signatures with them, also with kinds that are too weak to vouch: see
//! [`crate::algorithm`]. Called for certificates from [`crate::certificate`], for signature blocks from [`crate::cms`].

use aws_lc_rs::{digest, signature as aws};
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Reader, SliceReader};
use mexe_model::Reason;

use crate::algorithm::{Digest, OID_ED25519, OID_RSA, OID_RSA_PSS, Scheme, Unusable, pss, split};

/// A public key that signatures can be checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Rsa {
        key: Vec<u8>,
        bits: usize,
    },
    /// A key of kind id-RSASSA-PSS (RFC 4055, 1.2), which makes no other signatures; with a digest, only with that one.
    RsaPss {
        key: Vec<u8>,
        bits: usize,
        digest: Option<Digest>,
    },
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
            OID_RSA_PSS => {
                let digest = match parameters {
                    None => None,
                    Some(_) => pss(parameters)?.digest(),
                };
                Ok(Self::RsaPss { bits: modulus_bits(&key)?, key, digest })
            }
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

    /// The length of an RSA modulus.
    const fn rsa_bits(&self) -> Option<usize> {
        match self {
            Self::Rsa { bits, .. } | Self::RsaPss { bits, .. } => Some(*bits),
            Self::Ed25519(_) | Self::P256(_) | Self::P384(_) | Self::P521(_) => None,
        }
    }

    pub(crate) const fn is_large_enough(&self) -> bool {
        !matches!(self.rsa_bits(), Some(bits) if bits < 2048)
    }

    /// Whether the legacy rules let it vouch.
    pub(crate) const fn is_large_enough_for_legacy(&self) -> bool {
        !matches!(self.rsa_bits(), Some(bits) if bits < 1024)
    }

    /// As `RSA 2048`, for messages.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Ed25519(_) => "Ed25519".to_owned(),
            Self::P256(_) => "EC P-256".to_owned(),
            Self::P384(_) => "EC P-384".to_owned(),
            Self::P521(_) => "EC P-521".to_owned(),
            Self::Rsa { bits, .. } => format!("RSA {bits}"),
            Self::RsaPss { bits, .. } => format!("RSASSA-PSS {bits}"),
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
        let Some((algorithm, key)) = self.algorithm(scheme)? else { return Ok(false) };
        Ok(aws::UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok())
    }

    /// Whether `signature` is this key's over the message of that digest, which must be the scheme's own.
    ///
    /// # Errors
    /// As [`Self::verifies`]; Ed25519 needs the whole message.
    pub(crate) fn verifies_digest(
        &self,
        scheme: Scheme,
        digest: &digest::Digest,
        signature: &[u8],
    ) -> Result<bool, Unusable> {
        if scheme.digest().is_none_or(|own| own.context().algorithm() != digest.algorithm()) {
            return Err(Unusable::malformed(format!("{} does not sign a digest", scheme.name())));
        }
        let Some((algorithm, key)) = self.algorithm(scheme)? else { return Ok(false) };
        Ok(aws::UnparsedPublicKey::new(algorithm, key).verify_digest(digest, signature).is_ok())
    }

    /// What computes the scheme with this key; `None`: the scheme is not that of such a key.
    fn algorithm(&self, scheme: Scheme) -> Result<Option<(Algorithm, &[u8])>, Unusable> {
        use Digest::{Sha1, Sha256, Sha384, Sha512};
        let too_weak =
            || Unusable::weak(format!("{} with {} is not accepted", scheme.name(), self.description()));
        if let Some(bits) = self.rsa_bits().filter(|bits| *bits > 8192) {
            let what = format!("RSA {bits} is larger than the 8192 bits that are accepted");
            return Err(Unusable::malformed(what));
        }
        if !self.is_large_enough_for_legacy() {
            let what = format!("the key is {}", self.description());
            return Err(Unusable { reason: Reason::KeyTooSmall, what });
        }
        let (algorithm, key): (Algorithm, _) = match (self, scheme) {
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
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(Sha1)) => {
                (&aws::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, key)
            }
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(Sha256)) => {
                (&aws::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)
            }
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(Sha512)) => {
                (&aws::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, key)
            }
            (Self::Rsa { .. }, Scheme::RsaPkcs1(_) | Scheme::RsaPss(_))
            | (Self::RsaPss { .. }, Scheme::RsaPss(_))
                if !self.is_large_enough() =>
            {
                let what = format!("{} with {} is not accepted", scheme.name(), self.description());
                return Err(Unusable { reason: Reason::KeyTooSmall, what });
            }
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(Sha384)) => (&aws::RSA_PKCS1_2048_8192_SHA384, key),
            (Self::RsaPss { digest: Some(only), .. }, Scheme::RsaPss(other)) if *only != other => {
                return Ok(None);
            }
            (Self::Rsa { key, .. } | Self::RsaPss { key, .. }, Scheme::RsaPss(Sha256)) => {
                (&aws::RSA_PSS_2048_8192_SHA256, key)
            }
            (Self::Rsa { key, .. } | Self::RsaPss { key, .. }, Scheme::RsaPss(Sha384)) => {
                (&aws::RSA_PSS_2048_8192_SHA384, key)
            }
            (Self::Rsa { key, .. } | Self::RsaPss { key, .. }, Scheme::RsaPss(Sha512)) => {
                (&aws::RSA_PSS_2048_8192_SHA512, key)
            }
            (Self::Rsa { .. } | Self::RsaPss { .. }, Scheme::RsaPss(_))
            | (Self::Rsa { .. }, Scheme::RsaPkcs1(_)) => return Err(too_weak()),
            (Self::P256(_) | Self::P384(_) | Self::P521(_), Scheme::Ecdsa(_)) => return Err(too_weak()),
            _ => return Ok(None),
        };
        Ok(Some((algorithm, key)))
    }
}

type Algorithm = &'static dyn aws::VerificationAlgorithm;

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
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const OID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
