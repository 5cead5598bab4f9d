//! What `check-config` shows: every key, its value, where it came from, and whether anything looks at it yet. As a table
//! for people and as JSON for programs.

use std::fmt;
use std::path::{Path, PathBuf};

use comfy_table::{Table, presets};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::StateDirSource;
use super::keys::{KEYS, Key};
use super::layers::{Layers, SetBy};
use super::raw::Raw;

/// Every key of a configuration, in the order of the documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The rows.
    pub rows: Vec<Row>,
}

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `section.key`, or `state-dir`.
    pub key: &'static str,
    /// Its value; null when it is not set.
    pub value: Value,
    /// Where the value came from.
    pub source: Source,
    /// False while nothing looks at the value.
    pub effective: bool,
    unset: &'static str,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// This environment variable.
    Environment(String),
    /// This line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The command line, or the demo.
    Flag,
}

impl Source {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment(_) => "environment",
            Self::File { .. } => "file",
            Self::Flag => "flag",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default | Self::Flag => f.write_str(self.kind()),
            Self::Environment(variable) => write!(f, "${variable}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
        }
    }
}

impl Report {
    pub(super) fn new(raw: &Raw, state_dir: &Path, found_by: StateDirSource, layers: &Layers) -> Self {
        let values = serde_json::to_value(raw).unwrap_or_default();
        let state_dir_row = Row {
            key: "state-dir",
            value: state_dir.display().to_string().into(),
            source: match found_by {
                StateDirSource::Flag => Source::Flag,
                other => Source::Environment(other.as_str().trim_start_matches('$').to_owned()),
            },
            effective: true,
            unset: "none",
        };
        let rows = KEYS.iter().map(|key| Row {
            key: key.name,
            value: value_of(&values, key),
            source: match layers.set_by(key.name) {
                SetBy::Default => Source::Default,
                SetBy::File(file) => Source::File { path: file.path.clone(), line: file.line(key.name) },
                SetBy::Flag => Source::Flag,
                SetBy::Variable(variable) => Source::Environment(variable.to_owned()),
            },
            effective: key.effective,
            unset: key.unset,
        });
        Self { rows: std::iter::once(state_dir_row).chain(rows).collect() }
    }

    /// One line for each key that somebody set although nothing looks at it yet.
    pub fn notes(&self) -> Vec<String> {
        let set = self.rows.iter().filter(|row| !row.effective && row.source != Source::Default);
        set.map(|row| format!("`{}` is set ({}) and has no effect yet", row.key, row.source)).collect()
    }
}

/// The table for people, without a line end.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["key", "value", "from", "note"]);
        for row in &self.rows {
            let note = if row.effective { "" } else { "not effective yet" };
            table.add_row([row.key.to_owned(), row.shown(), row.source.to_string(), note.to_owned()]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        f.write_str(&table.trim_fmt())
    }
}

/// `{"items":[{"key","value","from","file","line","variable","effective"}]}`; `file` and `line`, or `variable`, only
/// where the value came from one.
impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items = self.rows.iter().map(|row| {
            let mut item = Item {
                key: row.key,
                value: &row.value,
                from: row.source.kind(),
                file: None,
                line: None,
                variable: None,
                effective: row.effective,
            };
            match &row.source {
                Source::Environment(variable) => item.variable = Some(variable),
                Source::File { path, line } => (item.file, item.line) = (Some(path.as_path()), Some(*line)),
                Source::Default | Source::Flag => {}
            }
            item
        });
        Items { items: items.collect() }.serialize(serializer)
    }
}

#[derive(Serialize)]
struct Items<'a> {
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    key: &'static str,
    value: &'a Value,
    from: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'a str>,
    effective: bool,
}

impl Row {
    fn shown(&self) -> String {
        let text = match &self.value {
            Value::Null => self.unset.to_owned(),
            Value::Array(list) if list.is_empty() => self.unset.to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

fn value_of(values: &Value, key: &Key) -> Value {
    let pointer = format!("/{}", key.name.replace('.', "/"));
    values.pointer(&pointer).cloned().unwrap_or_default()
}
