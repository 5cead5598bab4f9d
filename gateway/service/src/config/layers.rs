//! The layers that a configuration is made of, and which of them set what. The file is parsed alone first, into the same
//! strict structs, so that a mistake shows line and column; each variable and each flag is tried alone for the same
//! reason. Only then are they laid over each other. Called by `load`.

use std::path::{Path, PathBuf};

use ::config::{Config as Merger, File, FileFormat};
use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::checked::{CardSource, Exclusions};
use super::error::Excerpt;
use super::keys::{KEYS, Key, Kind, PREFIX};
use super::raw::Raw;
use super::{ConfigError, Environment, Guard, Mode, Options, camara};

/// What the command line or the demo sets, over everything else.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The state directory, when it is given.
    pub state_dir: Option<PathBuf>,
    /// Keys and their values as text; see [`Overrides::set`].
    pub values: Vec<(String, String)>,
}

impl Overrides {
    /// Nothing but a state directory.
    pub fn state_dir(state_dir: Option<PathBuf>) -> Self {
        Self { state_dir, values: Vec::new() }
    }

    /// Sets a key, as in `set("listen.socks", "127.0.0.1:2080")`; whether it exists and the text fits is told by `load`.
    #[must_use]
    pub fn set(mut self, key: &str, text: impl Into<String>) -> Self {
        self.values.push((key.to_owned(), text.into()));
        self
    }
}

/// The layers above the defaults, lowest first.
#[derive(Debug)]
pub(super) struct Layers {
    file: Option<FileLayer>,
    environment: Vec<Setting>,
    flags: Vec<Setting>,
}

/// One key set by text: by a variable, or by a flag.
#[derive(Debug)]
struct Setting {
    key: &'static Key,
    value: toml::Value,
    variable: String,
}

