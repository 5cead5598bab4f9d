//! Grants that cover the same requests, each within a window, arranged by the hours of the week: which of them is the best
//! at a moment costs a walk of some fifteen steps, however many windows there are. Segment trees: the week is cut wherever
//! hours begin or end, and each window stands at the few nodes that together are its hours.

use std::collections::BTreeSet;

use mexe_model::{Reason, WallTime};

use super::{Asker, Choice, Moment, Pick};
use crate::window::{Opening, WEEK, Window};

/// How many windows are looked at one by one: a few lines of memory in a row cost less than the steps down a tree.
const FEW: usize = 12;

/// How many stretches of hours a [`Span`] has room for: one a day.
const STRETCHES: usize = 7;

/// Windows in the arrangement that suits their number.
#[derive(Debug)]
pub(super) enum Windows {
    /// What came in, until it is arranged; true: its budget is used up.
    Added(Vec<(Choice, Window, bool)>),
    /// Best first.
    Few(Vec<(Choice, Span)>),
    Timetable(Box<Timetable>),
}

impl Default for Windows {
    fn default() -> Self {
        Self::Added(Vec::new())
    }
}

impl Windows {
    /// All insertions come before [`Windows::arrange`].
    pub(super) fn insert(&mut self, choice: Choice, window: Window, is_used_up: bool) {
        if let Self::Added(added) = self {
            added.push((choice, window, is_used_up));
        }
    }

    /// Once, after the last insertion.
    pub(super) fn arrange(&mut self) {
        let Self::Added(added) = self else { return };
        added.sort_unstable_by_key(|(choice, ..)| choice.rank());
        let few = (added.len() <= FEW).then(|| {
            let spans = added.iter().map(|(choice, window, is_used_up)| {
                Span::new(window, *is_used_up).map(|span| (*choice, span))
            });
            spans.collect::<Option<Vec<_>>>()
        });
        *self = match few.flatten() {
            Some(few) => Self::Few(few),
            None => Self::Timetable(Box::new(Timetable::new(added))),
        };
    }

    /// How many there are; of a timetable just that there are several.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Added(added) => added.len(),
            Self::Few(few) => few.len(),
            Self::Timetable(_) => 2,
        }
    }

    /// The only one.
    pub(super) fn only(&self) -> Option<(Choice, Span)> {
        match self {
            Self::Few(few) => few.first().copied(),
            Self::Added(_) | Self::Timetable(_) => None,
        }
    }

    pub(super) fn offer(&self, asker: &Asker, pick: &mut Pick) {
        match self {
            Self::Added(_) => {}
            Self::Few(few) => {
                for (choice, span) in few {
                    // Those behind it are no better.
                    if pick.live.is_some_and(|live| live.rank() <= choice.rank()) {
                        break;
                    }
                    span.offer(*choice, asker, pick);
                }
            }
            Self::Timetable(timetable) => timetable.offer(asker, pick),
        }
    }
}

/// The window of one grant, all in one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    until: Option<WallTime>,
    is_used_up: bool,
    /// In order; those that are not needed are empty.
    hours: [(u16, u16); STRETCHES],
}

impl Span {
    /// `None` for one with too many stretches.
    fn new(window: &Window, is_used_up: bool) -> Option<Self> {
        let ranges = window.hours.ranges();
        let mut hours = [(0, 0); STRETCHES];
        hours.get_mut(..ranges.len())?.copy_from_slice(ranges);
        Some(Self { until: window.until, is_used_up, hours })
    }

