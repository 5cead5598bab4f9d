//! `roots`: the root public keys that the gate trusts, and those that it does not and why.

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// The root public keys of the gate
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List them, with what keeps any of them off
    List,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let Verb::List = args.verb;
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/roots")).await?))?;
    let columns = [
        ("kind", "KIND"),
        ("domain", "DOMAIN"),
        ("state", "STATE"),
        ("subject", "SUBJECT"),
        ("not_after", "VALID UNTIL"),
        ("source", "SOURCE"),
        ("problem", "PROBLEM"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "no roots are configured"))
}
