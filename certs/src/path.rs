//! Decides who vouches for a signer. First all paths by name and key from the signer to the roots of the device are
//! found, with every algorithm that can be computed at all; then each is judged: size, algorithm, validity, key usage,
//! extended key usage, and last by webpki. Called from [`crate::judge`] for packages that are whole, and from
//! [`crate::timestamp`] for timestamping authorities.

use mexe_model::{Groups, Reason, SecurityDomain, WallTime};
use x509_cert::ext::pkix::KeyUsage;

use crate::ccm::Standing;
use crate::certificate::Certificate;
use crate::chain::{self, Purpose};
use crate::fingerprint::Fingerprint;
use crate::form::Place;
use crate::revocation::{ListState, RevocationList, Status};
use crate::root_store::{Root, TrustStore};
use crate::rules::Staleness;
use crate::verdict::{Refusal, Revocation};

/// A way from a signer to a root.
#[derive(Debug, Clone)]
pub(crate) struct Path<'a> {
    pub(crate) root: &'a Root,
    /// From the signer's certificate to the last intermediate.
    pub(crate) chain: Vec<&'a Certificate>,
}

impl<'a> Path<'a> {
    /// The chain, then the root.
    fn certificates(&self) -> impl Iterator<Item = &'a Certificate> {
        self.chain.iter().copied().chain([&self.root.certificate])
    }

    /// What the administrator of the third party domain says of it.
    fn standing(&self, store: &TrustStore) -> Standing {
        match store.administered() {
            Some((administrator, configuration)) if self.domain() == SecurityDomain::ThirdParty => {
                let certificates: Vec<_> = self.certificates().map(|c| Fingerprint::of(&c.der)).collect();
                let keys: Vec<_> = self.certificates().map(|c| Fingerprint::of(&c.spki)).collect();
                configuration.standing(administrator, &certificates, &keys)
            }
            _ => Standing::Enabled,
        }
    }

    /// The earliest end of validity.
    pub(crate) fn expires(&self) -> WallTime {
        self.certificates().map(|certificate| certificate.not_after).min().unwrap_or_default()
    }

    /// Whether that time lies in the validity of all its certificates, the root included.
    pub(crate) fn covers(&self, time: WallTime) -> bool {
        self.certificates()
            .all(|c| (c.not_before.as_secs()..=c.not_after.as_secs()).contains(&time.as_secs()))
    }

    pub(crate) fn domain(&self) -> SecurityDomain {
        self.root.domain()
    }
}

/// All paths by name and key from the signer to these roots; `certificates` are those that came along.
///
/// # Errors
/// `too-costly` when there are so many ways that the search is given up.
pub(crate) fn find<'a>(
    signer: &'a Certificate,
    certificates: &'a [Certificate],
    roots: impl Iterator<Item = &'a Root>,
    budget: &mut Budget,
) -> Result<Vec<Path<'a>>, Refusal> {
    let roots: Vec<&Root> = roots.collect();
    // A root that comes along with its own chain is the end of the path, not a step on it.
    let is_root =
        |c: &Certificate| c.is_self_issued() && roots.iter().any(|root| root.certificate.spki == c.spki);
    let pool = certificates.iter().filter(|c| c.der != signer.der && !is_root(c)).collect();
    let mut search = Search { pool, roots, budget, found: Vec::new() };
    search.extend(&mut vec![signer])?;
    Ok(search.found)
}

/// All paths to the roots of the store that may vouch, as far as the administrator of the third party domain lets them:
/// a path with a key that was disabled is judged, so that the refusal says so; one where nothing was enabled is none.
///
/// # Errors
/// As [`find`].
pub(crate) fn of_store<'a>(
    signer: &'a Certificate,
    certificates: &'a [Certificate],
    store: &'a TrustStore,
    budget: &mut Budget,
) -> Result<Vec<Path<'a>>, Refusal> {
    let mut paths = find(signer, certificates, store.roots().iter(), budget)?;
    paths.retain(|path| path.standing(store) != Standing::NotEnabled);
    Ok(paths)
}

/// How many signatures may still be computed for one signer: on certificates while paths are searched, then on the
/// certificates and revocation lists of each path that is judged.
#[derive(Debug)]
pub(crate) struct Budget {
    checks_left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { checks_left: CHECKS_MAX }
    }
}

impl Budget {
    fn spend(&mut self, checks: usize, signer: &Certificate) -> Result<(), Refusal> {
        let Some(left) = self.checks_left.checked_sub(checks) else {
            let detail = format!("{} leads to the roots in too many ways", signer.quoted());
            return Err(Refusal::new(Reason::TooCostly, detail));
        };
        self.checks_left = left;
        Ok(())
    }
}

