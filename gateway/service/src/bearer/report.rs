//! What a bearer's control says of it: up or down, its capacity, its sessions. The one place where a status changes, so that
//! every change is told, and nothing is told that did not change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mexe_qos::Attributes;
use tokio::sync::{broadcast, watch};

use super::{BearerEvent, Capacity, SessionId, Status, What, Why};
use crate::clock;

/// A bearer's status as its control keeps it.
#[derive(Debug)]
pub struct Report {
    name: Arc<str>,
    status: watch::Sender<Status>,
    events: broadcast::Sender<BearerEvent>,
    losses: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What the configuration allows.
    ceiling: Capacity,
    /// What the network says that it carries.
    offered: Capacity,
    sessions: BTreeMap<SessionId, Session>,
}

/// What a bearer keeps for somebody, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What was asked for.
    pub wished: Attributes,
    /// What the network gives.
    pub given: Attributes,
}

static LAST_SESSION: AtomicU64 = AtomicU64::new(0);

impl Report {
    /// Of a bearer that is down for that reason at first.
    pub fn new(name: &str, ceiling: Capacity, events: broadcast::Sender<BearerEvent>, why: Why) -> Self {
        let status = Status { down: Some(why), capacity: ceiling, roaming: None, since: clock::wall() };
        let inner = Inner { ceiling, ..Inner::default() };
        let (status, losses) = (watch::Sender::new(status), AtomicU64::new(0));
        Self { name: name.into(), status, events, losses, inner: Mutex::new(inner) }
    }

    /// The bearer's name.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it is now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// How it is now, and whatever it becomes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// How often it was up and could be used no longer.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Its sessions.
    pub fn sessions(&self) -> BTreeMap<SessionId, Session> {
        self.lock().sessions.clone()
    }

    /// It can be used, and the network says that it carries so much.
    pub fn up(&self, offered: Capacity) {
        let mut inner = self.lock();
        inner.offered = offered;
        let capacity = offered.within(inner.ceiling);
        drop(inner);
        let is_found = self.status.send_if_modified(|status| {
            let was_down = status.down.take().is_some();
            if was_down {
                (status.capacity, status.since) = (capacity, clock::wall());
            }
            was_down
        });
        match is_found {
            true => self.tell(What::Found(capacity)),
            false => self.carries(capacity),
        }
    }

    /// It cannot be used any more: its sessions are gone.
    pub fn down(&self, why: Why) {
        self.lock().sessions.clear();
        let mut was_up = false;
        self.status.send_if_modified(|status| {
            was_up = status.is_up();
            if was_up {
                // Before it is told: who begins to use it in between finds out by himself.
                self.losses.fetch_add(1, Ordering::AcqRel);
                status.since = clock::wall();
            }
            status.down.replace(why.clone()).as_ref() != Some(&why)
        });
        if was_up {
            self.tell(What::Lost(why));
        }
    }

    /// It is on another operator's network from now on, or is not; `None`: nobody can tell.
    pub fn roams(&self, roaming: Option<bool>) {
        let changed =
            self.status.send_if_modified(|status| std::mem::replace(&mut status.roaming, roaming) != roaming);
        if changed {
            self.tell(What::Roaming(roaming));
        }
    }

    /// The network carries so much from now on.
    pub fn offers(&self, offered: Capacity) {
        let mut inner = self.lock();
        inner.offered = offered;
        let capacity = offered.within(inner.ceiling);
        drop(inner);
        self.carries(capacity);
    }

    /// The configuration allows so much from now on.
    pub fn allow(&self, ceiling: Capacity) {
        let mut inner = self.lock();
        inner.ceiling = ceiling;
        let capacity = inner.offered.within(ceiling);
        drop(inner);
        self.carries(capacity);
    }

    fn carries(&self, capacity: Capacity) {
        let changed = self.status.send_if_modified(|status| {
            let changed = status.capacity != capacity;
            status.capacity = capacity;
            changed
        });
        if changed && self.status.borrow().is_up() {
            self.tell(What::Capacity(capacity));
        }
    }

    /// A number for a session that never was.
    pub fn next_session() -> SessionId {
        SessionId(LAST_SESSION.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    /// A session was begun, or changed because somebody asked for it.
    pub fn granted(&self, id: SessionId, wished: Attributes, given: Attributes) {
        self.lock().sessions.insert(id, Session { wished, given });
    }

    /// The network gives that much from now on; nothing happens where it is as before.
    pub fn gives(&self, id: SessionId, given: Attributes) {
        let mut inner = self.lock();
        let Some(session) = inner.sessions.get_mut(&id).filter(|session| session.given != given) else {
            return;
        };
        session.given = given;
        drop(inner);
        self.tell(What::Renegotiated(id, Box::new(given)));
    }

    /// Somebody gave it back; tells whether it was there.
    pub fn released(&self, id: SessionId) -> bool {
        self.lock().sessions.remove(&id).is_some()
    }

    /// The network ended it.
    pub fn ended(&self, id: SessionId, why: Why) {
        if self.released(id) {
            self.tell(What::SessionLost(id, why));
        }
    }

    fn tell(&self, what: What) {
        // Nobody may be listening.
        let _ = self.events.send(BearerEvent { bearer: Arc::clone(&self.name), what });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
