//! Reads and checks one CMS SignedData (RFC 5652) with one signer: the signature block of a JAR, the signature beside a
//! file, a timestamp. What it gives is the signer's certificate and the other certificates of the block, as path material
//! only: whether the signer may vouch is decided in [`crate::path`]. DER only; the signed attributes are hashed as they
//! stand in the block. Called from [`crate::jar`], [`crate::detached`] and [`crate::timestamp`].

use der::asn1::ObjectIdentifier;
use mexe_model::Reason;

use crate::algorithm::{Digest, Scheme, Unusable};
use crate::certificate::Certificate;
use crate::timestamp::{self, Stamp};
use crate::verdict::{Quoted, Refusal};

pub(crate) mod parts;

use parts::{Attributes, Named, Parts, SignerInfo};
pub(crate) use parts::{OID_DATA, elements, tagged, unexpected};

/// A signature that is right.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) signer: Certificate,
    /// All certificates of the block, the signer's too.
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) digest: Digest,
    pub(crate) scheme: Scheme,
    /// The timestamp of the signature, which is right for it.
    pub(crate) stamp: Option<Stamp>,
}

impl Signed {
    /// Which weak algorithm the block uses, if any.
    pub(crate) fn weakness(&self) -> Option<String> {
        if !self.scheme.is_strong() {
            Some(format!("the signature is {}", self.scheme.name()))
        } else if !self.digest.is_strong() {
            Some(format!("the signature's digest is {}", self.digest.name()))
        } else {
            None
        }
    }
}

/// Checks that the block in `file` signs `content`, a signature file.
///
/// # Errors
/// `signature-malformed`, `certificate-malformed`; `signature-wrong` when it signs something else; `timestamp-wrong`;
/// `algorithm-weak` or `key-too-small` when that cannot be computed at all.
pub(crate) fn verify(block: &[u8], content: &[u8], file: &str) -> Result<Signed, Refusal> {
    let name = Quoted(file).to_string();
    let block = Block::open(block, OID_DATA, &name)?;
    if block.content.is_some() {
        return Err(block.malformed("the signature holds its own content; it must be detached"));
    }
    block.verify(&Content::Bytes(content), "signature file")
}

/// What a block signs.
pub(crate) enum Content<'a> {
    Bytes(&'a [u8]),
    /// Its digest, by the algorithm that the block names.
    Digest(aws_lc_rs::digest::Digest),
}

/// A SignedData with one signer, whose signature has not been checked yet.
pub(crate) struct Block<'a> {
    /// What messages call it.
    name: &'a str,
    content_type: ObjectIdentifier,
    /// The content, if it stands in the block.
    pub(crate) content: Option<&'a [u8]>,
    info: SignerInfo<'a>,
    attributes: Option<Attributes<'a>>,
    pub(crate) signer: Certificate,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) digest: Digest,
    scheme: Scheme,
}

