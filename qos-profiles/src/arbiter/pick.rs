//! Who is next: where a stream waits, and the order in which those that may go are granted their chunks.

use std::cmp::Reverse;
use std::collections::VecDeque;

use mexe_model::Instant;

use super::Arbiter;
use super::police::KEPT;
use super::round::APP;
use super::terms::{BACKGROUND, Given, Group, StreamId};
use crate::two_rate::Colour;

/// Who is next, and as what.
#[derive(Clone, Copy)]
pub(super) enum Next {
    /// Within its guarantee.
    Green(StreamId),
    /// By the floor of the background.
    Floor(StreamId),
    /// By its turn.
    Yellow(StreamId),
}

impl Arbiter {
    /// Puts a stream that waits where its rates allow: among the guaranteed, into its round, or to sleep.
    pub(super) fn classify(&mut self, id: StreamId, now: Instant) {
        if !self.has_turn(id, now) || !self.is_let_go(id, now) {
            return;
        }
        let Some(wants) = self.streams.get(id).and_then(|stream| stream.wants) else { return };
        let Some((meter, is_limited)) = self.streams.meter(id) else { return };
        meter.fill(now);
        let is_green = meter.committed.depth() > 0 && meter.committed.holds(wants);
        let is_yellow = !is_limited || meter.excess.depth() > 0 && meter.excess.holds(wants);
        let green_at = if is_green { None } else { meter.committed.when(wants) };
        let yellow_at = if is_yellow { None } else { meter.excess.when(wants) };
        let Some(stream) = self.streams.get_mut(id) else { return };
        let band = stream.terms.band;
        let round = band.round();
        if is_green && !std::mem::replace(&mut stream.is_in_green, true) {
            let queue = if band.is_strict() { &mut self.strict } else { &mut self.green };
            queue.push_back(id);
        }
        if is_yellow && let Some(round) = self.rounds.all.get_mut(round) {
            round.ready(id, now, &mut self.streams);
        }
        if let Some(at) = [green_at, yellow_at].into_iter().flatten().min() {
            self.set_timer(id, at);
        }
    }

    /// Whether the app of the stream lets it go ahead; if not, it has its turn among the app's streams.
    fn is_let_go(&mut self, id: StreamId, now: Instant) -> bool {
        let Some(stream) = self.streams.get(id) else { return false };
        let Some(group) = stream.terms.group.filter(|_| !stream.is_let_go) else { return true };
        let Some(app) = self.streams.groups.get_mut(&group) else { return true };
        // Taken out for as long as the streams are needed as well.
        let mut round = std::mem::take(&mut app.round);
        round.ready(id, now, &mut self.streams);
        if let Some(app) = self.streams.groups.get_mut(&group) {
            app.round = round;
        }
        self.serve_app(group, now);
        self.streams.get(id).is_some_and(|stream| stream.is_let_go && stream.wants.is_some())
    }

    /// Lets the streams of an app go ahead as far as its maximum allows, each in its turn.
    pub(super) fn serve_app(&mut self, group: Group, now: Instant) {
        let bearers = self.quantum();
        let Some(app) = self.streams.groups.get_mut(&group) else { return };
        // At a low rate a chunk of the bearer's is a long time.
        let quantum = bearers.min(i64::try_from(app.chunk).unwrap_or(i64::MAX));
        app.bucket.fill(now);
        let mut round = std::mem::take(&mut app.round);
        while let Some(id) = round.head(quantum, &mut self.streams) {
            let Some(wants) = self.streams.get(id).and_then(|stream| stream.wants) else {
                round.unready(id, &mut self.streams);
                continue;
            };
            let Some(app) = self.streams.groups.get_mut(&group) else { break };
            if !app.bucket.holds(wants) {
                if let Some(at) = app.bucket.when(wants) {
                    self.set_timer(id, at);
                }
                break;
            }
            app.bucket.take(wants);
            round.unready(id, &mut self.streams);
            if let Some(seat) = self.streams.seat(id, APP) {
                seat.deficit = seat.deficit.saturating_sub(i64::try_from(wants).unwrap_or(i64::MAX));
            }
            if let Some(stream) = self.streams.get_mut(id) {
                stream.is_let_go = true;
            }
            self.let_go.push(id);
        }
        if let Some(app) = self.streams.groups.get_mut(&group) {
            app.round = round;
        }
    }

    /// Looks at a stream again at that time, or before.
    fn set_timer(&mut self, id: StreamId, at: Instant) {
        if let Some(stream) = self.streams.get_mut(id)
            && stream.timer.is_none_or(|set| at < set)
        {
            stream.timer = Some(at);
            self.timers.push(Reverse((at, id)));
        }
    }

