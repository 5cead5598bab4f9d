//! Decides whether a package is whole and signed as a whole: which files carry the signature, whether each signature file
//! is the signer's, whether it covers the manifest, whether the manifest covers every entry, and whether the entries'
//! bytes are those. Who the signers are is decided in [`crate::path`]. Called from [`crate::verify`].
//!
//! The signature files are those that the JAR specification names: META-INF/MANIFEST.MF, and directly in META-INF
//! `*.SF`, `*.RSA`, `*.DSA`, `*.EC` and `SIG-*`, all without case. Every other file must be covered by every signer.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::digest::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use mexe_model::Reason;

use crate::algorithm::Digest;
use crate::cms::{self, Signed};
use crate::container::{Alone, Aside, Container, Entry};
use crate::limits::{self, Limits, Work};
use crate::manifest::{Manifest, Section};
use crate::package::PackageFacts;
use crate::verdict::{Quoted, Refusal};

/// A package that is whole.
pub(crate) struct Whole {
    pub(crate) facts: PackageFacts,
    /// Every one of them covers every entry. Empty: the package is unsigned.
    pub(crate) signers: Vec<Signer>,
}

/// One signer of a whole package.
pub(crate) struct Signer {
    pub(crate) signed: Signed,
    /// The signature block's name.
    pub(crate) file: String,
    /// The weakest thing that its signature rests on, if that is too weak to vouch.
    pub(crate) weakness: Option<String>,
}

/// What an entry is to the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Block,
    Manifest,
    Other,
    /// `SIG-*`: reserved by the specification, read by nobody.
    Reserved,
    SignatureFile,
}

/// Reads the whole package and checks it.
///
/// # Errors
/// `container-malformed`, `manifest-malformed`, `signature-malformed`, `signature-wrong`, `entry-missing`,
/// `entry-unsigned`, `entry-changed`, `package-too-large`, `too-costly`; `algorithm-weak` and `key-too-small` only where
/// the algorithm is so old that nothing can be computed.
pub(crate) fn check<R: Read + Seek>(container: &mut Container<R>, limits: &Limits) -> Result<Whole, Refusal> {
    let (whole, plan) = plan(container, limits)?;
    plan.check(container, 0..plan.order.len(), &Alone)?;
    Ok(whole)
}

/// Checks everything but the entries' bytes: the signatures, and that they cover every entry. The package is whole when
/// every range of the plan's entries passes [`Plan::check`] too.
///
/// # Errors
/// As [`check`].
pub(crate) fn plan<R: Read + Seek>(
    container: &mut Container<R>,
    limits: &Limits,
) -> Result<(Whole, Plan), Refusal> {
    let entries = Arc::clone(container.entries());
    let manifest_at = entries.iter().position(|entry| role(&entry.name) == Role::Manifest);
    let manifest_bytes = manifest_at.map(|at| container.read(at, limits.manifest)).transpose()?;
    let manifest =
        manifest_bytes.as_deref().map(|bytes| Manifest::parse(bytes, MANIFEST, limits)).transpose()?;
    let is_program = |name: &str| {
        entries.iter().any(|entry| entry.name == name && !entry.is_directory() && role(name) == Role::Other)
    };
    let facts = PackageFacts::read(manifest.as_ref().map(|m| &m.main), entries.len(), is_program)?;
    let pairs = pair_up(&entries, limits)?;
    let mut work = Work::default();
    if pairs.is_empty() {
        let plan = Plan::new(&entries, Vec::new(), Reason::ContainerMalformed, work);
        return Ok((Whole { facts, signers: Vec::new() }, plan));
    }
    let Some(manifest) = manifest else {
        let detail = "there is a signature, but no META-INF/MANIFEST.MF that it could cover";
        return Err(Refusal::new(Reason::SignatureMalformed, detail));
    };
    let mut signers: Vec<Signer> = Vec::new();
    for pair in pairs {
        let file = container.read(pair.file.1, limits.manifest)?;
        let block = container.read(pair.block.1, limits.signature)?;
        let signed = cms::verify(&block, &file, pair.block.0)?;
        work.signers += 1;
        work.certificates += u64::try_from(signed.certificates.len()).unwrap_or(u64::MAX);
        if work.certificates > u64::try_from(limits.certificates).unwrap_or(u64::MAX) {
            let most = limits.certificates;
            return Err(limits::too_costly(format!("it has more than {most} certificates")));
        }
        let parsed = Manifest::parse(&file, pair.file.0, limits)?;
        work.sections += u64::try_from(parsed.sections().count()).unwrap_or(u64::MAX);
        let weakness = Covering { file: &parsed, name: pair.file.0, manifest: &manifest, limits }
            .check(&entries, &mut work)?;
        signers.push(Signer {
            weakness: signed.weakness().or(weakness),
            signed,
            file: pair.block.0.to_owned(),
        });
    }
    work.sections += u64::try_from(manifest.sections().count()).unwrap_or(u64::MAX);
    let (digests, weak_entry) = digests_of_entries(&entries, &manifest, limits, &mut work)?;
    for signer in &mut signers {
        signer.weakness = signer.weakness.take().or_else(|| weak_entry.clone());
    }
    Ok((Whole { facts, signers }, Plan::new(&entries, digests, Reason::EntryChanged, work)))
}