impl<'a> Block<'a> {
    /// Reads a block that says it holds content of that type.
    pub(crate) fn open(
        block: &'a [u8],
        content_type: ObjectIdentifier,
        name: &'a str,
    ) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::new(Reason::SignatureMalformed, format!("{name}: {what}"));
        let unusable = |error: Unusable| Refusal::new(error.reason, format!("{name}: {}", error.what));
        let parts = Parts::read(block).map_err(|_| malformed("it is not a CMS SignedData in DER"))?;
        if parts.content_type != content_type {
            return Err(malformed("it is for content of another type"));
        }
        let [info] = parts.signers.as_slice() else {
            return Err(malformed("it must have exactly one signer"));
        };
        let info = SignerInfo::read(info).map_err(|_| malformed("its signer cannot be read"))?;
        if parts.certificates.len() > CERTIFICATES_MAX {
            return Err(malformed("it has too many certificates"));
        }
        let certificates = read_certificates(&parts.certificates, name)?;
        let mut named = certificates.iter().filter(|c| is_named(c, &info.signer));
        let signer =
            named.next().cloned().ok_or_else(|| malformed("the signer's certificate is not in it"))?;
        if named.any(|other| other.der != signer.der) {
            return Err(malformed("two of its certificates could be the signer's"));
        }
        let digest = Digest::read(info.digest_algorithm).map_err(unusable)?;
        if !parts.digest_algorithms.iter().any(|a| Digest::read(a).is_ok_and(|d| d == digest)) {
            return Err(malformed("the signer's digest algorithm is not among those that it lists"));
        }
        let scheme = Scheme::read(info.signature_algorithm, Some(digest)).map_err(unusable)?;
        // Ed25519 has SHA-512 inside, and goes with no other (RFC 8419, 3.1).
        if scheme.digest().unwrap_or(Digest::Sha512) != digest {
            return Err(malformed("its digest and signature algorithms do not belong together"));
        }
        let attributes = info.signed_attributes.map(Attributes::read).transpose();
        let attributes = attributes.map_err(|_| malformed("its signed attributes are not in DER"))?;
        if let Some(attributes) = &attributes {
            attributes.check(content_type, &info).map_err(malformed)?;
        }
        Ok(Self {
            name,
            content_type,
            content: parts.content,
            info,
            attributes,
            signer,
            certificates,
            digest,
            scheme,
        })
    }

    pub(crate) fn malformed(&self, what: &str) -> Refusal {
        Refusal::new(Reason::SignatureMalformed, format!("{}: {what}", self.name))
    }

    /// SigningCertificate and SigningCertificateV2, if they were signed.
    pub(crate) fn signing_certificate(&self) -> [Option<&'a [u8]>; 2] {
        self.attributes.as_ref().map_or([None, None], |attributes| attributes.signing_certificate)
    }

    /// Checks the signature, and that of its timestamp. `what` is the content's name for messages.
    pub(crate) fn verify(self, content: &Content<'_>, what: &str) -> Result<Signed, Refusal> {
        let wrong = |said: String| Refusal::new(Reason::SignatureWrong, format!("{}: {said}", self.name));
        let unusable = |error: Unusable| Refusal::new(error.reason, format!("{}: {}", self.name, error.what));
        let key = self.signer.key.as_ref().map_err(|error| unusable(error.clone()))?;
        let verified = match (&self.attributes, content) {
            (Some(attributes), _) => {
                let digest = match content {
                    Content::Bytes(bytes) => self.digest.of(bytes),
                    Content::Digest(digest) => *digest,
                };
                if attributes.message_digest != Some(digest.as_ref()) {
                    return Err(wrong(format!("it signs another {what}")));
                }
                key.verifies(self.scheme, &attributes.as_set, self.info.signature)
            }
            (None, _) if self.content_type != OID_DATA => {
                return Err(self.malformed("it has no signed attributes"));
            }
            (None, Content::Bytes(bytes)) => key.verifies(self.scheme, bytes, self.info.signature),
            (None, Content::Digest(_)) if self.scheme == Scheme::Ed25519 => {
                return Err(self.malformed("an Ed25519 signature over a file needs signed attributes"));
            }
            (None, Content::Digest(digest)) => key.verifies_digest(self.scheme, digest, self.info.signature),
        };
        match verified {
            Ok(true) => {}
            Ok(false) => {
                return Err(wrong(format!("the signature is not that of the signer's key over the {what}")));
            }
            Err(error) => return Err(unusable(error)),
        }
        let stamp = timestamp::of(&self.info.timestamps, self.info.signature, self.name)?;
        Ok(Signed {
            signer: self.signer,
            certificates: self.certificates,
            digest: self.digest,
            scheme: self.scheme,
            stamp,
        })
    }
}

fn is_named(certificate: &Certificate, signer: &Named<'_>) -> bool {
    match signer {
        Named::IssuerAndSerial { issuer, serial } => {
            certificate.issuer == *issuer && certificate.serial == *serial
        }
        Named::KeyIdentifier(identifier) => certificate.key_identifier.as_deref() == Some(*identifier),
    }
}

fn read_certificates(all: &[&[u8]], name: &str) -> Result<Vec<Certificate>, Refusal> {
    let read = |(at, der): (usize, &&[u8])| {
        Certificate::read(der).map_err(|unusable| {
            let detail = format!("{name}, certificate {}: {}", at + 1, unusable.what);
            Refusal::new(unusable.reason, detail)
        })
    };
    all.iter().enumerate().map(read).collect()
}

/// The most certificates that a block may bring.
const CERTIFICATES_MAX: usize = 16;
