//! What lies on disk for the trust store: the roots directory with its side files and timestamping authorities, and the
//! folder of revocation lists. Reading only, through the guard; what the bytes are worth is decided in crate mexe-certs.
//!
//! Below the roots directory: `operator`, `manufacturer`, `third-party`, `administrator`, each with `*.pem`, `*.der`,
//! `*.crt`; `operator/NAME.operator.toml` binds `operator/NAME.pem` to a home network; `DOMAIN/tsa/` holds the
//! timestamping authorities of a domain.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use mexe_certs::root_store::RootKind;
use mexe_model::SecurityDomain;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Guard};

/// Files with other endings are somebody's notes.
const ENDINGS: [&str; 3] = ["pem", "der", "crt"];
/// Endings of revocation lists.
const LIST_ENDINGS: [&str; 3] = ["crl", "pem", "der"];

/// A file of certificates is never larger, in bytes.
const LARGEST: u64 = 1 << 20;
/// Nor is a file of revocation lists.
pub const LARGEST_LIST: u64 = 32 << 20;
/// Nor is a side file.
const LARGEST_SIDE_FILE: u64 = 4096;

/// The sub-folder of a domain's timestamping authorities.
const STAMPING: &str = "tsa";

/// A file, or a certificate or list in one, that counts for nothing, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The file, below its directory; empty when it is not about one file.
    pub file: String,
    /// What is wrong and what to do, in one line that names the file.
    pub what: String,
    /// Whether the root is in the store all the same, because only its validity is in the way now.
    pub kept: bool,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The home network that an operator's root key is bound to. What is named must all fit the card.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// Mobile country code and network code, as `24001`.
    pub network: String,
    /// The service provider's name on the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spn: Option<String>,
    /// Group identifier level 1 on the card, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid1: Option<String>,
}

/// One file of root certificates.
#[derive(Clone, Debug)]
pub struct RootFile {
    /// Whose roots they are.
    pub kind: RootKind,
    /// The file, below the roots directory.
    pub file: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// The network that it is bound to.
    pub operator: Option<Operator>,
}

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Root certificates.
    pub roots: Vec<RootFile>,
    /// Certificates of timestamping authorities: domain, file, bytes.
    pub stamping: Vec<(SecurityDomain, String, Vec<u8>)>,
    /// Revocation lists: file, bytes.
    pub lists: Vec<(String, Vec<u8>)>,
    /// Files that could not be read.
    pub problems: Vec<FileProblem>,
}

impl Files {
    /// Reads both directories. What is wrong with one file keeps only that one out; a file that others could have written
    /// stops everything (S4). Sub-folders that are not there are empty.
    ///
    /// # Errors
    /// A directory cannot be read, or something in it is not guarded.
    pub fn read(roots: Option<&Path>, lists: Option<&Path>, guard: &Guard) -> Result<Self, ConfigError> {
        let mut files = Self::default();
        if let Some(dir) = roots {
            guard.roots(dir)?;
            for kind in RootKind::ALL {
                files.read_roots(kind, &dir.join(kind.as_str()), guard)?;
            }
            for domain in SecurityDomain::ALL {
                let folder = dir.join(domain.as_str()).join(STAMPING);
                for path in files_in(&folder, &ENDINGS)? {
                    let file = format!("{domain}/{STAMPING}/{}", file_name(&path));
                    if let Some(bytes) = files.read_one(&path, &file, LARGEST, guard)? {
                        files.stamping.push((domain, file, bytes));
                    }
                }
            }
        }
        if let Some(dir) = lists {
            guard.folder(dir)?;
            for path in files_in(dir, &LIST_ENDINGS)? {
                let file = file_name(&path);
                if let Some(bytes) = files.read_one(&path, &file, LARGEST_LIST, guard)? {
                    files.lists.push((file, bytes));
                }
            }
        }
        Ok(files)
    }

    fn read_roots(&mut self, kind: RootKind, folder: &Path, guard: &Guard) -> Result<(), ConfigError> {
        for path in files_in(folder, &ENDINGS)? {
            let file = format!("{}/{}", kind.as_str(), file_name(&path));
            let Some(bytes) = self.read_one(&path, &file, LARGEST, guard)? else { continue };
            let operator = match kind {
                RootKind::Operator => match self.read_side_file(&path, guard)? {
                    Ok(operator) => operator,
                    // Whom it is bound to is not known, so it is bound to nobody.
                    Err(problem) => {
                        self.problems.push(problem);
                        continue;
                    }
                },
                _ => None,
            };
            self.roots.push(RootFile { kind, file, bytes, operator });
        }
        Ok(())
    }

    /// The network that an operator's root is bound to, if a side file says so.
    fn read_side_file(
        &self,
        root: &Path,
        guard: &Guard,
    ) -> Result<Result<Option<Operator>, FileProblem>, ConfigError> {
        let path = root.with_extension("operator.toml");
        let file = format!("operator/{}", file_name(&path));
        let problem = |what: String| {
            let what = format!("`{file}`: {what}; the root beside it is left out");
            Ok(Err(FileProblem { file: file.clone(), what, kept: false }))
        };
        match guard.read(&path, LARGEST_SIDE_FILE) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                match toml::from_str::<Operator>(&text) {
                    Ok(operator) if is_network(&operator.network) => Ok(Ok(Some(operator))),
                    Ok(_) => problem("network is not a country code and a network code, as in 24001".into()),
                    Err(error) => problem(error.message().replace('\n', " ")),
                }
            }
            Err(error @ ConfigError::Unguarded { .. }) => Err(error),
            Err(ConfigError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Ok(None))
            }
            Err(error) => problem(error.to_string()),
        }
    }

    fn read_one(
        &mut self,
        path: &Path,
        file: &str,
        most: u64,
        guard: &Guard,
    ) -> Result<Option<Vec<u8>>, ConfigError> {
        match guard.read(path, most) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error @ ConfigError::Unguarded { .. }) => Err(error),
            Err(error) => {
                let what = error.to_string();
                self.problems.push(FileProblem { file: file.to_owned(), what, kept: false });
                Ok(None)
            }
        }
    }
}

/// Five or six digits.
fn is_network(text: &str) -> bool {
    matches!(text.len(), 5 | 6) && text.bytes().all(|b| b.is_ascii_digit())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The files of one folder, by name so that messages and clashes come out the same each time.
fn files_in(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source: io::Error| ConfigError::Unreadable { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(unreadable)?;
    paths.retain(|path| path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)));
    paths.sort();
    Ok(paths)
}
