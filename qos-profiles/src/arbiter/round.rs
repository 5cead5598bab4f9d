//! Deficit round robin, the variant that lets a turn run over and settles it the next time: who has had less than its
//! share goes first, whatever the size of its chunks. A stream that was given less than its turn, because it asked for
//! less, has the rest when it asks again within some milliseconds: otherwise who asks for less at once would get less.

use std::collections::VecDeque;
use std::time::Duration;

use mexe_model::Instant;

use super::terms::{Stream, StreamId, Streams};

/// The seats: in the band, among the streams of the app, and in the bundle.
pub(crate) const BAND: usize = 0;
pub(crate) const APP: usize = 1;
pub(crate) const BUNDLE: usize = 2;

/// How long a stream that asks for nothing keeps its place.
pub(super) const STAYS: Duration = Duration::from_millis(5);

/// A stream's place in a round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seat {
    /// It waits and may go.
    pub(crate) is_ready: bool,
    pub(crate) is_taken: bool,
    /// It was credited for this turn.
    is_credited: bool,
    /// Bytes that the round owes it, below zero when it was given more than its turn.
    pub(crate) deficit: i64,
}

/// The streams of one band, or of one app.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Which of a stream's seats is in this round.
    seat: usize,
    turn: VecDeque<StreamId>,
    /// How many wait and may go.
    ready: usize,
    /// Bytes that its band is owed.
    deficit: i64,
    /// When the band was charged last.
    last_at: Instant,
}

impl Round {
    pub(crate) fn of_apps() -> Self {
        Self { seat: APP, ..Self::default() }
    }

    pub(crate) fn of_bundles() -> Self {
        Self { seat: BUNDLE, ..Self::default() }
    }

    /// A stream waits and may go.
    pub(crate) fn ready(&mut self, id: StreamId, now: Instant, streams: &mut Streams) {
        let Some(stream) = streams.get_mut(id) else { return };
        let is_back = stream.last_at.is_some_and(|last| now.since(last) <= STAYS);
        let Some(seat) = stream.seats.get_mut(self.seat) else { return };
        if !std::mem::replace(&mut seat.is_ready, true) {
            self.ready = self.ready.saturating_add(1);
        }
        if !std::mem::replace(&mut seat.is_taken, true) {
            if is_back && seat.is_credited && seat.deficit > 0 {
                self.turn.push_front(id);
            } else {
                seat.deficit = seat.deficit.min(0);
                seat.is_credited = false;
                self.turn.push_back(id);
            }
        }
    }

    /// A stream waits no longer, or may not go.
    pub(crate) fn unready(&mut self, id: StreamId, streams: &mut Streams) {
        if let Some(seat) = streams.seat(id, self.seat)
            && std::mem::replace(&mut seat.is_ready, false)
        {
            self.ready = self.ready.saturating_sub(1);
        }
    }

    /// A stream leaves the round.
    pub(crate) fn remove(&mut self, id: StreamId) {
        self.turn.retain(|other| *other != id);
    }

    pub(crate) fn any_ready(&self) -> bool {
        self.ready > 0
    }

    /// Whose turn it is; the same until it was charged, or stops waiting, or somebody comes back for the rest of a turn.
    pub(crate) fn head(&mut self, chunk: i64, streams: &mut Streams) -> Option<StreamId> {
        if self.ready == 0 {
            return None;
        }
        loop {
            let id = *self.turn.front()?;
            let weight = streams.get(id).map_or(1, Stream::weight);
            let Some(seat) = streams.seat(id, self.seat) else {
                self.turn.pop_front();
                continue;
            };
            if !std::mem::replace(&mut seat.is_credited, true) {
                let quantum = chunk.saturating_mul(weight);
                seat.deficit = seat.deficit.saturating_add(quantum).min(quantum.saturating_mul(2));
            }
            if !seat.is_ready {
                seat.is_taken = false;
                self.turn.pop_front();
            } else if seat.deficit > 0 {
                return Some(id);
            } else {
                seat.is_credited = false;
                self.turn.rotate_left(1);
            }
        }
    }
}

/// The rounds of all bands, themselves in a round: each gets bytes in proportion to its weight.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) all: [Round; 5],
    weights: [u16; 5],
    current: usize,
}

impl Rounds {
    pub(crate) fn new(weights: [u16; 5]) -> Self {
        Self { all: Default::default(), weights: weights.map(|weight| weight.max(1)), current: 0 }
    }

    fn any_ready(&self) -> bool {
        self.all.iter().any(Round::any_ready)
    }

    /// Whose turn it is; the same until it was charged, or stops waiting, or somebody comes back for the rest of a turn.
    pub(crate) fn head(&mut self, now: Instant, chunk: i64, streams: &mut Streams) -> Option<StreamId> {
        while self.any_ready() {
            let places = self.all.len();
            let next = (0..places)
                .map(|n| (self.current + n) % places)
                .find(|at| self.all.get(*at).is_some_and(|round| round.any_ready() && round.deficit > 0));
            if let Some(at) = next {
                self.current = at;
                return self.all.get_mut(at)?.head(chunk, streams);
            }
            self.current = (self.current + 1) % places;
            self.credit(now, chunk);
        }
        None
    }

    /// A new round: the heaviest band is owed a chunk more, the others their part of one. So no band has many chunks in a
    /// row, and a band that nobody waits in saves up for as long as its streams may be back.
    fn credit(&mut self, now: Instant, chunk: i64) {
        let heaviest = i64::from(self.weights.iter().copied().max().unwrap_or(1));
        for (round, weight) in self.all.iter_mut().zip(self.weights) {
            let quantum = (chunk.saturating_mul(i64::from(weight)) / heaviest).max(1);
            let is_here = round.any_ready() || now.since(round.last_at) <= STAYS;
            let most = if is_here { chunk.max(quantum.saturating_mul(2)) } else { 0 };
            round.deficit = round.deficit.saturating_add(quantum).min(most);
        }
    }

    /// Charges a band for what one of its streams was given.
    pub(crate) fn charge(&mut self, round: usize, bytes: i64, chunk: i64, now: Instant) {
        if let Some(round) = self.all.get_mut(round) {
            // What it got as its floor while no other had a turn is not held against it for ever.
            let least = chunk.saturating_mul(-4);
            round.deficit = round.deficit.saturating_sub(bytes).max(least);
            round.last_at = now;
        }
    }

    /// Gives back to a band what did not move.
    pub(crate) fn give_back(&mut self, round: usize, bytes: i64) {
        if let Some(round) = self.all.get_mut(round) {
            round.deficit = round.deficit.saturating_add(bytes);
        }
    }
}
