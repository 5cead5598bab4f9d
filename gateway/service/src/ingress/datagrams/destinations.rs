//! What an association knows of each destination: its flow is open, or being opened while the first datagrams wait, or was
//! refused a moment ago. Decides nothing about permissions; it says which datagrams go, wait or are dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mexe_model::{Instant, Reason};
use mexe_wire::socks5::Datagram;

use super::passage::Passage;
use crate::runs::Run;

/// Destinations that an association deals with at once, those that were refused just now among them.
pub(super) const MOST: usize = 256;
/// Datagrams that wait for one destination. The first ones: they are what an exchange begins with, and what its sender
/// will repeat.
const MOST_HELD: usize = 8;
/// The same in bytes.
const MOST_HELD_BYTES: usize = 64 * 1024;
/// Bytes that wait in one run, all associations together.
const MOST_HELD_OF_A_RUN: usize = 1024 * 1024;
/// For so long a refusal answers for the next datagrams too, if the policy stays as it is.
pub(super) const REFUSAL_STANDS: Duration = Duration::from_secs(1);

/// All destinations of one association.
pub(super) struct Destinations {
    run: Arc<Run>,
    all: HashMap<Arc<[u8]>, State>,
    /// Those that are not refused.
    live: usize,
}

enum State {
    /// It is being decided on, asked about, resolved or connected.
    Opening(Held),
    /// Its flow is open.
    Open(Box<Passage>),
    /// It may not be sent to.
    Refused { reason: Reason, until: Instant, epoch: u64 },
}

/// What is to become of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It went, waits, or was more than its flow may send.
    Done,
    /// It goes nowhere.
    Dropped(Reason),
    /// There are too many destinations.
    NoRoom,
    /// It waits, and its destination is to be opened under this key.
    Begins(Arc<[u8]>),
}

/// How long a refusal stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stands {
    pub(super) time: Duration,
    pub(super) epoch: u64,
}

impl Destinations {
    pub(super) fn new(run: Arc<Run>) -> Self {
        Self { run, all: HashMap::new(), live: 0 }
    }

    /// Whether one is open or being opened.
    pub(super) const fn any_live(&self) -> bool {
        self.live > 0
    }

    /// The way to a destination whose flow is open.
    pub(super) fn open(&mut self, key: &[u8]) -> Option<&mut Passage> {
        match self.all.get_mut(key) {
            Some(State::Open(passage)) => Some(passage),
            _ => None,
        }
    }

    /// A datagram of the app. `epoch` tells the state of the policy.
    pub(super) fn offer(
        &mut self,
        datagram: Datagram<'_>,
        now: Instant,
        epoch: impl FnOnce() -> u64,
    ) -> Fate {
        let key = datagram.destination.as_bytes();
        let is_new = match self.all.get_mut(key) {
            Some(State::Open(passage)) => {
                let mut fate = Fate::Done;
                passage.send([datagram.payload], now, |reason| fate = Fate::Dropped(reason));
                return fate;
            }
            Some(State::Opening(held)) => {
                // Held back by what waits in front of it: nobody is to send faster than it is decided.
                return if held.keep(datagram.payload) {
                    Fate::Done
                } else {
                    Fate::Dropped(Reason::LimitRate)
                };
            }
            Some(State::Refused { reason, until, epoch: then }) if now < *until && *then == epoch() => {
                return Fate::Dropped(*reason);
            }
            Some(State::Refused { .. }) => false,
            None => true,
        };
        if is_new && self.all.len() >= MOST && !self.forget_a_refusal() {
            return Fate::NoRoom;
        }
        let key: Arc<[u8]> = key.into();
        let mut held = Held { run: Arc::clone(&self.run), datagrams: Vec::new(), bytes: 0 };
        held.keep(datagram.payload);
        self.put(Arc::clone(&key), State::Opening(held));
        Fate::Begins(key)
    }

    /// A flow is open: what waited goes, in its order. Tells why some of it did not.
    pub(super) fn opened(&mut self, key: &Arc<[u8]>, mut passage: Passage, now: Instant) -> Vec<Reason> {
        let held = match self.all.get_mut(key) {
            Some(State::Opening(held)) => std::mem::take(&mut held.datagrams),
            _ => Vec::new(),
        };
        let mut dropped = Vec::new();
        passage.send(held.iter().map(|payload| &**payload), now, |reason| dropped.push(reason));
        self.put(Arc::clone(key), State::Open(Box::new(passage)));
        dropped
    }

    /// A flow was refused. Tells how many datagrams had waited for it.
    pub(super) fn refused(&mut self, key: &Arc<[u8]>, reason: Reason, stands: Stands, now: Instant) -> u64 {
        let lost = match self.all.get(key) {
            Some(State::Opening(held)) => u64::try_from(held.datagrams.len()).unwrap_or(u64::MAX),
            _ => 0,
        };
        let (until, epoch) = (now.after(stands.time), stands.epoch);
        self.put(Arc::clone(key), State::Refused { reason, until, epoch });
        lost
    }

    /// A flow has ended: the next datagram begins another one.
    pub(super) fn ended(&mut self, key: &Arc<[u8]>) {
        self.forget(key);
    }

    fn put(&mut self, key: Arc<[u8]>, state: State) {
        let is_live = state.is_live();
        let was_live = self.all.insert(key, state).is_some_and(|old| old.is_live());
        self.live = (self.live + usize::from(is_live)).saturating_sub(usize::from(was_live));
    }

    fn forget(&mut self, key: &Arc<[u8]>) {
        let was_live = self.all.remove(key).is_some_and(|old| old.is_live());
        self.live = self.live.saturating_sub(usize::from(was_live));
    }

