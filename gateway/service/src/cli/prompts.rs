//! `prompts`: the questions that wait for the user, those that he missed, and what he does not want to be asked again.

mod question;
mod watch;

use mexe_model::{DenialId, PromptId};
use serde_json::json;

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// List the questions that wait for an answer, or answer them here
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct Args {
    /// Stay, show questions as they come, and answer them from the keyboard
    #[arg(long)]
    watch: bool,
    /// List what is not asked again, instead
    #[arg(long)]
    denied: bool,
    /// Be asked again about something that was denied, as in denial-2
    #[arg(long, value_name = "DENIAL")]
    rearm: Option<DenialId>,
    /// Take a missed question off the list, as in prompt-7
    #[arg(long, value_name = "PROMPT")]
    dismiss: Option<PromptId>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let forget = args.rearm.map(|id| id.to_string()).or(args.dismiss.map(|id| id.to_string()));
    match forget {
        Some(id) => forget_one(&id, global),
        None if args.watch => watch::run(global),
        None if args.denied => denied(global),
        None => list(global),
    }
}

fn list(global: &Global) -> Result<Exit, Stop> {
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/prompts")).await?))?;
    let columns = [
        ("id", "PROMPT"),
        ("state", "STATE"),
        ("app", "APP"),
        ("domain", "DOMAIN"),
        ("signer", "SIGNER"),
        ("action", "ACTION"),
        ("target", "TARGET"),
        ("held", "WAITING"),
        ("unasked", "NOT ASKED"),
        ("expires_in_seconds", "SECONDS LEFT"),
        ("asked_at", "ASKED"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "nothing is asked"))
}

fn denied(global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/prompts").query("denied", "true");
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?;
    let columns = [
        ("id", "DENIAL"),
        ("app", "APP"),
        ("action", "ACTION"),
        ("target", "TARGET"),
        ("scope", "SCOPE"),
        ("effect", "EFFECT"),
        ("holds", "HOLDS"),
        ("runs", "RUNS"),
        ("expires_in_seconds", "SECONDS LEFT"),
        ("denied_at", "DENIED"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "nothing is denied"))
}

fn forget_one(id: &str, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/prompts").segment(id);
    let answer = global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
    let answer = if answer.is_null() { json!({ "forgotten": id }) } else { answer };
    global.print(&answer, |_| format!("forgot {id}"))
}
