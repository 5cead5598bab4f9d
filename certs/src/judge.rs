//! Puts the verdict together, in the order that the contract has: broken, then no root, then what the chain lacks. The
//! first that holds is the verdict.

use std::io::{self, Read, Seek, SeekFrom};

use mexe_model::{Groups, Reason, WallTime};

use crate::algorithm::{Digest, sha256};
use crate::container::Container;
use crate::evidence::Evidence;
use crate::jar::{self, Signer, Whole};
use crate::limits::Limits;
use crate::path::{self, Path};
use crate::root_store::TrustStore;
use crate::verdict::{
    Quoted, Refusal, Revocation, SignerFacts, TrustVerdict, Untrusted, Verification, Voucher,
};

/// Judges the package of `size` bytes in `reader`, with what came along with it, against the roots of `store`, at the time `at`.
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
    at: WallTime,
    limits: &Limits,
) -> Verification {
    let refused =
        |digest, refusal| Verification { verdict: TrustVerdict::Refused(refusal), package: None, digest };
    let _ = evidence;
    let digest = match digest(&mut reader, size, limits) {
        Ok(digest) => digest,
        Err(refusal) => return refused([0; 32], refusal),
    };
    let whole =
        Container::open(reader, size, limits).and_then(|mut container| jar::check(&mut container, limits));
    conclude(digest, whole, store, at)
}

/// The answer for a package that was read to its end.
pub(crate) fn conclude(
    digest: [u8; 32],
    whole: Result<Whole, Refusal>,
    store: &TrustStore,
    at: WallTime,
) -> Verification {
    let judged = whole.and_then(|Whole { facts, signers }| Ok((judge(&signers, store, at)?, facts)));
    match judged {
        Ok((verdict, facts)) => Verification { verdict, package: Some(facts), digest },
        Err(refusal) => Verification { verdict: TrustVerdict::Refused(refusal), package: None, digest },
    }
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

/// The verdict on a whole package.
fn judge(signers: &[Signer], store: &TrustStore, at: WallTime) -> Result<TrustVerdict, Refusal> {
    if signers.is_empty() {
        let detail = "the package carries no signature".to_owned();
        return Ok(TrustVerdict::Untrusted(Untrusted::Unsigned { detail }));
    }
    let mut all = Vec::new();
    for signer in signers {
        let paths = path::find(signer, store)?;
        if paths.is_empty() {
            let detail = format!("the signer in {} leads to no root of this device", Quoted(&signer.file));
            let key = sha256(&signer.signed.signer.spki);
            return Ok(TrustVerdict::Untrusted(Untrusted::NoRoot { detail, key }));
        }
        all.push((signer, paths));
    }
    let mut domains = all.iter().flat_map(|(_, paths)| paths).map(Path::domain);
    let domain = domains.next();
    if let (Some(one), Some(other)) = (domain, domains.find(|other| Some(*other) != domain)) {
        let detail = format!("the signature leads to the domains {one} and {other}");
        return Err(Refusal::new(Reason::AmbiguousDomain, detail));
    }
    let mut vouching = Vec::new();
    for (signer, paths) in &all {
        vouching.push((*signer, best(paths, signer, at)?));
    }
    let expires = vouching.iter().map(|(_, path)| path.expires()).min();
    let root = vouching.first().map(|(_, path)| path.root.id().clone());
    match (domain, root, expires) {
        (Some(domain), Some(root), Some(expires)) => {
            let signers = vouching.iter().map(|(signer, path)| facts(signer, path)).collect();
            Ok(TrustVerdict::Verified(Voucher {
                domain,
                root,
                signers,
                expires,
                groups: Groups::ALL,
                legacy: false,
                revocation: Revocation::NotCovered,
                stamped_at: None,
            }))
        }
        // No signer without a path comes this far.
        _ => Err(Refusal::new(Reason::SignatureMalformed, "the package has no signer")),
    }
}

/// The first path that holds; the first one's refusal when none does.
fn best<'p, 'a>(paths: &'p [Path<'a>], signer: &Signer, at: WallTime) -> Result<&'p Path<'a>, Refusal> {
    let mut first = None;
    for path in paths {
        match path::judge(path, signer, at) {
            Ok(()) => return Ok(path),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    Err(first.unwrap_or_else(|| Refusal::new(Reason::NoRoot, "the signer leads to no root of this device")))
}

fn facts(signer: &Signer, path: &Path<'_>) -> SignerFacts {
    let signed = &signer.signed;
    SignerFacts {
        subject: signed.signer.subject_text.clone(),
        key: sha256(&signed.signer.spki),
        root: path.root.id().clone(),
        chain: path.chain.iter().map(|certificate| certificate.facts()).collect(),
        digest: signed.digest.name(),
        signature: signed.scheme.name(),
    }
}
