//! The command line: one file per verb, each with its arguments and what it does. Here is only what all of them share:
//! the tree of verbs, the global flags, the way to the gate, and how an end becomes an exit code. Called from `main`.

mod administrator;
mod answer;
mod app;
mod app_fetch;
mod app_install;
mod app_limit;
mod app_list;
mod app_remove;
mod app_run;
mod app_show;
mod app_start;
mod app_stop;
mod app_verify;
mod ask;
mod bearers;
mod call;
mod ccm;
mod check_config;
mod completions;
mod demo;
mod doctor;
mod exit;
mod explain;
mod fault;
mod flows;
mod grant;
mod grants;
mod journal;
mod output;
mod printable;
mod prompts;
mod qos;
mod qos_decode;
mod revoke;
mod roots;
mod runs;
mod schedule;
mod serve;
mod shadow;
mod small_file;
mod streams;
mod target;
mod usage;
mod usim;
mod usim_read;
mod when;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

pub use self::exit::Exit;
pub use self::fault::{Fault, Stop};
pub use self::printable::{json_line, printable};

use crate::client::{Client, Refused};
use crate::config;

/// The gate between applications and the mobile bearer.
#[derive(Debug, Parser)]
#[command(name = "mexegate", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 fault, 2 usage, 3 refused by policy or trust.")]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Default, clap::Args)]
struct Global {
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    json: bool,
    /// Where the gate keeps its state and its control socket
    #[arg(long, global = true, value_name = "D")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Administrator(administrator::Args),
    Answer(answer::Args),
    #[command(subcommand)]
    App(app::Verb),
    Bearers(bearers::Args),
    Call(call::Dial),
    /// List the voice calls that apps have open
    Calls,
    Ccm(ccm::Args),
    CheckConfig(check_config::Args),
    Completions(completions::Args),
    Demo(demo::Args),
    Doctor(doctor::Args),
    Dtmf(call::Dtmf),
    Explain(explain::Args),
    Flows(flows::Args),
    Grant(grant::Args),
    Grants(grants::Args),
    HangUp(call::HangUp),
    Journal(journal::Args),
    Prompts(prompts::Args),
    #[command(subcommand)]
    Qos(qos::Verb),
    Revoke(revoke::Args),
    Roots(roots::Args),
    Runs(runs::Args),
    Schedule(schedule::Args),
    Serve(serve::Args),
    Shadow(shadow::Args),
    /// List the streams that have a quality of service
    Streams,
    Usage(usage::Args),
    #[command(subcommand)]
    Usim(usim::Verb),
}

impl Verb {
    fn run(self, global: &Global) -> Result<Exit, Stop> {
        match self {
            Self::Administrator(args) => administrator::run(&args, global),
            Self::Answer(args) => answer::run(&args, global),
            Self::App(verb) => verb.run(global),
            Self::Bearers(args) => bearers::run(&args, global),
            Self::Call(args) => call::dial(&args, global),
            Self::Calls => call::list(global),
            Self::Ccm(args) => ccm::run(&args, global),
            Self::CheckConfig(args) => check_config::run(&args, global),
            Self::Completions(args) => completions::run(&args),
            Self::Demo(args) => demo::run(args, global),
            Self::Doctor(args) => doctor::run(&args, global),
            Self::Dtmf(args) => call::dtmf(&args, global),
            Self::Explain(args) => explain::run(&args, global),
            Self::Flows(args) => flows::run(&args, global),
            Self::Grant(args) => grant::run(&args, global),
            Self::Grants(args) => grants::run(&args, global),
            Self::HangUp(args) => call::hang_up(&args, global),
            Self::Journal(args) => journal::run(&args, global),
            Self::Prompts(args) => prompts::run(&args, global),
            Self::Qos(verb) => verb.run(global),
            Self::Revoke(args) => revoke::run(&args, global),
            Self::Roots(args) => roots::run(&args, global),
            Self::Runs(args) => runs::run(&args, global),
            Self::Schedule(args) => schedule::run(&args, global),
            Self::Serve(args) => serve::run(&args, global),
            Self::Shadow(args) => shadow::run(&args, global),
            Self::Streams => streams::list(global),
            Self::Usage(args) => usage::run(&args, global),
            Self::Usim(verb) => verb.run(global),
        }
    }
}

/// Runs the command line to its end and says how it ended. Everything that has to be said has been printed.
pub fn main(line: impl IntoIterator<Item = OsString>) -> Exit {
    let Line { global, verb } = match Line::try_parse_from(line) {
        Ok(line) => line,
        Err(error) => {
            // Help and version are answers, printed to the standard output; the rest is a mistake in the command line.
            let asked_for = !error.use_stderr();
            return if error.print().is_ok() && asked_for { Exit::Done } else { Exit::Usage };
        }
    };
    match verb.run(&global) {
        Ok(exit) => exit,
        Err(Stop::Fault(fault)) => {
            complain(&fault);
            fault.exit()
        }
        Err(Stop::ReaderGone) => Exit::Done,
        Err(Stop::Refused(refused)) => {
            if global.json {
                // A reader that went away cannot be told anything either.
                let _ = output::json(&problem(&refused));
            }
            let exit = Exit::of_refusal(refused.reason, refused.status);
            match exit {
                Exit::Refused => complain(&format_args!("refused: {refused}")),
                _ => complain(&refused),
            }
            exit
        }
    }
}

/// The gate's problem as `--json` prints it: what it sent, with the fields that scripts look for always there.
fn problem(refused: &Refused) -> Value {
    let mut problem = match &refused.problem {
        Value::Object(problem) => problem.clone(),
        _ => serde_json::Map::new(),
    };
    problem.entry("status").or_insert(json!(refused.status));
    problem.entry("reason").or_insert(json!(refused.reason));
    problem.entry("detail").or_insert(json!(refused.detail));
    Value::Object(problem)
}

/// Says on the standard error what is wrong, in one line; red where a person looks at a terminal that has colours.
fn complain(what: &dyn std::fmt::Display) {
    let mut err = std::io::stderr().lock();
    let colours = err.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Nothing can be done when the standard error is closed.
    let _ = if colours {
        writeln!(err, "\u{1b}[31mmexegate:\u{1b}[0m {what}")
    } else {
        writeln!(err, "mexegate: {what}")
    };
}

impl Global {
    /// Where the gate keeps its state.
    fn state_dir(&self) -> Result<PathBuf, Fault> {
        Ok(config::state_dir(self.state_dir.as_deref(), &config::Environment::of_process())?.0)
    }

    /// Connects to the gate and talks to it.
    fn with_gate<T>(&self, talk: impl AsyncFnOnce(Client) -> Result<T, Stop>) -> Result<T, Stop> {
        let state_dir = self.state_dir()?;
        on_a_runtime(async move { talk(Client::connect(&state_dir).await?).await })
    }

    /// Prints the gate's answer: as it came with `--json`, else what `shown` makes of it.
    fn print(&self, answer: &Value, shown: impl FnOnce(&Value) -> String) -> Result<Exit, Stop> {
        if self.json { output::json(answer) } else { output::text(&shown(answer)) }.map(|()| Exit::Done)
    }
}

/// Runs a conversation on a runtime of this thread. What still blocks afterwards (a read of the terminal) is left behind.
fn on_a_runtime<T>(task: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Fault::new("cannot start").because(e))?;
    let result = runtime.block_on(task);
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests;