struct Search<'a, 'b> {
    pool: Vec<&'a Certificate>,
    roots: Vec<&'a Root>,
    budget: &'b mut Budget,
    found: Vec<Path<'a>>,
}

impl<'a> Search<'a, '_> {
    /// Follows every issuer of the last certificate.
    fn extend(&mut self, chain: &mut Vec<&'a Certificate>) -> Result<(), Refusal> {
        let Some(last) = chain.last().copied() else { return Ok(()) };
        for root in self.roots.clone() {
            if self.is_issued_by(last, &root.certificate)? {
                self.found.push(Path { root, chain: chain.clone() });
            }
        }
        if chain.len() > INTERMEDIATES_MAX {
            return Ok(());
        }
        for candidate in self.pool.clone() {
            let known = chain.iter().any(|c| c.spki == candidate.spki && c.subject == candidate.subject);
            if !known && self.is_issued_by(last, candidate)? {
                chain.push(candidate);
                self.extend(chain)?;
                chain.pop();
            }
        }
        Ok(())
    }

    fn is_issued_by(&mut self, certificate: &Certificate, issuer: &Certificate) -> Result<bool, Refusal> {
        if !certificate.names(issuer) {
            return Ok(false);
        }
        self.budget.spend(1, certificate)?;
        Ok(certificate.is_signed_by(issuer))
    }
}

/// As many as webpki follows.
const INTERMEDIATES_MAX: usize = 6;
/// Enough for any sound chain, and at most some tens of milliseconds of work.
const CHECKS_MAX: usize = 200;

/// What a path is judged by.
pub(crate) struct Terms<'a> {
    pub(crate) purpose: Purpose,
    /// What is weak about the signature below the path.
    pub(crate) weakness: Option<&'a str>,
    pub(crate) at: WallTime,
    /// When a timestamping authority that counts saw the signature.
    pub(crate) stamped_at: Option<WallTime>,
    /// Whether the legacy rules apply.
    pub(crate) legacy: bool,
    /// Where the revocation lists are, and what an outdated one means.
    pub(crate) store: &'a TrustStore,
    /// The time as of which revocation counts: always that of the judgement, never that of a timestamp.
    pub(crate) revoked_by: WallTime,
}

/// How a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holds {
    /// By the legacy rules only.
    pub(crate) legacy: bool,
    /// The action groups that all its certificates leave.
    pub(crate) groups: Groups,
    /// The weakest that is known about revocation.
    pub(crate) revocation: Revocation,
}

/// Judges one path of a signer.
///
/// # Errors
/// The first of: `root-disabled` when the administrator disabled a key in it, `key-too-small`, `algorithm-weak`, `certificate-expired` or `certificate-not-yet-valid`,
/// `usage-not-code-signing`, `restriction-unreadable`, `certificate-malformed`, `certificate-revoked`, `revocation-stale`;
/// `too-costly` when the budget is spent.
pub(crate) fn judge(path: &Path<'_>, terms: &Terms<'_>, budget: &mut Budget) -> Result<Holds, Refusal> {
    if let Standing::KeyDisabled(key) = path.standing(terms.store) {
        let detail = format!("the administrator disabled the key {key} of its chain");
        return Err(Refusal::new(Reason::RootDisabled, detail));
    }
    let legacy_key = sizes(path, terms.legacy)?;
    let legacy_algorithm = algorithms(path, terms)?;
    let at = validity(path, terms)?;
    usages(path, terms.purpose)?;
    lengths(path)?;
    let groups = groups(path)?;
    if !terms.legacy {
        forms(path)?;
    }
    let (leaf, issuers) = path
        .chain
        .split_first()
        .ok_or_else(|| Refusal::new(Reason::CertificateMalformed, "the chain has no certificate"))?;
    let intermediates: Vec<&[u8]> = issuers.iter().map(|c| c.der.as_slice()).collect();
    let legacy = legacy_key || legacy_algorithm;
    let answer = revocation(path, terms, budget)?;
    budget.spend(path.chain.len() + answer.second.len(), leaf)?;
    chain::accepts(&leaf.der, &intermediates, path.root.end(), at, terms.purpose, legacy, &answer.second)?;
    Ok(Holds { legacy, groups, revocation: answer.state })
}

/// Whether a key is accepted by the legacy rules only.
fn sizes(path: &Path<'_>, legacy: bool) -> Result<bool, Refusal> {
    let mut tolerated = false;
    for certificate in path.certificates() {
        match &certificate.key {
            Ok(key) if key.is_large_enough() => {}
            Ok(key) if legacy && key.is_large_enough_for_legacy() => tolerated = true,
            Ok(key) => {
                let detail = format!("{} has a key of {}", certificate.quoted(), key.description());
                return Err(Refusal::new(Reason::KeyTooSmall, detail));
            }
            Err(unusable) => {
                return Err(Refusal::new(
                    unusable.reason,
                    format!("{}: {}", certificate.quoted(), unusable.what),
                ));
            }
        }
    }
    Ok(tolerated)
}

