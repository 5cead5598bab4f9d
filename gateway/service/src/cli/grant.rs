//! `grant`: gives an app the user's permission for an action. Whether the security table allows it is the gate's word.

use mexe_model::{AppId, Permission};
use serde_json::json;

use super::fault::Stop;
use super::target::ActionTarget;
use super::{Exit, Global, output, when};
use crate::client::ApiPath;

/// Give an app the permission for an action
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
    /// What it may do, as in network.connect=example.org:443; without a target: any global address
    #[arg(value_name = "ACTION[=TARGET]")]
    what: ActionTarget,
    /// How long one answer holds: single, session or blanket
    #[arg(long, value_name = "PERMISSION")]
    permission: Permission,
    /// Ends by itself after this time, as in 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = when::spelt_duration)]
    lasts: Option<String>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let mut body = json!({"app": args.app, "action": args.what.action, "permission": args.permission});
    if let Some(object) = body.as_object_mut() {
        let optional = [("target", &args.what.target), ("for", &args.lasts)];
        object.extend(
            optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?)))),
        );
    }
    let answer =
        global.with_gate(async |mut gate| Ok(gate.post(&ApiPath::new("/v1/grants"), &body).await?))?;
    global.print(&answer, output::facts)
}