const MANIFEST: &str = "META-INF/MANIFEST.MF";

fn role(name: &str) -> Role {
    let folded = name.to_ascii_uppercase();
    let Some(file) = folded.strip_prefix("META-INF/").filter(|file| !file.contains('/')) else {
        return Role::Other;
    };
    let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    match extension {
        _ if folded == MANIFEST => Role::Manifest,
        "SF" => Role::SignatureFile,
        "RSA" | "DSA" | "EC" => Role::Block,
        // Only with the extensions that the JAR specification allows: anything else is an ordinary file.
        _ if stem.starts_with("SIG-")
            && extension.len() <= 3
            && extension.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            Role::Reserved
        }
        _ => Role::Other,
    }
}

/// A signature file and its block: name and index.
struct Pair<'a> {
    file: (&'a str, usize),
    block: (&'a str, usize),
}

/// What goes by one stem: signature files and blocks, each with its index.
type Halves<'a> = (Vec<(&'a str, usize)>, Vec<(&'a str, usize)>);

/// Half a signature is no signature, and never a reason to call the package unsigned.
fn pair_up<'a>(entries: &'a [Entry], limits: &Limits) -> Result<Vec<Pair<'a>>, Refusal> {
    let malformed = |detail: String| Err(Refusal::new(Reason::SignatureMalformed, detail));
    let mut halves: BTreeMap<String, Halves<'_>> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let stem =
            || entry.name.rsplit_once('.').map_or_else(String::new, |(stem, _)| stem.to_ascii_uppercase());
        match role(&entry.name) {
            Role::SignatureFile => halves.entry(stem()).or_default().0.push((&entry.name, at)),
            Role::Block => halves.entry(stem()).or_default().1.push((&entry.name, at)),
            Role::Manifest | Role::Other | Role::Reserved => {}
        }
    }
    if halves.len() > limits.signers {
        let detail = format!("it has {} signatures, {} are allowed", halves.len(), limits.signers);
        return Err(limits::too_costly(detail));
    }
    let mut pairs = Vec::new();
    for (files, blocks) in halves.values() {
        match (files.as_slice(), blocks.as_slice()) {
            ([file], [block]) => pairs.push(Pair { file: *file, block: *block }),
            ([(file, _)], []) => return malformed(format!("{} has no signature block", Quoted(file))),
            ([], [(block, _), ..]) => return malformed(format!("{} has no signature file", Quoted(block))),
            ([(file, _), ..], _) => return malformed(format!("{} has two signature blocks", Quoted(file))),
            ([], []) => {}
        }
    }
    Ok(pairs)
}

