//! `app limit` and `app limits`: the most that an app may move a second.

use hyper::Method;
use mexe_model::{AppId, BitRate};
use serde_json::{Value, json};

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Set the most that an app may move a second, all its connections together, in place of what was set before
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
    /// Towards the network, as in "1 Mbit/s"; without it, as much as there is
    #[arg(long, value_name = "RATE", required_unless_present_any = ["down", "none"])]
    up: Option<BitRate>,
    /// From the network
    #[arg(long, value_name = "RATE")]
    down: Option<BitRate>,
    /// Take the limit away
    #[arg(long, conflicts_with_all = ["up", "down"])]
    none: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/limits").segment(args.app.as_str());
    if args.none {
        global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
        return global.print(&json!({ "removed": args.app }), |_| format!("{} has no limit now", args.app));
    }
    let rates = [("max_bitrate_up", args.up), ("max_bitrate_down", args.down)];
    let body: Value = rates
        .into_iter()
        .filter_map(|(name, rate)| Some((name.to_owned(), json!(rate?))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let (kind, body) = ("application/json", body.to_string().into_bytes());
    let answer = global.with_gate(async |mut gate| Ok(gate.send(Method::PUT, &path, kind, body).await?))?;
    global.print(&answer, |_| format!("{} is limited", args.app))
}

pub(super) fn list(global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/limits");
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?;
    let columns = [("app", "APP"), ("max_bitrate_up", "UP"), ("max_bitrate_down", "DOWN")];
    global.print(&answer, |answer| output::list(answer, &columns, "no app is limited"))
}
