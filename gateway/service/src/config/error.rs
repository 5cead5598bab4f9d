//! What can be wrong with a configuration, each told with its place. A mistake in the file carries the line and a caret;
//! whoever prints decides whether to show them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The configuration does not hold. `Display` is one line; [`ConfigError::excerpt`] adds the line of the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The environment variable sets what only the file may set (S4).
    #[error("`{variable}` may not come from the environment: set `{key}` in the configuration file")]
    EnvironmentForbidden {
        /// The variable's name.
        variable: String,
        /// The key that it would set.
        key: String,
    },
    /// The environment variable names no key.
    #[error("`{variable}` names no key of the configuration: {hint}")]
    EnvironmentUnknown {
        /// The variable's name.
        variable: String,
        /// What to do.
        hint: String,
    },
    /// The environment variable's value is wrong.
    #[error("`{variable}`: {message}")]
    InEnvironment {
        /// The variable's name.
        variable: String,
        /// What is wrong.
        message: String,
    },
    /// The file holds a secret that others than its owner can read.
    #[error("`{}` is open to group or others (mode {mode:04o}): a file with a secret is for its owner alone, chmod 0600 it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Something in the file is wrong.
    #[error("{}:{}:{}: {message}", path.display(), excerpt.line, excerpt.column)]
    InFile {
        /// The file.
        path: PathBuf,
        /// The place.
        excerpt: Excerpt,
        /// What is wrong.
        message: String,
    },
    /// What a flag says, or a default together with it, is wrong.
    #[error("`{key}`: {message}")]
    InFlag {
        /// The key.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// The file is not text.
    #[error("`{}` is not UTF-8: write TOML", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Nothing says where the state directory is.
    #[error(
        "no state directory: give --state-dir, or set STATE_DIRECTORY, XDG_STATE_HOME or HOME to an absolute path"
    )]
    StateDirUnknown,
    /// The file is too large to be what it should be.
    #[error("`{}` is larger than {most} bytes: is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, bytes.
        most: u64,
    },
    /// The file cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file widens trust, and others than root and the gate could have written it (S4).
    #[error("`{}` {what}: files that widen trust must be owned by root or the gate's user and not be writable by group or others", path.display())]
    Unguarded {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl ConfigError {
    /// The place in the file, when the mistake is in the file.
    pub fn excerpt(&self) -> Option<&Excerpt> {
        match self {
            Self::InFile { excerpt, .. } => Some(excerpt),
            _ => None,
        }
    }

    /// The one line, and below it the line of the file with a caret where there is one.
    pub fn with_excerpt(&self) -> String {
        match self.excerpt() {
            Some(excerpt) => format!("{self}\n{excerpt}"),
            None => self.to_string(),
        }
    }

    pub(super) fn unreadable(path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Unreadable { path: path.to_owned(), source: source.into() }
    }
}

/// One line of a file, and the place in it that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are wrong, at least 1.
    pub width: usize,
    /// The line's text, control characters replaced.
    pub text: String,
}

impl Excerpt {
    /// The place of the byte range `span` in `text`; a span over several lines is cut at the end of the first.
    pub(super) fn new(text: &str, span: std::ops::Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.floor_char_boundary(span.end.max(start));
        let (before, _) = text.split_at_checked(start).unwrap_or((text, ""));
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let indent = before.rsplit('\n').next().unwrap_or_default();
        let whole = text.lines().nth(line - 1).unwrap_or_default();
        let marked = text.get(start..end).and_then(|marked| marked.lines().next()).unwrap_or_default();
        let plain = whole.chars().map(|c| if c.is_control() { ' ' } else { c });
        let column = indent.chars().count() + 1;
        Self { line, column, width: marked.chars().count().max(1), text: plain.collect() }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        writeln!(f, " {number} | {}", self.text)?;
        write!(
            f,
            " {:gutter$} | {:indent$}{}",
            "",
            "",
            "^".repeat(self.width),
            gutter = number.len(),
            indent = self.column - 1
        )
    }
}