/// A signature file, and the manifest that it should cover.
struct Covering<'a> {
    file: &'a Manifest<'a>,
    name: &'a str,
    manifest: &'a Manifest<'a>,
    limits: &'a Limits,
}

impl Covering<'_> {
    /// Checks that it covers the manifest's main section and every entry. Gives the weakness of its digests.
    fn check(&self, entries: &[Entry], work: &mut Work) -> Result<Option<String>, Refusal> {
        let Self { file, name, manifest, limits } = *self;
        let wrong = |what: String| Refusal::new(Reason::SignatureWrong, format!("{}: {what}", Quoted(name)));
        if file.main.attribute("Signature-Version") != Some("1.0") {
            let detail = format!("{} is not of Signature-Version 1.0", Quoted(name));
            return Err(Refusal::new(Reason::SignatureMalformed, detail));
        }
        let uncovered = |entry: &&Entry| must_be_signed(entry) && file.section(&entry.name).is_none();
        if let Some(entry) = entries.iter().find(uncovered) {
            let detail = format!("{} is not covered by {}", Quoted(&entry.name), Quoted(name));
            return Err(Refusal::new(Reason::EntryUnsigned, detail));
        }
        if let Some((named, _)) = file.sections().find(|(named, _)| manifest.section(named).is_none()) {
            let gone = !entries.iter().any(|entry| entry.name == named);
            let reason = if gone { Reason::EntryMissing } else { Reason::SignatureWrong };
            let detail = format!("{} is signed in {}, but not in the manifest", Quoted(named), Quoted(name));
            return Err(Refusal::new(reason, detail));
        }
        let mut matches = |digests: &Digests, bytes: &[u8]| {
            work.digest(u64::try_from(bytes.len()).unwrap_or(u64::MAX), digests.algorithms(), limits)?;
            Ok::<bool, Refusal>(digests.match_all(bytes))
        };
        let whole = Digests::read(&file.main, "-Digest-Manifest")?;
        if matches(&whole, manifest.bytes)? {
            return Ok(whole.weakness("the whole manifest"));
        }
        // The manifest changed since: allowed only for sections that this signer does not cover.
        let main = Digests::read(&file.main, "-Digest-Manifest-Main-Attributes")?;
        if !matches(&main, manifest.main.raw)? {
            return Err(wrong("the manifest's main section is not the one that was signed".to_owned()));
        }
        let mut weakness = main.weakness("the manifest's main section");
        for (entry, section) in file.sections() {
            let digests = Digests::read(section, "-Digest")?;
            let raw = manifest.section(entry).map_or(&[][..], |section| section.raw);
            if !matches(&digests, raw)? {
                return Err(wrong(format!(
                    "the manifest's section for {} is not the one that was signed",
                    Quoted(entry)
                )));
            }
            weakness = weakness.or_else(|| digests.weakness("a section of the manifest"));
        }
        Ok(weakness)
    }
}

fn must_be_signed(entry: &Entry) -> bool {
    role(&entry.name) == Role::Other && !entry.is_directory()
}

