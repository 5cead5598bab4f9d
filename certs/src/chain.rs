//! The only file that names webpki: whether it can read a certificate, and whether it accepts a chain to a root. The
//! rules that webpki leaves to its callers are in [`crate::path`], which asks here last; nothing is verified without it.

use der::Decode;
use der::asn1::AnyRef;
use mexe_model::{Reason, WallTime};
use pki_types::{CertificateDer, Der, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::aws_lc_rs as algorithm;
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeId,
    KeyPurposeIdIter, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

use crate::verdict::Refusal;

mod legacy;
mod own;

/// Whether webpki can read a certificate.
///
/// # Errors
/// Why not, in words.
pub(crate) fn readable(der: &[u8]) -> Result<(), String> {
    EndEntityCert::try_from(&CertificateDer::from(der))
        .map(|_| ())
        .map_err(|error| format!("it {}", in_words(&error)))
}

/// A revocation list as webpki reads it.
#[derive(Debug)]
pub(crate) struct List(CertRevocationList<'static>);

impl List {
    /// Reads a list with all its entries.
    ///
    /// # Errors
    /// Why webpki cannot, in words.
    pub(crate) fn read(der: &[u8]) -> Result<Self, String> {
        OwnedCertRevocationList::from_der(der)
            .map(|list| Self(CertRevocationList::Owned(list)))
            .map_err(|error| format!("it {}", in_words(&error)))
    }
}

/// Whether a certificate is for that DNS name or address. Asked by tests only: code is not signed by hosts.
pub(crate) fn is_for(leaf: &[u8], name: &str) -> bool {
    let leaf = CertificateDer::from(leaf);
    let Ok(name) = pki_types::ServerName::try_from(name) else { return false };
    EndEntityCert::try_from(&leaf).is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

/// The end of a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End<'a> {
    /// A certificate, DER.
    Certificate(&'a [u8]),
    /// A name and a key, DER.
    Bare { subject: &'a [u8], spki: &'a [u8] },
}

impl End<'_> {
    fn anchor(self) -> Result<TrustAnchor<'static>, Error> {
        // webpki wants them without their tag and length.
        let within = |der: &[u8]| {
            AnyRef::from_der(der).map(|any| Der::from(any.value().to_vec())).map_err(|_| Error::BadDer)
        };
        match self {
            Self::Certificate(der) => {
                Ok(webpki::anchor_from_trusted_cert(&CertificateDer::from(der))?.to_owned())
            }
            Self::Bare { subject, spki } => Ok(TrustAnchor {
                subject: within(subject)?,
                subject_public_key_info: within(spki)?,
                name_constraints: None,
            }),
        }
    }
}

/// Whether webpki accepts the chain `leaf`, `intermediates` (in order), `root` at that time. With `legacy`, also by
/// algorithms that vouch for nothing else. `lists` are the revocation lists of the chain's issuers.
///
/// # Errors
/// The reason, and what breaks it.
pub(crate) fn accepts(
    leaf: &[u8],
    intermediates: &[&[u8]],
    root: End<'_>,
    at: WallTime,
    purpose: Purpose,
    legacy: bool,
    lists: &[&List],
) -> Result<(), Refusal> {
    let algorithms = if legacy { legacy::ALGORITHMS } else { ALGORITHMS };
    let leaf = CertificateDer::from(leaf);
    let intermediates: Vec<_> = intermediates.iter().map(|der| CertificateDer::from(*der)).collect();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.as_secs()));
    let lists: Vec<_> = lists.iter().map(|list| &list.0).collect();
    let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build()
    });
    let verified = || {
        let anchors = [root.anchor()?];
        EndEntityCert::try_from(&leaf)?
            .verify_for_usage(algorithms, &anchors, &intermediates, time, purpose, revocation, None)
            .map(|_| ())
    };
    verified().map_err(|error: Error| Refusal::new(reason(&error), format!("the chain {}", in_words(&error))))
}

