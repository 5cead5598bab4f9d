//! `app verify`: judges a package offline, with no gate running. The verdict is the signature engine's; here it is
//! printed, in every case, and becomes the exit code.

use std::fs::File;
use std::path::{Path, PathBuf};

use mexe_certs::{Rules, Staleness, TrustVerdict, Verification, WholeDigest};
use mexe_model::WallTime;
use serde_json::{Value, json};

use super::fault::{Fault, Stop};
use super::{Exit, Global, check_config, output, printable, small_file, when};
use crate::apps::{StoredEvidence, hex, restricted};
use crate::config::{Guard, Mode};
use crate::judging;
use crate::trust::Trusted;
use crate::verdict;

/// Verify a package offline: domain, signers, chain, reason
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The application descriptor (JAD) that signs it
    #[arg(long, value_name = "FILE", conflicts_with = "signature")]
    jad: Option<PathBuf>,
    /// The detached CMS signature over it, DER or PEM
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The roots directory: sub-folders operator, manufacturer, third-party, administrator
    #[arg(long, value_name = "DIR")]
    roots: Option<PathBuf>,
    /// The folder of revocation lists, with --roots
    #[arg(long, value_name = "DIR", requires = "roots")]
    crls: Option<PathBuf>,
    /// Let SHA-1 and RSA 1024 vouch for the third party domain, with --roots
    #[arg(long, requires = "roots")]
    legacy: bool,
    /// Let revocation lists count that are out of date, with --roots
    #[arg(long, requires = "roots")]
    stale_lists: bool,
    /// The configuration file whose trust.roots counts when --roots is not given
    #[arg(short, long, value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// Show the SHA-256 of the whole file, too
    #[arg(long)]
    digest: bool,
    /// Judge as of this time, RFC 3339; without it, now
    #[arg(long, value_name = "TIME", value_parser = when::time)]
    at: Option<WallTime>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let at = args.at.unwrap_or_else(crate::clock::wall);
    let file = File::open(&args.file).map_err(|e| unreadable(args, e))?;
    let about = file.metadata().map_err(|e| unreadable(args, e))?;
    if !about.is_file() {
        return Err(unreadable(args, std::io::Error::other("it is not a plain file")).into());
    }
    let evidence = evidence(args.jad.as_deref(), args.signature.as_deref())?;
    let trusted = roots(args, global, at)?;
    let digest = if args.digest { WholeDigest::Wanted } else { WholeDigest::Unwanted };
    let verification = judging::verify(&file, about.len(), digest, evidence.as_evidence(), &trusted, at);
    let shown = shown(&verification);
    global.print(&shown, output::facts)?;
    Ok(match verification.verdict {
        TrustVerdict::Refused(_) => Exit::Refused,
        TrustVerdict::Untrusted(_) | TrustVerdict::Verified(_) => Exit::Done,
    })
}

/// What came along with a package, by the files that the user named.
pub(super) fn evidence(jad: Option<&Path>, signature: Option<&Path>) -> Result<StoredEvidence, Fault> {
    Ok(match (jad, signature) {
        (Some(jad), _) => StoredEvidence::Descriptor(small_file::read(jad, "a descriptor file")?),
        (None, Some(file)) => StoredEvidence::Detached(small_file::read(file, "a signature file")?),
        (None, None) => StoredEvidence::Inside,
    })
}

fn unreadable(args: &Args, why: std::io::Error) -> Fault {
    Fault::new(format!("cannot read `{}`", args.file.display())).because(why).help("name a package file")
}

/// The roots that the user named, or those of the configuration. What is wrong with one is said, and the rest counts.
fn roots(args: &Args, global: &Global, at: WallTime) -> Result<Trusted, Fault> {
    let (dir, lists, rules, guard) = match &args.roots {
        // Whoever names a directory on the command line vouches for it; nothing is installed by it.
        Some(dir) => {
            let rules = Rules {
                legacy: args.legacy,
                staleness: if args.stale_lists { Staleness::Warn } else { Staleness::Strict },
            };
            (Some(dir.clone()), args.crls.clone(), rules, Guard::new(Mode::Demo, 0))
        }
        None => {
            let loaded = check_config::load(args.config.clone(), global)?;
            let trust = loaded.config.trust;
            let rules = Rules { legacy: trust.legacy, staleness: trust.revocation };
            (trust.roots, trust.crls, rules, loaded.guard)
        }
    };
    let trusted = Trusted::load(dir.as_deref(), lists.as_deref(), rules, &guard, at)?;
    for problem in &trusted.problems {
        eprintln!("mexegate: {}", printable(&problem.to_string()));
    }
    if dir.is_none() {
        eprintln!(
            "mexegate: no roots are configured, so nothing can be verified; name a directory with --roots"
        );
    }
    Ok(trusted)
}

/// The verdict as the contract shapes it, with what else was found out.
fn shown(verification: &Verification) -> Value {
    let verdict = &verification.verdict;
    let mut shown = json!({
        "verdict": verdict::name(verdict),
        "domain": null,
        "reason": verdict.reason(),
        "signers": verdict::signers(verdict),
        "digest": (verification.digest != [0; 32]).then(|| hex(&verification.digest)),
    });
    let mut add =
        |key: &str, value: Value| shown.as_object_mut().map(|shown| shown.insert(key.to_owned(), value));
    match verdict {
        TrustVerdict::Verified(voucher) => {
            add("domain", json!(voucher.domain));
            add("root", json!(voucher.root));
            add("expires", json!(voucher.expires.to_string()));
            add("restricted_to", restricted(voucher.groups));
            add("legacy", json!(voucher.legacy));
            add("revocation", json!(voucher.revocation.as_str()));
            add("stamped_at", json!(voucher.stamped_at.map(|at| at.to_string())));
        }
        TrustVerdict::Untrusted(untrusted) => {
            add("detail", json!(untrusted.detail()));
        }
        TrustVerdict::Refused(refusal) => {
            add("detail", json!(refusal.detail));
        }
    }
    if let Some(package) = &verification.package {
        add("name", json!(package.name));
        add("version", json!(package.version));
        add("runtime", json!(package.runtime.as_str()));
        add("qos_profile", json!(package.qos_profile));
    }
    shown
}
