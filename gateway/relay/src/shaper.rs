//! One direction of a bearer, shared by its flows: the arbiter of `mexe-qos` behind a lock, a thread that wakes whom it
//! grants something, and a [`Shaper`] for each flow. Decides nothing itself. A flow of a bearer without limit pays one
//! look at an atomic; any other one short lock for each chunk, no allocation and no message.
//!
//! Why a thread and not a timer of the runtime: that one ticks in milliseconds and runs late under load, and a chunk takes
//! two. What is late all the same the arbiter catches up, within bounds.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use mexe_model::{BitRate, Instant};
use mexe_qos::arbiter::Group;
use mexe_qos::{Arbiter, Shares, StreamId, Terms};

use crate::clock;

/// Wake-ups are not closer together than this: a busy thread would take from the flows what it gives them.
const LEAST_PAUSE: Duration = Duration::from_micros(100);
/// Without anything to wait for, the thread looks whether it is still needed.
const LOOK: Duration = Duration::from_secs(1);

thread_local! {
    /// Whom to wake once the lock is free; kept, so that no grant takes memory.
    static TO_WAKE: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Told how long a flow waited for a grant; must not block.
pub type Waits = Arc<dyn Fn(Duration) + Send + Sync>;

/// One direction of a bearer. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Shaping(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sockets: Sockets,
    state: Mutex<State>,
    /// Rung when the thread has to look earlier than it meant to.
    bell: Condvar,
}

/// What becomes of the kernel's part in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Nothing.
    Untouched,
    /// Its queues are kept short.
    Short,
    /// It holds connections to the rate as well.
    Paced,
}

#[derive(Debug)]
struct State {
    arbiter: Arbiter,
    /// Every flow, in the order of stream numbers.
    seats: Vec<(StreamId, Arc<Seat>)>,
    /// When the thread means to look; `None` while it is at work.
    looks_at: Option<Instant>,
    has_thread: bool,
}

/// What a flow and the arbiter share of a stream.
#[derive(Debug)]
struct Seat {
    /// Nothing limits the stream: it need not ask.
    is_open: AtomicBool,
    /// The most that it is granted at once.
    chunk: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Shaping {
    /// A direction with that capacity; `None` is no limit.
    pub fn new(capacity: Option<BitRate>, shares: Shares) -> Self {
        Self::made(capacity, shares, Sockets::Short)
    }

    /// Likewise, of a network device of this host's: what is granted leaves no faster than it is granted.
    pub fn paced(capacity: Option<BitRate>, shares: Shares) -> Self {
        Self::made(capacity, shares, Sockets::Paced)
    }

    /// Of flows that share a rate and no bearer. Their sockets were not made for short queues, and are left alone.
    pub fn of_no_bearer() -> Self {
        Self::made(None, Shares::default(), Sockets::Untouched)
    }

    fn made(capacity: Option<BitRate>, shares: Shares, sockets: Sockets) -> Self {
        let arbiter = Arbiter::new(capacity, shares, clock::now());
        let state = State { arbiter, seats: Vec::new(), looks_at: None, has_thread: false };
        Self(Arc::new(Shared { sockets, state: Mutex::new(state), bell: Condvar::new() }))
    }

    /// Changes the capacity, for the next chunk on.
    pub fn set_capacity(&self, capacity: Option<BitRate>) {
        self.change(|arbiter, now| arbiter.set_capacity(capacity, now));
    }

    /// The capacity.
    pub fn capacity(&self) -> Option<BitRate> {
        self.0.lock().arbiter.capacity()
    }

    /// Sets the maximum of an app's streams together.
    pub fn set_group(&self, group: Group, maximum: Option<BitRate>, burst: u64) {
        self.change(|arbiter, now| arbiter.set_group(group, maximum, burst, now));
    }

    /// A flow begins, and ends when the handle is dropped. `waits` is told how long it waited for each grant.
    pub fn join(&self, terms: Terms, waits: Option<Waits>) -> Shaper {
        let seat = Arc::new(Seat {
            is_open: AtomicBool::new(false),
            chunk: AtomicU64::new(0),
            waker: Mutex::new(None),
        });
        let id = self.change(|arbiter, now| arbiter.join(terms, now));
        let mut state = self.0.lock();
        let at = state.seats.partition_point(|(other, _)| *other < id);
        state.seats.insert(at, (id, Arc::clone(&seat)));
        state.tell(id);
        drop(state);
        Shaper { shaping: self.clone(), seat, id, granted: 0, waits, waits_since: None }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Arbiter, Instant) -> T) -> T {
        let now = clock::now();
        let mut state = self.0.lock();
        let done = change(&mut state.arbiter, now);
        state.serve(now);
        state.tell_all();
        self.0.leave(state);
        done
    }
}

