//! Grants that cover the same requests, each within a window, arranged by the hours of the week: which of them is the best
//! at a moment costs a walk of some fifteen steps, however many windows there are. Segment trees: the week is cut wherever
//! hours begin or end, and each window stands at the few nodes that together are its hours.

use std::collections::BTreeSet;

use mexe_model::{Reason, WallTime};

use super::{Asker, Choice, Moment, Pick};
use crate::window::{Opening, WEEK, Window};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timetable {
    /// What came in, until it is arranged; true: its budget is used up.
    added: Vec<(Choice, Window, bool)>,
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
    pub(super) fn insert(&mut self, choice: Choice, window: Window, is_used_up: bool) {
        self.added.push((choice, window, is_used_up));
    }

    /// Once, after the last insertion.
    pub(super) fn arrange(&mut self) {
        let mut added = std::mem::take(&mut self.added);
        added.sort_unstable_by_key(|(choice, ..)| choice.rank());
        let (used_up, usable): (Vec<_>, Vec<_>) = added.iter().partition(|(.., is_used_up)| *is_used_up);
        (self.usable, self.used_up) = (Tree::new(&usable), Tree::new(&used_up));
        self.best = added.first().map(|(choice, window, _)| (*choice, window.clone()));
        let ends = added.iter().filter(|(_, window, _)| window.until.is_some());
        self.over = ends.map(|(choice, window, _)| Dated { choice: *choice, until: window.until }).collect();
        self.over.sort_unstable_by_key(|dated| (dated.until, dated.choice.rank()));
        let mut best: Option<Choice> = None;
        self.over.retain(|dated| {
            let is_better = best.is_none_or(|best| dated.choice.rank() < best.rank());
            if is_better {
                best = Some(dated.choice);
            }
            is_better
        });
    }

    /// Offers the best that can be used, else the best that would hold had it not ended, else the best that will hold
    /// again.
    pub(super) fn offer(&self, asker: &Asker, pick: &mut Pick) {
        let Some(moment) = asker.local else { return };
        self.usable.each(moment, |choice| pick.offer(choice, asker.now));
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
