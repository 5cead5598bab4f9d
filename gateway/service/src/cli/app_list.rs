//! `app list`: the installed apps.

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// List the installed apps
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, global: &Global) -> Result<Exit, Stop> {
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/apps")).await?))?;
    let columns = [
        ("id", "APP"),
        ("name", "NAME"),
        ("version", "VERSION"),
        ("domain", "DOMAIN"),
        ("verdict", "VERDICT"),
        ("state", "STATE"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "no apps are installed"))
}
