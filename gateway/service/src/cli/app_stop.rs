//! `app stop`: ends a run; its flows are cut and its session permissions are gone.

use mexe_model::RunId;
use serde_json::json;

use super::fault::Stop;
use super::{Exit, Global};
use crate::client::ApiPath;

/// End a run: its flows are cut, its session permissions are gone
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run's id, as in run-17
    #[arg(value_name = "RUN")]
    run: RunId,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/runs").segment(&args.run.to_string());
    let answer = global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
    let answer = if answer.is_null() { json!({"ended": args.run}) } else { answer };
    global.print(&answer, |_| format!("ended {}", args.run))
}
