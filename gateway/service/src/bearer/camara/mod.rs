//! `camara`: quality of service from an operator's API (CAMARA QualityOnDemand and QoS Profiles, r3.2). Each session is for
//! the packets to and from one server, with one of the operator's profiles, for a time that is extended while it is needed.
//! The bearer is up while the operator's profiles can be read.
//!
//! Everything is asked again from time to time: an event is only a reason to look earlier, so that one that comes twice, too
//! late or from somebody else changes nothing.

mod api;
mod backoff;
mod http;
mod messages;
mod sessions;
mod sink;
mod token;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use mexe_qos::{Attributes, NetworkProfile};
use tokio::sync::{oneshot, watch as channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::api::Api;
use self::backoff::Backoff;
use self::messages::{ApiId, End, Flow};
use self::sessions::Held;
use super::{Granted, Negotiating, NegotiationFault, NetworkControl, Report, Request, SessionId, Why};
use crate::config::CamaraSettings;

/// The control of what one operator's API offers.
#[derive(Debug)]
pub struct CamaraControl(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    report: Arc<Report>,
    settings: CamaraSettings,
    api: Api,
    known: Mutex<Known>,
    /// Counts events, so that whoever waits for one looks.
    news: channel::Sender<u64>,
    /// What proves that an event comes from the operator, once the sink is open.
    proof: Mutex<Option<Arc<Zeroizing<String>>>>,
}

#[derive(Debug, Default)]
struct Known {
    profiles: Vec<NetworkProfile>,
    /// Those that no session was begun with although they are active, until the list is read again.
    unusable: BTreeSet<String>,
    sessions: BTreeMap<SessionId, Held>,
    /// Whose packets somebody is asking for just now.
    taken: BTreeSet<Flow>,
    /// Sessions that are asked for and not available yet.
    waiting: BTreeSet<ApiId>,
    /// Sessions that nobody wants and that could not be given back yet; until when they end by themselves.
    leaving: BTreeMap<ApiId, Instant>,
    /// Where a session may have been begun without our hearing of it, and how often that is still looked for.
    strays: BTreeMap<Flow, u8>,
    blocked: Backoff<Flow>,
    /// What events said of sessions that were not looked at since.
    told: BTreeMap<ApiId, Option<End>>,
    /// How often in a row the profiles could not be read.
    misses: u32,
}

impl Known {
    /// Whether the session with that number is one of ours.
    fn has(&self, id: &ApiId) -> bool {
        self.waiting.contains(id) || self.sessions.values().any(|held| held.id == *id)
    }
}

impl CamaraControl {
    /// Of an API that was not asked yet.
    pub fn new(report: Arc<Report>, settings: CamaraSettings) -> Self {
        Self(Arc::new(Shared {
            api: Api::new(settings.clone()),
            report,
            settings,
            known: Mutex::default(),
            news: channel::Sender::new(0),
            proof: Mutex::default(),
        }))
    }

    /// Follows the API until `stop`, and then gives every session back.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        let shared = &self.0;
        let sink = match sink::open(shared).await {
            Ok(sink) => sink,
            Err(says) => {
                tracing::error!(bearer = %shared.report.name(), %says, "events cannot be taken: sessions are only looked at");
                None
            }
        };
        tokio::select! {
            () = stop => {}
            () = watch::follow(shared) => {}
        }
        drop(sink);
        shared.leave().await;
    }
}

impl NetworkControl for CamaraControl {
    fn needs_remote(&self) -> bool {
        true
    }

    fn negotiate<'a>(&'a self, request: &'a Request) -> Negotiating<'a, Granted> {
        let (shared, request) = (Arc::clone(&self.0), request.clone());
        let (mut done, answer) = oneshot::channel();
        // In a task of its own, so that what was begun is given back when nobody waits for it any more.
        tokio::spawn(async move {
            let gone = CancellationToken::new();
            let negotiated = shared.negotiate(&request, &gone);
            tokio::pin!(negotiated);
            let granted = tokio::select! {
                granted = &mut negotiated => granted,
                () = done.closed() => {
                    gone.cancel();
                    negotiated.await
                }
            };
            if let Err(Ok(unwanted)) = done.send(granted) {
                let _ = shared.release(unwanted.session).await;
            }
        });
        async { answer.await.unwrap_or_else(|_| Err(NegotiationFault::Failed("it was given up".into()))) }
            .boxed()
    }

    fn modify<'a>(&'a self, session: SessionId, request: &'a Request) -> Negotiating<'a, Attributes> {
        let (shared, request) = (Arc::clone(&self.0), request.clone());
        apart(async move { shared.modify(session, &request).await })
    }

    fn release(&self, session: SessionId) -> Negotiating<'_, ()> {
        let shared = Arc::clone(&self.0);
        apart(async move { shared.release(session).await })
    }
}

/// In a task of its own, which comes to its end whoever waits for it.
fn apart<'a, T: Send + 'static>(
    task: impl Future<Output = Result<T, NegotiationFault>> + Send + 'static,
) -> Negotiating<'a, T> {
    let task = tokio::spawn(task);
    async { task.await.unwrap_or_else(|failed| Err(NegotiationFault::Failed(failed.to_string()))) }.boxed()
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proof(&self) -> Option<Arc<Zeroizing<String>>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bearer is down; its sessions are given back when that can be done.
    fn down(&self, why: Why) {
        let mut known = self.known();
        let sessions = std::mem::take(&mut known.sessions);
        known.leaving.extend(sessions.into_values().map(|held| (held.id, held.since + held.duration)));
        known.profiles.clear();
        // Under the lock: nobody begins a session on a bearer that is down.
        self.report.down(why);
    }
}
