//! `app show`: everything that the gate knows about one app.

use mexe_model::AppId;

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Show everything about one app
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/apps").segment(args.app.as_str());
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?;
    global.print(&answer, output::facts)
}
