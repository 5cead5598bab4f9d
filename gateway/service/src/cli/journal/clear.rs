//! `journal clear`: lets the gate take decisions and ends of flows out of the journal, after asking. What stays, and how
//! the chain goes on, is decided in crate mexe-journal.

use std::io::IsTerminal;

use mexe_model::{AppId, WallTime};
use serde_json::{Value, json};

use super::filters::past;
use crate::cli::ask::agreed;
use crate::cli::fault::{Fault, Stop};
use crate::cli::{Exit, Global};
use crate::client::ApiPath;

/// Take decisions and ends of flows out of the journal
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this app's: its name, its runs and where it went are erased, the rest of the records stays
    #[arg(long, value_name = "A")]
    app: Option<AppId>,
    /// Only what is older: a time, a date, or how long ago, as in 30d
    #[arg(long, value_name = "T", value_parser = past)]
    before: Option<WallTime>,
    /// Clear without asking
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            let why =
                Fault::usage("nobody can be asked").help("say --yes to clear the journal without asking");
            return Err(why.into());
        }
        if !agreed(&question(args)) {
            return global.print(&json!({ "cleared": false }), |_| "nothing was cleared".to_owned());
        }
    }
    let mut path = ApiPath::new("/v1/journal");
    if let Some(app) = &args.app {
        path = path.query("app", app.as_str());
    }
    if let Some(before) = args.before {
        path = path.query("before", &before.to_string());
    }
    let answer = global.with_gate(async |mut gate| Ok(gate.delete_patiently(&path).await?))?;
    global.print(&answer, shown)
}

fn question(args: &Args) -> String {
    let whose = args.app.as_ref().map(|app| format!(" of {app}")).unwrap_or_default();
    let until = args.before.map(|before| format!(" before {before}")).unwrap_or_default();
    format!("Clear all decisions and ends of flows{whose}{until}?")
}

fn shown(answer: &Value) -> String {
    match answer.get("records").and_then(Value::as_u64) {
        Some(0) => "there was nothing to clear".to_owned(),
        Some(1) => "1 record was cleared".to_owned(),
        count => format!("{} records were cleared", count.unwrap_or_default()),
    }
}