/// What the manifest says of each entry's bytes, and the weakness of the weakest.
fn digests_of_entries(
    entries: &[Entry],
    manifest: &Manifest<'_>,
    limits: &Limits,
    work: &mut Work,
) -> Result<(Vec<Digests>, Option<String>), Refusal> {
    let mut by_name: Vec<(&str, usize)> =
        entries.iter().enumerate().map(|(at, entry)| (entry.name.as_str(), at)).collect();
    by_name.sort_unstable();
    let mut all: Vec<Digests> = entries.iter().map(|_| Digests::default()).collect();
    for (name, section) in manifest.sections() {
        let digests = Digests::read(section, "-Digest")?;
        let at = by_name.binary_search_by(|(entry, _)| (*entry).cmp(name)).ok();
        match at.and_then(|at| by_name.get(at)).and_then(|(_, at)| all.get_mut(*at)) {
            Some(of_entry) => *of_entry = digests,
            // A section may also say something of a whole Java package, without a digest.
            None if digests.is_empty() => {}
            None => {
                let detail = format!("{} is not in the package", Quoted(name));
                return Err(Refusal::new(Reason::EntryMissing, detail));
            }
        }
    }
    let mut weakness = None;
    for (entry, digests) in entries.iter().zip(&all) {
        work.digest(entry.size, digests.algorithms(), limits)?;
        if !must_be_signed(entry) {
            continue;
        }
        if digests.is_empty() {
            let detail = format!("the manifest has no digest of {}", Quoted(&entry.name));
            return Err(Refusal::new(Reason::EntryUnsigned, detail));
        }
        weakness = weakness.or_else(|| digests.weakness(&format!("{}", Quoted(&entry.name))));
    }
    Ok((all, weakness))
}

/// What is left when the signatures are right: to unpack every entry and compare it with its digests. The entries are
/// independent of each other.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) entries: Arc<[Entry]>,
    /// The entries by their place in the file.
    order: Vec<usize>,
    /// By entry; empty when the package is unsigned.
    digests: Vec<Digests>,
    /// What an entry that does not unpack is refused for.
    broken: Reason,
    /// What was done, and the hashing that is still to be done.
    pub(crate) work: Work,
}

impl Plan {
    fn new(entries: &Arc<[Entry]>, digests: Vec<Digests>, broken: Reason, mut work: Work) -> Self {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_unstable_by_key(|at| entries.get(*at).map(|entry| entry.begins));
        work.inflated = entries.iter().map(|entry| entry.size).sum();
        Self { entries: Arc::clone(entries), order, digests, broken, work }
    }

    /// Unpacks the entries of that range, counted by their place in the file, and compares each with its digests.
    ///
    /// # Errors
    /// The first one's that is not what was signed.
    pub(crate) fn check<R: Read + Seek>(
        &self,
        container: &mut Container<R>,
        range: Range<usize>,
        aside: &dyn Aside,
    ) -> Result<(), Refusal> {
        let none = Digests::default();
        for at in self.order.get(range).unwrap_or_default() {
            let Some(entry) = self.entries.get(*at) else { continue };
            let digests = self.digests.get(*at).unwrap_or(&none);
            let mut contexts = digests.contexts();
            let unpacked =
                container.unpack(*at, aside, |piece| contexts.iter_mut().for_each(|(_, c)| c.update(piece)));
            unpacked.map_err(|error| {
                let detail = format!("{} does not unpack to what was packed: {error}", Quoted(&entry.name));
                Refusal::new(self.broken, detail)
            })?;
            for (digest, context) in contexts {
                if !digests.all_are(digest, context.finish().as_ref()) {
                    let name = digest.name();
                    let detail = format!("{} has another {name} than was signed", Quoted(&entry.name));
                    return Err(Refusal::new(Reason::EntryChanged, detail));
                }
            }
        }
        Ok(())
    }

    /// Ranges for [`Plan::check`] that cover every entry once, each of about as much work, with that work in bytes.
    pub(crate) fn shares(&self) -> Vec<(Range<usize>, u64)> {
        let mut shares = Vec::new();
        let (mut begins, mut cost) = (0, 0_u64);
        for (place, at) in self.order.iter().enumerate() {
            let Some(entry) = self.entries.get(*at) else { continue };
            cost = cost.saturating_add(entry.packed).saturating_add(entry.size).saturating_add(ENTRY_COST);
            if cost >= SHARE {
                shares.push((begins..place + 1, cost));
                (begins, cost) = (place + 1, 0);
            }
        }
        if begins < self.order.len() {
            shares.push((begins..self.order.len(), cost));
        }
        shares
    }
}

/// What is worth to be done apart from the rest, bytes.
const SHARE: u64 = 4 << 20;
/// What an entry costs besides its bytes, in bytes.
const ENTRY_COST: u64 = 1024;

