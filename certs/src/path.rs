//! Decides who vouches for a signer. First all paths by name and key from the signer to the roots of the device are
//! found, with every algorithm that can be computed at all; then each is judged: size, algorithm, validity, key usage,
//! extended key usage, and last by webpki. Called from [`crate::verify`] for packages that are whole.

use mexe_model::{Reason, SecurityDomain, WallTime};

use crate::certificate::Certificate;
use crate::chain;
use crate::jar::Signer;
use crate::root_store::{Root, TrustStore};
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

    pub(crate) fn domain(&self) -> SecurityDomain {
        self.root.domain()
    }
}

/// All paths by name and key from the signer to roots of the store.
///
/// # Errors
/// `certificate-malformed` when there are so many ways that the search is given up.
pub(crate) fn find<'a>(signer: &'a Signer, store: &'a TrustStore) -> Result<Vec<Path<'a>>, Refusal> {
    let signed = &signer.signed;
    // A root that comes along with its own chain is the end of the path, not a step on it.
    let is_root = |c: &Certificate| {
        c.is_self_issued() && store.roots().iter().any(|root| root.certificate.spki == c.spki)
    };
    let pool = signed.certificates.iter().filter(|c| c.der != signed.signer.der && !is_root(c)).collect();
    let mut search = Search { pool, store, checks_left: CHECKS_MAX, found: Vec::new() };
    match search.extend(&mut vec![&signed.signer]) {
        Some(()) => Ok(search.found),
        None => Err(Refusal::new(
            Reason::CertificateMalformed,
            format!("{} leads to the roots in too many ways", signed.signer.quoted()),
        )),
    }
}

struct Search<'a> {
    pool: Vec<&'a Certificate>,
    store: &'a TrustStore,
    /// How many signatures may still be computed.
    checks_left: usize,
    found: Vec<Path<'a>>,
}

impl<'a> Search<'a> {
    /// Follows every issuer of the last certificate; `None` when the budget is spent.
    fn extend(&mut self, chain: &mut Vec<&'a Certificate>) -> Option<()> {
        let last = *chain.last()?;
        let store = self.store;
        for root in store.roots() {
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

/// Judges one path of a signer.
///
/// # Errors
/// The first of: `key-too-small`, `algorithm-weak`, `certificate-expired` or `certificate-not-yet-valid`,
/// `usage-not-code-signing`, `certificate-malformed`.
pub(crate) fn judge(path: &Path<'_>, signer: &Signer, at: WallTime) -> Result<(), Refusal> {
    sizes(path)?;
    algorithms(path, signer)?;
    validity(path, at)?;
    usages(path)?;
    lengths(path)?;
    let intermediates: Vec<&[u8]> = path.chain.iter().skip(1).map(|c| c.der.as_slice()).collect();
    chain::accepts(&signer.signed.signer.der, &intermediates, path.root.der(), at)
}

fn sizes(path: &Path<'_>) -> Result<(), Refusal> {
    for certificate in path.certificates() {
        match &certificate.key {
            Ok(key) if key.is_large_enough() => {}
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
    Ok(())
}

fn algorithms(path: &Path<'_>, signer: &Signer) -> Result<(), Refusal> {
    if let Some(weakness) = &signer.weakness {
        return Err(Refusal::new(Reason::AlgorithmWeak, weakness.clone()));
    }
    for certificate in &path.chain {
        let named = certificate.quoted();
        match &certificate.scheme {
            Ok(scheme) if scheme.is_strong() => {}
            Ok(scheme) => {
                let detail = format!("the certificate {named} is signed with {}", scheme.name());
                return Err(Refusal::new(Reason::AlgorithmWeak, detail));
            }
            Err(unusable) => {
                return Err(Refusal::new(unusable.reason, format!("{named}: {}", unusable.what)));
            }
        }
    }
    Ok(())
}

fn validity(path: &Path<'_>, at: WallTime) -> Result<(), Refusal> {
    for certificate in path.certificates() {
        let named = certificate.quoted();
        if at.as_secs() > certificate.not_after.as_secs() {
            let detail = format!("the certificate {named} expired at {}", certificate.not_after);
            return Err(Refusal::new(Reason::CertificateExpired, detail));
        }
        if at.as_secs() < certificate.not_before.as_secs() {
            let detail = format!("the certificate {named} is not valid before {}", certificate.not_before);
            return Err(Refusal::new(Reason::CertificateNotYetValid, detail));
        }
    }
    Ok(())
}

/// Key usage, then extended key usage. webpki looks at neither a leaf's key usage nor a leaf's missing purposes.
fn usages(path: &Path<'_>) -> Result<(), Refusal> {
    let Some((leaf, issuers)) = path.chain.split_first() else { return Ok(()) };
    if leaf.key_usage.is_some_and(|usage| !usage.digital_signature()) {
        let detail = format!("the certificate {} lacks the key usage digitalSignature", leaf.quoted());
        return Err(Refusal::new(Reason::UsageNotCodeSigning, detail));
    }
    if let Some(issuer) = issuers.iter().find(|issuer| !issuer.may_sign_certificates()) {
        let detail = format!("the certificate {} may not sign certificates", issuer.quoted());
        return Err(Refusal::new(Reason::CertificateMalformed, detail));
    }
    let signs_code =
        |c: &Certificate| c.extended_key_usage.as_ref().is_some_and(|usage| usage.0.contains(&CODE_SIGNING));
    if !signs_code(leaf) {
        let detail = format!("the certificate {} lacks the extended key usage codeSigning", leaf.quoted());
        return Err(Refusal::new(Reason::UsageNotCodeSigning, detail));
    }
    Ok(())
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
