//! Puts the verdict together, in the order that the contract has: broken, then no root, then what the chain lacks. The
//! first that holds is the verdict.

use std::io::{self, Read, Seek, SeekFrom};

use mexe_model::{Groups, Reason, SecurityDomain, WallTime};

use crate::algorithm::{Digest, sha256};
use crate::chain::Purpose;
use crate::container::Container;
use crate::evidence::Evidence;
use crate::jar::{self, Signer, Whole};
use crate::limits::Limits;
use crate::moment::Moment;
use crate::path::{self, Budget, Holds, Path, Terms};
use crate::root_store::TrustStore;
use crate::verdict::{
    Quoted, Refusal, Revocation, SignerFacts, Timestamp, TrustVerdict, Untrusted, Verification, Voucher,
};
use crate::{detached, jad, requested, timestamp};

/// Judges the package of `size` bytes in `reader`, with what came along with it, against the roots of `store`, at the time
/// `at`, or as of a [`Moment`].
///
/// The whole package is read. Nothing is remembered: the same bytes, store and time give the same answer.
///
/// ```
/// use std::io::Cursor;
/// use mexe_certs::{Evidence, Limits, TrustVerdict, root_store::TrustStore, verify};
/// use mexe_model::{Reason, WallTime};
///
/// let bytes = b"no archive at all".to_vec();
/// let size = bytes.len() as u64;
/// let store = TrustStore::builder().build();
/// let at = WallTime::from_secs(1_795_489_491);
/// let judged = verify(Cursor::new(bytes), size, Evidence::Inside, &store, at, &Limits::default());
/// assert_eq!(judged.verdict.reason(), Some(Reason::ContainerMalformed));
/// ```
pub fn verify<R: Read + Seek>(
    mut reader: R,
    size: u64,
    evidence: Evidence<'_>,
    store: &TrustStore,
    at: impl Into<Moment>,
    limits: &Limits,
) -> Verification {
    let refused =
        |digest, refusal| Verification { verdict: TrustVerdict::Refused(refusal), package: None, digest };
    let measured = match evidence {
        Evidence::Inside => digest(&mut reader, size, limits).map(|digest| {
            let whole = Container::open(&mut reader, size, limits)
                .and_then(|mut container| jar::check(&mut container, limits));
            (digest, whole.map(|whole| (whole, Rule::All)))
        }),
        Evidence::Descriptor(descriptor) => {
            jad::check(&mut reader, size, descriptor, limits).map(|(digest, suite)| {
                (
                    digest,
                    suite.map(|(whole, by_descriptor)| {
                        (whole, if by_descriptor { Rule::First } else { Rule::All })
                    }),
                )
            })
        }
        Evidence::Detached(signature) => detached::check(&mut reader, size, signature, limits)
            .map(|(digest, whole)| (digest, whole.map(|whole| (whole, Rule::All)))),
    };
    let (digest, whole) = match measured {
        Ok(measured) => measured,
        Err(refusal) => return refused([0; 32], refusal),
    };
    conclude_by(digest, whole, store, at.into())
}

/// The answer for a JAR that was read to its end.
pub(crate) fn conclude(
    digest: [u8; 32],
    whole: Result<Whole, Refusal>,
    store: &TrustStore,
    at: Moment,
) -> Verification {
    conclude_by(digest, whole.map(|whole| (whole, Rule::All)), store, at)
}

fn conclude_by(
    digest: [u8; 32],
    whole: Result<(Whole, Rule), Refusal>,
    store: &TrustStore,
    at: Moment,
) -> Verification {
    let judged = whole.and_then(|(Whole { mut facts, signers }, rule)| {
        let verdict = match rule {
            Rule::All => judge(&signers, store, at)?,
            Rule::First => first(&signers, store, at)?,
        };
        facts.requested = requested::of(&facts)?;
        Ok((verdict, facts))
    });
    match judged {
        Ok((verdict, facts)) => Verification { verdict, package: Some(facts), digest },
        Err(refusal) => Verification { verdict: TrustVerdict::Refused(refusal), package: None, digest },
    }
}

/// Which of the signers must vouch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    All,
    /// They are one signer's ways to a root (MIDP 2.0): the first that holds decides.
    First,
}

