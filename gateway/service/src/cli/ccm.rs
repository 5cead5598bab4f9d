//! `ccm apply`: hands a certificate configuration message of the administrator to the gate.

use std::path::PathBuf;

use http::Method;

use super::fault::Stop;
use super::{Exit, Global, output, small_file};
use crate::client::ApiPath;

/// Certificate configuration messages
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Apply a message that the administrator signed
    Apply {
        /// The message
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let Verb::Apply { file } = &args.verb;
    let bytes = small_file::read(file, "a message file")?;
    let path = ApiPath::new("/v1/ccm");
    let kind = "application/vnd.mexegate.ccm";
    let answer =
        global.with_gate(async |mut gate| Ok(gate.send(Method::POST, &path, kind, bytes).await?))?;
    global.print(&answer, output::facts)
}
