//! `app install`: hands a package to the gate, which verifies it and takes it in. Decides nothing itself.

use std::path::PathBuf;

use super::fault::{Fault, Stop};
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Hand a package to the gate, which verifies and installs it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let unreadable = |e: std::io::Error| {
        Fault::new(format!("cannot read `{}`", args.file.display())).because(e).help("name a package file")
    };
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let answer = global.with_gate(async |mut gate| {
        let file = tokio::fs::File::open(&args.file).await.map_err(unreadable)?;
        let about = file.metadata().await.map_err(unreadable)?;
        if !about.is_file() {
            return Err(unreadable(std::io::Error::other("it is not a plain file")).into());
        }
        Ok(gate.upload(&ApiPath::new("/v1/apps").query("file", &name), file, about.len()).await?)
    })?;
    global.print(&answer, output::facts)
}
