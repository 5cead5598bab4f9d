//! `journal`: the records, from the database itself, so that they can be read with no gate running. What a record means
//! was decided when it was written. `export` writes them for other programs, `verify` checks the chain, `checkpoint`
//! takes what another machine keeps; only `clear` changes anything, and asks the gate to do it.

mod checkpoint;
mod clear;
mod export;
mod filters;
mod verify;

use mexe_journal::{JournalError, Row};

use self::filters::{Filters, each_page};
use super::fault::{Fault, Stop};
use super::{Exit, Global, output, printable};

/// Show the journal, export or clear it, or verify its chain
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    filters: Filters,
    /// Keep printing what is added, until interrupted
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Checkpoint(checkpoint::Args),
    Clear(clear::Args),
    Export(export::Args),
    Verify(verify::Args),
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    match &args.verb {
        None => show(args, global),
        Some(Verb::Checkpoint(args)) => checkpoint::run(args, global),
        Some(Verb::Clear(args)) => clear::run(args, global),
        Some(Verb::Export(args)) => export::run(args, global),
        Some(Verb::Verify(args)) => verify::run(args, global),
    }
}

fn show(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let print = |rows: &[Row]| {
        for row in rows {
            if global.json { output::json(row)? } else { output::text(&line(row))? }
        }
        Ok(())
    };
    each_page(&global.state_dir()?, args.filters.filter()?, args.follow, print)?;
    Ok(Exit::Done)
}

/// One record as one line for a person.
fn line(row: &Row) -> String {
    format!("{} {:>6} {}", row.at, row.seq, printable(&row.says))
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Fault::new(error.to_string()).into()
    }
}
