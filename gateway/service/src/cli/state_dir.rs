//! Where the state directory is: `--state-dir`, else what the service manager says, else the user's own. Decides the place
//! only; whether anything is there is for whoever opens it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::fault::Fault;

/// Finds the state directory from the flag and the environment.
///
/// # Errors
/// When nothing says where it is.
pub(super) fn find(
    flag: Option<&Path>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, Fault> {
    let place = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(flag) = flag {
        return Ok(flag.to_owned());
    }
    place("STATE_DIRECTORY")
        .or_else(|| place("XDG_STATE_HOME").map(|home| home.join("mexegate")))
        .or_else(|| place("HOME").map(|home| home.join(".local/state/mexegate")))
        .ok_or_else(|| Fault::new("no state directory is known").help("give one with --state-dir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_then_the_service_manager_then_the_user() {
        let mut environment = vec![("HOME", "/h"), ("XDG_STATE_HOME", "/x"), ("STATE_DIRECTORY", "/s")];
        let found = |flag: Option<&str>, environment: &[(&str, &str)]| {
            let find_in =
                |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
            find(flag.map(Path::new), find_in).ok()
        };
        assert_eq!(found(Some("d"), &environment), Some("d".into()));
        assert_eq!(found(None, &environment), Some("/s".into()));
        environment.pop();
        assert_eq!(found(None, &environment), Some("/x/mexegate".into()));
        environment[1].1 = "";
        assert_eq!(found(None, &environment), Some("/h/.local/state/mexegate".into()));
        assert_eq!(found(None, &[]), None);
    }
}