/// Whether an algorithm is accepted by the legacy rules only.
fn algorithms(path: &Path<'_>, terms: &Terms<'_>) -> Result<bool, Refusal> {
    let mut tolerated = path.root.certificate.is_bare;
    if tolerated && !terms.legacy {
        let detail = format!("the root {} is a WTLS certificate", path.root.certificate.quoted());
        return Err(Refusal::new(Reason::AlgorithmWeak, detail));
    }
    if let Some(weakness) = terms.weakness {
        if !terms.legacy {
            return Err(Refusal::new(Reason::AlgorithmWeak, weakness));
        }
        tolerated = true;
    }
    for certificate in &path.chain {
        let named = certificate.quoted();
        match &certificate.scheme {
            Ok(scheme) if scheme.is_strong() => {}
            Ok(_) if terms.legacy => tolerated = true,
            Ok(scheme) => {
                let detail = format!("the certificate {named} is signed with {}", scheme.name());
                return Err(Refusal::new(Reason::AlgorithmWeak, detail));
            }
            Err(unusable) => {
                return Err(Refusal::new(unusable.reason, format!("{named}: {}", unusable.what)));
            }
        }
    }
    Ok(tolerated)
}

/// The time as of which the path is valid: now, or that of the timestamp when some of it has expired since.
fn validity(path: &Path<'_>, terms: &Terms<'_>) -> Result<WallTime, Refusal> {
    let at = terms.at.as_secs();
    let stamped = terms.stamped_at.filter(|stamped| path.covers(*stamped));
    let mut as_of = terms.at;
    for certificate in path.certificates() {
        let named = certificate.quoted();
        if at > certificate.not_after.as_secs() {
            let Some(stamped) = stamped else {
                let detail = format!("the certificate {named} expired at {}", certificate.not_after);
                return Err(Refusal::new(Reason::CertificateExpired, detail));
            };
            as_of = stamped;
        }
        if at < certificate.not_before.as_secs() {
            let detail = format!("the certificate {named} is not valid before {}", certificate.not_before);
            return Err(Refusal::new(Reason::CertificateNotYetValid, detail));
        }
    }
    Ok(as_of)
}

/// Key usage, then extended key usage. webpki looks at neither a leaf's key usage nor a leaf's missing purposes.
fn usages(path: &Path<'_>, purpose: Purpose) -> Result<(), Refusal> {
    let Some((leaf, issuers)) = path.chain.split_first() else { return Ok(()) };
    let stamps = purpose == Purpose::TimeStamping;
    let may_sign = |usage: KeyUsage| usage.digital_signature() || (stamps && usage.non_repudiation());
    if let Purpose::Other(_) = purpose {
        return authorities(issuers);
    }
    if leaf.key_usage.is_some_and(|usage| !may_sign(usage)) {
        let detail = format!("the certificate {} lacks the key usage digitalSignature", leaf.quoted());
        return Err(Refusal::new(Reason::UsageNotCodeSigning, detail));
    }
    authorities(issuers)?;
    if stamps {
        return if stamps_only(leaf) { Ok(()) } else { Err(not_for_time(leaf)) };
    }
    let signs_code =
        |c: &Certificate| c.extended_key_usage.as_ref().is_some_and(|usage| usage.0.contains(&CODE_SIGNING));
    if !signs_code(leaf) {
        let detail = format!("the certificate {} lacks the extended key usage codeSigning", leaf.quoted());
        return Err(Refusal::new(Reason::UsageNotCodeSigning, detail));
    }
    Ok(())
}

fn authorities(issuers: &[&Certificate]) -> Result<(), Refusal> {
    match issuers.iter().find(|issuer| !issuer.may_sign_certificates()) {
        None => Ok(()),
        Some(issuer) => {
            let detail = format!("the certificate {} may not sign certificates", issuer.quoted());
            Err(Refusal::new(Reason::CertificateMalformed, detail))
        }
    }
}

/// RFC 3161, 2.3: a critical extended key usage with timeStamping and nothing else.
fn stamps_only(leaf: &Certificate) -> bool {
    leaf.extended_key_usage_is_critical
        && leaf.extended_key_usage.as_ref().is_some_and(|usage| usage.0 == [TIME_STAMPING])
}

fn not_for_time(leaf: &Certificate) -> Refusal {
    let detail = format!("the certificate {} is not for timestamps alone, critically", leaf.quoted());
    Refusal::new(Reason::CertificateMalformed, detail)
}

