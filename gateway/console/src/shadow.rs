//! What a candidate table or setting would have decided, beside what was decided.

use askama::Template;
use serde::Deserialize;

use crate::foreign::{Foreign, Word};
use crate::words::Domain;

/// The candidate and what was counted, as `/v1/shadow` shows them.
#[derive(Clone, Debug, Deserialize)]
pub struct Candidate {
    loaded: bool,
    #[serde(default)]
    since: Foreign,
    #[serde(default)]
    table: Foreign,
    token_runs: Option<Foreign>,
    #[serde(default)]
    items: Vec<Count>,
}

/// How often it would have decided so.
#[derive(Clone, Debug, Deserialize)]
struct Count {
    #[serde(default)]
    domain: Domain,
    group: Option<Foreign>,
    difference: Word,
    count: u64,
}

impl Count {
    fn says(&self) -> &'static str {
        says(self.difference.as_str())
    }
}

const KINDS: [&str; 4] = ["would-refuse", "would-ask", "would-allow", "same"];

fn says(difference: &str) -> &'static str {
    match difference {
        "would-refuse" => "Would have refused",
        "would-ask" => "Would have asked",
        "would-allow" => "Would have allowed",
        "same" => "The same",
        _ => "Something else",
    }
}

/// The page of shadow mode.
#[derive(Template)]
#[template(path = "shadow.html")]
pub struct Shadow {
    candidate: Candidate,
    /// The largest table that is taken, bytes.
    most: usize,
}

impl Shadow {
    /// Of that candidate.
    pub fn of(candidate: Candidate, most: usize) -> Self {
        Self { candidate, most }
    }

    fn has_table(&self) -> bool {
        self.candidate.table.raw() == "candidate"
    }

    /// What differs first.
    fn counts(&self) -> Vec<&Count> {
        let mut counts: Vec<&Count> = self.candidate.items.iter().collect();
        counts.sort_by_key(|count| KINDS.iter().position(|kind| *kind == count.difference.as_str()));
        counts
    }

    /// Each kind with its sum.
    fn sums(&self) -> Vec<(&'static str, u64)> {
        let sum = |kind: &str| {
            let own = self.candidate.items.iter().filter(|count| count.difference.as_str() == kind);
            own.fold(0_u64, |sum, count| sum.saturating_add(count.count))
        };
        KINDS.into_iter().map(|kind| (says(kind), sum(kind))).collect()
    }
}
