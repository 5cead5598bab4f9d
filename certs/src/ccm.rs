//! Certificate configuration messages (CCM): the administrator of the third party domain enables and disables third party
//! certificates, and hands over to another key. Decides whether a message counts and what holds afterwards; the caller
//! writes the new state down in one piece and acts on it. Called by `mexegate ccm apply` and `POST /v1/ccm`.
//!
//! The format is this project's, described in `certs/profile.md`: a signed message (`sealed`) whose content (`content`)
//! says what changes; what was applied before is in `state`, one entry for each administrator's key, kept for ever.

mod content;
mod state;

use mexe_model::{Reason, WallTime};

use crate::certificate::Certificate;
use crate::fingerprint::Fingerprint;
use crate::root_store::{Root, may_be_root};
use crate::sealed;
use crate::verdict::{Quoted, Refusal};

pub use content::{Ccm, CcmTarget, Mode, SEQUENCE_MAX};
pub use state::{CcmState, Configuration, Freshness, Standing};

/// How much one message may bring. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CcmLimits {
    /// The message.
    pub message: usize,
    /// Entries of one message.
    pub entries: usize,
    /// Certificates that are enabled, and keys that are disabled, under one administrator's key.
    pub remembered: usize,
}

impl Default for CcmLimits {
    /// What the gate uses.
    fn default() -> Self {
        Self { message: 1 << 20, entries: 16_384, remembered: 65_536 }
    }
}

/// The device that a message arrives at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver<'a> {
    /// The device's id.
    pub device: &'a str,
    /// MCC and MNC of the card that carries the bearer; `None` without one: a message for an operator is for others then.
    pub home_network: Option<&'a str>,
}

/// A message that counts, and what holds from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it says.
    pub ccm: Ccm,
    /// The state to be written down, synced, before anything is acknowledged.
    pub state: CcmState,
}

/// Judges a message against the administrator's root public key and what was applied before. The state is not touched.
///
/// The signer is the key of `administrator` itself, or a delegate: a certificate that it issued directly, with the extended
/// key usage 2.25.230570099.4 and, if it has a key usage, `digitalSignature`. A delegate cannot hand over.
///
/// # Errors
/// The first of: `ccm-malformed` (too large, or not the format); `algorithm-weak`, `key-too-small`, `ccm-signature-wrong`;
/// `ccm-wrong-signer`, and `certificate-expired` or `certificate-not-yet-valid` for the administrator's and the delegate's
/// certificates; `ccm-malformed` for the content; `ccm-wrong-target`; `ccm-replayed`; `ccm-older`; `ccm-not-yet-valid`;
/// `ccm-expired`; `ccm-stale`; `ccm-gap`; `ccm-malformed` for what the state does not allow.
pub fn apply(
    message: &[u8],
    state: &CcmState,
    administrator: &Root,
    receiver: Receiver<'_>,
    at: WallTime,
    limits: &CcmLimits,
) -> Result<Applied, Refusal> {
    if message.len() > limits.message {
        let detail = format!("it has {} bytes, {} are allowed", message.len(), limits.message);
        return Err(Refusal::new(Reason::CcmMalformed, detail));
    }
    let arpk = &administrator.certificate;
    let key = Fingerprint::of(&arpk.spki);
    let sealed = sealed::open(message, content::OID_CCM, &[arpk]).map_err(|broken| {
        let (reason, detail) =
            broken.refused(Reason::CcmMalformed, Reason::CcmSignatureWrong, Reason::CcmWrongSigner);
        Refusal::new(reason, detail)
    })?;
    let before = state.of(&key).cloned().unwrap_or_default();
    let by_itself = judge_signer(&sealed.signer, arpk, &before, at)?;
    // What nobody has signed is never read this far.
    let ccm = Ccm::read(sealed.content, limits.entries)?;
    judge_origin(&ccm, key, by_itself, &before)?;
    if !ccm.target.is(receiver) {
        let detail = format!("it is for {}", ccm.target);
        return Err(Refusal::new(Reason::CcmWrongTarget, detail));
    }
    judge_order(&ccm, &before)?;
    judge_time(&ccm, at)?;
    // What widens says what it builds on: else a disabling message could be held back, and the enabling one after it
    // delivered, which would make a state that the administrator never meant.
    if ccm.mode == Mode::Enable && ccm.previous != before.digest {
        let detail = format!("number {} builds on a message that was not applied here", ccm.sequence);
        return Err(Refusal::new(Reason::CcmGap, detail));
    }
    let successor = ccm.successor.as_deref().map(|der| judge_successor(der, key, state, at)).transpose()?;
    let after = before.after(&ccm, key, successor, limits.remembered)?;
    Ok(Applied { state: state.with(key, after, successor), ccm })
}

