//! The roots directory: which files are read, for which kind of root, and what is wrong with those that cannot be used.
//! Whether a certificate may be a root at all, and what a chain to it is worth, is decided in crate mexe-certs. Called
//! at the start and reload of the service, by `app verify` and by `doctor`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use mexe_certs::root_store::{Root, RootFault, RootKind, RootProblem, TrustStore};
use mexe_model::{SecurityDomain, WallTime};
use serde_json::{Value, json};

use crate::config::{ConfigError, Guard};

/// Files with other endings are somebody's notes.
const ENDINGS: [&str; 3] = ["pem", "der", "crt"];

/// A file of certificates is never larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// A file, or a certificate in one, that vouches for nobody, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFileProblem {
    /// The file, below the roots directory; empty when it is not about one file.
    pub file: String,
    /// What is wrong and what to do, in one line that names the file.
    pub what: String,
    /// Whether the root is in the store all the same, because only its validity is in the way now.
    pub kept: bool,
}

impl RootFileProblem {
    fn of_root(file: &str, problem: &RootProblem) -> Self {
        let kept = matches!(problem.fault(), RootFault::Expired { .. } | RootFault::NotYetValid { .. });
        Self { file: file.to_owned(), what: problem.to_string(), kept }
    }
}

impl fmt::Display for RootFileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Reads every root of the directory, through the guard. What is wrong with one file keeps only that one out; a file that
/// others could have written stops everything (S4). Sub-folders that are not there are empty.
///
/// # Errors
/// The directory cannot be read, or something in it is not guarded.
pub fn load_roots(
    dir: &Path,
    guard: &Guard,
    at: WallTime,
) -> Result<(TrustStore, Vec<RootFileProblem>), ConfigError> {
    guard.roots(dir)?;
    let mut builder = TrustStore::builder();
    let mut problems = Vec::new();
    for kind in RootKind::ALL {
        let folder = kind.as_str();
        for path in certificate_files(&dir.join(folder))? {
            let file = format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            match guard.read(&path, LARGEST) {
                Ok(bytes) => {
                    let refused = builder.add(kind, &file, &bytes, at).into_iter().filter_map(Result::err);
                    problems.extend(refused.map(|problem| RootFileProblem::of_root(&file, &problem)));
                }
                Err(error @ ConfigError::Unguarded { .. }) => return Err(error),
                Err(error) => problems.push(RootFileProblem { file, what: error.to_string(), kept: false }),
            }
        }
    }
    Ok((builder.build(), problems))
}

/// The certificate files of one sub-folder, by name so that messages and clashes come out the same each time.
fn certificate_files(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source: io::Error| ConfigError::Unreadable { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(unreadable)?;
    paths.retain(|path| path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)));
    paths.sort();
    Ok(paths)
}

/// The roots that count, and those that do not.
#[derive(Debug)]
pub struct Trusted {
    /// What a chain may end in.
    pub store: TrustStore,
    /// What vouches for nobody, and why.
    pub problems: Vec<RootFileProblem>,
}

impl Trusted {
    /// Loads the directory as [`load_roots`] does; no directory is no roots.
    ///
    /// # Errors
    /// As [`load_roots`].
    pub fn load(dir: Option<&Path>, guard: &Guard, at: WallTime) -> Result<Self, ConfigError> {
        let (store, problems) = match dir {
            Some(dir) => load_roots(dir, guard, at)?,
            None => (TrustStore::default(), Vec::new()),
        };
        Ok(Self { store, problems })
    }

    /// Each root's domain, and whether the root may vouch at that time.
    pub fn counted(&self, at: WallTime) -> Vec<(SecurityDomain, bool)> {
        self.store.roots().iter().map(|root| (root.domain(), root.is_valid_at(at))).collect()
    }

    /// Every root and every problem, as the API and the command line list them.
    pub fn shown(&self, at: WallTime) -> Vec<Value> {
        let roots = self.store.roots().iter().map(|root| {
            json!({
                "id": root.id(),
                "kind": root.kind().as_str(),
                "domain": root.domain(),
                "state": state(root, at),
                "subject": root.subject(),
                "not_before": root.not_before().to_string(),
                "not_after": root.not_after().to_string(),
                "source": root.source(),
            })
        });
        let problems = self.problems.iter().filter(|problem| !problem.kept).map(|problem| {
            json!({"id": null, "state": "unusable", "source": problem.file, "problem": problem.what})
        });
        roots.chain(problems).collect()
    }
}

fn state(root: &Root, at: WallTime) -> &'static str {
    if root.is_valid_at(at) {
        "enabled"
    } else if at < root.not_before() {
        "not-yet-valid"
    } else {
        "expired"
    }
}

#[cfg(test)]
mod tests;
