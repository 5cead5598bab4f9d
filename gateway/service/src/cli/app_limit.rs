//! `app limit` and `app limits`: the most that an app may move a second.

use mexe_model::{AppId, BitRate};
use serde_json::json;

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
    let (path, app) = (ApiPath::new("/v1/limits"), args.app.as_str());
    if args.none {
        let path = path.segment(app);
        global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
        return global.print(&json!({ "removed": app }), |_| format!("{app} has no limit now"));
    }
    let body = json!({ "app": app, "max_bitrate_up": args.up, "max_bitrate_down": args.down });
    let answer = global.with_gate(async |mut gate| Ok(gate.post(&path, &body).await?))?;
    global.print(&answer, |_| format!("{app} is limited"))
}

pub(super) fn list(global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/limits");
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?;
    let columns = [("app", "APP"), ("max_bitrate_up", "UP"), ("max_bitrate_down", "DOWN")];
    global.print(&answer, |answer| output::list(answer, &columns, "no app is limited"))
}
