//! `app remove`: takes an app away, with its grants, runs and flows.

use mexe_model::AppId;
use serde_json::json;

use super::fault::Stop;
use super::{Exit, Global};
use crate::client::ApiPath;

/// Remove an app, its permissions, runs and flows
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/apps").segment(args.app.as_str());
    let answer = global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
    let answer = if answer.is_null() { json!({"removed": args.app}) } else { answer };
    global.print(&answer, |_| format!("removed {}", args.app))
}
