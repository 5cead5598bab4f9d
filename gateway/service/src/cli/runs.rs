//! `runs`: the live runs.

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// List the live runs
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, global: &Global) -> Result<Exit, Stop> {
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/runs")).await?))?;
    let columns = [
        ("id", "RUN"),
        ("app", "APP"),
        ("domain", "DOMAIN"),
        ("binding", "BINDING"),
        ("process", "PROCESS"),
        ("connections", "CONNECTIONS"),
        ("started_at", "STARTED"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "nothing runs"))
}
