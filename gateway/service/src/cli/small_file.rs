//! Reading a small file that the user named: a certificate, a revocation list, a message.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::fault::Fault;

/// What is larger is no such file, bytes.
const LARGEST: u64 = 32 << 20;

/// The whole file. `wanted` says what the user should name, as in `a certificate file`.
///
/// # Errors
/// It cannot be read, is not a plain file, or is too large.
pub(super) fn read(file: &Path, wanted: &str) -> Result<Vec<u8>, Fault> {
    let unreadable = |why: std::io::Error| {
        Fault::new(format!("cannot read `{}`", file.display())).because(why).help(format!("name {wanted}"))
    };
    let opened = File::open(file).map_err(unreadable)?;
    if !opened.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a plain file")));
    }
    let mut bytes = Vec::new();
    opened.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(unreadable(std::io::Error::other("it is too large")));
    }
    Ok(bytes)
}

/// The file's own name, for the gate to remember.
pub(super) fn name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
