//! What a judgement says: verified into a domain, untrusted, or refused; and what is known of the package and of its
//! signers. Made by [`crate::verify`], read by whoever installs, runs or shows an app.

use std::fmt;

use mexe_model::{Groups, Reason, RootId, SecurityDomain, WallTime};

use crate::package::PackageFacts;

/// The outcome of judging one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The verdict.
    pub verdict: TrustVerdict,
    /// What the package says of itself; `None` when it is refused. Vouched for only when the verdict is `Verified`.
    pub package: Option<PackageFacts>,
    /// SHA-256 of the package's bytes; zero when the package was too large, or could not be read to its end, or
    /// nobody wanted it ([`crate::WholeDigest`]).
    pub digest: [u8; 32],
}

/// Whether a package may be in a security domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustVerdict {
    /// Whole, signed, and vouched for by one domain's root.
    Verified(Voucher),
    /// Whole, but in no domain.
    Untrusted(Untrusted),
    /// Broken, or signed by something that may not vouch: never run, not as untrusted either.
    Refused(Refusal),
}

/// Who vouches for a verified package, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// The one domain that all signers lead to.
    pub domain: SecurityDomain,
    /// The root of the first signer.
    pub root: RootId,
    /// All signers, in the order of their signature files' names. There is at least one.
    pub signers: Vec<SignerFacts>,
    /// The earliest end of validity in all chains, roots included; chains whose signature has a timestamp that counts do
    /// not end: 9999-12-31T23:59:59Z, when there is no other.
    pub expires: WallTime,
    /// The action groups that the certificates of all chains leave to the app.
    pub groups: Groups,
    /// Whether anything in it rests on an algorithm that only the legacy rules accept.
    pub legacy: bool,
    /// The weakest that is known about revocation in all chains.
    pub revocation: Revocation,
    /// The earliest time at which a timestamping authority of the domain saw a signature; `None` unless each signature has
    /// such a time. Expiry was judged as of then.
    pub stamped_at: Option<WallTime>,
}

/// What revocation lists said of a chain, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revocation {
    /// A current list of every issuer was asked.
    Checked,
    /// Some issuer has no list on this device.
    NotCovered,
    /// A list that is out of date was asked, because the owner lets it count.
    Stale,
}

impl Revocation {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::NotCovered => "not-covered",
            Self::Stale => "stale",
        }
    }
}

/// One verified signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerFacts {
    /// The certificate's subject (RFC 4514). May hold any characters: escape it before showing it.
    pub subject: String,
    /// SHA-256 of the signer's SubjectPublicKeyInfo: what an app's lineage is known by.
    pub key: [u8; 32],
    /// The root that this signer's chain ends in.
    pub root: RootId,
    /// The chain from the signer's certificate to the last intermediate; the root is not in it.
    pub chain: Vec<CertificateFacts>,
    /// The digest algorithm of the signature block, as `SHA-256`.
    pub digest: &'static str,
    /// The signature algorithm of the signature block, as `SHA256withRSA`.
    pub signature: &'static str,
    /// The timestamp of its signature.
    pub timestamp: Timestamp,
}

/// What is known of the time at which a signature was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timestamp {
    /// It carries none.
    Absent,
    /// It carries one that is whole and its own, but counts as if there were none.
    Ignored {
        /// Why, in one line. May hold any characters of a stranger's name, escaped.
        why: String,
    },
    /// A timestamping authority of the domain saw the signature then.
    Counts {
        /// The authority's time, whole seconds.
        at: WallTime,
    },
}

impl Timestamp {
    /// The time, if it counts.
    pub const fn counts_at(&self) -> Option<WallTime> {
        match self {
            Self::Counts { at } => Some(*at),
            Self::Absent | Self::Ignored { .. } => None,
        }
    }
}

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject (RFC 4514). May hold any characters.
    pub subject: String,
    /// The serial number, lower-case hexadecimal.
    pub serial: String,
    /// The first moment of validity.
    pub not_before: WallTime,
    /// The last second of validity.
    pub not_after: WallTime,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// The action groups that this certificate leaves to what is signed under it; all, when it has no access restriction.
    pub groups: Groups,
}

/// Why a whole package is in no domain. Neither form names a signer: an unverified name is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untrusted {
    /// It carries no signature.
    Unsigned {
        /// One line.
        detail: String,
    },
    /// Its signature is right, but leads to no root of this device.
    NoRoot {
        /// One line.
        detail: String,
        /// SHA-256 of the first such signer's SubjectPublicKeyInfo.
        key: [u8; 32],
    },
}

impl Untrusted {
    /// The reason's code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unsigned { .. } => Reason::Unsigned,
            Self::NoRoot { .. } => Reason::NoRoot,
        }
    }

    /// What is missing, in one line.
    pub fn detail(&self) -> &str {
        match self {
            Self::Unsigned { detail } | Self::NoRoot { detail, .. } => detail,
        }
    }
}

/// Why a package is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// Which entry or certificate, and what is wrong with it, in one line.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its detail.
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl TrustVerdict {
    /// Why it is not verified; `None` when it is.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Verified(_) => None,
            Self::Untrusted(untrusted) => Some(untrusted.reason()),
            Self::Refused(refusal) => Some(refusal.reason),
        }
    }
}

/// A name out of a stranger's package as it may stand in a message: in back-ticks, escaped, at most 120 characters.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.escape_debug().take(120).collect();
        let more = if self.0.escape_debug().nth(120).is_some() { "..." } else { "" };
        write!(f, "`{shown}{more}`")
    }
}
