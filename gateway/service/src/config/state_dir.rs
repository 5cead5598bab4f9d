//! Where the state directory is. The service keeps its database and control socket there, and the command line looks for
//! the socket by the same rule: `--state-dir`, else $STATE_DIRECTORY, else $XDG_STATE_HOME/mexegate, else
//! ~/.local/state/mexegate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// A process's environment, as a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// This process's own. A name or value that is not UTF-8 is kept with replacement characters, so that a broken
    /// `MEXEGATE__` variable is refused and not overlooked.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// What the state directory was found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateDirSource {
    /// `--state-dir`.
    Flag,
    /// `$HOME/.local/state/mexegate`.
    Home,
    /// `$STATE_DIRECTORY`, which systemd sets.
    StateDirectory,
    /// `$XDG_STATE_HOME/mexegate`.
    XdgStateHome,
}

impl StateDirSource {
    /// How the report calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "--state-dir",
            Self::Home => "$HOME",
            Self::StateDirectory => "$STATE_DIRECTORY",
            Self::XdgStateHome => "$XDG_STATE_HOME",
        }
    }
}

/// Finds the state directory; nothing is created or looked at. Variables that hold no absolute path are passed over.
///
/// # Errors
/// [`ConfigError::StateDirUnknown`] when nothing names one.
pub fn state_dir(
    flag: Option<&Path>,
    environment: &Environment,
) -> Result<(PathBuf, StateDirSource), ConfigError> {
    if let Some(path) = flag {
        let path = std::path::absolute(path).map_err(|error| ConfigError::unreadable(path, error))?;
        return Ok((path, StateDirSource::Flag));
    }
    // systemd joins several state directories by colons; the first is ours.
    let first = |path: PathBuf| path.to_string_lossy().split(':').next().map(PathBuf::from);
    let below = |path: PathBuf, rest: &str| Some(path.join(rest));
    environment
        .absolute("STATE_DIRECTORY")
        .and_then(first)
        .map(|path| (path, StateDirSource::StateDirectory))
        .or_else(|| {
            let path = environment.absolute("XDG_STATE_HOME").and_then(|path| below(path, "mexegate"));
            path.map(|path| (path, StateDirSource::XdgStateHome))
        })
        .or_else(|| {
            let path = environment.absolute("HOME").and_then(|path| below(path, ".local/state/mexegate"));
            path.map(|path| (path, StateDirSource::Home))
        })
        .ok_or(ConfigError::StateDirUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flag: Option<&str>, variables: &[(&str, &str)]) -> Option<(String, StateDirSource)> {
        let environment = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let found = state_dir(flag.map(Path::new), &environment).ok();
        found.map(|(path, source)| (path.display().to_string(), source))
    }

    #[test]
    fn the_flag_wins_then_systemd_then_xdg_then_home() {
        let all = [
            ("HOME", "/home/u"),
            ("STATE_DIRECTORY", "/var/lib/mexegate:/var/lib/b"),
            ("XDG_STATE_HOME", "/s"),
        ];
        assert_eq!(found(Some("/d"), &all), Some(("/d".into(), StateDirSource::Flag)));
        assert_eq!(found(None, &all), Some(("/var/lib/mexegate".into(), StateDirSource::StateDirectory)));
        let rest = [all[0], all[2]];
        assert_eq!(found(None, &rest), Some(("/s/mexegate".into(), StateDirSource::XdgStateHome)));
        let home = Some(("/home/u/.local/state/mexegate".into(), StateDirSource::Home));
        assert_eq!(found(None, &rest[..1]), home);
        assert_eq!(
            found(None, &[("HOME", "/home/u"), ("XDG_STATE_HOME", "relative"), ("STATE_DIRECTORY", "")]),
            home
        );
        assert_eq!(found(None, &[]), None);
    }
}