impl State {
    fn serve(&mut self, now: Instant) {
        let Self { arbiter, seats, .. } = self;
        arbiter.serve(now, |id| wake_later(seats, id));
    }

    /// Tells every flow what its chunk is now.
    fn tell_all(&mut self) {
        for at in 0..self.seats.len() {
            if let Some((id, _)) = self.seats.get(at) {
                self.tell(*id);
            }
        }
    }

    fn tell(&mut self, id: StreamId) {
        let chunk = self.arbiter.chunk(id);
        if let Some(seat) = find(&self.seats, id) {
            seat.chunk.store(chunk, Ordering::Release);
            seat.is_open.store(chunk == u64::MAX, Ordering::Release);
        }
    }
}

/// The list is sorted.
fn find(seats: &[(StreamId, Arc<Seat>)], id: StreamId) -> Option<&Arc<Seat>> {
    let at = seats.binary_search_by(|(other, _)| other.cmp(&id)).ok()?;
    seats.get(at).map(|(_, seat)| seat)
}

fn wake_later(seats: &[(StreamId, Arc<Seat>)], id: StreamId) {
    let waker = find(seats, id).and_then(|seat| seat.lock().take());
    if let Some(waker) = waker {
        TO_WAKE.with_borrow_mut(|list| list.push(waker));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if it did, the books would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees the lock, sees to it that the thread looks in time, and wakes who was granted something.
    fn leave(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let next = state.arbiter.next();
        let is_sooner = match (next, state.looks_at) {
            (Some(next), Some(looks_at)) => next < looks_at,
            _ => false,
        };
        let needs_thread = next.is_some() && !std::mem::replace(&mut state.has_thread, true);
        drop(state);
        if needs_thread {
            let shared = Arc::downgrade(self);
            let made = std::thread::Builder::new().name("shaper".to_owned()).spawn(move || pace(&shared));
            if made.is_err() {
                // Tried again with the next ask; without threads at all a flow that waits ends by its idle time.
                self.lock().has_thread = false;
            }
        } else if is_sooner {
            self.bell.notify_one();
        }
        wake();
    }
}

fn wake() {
    // Taken out for the time of waking, which may free tasks that come back here.
    let mut list = TO_WAKE.take();
    for waker in list.drain(..) {
        waker.wake();
    }
    TO_WAKE.with_borrow_mut(|kept| {
        if kept.capacity() < list.capacity() && kept.is_empty() {
            *kept = list;
        }
    });
}

/// The thread: serves when a grant is due. Ends when the bearer is gone.
fn pace(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let mut state = shared.lock();
        let now = clock::now();
        state.serve(now);
        let next = state.arbiter.next();
        let due = next.map_or(LOOK, |next| next.since(now).clamp(LEAST_PAUSE, LOOK));
        state.looks_at = Some(now.after(due));
        if TO_WAKE.with_borrow(|list| !list.is_empty()) {
            drop(state);
            wake();
            state = shared.lock();
            // Who asked meanwhile may need an earlier look.
            let next = state.arbiter.next();
            if next.is_some_and(|next| state.looks_at.is_none_or(|at| next < at)) {
                state.looks_at = next;
            }
        }
        let pause = state.looks_at.map_or(LOOK, |at| at.since(clock::now()).max(LEAST_PAUSE));
        let (mut state, _) = shared.bell.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
        state.looks_at = None;
    }
}

/// A flow's place on a direction of a bearer.
pub struct Shaper {
    shaping: Shaping,
    seat: Arc<Seat>,
    id: StreamId,
    /// Bytes of the last grant that are not settled.
    granted: u64,
    waits: Option<Waits>,
    waits_since: Option<Instant>,
}