/// Which layer set a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum SetBy<'a> {
    Default,
    File(&'a FileLayer),
    Flag,
    Variable(&'a str),
}

impl Layers {
    pub(super) fn read(options: &Options, guard: &Guard) -> Result<Self, ConfigError> {
        let file = options.file.as_deref().map(|path| FileLayer::read(path, guard)).transpose()?;
        let environment = from_environment(&options.environment, options.mode)?;
        let flags = options.flags.values.iter().map(|(name, text)| {
            let in_flag = |message| ConfigError::InFlag { key: name.clone(), message };
            let key = Key::find(name).ok_or_else(|| in_flag("there is no such key".to_owned()))?;
            let value = typed(key, text).map_err(in_flag)?;
            Ok(Setting { key, value, variable: String::new() })
        });
        Ok(Self { file, environment, flags: flags.collect::<Result<_, _>>()? })
    }

    /// The values of all layers, the highest that sets a key winning.
    pub(super) fn merge(&self) -> Result<Raw, ConfigError> {
        let mut builder = Merger::builder();
        if let Some(file) = &self.file {
            builder = builder.add_source(File::from_str(&file.text, FileFormat::Toml));
        }
        // Every layer was read alone before, so a fault here would be in the merging itself.
        let merging = |error: ::config::ConfigError| ConfigError::InFlag {
            key: "merge".into(),
            message: error.to_string(),
        };
        for Setting { key, value, .. } in self.environment.iter().chain(&self.flags) {
            let value: ::config::Value = match value {
                toml::Value::Boolean(flag) => (*flag).into(),
                toml::Value::Integer(number) => (*number).into(),
                other => other.as_str().unwrap_or_default().into(),
            };
            builder = builder.set_override(key.name, value).map_err(merging)?;
        }
        let mut raw: Raw = builder.build().and_then(Merger::try_deserialize).map_err(merging)?;
        for (key, path) in [
            ("trust.roots", &mut raw.trust.roots),
            ("trust.crls", &mut raw.trust.crls),
            ("trust.usim", &mut raw.trust.usim),
            ("trust.servers", &mut raw.trust.servers),
            ("policy.security_table", &mut raw.policy.security_table),
            ("policy.actions", &mut raw.policy.actions),
            ("qos.profiles", &mut raw.qos.profiles),
        ] {
            let is_reader = |path: &str| key == "trust.usim" && path.starts_with(CardSource::READER);
            if let Some(path) = path.as_mut().filter(|path| !is_reader(path)) {
                *path = self.resolved(key, path)?;
            }
        }
        for (index, bearer) in camara::all(&mut raw) {
            for (key, path) in camara::paths(bearer) {
                *path = self.resolved_in("bearer", &format!("bearer.{index}.camara.{key}"), path)?;
            }
        }
        let exclusions = &mut raw.policy.exclusions;
        if !Exclusions::WORDS.contains(&exclusions.as_str()) {
            *exclusions = self.resolved("policy.exclusions", exclusions)?;
        }
        Ok(raw)
    }

    /// Which layer set that key.
    pub(super) fn set_by(&self, key: &str) -> SetBy<'_> {
        if self.flags.iter().any(|setting| setting.key.name == key) {
            return SetBy::Flag;
        }
        if let Some(setting) = self.environment.iter().find(|setting| setting.key.name == key) {
            return SetBy::Variable(&setting.variable);
        }
        match &self.file {
            Some(file) if file.span(key).is_some() => SetBy::File(file),
            _ => SetBy::Default,
        }
    }

    /// An error about a key's value, told with the place where the value was set.
    pub(super) fn wrong(&self, key: &str, message: impl Into<String>) -> ConfigError {
        self.wrong_in(key, key, message.into())
    }

    /// The same for a key inside the list entry or table `within`.
    pub(super) fn wrong_in(&self, key: &str, within: &str, message: String) -> ConfigError {
        match self.set_by(key) {
            SetBy::File(file) => {
                file.error(file.span(within).or_else(|| file.span(key)).unwrap_or_default(), message)
            }
            SetBy::Variable(variable) => {
                ConfigError::InEnvironment { variable: variable.to_owned(), message }
            }
            SetBy::Default | SetBy::Flag => ConfigError::InFlag { key: key.to_owned(), message },
        }
    }

    /// Paths in the file start at the file's folder, all others at the working directory.
    fn resolved(&self, key: &str, path: &str) -> Result<String, ConfigError> {
        self.resolved_in(key, key, path)
    }

    /// The same for a key inside the list entry `within`.
    fn resolved_in(&self, key: &str, within: &str, path: &str) -> Result<String, ConfigError> {
        let wrong = |message: &str| self.wrong_in(key, within, message.to_owned());
        if path.is_empty() {
            return Err(wrong("the path is empty: name a file or folder, or leave the key out"));
        }
        let base = match self.set_by(key) {
            SetBy::File(file) => file.path.parent().unwrap_or(Path::new("")),
            _ => Path::new(""),
        };
        let whole = std::path::absolute(base.join(path)).map_err(|error| wrong(&error.to_string()))?;
        whole.into_os_string().into_string().map_err(|_| wrong("the path is not UTF-8"))
    }
}

/// The file's text, known to be well formed.
#[derive(Debug)]
pub(super) struct FileLayer {
    pub(super) path: PathBuf,
    text: String,
}

impl FileLayer {
    fn read(path: &Path, guard: &Guard) -> Result<Self, ConfigError> {
        let bytes = guard.read(path, MAX_FILE)?;
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText { path: path.to_owned() })?;
        let file = Self { path: path.to_owned(), text };
        match toml::from_str::<Raw>(&file.text) {
            Ok(_) => Ok(file),
            Err(error) => Err(file.error(error.span().unwrap_or_default(), plain(error.message()))),
        }
    }

    fn error(&self, span: std::ops::Range<usize>, message: String) -> ConfigError {
        ConfigError::InFile { path: self.path.clone(), excerpt: Excerpt::new(&self.text, span), message }
    }

    /// The line on which a key is set.
    pub(super) fn line(&self, key: &str) -> usize {
        self.span(key).map_or(0, |span| Excerpt::new(&self.text, span).line)
    }

    /// Where the value of `section.key` or of `bearer.1.name` stands.
    fn span(&self, key: &str) -> Option<std::ops::Range<usize>> {
        let document = DeTable::parse(&self.text).ok()?;
        let mut span = document.span();
        let mut here = &DeValue::Table(document.into_inner());
        for word in key.split('.') {
            let next = match here {
                DeValue::Array(list) => list.get(word.parse::<usize>().ok()?)?,
                DeValue::Table(table) => table.get(word)?,
                _ => return None,
            };
            (span, here) = (next.span(), next.get_ref());
        }
        Some(span)
    }
}

