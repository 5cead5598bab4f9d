//! The flows that are open now: what the API lists and what a scrape adds up. A lock is taken when a flow opens and when
//! it ends, never while bytes move.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mexe_model::{AppId, FlowId, GrantId, RunId, StreamId, Trust, WallTime};
use mexe_qos::TrafficClass;
use mexe_relay::LeaseHandle;

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
    /// When it opened.
    pub opened: WallTime,
    /// Its lease, which counts the bytes.
    pub lease: LeaseHandle,
    /// Its series.
    pub series: FlowSeries,
    /// Bytes already told to the series, up and down.
    pub told: Arc<(AtomicU64, AtomicU64)>,
}

impl Entry {
    /// Tells the series what moved since the last time.
    pub fn settle(&self) {
        let (up, down) = (self.lease.bytes_up(), self.lease.bytes_down());
        let new_up = up.saturating_sub(self.told.0.fetch_max(up, Ordering::AcqRel));
        let new_down = down.saturating_sub(self.told.1.fetch_max(down, Ordering::AcqRel));
        self.series.moved(new_up, new_down);
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
    pub fn add(&self, entry: Entry) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.id, entry);
    }

    /// A flow has another class from now on; what it moved before stays counted under the old one.
    pub fn reclass(&self, id: FlowId, class: TrafficClass, series: FlowSeries) {
        match self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&id) {
            Some(entry) => {
                entry.settle();
                entry.class = class;
                std::mem::replace(&mut entry.series, series).closed();
            }
            None => series.closed(),
        }
    }

    /// A flow ended: its last bytes are told, and it is no longer listed.
    pub fn remove(&self, id: FlowId) {
        let entry = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(entry) = entry {
            entry.settle();
            entry.series.closed();
        }
    }

    /// Tells every open flow's series what moved.
    pub fn settle(&self) {
        for entry in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            entry.settle();
        }
    }

    /// The app of each open flow.
    pub fn apps(&self) -> Vec<AppId> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .map(|entry| entry.app.clone())
            .collect()
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
        let mut entries: Vec<Entry> =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        entries.sort_by_key(|entry| entry.id);
        entries.iter().map(Entry::shown).collect()
    }
}
