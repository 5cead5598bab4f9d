//! WTLS certificates, as a card may hold them: read to their fields, and their own signature checked. They are of one
//! form only, RSA with SHA-1, so they count under the legacy rules alone and never for the operator.
//!
//! A WTLS root may be the end of an X.509 chain, as a bare name and key, when its subject is an X.509 name: a chain ends
//! by name and key, and the record it lies in says that it is an authority. Every other form of subject cannot be an
//! issuer that an X.509 certificate names, so it anchors nothing. That signatures are PKCS #1 v1.5 with a DigestInfo,
//! and the form of EC keys and of binary, hashed and X.509 names, are this project's reading.

use der::asn1::{AnyRef, UintRef};
use der::{Decode, Encode};
use mexe_model::WallTime;
use x509_cert::name::Name;

use super::Problem;
use crate::algorithm::{Digest, Scheme};
use crate::key::PublicKey;

/// A WTLS certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WtlsCertificate {
    /// How it is signed.
    pub signature_algorithm: WtlsSignature,
    /// Who issued it.
    pub issuer: WtlsName,
    /// The first moment of validity.
    pub not_before: WallTime,
    /// The last second of validity.
    pub not_after: WallTime,
    /// Whose it is.
    pub subject: WtlsName,
    /// The public key.
    pub key: WtlsKey,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// How a WTLS certificate is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WtlsSignature {
    /// 0: not at all.
    Anonymous,
    /// 1: ECDSA with SHA-1.
    EcdsaSha,
    /// 2: RSA with SHA-1.
    RsaSha,
}

/// A name in a WTLS certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WtlsName {
    /// 0: none.
    Null,
    /// 1: text in a character set by its number (IANA MIBenum; 106 is UTF-8).
    Text {
        /// The character set.
        charset: u16,
        /// The text, in it.
        text: Vec<u8>,
    },
    /// 2: octets.
    Binary(Vec<u8>),
    /// 254: SHA-1 of a key.
    KeyHash([u8; 20]),
    /// 255: an X.509 name, DER.
    X509(Vec<u8>),
}

/// The public key of a WTLS certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WtlsKey {
    /// 2: RSA.
    Rsa {
        /// The exponent, big-endian.
        exponent: Vec<u8>,
        /// The modulus, big-endian.
        modulus: Vec<u8>,
    },
    /// 3 and 4: a point for ECDH or ECDSA. Read, but never used.
    Ec {
        /// Whether it is for ECDSA.
        signs: bool,
        /// Which curve: a number of the WTLS standard, 255 when it is described.
        parameter_index: u8,
        /// The point.
        point: Vec<u8>,
    },
}

/// A WTLS root as the end of a chain: a name and a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The name that issuers' fields are compared with, DER.
    pub subject: Vec<u8>,
    /// The SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The first moment of validity.
    pub not_before: WallTime,
    /// The last second of validity.
    pub not_after: WallTime,
}

impl WtlsCertificate {
    /// Reads one certificate. Every byte must belong to it.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Bytes(bytes);
        let version = reader.byte()?;
        if version != 1 {
            return Err(format!("it is a WTLS certificate of version {version}"));
        }
        let signature_algorithm = match reader.byte()? {
            0 => WtlsSignature::Anonymous,
            1 => WtlsSignature::EcdsaSha,
            2 => WtlsSignature::RsaSha,
            other => return Err(format!("its WTLS signature algorithm {other} is not defined")),
        };
        let issuer = reader.name()?;
        let (not_before, not_after) = (reader.time()?, reader.time()?);
        let subject = reader.name()?;
        let key = reader.key()?;
        let signed = bytes.get(..bytes.len().saturating_sub(reader.0.len())).unwrap_or_default().to_vec();
        let signature = reader.vector2()?.to_vec();
        if !reader.0.is_empty() {
            return Err("bytes follow the WTLS certificate".to_owned());
        }
        Ok(Self { signature_algorithm, issuer, not_before, not_after, subject, key, signed, signature })
    }

    /// Its bytes.
    pub fn encoded(&self) -> Vec<u8> {
        let length = u16::try_from(self.signature.len()).unwrap_or(u16::MAX).to_be_bytes();
        [self.signed.as_slice(), &length, &self.signature].concat()
    }

    /// Whether issuer and subject are the same; one without an issuer is taken so too.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject || self.issuer == WtlsName::Null
    }

    /// Whether `key` made its signature. What cannot be computed did not.
    pub fn is_signed_by(&self, key: &WtlsKey) -> bool {
        let key = key.spki().and_then(|spki| PublicKey::read(&spki).ok());
        self.signature_algorithm == WtlsSignature::RsaSha
            && key.is_some_and(|key| {
                key.verifies(Scheme::RsaPkcs1(Digest::Sha1), &self.signed, &self.signature).unwrap_or(false)
            })
    }

    /// The end of an X.509 chain that it can be: for an RSA key and an X.509 name as subject.
    pub fn anchor(&self) -> Option<Anchor> {
        let WtlsName::X509(subject) = &self.subject else { return None };
        // Nothing that the chain's own reader would not take for a name.
        Name::from_der(subject).ok().filter(|name| !name.is_empty())?;
        let (not_before, not_after) = (self.not_before, self.not_after);
        Some(Anchor { subject: subject.clone(), spki: self.key.spki()?, not_before, not_after })
    }

    /// Why it can be no root.
    pub(super) fn problem(&self) -> Option<Problem> {
        if self.key.spki().is_none() {
            Some(Problem::WtlsKeyUnsupported)
        } else if self.signature_algorithm != WtlsSignature::RsaSha {
            Some(Problem::WtlsUnsigned)
        } else if self.is_self_issued() && !self.is_signed_by(&self.key) {
            // It proves nothing, but a wrong one shows that the card's data were damaged.
            Some(Problem::WtlsSignatureWrong)
        } else {
            None
        }
    }
}

