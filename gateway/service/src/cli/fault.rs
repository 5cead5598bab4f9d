//! What stops a verb: a fault (something broke or is missing), a refusal of the gate, or a reader that went away. Faults
//! are one line, `what: why; what to do`; only a mistake in a configuration file brings its excerpt along. Every verb, and
//! `serve` and `demo`, return these; `cli::main` prints them.

use std::fmt;
use std::io;

use super::exit::Exit;
use super::printable::printable;
use crate::client::{ClientError, Refused};

/// Something broke or is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    what: String,
    why: Option<String>,
    help: Option<String>,
    excerpt: Option<String>,
    usage: bool,
}

impl Fault {
    /// A fault by what failed, lower case and without a full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), why: None, help: None, excerpt: None, usage: false }
    }

    /// A mistake in the command line itself, which ends with the exit code for usage.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(what) }
    }

    /// Says why it failed; line breaks become spaces.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        self.why = Some(why.split_whitespace().collect::<Vec<_>>().join(" "));
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds lines that are shown as they are below the fault: the place in a file, with its caret.
    #[must_use]
    pub fn excerpt(mut self, lines: impl Into<String>) -> Self {
        self.excerpt = Some(lines.into());
        self
    }

    /// The exit code that it ends the process with.
    pub const fn exit(&self) -> Exit {
        if self.usage { Exit::Usage } else { Exit::Fault }
    }
}

impl fmt::Display for Fault {
    /// Safe for a terminal: text that came from elsewhere is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.what))?;
        if let Some(why) = &self.why {
            write!(f, ": {}", printable(why))?;
        }
        if let Some(help) = &self.help {
            write!(f, "; {}", printable(help))?;
        }
        for line in self.excerpt.iter().flat_map(|lines| lines.lines()) {
            write!(f, "\n{}", printable(line))?;
        }
        Ok(())
    }
}

/// What stops a verb.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Something broke or is missing.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Whoever read the output went away (`| head`): nothing is left to say.
    #[error("the reader of the output went away")]
    ReaderGone,
    /// The gate said no.
    #[error(transparent)]
    Refused(Box<Refused>),
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refused) => Self::Refused(refused),
            ClientError::NotRunning { socket, .. } => {
                Fault::new(format!("no gate answers at `{}`", socket.display()))
                    .help("start it with `mexegate serve`")
                    .into()
            }
            ClientError::NotAllowed { socket } => Fault::new(format!("may not open `{}`", socket.display()))
                .help("call as the user that the gate runs for")
                .into(),
            ClientError::Broken { what, why } => Fault::new(what).because(why).into(),
        }
    }
}

impl From<io::Error> for Stop {
    /// For writing to the standard output: a broken pipe is no fault.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Fault::new("cannot write the output").because(error).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_whatever_the_cause_says() {
        let fault = Fault::new("cannot read `x`").because("first\n  second\u{1b}[31m").help("look at it");
        assert_eq!(fault.to_string(), "cannot read `x`: first second\\u{1b}[31m; look at it");
    }

    #[test]
    fn only_an_excerpt_brings_more_lines() {
        let fault = Fault::new("bad file").excerpt("3 | x = \u{202e}\n  | ^");
        assert_eq!(fault.to_string(), "bad file\n3 | x = \\u{202e}\n  | ^");
    }

    #[test]
    fn usage_mistakes_end_with_two() {
        assert_eq!(Fault::usage("x").exit().code(), 2);
        assert_eq!(Fault::new("x").exit().code(), 1);
    }
}
