//! Sessions: begun, changed and given back. One flow has one session at most, as the API wants it. Whatever goes wrong on
//! the way leaves no session behind: what cannot be given back at once is given back later (`watch`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mexe_model::WallTime;
use mexe_qos::network_profile::{self, NoProfile, Wish};
use mexe_qos::{Attributes, NetworkProfile};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::api::Fault;
use super::messages::{ApiId, End, Flow, Info, Status, Told};
use super::{Known, Shared};
use crate::bearer::{Granted, NegotiationFault, Report, Request, SessionId, Why};
use crate::clock;

/// A session that somebody has.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: ApiId,
    pub(super) profile: String,
    pub(super) flow: Flow,
    pub(super) request: Request,
    /// Since when it is available, as far as we know: not later.
    pub(super) since: Instant,
    /// The whole of it, from then on.
    pub(super) duration: Duration,
    /// By how much it is extended.
    pub(super) step: Duration,
    /// True when it cannot be extended any more.
    pub(super) is_capped: bool,
}

/// What is to be asked for.
struct Plan {
    flow: Flow,
    profile: NetworkProfile,
    seconds: u32,
}

/// Keeps others from asking for the same flow.
struct Place<'a>(&'a Shared, Flow);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.known().taken.remove(&self.1);
    }
}

impl Shared {
    pub(super) async fn negotiate(
        &self,
        request: &Request,
        gone: &CancellationToken,
    ) -> Result<Granted, NegotiationFault> {
        let (plan, _place) = {
            let mut known = self.known();
            if let Some(why) = self.report.status().down {
                return Err(NegotiationFault::BearerDown(why));
            }
            let flow = flow_of(request)?;
            if known.taken.contains(&flow) || known.sessions.values().any(|held| held.flow == flow) {
                return Err(NegotiationFault::Busy("its packets have a session already".into()));
            }
            if known.sessions.len() + known.taken.len() >= MOST {
                return Err(NegotiationFault::Busy(format!("there are {MOST} sessions already")));
            }
            let plan = self.plan(&known, flow, request)?;
            known.taken.insert(flow);
            (plan, Place(self, flow))
        };
        let available = Instant::now() + self.settings.pace.available;
        let held = self.begin(&plan, request, available, gone).await?;
        let attributes = plan.profile.gives(&request.wished);
        let session = Report::next_session();
        let mut known = self.known();
        if let Some(why) = self.report.status().down {
            // It went down meanwhile; the watch gives it back.
            known.leaving.insert(held.id.clone(), held.since + held.duration);
            return Err(NegotiationFault::BearerDown(why));
        }
        known.waiting.remove(&held.id);
        known.sessions.insert(session, held);
        self.report.granted(session, request.wished, attributes);
        Ok(Granted { session, attributes })
    }

    /// Which profile for how long, unless it is not to be asked for now.
    fn plan(&self, known: &Known, flow: Flow, request: &Request) -> Result<Plan, NegotiationFault> {
        if let Some((left, why)) = known.blocked.blocked(&flow, Instant::now()) {
            let seconds = left.as_secs().saturating_add(1);
            return Err(NegotiationFault::Busy(format!(
                "{why}: another session in {seconds} s at the earliest"
            )));
        }
        let wish =
            Wish { attributes: &request.wished, least_up: request.least.up, least_down: request.least.down };
        let usable = |profile: &&NetworkProfile| {
            !known.unusable.contains(&profile.name) && profile.duration(self.settings.duration).is_some()
        };
        let profiles: Vec<NetworkProfile> = known.profiles.iter().filter(usable).cloned().collect();
        let chosen = request.wished.class.and_then(|class| self.settings.profiles.get(&class));
        let found = match chosen {
            Some(name) => network_profile::named(&profiles, name, &wish),
            None => network_profile::choose(&profiles, &wish),
        };
        let profile = found.map_err(|none| match none {
            NoProfile::Rates => NegotiationFault::TooLittle(none.to_string()),
            _ => NegotiationFault::NotAccepted(none.to_string()),
        })?;
        let no_time = || NegotiationFault::NotAccepted("its profile allows no session that lasts".into());
        let seconds = profile.duration(self.settings.duration).ok_or_else(no_time)?;
        Ok(Plan { flow, profile: profile.clone(), seconds })
    }

