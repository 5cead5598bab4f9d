//! A MIDlet suite: a JAR with an application descriptor (JAD), which may sign it (MIDP 2.0, JSR 118). The descriptor's
//! signature covers the bytes of the whole JAR, so the JAR needs none of its own. Called from [`crate::judge`], which
//! then asks the ways to a root in their order; the first that holds decides.

use std::io::{Read, Seek};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use mexe_model::Reason;

use crate::algorithm::{Digest, Scheme, sha256_bytes};
use crate::certificate::Certificate;
use crate::cms::Signed;
use crate::container::Container;
use crate::jar::{self, Signer, Whole};
use crate::key::PublicKey;
use crate::limits::Limits;
use crate::package::PackageFacts;
use crate::stream;
use crate::verdict::{Quoted, Refusal};

mod descriptor;

use descriptor::Descriptor;

type Sha256 = [u8; 32];
/// What is known of a suite, with whether the signers are the descriptor's ways to a root.
type Suite = Result<(Whole, bool), Refusal>;

/// Checks that the JAR and its descriptor are sound and belong together. Gives the JAR's SHA-256, and within what is known of
/// it, with whether the signers are the descriptor's ways to a root; otherwise they are those of the JAR itself.
///
/// # Errors
/// `package-too-large` and `container-malformed` when the file cannot be read. Within: `descriptor-malformed`,
/// `certificate-malformed`, `signature-wrong`, `key-too-small`, `descriptor-mismatch`, and as [`jar::check`].
pub(crate) fn check<R: Read + Seek>(
    reader: &mut R,
    size: u64,
    descriptor: &[u8],
    limits: &Limits,
) -> Result<(Sha256, Suite), Refusal> {
    let [of_strong, of_old] = stream::digests(reader, size, limits, [Digest::Sha256, Digest::Sha1])?;
    let checked = Descriptor::parse(descriptor, limits).and_then(|descriptor| {
        fits(&descriptor, size)?;
        let signed = signatures(&descriptor)?;
        let ways = match signed.as_slice() {
            [] => Vec::new(),
            _ => ways(&descriptor, &signed, limits)?,
        };
        for (digest, signature) in &signed {
            let of_jar = if *digest == Digest::Sha1 { &of_old } else { &of_strong };
            check_signature(&ways, *digest, of_jar, signature)?;
        }
        let mut container = Container::open(reader, size, limits)?;
        let Whole { facts, signers } = jar::check(&mut container, limits)?;
        let by_descriptor = !ways.is_empty();
        let trusted = by_descriptor || !signers.is_empty();
        let facts = agree(facts, &descriptor, trusted)?;
        Ok((Whole { facts, signers: if by_descriptor { ways } else { signers } }, by_descriptor))
    });
    Ok((sha256_bytes(&of_strong), checked))
}

fn malformed(what: impl Into<String>) -> Refusal {
    Refusal::new(Reason::DescriptorMalformed, what)
}

fn mismatch(what: impl Into<String>) -> Refusal {
    Refusal::new(Reason::DescriptorMismatch, what)
}

/// What every descriptor must say.
fn fits(descriptor: &Descriptor, size: u64) -> Result<(), Refusal> {
    for name in IDENTITY {
        if descriptor.attribute(name).is_none_or(str::is_empty) {
            return Err(malformed(format!("the descriptor lacks {name}")));
        }
    }
    let said = descriptor.attribute(SIZE).ok_or_else(|| malformed(format!("the descriptor lacks {SIZE}")))?;
    let plain = !said.is_empty() && said.bytes().all(|b| b.is_ascii_digit());
    match said.parse::<u64>() {
        Ok(said) if plain && said == size => Ok(()),
        Ok(said) if plain => Err(mismatch(format!("the package has {size} bytes, {SIZE} says {said}"))),
        _ => Err(malformed(format!("{SIZE} {} is not a number of bytes", Quoted(said)))),
    }
}

/// The signatures over the JAR, by their digests. Each that is there must be right.
fn signatures(descriptor: &Descriptor) -> Result<Vec<(Digest, Vec<u8>)>, Refusal> {
    let read = |(name, digest): (&str, Digest)| {
        let value = descriptor.attribute(name)?;
        let decoded = BASE64.decode(value).map_err(|_| malformed(format!("{name} is not base64")));
        Some(decoded.map(|signature| (digest, signature)))
    };
    [(RSA_SHA256, Digest::Sha256), (RSA_SHA1, Digest::Sha1)].into_iter().filter_map(read).collect()
}

