//! Counts the datagrams that an association drops, by reason. A refusal of the policy has its record in the journal from
//! where it was decided; what is dropped before anything could be decided is written down here, once a second at most.

use std::sync::Arc;
use std::time::Duration;

use mexe_journal::{Outcome, Record};
use mexe_model::{Instant, Reason};
use prometheus::IntCounter;

use super::DOOR;
use crate::actions;
use crate::gate::Gate;
use crate::runs::Run;

/// The least time between two records of the same reason.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Tally {
    gate: Arc<Gate>,
    run: Arc<Run>,
    /// The reasons so far: a handful.
    lines: Vec<Line>,
}

struct Line {
    reason: Reason,
    series: IntCounter,
    written: Option<Instant>,
}

impl Tally {
    pub(super) fn new(gate: Arc<Gate>, run: Arc<Run>) -> Self {
        Self { gate, run, lines: Vec::new() }
    }

    /// So many were dropped for a reason that is written down elsewhere.
    pub(super) fn count(&mut self, reason: Reason, datagrams: u64) {
        if datagrams > 0 {
            self.counted(reason, datagrams);
        }
    }

    /// One was dropped before anything could be decided about it.
    pub(super) fn unasked(&mut self, reason: Reason, now: Instant) {
        let line = self.counted(reason, 1);
        if line.is_none_or(|line| line.written.is_some_and(|written| now.since(written) < PAUSE)) {
            return;
        }
        let record = Record {
            decision: Some(Outcome::Deny),
            reason: Some(reason),
            ingress: Some(DOOR.as_str().into()),
            ..actions::record_of(&self.gate, &self.run, self.gate.actions.datagram)
        };
        self.gate.journal.note(record);
        if let Some(line) = self.lines.iter_mut().find(|line| line.reason == reason) {
            line.written = Some(now);
        }
    }

    fn counted(&mut self, reason: Reason, datagrams: u64) -> Option<&Line> {
        if !self.lines.iter().any(|line| line.reason == reason) {
            let series = self.gate.metrics.datagrams_dropped(reason);
            self.lines.push(Line { reason, series, written: None });
        }
        let line = self.lines.iter().find(|line| line.reason == reason)?;
        line.series.inc_by(datagrams);
        Some(line)
    }
}
