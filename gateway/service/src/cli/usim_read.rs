//! `usim read`: shows what a card holds, offline, out of a directory of its files (docs/usim.md). What it means is
//! decided in `mexe_certs::usim`; here every record is shown, with all that is wrong with it. Trusts nothing.

use std::io;
use std::path::{Path, PathBuf};

use mexe_certs::Rules;
use mexe_certs::usim::{Card, CardCertificate, Record, decode};
use serde_json::{Value, json};

use super::fault::{Fault, Stop};
use super::{Exit, Global, output};
use crate::apps::hex;
use crate::config::{Guard, Mode};

/// Show every root key record of a card, offline
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory with the card's files, as docs/usim.md describes them
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let image = mexe_card::directory::read(|name| read(&args.dir.join(name))).map_err(|fault| {
        Fault::new(format!("cannot read `{}`", args.dir.display()))
            .because(fault)
            .help("docs/usim.md says what the directory of a card looks like")
    })?;
    let card = decode(&image);
    global.print(&shown(&card), text)
}

/// A file's bytes. Whoever names the directory vouches for it; nothing is trusted by it.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Guard::new(Mode::Demo, 0).read(path, FILE_MAX).map(Some).map_err(io::Error::other),
    }
}

const FILE_MAX: u64 = 256 * 1024;

fn shown(card: &Card) -> Value {
    let offered: Vec<_> = card.candidates(Rules::default()).iter().map(|c| c.record.place()).collect();
    let with_legacy: Vec<_> = card
        .candidates(Rules { legacy: true, ..Rules::default() })
        .iter()
        .map(|c| c.record.place())
        .collect();
    let services = mexe_certs::usim::RootFile::ALL.into_iter().filter(|file| card.services.has(*file));
    let items: Vec<_> = card
        .records
        .iter()
        .map(|record| {
            let state = match record.place() {
                _ if record.is_empty() => "empty",
                place if offered.contains(&place) => "offered",
                place if with_legacy.contains(&place) => "legacy-only",
                _ => "not-offered",
            };
            shown_record(record, state)
        })
        .collect();
    json!({
        "kind": card.kind.as_str(),
        "mexe": card.has_mexe,
        "iccid": card.iccid,
        "imsi": card.imsi,
        "network": card.binding.as_ref().map(|binding| binding.network.to_string()),
        "provider": card.binding.as_ref().and_then(|binding| binding.provider.clone()),
        "group": card.binding.as_ref().and_then(|binding| binding.group.as_deref().map(hex)),
        "services": services.map(|file| file.as_str()).collect::<Vec<_>>(),
        "problems": card.problems.iter().map(|(file, problem)| json!({
            "file": file.to_string(), "code": problem.code(), "detail": problem.to_string(),
        })).collect::<Vec<_>>(),
        "items": items,
    })
}

fn shown_record(record: &Record, state: &str) -> Value {
    let descriptor = record.descriptor.as_ref().map(|descriptor| {
        json!({
            "parameters": format!("{:02x}", descriptor.parameters),
            "flags": format!("{:02x}", descriptor.flags),
            "type": descriptor.kind.to_string(),
            "file": descriptor.file.to_string(),
            "offset": descriptor.offset,
            "length": descriptor.length,
            "key_identifier": hex(&descriptor.key_identifier),
            "certificate_identifier": descriptor.certificate_identifier.as_deref().map(hex),
        })
    });
    let certificate = record.certificate.as_ref().map(|certificate| match certificate {
        CardCertificate::X509 { facts, key, key_description, .. } => json!({
            "format": "x509",
            "subject": facts.subject,
            "not_before": facts.not_before.to_string(),
            "not_after": facts.not_after.to_string(),
            "key": key,
            "key_kind": key_description,
            "sha256": hex(&facts.sha256),
        }),
        CardCertificate::Wtls { certificate, key } => json!({
            "format": "wtls",
            "subject": certificate.subject.to_string(),
            "issuer": certificate.issuer.to_string(),
            "not_before": certificate.not_before.to_string(),
            "not_after": certificate.not_after.to_string(),
            "key": key,
            "anchors_x509": certificate.anchor().is_some(),
        }),
    });
    json!({
        "place": record.place(),
        "kind": record.file.kind().as_str(),
        "record": record.number,
        "state": state,
        "raw": hex(&record.raw),
        "descriptor": descriptor,
        "certificate": certificate,
        "problems": record.problems.iter().map(|problem| json!({
            "code": problem.code(), "detail": problem.to_string(),
        })).collect::<Vec<_>>(),
    })
}

/// For people: the card's facts, then a line of facts for each record.
fn text(card: &Value) -> String {
    let mut shown = output::facts(card);
    if card.get("mexe") == Some(&Value::Bool(false)) {
        shown.push_str("\nthe card does not say that it has a folder MExE, so it offers no root keys");
    }
    shown
}
