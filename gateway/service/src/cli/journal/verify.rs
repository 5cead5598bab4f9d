//! `journal verify`: checks every record's hash and every seal, and whether the journal goes on from a checkpoint. What a
//! chain must hold is decided in crate mexe-journal.

use std::path::PathBuf;

use mexe_journal::{Found, VerifyError, VerifyReport};
use serde_json::{Value, json};

use super::checkpoint;
use crate::cli::fault::{Fault, Stop};
use crate::cli::{Exit, Global, output};

/// Check every hash and seal of the chain
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A checkpoint that was kept elsewhere: the journal must go on from it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let state_dir = global.state_dir()?;
    let checkpoint = args.checkpoint.as_deref().map(checkpoint::read).transpose()?;
    let verified = match &checkpoint {
        None => mexe_journal::verify(&state_dir),
        Some(checkpoint) => mexe_journal::verify_against(&state_dir, checkpoint),
    };
    match verified {
        Ok(report) => {
            let mut shown = json!(report);
            if let Value::Object(shown) = &mut shown {
                shown.insert("verified".to_owned(), Value::Bool(true));
                shown.insert("rollback".to_owned(), rollback(&report).into());
            }
            global.print(&shown, |shown| format!("the chain holds\n{}", output::facts(shown)))
        }
        Err(VerifyError::Unreadable(error)) => Err(error.into()),
        Err(VerifyError::Broken(broken)) => {
            if global.json {
                output::json(&json!({"verified": false, "seq": broken.seq, "what": broken.what}))?;
            }
            Err(Fault::new(broken.to_string())
                .help("keep the file as evidence and start a new state directory")
                .into())
        }
        Err(VerifyError::Checkpoint(mismatch)) => {
            if global.json {
                let what = mismatch.to_string();
                output::json(&json!({"verified": false, "checkpoint": mismatch.code(), "what": what}))?;
            }
            Err(Fault::new(mismatch.to_string())
                .help("keep the state directory and the checkpoint as evidence")
                .into())
        }
    }
}

/// What is known about an older copy having been put back.
fn rollback(report: &VerifyReport) -> &'static str {
    match report.checkpoint.as_ref().map(|standing| standing.found) {
        None => "not detectable: an older copy that was put back whole looks the same; give --checkpoint",
        Some(Found::Seal | Found::Record) => "not behind the checkpoint",
        Some(Found::TakenOut) => {
            "unproven: the checkpoint's seal and record were taken out since; it is the same identity and farther on"
        }
    }
}
