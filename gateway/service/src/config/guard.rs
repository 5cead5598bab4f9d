//! Who may have written a file that widens trust (S4): root and the gate's own user, nobody else. The check and the
//! reading go through one open file, so that what was checked is what is read. Called by `layers` and `checked`, and by
//! whoever loads roots and the security table.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode as FileMode, OFlags};
use zeroize::Zeroizing;

use super::{ConfigError, Mode};

/// How strictly files that widen trust are guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    owner: Option<u32>,
}

impl Guard {
    /// The guard for that mode: none in the demo.
    pub const fn new(mode: Mode, uid: u32) -> Self {
        Self {
            owner: match mode {
                Mode::Serve => Some(uid),
                Mode::Demo => None,
            },
        }
    }

    /// The bytes of a regular file, `most` at most, after checking who could have written them.
    ///
    /// # Errors
    /// Unreadable, not a regular file, too large, or [`ConfigError::Unguarded`].
    pub fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>, ConfigError> {
        self.contents(path, most, false)
    }

    fn contents(&self, path: &Path, most: u64, is_secret: bool) -> Result<Vec<u8>, ConfigError> {
        // Without NONBLOCK, a FIFO in the file's place would hold the start up for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = rustix::fs::open(path, flags, FileMode::empty());
        let file = File::from(open.map_err(|error| ConfigError::unreadable(path, error))?);
        let metadata = file.metadata().map_err(|error| ConfigError::unreadable(path, error))?;
        if !metadata.is_file() {
            return Err(ConfigError::unreadable(path, std::io::Error::other("not a regular file")));
        }
        self.check(path, &metadata)?;
        let mode = metadata.mode() & 0o7777;
        if is_secret && self.owner.is_some() && mode & 0o077 != 0 {
            return Err(ConfigError::Exposed { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::new();
        let limited = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
        limited.map_err(|error| ConfigError::unreadable(path, error))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
            return Err(ConfigError::TooLarge { path: path.to_owned(), most });
        }
        Ok(bytes)
    }

    /// The bytes of a file that holds a secret: as [`Guard::read`], and nobody but its owner may read it.
    ///
    /// # Errors
    /// Those of [`Guard::read`], and [`ConfigError::Exposed`].
    pub fn secret(&self, path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        self.contents(path, most, true).map(Zeroizing::new)
    }

    /// Checks a roots directory, its sub-folders, and every file in them that would be loaded.
    ///
    /// # Errors
    /// Unreadable, not a folder, or [`ConfigError::Unguarded`] naming the first file or folder.
    pub fn roots(&self, roots: &Path) -> Result<(), ConfigError> {
        self.folder(roots)?;
        for name in ROOT_FOLDERS {
            let folder = roots.join(name);
            match std::fs::metadata(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                _ => self.folder(&folder)?,
            }
            let entries =
                std::fs::read_dir(&folder).map_err(|error| ConfigError::unreadable(&folder, error))?;
            for entry in entries {
                let path = entry.map_err(|error| ConfigError::unreadable(&folder, error))?.path();
                let certificate =
                    path.extension().is_some_and(|e| ROOT_EXTENSIONS.iter().any(|known| e == *known));
                if certificate {
                    let metadata =
                        std::fs::metadata(&path).map_err(|error| ConfigError::unreadable(&path, error))?;
                    self.check(&path, &metadata)?;
                }
            }
        }
        Ok(())
    }

    /// Checks one folder, not what is in it.
    ///
    /// # Errors
    /// Unreadable, not a folder, or [`ConfigError::Unguarded`].
    pub fn folder(&self, path: &Path) -> Result<(), ConfigError> {
        let metadata = std::fs::metadata(path).map_err(|error| ConfigError::unreadable(path, error))?;
        if !metadata.is_dir() {
            return Err(ConfigError::unreadable(path, std::io::Error::other("not a folder")));
        }
        self.check(path, &metadata)
    }

    fn check(&self, path: &Path, metadata: &Metadata) -> Result<(), ConfigError> {
        let Some(gate) = self.owner else { return Ok(()) };
        let unguarded = |what| Err(ConfigError::Unguarded { path: path.to_owned(), what });
        let owner = metadata.uid();
        if owner != 0 && owner != gate {
            return unguarded(format!("is owned by user id {owner}"));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return unguarded(format!("is writable by group or others (mode {mode:04o})"));
        }
        Ok(())
    }
}

const ROOT_FOLDERS: [&str; 7] = [
    "administrator",
    "manufacturer",
    "manufacturer/tsa",
    "operator",
    "operator/tsa",
    "third-party",
    "third-party/tsa",
];
const ROOT_EXTENSIONS: [&str; 3] = ["crt", "der", "pem"];
