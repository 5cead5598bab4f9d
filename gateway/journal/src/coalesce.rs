//! Keeps one app from filling the journal with refusals and questions (security rule S5); what is said of refusals here goes
//! for questions as well. The first refusal of its kind is written
//! at once; the same again (app, action, target, door, reason) within a second is only counted, and the count is
//! written when the second is over. Beyond that an app has a quota of refusals a minute; what exceeds it is counted by reason.
//!
//! Pure: time is an argument. The writer asks [`Coalescer::offer`] before it writes, tells [`Coalescer::written`] after,
//! and writes what [`Coalescer::due`] returns. Nothing that is allowed is ever counted together.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::Duration;

use mexe_model::{AppId, Instant, Reason, WallTime};
use serde_json::json;

use crate::record::Record;

/// How much is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For how long after a refusal the same one is only counted.
    pub window: Duration,
    /// How many refusals of one app are written within [`Limits::period`], counts aside.
    pub quota: u32,
    /// The time that the quota is for.
    pub period: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { window: Duration::from_secs(1), quota: 600, period: Duration::from_secs(60) }
    }
}

/// What to do with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It was counted: the record of that number stands for it.
    Folded(u64),
    /// Write it.
    Write,
}

/// The refusals of the last second, and how many each app had in the last minute.
#[derive(Debug)]
pub struct Coalescer {
    limits: Limits,
    hasher: RandomState,
    windows: HashMap<u64, Window>,
    closing: VecDeque<(Instant, u64)>,
    budgets: HashMap<Option<AppId>, Budget>,
    ending: VecDeque<(Instant, Option<AppId>)>,
}

#[derive(Debug)]
struct Window {
    first: Record,
    seq: u64,
    closes: Instant,
    further: u32,
    last: WallTime,
}

#[derive(Debug)]
struct Budget {
    ends: Instant,
    written: u32,
    last_seq: u64,
    over: Vec<Over>,
}

#[derive(Debug)]
struct Over {
    reason: Option<Reason>,
    count: u32,
    sample: Record,
}

impl Coalescer {
    /// Nothing counted yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            hasher: RandomState::new(),
            windows: HashMap::new(),
            closing: VecDeque::new(),
            budgets: HashMap::new(),
            ending: VecDeque::new(),
        }
    }

    /// Says whether a record is to be written; counts it if not. Call [`Coalescer::due`] with the same `now` before.
    pub fn offer(&mut self, now: Instant, record: &Record) -> Offer {
        if !record.is_repeatable() {
            return Offer::Write;
        }
        let key = self.key(record);
        if let Some(window) = self.windows.get_mut(&key).filter(|w| now < w.closes && alike(&w.first, record))
        {
            window.further = window.further.saturating_add(record.count);
            window.last = record.at;
            return Offer::Folded(window.seq);
        }
        let quota = self.limits.quota;
        let Some(budget) = self.budgets.get_mut(&record.app).filter(|b| now < b.ends && b.written >= quota)
        else {
            return Offer::Write;
        };
        let same = |over: &&mut Over| over.reason == record.reason && over.sample.decision == record.decision;
        match budget.over.iter_mut().find(same) {
            Some(over) => {
                over.count = over.count.saturating_add(record.count);
                over.sample.at = record.at;
            }
            None => {
                budget.over.push(Over { reason: record.reason, count: record.count, sample: record.clone() });
            }
        }
        Offer::Folded(budget.last_seq)
    }

    /// Takes note that a refusal was written under that number: the same again is counted from here on.
    pub fn written(&mut self, now: Instant, record: &Record, seq: u64) {
        if !record.is_repeatable() {
            return;
        }
        let (key, closes) = (self.key(record), now.after(self.limits.window));
        let window = Window { first: record.clone(), seq, closes, further: 0, last: record.at };
        self.windows.insert(key, window);
        self.closing.push_back((closes, key));
        let ends = now.after(self.limits.period);
        let budget = self.budgets.entry(record.app.clone()).or_insert_with(|| {
            self.ending.push_back((ends, record.app.clone()));
            Budget { ends, written: 0, last_seq: seq, over: Vec::new() }
        });
        budget.written = budget.written.saturating_add(1);
        budget.last_seq = seq;
    }

    /// Forgets the refusals that were written after that number: their transaction came to nothing.
    pub fn undo_after(&mut self, seq: u64) {
        self.windows.retain(|_, window| window.seq <= seq);
        for budget in self.budgets.values_mut().filter(|budget| budget.last_seq > seq) {
            budget.last_seq = seq;
        }
    }

    /// The counts whose time is over, as records to write.
    pub fn due(&mut self, now: Instant) -> Vec<Record> {
        let mut counts = Vec::new();
        while let Some((closes, key)) = self.closing.front().copied().filter(|(closes, _)| *closes <= now) {
            self.closing.pop_front();
            // A window that was undone may have been opened anew; then this entry is not its own.
            if self.windows.get(&key).is_some_and(|window| window.closes == closes) {
                counts.extend(self.windows.remove(&key).and_then(Window::into_count));
            }
        }
        while self.ending.front().is_some_and(|(ends, _)| *ends <= now) {
            let Some((_, app)) = self.ending.pop_front() else { break };
            if let Some(budget) = self.budgets.remove(&app) {
                counts.extend(budget.into_counts(self.limits));
            }
        }
        counts
    }

    /// Every count, its time over or not; for the end.
    pub fn drain(&mut self) -> Vec<Record> {
        self.due(Instant::from_nanos(u64::MAX))
    }

    /// When [`Coalescer::due`] will next have something to look at.
    pub fn next_due(&self) -> Option<Instant> {
        let window = self.closing.front().map(|(closes, _)| *closes);
        let budget = self.ending.front().map(|(ends, _)| *ends);
        window.into_iter().chain(budget).min()
    }

    fn key(&self, record: &Record) -> u64 {
        let asked = (&record.app, &record.action, &record.target, &record.ingress);
        self.hasher.hash_one((asked, record.reason, record.decision))
    }
}

fn alike(one: &Record, other: &Record) -> bool {
    one.app == other.app
        && one.action == other.action
        && one.target == other.target
        && one.ingress == other.ingress
        && one.reason == other.reason
        && one.decision == other.decision
        && one.domain == other.domain
}

impl Window {
    fn into_count(self) -> Option<Record> {
        let since = self.first.at.to_string();
        (self.further > 0).then(|| Record {
            at: self.last,
            count: self.further,
            flow: None,
            detail: Some(json!({ "counted": "identical", "first": self.seq, "since": since })),
            ..self.first
        })
    }
}

impl Budget {
    fn into_counts(self, limits: Limits) -> impl Iterator<Item = Record> {
        let detail = json!({ "counted": "quota", "quota": limits.quota, "seconds": limits.period.as_secs() });
        self.over.into_iter().map(move |over| Record {
            at: over.sample.at,
            domain: over.sample.domain,
            decision: over.sample.decision,
            reason: over.reason,
            app: over.sample.app,
            count: over.count,
            detail: Some(detail.clone()),
            ..Record::decision(over.sample.at)
        })
    }
}

#[cfg(test)]
mod tests;