/// webpki takes a root for a name and a key, and so does not know how long a path it allows.
fn lengths(path: &Path<'_>) -> Result<(), Refusal> {
    let allowed = path.root.certificate.basic_constraints.as_ref().and_then(|c| c.path_len_constraint);
    let intermediates = path.chain.iter().skip(1).filter(|c| !c.is_self_issued()).count();
    if allowed.is_some_and(|allowed| intermediates > usize::from(allowed)) {
        let detail = "the chain is longer than its root allows".to_owned();
        return Err(Refusal::new(Reason::CertificateMalformed, detail));
    }
    Ok(())
}

fn forms(path: &Path<'_>) -> Result<(), Refusal> {
    let places = path.chain.iter().map(|c| (*c, Place::Below)).chain([(&path.root.certificate, Place::Root)]);
    for (certificate, place) in places {
        if let Some(fault) = certificate.form.fault(place) {
            let detail = format!("the certificate {}: {fault}", certificate.quoted());
            return Err(Refusal::new(Reason::CertificateMalformed, detail));
        }
    }
    Ok(())
}

/// What the access restrictions of the whole chain leave, that of the root included.
fn groups(path: &Path<'_>) -> Result<Groups, Refusal> {
    let mut left = Groups::ALL;
    for certificate in path.certificates() {
        match certificate.groups {
            Ok(groups) => left = left.intersection(groups),
            Err(what) => {
                let detail = format!("the certificate {}: {what}", certificate.quoted());
                return Err(Refusal::new(Reason::RestrictionUnreadable, detail));
            }
        }
    }
    Ok(left)
}

/// What the revocation lists say of a path that nobody revoked.
struct Answer<'a> {
    state: Revocation,
    /// The lists that webpki may be asked about too. Where a listed certificate is not revoked yet, or no more, it may
    /// not: webpki does not look at the date, and our answer counts.
    second: Vec<&'a chain::List>,
}

/// Looks each certificate below the root up in its issuer's list. Revoked wins over stale, whichever comes first.
fn revocation<'a>(path: &Path<'_>, terms: &Terms<'a>, budget: &mut Budget) -> Result<Answer<'a>, Refusal> {
    let mut answer = Answer { state: Revocation::Checked, second: Vec::new() };
    let mut stale = None;
    let mut spared = Vec::new();
    let issuers = path.certificates().skip(1);
    for (certificate, issuer) in path.chain.iter().zip(issuers) {
        let Some(list) = newest(certificate, issuer, terms, budget)? else {
            answer.state = answer.state.max(Revocation::NotCovered);
            continue;
        };
        let (facts, named) = (&list.facts, certificate.quoted());
        match list.status(&certificate.serial_der, terms.revoked_by) {
            Status::Revoked(when) => {
                let serial = certificate.serial_text();
                let detail =
                    format!("the certificate {named}, serial number {serial}, was revoked at {when}");
                return Err(Refusal::new(Reason::CertificateRevoked, detail));
            }
            Status::Spared => {
                spared.push(facts.sha256);
                answer.second.retain(|other| list.second.as_ref().is_none_or(|l| !std::ptr::eq(l, *other)));
            }
            Status::Absent => {}
        }
        if facts.state_at(terms.revoked_by) == ListState::Stale {
            let due = facts.next_update;
            let detail = format!("the list of the issuer {} of {named} was due at {due}", issuer.quoted());
            stale = stale.or(Some(Refusal::new(Reason::RevocationStale, detail)));
            answer.state = Revocation::Stale;
        }
        let known =
            answer.second.iter().any(|other| list.second.as_ref().is_some_and(|l| std::ptr::eq(l, *other)));
        if !known && !spared.contains(&facts.sha256) {
            answer.second.extend(&list.second);
        }
    }
    // webpki knows lists by the issuer's name alone, and would hold one's list against another of that name.
    let namesakes = |one: &Certificate| {
        path.certificates().skip(1).any(|other| other.subject == one.subject && other.spki != one.spki)
    };
    if path.certificates().skip(1).any(namesakes) {
        answer.second.clear();
    }
    match (stale, terms.store.rules().staleness) {
        (Some(stale), Staleness::Strict) => Err(stale),
        _ => Ok(answer),
    }
}

/// The newest list of the issuer that was made by then, and that the issuer's key signed. A list in its name alone is
/// nothing: another authority may have the same name.
fn newest<'a>(
    certificate: &Certificate,
    issuer: &Certificate,
    terms: &Terms<'a>,
    budget: &mut Budget,
) -> Result<Option<&'a RevocationList>, Refusal> {
    for list in terms.store.lists_of(&issuer.subject) {
        if list.facts.state_at(terms.revoked_by) == ListState::Future {
            continue;
        }
        budget.spend(1, certificate)?;
        if list.is_signed_by(issuer) {
            return Ok(Some(list));
        }
    }
    Ok(None)
}

const CODE_SIGNING: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const TIME_STAMPING: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
