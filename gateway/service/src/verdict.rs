//! The signature engine's verdict in the words of the service: a column of the security table or a refusal, and what the
//! API and the command line show of it.

use mexe_certs::{TrustVerdict, Untrusted, Verification};
use mexe_model::{Groups, Reason, RootId, Trust, WallTime};
use serde_json::{Value, json};

use crate::apps::hex;
use crate::refused::Refused;

/// The column that the verdict puts the package in.
///
/// # Errors
/// The verdict's own refusal: a broken package is in no column.
pub fn trust(verification: &Verification) -> Result<Trust, Refused> {
    match &verification.verdict {
        TrustVerdict::Verified(voucher) => Ok(Trust::Domain(voucher.domain)),
        TrustVerdict::Untrusted(_) => Ok(Trust::Untrusted),
        TrustVerdict::Refused(refusal) => Err(Refused::about(refusal.reason, refusal.detail.clone())),
    }
}

/// Whether it was refused for that reason.
pub fn is_refused_for(verification: &Verification, reason: Reason) -> bool {
    matches!(&verification.verdict, TrustVerdict::Refused(refusal) if refusal.reason == reason)
}

/// Why an app that was in `column` is not there any more.
pub fn lost_domain(verification: &Verification, column: Trust) -> Refused {
    let reason = reason(&verification.verdict).unwrap_or(Reason::NoRoot);
    Refused::about(reason, format!("its package no longer verifies into {column}: {}", reason.says()))
}

/// `verified`, `untrusted` or `refused`.
pub fn name(verdict: &TrustVerdict) -> &'static str {
    match verdict {
        TrustVerdict::Verified(_) => "verified",
        TrustVerdict::Untrusted(_) => "untrusted",
        TrustVerdict::Refused(_) => "refused",
    }
}

/// Why it is not verified.
pub fn reason(verdict: &TrustVerdict) -> Option<Reason> {
    match verdict {
        TrustVerdict::Verified(_) => None,
        TrustVerdict::Untrusted(Untrusted::Unsigned { .. }) => Some(Reason::Unsigned),
        TrustVerdict::Untrusted(Untrusted::NoRoot { .. }) => Some(Reason::NoRoot),
        TrustVerdict::Refused(refusal) => Some(refusal.reason),
    }
}

/// Why nobody vouches for it, when that is the verdict.
pub fn unvouched(verdict: &TrustVerdict) -> Option<Reason> {
    matches!(verdict, TrustVerdict::Untrusted(_)).then(|| reason(verdict)).flatten()
}

/// The first signer's key, which the app's lineage is known by.
pub fn signer_key(verdict: &TrustVerdict) -> Option<String> {
    match verdict {
        TrustVerdict::Verified(voucher) => voucher.signers.first().map(|signer| hex(&signer.key)),
        _ => None,
    }
}

/// The root that vouched.
pub fn root(verdict: &TrustVerdict) -> Option<RootId> {
    match verdict {
        TrustVerdict::Verified(voucher) => Some(voucher.root.clone()),
        _ => None,
    }
}

/// The roots of all signers.
pub fn roots(verdict: &TrustVerdict) -> Vec<RootId> {
    match verdict {
        TrustVerdict::Verified(voucher) => voucher.signers.iter().map(|signer| signer.root.clone()).collect(),
        _ => Vec::new(),
    }
}

/// The action groups that the certificates leave to the app; all for an app that has none.
pub fn groups(verdict: &TrustVerdict) -> Groups {
    match verdict {
        TrustVerdict::Verified(voucher) => voucher.groups,
        _ => Groups::ALL,
    }
}

/// Whether it rests on an algorithm that only the legacy rules accept.
pub fn is_legacy(verdict: &TrustVerdict) -> bool {
    matches!(verdict, TrustVerdict::Verified(voucher) if voucher.legacy)
}

/// When a timestamping authority saw the signatures.
pub fn stamped_at(verdict: &TrustVerdict) -> Option<WallTime> {
    match verdict {
        TrustVerdict::Verified(voucher) => voucher.stamped_at,
        _ => None,
    }
}

/// Who signed, with chains. Names of signers that were not verified are never shown.
pub fn signers(verdict: &TrustVerdict) -> Value {
    let TrustVerdict::Verified(voucher) = verdict else { return json!([]) };
    let signers = voucher.signers.iter().map(|signer| {
        let chain = signer.chain.iter().map(|certificate| {
            json!({
                "subject": certificate.subject,
                "serial": certificate.serial,
                "not_before": certificate.not_before.to_string(),
                "not_after": certificate.not_after.to_string(),
                "sha256": hex(&certificate.sha256),
                "key": hex(&certificate.key),
            })
        });
        json!({
            "subject": signer.subject,
            "key": hex(&signer.key),
            "root": signer.root,
            "digest": signer.digest,
            "signature": signer.signature,
            "chain": chain.collect::<Vec<_>>(),
        })
    });
    signers.collect::<Vec<_>>().into()
}
