//! The ledger of open leases: finds every flow that rests on a run, an app, a grant or a root, and takes its lease back.
//! Does not decide that something is revoked. Called by the service: `open` for each flow before it connects, `revoke` on
//! every change that narrows, `list` to show what is open.
//!
//! The rule that makes a revoke find every flow: whoever narrows publishes the new policy epoch first and revokes second;
//! a flow opens its lease first and compares the epoch second. Whatever the order, one of the two sees the other. A revoke
//! looks at every open lease (two microseconds for each hundred); that is rare, and keeps a lease small.

use std::collections::HashMap;
use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::sync::{Arc, PoisonError};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

use mexe_model::{AppId, FlowId, GrantId, Instant, Reason, RootId, RunId};

use crate::lease::{Lease, LeaseHandle, Shared};

/// What a flow is and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseKeys {
    /// The flow.
    pub flow: FlowId,
    /// The run that asked for it.
    pub run: RunId,
    /// The app of the run.
    pub app: AppId,
    /// The grant that covers the connection.
    pub grant: Option<GrantId>,
    /// The grant that covers its traffic class, when that is above background.
    pub qos_grant: Option<GrantId>,
    /// The root that the app's verdict ends in.
    pub root: Option<RootId>,
}

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Everything.
    All,
    /// Every flow of an app.
    App(AppId),
    /// One flow.
    Flow(FlowId),
    /// Every flow that rests on a grant, for the connection or for its class.
    Grant(GrantId),
    /// Every flow of the apps that a root vouches for.
    Root(RootId),
    /// Every flow of a run.
    Run(RunId),
}

/// The totals of a lease that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What the flow was and rested on.
    pub keys: LeaseKeys,
    /// Bytes handed to the upstream socket.
    pub bytes_up: u64,
    /// Bytes handed to the client socket.
    pub bytes_down: u64,
    /// When it was opened.
    pub opened: Instant,
    /// Why the lease was taken back; `None` when the flow ended by itself.
    pub reason: Option<Reason>,
}

/// What a revoke took back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Everything that rested on it.
    pub leases: usize,
    /// The flows among it.
    pub flows: usize,
}

impl Add for Revoked {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { leases: self.leases + other.leases, flows: self.flows + other.flows }
    }
}

impl Sum for Revoked {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// Every open lease. Cheap to clone; all clones are one ledger.
#[derive(Clone)]
pub struct Leases(Arc<Inner>);

type Shard = HashMap<u64, Arc<Shared>>;

struct Inner {
    /// Several locks, so that flows that open at once seldom wait for each other, nor long for a revoke.
    shards: [Mutex<Shard>; SHARDS],
    next: AtomicU64,
    on_close: Box<dyn Fn(Closed) + Send + Sync>,
}

#[cfg(not(loom))]
const SHARDS: usize = 16;
#[cfg(loom)]
const SHARDS: usize = 1;

impl Leases {
    /// An empty ledger. `on_close` is called once for each lease, where it is dropped; it must not block.
    pub fn new(on_close: impl Fn(Closed) + Send + Sync + 'static) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Shard::new()));
        Self(Arc::new(Inner { shards, next: AtomicU64::new(0), on_close: Box::new(on_close) }))
    }

    /// Opens a lease for a flow that was allowed under `policy_epoch`. Call it **before** connecting: from its return on a
    /// revoke finds the flow. After connecting ask [`Lease::still_valid`].
    pub fn open(&self, keys: LeaseKeys, policy_epoch: u64, now: Instant) -> Lease {
        self.add(Shared::new(keys, now, true), policy_epoch)
    }

    /// Opens a lease for what is no flow but ends with the same rights: a question that waits, an association, a call, a
    /// stream. It is not counted as a flow that was cut.
    pub fn open_beside(&self, keys: LeaseKeys, policy_epoch: u64, now: Instant) -> Lease {
        self.add(Shared::new(keys, now, false), policy_epoch)
    }

    fn add(&self, shared: Shared, policy_epoch: u64) -> Lease {
        let serial = self.0.next.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(shared);
        self.shard(serial).insert(serial, Arc::clone(&shared));
        Lease { shared, leases: self.clone(), serial, epoch: policy_epoch, waiting: None }
    }

    /// Takes back every lease under the key, those still connecting too. When it has returned, the relay of each moves no
    /// further byte: it looks before every write.
    pub fn revoke(&self, key: &Key, reason: Reason) -> Revoked {
        let mut found = Vec::new();
        self.each(|shared| {
            if covers(key, shared) {
                found.push(Arc::clone(shared));
            }
        });
        // Flows first: with its association's lease gone a flow would end as if it had closed by itself.
        found.sort_by_key(|shared| !shared.is_flow);
        let taken = found.iter().filter(|shared| shared.cancel.cancel(reason));
        taken.map(|shared| Revoked { leases: 1, flows: usize::from(shared.is_flow) }).sum()
    }

    /// Every open lease, in the order of opening.
    pub fn list(&self) -> Vec<LeaseHandle> {
        let mut open = Vec::new();
        self.each(|shared| open.push(LeaseHandle { shared: Arc::clone(shared) }));
        open.sort_by_key(|handle| (handle.shared.opened, handle.shared.keys.flow));
        open
    }

    /// How many leases are open.
    pub fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether no lease is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `change` while no revoke can look at the lease.
    pub(crate) fn locked(&self, serial: u64, change: impl FnOnce()) {
        let _shard = self.shard(serial);
        change();
    }

    pub(crate) fn close(&self, serial: u64, shared: &Shared) {
        // Its own statement: the callback runs without the lock.
        let known = self.shard(serial).remove(&serial);
        if known.is_some() {
            (self.0.on_close)(Closed::from(shared));
        }
    }

    fn each(&self, mut look: impl FnMut(&Arc<Shared>)) {
        for shard in &self.0.shards {
            for shared in lock(shard).values() {
                look(shared);
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
    fn shard(&self, serial: u64) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(serial % SHARDS as u64).unwrap_or(0);
        lock(&self.0.shards[at])
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("open", &self.len()).finish()
    }
}

fn covers(key: &Key, shared: &Shared) -> bool {
    match key {
        Key::All => true,
        Key::App(app) => shared.keys.app == *app,
        Key::Flow(flow) => shared.keys.flow == *flow,
        Key::Grant(grant) => shared.grants().contains(&Some(*grant)),
        Key::Root(root) => shared.keys.root.as_ref() == Some(root),
        Key::Run(run) => shared.keys.run == *run,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a shard is locked can only come from the allocator; the map is whole either way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
