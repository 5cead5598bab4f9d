//! Where the engine and a suite by others differ on purpose: one line for each case, with the reason. An exception that is
//! not needed any more fails the test, and so does a difference that is not listed.

use std::collections::BTreeMap;
use std::fmt::Write;

/// How the engine differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The suite says valid.
    Refused,
    /// The suite says invalid.
    Accepted,
}

/// The lines of that file beside the tests.
#[allow(clippy::disallowed_methods, reason = "tests read files")]
pub fn listed(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name))
        .unwrap()
}

pub struct Exceptions {
    listed: BTreeMap<String, Outcome>,
    agreed: usize,
    differed: usize,
    skipped: usize,
    wrong: String,
}

impl Exceptions {
    /// Lines of `case: refused: reason` or `case: accepted: reason`, or comments after `#`.
    pub fn read(text: &str) -> Self {
        let line = |line: &str| {
            let mut parts = line.splitn(3, ": ");
            let (case, outcome, reason) = (parts.next()?, parts.next()?, parts.next()?);
            let outcome = match outcome {
                "refused" => Outcome::Refused,
                "accepted" => Outcome::Accepted,
                _ => return None,
            };
            (reason.len() > 10).then(|| (case.to_owned(), outcome))
        };
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let listed = lines.map(|text| line(text).unwrap_or_else(|| panic!("{text}"))).collect();
        Self { listed, agreed: 0, differed: 0, skipped: 0, wrong: String::new() }
    }

    /// A case that is about something the engine does not have.
    pub fn skip(&mut self) {
        self.skipped += 1;
    }

    pub fn note(&mut self, case: &str, expected: bool, judged: Result<(), String>) {
        let outcome = match (expected, &judged) {
            (true, Err(_)) => Some(Outcome::Refused),
            (false, Ok(())) => Some(Outcome::Accepted),
            _ => None,
        };
        let listed = self.listed.remove(case);
        match outcome {
            None => self.agreed += 1,
            Some(_) => self.differed += 1,
        }
        if outcome != listed {
            writeln!(self.wrong, "{case}: {outcome:?}, listed as {listed:?}: {judged:?}").unwrap();
        }
    }

    /// Fails unless all differences are listed, none besides, and at least so many cases ran.
    pub fn settle(self, least: usize) {
        let Self { listed, agreed, differed, skipped, wrong } = self;
        eprintln!("{agreed} cases agree, {differed} differ as listed, {skipped} are about something else");
        assert!(wrong.is_empty(), "\n{wrong}");
        assert!(listed.is_empty(), "exceptions for cases that do not exist: {:?}", listed.keys());
        assert!(agreed + differed >= least, "only {} cases ran", agreed + differed);
    }
}