    /// A session that is available by then, or none.
    async fn begin(
        &self,
        plan: &Plan,
        request: &Request,
        until: Instant,
        gone: &CancellationToken,
    ) -> Result<Held, NegotiationFault> {
        let asked = Instant::now();
        let proof = self.proof();
        let told = self.settings.sink.as_ref().zip(proof.as_ref()).map(|(sink, proof)| Told {
            url: &sink.url,
            token: proof,
            until: WallTime::from_millis(clock::wall().as_millis().saturating_add(PROOF_MILLIS)).to_string(),
        });
        let created = self.api.create(plan.flow, &plan.profile.name, plan.seconds, told.as_ref()).await;
        let info = match created {
            Ok(info) if self.known().has(&info.id) => {
                return Err(NegotiationFault::Nonsense("the operator's API gives one session twice".into()));
            }
            Ok(info) => info,
            Err(fault) => {
                self.begun_badly(plan, &fault).await;
                return Err(fault.negotiation());
            }
        };
        self.known().waiting.insert(info.id.clone());
        let id = info.id.clone();
        let available = self.available(plan, info, until, gone).await;
        match available {
            Ok(info) => Ok(Held {
                id,
                profile: plan.profile.name.clone(),
                flow: plan.flow,
                request: request.clone(),
                // When it was asked for is not later than when it became available.
                since: asked,
                duration: info.duration,
                step: info.duration,
                is_capped: false,
            }),
            Err((fault, end)) => {
                self.known().waiting.remove(&id);
                self.ended(plan.flow, &id, end).await;
                Err(fault)
            }
        }
    }

    /// Waits until the session is available. It stays in `waiting`.
    async fn available(
        &self,
        plan: &Plan,
        mut info: Info,
        until: Instant,
        gone: &CancellationToken,
    ) -> Result<Info, (NegotiationFault, Option<End>)> {
        let mut news = self.news.subscribe();
        let step = self.settings.poll.min(STEP);
        loop {
            match info.status {
                Status::Available => return Ok(info),
                Status::Unavailable(end) => {
                    let says = format!("{}: the session never became available", end_why(end).code);
                    return Err((NegotiationFault::NotAccepted(says), end));
                }
                Status::Requested => {}
            }
            let look = (Instant::now() + step).min(until);
            let is_told =
                async { while news.changed().await.is_ok() && !self.known().told.contains_key(&info.id) {} };
            tokio::select! {
                () = gone.cancelled() => {
                    return Err((NegotiationFault::Failed("it was given up".into()), None));
                }
                _ = timeout_at(look, is_told) => {}
            }
            if Instant::now() >= until {
                let says = "the network did not make the session available";
                return Err((NegotiationFault::Silent(says.into()), None));
            }
            self.known().told.remove(&info.id);
            match self.api.look(&info.id, plan.flow, &plan.profile.name).await {
                Ok(looked) => info = looked,
                Err(fault @ (Fault::Nonsense(..) | Fault::Refused(404, _))) => {
                    return Err((fault.negotiation(), None));
                }
                // It may be there the next time.
                Err(_) => sleep_until((Instant::now() + step).min(until)).await,
            }
        }
    }

    /// What a request that failed may have left, and when it may be made again.
    async fn begun_badly(&self, plan: &Plan, fault: &Fault) {
        match fault {
            Fault::Refused(409, _) => {
                let again = self.settings.pace.again;
                self.known().blocked.block(plan.flow, Instant::now(), again, "conflict");
            }
            Fault::Refused(422, code) if code == "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE" => {
                self.known().unusable.insert(plan.profile.name.clone());
            }
            Fault::Nonsense(_, Some(id)) if !self.known().has(id) => {
                self.give_back(id, self.settings.duration).await;
            }
            fault if fault.may_be_done() => {
                let mut known = self.known();
                if known.strays.len() < MOST {
                    known.strays.insert(plan.flow, STRAY_LOOKS);
                }
            }
            _ => {}
        }
    }

    pub(super) async fn modify(
        &self,
        session: SessionId,
        request: &Request,
    ) -> Result<Attributes, NegotiationFault> {
        let (old, plan, _place) = {
            let mut known = self.known();
            let old = known.sessions.get(&session).cloned().ok_or(NegotiationFault::NoSession)?;
            if known.taken.contains(&old.flow) {
                return Err(NegotiationFault::Busy("it is being changed".into()));
            }
            let plan = self.plan(&known, old.flow, request)?;
            if plan.profile.name == old.profile {
                // The same session serves both.
                let attributes = plan.profile.gives(&request.wished);
                if let Some(held) = known.sessions.get_mut(&session) {
                    held.request = Request { packets: old.request.packets, ..request.clone() };
                }
                self.report.granted(session, request.wished, attributes);
                return Ok(attributes);
            }
            known.taken.insert(old.flow);
            // The watch leaves it alone from now on.
            known.sessions.remove(&session);
            let place = Place(self, old.flow);
            (old, plan, place)
        };
        // There can be only one for these packets, so that the old one goes first.
        if let Err(fault) = self.api.delete(&old.id).await {
            self.known().sessions.insert(session, old);
            return Err(fault.negotiation());
        }
        let never = CancellationToken::new();
        let half = self.settings.pace.available / 2;
        let request = Request { packets: old.request.packets, ..request.clone() };
        let changed = self.begin(&plan, &request, Instant::now() + half, &never).await;
        let fault = match changed {
            Ok(held) => {
                let attributes = plan.profile.gives(&request.wished);
                return self.put(session, held, attributes).map(|()| attributes);
            }
            Err(fault) => fault,
        };
        // Back to what it was.
        let before = {
            let known = self.known();
            let profile = known.profiles.iter().find(|profile| profile.name == old.profile);
            profile.and_then(|profile| {
                let seconds = profile.duration(self.settings.duration)?;
                Some(Plan { flow: old.flow, profile: profile.clone(), seconds })
            })
        };
        if let Some(before) = before
            && let Ok(held) = self.begin(&before, &old.request, Instant::now() + half, &never).await
        {
            let attributes = before.profile.gives(&old.request.wished);
            self.put(session, held, attributes)?;
        } else {
            let says = format!("it was to be changed, and neither that nor what it was can be had: {fault}");
            self.report.ended(session, Why::new("not-restored", says));
        }
        Err(fault)
    }