    /// As [`Timetable::offer`], of one.
    pub(super) fn offer(&self, choice: Choice, asker: &Asker, pick: &mut Pick) {
        let Some(moment) = asker.local else { return };
        let minute = moment.minute_of_week;
        if self.until.is_some_and(|until| moment.wall >= until) {
            return pick.offer_as(choice, true);
        }
        let open = self.hours.iter().any(|(from, to)| *from <= minute && minute < *to);
        if open && !self.is_used_up {
            pick.offer(choice, asker.now);
        } else if !choice.is_expired(asker.now) {
            let reason = if open { Reason::BudgetUsedUp } else { Reason::OutsideHours };
            pick.offer_shut(choice, reason);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Timetable {
    /// Those that can be used.
    usable: Tree,
    /// Those whose budget is used up.
    used_up: Tree,
    /// By end: the best of those that are over then.
    over: Vec<Dated>,
    /// The best of all.
    best: Option<(Choice, Window)>,
}

impl Timetable {
    /// Of windows that come best first.
    fn new(added: &[(Choice, Window, bool)]) -> Self {
        let (used_up, usable): (Vec<_>, Vec<_>) = added.iter().partition(|(.., is_used_up)| *is_used_up);
        let best = added.first().map(|(choice, window, _)| (*choice, window.clone()));
        let ends = added.iter().filter(|(_, window, _)| window.until.is_some());
        let mut over: Vec<_> =
            ends.map(|(choice, window, _)| Dated { choice: *choice, until: window.until }).collect();
        over.sort_unstable_by_key(|dated| (dated.until, dated.choice.rank()));
        let mut kept: Option<Choice> = None;
        over.retain(|dated| {
            let is_better = kept.is_none_or(|kept| dated.choice.rank() < kept.rank());
            if is_better {
                kept = Some(dated.choice);
            }
            is_better
        });
        Self { usable: Tree::new(&usable), used_up: Tree::new(&used_up), over, best }
    }

    /// Offers the best that can be used, else the best that would hold had it not ended, else the best that will hold
    /// again.
    pub(super) fn offer(&self, asker: &Asker, pick: &mut Pick) {
        let Some(moment) = asker.local else { return };
        self.usable.each(moment, |choice| pick.offer(choice, asker.now));
        if pick.live.is_some() {
            return;
        }
        let over = self.over.partition_point(|dated| dated.is_over(moment.wall));
        if let Some(dated) = over.checked_sub(1).and_then(|last| self.over.get(last)) {
            pick.offer_as(dated.choice, true);
        }
        // One that has expired as well will not hold again.
        self.used_up.each(moment, |choice| {
            if !choice.is_expired(asker.now) {
                pick.offer_shut(choice, Reason::BudgetUsedUp);
            }
        });
        // When none can be used and none has ended, no other shut one comes before the best of all: it is the last to expire.
        if let Some((choice, window)) = &self.best
            && !choice.is_expired(asker.now)
            && window.at_minute(moment.wall, moment.minute_of_week) == Opening::Closed
        {
            pick.offer_shut(*choice, Reason::OutsideHours);
        }
    }
}

#[derive(Debug, Default)]
struct Tree {
    /// Where the week is cut: the first minute of each stretch, in order.
    stretches: Vec<u16>,
    /// Where the list of each node begins; node 1 is the root, the stretches are the last ones.
    nodes: Vec<usize>,
    /// Node after node, those that hold at all its minutes. Of one node best first, and each holds until later than those
    /// before it: what would end sooner than a better one is never used.
    open: Vec<Dated>,
}

#[derive(Clone, Copy, Debug)]
struct Dated {
    choice: Choice,
    until: Option<WallTime>,
}

impl Dated {
    fn is_over(&self, wall: WallTime) -> bool {
        self.until.is_some_and(|until| wall >= until)
    }
}

impl Tree {
    /// Of windows that come best first.
    fn new(windows: &[&(Choice, Window, bool)]) -> Self {
        let ranges = windows.iter().flat_map(|(_, window, _)| window.hours.ranges());
        let cuts: BTreeSet<u16> = ranges.flat_map(|(from, to)| [*from, *to]).chain([0]).collect();
        let stretches: Vec<u16> = cuts.into_iter().filter(|cut| *cut < WEEK).collect();
        let leaves = stretches.len();
        let mut nodes: Vec<Vec<Dated>> = vec![Vec::new(); leaves * 2];
        for (choice, window, _) in windows {
            let dated = Dated { choice: *choice, until: window.until };
            for (from, to) in window.hours.ranges() {
                let stretch = |minute: u16| leaves + stretches.partition_point(|cut| *cut < minute);
                let (mut first, mut end) = (stretch(*from), stretch(*to));
                // The nodes that cover the range, from both of its ends upwards.
                while first < end {
                    if first % 2 == 1 {
                        stand(&mut nodes, first, dated);
                        first += 1;
                    }
                    if end % 2 == 1 {
                        end -= 1;
                        stand(&mut nodes, end, dated);
                    }
                    (first, end) = (first / 2, end / 2);
                }
            }
        }
        let begins = nodes.iter().scan(0, |begin, node| Some(std::mem::replace(begin, *begin + node.len())));
        Self { nodes: begins.collect(), open: nodes.concat(), stretches }
    }

    /// The best of each node at the moment, of which one is the best of all.
    fn each(&self, moment: Moment, mut offer: impl FnMut(Choice)) {
        let after = self.stretches.partition_point(|cut| *cut <= moment.minute_of_week);
        let mut node = (self.stretches.len() + after).saturating_sub(1);
        while node > 0 {
            let here = self.at(node);
            let over = here.partition_point(|dated| dated.is_over(moment.wall));
            // Those behind it hold no longer on the device's own time line.
            here.get(over).into_iter().for_each(|dated| offer(dated.choice));
            node /= 2;
        }
    }

    fn at(&self, node: usize) -> &[Dated] {
        let begin = self.nodes.get(node).copied().unwrap_or(self.open.len());
        let end = self.nodes.get(node + 1).copied().unwrap_or(self.open.len());
        self.open.get(begin..end).unwrap_or_default()
    }
}

/// Puts it down at a node, unless a better one there holds as long.
fn stand(nodes: &mut [Vec<Dated>], node: usize, dated: Dated) {
    let Some(here) = nodes.get_mut(node) else { return };
    let holds_longer = |last: &Dated| match (last.until, dated.until) {
        (Some(last), Some(until)) => until > last,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if here.last().is_none_or(holds_longer) {
        here.push(dated);
    }
}