    /// Makes room by the refusal that stands for the shortest time; false when there is none.
    fn forget_a_refusal(&mut self) -> bool {
        if self.live >= self.all.len() {
            return false;
        }
        let refusals = self.all.iter().filter_map(|(key, state)| match state {
            State::Refused { until, .. } => Some((*until, key)),
            State::Opening(_) | State::Open(_) => None,
        });
        let Some(oldest) = refusals.min_by_key(|(until, _)| *until).map(|(_, key)| Arc::clone(key)) else {
            return false;
        };
        self.forget(&oldest);
        true
    }
}

impl State {
    const fn is_live(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// What waits for one destination.
struct Held {
    run: Arc<Run>,
    datagrams: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Held {
    /// Keeps a datagram; false when there is no room for it.
    fn keep(&mut self, payload: &[u8]) -> bool {
        if self.datagrams.len() >= MOST_HELD || self.bytes + payload.len() > MOST_HELD_BYTES {
            return false;
        }
        let held = self.run.held.fetch_add(payload.len(), Ordering::Relaxed);
        self.bytes += payload.len();
        if held + payload.len() > MOST_HELD_OF_A_RUN {
            self.run.held.fetch_sub(payload.len(), Ordering::Relaxed);
            self.bytes -= payload.len();
            return false;
        }
        self.datagrams.push(payload.into());
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.run.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use mexe_model::{Groups, Trust, WallTime};
    use mexe_policy::RunBinding;
    use mexe_wire::socks5::{client, datagram};
    use mexe_wire::{RawHost, Target};

    use super::*;
    use crate::runs::{NewRun, Runs};

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    fn run() -> Arc<Run> {
        let new = NewRun {
            app: "a".parse().unwrap(),
            trust: Trust::Untrusted,
            qos_profile: None,
            root: None,
            groups: Groups::ALL,
            legacy: false,
            binding: RunBinding::Token,
            process: None,
            rate: None,
        };
        Runs::new(1).begin(new, at(0), WallTime::from_secs(0)).unwrap().0
    }

    fn offer(all: &mut Destinations, port: u16, payload: &[u8], now: Instant, epoch: u64) -> Fate {
        let host = RawHost::Address([192, 0, 2, 1].into());
        let mut bytes = client::datagram(&Target { host, port }, payload).unwrap();
        all.offer(datagram(&mut bytes).unwrap(), now, || epoch)
    }

    fn begins(fate: Fate) -> Arc<[u8]> {
        let Fate::Begins(key) = fate else { panic!("{fate:?}") };
        key
    }

    #[test]
    fn eight_datagrams_or_64_kilobytes_wait_for_a_destination() {
        let run = run();
        let mut all = Destinations::new(Arc::clone(&run));
        begins(offer(&mut all, 1, b"0", at(0), 1));
        for n in 1..8 {
            assert_eq!(offer(&mut all, 1, &[n], at(0), 1), Fate::Done);
        }
        assert_eq!(offer(&mut all, 1, b"8", at(0), 1), Fate::Dropped(Reason::LimitRate));
        begins(offer(&mut all, 2, &[0; 40_000], at(0), 1));
        assert_eq!(offer(&mut all, 2, &[0; 40_000], at(0), 1), Fate::Dropped(Reason::LimitRate));
        assert_eq!(offer(&mut all, 2, &[0; 25_536], at(0), 1), Fate::Done);
        assert_eq!(run.held.load(Ordering::Relaxed), 8 + 65_536);
        for port in 3..40 {
            begins(offer(&mut all, port, &[0; 60_000], at(0), 1));
        }
        assert!(run.held.load(Ordering::Relaxed) <= MOST_HELD_OF_A_RUN);
        drop(all);
        assert_eq!(run.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_refusal_answers_for_a_second_or_until_the_policy_changes() {
        let mut all = Destinations::new(run());
        let stands = Stands { time: REFUSAL_STANDS, epoch: 7 };
        let key = begins(offer(&mut all, 1, b"one", at(10), 7));
        assert!(all.any_live());
        offer(&mut all, 1, b"two", at(10), 7);
        assert_eq!(all.refused(&key, Reason::PermissionMissing, stands, at(10)), 2);
        assert!(!all.any_live());
        let dropped = Fate::Dropped(Reason::PermissionMissing);
        assert_eq!(offer(&mut all, 1, b"three", at(10), 7), dropped);
        begins(offer(&mut all, 1, b"four", at(11), 7));
        assert_eq!(all.refused(&key, Reason::PermissionMissing, stands, at(11)), 1);
        begins(offer(&mut all, 1, b"five", at(11), 8));
    }

    #[test]
    fn refusals_make_room_and_flows_do_not() {
        let mut all = Destinations::new(run());
        let stands = Stands { time: REFUSAL_STANDS, epoch: 1 };
        for port in 1..=300 {
            let key = begins(offer(&mut all, port, b"", at(port.into()), 1));
            all.refused(&key, Reason::PermissionMissing, stands, at(port.into()));
        }
        assert_eq!(all.all.len(), MOST);
        for port in 1001..1001 + 256 {
            begins(offer(&mut all, port, b"", at(1000), 1));
        }
        assert_eq!(offer(&mut all, 2000, b"", at(1000), 1), Fate::NoRoom);
        let first = begins_again(&mut all);
        all.ended(&first);
        begins(offer(&mut all, 2000, b"", at(1000), 1));
    }

    fn begins_again(all: &mut Destinations) -> Arc<[u8]> {
        Arc::clone(all.all.keys().next().unwrap())
    }
}
