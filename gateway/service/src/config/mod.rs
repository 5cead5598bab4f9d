//! The configuration: where it comes from, what it says, and whether it may say so. Reads one TOML file, the environment
//! and the flags into one checked [`Config`], and remembers where each value came from.
//!
//! Decides nothing about what the values are for: roots, tables and profiles are loaded by those who use them, through
//! the same [`Guard`]. Called at start, on reload, and by `check-config`.
//!
//! Layers, the later wins: defaults, file, environment (`MEXEGATE__SECTION__KEY`), flags. What widens trust comes from
//! the file alone (S4).

mod bearer;
mod camara;
mod checked;
mod error;
mod guard;
mod keys;
mod layers;
mod raw;
mod report;
mod state_dir;
#[cfg(test)]
mod tests;
mod value;

use std::path::PathBuf;

pub use bearer::{Bearer, ModemSettings};
pub use camara::{CamaraSettings, Credential, DeviceIdentity, MAX_LIST, MAX_SECRET, Pace, SinkSettings};
pub use checked::{
    CardSource, Config, Exclusions, Journal, Limits, Listen, Policy, Qos, Runtime, RuntimeCommand, Trust,
};
pub use error::{ConfigError, Excerpt};
pub use guard::Guard;
pub use layers::Overrides;
pub use raw::{BearerKind, DeviceQueues, Expiry, Notify};
pub use report::{Report, Row, Source};
pub use state_dir::{Environment, StateDirSource, state_dir};
pub use value::{ValueError, parse_duration, parse_size};

/// What the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The service, and checking a service's configuration: everything of S4 holds.
    Serve,
    /// The demo: it makes its own roots in its own folder, and nobody's trust hangs on them.
    Demo,
}

/// Everything that [`load`] looks at.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file, when there is one.
    pub file: Option<PathBuf>,
    /// The environment: `MEXEGATE__*`, and what the state directory is found by.
    pub environment: Environment,
    /// What the command line, or the demo, says.
    pub flags: Overrides,
    /// What the configuration is for.
    pub mode: Mode,
    /// The user id that the gate runs as: with root, the only one who may own files that widen trust.
    pub uid: u32,
}

impl Options {
    /// The options with this process's own environment and user id.
    pub fn of_process(file: Option<PathBuf>, flags: Overrides, mode: Mode) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        Self { file, environment: Environment::of_process(), flags, mode, uid }
    }
}

/// A configuration that holds, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values, checked.
    pub config: Config,
    /// Every key with its value and where it came from.
    pub report: Report,
    /// One line for each key that was set although it has no effect yet.
    pub notes: Vec<String>,
    /// How files that widen trust must be guarded; load roots and the security table through it.
    pub guard: Guard,
}

/// Reads and checks the configuration.
///
/// # Errors
/// [`ConfigError`], the first thing that is wrong, with file, line and column, or variable, or flag.
pub fn load(options: Options) -> Result<Loaded, ConfigError> {
    let guard = Guard::new(options.mode, options.uid);
    let (state_dir, state_dir_source) = state_dir(options.flags.state_dir.as_deref(), &options.environment)?;
    let layers = layers::Layers::read(&options, &guard)?;
    let raw = layers.merge()?;
    let config = checked::check(&raw, state_dir, &layers, &guard)?;
    let report = report::Report::new(&raw, &config.state_dir, state_dir_source, &layers);
    let notes = report.notes();
    Ok(Loaded { config, report, notes, guard })
}
