//! The registry of streams: which there are, whose they are, what each was granted and has now. Admission is decided here,
//! under one lock, so that two requests never get the same room. Nothing here asks the user or waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mexe_model::{AppId, GrantId, Reason, RunId, StreamId, Trust, WallTime};
use mexe_qos::admission::{self, Admission, Claim, Held, Rates, Reservable};
use mexe_qos::negotiation::{Granted, Most, Request, Source, negotiate};
use mexe_qos::{Marking, Profile, TrafficClass, dscp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::network::Network;
use super::shape::{InUse, Shape};
use crate::flows::Flows;
use crate::gate::Gate;
use crate::refused::Refused;

/// Streams that one run may have at once.
pub(super) const MOST_OF_A_RUN: usize = 64;

/// Every stream.
#[derive(Debug, Default)]
pub struct Streams {
    last: AtomicU64,
    live: Mutex<BTreeMap<StreamId, Live>>,
    /// How many are being seen to, so that a stop can wait for what they give back.
    followed: watch::Sender<usize>,
}

/// The streams, while nobody else changes them.
pub(super) type Locked<'a> = MutexGuard<'a, BTreeMap<StreamId, Live>>;

/// One stream.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: StreamId,
    pub(super) name: Option<String>,
    pub(super) app: AppId,
    pub(super) run: RunId,
    pub(super) trust: Trust,
    pub(super) began: WallTime,
    pub(super) request: Request,
    pub(super) profile: Option<Arc<Profile>>,
    pub(super) granted: Granted,
    /// Why it has less than it asked for and could have had.
    pub(super) lost: Option<Reason>,
    /// The permission for more than best effort, while there is one.
    pub(super) grant: Option<GrantId>,
    /// What the network says to it.
    pub(super) network: Network,
    pub(super) shape: watch::Sender<Shape>,
    /// Cancelled to end the watch over its right.
    pub(super) watched: CancellationToken,
}

/// Whose stream it has to be.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// This run's.
    Run(RunId),
    /// Anybody's: the user asks.
    Anybody,
}

impl Owner {
    const fn owns(self, run: RunId) -> bool {
        match self {
            Self::Run(own) => own.0 == run.0,
            Self::Anybody => true,
        }
    }
}

impl Live {
    /// What it is negotiated to under these caps.
    pub(super) fn negotiated(&self, caps: &[(Source, Most)]) -> Granted {
        negotiate(caps, &self.request, self.profile.as_deref())
    }

    /// All that caps it now, also what the network gives.
    pub(super) fn caps(&self, gate: &Gate, may_have_more: bool) -> Vec<(Source, Most)> {
        let mut caps = super::caps(gate, &self.app, self.trust, may_have_more);
        caps.extend(self.network.cap());
        caps
    }

    /// Puts what is granted in place, and tells those who carry it: at once, or when the network has answered.
    pub(super) fn give(&mut self, granted: Granted) {
        let shape = shape_of(&granted, self.profile.as_deref());
        self.granted = granted;
        if self.network.is_unanswered() {
            return;
        }
        self.shape.send_if_modified(|now| std::mem::replace(now, shape) != shape);
    }

    fn held(&self) -> Held<StreamId> {
        let (guaranteed, claim) = needs(&self.granted);
        Held { key: self.id, guaranteed, claim }
    }

    /// As the API shows it.
    pub(super) fn shown(&self, flows: &Flows) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "app": self.app,
            "run": self.run,
            "domain": self.trust,
            "profile": self.profile.as_ref().map(|profile| &*profile.name),
            "class": self.granted.attributes.class,
            "state": match self.lost {
                Some(_) => "degraded",
                None if self.network.is_asking() => "asking",
                None => "admitted",
            },
            "reason": self.lost,
            "grant": self.grant,
            "network": self.network.shown(),
            // Of the packets that leave now: while a change is asked for, as before it.
            "dscp": dscp::Named::from(Marking::from(self.shape.borrow().class).dscp),
            "attributes": self.granted.attributes,
            "provenance": self.granted.provenance,
            "flows": flows.of_stream(self.id),
            "began_at": self.began.to_string(),
        })
    }
}

/// What its flows get of what is granted.
pub(super) fn shape_of(granted: &Granted, profile: Option<&Profile>) -> Shape {
    Shape::of(&granted.attributes, profile.map(|profile| profile.burst))
}