impl fmt::Debug for Shaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shaper").field("id", &self.id).field("chunk", &self.chunk()).finish_non_exhaustive()
    }
}

impl Shaper {
    /// The most that is worth reading at once, bytes; `u64::MAX` where nothing limits the flow.
    pub fn chunk(&self) -> u64 {
        self.seat.chunk.load(Ordering::Acquire)
    }

    pub(crate) fn sockets(&self) -> Sockets {
        self.shaping.0.sockets
    }

    /// Asks to move up to so many bytes now; settle with [`Shaper::settle`]. With `None` nothing may move yet, and `waker`
    /// is woken when something may.
    pub fn ask(&mut self, bytes: u64, waker: &Waker) -> Option<u64> {
        if bytes == 0 || self.seat.is_open.load(Ordering::Acquire) {
            self.granted = 0;
            return Some(bytes);
        }
        let now = clock::now();
        let mut state = self.shaping.0.lock();
        let State { arbiter, seats, .. } = &mut *state;
        let granted = arbiter.ask(self.id, bytes, now, |other| wake_later(seats, other));
        let replaced = match granted {
            // It was granted while it held more bytes than it does now.
            Some(granted) if granted > bytes => {
                arbiter.give_back(self.id, granted - bytes, now);
                None
            }
            Some(_) => None,
            None => {
                let mut place = self.seat.lock();
                match &*place {
                    Some(known) if known.will_wake(waker) => None,
                    _ => place.replace(waker.clone()),
                }
            }
        };
        self.shaping.0.leave(state);
        drop(replaced);
        let granted = granted.map(|granted| granted.min(bytes));
        match granted {
            None => {
                self.waits_since.get_or_insert(now);
            }
            Some(_) => {
                let since = self.waits_since.take().unwrap_or(now);
                self.waits.iter().for_each(|waits| waits(now.since(since)));
            }
        }
        self.granted = granted.unwrap_or(0);
        granted
    }

    /// So many bytes of what was granted have moved; the others are there for somebody else.
    pub fn settle(&mut self, moved: u64) {
        let unused = std::mem::take(&mut self.granted).saturating_sub(moved);
        if unused > 0 {
            let id = self.id;
            let now = clock::now();
            let mut state = self.shaping.0.lock();
            state.arbiter.give_back(id, unused, now);
            state.serve(now);
            self.shaping.0.leave(state);
        }
    }

    /// Whether a datagram of so many bytes may pass: now or never.
    pub fn police(&mut self, bytes: u64) -> bool {
        if self.seat.is_open.load(Ordering::Acquire) {
            return true;
        }
        let now = clock::now();
        let mut state = self.shaping.0.lock();
        let State { arbiter, seats, .. } = &mut *state;
        let passes = arbiter.police(self.id, bytes, now, |other| wake_later(seats, other));
        self.shaping.0.leave(state);
        passes
    }

    /// What changes the flow's terms from elsewhere, for as long as the flow lives.
    pub fn remote(&self) -> ShaperRemote {
        ShaperRemote { shaping: self.shaping.clone(), id: self.id }
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        let now = clock::now();
        let mut state = self.shaping.0.lock();
        // Unsettled: the flow was dropped between a grant and its write.
        if self.granted > 0 {
            state.arbiter.give_back(self.id, self.granted, now);
        }
        state.arbiter.leave(self.id, now);
        if let Ok(at) = state.seats.binary_search_by(|(other, _)| other.cmp(&self.id)) {
            state.seats.remove(at);
        }
        state.serve(now);
        self.shaping.0.leave(state);
        // The waker goes last and outside of the lock: it may be what keeps a task.
        drop(self.seat.lock().take());
    }
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes what a flow gets while it runs.
#[derive(Clone, Debug)]
pub struct ShaperRemote {
    shaping: Shaping,
    id: StreamId,
}

impl ShaperRemote {
    /// New terms, from the next chunk on. Means nothing once the flow has ended.
    pub fn modify(&self, terms: Terms) {
        let id = self.id;
        self.shaping.change(|arbiter, now| arbiter.modify(id, terms, now));
    }
}
