//! The flows that are open now: what the API lists and what a scrape adds up. A lock is taken when a flow opens and when
//! it ends, never while bytes move.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mexe_journal::Usage;
use mexe_model::{AppId, FlowId, GrantId, Instant, Reason, RunId, StreamId, Trust, WallTime};
use mexe_qos::TrafficClass;
use mexe_relay::LeaseHandle;

use crate::accounting::Accounts;
use crate::bearer::Bearer;
use crate::clock;
use crate::observe::metrics::{FlowSeries, Ingress};

/// One open flow.
#[derive(Clone)]
pub struct Entry {
    /// The flow.
    pub id: FlowId,
    /// Whose it is.
    pub run: RunId,
    /// The app that runs.
    pub app: AppId,
    /// The app's column.
    pub trust: Trust,
    /// Where it was asked to go.
    pub target: Arc<str>,
    /// Where it went.
    pub address: SocketAddr,
    /// Its traffic class.
    pub class: TrafficClass,
    /// The stream that it is one of.
    pub stream: Option<StreamId>,
    /// The door it came in by.
    pub ingress: Ingress,
    /// The grant that covers it.
    pub grant: GrantId,
    /// The bearer that carries it.
    pub bearer: Arc<Bearer>,
    /// The grant to move more than a usage threshold, if it was opened beyond one.
    pub beyond: Option<GrantId>,
    /// When it opened.
    pub opened: WallTime,
    /// Its lease, which counts the bytes.
    pub lease: LeaseHandle,
    /// Its series.
    pub series: FlowSeries,
    /// The same as the time by which it is counted how long it is open.
    pub since: Instant,
    /// What was told already.
    pub told: Arc<Told>,
}

/// What of an open flow was told to its series and its accounts.
#[derive(Debug, Default)]
pub struct Told {
    up: AtomicU64,
    down: AtomicU64,
    dropped_up: AtomicU64,
    dropped_down: AtomicU64,
    millis: AtomicU64,
}

impl Entry {
    /// Tells the series and the accounts what came in since the last time.
    pub fn settle(&self, accounts: &Accounts) {
        let new = |told: &AtomicU64, now: u64| now.saturating_sub(told.fetch_max(now, Ordering::AcqRel));
        let up = new(&self.told.up, self.lease.bytes_up());
        let down = new(&self.told.down, self.lease.bytes_down());
        let open = u64::try_from(clock::now().since(self.since).as_millis()).unwrap_or(u64::MAX);
        let millis = new(&self.told.millis, open);
        self.series.moved(up, down);
        self.bearer.moved([up, down]);
        let usage = Usage {
            bytes_up: up,
            bytes_down: down,
            dropped_up: new(&self.told.dropped_up, self.lease.dropped_up()),
            dropped_down: new(&self.told.dropped_down, self.lease.dropped_down()),
            flows: 0,
            flow_ms: millis,
        };
        accounts.add(&self.app, self.class, &self.bearer, usage);
    }

    fn shown(&self) -> serde_json::Value {
        serde_json::json!({
            "id": self.id,
            "run": self.run,
            "app": self.app,
            "domain": self.trust,
            "target": &*self.target,
            "address": self.address.to_string(),
            "class": self.class.as_str(),
            "stream": self.stream,
            "ingress": self.ingress.as_str(),
            "grant": self.grant,
            "bearer": **self.bearer.name(),
            "opened_at": self.opened.to_string(),
            "bytes_up": self.lease.bytes_up(),
            "bytes_down": self.lease.bytes_down(),
        })
    }
}

/// All open flows.
#[derive(Default)]
pub struct Flows {
    open: Mutex<HashMap<FlowId, Entry>>,
}

impl Flows {
    /// A flow opened.
    pub fn add(&self, entry: Entry, accounts: &Accounts) {
        let one = Usage { flows: 1, ..Usage::default() };
        accounts.add(&entry.app, entry.class, &entry.bearer, one);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.id, entry);
    }

    /// A flow has another class from now on; what it moved before stays counted under the old one.
    pub fn reclass(&self, id: FlowId, class: TrafficClass, series: FlowSeries, accounts: &Accounts) {
        match self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&id) {
            Some(entry) => {
                entry.settle(accounts);
                entry.class = class;
                std::mem::replace(&mut entry.series, series).closed();
            }
            None => series.closed(),
        }
    }

    /// A flow ended: its last bytes are told, and it is no longer listed.
    pub fn remove(&self, id: FlowId, accounts: &Accounts) {
        let entry = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(entry) = entry {
            entry.settle(accounts);
            entry.series.closed();
        }
    }

    /// Cuts every flow over that bearer. When it has returned, none of them moves another byte.
    pub fn cut(&self, bearer: &str, reason: Reason) {
        let over = |entry: &&Entry| **entry.bearer.name() == *bearer;
        for entry in self.all().iter().filter(over) {
            entry.lease.cancel(reason);
        }
    }

    /// Tells every open flow's series and accounts what moved.
    pub fn settle(&self, accounts: &Accounts) {
        for entry in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            entry.settle(accounts);
        }
    }

    /// Every open flow.
    pub fn all(&self) -> Vec<Entry> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The apps that hold open flows, and how many each.
    pub fn by_app(&self) -> BTreeMap<AppId, u64> {
        let mut by_app = BTreeMap::new();
        for entry in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            match by_app.get_mut(&entry.app) {
                Some(flows) => *flows += 1,
                None => {
                    by_app.insert(entry.app.clone(), 1_u64);
                }
            }
        }
        by_app
    }

    /// The same, as the API shows it.
    pub fn holders(&self) -> Vec<serde_json::Value> {
        let one = |(app, flows)| serde_json::json!({ "app": app, "flows": flows });
        self.by_app().into_iter().map(one).collect()
    }

    /// The other ends of the open flows of that stream over that bearer, the oldest flow's first.
    pub fn ends_of(&self, stream: StreamId, bearer: &str) -> Vec<SocketAddr> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_one = |entry: &&Entry| entry.stream == Some(stream) && **entry.bearer.name() == *bearer;
        let mut ends: Vec<(FlowId, SocketAddr)> =
            open.values().filter(is_one).map(|entry| (entry.id, entry.address)).collect();
        ends.sort_unstable_by_key(|(id, _)| *id);
        ends.into_iter().map(|(_, end)| end).collect()
    }

    /// How many are open of that stream.
    pub fn of_stream(&self, id: StreamId) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().filter(|entry| entry.stream == Some(id)).count()
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Every open flow, oldest first, as the API shows it.
    pub fn list(&self) -> Vec<serde_json::Value> {
        let mut entries = self.all();
        entries.sort_by_key(|entry| entry.id);
        entries.iter().map(Entry::shown).collect()
    }
}