/// The room that is needed for what is granted, and how important it is.
pub(super) fn needs(granted: &Granted) -> (Rates, Claim) {
    let attributes = &granted.attributes;
    let rate = |rate: Option<mexe_model::BitRate>| rate.map_or(0, mexe_model::BitRate::get);
    let guaranteed = Rates { up: rate(attributes.guaranteed_up()), down: rate(attributes.guaranteed_down()) };
    // Never missing: every class has a default.
    let least = Claim { level: 15, may_displace: false, may_be_displaced: true };
    (guaranteed, attributes.arp.map_or(least, Claim::from))
}

/// Who has to give way for that, beside whoever holds room already.
///
/// # Errors
/// [`Reason::QosNotAdmitted`].
pub(super) fn admit(
    live: &BTreeMap<StreamId, Live>,
    reservable: Reservable,
    id: Option<StreamId>,
    granted: &Granted,
    may_displace: bool,
) -> Result<Vec<StreamId>, Refused> {
    let held = held(live, id);
    let (guaranteed, claim) = needs(granted);
    let claim = Claim { may_displace: claim.may_displace && may_displace, ..claim };
    match admission::admit(reservable, &held, guaranteed, claim) {
        Admission::Admitted(displaced) => Ok(displaced),
        Admission::Refused(missing) => {
            let detail = format!(
                "the bearer lacks {} bit/s up and {} bit/s down for the guarantee",
                missing.up, missing.down
            );
            Err(Refused::about(Reason::QosNotAdmitted, detail))
        }
    }
}

/// The guarantees of all but that one.
pub(super) fn held(live: &BTreeMap<StreamId, Live>, but: Option<StreamId>) -> Vec<Held<StreamId>> {
    let others = live.values().filter(|stream| Some(stream.id) != but);
    others.map(Live::held).filter(|held| held.guaranteed != Rates::default()).collect()
}

impl Streams {
    /// While it is held, nobody else is admitted.
    pub(super) fn locked(&self) -> Locked<'_> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more is seen to; [`Streams::gave_back`] ends that.
    pub(super) fn followed(&self) {
        self.followed.send_modify(|followed| *followed = followed.saturating_add(1));
    }

    /// One of them holds nothing of the network's any more.
    pub(super) fn gave_back(&self) {
        self.followed.send_modify(|followed| *followed = followed.saturating_sub(1));
    }

    /// Completes when no stream holds anything of the network's; only while the gate stops.
    pub async fn all_given_back(&self) {
        // The sender lives as long as this does.
        let _ = self.followed.subscribe().wait_for(|followed| *followed == 0).await;
    }

    /// A number that was not used since the start.
    pub(super) fn next(&self) -> StreamId {
        StreamId(self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    /// Every stream of that owner, oldest first, as the API shows it.
    pub fn list(&self, owner: Owner, flows: &Flows) -> Vec<Value> {
        let live = self.locked();
        let own = live.values().filter(|stream| owner.owns(stream.run));
        own.map(|stream| stream.shown(flows)).collect()
    }

    /// The class of each stream.
    pub fn classes(&self) -> Vec<TrafficClass> {
        self.locked().values().filter_map(|stream| stream.granted.attributes.class).collect()
    }

    /// The run's stream of that id or name, for a flow to use.
    ///
    /// # Errors
    /// [`Reason::NotFound`]: also for a stream of somebody else.
    pub fn to_use(&self, run: RunId, called: &str) -> Result<InUse, Reason> {
        let id = called.parse::<StreamId>().ok();
        let live = self.locked();
        let is_it = |stream: &&Live| {
            stream.run == run && (Some(stream.id) == id || stream.name.as_deref() == Some(called))
        };
        live.values()
            .find(is_it)
            .map(|stream| InUse::new(stream.id, stream.shape.subscribe()))
            .ok_or(Reason::NotFound)
    }
}

/// The stream, if it is the owner's.
///
/// # Errors
/// [`Reason::NotFound`]: which streams others have is not told.
pub(super) fn owned(
    live: &mut BTreeMap<StreamId, Live>,
    id: StreamId,
    owner: Owner,
) -> Result<&mut Live, Refused> {
    let none = || Refused::about(Reason::NotFound, format!("there is no stream `{id}`"));
    live.get_mut(&id).filter(|stream| owner.owns(stream.run)).ok_or_else(none)
}