impl std::fmt::Display for WtlsName {
    /// For people; may hold any characters.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = |f: &mut std::fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match self {
            Self::Null => f.write_str("(none)"),
            Self::Text { text, .. } => f.write_str(&String::from_utf8_lossy(text)),
            Self::Binary(bytes) => hex(f, bytes),
            Self::KeyHash(hash) => hex(f, hash),
            Self::X509(der) => match Name::from_der(der) {
                Ok(name) => write!(f, "{name}"),
                Err(_) => hex(f, der),
            },
        }
    }
}

impl WtlsKey {
    /// The key as a SubjectPublicKeyInfo, DER; `None` for keys that are not RSA.
    pub fn spki(&self) -> Option<Vec<u8>> {
        let Self::Rsa { exponent, modulus } = self else { return None };
        let key = [UintRef::new(modulus).ok()?.to_der().ok()?, UintRef::new(exponent).ok()?.to_der().ok()?];
        let key = sequence(&key.concat())?;
        let bits = der::asn1::BitStringRef::from_bytes(&key).ok()?.to_der().ok()?;
        sequence(&[RSA_ENCRYPTION, &bits].concat())
    }
}

/// AlgorithmIdentifier of rsaEncryption.
const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

fn sequence(content: &[u8]) -> Option<Vec<u8>> {
    AnyRef::new(der::Tag::Sequence, content).ok()?.to_der().ok()
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| "the WTLS certificate is cut off".to_owned())?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| "the WTLS certificate is cut off".to_owned())
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array().map(|[byte]| byte)
    }

    fn vector1(&mut self) -> Result<&'a [u8], String> {
        let length = self.byte()?;
        self.take(length.into())
    }

    fn vector2(&mut self) -> Result<&'a [u8], String> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(length.into())
    }

    fn time(&mut self) -> Result<WallTime, String> {
        Ok(WallTime::from_secs(u32::from_be_bytes(self.array()?).into()))
    }

    fn name(&mut self) -> Result<WtlsName, String> {
        Ok(match self.byte()? {
            0 => WtlsName::Null,
            1 => {
                let charset = u16::from_be_bytes(self.array()?);
                WtlsName::Text { charset, text: self.vector1()?.to_vec() }
            }
            2 => WtlsName::Binary(self.vector1()?.to_vec()),
            254 => WtlsName::KeyHash(self.array()?),
            255 => WtlsName::X509(self.vector1()?.to_vec()),
            other => return Err(format!("its WTLS name of kind {other} is not defined")),
        })
    }

    fn key(&mut self) -> Result<WtlsKey, String> {
        let kind = self.byte()?;
        let parameter_index = self.byte()?;
        if parameter_index == 0xFF {
            self.vector2()?;
        }
        match kind {
            2 => {
                let exponent = self.vector2()?.to_vec();
                Ok(WtlsKey::Rsa { exponent, modulus: self.vector2()?.to_vec() })
            }
            3 | 4 => Ok(WtlsKey::Ec { signs: kind == 4, parameter_index, point: self.vector1()?.to_vec() }),
            other => Err(format!("its WTLS key of kind {other} is not defined")),
        }
    }
}
