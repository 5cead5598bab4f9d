//! Grants that cover the same requests, and what of them is offered to a question. Most stand alone, and a single one
//! lies in the index itself: each step to another place in memory costs a decision more than all comparing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mexe_model::{Permission, RunId};

use super::timetable::{Span, Windows};
use super::{Asker, Choice, Pick};
use crate::grant::{Binding, Grant};

/// Of grants that would be used under the same conditions only the best is kept. All insertions come before
/// [`Bucket::arrange`].
#[derive(Debug, Default)]
pub(super) enum Bucket {
    #[default]
    Empty,
    One(Choice, Holds),
    Many(Box<Many>),
}

/// When a grant can be used.
#[derive(Debug)]
pub(super) enum Holds {
    /// Always: blanket.
    Always,
    /// In the app's next run.
    NextRun,
    /// In this run.
    Run(RunId),
    /// Until it is spent.
    Unspent(Arc<AtomicBool>),
    /// Within a window: blanket as well.
    Within(Box<Span>),
}

#[derive(Debug, Default)]
pub(super) struct Many {
    blanket: Option<Choice>,
    /// Blanket grants that hold within a window.
    windows: Windows,
    pending: Option<Choice>,
    /// Best session grant for each run, by run.
    sessions: Vec<(RunId, Choice)>,
    /// Single grants, best first.
    singles: Vec<(Choice, Arc<AtomicBool>)>,
}

impl Bucket {
    pub(super) fn insert(&mut self, grant: &Grant) {
        if let Self::Many(many) = self {
            return many.insert(grant);
        }
        let mut many = Box::<Many>::default();
        many.insert(grant);
        *self = Self::Many(many);
    }

