//! Policing of datagrams, and the books of what was granted: each grant is charged to everything that it counts against,
//! and what did not move is given back to all of it.

use std::time::Duration;

use mexe_model::Instant;

use super::round::{APP, BAND};
use super::terms::{Given, StreamId};
use super::{Arbiter, Band};
use crate::bucket::PACKET;
use crate::two_rate::Colour;

/// A stream that was granted nothing for so long, or never, asks seldom.
const SELDOM: Duration = Duration::from_millis(50);
/// How long a turn is kept for the next datagram.
pub(super) const KEPT: Duration = Duration::from_millis(50);

impl Arbiter {
    /// Whether a datagram of so many bytes may pass now: whole or not at all, and never later. It is granted as a chunk is;
    /// a stream whose datagram is dropped keeps its turn for the next one, so that it has its share of a full bearer.
    pub fn police(&mut self, id: StreamId, bytes: u64, now: Instant, granted: impl FnMut(StreamId)) -> bool {
        if bytes == 0 {
            return true;
        }
        let Some(stream) = self.streams.get_mut(id) else { return false };
        stream.is_policed = true;
        let is_seldom = stream.last_at.is_none_or(|last| now.since(last) > SELDOM);
        if bytes > stream.chunk {
            // Of more than a chunk: no turn can be kept for it.
            self.withdraw(id, now);
            return self.pass_now(id, bytes, now);
        }
        // A turn that was kept for a smaller one is no turn for this.
        if stream.wants.is_some_and(|wants| wants < bytes) || stream.given.is_some_and(|g| g.bytes < bytes) {
            self.withdraw(id, now);
        }
        let wants = bytes.max(PACKET.min(self.chunk(id)));
        match self.ask(id, wants, now, granted) {
            Some(got) if got >= bytes => {
                self.give_back(id, got - bytes, now);
                true
            }
            Some(got) => {
                self.give_back(id, got, now);
                false
            }
            // Who asks seldom need not wait for a turn: a name is looked up beside any download.
            None if is_seldom && self.sparse.holds(bytes) && self.pass_now(id, bytes, now) => {
                self.sparse.take(bytes);
                true
            }
            None => false,
        }
    }

    /// Lets a datagram pass by if the bearer and the rates of the stream hold it, whosever turn it is.
    fn pass_now(&mut self, id: StreamId, bytes: u64, now: Instant) -> bool {
        let is_held = self.capacity.is_none() || self.bearer.holds(bytes);
        let in_group = self.streams.group(id).is_none_or(|app| {
            app.bucket.fill(now);
            app.bucket.holds(bytes)
        });
        let Some((meter, is_limited)) = self.streams.meter(id) else { return false };
        meter.fill(now);
        let colour = match meter.colour(bytes) {
            Colour::Red if !is_limited => Colour::Yellow,
            colour => colour,
        };
        if !is_held || !in_group || colour == Colour::Red {
            return false;
        }
        if let Some(app) = self.streams.group(id) {
            app.bucket.take(bytes);
        }
        self.charge(id, Given { bytes, colour }, now);
        true
    }

    pub(super) fn charge(&mut self, id: StreamId, given: Given, now: Instant) {
        let Given { bytes, colour } = given;
        self.bearer.take(bytes);
        self.granted_at = Some(now);
        if let Some((meter, _)) = self.streams.meter(id) {
            meter.take(colour, bytes);
        }
        self.charge_turn(id, i64::try_from(bytes).unwrap_or(i64::MAX));
        let Some(stream) = self.streams.get_mut(id) else { return };
        (stream.last, stream.last_at) = (given, Some(now));
        let band = stream.terms.band;
        if band == Band::Background {
            self.floor.take(bytes);
        }
        if colour == Colour::Green {
            if band.is_strict() {
                self.strict_share.take(bytes);
            }
            return;
        }
        let cost = i64::try_from(bytes).unwrap_or(i64::MAX);
        if let Some(seat) = stream.seats.get_mut(BAND) {
            seat.deficit = seat.deficit.saturating_sub(cost);
        }
        self.rounds.charge(band.round(), cost, self.quantum(), now);
    }

    pub(super) fn uncharge(&mut self, id: StreamId, unused: Given) {
        let Given { bytes, colour } = unused;
        self.bearer.give_back(bytes);
        self.give_back_to_app(id, bytes);
        if let Some((meter, _)) = self.streams.meter(id) {
            meter.give_back(colour, bytes);
        }
        self.charge_turn(id, i64::try_from(bytes).map_or(i64::MIN, |bytes| -bytes));
        let Some(stream) = self.streams.get_mut(id) else { return };
        let band = stream.terms.band;
        if band == Band::Background {
            self.floor.give_back(bytes);
        }
        if colour == Colour::Green {
            if band.is_strict() {
                self.strict_share.give_back(bytes);
            }
            return;
        }
        let cost = i64::try_from(bytes).unwrap_or(i64::MAX);
        if let Some(seat) = stream.seats.get_mut(BAND) {
            seat.deficit = seat.deficit.saturating_add(cost);
        }
        self.rounds.give_back(band.round(), cost);
    }

    pub(super) fn give_back_to_app(&mut self, id: StreamId, bytes: u64) {
        if let Some(app) = self.streams.group(id) {
            app.bucket.give_back(bytes);
            if let Some(seat) = self.streams.seat(id, APP) {
                seat.deficit = seat.deficit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
    }
}