/// The settings of the environment, in the order of the keys.
fn from_environment(environment: &Environment, mode: Mode) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for (variable, text) in environment.variables().filter(|(name, _)| name.starts_with(PREFIX)) {
        let variable = variable.to_owned();
        let Some(key) = KEYS.iter().find(|key| key.variable() == variable) else {
            return Err(unknown_variable(variable));
        };
        if key.kind == Kind::List || (mode == Mode::Serve && key.widens()) {
            return Err(ConfigError::EnvironmentForbidden { variable, key: key.name.to_owned() });
        }
        match typed(key, text) {
            Ok(value) => settings.push(Setting { key, value, variable }),
            Err(message) => return Err(ConfigError::InEnvironment { variable, message }),
        }
    }
    Ok(settings)
}

fn unknown_variable(variable: String) -> ConfigError {
    let name = variable.trim_start_matches(PREFIX).to_ascii_lowercase().replace("__", ".");
    // The state directory is where the control socket is: who may say where it is must be plain to see.
    if name.contains("state") || name.contains("control") {
        let hint = "the state directory with the control socket is set by --state-dir".to_owned();
        return ConfigError::EnvironmentUnknown { variable, hint };
    }
    // A key below a forbidden section is refused as such, whether it exists or not.
    let section = name.split('.').next().unwrap_or_default();
    if matches!(section, "bearer" | "policy" | "runtime" | "trust") {
        return ConfigError::EnvironmentForbidden { variable, key: name };
    }
    let nearest = KEYS.iter().min_by_key(|key| distance(key.name, &name));
    let hint = match nearest {
        Some(key) if distance(key.name, &name) <= 3 => format!("is `{}` meant?", key.variable()),
        _ => "unset it; `mexegate check-config` lists the keys".to_owned(),
    };
    ConfigError::EnvironmentUnknown { variable, hint }
}

/// Text from a variable or a flag as the value of its key, tried alone in the strict structs.
fn typed(key: &Key, text: &str) -> Result<toml::Value, String> {
    let shown: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let value = match key.kind {
        Kind::Flag => {
            toml::Value::Boolean(text.parse().map_err(|_| format!("`{shown}` is neither true nor false"))?)
        }
        Kind::Number => {
            toml::Value::Integer(text.parse().map_err(|_| format!("`{shown}` is not a whole number"))?)
        }
        Kind::Text => toml::Value::String(text.to_owned()),
        Kind::List => return Err("a list is set in the configuration file".to_owned()),
    };
    let mut nested = value.clone();
    for word in key.name.rsplit('.') {
        nested = toml::Table::from_iter([(word.to_owned(), nested)]).into();
    }
    Raw::deserialize(nested).map(|_| value).map_err(|error| plain(error.message()))
}

/// The parser's message on one line and in our words.
fn plain(message: &str) -> String {
    let line = message.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ");
    [
        ("unknown field", "unknown key"),
        ("missing field", "missing key"),
        ("unknown variant", "unknown value"),
        ("invalid type: map", "invalid type: table"),
        ("invalid type: sequence", "invalid type: list"),
        ("expected a sequence", "expected a list"),
        ("wanted string or table", "expected a string"),
    ]
    .iter()
    .fold(line, |line, (theirs, ours)| line.replace(theirs, ours))
}

/// How many letters must change to make one name of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            if let [diagonal, above] = *pair {
                left = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// No configuration is anywhere near this long.
const MAX_FILE: u64 = 1 << 20;