    /// Once, after the last insertion.
    pub(super) fn arrange(&mut self) {
        let Self::Many(many) = self else { return };
        many.arrange();
        if let Some((choice, holds)) = many.only() {
            *self = Self::One(choice, holds);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(super) fn offer(&self, asker: &Asker, pick: &mut Pick) {
        match self {
            Self::Empty => {}
            Self::One(choice, Holds::Unspent(spent)) => {
                if pick.can_gain(Permission::SingleAction) && !spent.load(Ordering::Acquire) {
                    pick.offer(*choice, asker.now);
                }
            }
            Self::One(..) => self.offer_lasting(asker, pick),
            Self::Many(many) => many.offer(asker, pick),
        }
    }

    /// Those for more than a single action.
    pub(super) fn offer_lasting(&self, asker: &Asker, pick: &mut Pick) {
        let (choice, holds) = match self {
            Self::Empty => return,
            Self::One(choice, holds) => (*choice, holds),
            Self::Many(many) => return many.offer_lasting(asker, pick),
        };
        if asker.ceiling < choice.permission {
            return;
        }
        let now = match holds {
            Holds::Always => true,
            Holds::NextRun => asker.run.is_none(),
            Holds::Run(run) => asker.run == Some(*run),
            Holds::Unspent(_) => false,
            Holds::Within(span) => return span.offer(choice, asker, pick),
        };
        if now {
            pick.offer(choice, asker.now);
        }
    }
}

impl Many {
    fn insert(&mut self, grant: &Grant) {
        let choice = Choice::of(grant);
        let keep = |slot: &mut Option<Choice>| {
            if slot.is_none_or(|s| choice.rank() < s.rank()) {
                *slot = Some(choice);
            }
        };
        if let Some(window) = grant.window() {
            return self.windows.insert(choice, window.clone(), grant.is_used_up());
        }
        match (grant.permission(), grant.binding()) {
            (Permission::Blanket, _) => keep(&mut self.blanket),
            (Permission::SingleAction, _) => self.singles.push((choice, grant.spent_flag())),
            (Permission::Session, Some(Binding::Runs(runs))) => {
                self.sessions.extend(runs.iter().map(|run| (*run, choice)));
            }
            (Permission::Session, _) => keep(&mut self.pending),
        }
    }

    fn arrange(&mut self) {
        self.windows.arrange();
        self.sessions.sort_unstable_by_key(|(run, choice)| (*run, choice.rank()));
        self.sessions.dedup_by_key(|(run, _)| *run);
        self.sessions.shrink_to_fit();
        self.singles.sort_unstable_by_key(|(choice, _)| choice.rank());
        self.singles.shrink_to_fit();
    }

    /// The grant, if there is just one that is simple.
    fn only(&mut self) -> Option<(Choice, Holds)> {
        let lasting = usize::from(self.blanket.is_some()) + usize::from(self.pending.is_some());
        if lasting + self.windows.len() + self.sessions.len() + self.singles.len() != 1 {
            return None;
        }
        let blanket = self.blanket.map(|choice| (choice, Holds::Always));
        let pending = self.pending.map(|choice| (choice, Holds::NextRun));
        let windowed = || self.windows.only().map(|(choice, span)| (choice, Holds::Within(Box::new(span))));
        let session = || self.sessions.first().map(|(run, choice)| (*choice, Holds::Run(*run)));
        let single =
            || self.singles.first().map(|(choice, spent)| (*choice, Holds::Unspent(Arc::clone(spent))));
        blanket.or(pending).or_else(windowed).or_else(session).or_else(single)
    }

    fn offer(&self, asker: &Asker, pick: &mut Pick) {
        self.offer_lasting(asker, pick);
        if !pick.can_gain(Permission::SingleAction) {
            return;
        }
        // The first unspent one holds longest. Spent ones are few: the service takes them out.
        if let Some((choice, _)) = self.singles.iter().find(|(_, spent)| !spent.load(Ordering::Acquire)) {
            pick.offer(*choice, asker.now);
        }
    }

    fn offer_lasting(&self, asker: &Asker, pick: &mut Pick) {
        if asker.ceiling == Permission::Blanket {
            self.blanket.into_iter().for_each(|choice| pick.offer(choice, asker.now));
            if pick.can_gain_windowed() {
                self.windows.offer(asker, pick);
            }
        }
        if asker.ceiling >= Permission::Session && pick.can_gain(Permission::Session) {
            let session = match asker.run {
                None => self.pending,
                Some(run) => {
                    let at = self.sessions.binary_search_by_key(&run, |(run, _)| *run).ok();
                    at.and_then(|at| self.sessions.get(at)).map(|(_, choice)| *choice)
                }
            };
            session.into_iter().for_each(|choice| pick.offer(choice, asker.now));
        }
    }
}

/// The grants for one host, by port. As for a [`Bucket`], all insertions come before [`Ports::arrange`].
#[derive(Debug)]
pub(super) enum Ports {
    Any(Bucket),
    One(u16, Bucket),
    Several(Box<Several>),
}

#[derive(Debug, Default)]
pub(super) struct Several {
    any: Bucket,
    /// By port.
    one: Vec<(u16, Bucket)>,
}

impl Default for Ports {
    fn default() -> Self {
        Self::Any(Bucket::Empty)
    }
}

impl Ports {
    pub(super) fn insert(&mut self, port: Option<u16>, grant: &Grant) {
        if let Self::Several(several) = self {
            return several.insert(port, grant);
        }
        let mut several = Box::<Several>::default();
        several.insert(port, grant);
        *self = Self::Several(several);
    }

    /// Once, after the last insertion.
    pub(super) fn arrange(&mut self) {
        let Self::Several(several) = self else { return };
        several.arrange();
        if several.one.is_empty() {
            *self = Self::Any(std::mem::take(&mut several.any));
        } else if several.any.is_empty()
            && several.one.len() == 1
            && let Some((port, bucket)) = several.one.pop()
        {
            *self = Self::One(port, bucket);
        }
    }

    pub(super) fn offer(&self, port: u16, asker: &Asker, pick: &mut Pick) {
        match self {
            Self::Any(bucket) => bucket.offer(asker, pick),
            Self::One(only, bucket) => {
                if *only == port {
                    bucket.offer(asker, pick);
                }
            }
            Self::Several(several) => several.offer(port, asker, pick),
        }
    }
}

impl Several {
    fn insert(&mut self, port: Option<u16>, grant: &Grant) {
        let Some(port) = port else { return self.any.insert(grant) };
        match self.one.binary_search_by_key(&port, |(p, _)| *p) {
            Ok(at) => self.one.get_mut(at).into_iter().for_each(|(_, bucket)| bucket.insert(grant)),
            Err(at) => {
                let mut bucket = Bucket::default();
                bucket.insert(grant);
                self.one.insert(at, (port, bucket));
            }
        }
    }

    fn arrange(&mut self) {
        self.any.arrange();
        self.one.iter_mut().for_each(|(_, bucket)| bucket.arrange());
        self.one.shrink_to_fit();
    }

    fn offer(&self, port: u16, asker: &Asker, pick: &mut Pick) {
        self.any.offer(asker, pick);
        let at = self.one.binary_search_by_key(&port, |(p, _)| *p).ok();
        at.and_then(|at| self.one.get(at)).into_iter().for_each(|(_, bucket)| bucket.offer(asker, pick));
    }
}
