//! Decides whether a package is whole and signed as a whole: which files carry the signature, whether each signature file
//! is the signer's, whether it covers the manifest, whether the manifest covers every entry, and whether the entries'
//! bytes are those. Who the signers are is decided in [`crate::path`]. Called from [`crate::verify`].
//!
//! The signature files are those that the JAR specification names: META-INF/MANIFEST.MF, and directly in META-INF
//! `*.SF`, `*.RSA`, `*.DSA`, `*.EC` and `SIG-*`, all without case. Every other file must be covered by every signer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use mexe_model::Reason;

use crate::algorithm::Digest;
use crate::cms::{self, Signed};
use crate::container::{Container, Entry};
use crate::limits::Limits;
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
/// `entry-unsigned`, `entry-changed`, `package-too-large`; `algorithm-weak` and `key-too-small` only where the algorithm
/// is so old that nothing can be computed.
pub(crate) fn check<R: Read + Seek>(container: &mut Container<R>, limits: &Limits) -> Result<Whole, Refusal> {
    let entries = container.entries().to_vec();
    let manifest_at = entries.iter().position(|entry| role(&entry.name) == Role::Manifest);
    let manifest_bytes = manifest_at.map(|at| container.read(at, limits.manifest)).transpose()?;
    let manifest = manifest_bytes.as_deref().map(|bytes| Manifest::parse(bytes, MANIFEST)).transpose()?;
    let is_program = |name: &str| {
        entries.iter().any(|entry| entry.name == name && !entry.is_directory() && role(name) == Role::Other)
    };
    let facts = PackageFacts::read(manifest.as_ref().map(|m| &m.main), entries.len(), is_program)?;
    let pairs = pair_up(&entries, limits)?;
    if pairs.is_empty() {
        for (at, entry) in entries.iter().enumerate() {
            container
                .unpack(at, |_| ())
                .map_err(|error| unpacks_not(Reason::ContainerMalformed, entry, &error))?;
        }
        return Ok(Whole { facts, signers: Vec::new() });
    }
    let Some(manifest) = manifest else {
        let detail = "there is a signature, but no META-INF/MANIFEST.MF that it could cover";
        return Err(Refusal::new(Reason::SignatureMalformed, detail));
    };
    let mut signers = Vec::new();
    for pair in pairs {
        let file = container.read(pair.file.1, limits.manifest)?;
        let block = container.read(pair.block.1, limits.signature)?;
        let signed = cms::verify(&block, &file, pair.block.0)?;
        let parsed = Manifest::parse(&file, pair.file.0)?;
        let weakness = covers(&parsed, pair.file.0, &manifest, &entries)?;
        signers.push(Signer {
            weakness: signed.weakness().or(weakness),
            signed,
            file: pair.block.0.to_owned(),
        });
    }
    let weak_entry = check_entries(container, &entries, &manifest)?;
    for signer in &mut signers {
        signer.weakness = signer.weakness.take().or_else(|| weak_entry.clone());
    }
    Ok(Whole { facts, signers })
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
        return malformed(format!("it has {} signatures, {} are allowed", halves.len(), limits.signers));
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

/// Checks that a signature file covers the manifest's main section and every entry. Gives the weakness of its digests.
fn covers(
    file: &Manifest<'_>,
    name: &str,
    manifest: &Manifest<'_>,
    entries: &[Entry],
) -> Result<Option<String>, Refusal> {
    let wrong = |what: String| Refusal::new(Reason::SignatureWrong, format!("{}: {what}", Quoted(name)));
    if file.main.attribute("Signature-Version") != Some("1.0") {
        let detail = format!("{} is not of Signature-Version 1.0", Quoted(name));
        return Err(Refusal::new(Reason::SignatureMalformed, detail));
    }
    for entry in entries.iter().filter(|entry| must_be_signed(entry)) {
        if !file.entries.contains_key(&entry.name) {
            let detail = format!("{} is not covered by {}", Quoted(&entry.name), Quoted(name));
            return Err(Refusal::new(Reason::EntryUnsigned, detail));
        }
    }
    if let Some(named) = file.entries.keys().find(|named| !manifest.entries.contains_key(*named)) {
        let gone = !entries.iter().any(|entry| entry.name == *named);
        let reason = if gone { Reason::EntryMissing } else { Reason::SignatureWrong };
        let detail = format!("{} is signed in {}, but not in the manifest", Quoted(named), Quoted(name));
        return Err(Refusal::new(reason, detail));
    }
    let whole = Digests::read(&file.main, "-Digest-Manifest")?;
    if whole.match_all(manifest.bytes) {
        return Ok(whole.weakness("the whole manifest"));
    }
    // The manifest changed since: allowed only for sections that this signer does not cover.
    let main = Digests::read(&file.main, "-Digest-Manifest-Main-Attributes")?;
    if !main.match_all(manifest.main.raw) {
        return Err(wrong("the manifest's main section is not the one that was signed".to_owned()));
    }
    let mut weakness = main.weakness("the manifest's main section");
    for (entry, section) in &file.entries {
        let digests = Digests::read(section, "-Digest")?;
        let raw = manifest.entries.get(entry).map_or(&[][..], |section| section.raw);
        if !digests.match_all(raw) {
            return Err(wrong(format!(
                "the manifest's section for {} is not the one that was signed",
                Quoted(entry)
            )));
        }
        weakness = weakness.or_else(|| digests.weakness("a section of the manifest"));
    }
    Ok(weakness)
}

fn must_be_signed(entry: &Entry) -> bool {
    role(&entry.name) == Role::Other && !entry.is_directory()
}

/// Unpacks every entry and compares it with the manifest. Gives the weakness of the weakest entry's digests.
fn check_entries<R: Read + Seek>(
    container: &mut Container<R>,
    entries: &[Entry],
    manifest: &Manifest<'_>,
) -> Result<Option<String>, Refusal> {
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let mut expected = BTreeMap::new();
    for (name, section) in &manifest.entries {
        let digests = Digests::read(section, "-Digest")?;
        // A section may also say something of a whole Java package, without a digest.
        if !digests.is_empty() && !names.contains(name.as_str()) {
            return Err(Refusal::new(
                Reason::EntryMissing,
                format!("{} is not in the package", Quoted(name)),
            ));
        }
        expected.insert(name.as_str(), digests);
    }
    for entry in entries.iter().filter(|entry| must_be_signed(entry)) {
        if expected.get(entry.name.as_str()).is_none_or(Digests::is_empty) {
            let detail = format!("the manifest has no digest of {}", Quoted(&entry.name));
            return Err(Refusal::new(Reason::EntryUnsigned, detail));
        }
    }
    let none = Digests::default();
    let mut weakness = None;
    for (at, entry) in entries.iter().enumerate() {
        let digests = expected.get(entry.name.as_str()).unwrap_or(&none);
        let mut contexts: Vec<_> = digests.known.iter().map(|(digest, _)| digest.context()).collect();
        let unpacked =
            container.unpack(at, |piece| contexts.iter_mut().for_each(|context| context.update(piece)));
        unpacked.map_err(|error| unpacks_not(Reason::EntryChanged, entry, &error))?;
        for (context, (digest, value)) in contexts.into_iter().zip(&digests.known) {
            if context.finish().as_ref() != value {
                let detail = format!("{} has another {} than was signed", Quoted(&entry.name), digest.name());
                return Err(Refusal::new(Reason::EntryChanged, detail));
            }
        }
        if must_be_signed(entry) {
            weakness = weakness.or_else(|| digests.weakness(&format!("{}", Quoted(&entry.name))));
        }
    }
    Ok(weakness)
}

fn unpacks_not(reason: Reason, entry: &Entry, error: &str) -> Refusal {
    Refusal::new(reason, format!("{} does not unpack to what was packed: {error}", Quoted(&entry.name)))
}

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

    /// Whether there is one, and each of them is that of `bytes`: a wrong one beside a right one is wrong.
    fn match_all(&self, bytes: &[u8]) -> bool {
        !self.is_empty() && self.known.iter().all(|(digest, value)| digest.of(bytes).as_ref() == value)
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