    /// A session that was changed, unless the bearer went down or nobody wants it any more.
    fn put(&self, session: SessionId, held: Held, given: Attributes) -> Result<(), NegotiationFault> {
        let mut known = self.known();
        known.waiting.remove(&held.id);
        let is_wanted = self.report.sessions().contains_key(&session);
        if !is_wanted {
            known.leaving.insert(held.id, held.since + held.duration);
            return Err(NegotiationFault::NoSession);
        }
        self.report.granted(session, held.request.wished, given);
        known.sessions.insert(session, held);
        Ok(())
    }

    pub(super) async fn release(&self, session: SessionId) -> Result<(), NegotiationFault> {
        let held = {
            let mut known = self.known();
            self.report.released(session);
            let held = known.sessions.remove(&session);
            // Nobody asks for the same packets before it is given back.
            known.taken.extend(held.iter().map(|held| held.flow));
            held
        };
        let Some(held) = held else { return Ok(()) };
        let _place = Place(self, held.flow);
        match self.api.delete(&held.id).await {
            Ok(()) => Ok(()),
            Err(fault) => {
                self.known().leaving.insert(held.id, held.since + held.duration);
                Err(fault.negotiation())
            }
        }
    }

    /// A session is over, or unwanted: its record is given back, and its flow left alone where the network ended it.
    pub(super) async fn ended(&self, flow: Flow, id: &ApiId, end: Option<End>) {
        let pace = self.settings.pace;
        let is_terminated = end == Some(End::NetworkTerminated);
        let block = |lasts| self.known().blocked.block(flow, Instant::now(), lasts, "network-terminated");
        if is_terminated {
            // As long as the record is there, it blocks another session.
            block(pace.terminated);
        }
        if self.give_back(id, self.settings.duration).await && is_terminated {
            block(pace.again);
        }
    }

    /// Gives back what nobody wants; where that cannot be done now, the watch tries again. Tells whether it is done.
    pub(super) async fn give_back(&self, id: &ApiId, lasts: Duration) -> bool {
        let given = self.api.delete(id).await;
        if given.is_err() {
            self.known().leaving.insert(id.clone(), Instant::now() + lasts);
        }
        given.is_ok()
    }

    /// Gives everything back, as far as that goes within the time for one answer.
    pub(super) async fn leave(self: &Arc<Self>) {
        let ids: Vec<ApiId> = {
            let mut known = self.known();
            let sessions = std::mem::take(&mut known.sessions);
            let leaving = std::mem::take(&mut known.leaving);
            sessions.into_values().map(|held| held.id).chain(leaving.into_keys()).collect()
        };
        let all = futures_util::future::join_all(ids.iter().map(|id| self.api.delete(id)));
        let _ = tokio::time::timeout(self.settings.pace.answer, all).await;
    }
}

fn flow_of(request: &Request) -> Result<Flow, NegotiationFault> {
    let unknown = || NegotiationFault::NotSupported("the server that its packets go to is not known".into());
    let remote: IpAddr = request.packets.remote.ok_or_else(unknown)?.to_canonical();
    Ok(Flow { remote, port: request.packets.port })
}

/// Why a session is gone.
pub(super) fn end_why(end: Option<End>) -> Why {
    match end {
        Some(End::DurationExpired) => Why::new("duration-expired", "the session's time was over"),
        Some(End::NetworkTerminated) => Why::new("network-terminated", "the network ended the session"),
        Some(End::DeleteRequested) => {
            Why::new("delete-requested", "the session was given back by somebody else")
        }
        None => Why::new("unavailable", "the session is not available any more, and nobody says why"),
    }
}

/// So many sessions there are at most.
const MOST: usize = 256;
/// Between two looks at a session that is not available yet, where that is less than the poll interval.
const STEP: Duration = Duration::from_secs(2);
/// How often a session is looked for that may have been begun unheard.
const STRAY_LOOKS: u8 = 2;
/// The proof for events counts for 30 days.
const PROOF_MILLIS: u64 = 30 * 86_400_000;
