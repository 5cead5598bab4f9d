//! One gate per state directory: an advisory lock on `mexegate.lock`, held as long as the journal is open. The kernel
//! gives it back when the process dies, however that happens.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::JournalError;

/// The lock's file in the state directory.
pub(crate) const FILE: &str = "mexegate.lock";

/// Holding it, the state directory is ours.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock and writes our process id into its file.
    ///
    /// # Errors
    /// `Locked` when another process, or another journal of this one, has it.
    pub(crate) fn take(state_dir: &Path) -> Result<Self, JournalError> {
        let path = state_dir.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(JournalError::io("open the lock file", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(locked(state_dir, file)),
            Err(fault) => return Err(JournalError::io("lock the state directory", &path)(fault.into())),
        }
        // Who holds it is told for the reader of an error message; the lock does not hang on it. A full disk must not
        // keep the gate from starting.
        let told = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(fault) = told {
            tracing::warn!(path = %path.display(), %fault, "cannot write the process id into the lock file");
        }
        Ok(Self { _file: file })
    }
}

fn locked(state_dir: &Path, mut file: File) -> JournalError {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let pid = text.trim();
    let known = read.is_ok() && !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
    let holder =
        if known { format!("process {pid}") } else { "a process that did not say its number".into() };
    JournalError::Locked { path: state_dir.to_owned(), holder }
}