/// The bytes of one entry of a package that was judged before.
///
/// # Errors
/// The package is no sound archive, has no such file, or the file is larger than `limits.inflated_entry`.
pub fn read_entry<R: Read + Seek>(
    reader: R,
    size: u64,
    name: &str,
    limits: &Limits,
) -> Result<Vec<u8>, Refusal> {
    let mut container = Container::open(reader, size, limits)?;
    match container.entries().iter().position(|entry| entry.name == name && !entry.is_directory()) {
        Some(index) => container.read(index, limits.inflated_entry),
        None => {
            Err(Refusal::new(Reason::EntryMissing, format!("{} is not a file of the package", Quoted(name))))
        }
    }
}

/// SHA-256 of the whole file.
pub(crate) fn digest<R: Read + Seek>(
    reader: &mut R,
    size: u64,
    limits: &Limits,
) -> Result<[u8; 32], Refusal> {
    if size > limits.package {
        let detail = format!("the package has {size} bytes, {} are allowed", limits.package);
        return Err(Refusal::new(Reason::PackageTooLarge, detail));
    }
    let unreadable =
        |error: io::Error| Refusal::new(Reason::ContainerMalformed, format!("it cannot be read: {error}"));
    reader.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut context = Digest::Sha256.context();
    let mut piece = vec![0; 128 * 1024];
    let mut read_so_far = 0_u64;
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        read_so_far = read_so_far.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if read_so_far > size {
            break;
        }
        context.update(piece.get(..read).unwrap_or_default());
    }
    if read_so_far != size {
        return Err(Refusal::new(Reason::ContainerMalformed, "its size changed while it was read"));
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

/// The verdict on a package that was signed by its descriptor: there a signer that leads nowhere is refused, because
/// MIDP 2.0 does not install such a suite.
fn first(ways: &[Signer], store: &TrustStore, at: Moment) -> Result<TrustVerdict, Refusal> {
    let mut failed = None;
    let mut nowhere = None;
    for way in ways {
        match judge(std::slice::from_ref(way), store, at) {
            Ok(TrustVerdict::Untrusted(untrusted)) => nowhere = nowhere.or(Some(untrusted)),
            Ok(verdict) => return Ok(verdict),
            Err(refusal) => failed = failed.or(Some(refusal)),
        }
    }
    Err(match (failed, nowhere) {
        (Some(refusal), _) => refusal,
        (None, Some(untrusted)) => Refusal::new(untrusted.reason(), untrusted.detail()),
        (None, None) => Refusal::new(Reason::DescriptorMalformed, "the descriptor has no signer"),
    })
}

/// The verdict on a whole package that all of these signed.
fn judge(signers: &[Signer], store: &TrustStore, at: Moment) -> Result<TrustVerdict, Refusal> {
    if signers.is_empty() {
        let detail = "the package carries no signature".to_owned();
        return Ok(TrustVerdict::Untrusted(Untrusted::Unsigned { detail }));
    }
    let mut all = Vec::new();
    for signer in signers {
        let signed = &signer.signed;
        let mut budget = Budget::default();
        let paths = path::of_store(&signed.signer, &signed.certificates, store, &mut budget)?;
        if paths.is_empty() {
            let mut detail =
                format!("the signer in {} leads to no root of this device", Quoted(&signer.file));
            // Only the switches of roots may be in the way; whoever reads it wants to know.
            let off = store.off().iter().chain(store.roots());
            let found = path::find(&signed.signer, &signed.certificates, off, &mut Budget::default());
            if found.is_ok_and(|found| !found.is_empty()) {
                detail.push_str(" that is enabled");
            }
            let key = sha256(&signed.signer.spki);
            return Ok(TrustVerdict::Untrusted(Untrusted::NoRoot { detail, key }));
        }
        all.push((signer, paths, budget));
    }
    let mut domains = all.iter().flat_map(|(_, paths, _)| paths).map(Path::domain);
    let domain = domains.next();
    if let (Some(one), Some(other)) = (domain, domains.find(|other| Some(*other) != domain)) {
        let detail = format!("the signature leads to the domains {one} and {other}");
        return Err(Refusal::new(Reason::AmbiguousDomain, detail));
    }
    // No signer without a path comes this far.
    let no_signer = || Refusal::new(Reason::SignatureMalformed, "the package has no signer");
    let domain = domain.ok_or_else(no_signer)?;
    let mut vouching = Vec::new();
    for (signer, paths, budget) in &mut all {
        vouching.push(best(paths, signer, domain, store, at, budget)?);
    }
    let first = vouching.first().ok_or_else(no_signer)?;
    Ok(TrustVerdict::Verified(Voucher {
        domain,
        root: first.path.root.id().clone(),
        expires: vouching.iter().map(Vouching::expires).min().unwrap_or_default(),
        groups: vouching.iter().fold(Groups::ALL, |left, one| left.intersection(one.holds.groups)),
        legacy: vouching.iter().any(|one| one.holds.legacy),
        revocation: vouching.iter().map(|one| one.holds.revocation).max().unwrap_or(Revocation::NotCovered),
        stamped_at: earliest(vouching.iter().map(|one| one.timestamp.counts_at())),
        signers: vouching.iter().map(facts).collect(),
    }))
}

/// The earliest of them, if none is missing.
fn earliest(times: impl Iterator<Item = Option<WallTime>>) -> Option<WallTime> {
    times.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// One signer with the path that vouches for it.
struct Vouching<'p, 'a> {
    signer: &'p Signer,
    path: &'p Path<'a>,
    holds: Holds,
    timestamp: Timestamp,
}

impl Vouching<'_, '_> {
    fn expires(&self) -> WallTime {
        match self.timestamp {
            Timestamp::Counts { .. } => NEVER,
            Timestamp::Absent | Timestamp::Ignored { .. } => self.path.expires(),
        }
    }
}

/// 9999-12-31T23:59:59Z, which X.509 uses for what has no end (RFC 5280, 4.1.2.5).
const NEVER: WallTime = WallTime::from_secs(253_402_300_799);

/// The first path that holds without the legacy rules, else the first one that holds; the first one's refusal when none does.
fn best<'p, 'a>(
    paths: &'p [Path<'a>],
    signer: &'p Signer,
    domain: SecurityDomain,
    store: &TrustStore,
    at: Moment,
    budget: &mut Budget,
) -> Result<Vouching<'p, 'a>, Refusal> {
    let stamped = match &signer.signed.stamp {
        None => Timestamp::Absent,
        Some(stamp) => match timestamp::vouches(stamp, domain, store, at) {
            Ok(at) => Timestamp::Counts { at },
            Err(why) => Timestamp::Ignored { why },
        },
    };
    let terms = Terms {
        purpose: Purpose::CodeSigning,
        weakness: signer.weakness.as_deref(),
        at: at.valid_at,
        stamped_at: stamped.counts_at(),
        legacy: store.rules().legacy && domain == SecurityDomain::ThirdParty,
        store,
        revoked_by: at.revoked_by,
    };
    let mut first = None;
    let mut tolerated = None;
    for path in paths {
        match path::judge(path, &terms, budget) {
            Ok(holds) => {
                // A time before the chain's validity, or after it, says nothing of the chain.
                let timestamp = match &stamped {
                    Timestamp::Counts { at } if !path.covers(*at) => {
                        Timestamp::Ignored { why: format!("its time {at} lies outside the chain's validity") }
                    }
                    stamped => stamped.clone(),
                };
                let vouching = Vouching { signer, path, holds, timestamp };
                if !vouching.holds.legacy {
                    return Ok(vouching);
                }
                tolerated = tolerated.or(Some(vouching));
            }
            Err(refusal) if refusal.reason == Reason::TooCostly => return tolerated.ok_or(refusal),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    let none = || Refusal::new(Reason::NoRoot, "the signer leads to no root of this device");
    tolerated.ok_or_else(|| first.unwrap_or_else(none))
}

fn facts(vouching: &Vouching<'_, '_>) -> SignerFacts {
    let (signed, path) = (&vouching.signer.signed, vouching.path);
    SignerFacts {
        subject: signed.signer.subject_text.clone(),
        key: sha256(&signed.signer.spki),
        root: path.root.id().clone(),
        chain: path.chain.iter().map(|certificate| certificate.facts()).collect(),
        digest: signed.digest.name(),
        signature: signed.scheme.name(),
        timestamp: vouching.timestamp.clone(),
    }
}
