//! One bearer in one direction: who may move the next chunk, and when. Streams ask, the arbiter grants, one chunk at a
//! time and in one place, so that nobody races for tokens. Conversational and signalling streams go first, up to what is
//! guaranteed to them; then the floor of the background, then other guarantees, then deficit round robin over streaming,
//! interactive 1 to 3 and background. All sums are whole, and time is an argument.
//!
//! Whatever is asked, no window of length T holds more than rate x T + [`Arbiter::burst`] granted bytes. Bytes are the
//! payload of streams, not IP packets: a payload rate of 100 is about 104 on the bearer.

mod bundle;
mod pick;
mod police;
mod round;
mod terms;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use mexe_model::{BitRate, Instant};

pub use self::bundle::Bundle;
use self::round::{APP, Round, Rounds, STAYS, Seat};
use self::terms::{App, Given, Stream, Streams, rates};
pub use self::terms::{Band, Group, StreamId, Terms};
use crate::bucket::{Bucket, PACKET, brings};
use crate::two_rate::{Colour, TwoRate};

/// How the capacity is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Parts of a thousand that the background has at least, whatever is guaranteed to others; at most 500.
    pub floor: u16,
    /// Weights of streaming, interactive 1, 2 and 3, and background; 0 counts as 1.
    pub weights: [u16; 5],
}

impl Default for Shares {
    fn default() -> Self {
        // A little above what is promised, 30: the last chunk of a while may still be on its way.
        Self { floor: 31, weights: [16, 8, 4, 2, 1] }
    }
}

/// The time that a chunk takes: no other stream waits longer for one.
const CHUNK: u64 = 2_000_000;
/// Parts of a thousand for all that wait their turn, whatever is guaranteed to others.
const TURNS: u16 = 20;
/// What a bearer may catch up after its grants came late, nanoseconds of its rate: late timers and a busy processor.
const SLACK: u64 = 20_000_000;

/// The arbiter.
#[derive(Debug)]
pub struct Arbiter {
    shares: Shares,
    capacity: Option<BitRate>,
    /// Filled at the capacity; what is in its last chunk is for strict streams.
    bearer: Bucket,
    /// What strict streams may have before the background has had its floor.
    strict_share: Bucket,
    floor: Bucket,
    /// What all that wait their turn have at least, so that guarantees starve nobody.
    turns: Bucket,
    /// What datagrams may have that come seldom.
    sparse: Bucket,
    /// The chunk of the bearer, bytes.
    chunk: u64,
    streams: Streams,
    /// Strict streams, and others, that wait and are within their guarantee.
    strict: VecDeque<StreamId>,
    green: VecDeque<StreamId>,
    rounds: Rounds,
    /// Streams that their apps have just let go ahead, or whose turn it is in their bundle now.
    let_go: Vec<StreamId>,
    /// When a stream that waits for its own rates is to be looked at again.
    timers: BinaryHeap<Reverse<(Instant, StreamId)>>,
    /// Streams that wait for a grant.
    waiting: usize,
    /// Bytes that are granted and not taken.
    untaken: u64,
    /// When a chunk was granted last.
    granted_at: Option<Instant>,
    /// The next time at which the bearer has the bytes for the next chunk.
    bearer_at: Option<Instant>,
}

impl Arbiter {
    /// An arbiter for a bearer of that capacity; `None` is no limit.
    pub fn new(capacity: Option<BitRate>, shares: Shares, now: Instant) -> Self {
        let shares = Shares { floor: shares.floor.min(500), ..shares };
        let mut arbiter = Self {
            shares,
            capacity: None,
            bearer: Bucket::full(0, 0, now),
            strict_share: Bucket::full(0, 0, now),
            floor: Bucket::full(0, 0, now),
            turns: Bucket::full(0, 0, now),
            sparse: Bucket::full(0, 0, now),
            chunk: u64::MAX,
            streams: Streams::default(),
            strict: VecDeque::new(),
            green: VecDeque::new(),
            rounds: Rounds::new(shares.weights),
            let_go: Vec::new(),
            timers: BinaryHeap::new(),
            waiting: 0,
            untaken: 0,
            granted_at: None,
            bearer_at: None,
        };
        arbiter.set_capacity(capacity, now);
        arbiter.bearer.give_back(arbiter.idle_depth());
        let Self { strict_share, floor, turns, sparse, .. } = &mut arbiter;
        for bucket in [strict_share, floor, turns, sparse] {
            bucket.give_back(bucket.depth());
        }
        arbiter
    }