    /// A timer fired.
    pub(super) fn fire(&mut self, id: StreamId, at: Instant, now: Instant) {
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.timer == Some(at)) else { return };
        stream.timer = None;
        let kept_until = stream.last_at.map_or(now, |last| last.after(KEPT));
        if stream.wants.is_some() {
            self.classify(id, now);
        } else if stream.is_policed && stream.given.is_some() {
            if kept_until <= now {
                // No datagram came for the turn that was kept.
                self.withdraw(id, now);
            } else {
                self.set_timer(id, kept_until);
            }
        }
    }

    /// Who is to be granted a chunk now. `None`: nobody waits, or the bearer has no bytes for whoever is next.
    pub(super) fn next_stream(&mut self, now: Instant) -> Option<Next> {
        self.bearer_at = None;
        let mut strict = self.first(true, now);
        if let Some((id, wants)) = strict
            && self.strict_share.holds(wants)
        {
            return self.is_held(wants).then_some(Next::Green(id));
        }
        // The last chunk is kept for those above.
        let kept = if self.capacity.is_some() { self.chunk } else { 0 };
        let quantum = self.quantum();
        if let Some(background) = self.rounds.all.get_mut(BACKGROUND)
            && background.any_ready()
            && self.capacity.is_some()
            && let Some(id) = background.head(quantum, &mut self.streams)
            && let Some(wants) = self.streams.get(id).and_then(|stream| stream.wants)
            && self.floor.holds(wants)
            && self.is_still_yellow(id, wants, now)
        {
            return self.is_held(wants.saturating_add(kept)).then_some(Next::Floor(id));
        }
        let turn = self.turn(now);
        if let Some((id, wants)) = turn
            && self.turns.holds(wants)
        {
            return self.is_held(wants.saturating_add(kept)).then_some(Next::Yellow(id));
        }
        if let Some((id, wants)) = strict.take().or_else(|| self.first(false, now)) {
            return self.is_held(wants.saturating_add(kept)).then_some(Next::Green(id));
        }
        let (id, wants) = turn?;
        self.is_held(wants.saturating_add(kept)).then_some(Next::Yellow(id))
    }

    /// Whose turn it is, and what it wants.
    fn turn(&mut self, now: Instant) -> Option<(StreamId, u64)> {
        let quantum = self.quantum();
        loop {
            let id = self.rounds.head(now, quantum, &mut self.streams)?;
            let wants = self.streams.get(id)?.wants?;
            if self.is_still_yellow(id, wants, now) {
                return Some((id, wants));
            }
        }
    }

    /// Whether the stream that has its turn is within its maximum: since it was found to be, a datagram may have taken
    /// what was there. If not, it waits for that again.
    fn is_still_yellow(&mut self, id: StreamId, wants: u64, now: Instant) -> bool {
        let Some((meter, is_limited)) = self.streams.meter(id) else { return false };
        meter.fill(now);
        if !is_limited || meter.excess.holds(wants) {
            return true;
        }
        let again = [meter.committed.when(wants), meter.excess.when(wants)].into_iter().flatten().min();
        let round = self.streams.get(id).map_or(0, |stream| stream.terms.band.round());
        if let Some(round) = self.rounds.all.get_mut(round) {
            round.unready(id, &mut self.streams);
        }
        if let Some(at) = again {
            self.set_timer(id, at);
        }
        false
    }

    /// Whether the bearer has so many bytes; notes when it will.
    fn is_held(&mut self, bytes: u64) -> bool {
        if self.capacity.is_none() || self.bearer.holds(bytes) {
            return true;
        }
        self.bearer_at = self.bearer.when(bytes);
        false
    }

    pub(super) fn grant(&mut self, next: Next, now: Instant) -> StreamId {
        let (id, colour) = match next {
            Next::Green(id) => (id, Colour::Green),
            Next::Floor(id) | Next::Yellow(id) => (id, Colour::Yellow),
        };
        let Some(stream) = self.streams.get_mut(id) else { return id };
        let Some(bytes) = stream.wants.take() else { return id };
        let round = stream.terms.band.round();
        stream.is_let_go = false;
        let given = Given { bytes, colour };
        stream.given = Some(given);
        self.waiting = self.waiting.saturating_sub(1);
        self.untaken = self.untaken.saturating_add(bytes);
        let is_policed = stream.is_policed;
        if colour == Colour::Green && std::mem::take(&mut stream.is_in_green) {
            let is_strict = stream.terms.band.is_strict();
            self.queue(is_strict).pop_front();
        }
        if let Some(round) = self.rounds.all.get_mut(round) {
            round.unready(id, &mut self.streams);
        }
        self.charge(id, given, now);
        if matches!(next, Next::Yellow(_)) {
            self.turns.take(bytes);
        }
        if is_policed {
            self.set_timer(id, now.after(KEPT));
        }
        self.pass_turn(id);
        id
    }

    fn queue(&mut self, is_strict: bool) -> &mut VecDeque<StreamId> {
        if is_strict { &mut self.strict } else { &mut self.green }
    }

    /// The first, of the strict or of the others, that waits and is within its guarantee; and what it wants.
    fn first(&mut self, is_strict: bool, now: Instant) -> Option<(StreamId, u64)> {
        while let Some(id) = self.queue(is_strict).front().copied() {
            let stands = self.streams.stands(id);
            let wants = self.streams.get(id).and_then(|stream| stream.wants).filter(|_| stands);
            let mut again = None;
            if let Some((wants, (meter, _))) = wants.zip(self.streams.meter(id)) {
                meter.fill(now);
                if meter.colour(wants) == Colour::Green {
                    return Some((id, wants));
                }
                again = meter.committed.when(wants);
            }
            self.queue(is_strict).pop_front();
            if let Some(stream) = self.streams.get_mut(id) {
                stream.is_in_green = false;
            }
            // A datagram may have taken what was there.
            if let Some(at) = again {
                self.set_timer(id, at);
            }
        }
        None
    }
}
