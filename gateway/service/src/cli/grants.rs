//! `grants`: the permissions that the user gave.

use mexe_model::AppId;

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// List the permissions given, of all apps or of one
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this app's
    #[arg(value_name = "APP")]
    app: Option<AppId>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/grants");
    let path = if let Some(app) = &args.app { path.query("app", app.as_str()) } else { path };
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?;
    let columns = [
        ("id", "GRANT"),
        ("app", "APP"),
        ("action", "ACTION"),
        ("target", "TARGET"),
        ("permission", "PERMISSION"),
        ("runs", "RUNS"),
        ("expires_in_seconds", "SECONDS LEFT"),
        ("granted_at", "GRANTED"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "no permissions are given"))
}
