//! `journal checkpoint`: what another machine keeps, so that an older copy of this journal can be told later. Reads the
//! state directory only, with or without a gate that runs.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mexe_journal::Checkpoint;
use serde_json::{Value, json};

use crate::cli::fault::{Fault, Stop};
use crate::cli::{Exit, Global, output, small_file};

/// Take a signed checkpoint of the journal, to be kept on another machine
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write. One that holds a checkpoint is replaced only if the journal goes on from that
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let state_dir = global.state_dir()?;
    let checkpoint = Checkpoint::of(&state_dir)?;
    let document = checkpoint.document();
    let Some(file) = &args.out else {
        let value: Value = serde_json::from_str(&document).unwrap_or_default();
        return global.print(&value, |_| document.trim_end().to_owned());
    };
    may_replace(file, &state_dir)?;
    write(file, &document)
        .map_err(|why| Fault::new(format!("cannot write `{}`", file.display())).because(why))?;
    let told = json!({
        "file": file.display().to_string(),
        "seq": checkpoint.seq(),
        "at": checkpoint.at().to_string(),
    });
    global.print(&told, output::facts)
}

/// Reads a checkpoint's file.
///
/// # Errors
/// It cannot be read, or holds none.
pub(super) fn read(file: &Path) -> Result<Checkpoint, Fault> {
    let bytes = small_file::read(file, "a file that `mexegate journal checkpoint` wrote")?;
    Checkpoint::parse(&String::from_utf8_lossy(&bytes)).map_err(|why| {
        Fault::new(format!("`{}` is no checkpoint", file.display()))
            .because(why)
            .help("name a file that `mexegate journal checkpoint` wrote")
    })
}

/// A checkpoint that shows this journal to be an older copy is the last thing to write over.
fn may_replace(file: &Path, state_dir: &Path) -> Result<(), Stop> {
    match std::fs::symlink_metadata(file) {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    match read(file)?.mismatch(state_dir)? {
        None => Ok(()),
        Some(mismatch) => {
            Err(Fault::new(format!("will not replace `{}`", file.display())).because(mismatch).into())
        }
    }
}

/// All of it or nothing: a full disk must not cost the checkpoint that is there.
fn write(file: &Path, document: &str) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(document.as_bytes())?;
    fresh.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    fresh.as_file().sync_all()?;
    fresh.persist(file).map_err(|fault| fault.error).map(|_| ())
}