/// Whether the signer may speak for the administrator; true when it is the administrator's key itself.
fn judge_signer(
    signer: &Certificate,
    arpk: &Certificate,
    before: &Configuration,
    at: WallTime,
) -> Result<bool, Refusal> {
    valid(arpk, at)?;
    // Roots of the legacy rules may be smaller, and speak for themselves only.
    match &arpk.key {
        Ok(key) if !key.is_large_enough() => {
            let detail = format!("the key of the administrator {} is {}", arpk.quoted(), key.description());
            return Err(Refusal::new(Reason::KeyTooSmall, detail));
        }
        Ok(_) | Err(_) => {}
    }
    if signer.spki == arpk.spki {
        return Ok(true);
    }
    let wrong = |what: &str| {
        let detail = format!("the signer {} {what}", signer.quoted());
        Err(Refusal::new(Reason::CcmWrongSigner, detail))
    };
    let strong = signer.scheme.as_ref().is_ok_and(|scheme| scheme.is_strong());
    if !signer.names(arpk) || !strong || !signer.is_signed_by(arpk) {
        return wrong("is not the administrator, and not certified by the administrator's key");
    }
    if signer.is_ca() || signer.key_usage.is_some_and(|usage| !usage.digital_signature()) {
        return wrong("is certified by the administrator, but not for signing");
    }
    if !signer.extended_key_usage.as_ref().is_some_and(|usage| usage.0.contains(&content::OID_CCM_SIGNING)) {
        return wrong("is certified by the administrator, but not for certificate configuration");
    }
    if before.disabled.contains(&Fingerprint::of(&signer.spki)) {
        return wrong("has a key that the administrator disabled");
    }
    valid(signer, at)?;
    Ok(false)
}

fn valid(certificate: &Certificate, at: WallTime) -> Result<(), Refusal> {
    let named = certificate.quoted();
    if at.as_secs() < certificate.not_before.as_secs() {
        let detail = format!("the certificate {named} is not valid before {}", certificate.not_before);
        return Err(Refusal::new(Reason::CertificateNotYetValid, detail));
    }
    if at.as_secs() > certificate.not_after.as_secs() {
        let detail = format!("the certificate {named} expired at {}", certificate.not_after);
        return Err(Refusal::new(Reason::CertificateExpired, detail));
    }
    Ok(())
}

fn judge_origin(ccm: &Ccm, key: Fingerprint, by_itself: bool, before: &Configuration) -> Result<(), Refusal> {
    let wrong = |detail: String| Err(Refusal::new(Reason::CcmWrongSigner, detail));
    if ccm.arpk != key {
        return wrong(format!("it speaks for the administrator's key {}", ccm.arpk));
    }
    if let Some(successor) = before.successor {
        return wrong(format!("the administrator's key handed over to {successor}"));
    }
    if ccm.successor.is_some() && !by_itself {
        return wrong("only the administrator's own key can hand over, not a delegate".to_owned());
    }
    Ok(())
}

fn judge_order(ccm: &Ccm, before: &Configuration) -> Result<(), Refusal> {
    if before.digest == Some(ccm.digest) {
        let detail = format!("number {} is in force", ccm.sequence);
        return Err(Refusal::new(Reason::CcmReplayed, detail));
    }
    if ccm.sequence <= before.sequence {
        let detail = format!("it is number {}, and {} was applied", ccm.sequence, before.sequence);
        return Err(Refusal::new(Reason::CcmOlder, detail));
    }
    Ok(())
}

fn judge_time(ccm: &Ccm, at: WallTime) -> Result<(), Refusal> {
    if at.as_secs() < ccm.not_before.as_secs() {
        let detail = format!("it is not valid before {}", ccm.not_before);
        return Err(Refusal::new(Reason::CcmNotYetValid, detail));
    }
    if at.as_secs() > ccm.not_after.as_secs() {
        let detail = format!("it was valid until {}", ccm.not_after);
        return Err(Refusal::new(Reason::CcmExpired, detail));
    }
    if at.as_secs() > ccm.next_update.as_secs() {
        let detail = format!("the one after it was due at {}", ccm.next_update);
        return Err(Refusal::new(Reason::CcmStale, detail));
    }
    Ok(())
}

/// The hash of the key that takes over. It must be able to be a root, now.
fn judge_successor(
    der: &[u8],
    key: Fingerprint,
    state: &CcmState,
    at: WallTime,
) -> Result<Fingerprint, Refusal> {
    let malformed = |what: String| Refusal::new(Reason::CcmMalformed, format!("the successor: {what}"));
    let certificate = Certificate::read(der).map_err(|unusable| malformed(unusable.what))?;
    may_be_root(&certificate, false).map_err(|fault| malformed(fault.to_string()))?;
    valid(&certificate, at).map_err(|refusal| malformed(refusal.detail))?;
    let successor = Fingerprint::of(&certificate.spki);
    if successor == key {
        return Err(malformed(format!("{} has the same key", Quoted(&certificate.subject_text))));
    }
    if state.of(&successor).is_some_and(|known| known.successor.is_some()) {
        return Err(malformed(format!(
            "{} was an administrator and handed over",
            Quoted(&certificate.subject_text)
        )));
    }
    Ok(successor)
}
