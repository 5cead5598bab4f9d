//! `journal`: the records, from the database itself, so that they can be read with no gate running. Reads only; what a
//! record means was decided when it was written. `journal verify` checks the chain.

mod line;
mod verify;

use std::time::Duration;

use mexe_journal::{Filter, JournalError, Kind, Outcome, Row};
use mexe_model::{Action, AppId, FlowId, Reason, RunId};
use serde_json::json;

use super::fault::{Fault, Stop};
use super::{Exit, Global, output, when};
use crate::clock;

/// Show the journal, or verify its chain
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check every hash and seal of the chain
    Verify,
}

#[derive(Debug, clap::Args)]
struct Filters {
    /// Only records of this app
    #[arg(long, value_name = "A")]
    app: Option<AppId>,
    /// Only records since then: a time, a date, or how long ago, as in 10m
    #[arg(long, value_name = "T", value_parser = |text: &str| when::since(text, clock::wall()))]
    since: Option<mexe_model::WallTime>,
    /// Only records with this reason
    #[arg(long, value_name = "R")]
    reason: Option<Reason>,
    /// Only records of this kind: decision, flow-end or change
    #[arg(long, value_name = "K")]
    kind: Option<Kind>,
    /// Only requests decided so: allow, ask or deny
    #[arg(long, value_name = "D")]
    decision: Option<Outcome>,
    /// Only records of this action
    #[arg(long)]
    action: Option<Action>,
    /// Only records of this run
    #[arg(long)]
    run: Option<RunId>,
    /// Only records of this flow
    #[arg(long)]
    flow: Option<FlowId>,
    /// Only the last so many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Keep printing what is added, until interrupted
    #[arg(long)]
    follow: bool,
}

/// How often `--follow` looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// So many records are read at a time.
const PAGE: u32 = 1000;

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    match args.verb {
        None => show(&args.filters, global),
        Some(Verb::Verify) => verify::run(global),
    }
}

fn show(filters: &Filters, global: &Global) -> Result<Exit, Stop> {
    let state_dir = global.state_dir()?;
    let mut filter = Filter {
        app: filters.app.clone(),
        since: filters.since,
        reason: filters.reason,
        kind: filters.kind,
        decision: filters.decision,
        action: filters.action.as_ref().map(ToString::to_string),
        run: filters.run,
        flow: filters.flow,
        ..Filter::default()
    };
    match filters.limit {
        // Without `after` the newest come.
        Some(limit) => {
            filter.limit = Some(limit);
            let rows = mexe_journal::query(&state_dir, &filter)?;
            filter.after = Some(rows.last().map_or(0, |row| row.seq));
            print(&rows, global)?;
        }
        None => filter.after = Some(0),
    }
    if filters.limit.is_some() && !filters.follow {
        return Ok(Exit::Done);
    }
    filter.limit = Some(PAGE);
    loop {
        let rows = mexe_journal::query(&state_dir, &filter)?;
        print(&rows, global)?;
        if let Some(last) = rows.last() {
            filter.after = Some(last.seq);
        } else if filters.follow {
            std::thread::sleep(LOOK_AGAIN);
        } else {
            return Ok(Exit::Done);
        }
    }
}

fn print(rows: &[Row], global: &Global) -> Result<(), Stop> {
    for row in rows {
        if global.json {
            output::json(row)?;
        } else {
            output::text(&line::line(&json!(row)))?;
        }
    }
    Ok(())
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Fault::new(error.to_string()).into()
    }
}
