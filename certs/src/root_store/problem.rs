//! What keeps a certificate from being a root: named with its file, for whoever set the device up.

use std::fmt;

use mexe_model::WallTime;

use crate::verdict::Quoted;

/// Why a certificate is no root of this device: which file, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootProblem {
    pub(super) source: String,
    pub(super) fault: RootFault,
}

impl RootProblem {
    /// The file.
    pub fn file(&self) -> &str {
        &self.source
    }

    /// What is wrong with it.
    pub fn fault(&self) -> &RootFault {
        &self.fault
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self.fault {
            RootFault::Expired { .. } => "root-expired",
            RootFault::InTwoDomains { .. } => "root-in-two-domains",
            RootFault::KeyTooSmall(_) => "root-key-too-small",
            RootFault::KeyUnusable(_) => "root-key-unusable",
            RootFault::Malformed(_) => "root-malformed",
            RootFault::NoCertificate => "root-no-certificate",
            RootFault::NotAnAuthority => "root-not-an-authority",
            RootFault::NotYetValid { .. } => "root-not-yet-valid",
            RootFault::PrivateKey => "root-private-key",
            RootFault::WtlsNotAllowed => "root-wtls-not-allowed",
            RootFault::WtlsWithoutName => "root-wtls-without-name",
        }
    }
}

impl fmt::Display for RootProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Quoted(&self.source), self.fault)
    }
}

impl std::error::Error for RootProblem {}

/// What is wrong with a certificate that should be a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootFault {
    /// Its validity has ended.
    #[error("the root has expired at {not_after}; get its successor")]
    Expired {
        /// The last second of validity.
        not_after: WallTime,
    },
    /// The key is also a root of another domain.
    #[error("the same key is a root of another domain in `{other}`, so it is off in both; remove one")]
    InTwoDomains {
        /// The file that has it too.
        other: String,
    },
    /// The key is too small to vouch.
    #[error("its key is {0}, too small to vouch for anything; use RSA 2048 or larger, or an elliptic curve")]
    KeyTooSmall(String),
    /// The key is of a kind that is not accepted.
    #[error("{0}; see certs/profile.md")]
    KeyUnusable(String),
    /// The bytes are no certificate, or not one of the profile.
    #[error("{0}; see certs/profile.md for what is accepted")]
    Malformed(String),
    /// There is no certificate in the file.
    #[error("there is no certificate in it; put a PEM or DER certificate there")]
    NoCertificate,
    /// It may not sign certificates.
    #[error(
        "it is not an authority's certificate; a root needs basicConstraints CA and the right to sign certificates"
    )]
    NotAnAuthority,
    /// Its validity has not begun.
    #[error("the root is not valid before {not_before}; check the device's clock, or wait")]
    NotYetValid {
        /// The first moment of validity.
        not_before: WallTime,
    },
    /// The file holds a private key.
    #[error("it holds a private key, which must not lie on a device; put only the certificate there")]
    PrivateKey,
    /// A WTLS certificate that does not count.
    #[error("it is a WTLS certificate, which counts for the third party domain alone, with `trust.legacy`")]
    WtlsNotAllowed,
    /// A WTLS certificate whose subject no X.509 certificate can name as its issuer.
    #[error("the subject of its WTLS certificate is no X.509 name, so that nothing can be issued under it")]
    WtlsWithoutName,
}
