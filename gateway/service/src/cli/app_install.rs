//! `app install`: hands a package to the gate, which verifies it and takes it in. Decides nothing itself.

use std::path::PathBuf;

use mexe_model::AppId;

use super::fault::{Fault, Stop};
use super::{Exit, Global, app_verify, output, small_file};
use crate::apps::StoredEvidence;
use crate::client::ApiPath;

/// Hand a package to the gate, which verifies and installs it
// `--version` is the package's here.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The application descriptor (JAD) that signs it
    #[arg(long, value_name = "FILE", conflicts_with = "signature")]
    jad: Option<PathBuf>,
    /// The detached CMS signature over it, DER or PEM
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// What to call it; a package that names itself keeps its name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its version; likewise
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// It must be an update of this app, by the same signer
    #[arg(long, value_name = "APP")]
    update: Option<AppId>,
    /// Let an older version replace a newer one; all permissions of the app are dropped then
    #[arg(long)]
    downgrade: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let unreadable = |e: std::io::Error| {
        Fault::new(format!("cannot read `{}`", args.file.display())).because(e).help("name a package file")
    };
    let mut path = ApiPath::new("/v1/apps").query("file", &small_file::name(&args.file));
    if let Some(app) = &args.update {
        path = path.query("update", app.as_str());
    }
    if args.downgrade {
        path = path.query("downgrade", "true");
    }
    let parts = parts(args)?;
    let answer = global.with_gate(async |mut gate| {
        let file = tokio::fs::File::open(&args.file).await.map_err(unreadable)?;
        let about = file.metadata().await.map_err(unreadable)?;
        if !about.is_file() {
            return Err(unreadable(std::io::Error::other("it is not a plain file")).into());
        }
        Ok(match parts.is_empty() {
            true => gate.upload(&path, file, about.len()).await?,
            false => gate.upload_with(&path, &parts, file, about.len()).await?,
        })
    })?;
    global.print(&answer, output::facts)
}

/// What goes with the package.
fn parts(args: &Args) -> Result<Vec<(&'static str, Vec<u8>)>, Fault> {
    let mut parts = Vec::new();
    match app_verify::evidence(args.jad.as_deref(), args.signature.as_deref())? {
        StoredEvidence::Inside => {}
        StoredEvidence::Descriptor(bytes) => parts.push(("jad", bytes)),
        StoredEvidence::Detached(bytes) => parts.push(("signature", bytes)),
    }
    for (name, value) in [("name", &args.name), ("version", &args.version)] {
        parts.extend(value.as_ref().map(|value| (name, value.clone().into_bytes())));
    }
    Ok(parts)
}