    /// Changes the capacity from now on. Streams keep their places.
    pub fn set_capacity(&mut self, capacity: Option<BitRate>, now: Instant) {
        self.fill(now);
        let was_unlimited = self.capacity.is_none();
        self.capacity = capacity;
        let rate = capacity.map_or(0, BitRate::get);
        self.chunk = capacity.map_or(u64::MAX, |rate| brings(rate.get(), CHUNK).max(PACKET));
        let chunk = if capacity.is_some() { self.chunk } else { 0 };
        let busy = brings(rate, SLACK).max(chunk.saturating_mul(2));
        self.bearer.change(rate, chunk.saturating_add(busy), now);
        let floor = part(rate, self.shares.floor);
        self.floor.change(floor, chunk.saturating_mul(2), now);
        let turns = part(rate, TURNS);
        self.turns.change(turns, chunk.saturating_mul(2), now);
        self.sparse.change(floor, chunk.saturating_mul(2), now);
        self.strict_share.change(rate - floor - turns, busy, now);
        if was_unlimited {
            // What is strict goes at once, as before.
            self.bearer.give_back(chunk);
            self.strict_share.give_back(busy);
        }
        for id in self.streams.ids() {
            self.renew(id, now);
        }
    }

    /// The capacity.
    pub const fn capacity(&self) -> Option<BitRate> {
        self.capacity
    }

    /// The b of "rate x T + b", bytes; `None` for a bearer without limit.
    pub fn burst(&self) -> Option<u64> {
        self.capacity.map(|_| self.bearer.depth())
    }

    /// A stream begins.
    pub fn join(&mut self, terms: Terms, now: Instant) -> StreamId {
        let (rates, is_limited) = rates(&terms, self.capacity, self.common_chunk(), SLACK);
        let meter = TwoRate::new(rates, now);
        let meter = if terms.is_rested { meter } else { meter.spent() };
        let nothing = Given { bytes: 0, colour: Colour::Red };
        let id = self.streams.add(Stream {
            terms,
            meter,
            is_limited,
            chunk: self.chunk,
            wants: None,
            given: None,
            last: nothing,
            // One that is new has had nothing for as long as it is; one that went on elsewhere had something just now.
            last_at: (!terms.is_rested).then_some(now),
            timer: None,
            seats: Default::default(),
            is_let_go: false,
            is_in_green: false,
            is_policed: false,
        });
        self.enter_bundle(id, (rates, is_limited), now);
        self.renew(id, now);
        id
    }

    /// A stream ends. What it was granted and has not taken is there for others.
    pub fn leave(&mut self, id: StreamId, now: Instant) {
        self.withdraw(id, now);
        self.quit_bundle(id);
        self.streams.remove(id);
    }