/// The digests that a section gives of one thing.
#[derive(Debug, Default)]
struct Digests {
    known: Vec<(Digest, Vec<u8>)>,
    /// The name of one that cannot be computed.
    unknown: Option<String>,
}

impl Digests {
    /// The attributes that end in `suffix`.
    fn read(section: &Section<'_>, suffix: &str) -> Result<Self, Refusal> {
        let mut digests = Self::default();
        for (name, value) in section.attributes() {
            let cut = name.len().saturating_sub(suffix.len());
            let Some((algorithm, end)) = name.split_at_checked(cut) else { continue };
            if algorithm.is_empty() || !end.eq_ignore_ascii_case(suffix) {
                continue;
            }
            match (Digest::named(algorithm), BASE64.decode(value)) {
                (Some(digest), Ok(value)) => digests.known.push((digest, value)),
                (None, _) => digests.unknown = Some(algorithm.to_owned()),
                (Some(_), Err(_)) => {
                    let detail = format!("the value of {} is not base64", Quoted(name));
                    return Err(Refusal::new(Reason::ManifestMalformed, detail));
                }
            }
        }
        if digests.known.is_empty()
            && let Some(unknown) = &digests.unknown
        {
            let detail = format!("the digest algorithm {} is not accepted", Quoted(unknown));
            return Err(Refusal::new(Reason::AlgorithmWeak, detail));
        }
        Ok(digests)
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// How many different ones there are: one algorithm may stand there under several of its names.
    fn algorithms(&self) -> usize {
        self.each().count()
    }

    fn each(&self) -> impl Iterator<Item = Digest> {
        let known = self.known.iter().enumerate();
        known.filter_map(|(at, (digest, _))| {
            let before = self.known.get(..at).unwrap_or_default();
            (!before.iter().any(|(other, _)| other == digest)).then_some(*digest)
        })
    }

    fn contexts(&self) -> Vec<(Digest, Context)> {
        self.each().map(|digest| (digest, digest.context())).collect()
    }

    /// Whether every value of that algorithm is this one.
    fn all_are(&self, digest: Digest, value: &[u8]) -> bool {
        self.known.iter().filter(|(known, _)| *known == digest).all(|(_, known)| known == value)
    }

    /// Whether there is one, and each of them is that of `bytes`: a wrong one beside a right one is wrong.
    fn match_all(&self, bytes: &[u8]) -> bool {
        !self.is_empty() && self.each().all(|digest| self.all_are(digest, digest.of(bytes).as_ref()))
    }

    fn weakness(&self, of: &str) -> Option<String> {
        if self.known.iter().any(|(digest, _)| digest.is_strong()) {
            return None;
        }
        self.known.first().map(|(digest, _)| format!("{of} is signed by its {} only", digest.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_the_signature_itself_need_no_signature() {
        for (name, expected) in [
            ("META-INF/MANIFEST.MF", Role::Manifest),
            ("meta-inf/manifest.mf", Role::Manifest),
            ("META-INF/A.SF", Role::SignatureFile),
            ("META-INF/a.rsa", Role::Block),
            ("META-INF/A.DSA", Role::Block),
            ("META-INF/A.EC", Role::Block),
            ("META-INF/SIG-A", Role::Reserved),
            ("META-INF/SIG-A.XYZ", Role::Reserved),
            ("META-INF/SIG-A.class", Role::Other),
            ("META-INF/versions/9/A.SF", Role::Other),
            ("META-INF/services/x", Role::Other),
            ("META-INF/sub/MANIFEST.MF", Role::Other),
            ("META-INF/A.TXT", Role::Other),
            ("META-INF/RSA", Role::Other),
            ("A.SF", Role::Other),
            ("x/META-INF/A.SF", Role::Other),
        ] {
            assert_eq!(role(name), expected, "{name}");
        }
    }
}
