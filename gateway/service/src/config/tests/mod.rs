//! Whole configurations: from files, variables and flags to checked values or to one named mistake.

mod camara;
mod environment;
mod file;
mod guard;
mod report;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A folder with a configuration file in it.
struct Place {
    folder: TempDir,
    options: Options,
}

impl Place {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mexegate.toml");
        write(&file, text);
        let options = Options {
            file: Some(file),
            environment: variables(&[]),
            flags: Overrides::default(),
            mode: Mode::Serve,
            uid: rustix::process::geteuid().as_raw(),
        };
        Self { folder, options }
    }

    fn with(mut self, pairs: &[(&str, &str)]) -> Self {
        self.options.environment = variables(pairs);
        self
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        load(self.options.clone())
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|error| panic!("{}", error.with_excerpt())).config
    }

    /// The mistake in one line, the folder's name left out.
    fn mistake(&self) -> String {
        let error = self.load().expect_err("the configuration should not hold");
        error.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// The environment with a home and these.
fn variables(pairs: &[(&str, &str)]) -> Environment {
    let home = [("HOME", "/home/user")];
    home.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Writes a file that nobody else may write, whatever the umask.
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    chmod(path, 0o644);
}

fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn without_a_file_the_defaults_hold() {
    let mut place = Place::new("");
    let from_empty = place.config();
    place.options.file = None;
    let config = place.config();
    assert_eq!(config, from_empty);
    let shown = |address: Option<std::net::SocketAddr>| address.unwrap().to_string();
    assert_eq!(shown(config.listen.socks), "127.0.0.1:1080");
    assert_eq!(shown(config.listen.http), "127.0.0.1:3128");
    assert_eq!(shown(config.listen.masque), "127.0.0.1:4433");
    assert_eq!(shown(config.listen.console), "127.0.0.1:8057");
    assert_eq!(shown(config.listen.metrics), "127.0.0.1:9057");
    assert_eq!((config.limits.connections, config.limits.connections_per_run.get()), (None, 4096));
    assert_eq!((config.limits.package, config.limits.body), (512 << 20, 64 << 10));
    assert_eq!(config.runtime.jar.command, ["java", "-jar", "{package}"]);
    assert_eq!(config.policy.token_runs, mexe_policy::TokenRuns::SessionOnly);
    assert_eq!(config.policy.expiry, Expiry::Lenient);
    assert_eq!((config.trust.roots, config.bearers), (None, vec![]));
    assert_eq!(config.state_dir, Path::new("/home/user/.local/state/mexegate"));
}