    /// Changes what a stream gets, from now on; it keeps its place, and is given no new burst.
    pub fn modify(&mut self, id: StreamId, terms: Terms, now: Instant) {
        self.leave_app(id, now);
        self.quit_bundle(id);
        let Some(stream) = self.streams.get(id) else { return };
        let stream_group = stream.terms.group;
        if let Some(round) = self.rounds.all.get_mut(stream.terms.band.round()) {
            round.unready(id, &mut self.streams);
            round.remove(id);
        }
        if let Some(app) = stream_group.and_then(|group| self.streams.groups.get_mut(&group)) {
            app.round.remove(id);
        }
        self.strict.retain(|other| *other != id);
        self.green.retain(|other| *other != id);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.terms = terms;
            stream.seats = Default::default();
            stream.is_in_green = false;
        }
        let rates = rates(&terms, self.capacity, self.common_chunk(), SLACK);
        self.enter_bundle(id, rates, now);
        self.renew(id, now);
    }

    /// Sets the maximum bitrate of an app's streams together; `None` is none.
    pub fn set_group(&mut self, group: Group, maximum: Option<BitRate>, burst: u64, now: Instant) {
        let chunk = maximum.map_or(PACKET, |rate| brings(rate.get(), CHUNK).max(PACKET));
        match (maximum, self.streams.groups.get_mut(&group)) {
            (Some(rate), Some(app)) => {
                app.bucket.change(rate.get(), group_depth(rate, burst, chunk), now);
                app.chunk = chunk;
            }
            (Some(rate), None) => {
                let bucket = Bucket::full(rate.get(), group_depth(rate, burst, chunk), now);
                self.streams.groups.insert(group, App { bucket, chunk, round: Round::of_apps() });
            }
            (None, _) => drop(self.streams.groups.remove(&group)),
        }
        let members = |id: &StreamId| self.streams.get(*id).is_some_and(|s| s.terms.group == Some(group));
        for id in self.streams.ids().into_iter().filter(members).collect::<Vec<_>>() {
            if maximum.is_none()
                && let Some(seat) = self.streams.seat(id, APP)
            {
                *seat = Seat::default();
            }
            self.renew(id, now);
        }
    }

    /// The most that a stream is granted at once, bytes; `u64::MAX` where nothing limits it.
    pub fn chunk(&self, id: StreamId) -> u64 {
        self.streams.get(id).map_or(PACKET, |stream| stream.chunk)
    }

    /// Asks to move up to `bytes` (more than 0) at `now`. Says how many may move now, at most [`Arbiter::chunk`]; with
    /// `None` the stream waits, and [`Arbiter::serve`] tells when it may. To ask again while waiting changes nothing.
    pub fn ask(
        &mut self,
        id: StreamId,
        bytes: u64,
        now: Instant,
        mut granted: impl FnMut(StreamId),
    ) -> Option<u64> {
        // Before it is taken: until now it took its room.
        self.fill(now);
        if let Some(taken) = self.take(id) {
            return Some(taken);
        }
        let stream = self.streams.get_mut(id)?;
        if stream.wants.is_none() {
            let stream = self.streams.get_mut(id)?;
            stream.wants = Some(bytes.clamp(1, stream.chunk));
            self.waiting = self.waiting.saturating_add(1);
            self.classify(id, now);
        }
        self.serve(now, |other| {
            if other != id {
                granted(other);
            }
        });
        self.take(id)
    }

    /// Grants whatever can be granted at `now`, and says to whom. Each of them finds its bytes by asking again.
    pub fn serve(&mut self, now: Instant, mut granted: impl FnMut(StreamId)) {
        self.fill(now);
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            self.fire(id, at, now);
        }
        self.settle_apps(now);
        while let Some(next) = self.next_stream(now) {
            let id = self.grant(next, now);
            granted(id);
            self.settle_apps(now);
        }
    }

    /// Whom their apps have let go ahead, and whose turn it is in their bundle, stand among all others now.
    fn settle_apps(&mut self, now: Instant) {
        while let Some(id) = self.let_go.pop() {
            self.classify(id, now);
        }
    }

    /// When to call [`Arbiter::serve`] again if nobody asks before.
    pub fn next(&self) -> Option<Instant> {
        if self.waiting == 0 && self.untaken == 0 {
            return None;
        }
        if !self.let_go.is_empty() {
            return Some(Instant::default());
        }
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        match (timer, self.bearer_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Gives back what was granted and did not move.
    pub fn give_back(&mut self, id: StreamId, unused: u64, now: Instant) {
        self.fill(now);
        let Some(stream) = self.streams.get_mut(id) else { return };
        let unused = unused.min(stream.last.bytes);
        stream.last.bytes -= unused;
        let last = stream.last;
        self.uncharge(id, Given { bytes: unused, ..last });
    }

    /// The stream waits no longer, and gives back what it has not taken.
    pub fn withdraw(&mut self, id: StreamId, now: Instant) {
        self.fill(now);
        self.leave_app(id, now);
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (wanted, given) = (stream.wants.take(), stream.given.take());
        let round = stream.terms.band.round();
        if wanted.is_some() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        if let Some(round) = self.rounds.all.get_mut(round) {
            round.unready(id, &mut self.streams);
        }
        self.pass_turn(id);
        if let Some(given) = given {
            self.untaken = self.untaken.saturating_sub(given.bytes);
            self.uncharge(id, given);
        }
    }

    fn fill(&mut self, now: Instant) {
        // Only who has waited all the time may catch up; a pause earns no more than the two chunks of a burst.
        let is_busy = self.waiting > 0
            || self.untaken > 0
            || self.granted_at.is_some_and(|granted| now.since(granted) <= STAYS);
        let depth = if is_busy { self.bearer.depth() } else { self.idle_depth() };
        // What is granted and has not moved still takes its room.
        self.bearer.fill_to(now, depth.saturating_sub(self.untaken));
        self.floor.fill(now);
        self.turns.fill(now);
        self.sparse.fill(now);
        self.strict_share.fill(now);
    }

    /// What one turn is worth, bytes.
    fn quantum(&self) -> i64 {
        i64::try_from(self.common_chunk()).unwrap_or(i64::MAX)
    }

    fn idle_depth(&self) -> u64 {
        self.common_chunk().saturating_mul(2)
    }

    /// The chunk of the bearer, or a packet where it has no limit.
    fn common_chunk(&self) -> u64 {
        if self.capacity.is_some() { self.chunk } else { PACKET }
    }

    /// Brings a stream's meter, chunk and wish in line with its terms and the bearer.
    fn renew(&mut self, id: StreamId, now: Instant) {
        let (capacity, common, most) = (self.capacity, self.common_chunk(), self.chunk);
        let group = self.streams.group(id).map(|app| app.chunk);
        let bundled = self.streams.get(id).and_then(|stream| stream.terms.bundle);
        let bundled = bundled.and_then(|bundle| self.streams.bundles.get(&bundle)).map(|own| own.terms);
        let Some(stream) = self.streams.get_mut(id) else { return };
        let terms = bundled.unwrap_or(stream.terms);
        let (rates, is_limited) = rates(&terms, capacity, common, SLACK);
        stream.is_limited = is_limited;
        stream.meter.change(rates, now);
        if let Some(own) = stream.terms.bundle.and_then(|bundle| self.streams.bundles.get_mut(&bundle)) {
            own.is_limited = is_limited;
            own.meter.change(rates, now);
        }
        let Some(stream) = self.streams.get_mut(id) else { return };
        let own = terms.maximum.map_or(u64::MAX, |rate| brings(rate.get(), CHUNK).max(PACKET));
        let bursts = [(rates.committed, rates.committed_burst), (rates.excess, rates.excess_burst)];
        let held = bursts.iter().filter(|(rate, _)| rate.is_some()).map(|(_, burst)| *burst).min();
        let held = held.unwrap_or(u64::MAX);
        stream.chunk = most.min(own).min(held).min(group.unwrap_or(u64::MAX)).max(PACKET);
        if let Some(wants) = stream.wants {
            stream.wants = Some(wants.min(stream.chunk));
            let cut = wants.saturating_sub(stream.chunk);
            let is_let_go = stream.is_let_go;
            let round = stream.terms.band.round();
            if let Some(round) = self.rounds.all.get_mut(round) {
                round.unready(id, &mut self.streams);
            }
            if is_let_go {
                self.give_back_to_app(id, cut);
            }
            self.classify(id, now);
        }
    }

    /// The stream leaves the round of its app, which has back what it was charged.
    fn leave_app(&mut self, id: StreamId, now: Instant) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (is_let_go, wants) = (std::mem::take(&mut stream.is_let_go), stream.wants.unwrap_or(0));
        if is_let_go {
            self.give_back_to_app(id, wants);
        }
        let Some(group) = self.streams.get(id).and_then(|stream| stream.terms.group) else { return };
        let Some(app) = self.streams.groups.get_mut(&group) else { return };
        let mut round = std::mem::take(&mut app.round);
        round.unready(id, &mut self.streams);
        if let Some(app) = self.streams.groups.get_mut(&group) {
            app.round = round;
        }
        // It may have been the one whose turn the others waited for.
        self.serve_app(group, now);
    }

    /// What the stream was granted since it asked.
    fn take(&mut self, id: StreamId) -> Option<u64> {
        let given = self.streams.get_mut(id)?.given.take()?;
        self.untaken = self.untaken.saturating_sub(given.bytes);
        Some(given.bytes)
    }
}

/// So many thousandths of a rate.
fn part(rate: u64, thousandths: u16) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(thousandths) / 1000).unwrap_or(0)
}

/// What comes in while a chunk of it waits for its turn must not be lost.
fn group_depth(rate: BitRate, burst: u64, chunk: u64) -> u64 {
    burst.max(brings(rate.get(), SLACK).saturating_add(chunk))
}

#[cfg(test)]
mod tests;