/// What a chain is for. Absent purposes are fine, present they must hold this; that the leaf has it at all is asked in
/// [`crate::path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    CodeSigning,
    TimeStamping,
    /// For tests by others, whose certificates are not for code: this purpose, or whatever there is.
    Other(Option<&'static [u8]>),
}

impl Purpose {
    /// The key purpose (RFC 5280, 4.2.1.12), as webpki compares it: the value without tag and length.
    const fn id(self) -> Option<&'static [u8]> {
        match self {
            Self::CodeSigning => Some(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03]),
            Self::TimeStamping => Some(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08]),
            Self::Other(id) => id,
        }
    }
}

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let Some(wanted) = self.id() else { return Ok(()) };
        let mut empty = true;
        for purpose in purposes {
            empty = false;
            // Compared as bytes: the decimal form of webpki 0.103 is wrong for arcs above 127.
            if purpose? == KeyPurposeId::new(wanted) {
                return Ok(());
            }
        }
        // The error's own text is never shown.
        if empty { Ok(()) } else { Err(Error::EmptyEkuExtension) }
    }
}

static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithm::ECDSA_P256_SHA256,
    algorithm::ECDSA_P256_SHA384,
    algorithm::ECDSA_P256_SHA512,
    algorithm::ECDSA_P384_SHA256,
    algorithm::ECDSA_P384_SHA384,
    algorithm::ECDSA_P384_SHA512,
    algorithm::ECDSA_P521_SHA256,
    algorithm::ECDSA_P521_SHA384,
    algorithm::ECDSA_P521_SHA512,
    algorithm::ED25519,
    algorithm::RSA_PKCS1_2048_8192_SHA256,
    algorithm::RSA_PKCS1_2048_8192_SHA384,
    algorithm::RSA_PKCS1_2048_8192_SHA512,
    algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    own::PSS_SHA256,
    own::PSS_SHA384,
    own::PSS_SHA512,
    own::PSS_SHA256_ONLY,
    own::PSS_SHA384_ONLY,
    own::PSS_SHA512_ONLY,
];

fn reason(error: &Error) -> Reason {
    match error {
        Error::CertExpired { .. } => Reason::CertificateExpired,
        Error::CertRevoked => Reason::CertificateRevoked,
        Error::CertNotValidYet { .. } => Reason::CertificateNotYetValid,
        Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => Reason::UsageNotCodeSigning,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Reason::AlgorithmWeak,
        _ => Reason::CertificateMalformed,
    }
}

/// Reads on after "it" and "the chain".
fn in_words(error: &Error) -> &'static str {
    match error {
        Error::CaUsedAsEndEntity => "has an authority's certificate as that of the signer",
        Error::CertExpired { .. } => "has a certificate that has expired",
        Error::CertNotValidYet { .. } => "has a certificate that is not valid yet",
        Error::CertRevoked => "has a certificate that was revoked",
        Error::InvalidCrlNumber => "has a number that is not one",
        Error::InvalidSerialNumber => "has a serial number that is not one",
        Error::UnsupportedCrlVersion => "is not of version 2",
        Error::UnsupportedIndirectCrl => "is about another issuer's certificates",
        Error::UnsupportedRevocationReason => "has a revocation reason that is not known",
        Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => {
            "has a certificate that is not for signing code"
        }
        Error::EndEntityUsedAsCa => "has a certificate of no authority as an issuer",
        Error::ExtensionValueInvalid | Error::MalformedExtensions => "has an extension that cannot be read",
        Error::InvalidCertValidity => "has a certificate whose validity ends before it begins",
        Error::MaximumPathDepthExceeded => "is too long",
        Error::NameConstraintViolation | Error::MalformedNameConstraint => "breaks a name constraint",
        Error::PathLenConstraintViolated => "is longer than one of its authorities allows",
        Error::SignatureAlgorithmMismatch => "names two different signature algorithms",
        Error::UnsupportedCertVersion => "is not X.509 version 3",
        Error::UnsupportedCriticalExtension => "has a critical extension that is not known here",
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "has a signature algorithm that is not accepted"
        }
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => "is not well-formed DER",
        _ => "breaks a rule of X.509",
    }
}
