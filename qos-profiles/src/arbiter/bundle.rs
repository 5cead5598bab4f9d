//! Several flows that have their rates together, because they are one stream to whoever asked for it: one meter, and one
//! of them after the other stands among the bearer's streams. So the rates hold for all of them, and ten flows have no more
//! of the bearer than one.

use mexe_model::Instant;

use super::Arbiter;
use super::round::{BUNDLE, Round};
use super::terms::{Stream, StreamId, Streams, Terms};
use crate::two_rate::{Rates, TwoRate};

/// Streams of the arbiter that have the rates of their terms together: those of the one that came, or was changed, last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bundle(pub u64);

/// What they have together.
#[derive(Debug)]
pub(crate) struct Bundled {
    /// Those of whoever came or was changed last.
    pub(crate) terms: Terms,
    pub(crate) meter: TwoRate,
    /// Whether the excess has a limit.
    pub(crate) is_limited: bool,
    members: usize,
    round: Round,
    /// Who stands among the bearer's streams.
    pub(crate) turn: Option<StreamId>,
}

impl Streams {
    /// What meters the stream, and whether its excess has a limit.
    pub(crate) fn meter(&mut self, id: StreamId) -> Option<(&mut TwoRate, bool)> {
        match self.get(id)?.terms.bundle {
            Some(bundle) => self.bundles.get_mut(&bundle).map(|own| (&mut own.meter, own.is_limited)),
            None => self.get_mut(id).map(|own| (&mut own.meter, own.is_limited)),
        }
    }

    /// Whether the stream stands among the bearer's: nobody else of its bundle does, and its app lets it go ahead.
    pub(crate) fn stands(&self, id: StreamId) -> bool {
        let Some(Stream { terms, is_let_go, .. }) = self.get(id) else { return false };
        let has_turn = |bundle| self.bundles.get(&bundle).is_some_and(|own| own.turn == Some(id));
        terms.bundle.is_none_or(has_turn)
            && (*is_let_go || terms.group.is_none_or(|group| !self.groups.contains_key(&group)))
    }
}

impl Arbiter {
    /// The stream becomes one of its bundle.
    pub(super) fn enter_bundle(&mut self, id: StreamId, rates: (Rates, bool), now: Instant) {
        let Some(terms) = self.streams.get(id).map(|stream| stream.terms) else { return };
        let Some(bundle) = terms.bundle else { return };
        // A bundle that nobody is in is kept while it would begin with less than a full burst.
        self.streams.bundles.retain(|_, own| own.members > 0 || !own.meter.is_full(now));
        let (rates, is_limited) = rates;
        let own = self.streams.bundles.entry(bundle).or_insert_with(|| {
            let meter = TwoRate::new(rates, now);
            let meter = if terms.is_rested { meter } else { meter.spent() };
            Bundled { terms, meter, is_limited, members: 0, round: Round::of_bundles(), turn: None }
        });
        own.members = own.members.saturating_add(1);
        let before = std::mem::replace(&mut own.terms, terms);
        let rates_of = |terms: Terms| (terms.band, terms.guaranteed, terms.maximum, terms.burst);
        if rates_of(before) == rates_of(terms) {
            return;
        }
        for other in self.streams.ids() {
            let is_one = self.streams.get(other).is_some_and(|stream| stream.terms.bundle == Some(bundle));
            if is_one && other != id {
                self.renew(other, now);
            }
        }
    }

    /// The stream, which waits for nothing, is one of its bundle no longer.
    pub(super) fn quit_bundle(&mut self, id: StreamId) {
        self.pass_turn(id);
        let Some(bundle) = self.streams.get(id).and_then(|stream| stream.terms.bundle) else { return };
        if let Some(own) = self.streams.bundles.get_mut(&bundle) {
            own.members = own.members.saturating_sub(1);
            own.round.remove(id);
        }
    }

    /// Whether it is the turn of a stream that waits; if not, it has a place among its bundle's.
    pub(super) fn has_turn(&mut self, id: StreamId, now: Instant) -> bool {
        let Some(bundle) = self.streams.get(id).and_then(|stream| stream.terms.bundle) else { return true };
        let quantum = self.turn_of(id);
        let Some(own) = self.streams.bundles.get_mut(&bundle) else { return true };
        if own.turn == Some(id) {
            return true;
        }
        let before = own.turn;
        // Taken out for as long as the streams are needed as well.
        let mut round = std::mem::take(&mut own.round);
        round.ready(id, now, &mut self.streams);
        // Who is back for the rest of its turn goes before the one whose turn it has become meanwhile.
        let turn = round.head(quantum, &mut self.streams);
        if let Some(own) = self.streams.bundles.get_mut(&bundle) {
            own.round = round;
            own.turn = turn;
        }
        if let Some(before) = before.filter(|before| turn != Some(*before)) {
            self.stand_back(before, now);
        }
        turn == Some(id)
    }

    /// What one turn among the bundle's is worth, bytes: at a low rate a chunk of the bearer's is a long time.
    fn turn_of(&self, id: StreamId) -> i64 {
        i64::try_from(self.chunk(id).min(self.common_chunk())).unwrap_or(i64::MAX)
    }

    /// The stream stands among the bearer's no longer. It is in the queues of the guaranteed until they come to it.
    fn stand_back(&mut self, id: StreamId, now: Instant) {
        self.leave_app(id, now);
        let round = self.streams.get(id).map_or(0, |stream| stream.terms.band.round());
        if let Some(round) = self.rounds.all.get_mut(round) {
            round.unready(id, &mut self.streams);
        }
    }

    /// The stream waits no longer, or was granted something: the next of its bundle stands in its place.
    pub(super) fn pass_turn(&mut self, id: StreamId) {
        let Some(bundle) = self.streams.get(id).and_then(|stream| stream.terms.bundle) else { return };
        let quantum = self.turn_of(id);
        let Some(own) = self.streams.bundles.get_mut(&bundle) else { return };
        let mut round = std::mem::take(&mut own.round);
        let had_turn = own.turn == Some(id);
        round.unready(id, &mut self.streams);
        let next = if had_turn { round.head(quantum, &mut self.streams) } else { None };
        if let Some(own) = self.streams.bundles.get_mut(&bundle) {
            own.round = round;
            if had_turn {
                own.turn = next;
            }
        }
        self.let_go.extend(next);
    }

    /// What the stream's bundle owes it less, or more, for bytes that it was granted.
    pub(super) fn charge_turn(&mut self, id: StreamId, bytes: i64) {
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.terms.bundle.is_some()) else {
            return;
        };
        if let Some(seat) = stream.seats.get_mut(BUNDLE) {
            seat.deficit = seat.deficit.saturating_sub(bytes);
        }
    }
}
