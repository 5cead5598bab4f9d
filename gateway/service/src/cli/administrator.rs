//! `administrator`: who controls the third party domain, and handing it to somebody.

use std::path::PathBuf;

use http::Method;

use super::fault::Stop;
use super::{Exit, Global, output, small_file};
use crate::client::ApiPath;

/// Who controls the third party domain
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make the holder of a root key the administrator: only messages that it signs change the domain from then on
    Set {
        /// The administrator's root certificate, PEM or DER
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show who it is, and whether the card offers another
    Show,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/administrator");
    let answer = match &args.verb {
        Verb::Show => global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?,
        Verb::Set { file } => {
            let bytes = small_file::read(file, "a certificate file")?;
            let path = path.query("file", &small_file::name(file));
            let kind = "application/pkix-cert";
            global.with_gate(async |mut gate| Ok(gate.send(Method::PUT, &path, kind, bytes).await?))?
        }
    };
    global.print(&answer, output::facts)
}
