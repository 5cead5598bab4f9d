//! Reads a signed message: a CMS SignedData (RFC 5652) that holds its content, with exactly one signer and signed attributes.
//! Gives the content and the signer's certificate when the signature is right; whether that signer may say such a thing is
//! decided by who asks: [`crate::ccm`] and [`crate::rotation`]. DER only, and only algorithms and keys that may vouch.

use der::asn1::ObjectIdentifier;
use mexe_model::Reason;

use crate::algorithm::{Digest, Scheme, Unusable};
use crate::certificate::Certificate;
use crate::cms::parts::{Attributes, Named, Parts, SignerInfo};

/// A message whose signature is right.
#[derive(Debug)]
pub(crate) struct Sealed<'a> {
    pub(crate) content: &'a [u8],
    pub(crate) signer: Certificate,
}

/// Why there is no such message.
#[derive(Debug)]
pub(crate) enum Broken {
    Malformed(String),
    /// The signer's certificate is neither in the message nor known.
    SignerUnknown,
    /// The algorithm or key is too weak, or cannot be computed.
    Unusable(Unusable),
    Wrong(&'static str),
}

impl From<der::Error> for Broken {
    fn from(_: der::Error) -> Self {
        Self::Malformed("it is not a CMS SignedData in DER with one signer and its own content".to_owned())
    }
}

impl Broken {
    /// The reason, given what malformed, wrongly signed and unknown mean here, and the detail.
    pub(crate) fn refused(self, malformed: Reason, wrong: Reason, unknown: Reason) -> (Reason, String) {
        match self {
            Self::Malformed(what) => (malformed, what),
            Self::SignerUnknown => (unknown, "the signer's certificate is not in it".to_owned()),
            // A certificate that cannot be read is the message's fault; a weak one has its own name.
            Self::Unusable(unusable) if unusable.reason == Reason::CertificateMalformed => {
                (malformed, unusable.what)
            }
            Self::Unusable(unusable) => (unusable.reason, unusable.what),
            Self::Wrong(what) => (wrong, what.to_owned()),
        }
    }
}

/// Opens a message whose content is of type `kind`. The signer is found among the certificates in it and `known`.
pub(crate) fn open<'a>(
    message: &'a [u8],
    kind: ObjectIdentifier,
    known: &[&Certificate],
) -> Result<Sealed<'a>, Broken> {
    let malformed = |what: &str| Broken::Malformed(what.to_owned());
    let parts = Parts::read(message)?;
    let ([info], Some(content)) = (parts.signers.as_slice(), parts.content) else {
        return Err(malformed("it does not have exactly one signer and its own content"));
    };
    if parts.content_type != kind {
        return Err(malformed("its content is of another type"));
    }
    let info = SignerInfo::read(info)?;
    // Attributes that are not signed would make another message of the same signature.
    let (Some(attributes), false) = (info.signed_attributes, info.has_unsigned) else {
        return Err(malformed("it does not have signed attributes and no others"));
    };
    let signer = find_signer(&parts, &info, known)?;
    let digest = Digest::read(info.digest_algorithm).map_err(Broken::Unusable)?;
    if !parts.digest_algorithms.iter().any(|a| Digest::read(a).is_ok_and(|d| d == digest)) {
        return Err(malformed("the signer's digest algorithm is not among those that it lists"));
    }
    let scheme = Scheme::read(info.signature_algorithm, Some(digest)).map_err(Broken::Unusable)?;
    // Ed25519 has its own digest; the attributes' one is free then (RFC 8419, 3).
    if scheme.digest().is_some_and(|of_scheme| of_scheme != digest) {
        return Err(malformed("its digest and signature algorithms do not belong together"));
    }
    if !scheme.is_strong() || !digest.is_strong() {
        let what = format!("the signature is {} over {}", scheme.name(), digest.name());
        return Err(Broken::Unusable(Unusable::weak(what)));
    }
    let key = signer.key.clone().map_err(Broken::Unusable)?;
    if !key.is_large_enough() {
        let what = format!("the signer's key is {}", key.description());
        return Err(Broken::Unusable(Unusable { reason: Reason::KeyTooSmall, what }));
    }
    let attributes = Attributes::read(attributes)?;
    attributes.check(kind, &info).map_err(malformed)?;
    if attributes.message_digest != Some(digest.of(content).as_ref()) {
        return Err(Broken::Wrong("it signs another content"));
    }
    match key.verifies(scheme, &attributes.as_set, info.signature) {
        Ok(true) => Ok(Sealed { content, signer }),
        Ok(false) => Err(Broken::Wrong("the signature is not that of the signer's key")),
        Err(unusable) => Err(Broken::Unusable(unusable)),
    }
}

fn find_signer(
    parts: &Parts<'_>,
    info: &SignerInfo<'_>,
    known: &[&Certificate],
) -> Result<Certificate, Broken> {
    if parts.certificates.len() > CERTIFICATES_MAX {
        return Err(Broken::Malformed("it has too many certificates".to_owned()));
    }
    let Named::IssuerAndSerial { issuer, serial } = info.signer else {
        return Err(Broken::Malformed("its signer is not named by issuer and serial number".to_owned()));
    };
    let named = |c: &Certificate| c.issuer == issuer && c.serial == serial;
    for (at, der) in parts.certificates.iter().enumerate() {
        let certificate = Certificate::read(der).map_err(|unusable| {
            Broken::Malformed(format!("certificate {} in it: {}", at + 1, unusable.what))
        })?;
        if named(&certificate) {
            return Ok(certificate);
        }
    }
    known.iter().find(|c| named(c)).map(|c| (*c).clone()).ok_or(Broken::SignerUnknown)
}

/// The most certificates that a message may bring.
const CERTIFICATES_MAX: usize = 16;
