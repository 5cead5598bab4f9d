//! `explain`: what would be decided and why. It explains a refusal as readily as a permission, so it ends with 0 for both.

use mexe_model::AppId;
use serde_json::json;

use super::fault::Stop;
use super::target::ActionTarget;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Show what would be decided, and why: table cell, grant, profile, class
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
    /// What it would do, as in network.connect=example.org:443
    #[arg(value_name = "ACTION[=TARGET]")]
    what: ActionTarget,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let mut body = json!({"app": args.app, "action": args.what.action, "explain": true});
    if let (Some(object), Some(target)) = (body.as_object_mut(), &args.what.target) {
        object.insert("target".to_owned(), json!(target));
    }
    let answer =
        global.with_gate(async |mut gate| Ok(gate.post(&ApiPath::new("/v1/decisions"), &body).await?))?;
    global.print(&answer, |answer| {
        let mut answer = answer.clone();
        if let Some(quality) = answer.get_mut("qos") {
            *quality = super::streams::readable(quality);
        }
        output::facts(&answer)
    })
}
