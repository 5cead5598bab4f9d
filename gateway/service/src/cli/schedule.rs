//! `schedule`: what an app may do at some hours, within a budget, without asking. Shown in sentences before it is signed
//! off, and signed off by its digest, so that what the user agrees to is what counts.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use mexe_model::AppId;
use serde_json::{Value, json};

use super::fault::{Fault, Stop};
use super::{Exit, Global, printable, small_file};
use crate::client::ApiPath;

/// Sign off event schedules: what an app may do at some hours, within a budget, without asking
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show what a schedule would permit, and its digest
    Show {
        /// The schedule, TOML
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Permit what a schedule says, from now on and without asking
    Sign {
        /// The schedule, TOML
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The digest that `schedule show` printed, instead of an answer at the terminal
        #[arg(long, value_name = "DIGEST")]
        digest: Option<String>,
    },
    /// List the schedules that are signed off, and what is left of them
    List {
        /// Only this app's
        #[arg(value_name = "APP")]
        app: Option<AppId>,
    },
    /// Take a schedule back
    Revoke {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/schedules");
    match &args.verb {
        Verb::Show { file } => {
            let body = json!({ "text": text(file)? });
            let answer = global.with_gate(async |mut gate| Ok(gate.post(&path, &body).await?))?;
            global.print(&answer, offered)
        }
        Verb::Sign { file, digest } => sign(&text(file)?, digest.as_deref(), global),
        Verb::List { app } => {
            let path = if let Some(app) = app { path.query("app", app.as_str()) } else { path };
            let answer = global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?;
            global.print(&answer, listed)
        }
        Verb::Revoke { name } => {
            let path = path.segment(name);
            global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
            global.print(&json!({ "revoked": name }), |_| format!("revoked {}", printable(name)))
        }
    }
}

fn text(file: &Path) -> Result<String, Fault> {
    let bytes = small_file::read(file, "a schedule")?;
    let no_text = |e| Fault::new(format!("`{}` is not UTF-8", file.display())).because(e);
    String::from_utf8(bytes).map_err(no_text)
}

fn sign(text: &str, digest: Option<&str>, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/schedules");
    let digest = match digest {
        Some(digest) => digest.to_owned(),
        None => {
            let offer = json!({ "text": text });
            let answer = global.with_gate(async |mut gate| Ok(gate.post(&path, &offer).await?))?;
            let digest = answer.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
            agreed(&answer, &digest)?;
            digest
        }
    };
    let body = json!({ "text": text, "digest": digest });
    let answer = global.with_gate(async |mut gate| Ok(gate.post(&path, &body).await?))?;
    global.print(&answer, |answer| format!("signed off {}", word(answer, "name")))
}

/// Asks at the terminal; where there is none, nobody has agreed.
fn agreed(offer: &Value, digest: &str) -> Result<(), Stop> {
    if !std::io::stdin().is_terminal() {
        let help = format!("read it with `mexegate schedule show`, then add --digest {digest}");
        return Err(Fault::usage("nobody is at the terminal to agree to the schedule").help(help).into());
    }
    let mut err = std::io::stderr().lock();
    // What cannot be shown is not agreed to.
    let shown = write!(err, "{}\nPermit this from now on, without asking? [y/N] ", offered(offer));
    shown.and_then(|()| err.flush()).map_err(|e| Fault::new("cannot ask at the terminal").because(e))?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|e| Fault::new("cannot read the answer").because(e))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Fault::new("not signed off").because("the answer was not yes").into()),
    }
}

fn word(answer: &Value, name: &str) -> String {
    printable(answer.get(name).and_then(Value::as_str).unwrap_or_default()).to_string()
}

/// A schedule that is not signed off.
fn offered(answer: &Value) -> String {
    format!("{}\n{}digest: {}", word(answer, "name"), sentences(answer), word(answer, "digest"))
}

fn sentences(schedule: &Value) -> String {
    let said = schedule.get("sentences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    said.iter().filter_map(Value::as_str).map(|said| format!("  {}\n", printable(said))).collect()
}

fn listed(answer: &Value) -> String {
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return "no schedules are signed off".to_owned();
    }
    items.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(schedule: &Value) -> String {
    let left = schedule.get("left");
    let number = |name: &str| left.and_then(|left| left.get(name)).and_then(Value::as_u64);
    let left: Vec<String> = [("bytes", "bytes"), ("events", "times"), ("seconds", "seconds")]
        .into_iter()
        .filter_map(|(name, unit)| Some(format!("{} {unit}", number(name)?)))
        .collect();
    let left = if left.is_empty() { String::new() } else { format!(", left: {}", left.join(", ")) };
    format!(
        "{}: {}{left}\n{}",
        word(schedule, "name"),
        word(schedule, "state"),
        sentences(schedule).trim_end()
    )
}
