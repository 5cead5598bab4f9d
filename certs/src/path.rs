//! Decides who vouches for a signer. First all paths by name and key from the signer to the roots of the device are
//! found, with every algorithm that can be computed at all; then each is judged: size, algorithm, validity, key usage,
//! extended key usage, and last by webpki. Called from [`crate::judge`] for packages that are whole, and from
//! [`crate::timestamp`] for timestamping authorities.

use mexe_model::{Reason, SecurityDomain, WallTime};
use x509_cert::ext::pkix::KeyUsage;

use crate::certificate::Certificate;
use crate::chain::{self, Purpose};
use crate::root_store::Root;
use crate::verdict::Refusal;

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
/// `certificate-malformed` when there are so many ways that the search is given up.
pub(crate) fn find<'a>(
    signer: &'a Certificate,
    certificates: &'a [Certificate],
    roots: impl Iterator<Item = &'a Root>,
) -> Result<Vec<Path<'a>>, Refusal> {
    let roots: Vec<&Root> = roots.collect();
    // A root that comes along with its own chain is the end of the path, not a step on it.
    let is_root =
        |c: &Certificate| c.is_self_issued() && roots.iter().any(|root| root.certificate.spki == c.spki);
    let pool = certificates.iter().filter(|c| c.der != signer.der && !is_root(c)).collect();
    let mut search = Search { pool, roots, checks_left: CHECKS_MAX, found: Vec::new() };
    match search.extend(&mut vec![signer]) {
        Some(()) => Ok(search.found),
        None => Err(Refusal::new(
            Reason::CertificateMalformed,
            format!("{} leads to the roots in too many ways", signer.quoted()),
        )),
    }
}

struct Search<'a> {
    pool: Vec<&'a Certificate>,
    roots: Vec<&'a Root>,
    /// How many signatures may still be computed.
    checks_left: usize,
    found: Vec<Path<'a>>,
}

impl<'a> Search<'a> {
    /// Follows every issuer of the last certificate; `None` when the budget is spent.
    fn extend(&mut self, chain: &mut Vec<&'a Certificate>) -> Option<()> {
        let last = *chain.last()?;
        for root in self.roots.clone() {
            if self.is_issued_by(last, &root.certificate)? {
                self.found.push(Path { root, chain: chain.clone() });
            }
        }
        if chain.len() > INTERMEDIATES_MAX {
            return Some(());
        }
        for candidate in self.pool.clone() {
            let known = chain.iter().any(|c| c.spki == candidate.spki && c.subject == candidate.subject);
            if !known && self.is_issued_by(last, candidate)? {
                chain.push(candidate);
                self.extend(chain)?;
                chain.pop();
            }
        }
        Some(())
    }

    fn is_issued_by(&mut self, certificate: &Certificate, issuer: &Certificate) -> Option<bool> {
        if !certificate.names(issuer) {
            return Some(false);
        }
        self.checks_left = self.checks_left.checked_sub(1)?;
        Some(certificate.is_signed_by(issuer))
    }
}

/// As many as webpki follows.
const INTERMEDIATES_MAX: usize = 6;
/// Enough for any sound chain, and at most some tens of milliseconds of work.
const CHECKS_MAX: usize = 100;

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
}

/// How a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holds {
    /// By the legacy rules only.
    pub(crate) legacy: bool,
}

/// Judges one path of a signer.
///
/// # Errors
/// The first of: `key-too-small`, `algorithm-weak`, `certificate-expired` or `certificate-not-yet-valid`,
/// `usage-not-code-signing`, `certificate-malformed`.
pub(crate) fn judge(path: &Path<'_>, terms: &Terms<'_>) -> Result<Holds, Refusal> {
    let legacy_key = sizes(path, terms.legacy)?;
    let legacy_algorithm = algorithms(path, terms)?;
    let at = validity(path, terms)?;
    usages(path, terms.purpose)?;
    lengths(path)?;
    let (leaf, issuers) = path
        .chain
        .split_first()
        .ok_or_else(|| Refusal::new(Reason::CertificateMalformed, "the chain has no certificate"))?;
    let intermediates: Vec<&[u8]> = issuers.iter().map(|c| c.der.as_slice()).collect();
    let legacy = legacy_key || legacy_algorithm;
    chain::accepts(&leaf.der, &intermediates, path.root.der(), at, terms.purpose, legacy)?;
    Ok(Holds { legacy })
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
    let mut tolerated = false;
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
    if leaf.key_usage.is_some_and(|usage| !may_sign(usage)) {
        let detail = format!("the certificate {} lacks the key usage digitalSignature", leaf.quoted());
        return Err(Refusal::new(Reason::UsageNotCodeSigning, detail));
    }
    if let Some(issuer) = issuers.iter().find(|issuer| !issuer.may_sign_certificates()) {
        let detail = format!("the certificate {} may not sign certificates", issuer.quoted());
        return Err(Refusal::new(Reason::CertificateMalformed, detail));
    }
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

const CODE_SIGNING: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const TIME_STAMPING: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
