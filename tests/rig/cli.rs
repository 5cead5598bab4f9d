//! What a verb of the command line answered: exit code, both streams, and the JSON in the first.

use std::process::{Command, Stdio};

use serde_json::Value;

/// The contract's exit codes.
pub mod code {
    /// Done.
    pub const DONE: i32 = 0;
    /// Something broke.
    pub const FAULT: i32 = 1;
    /// The command line is wrong.
    pub const USAGE: i32 = 2;
    /// Refused by policy or trust.
    pub const REFUSED: i32 = 3;
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    /// The exit code; a signal's number negated when one killed it.
    pub code: i32,
    /// What stdout holds when all of it is one JSON value, else null.
    pub json: Value,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Runs a command to its end, nothing on its stdin.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output();
        output
            .unwrap_or_else(|error| panic!("cannot run `{}`: {error}", command.get_program().display()))
            .into()
    }

    /// The output itself, for chaining, when it ended with that code.
    ///
    /// # Panics
    /// When it ended otherwise, with all that it said.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// A text of the JSON object.
    ///
    /// # Panics
    /// When there is no such text.
    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        self.json[key]
            .as_str()
            .unwrap_or_else(|| panic!("no text `{key}` in {}\n{}", self.stdout, self.stderr))
    }

    /// One JSON value a line, as `journal --json` prints.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        self.stdout.lines().map(line).collect()
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Self {
            code: output.status.code().or_else(|| output.status.signal().map(|signal| -signal)).unwrap_or(-1),
            json: serde_json::from_str(&stdout).unwrap_or_default(),
            stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
