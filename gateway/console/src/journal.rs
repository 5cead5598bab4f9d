//! What was decided, what ended, what was changed: the newest records that fit the filter, a picture of the decisions
//! among them, and whether the chain holds.

use askama::Template;
use mexe_model::{FlowId, GrantId, RunId, WallTime};
use serde::Deserialize;

use crate::foreign::Foreign;
use crate::timeline::{Moment, Timeline};
use crate::words::{Bytes, Domain, reason};

/// One record, as `/v1/journal` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Record {
    seq: u64,
    at: Foreign,
    kind: Foreign,
    app: Option<Foreign>,
    run: Option<RunId>,
    flow: Option<FlowId>,
    domain: Option<Domain>,
    action: Option<Foreign>,
    target: Option<Foreign>,
    decision: Option<Foreign>,
    reason: Option<Foreign>,
    grant: Option<GrantId>,
    rule: Option<Foreign>,
    bytes_up: Option<Bytes>,
    bytes_down: Option<Bytes>,
    #[serde(default = "one")]
    count: u64,
    #[serde(default)]
    erased: bool,
}

fn one() -> u64 {
    1
}

impl Record {
    fn outcome(&self) -> (&'static str, &'static str) {
        match (self.kind.raw(), self.decision.as_ref().map(Foreign::raw)) {
            ("decision", Some("allow")) => ("allowed", "Allowed"),
            ("decision", Some("ask")) => ("asked", "Asked"),
            ("decision", _) => ("refused", "Refused"),
            ("flow-end", _) => ("ended", "Ended"),
            _ => ("changed", "Changed"),
        }
    }

    fn moment(&self) -> Option<Moment> {
        if self.kind.raw() != "decision" {
            return None;
        }
        let at: jiff::Timestamp = self.at.raw().parse().ok()?;
        let at = u64::try_from(at.as_millisecond()).ok()?;
        Some(Moment { at, allowed: self.outcome().0 == "allowed", count: self.count })
    }
}

/// The page of the journal.
#[derive(Template)]
#[template(path = "journal.html")]
pub struct Journal {
    records: Vec<Record>,
    timeline: Timeline,
    looked_at: usize,
    first: Option<Foreign>,
}

impl Journal {
    /// More than these are drawn, but not listed.
    const MOST: usize = 100;

    /// Of these records, oldest first, as things stand now.
    pub fn of(mut records: Vec<Record>, now: WallTime) -> Self {
        let moments: Vec<Moment> = records.iter().filter_map(Record::moment).collect();
        let looked_at = records.len();
        let first = records.iter().find(|record| record.moment().is_some()).map(|record| record.at.clone());
        records.drain(..looked_at.saturating_sub(Self::MOST));
        records.reverse();
        Self { records, timeline: Timeline::of(&moments, now.as_millis()), looked_at, first }
    }
}

/// What a look at the whole chain found.
#[derive(Clone, Debug, Deserialize, Template)]
#[template(path = "verified.html")]
pub struct Verified {
    /// Whether it holds.
    pub holds: bool,
    /// How many records it has.
    pub records: u64,
    /// How many of them have no seal yet.
    pub unsealed_tail: u64,
    /// What does not fit, when something does not.
    pub fault: Foreign,
}