/// The ways to a root, in order: MIDlet-Certificate-n-1 is the signer's, those after it are the authorities'.
fn ways(
    descriptor: &Descriptor,
    signed: &[(Digest, Vec<u8>)],
    limits: &Limits,
) -> Result<Vec<Signer>, Refusal> {
    let chains = descriptor.chains(limits.signers, CERTIFICATES_MAX)?;
    // A suite is as old as the best of its signatures.
    let digest = signed.iter().map(|(digest, _)| *digest).find(|digest| digest.is_strong());
    let digest = digest.unwrap_or(Digest::Sha1);
    let scheme = Scheme::RsaPkcs1(digest);
    let mut ways: Vec<Signer> = Vec::new();
    for (n, chain) in (1..).zip(chains) {
        let mut certificates = Vec::new();
        for (m, value) in (1..).zip(chain) {
            let name = format!("{CERTIFICATE}{n}-{m}");
            let der = BASE64.decode(value).map_err(|_| malformed(format!("{name} is not base64")))?;
            let certificate = Certificate::read(&der);
            certificates.push(
                certificate.map_err(|unusable| {
                    Refusal::new(unusable.reason, format!("{name}: {}", unusable.what))
                })?,
            );
        }
        let signer = certificates.first().cloned();
        let signer = signer.ok_or_else(|| malformed(format!("{CERTIFICATE}{n}-1 is missing")))?;
        if ways.first().is_some_and(|first| first.signed.signer.spki != signer.spki) {
            return Err(malformed(format!("{CERTIFICATE}{n}-1 has another key than {CERTIFICATE}1-1")));
        }
        let signed = Signed { signer, certificates, digest, scheme, stamp: None };
        let weakness = signed.weakness();
        ways.push(Signer { signed, file: format!("{CERTIFICATE}{n}-1"), weakness });
    }
    if ways.is_empty() {
        return Err(malformed(format!("the descriptor is signed, but lacks {CERTIFICATE}1-1")));
    }
    Ok(ways)
}

fn check_signature(
    ways: &[Signer],
    digest: Digest,
    of_jar: &aws_lc_rs::digest::Digest,
    signature: &[u8],
) -> Result<(), Refusal> {
    let Some(first) = ways.first() else { return Ok(()) };
    let key = match &first.signed.signer.key {
        Ok(key @ PublicKey::Rsa { .. }) => key,
        Ok(key) => return Err(malformed(format!("the signer's key is {}, not RSA", key.description()))),
        Err(error) => return Err(Refusal::new(error.reason, error.what.clone())),
    };
    match key.verifies_digest(Scheme::RsaPkcs1(digest), of_jar, signature) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::new(
            Reason::SignatureWrong,
            format!(
                "the descriptor's {} signature is not that of its signer over the package",
                digest.name()
            ),
        )),
        Err(error) => Err(Refusal::new(error.reason, error.what)),
    }
}

/// Compares the descriptor with the manifest. In a signed suite what both say must be equal, and what decides something
/// must be said in the manifest, because the descriptor itself is covered by no signature.
fn agree(facts: PackageFacts, descriptor: &Descriptor, signed: bool) -> Result<PackageFacts, Refusal> {
    for (name, said) in descriptor.attributes() {
        let is_identity = IDENTITY.contains(&name);
        let manifest = facts.attribute(name).map(str::trim);
        match manifest {
            Some(manifest) if manifest != said && (signed || is_identity) => {
                return Err(mismatch(format!(
                    "{name} is {} in the descriptor and {} in the manifest",
                    Quoted(said),
                    Quoted(manifest)
                )));
            }
            None if signed && (is_identity || decides(name)) => {
                return Err(mismatch(format!("{name} is in the descriptor, but not in the manifest")));
            }
            _ => {}
        }
    }
    if signed {
        return Ok(facts);
    }
    let is_signature = |name: &str| name.starts_with(CERTIFICATE) || [RSA_SHA1, RSA_SHA256].contains(&name);
    let said = descriptor
        .attributes()
        .filter(|(name, _)| !is_signature(name) && (!decides(name) || name.starts_with(PERMISSIONS)));
    Ok(facts.described(said))
}

/// Whether the gate goes by an attribute.
fn decides(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("mexe-") || name.starts_with(&PERMISSIONS.to_ascii_lowercase())
}

const IDENTITY: [&str; 3] = ["MIDlet-Name", "MIDlet-Version", "MIDlet-Vendor"];
const SIZE: &str = "MIDlet-Jar-Size";
const PERMISSIONS: &str = "MIDlet-Permissions";
const CERTIFICATE: &str = "MIDlet-Certificate-";
/// MIDP 2.0: base64 of RSASSA-PKCS1-v1_5 with SHA-1 over the JAR.
const RSA_SHA1: &str = "MIDlet-Jar-RSA-SHA1";
/// Ours: the same with SHA-256.
const RSA_SHA256: &str = "MIDlet-Jar-RSA-SHA256";
/// As many as a signature block may bring.
const CERTIFICATES_MAX: usize = 16;
