//! What is done about an operator's API while nobody asks: its profiles are read, sessions are looked at and extended before
//! they run out, and what could not be given back is given back. Nothing is asked more often than the configuration says,
//! but for sessions that an event told of.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::api::Fault;
use super::messages::{ApiId, End, Status};
use super::sessions::{Held, end_why};
use crate::bearer::{Capacity, SessionId, Why};

/// Follows it for ever.
pub(super) async fn follow(shared: &Arc<Shared>) {
    let mut news = shared.news.subscribe();
    let mut profiles = Instant::now();
    let mut look = Instant::now();
    loop {
        let now = Instant::now();
        if now >= profiles {
            let is_well = shared.look_at_profiles().await;
            let pace = if is_well { shared.settings.pace.profiles } else { shared.settings.poll };
            profiles = Instant::now() + pace.max(shared.settings.poll);
        }
        // Everything when its time has come, and what events told of at once.
        let all = now >= look;
        shared.look_at_sessions(all).await;
        if all {
            shared.give_back_what_is_left().await;
            shared.look_for_strays().await;
            look = Instant::now() + shared.settings.poll;
        }
        tokio::select! {
            () = sleep_until(look.min(profiles)) => {}
            _ = news.changed() => {}
        }
    }
}

impl Shared {
    /// Whether the bearer is up, by its profiles. One that was up is down only after some misses: the sessions go on in the
    /// network, whoever answers.
    async fn look_at_profiles(&self) -> bool {
        match self.api.profiles().await {
            Ok(profiles) if profiles.iter().any(|profile| profile.is_active) => {
                let mut known = self.known();
                known.profiles = profiles;
                known.unusable.clear();
                known.misses = 0;
                for (session, held) in &known.sessions {
                    // The operator may have given a profile other rates.
                    if let Some(profile) = known.profiles.iter().find(|profile| profile.name == held.profile)
                    {
                        self.report.gives(*session, profile.gives(&held.request.wished));
                    }
                }
                self.report.up(Capacity::default());
                true
            }
            Ok(_) => {
                self.down(Why::new("no-profiles", "the operator's API offers no profile that is active"));
                false
            }
            Err(fault) => {
                let misses = {
                    let mut known = self.known();
                    // That it was not asked says nothing about it.
                    let one = u32::from(!matches!(fault, Fault::Paused(..)));
                    known.misses = known.misses.saturating_add(one);
                    known.misses
                };
                if !self.report.status().is_up() || misses >= MISSES {
                    self.down(fault.why());
                }
                false
            }
        }
    }

    /// Looks at every session, or at those that an event told of.
    async fn look_at_sessions(&self, all: bool) {
        let sessions: Vec<(SessionId, Held)> = {
            let known = self.known();
            let wanted = |held: &Held| all || known.told.contains_key(&held.id);
            let sessions = known.sessions.iter().filter(|(_, held)| wanted(held));
            sessions.map(|(session, held)| (*session, held.clone())).collect()
        };
        let looks = stream::iter(sessions);
        looks.for_each_concurrent(AT_ONCE, |(session, held)| self.look_at(session, held)).await;
    }

    async fn look_at(&self, session: SessionId, held: Held) {
        let told = self.known().told.remove(&held.id);
        let info = match self.api.look(&held.id, held.flow, &held.profile).await {
            Ok(info) => info,
            Err(Fault::Refused(404 | 410, _)) => {
                // An event may have said why.
                let why = match told.flatten() {
                    Some(end) => end_why(Some(end)),
                    None => Why::new("session-gone", "the operator's API does not know the session any more"),
                };
                return self.lost(session, &held, None, why).await;
            }
            Err(fault @ Fault::Nonsense(..)) => return self.lost(session, &held, None, fault.why()).await,
            Err(_) => {
                if Instant::now() >= held.since + held.duration + self.settings.poll {
                    self.lost(session, &held, None, end_why(Some(End::DurationExpired))).await;
                }
                return;
            }
        };
        match info.status {
            Status::Available => self.goes_on(session, held, info.duration).await,
            Status::Requested => {
                let why =
                    Why::new("api-nonsense", "the operator's API: a session that was available is asked for");
                self.lost(session, &held, None, why).await;
            }
            Status::Unavailable(end) => self.lost(session, &held, end, end_why(end)).await,
        }
    }

    /// The session is there. It is extended before it runs out, as long as that gains something: beyond the most that its
    /// profile allows, an extension is no error and changes nothing (trap 10 of the standards' list).
    async fn goes_on(&self, session: SessionId, mut held: Held, duration: Duration) {
        held.duration = duration;
        let left = (held.since + duration).saturating_duration_since(Instant::now());
        let margin = (held.step / 4).max(self.settings.poll.saturating_mul(2));
        if !held.is_capped && left < margin {
            match self.api.extend(&held.id, held.flow, &held.profile, held.step).await {
                Ok(info) => {
                    let asked = duration + held.step;
                    held.is_capped = info.duration < asked;
                    held.duration = info.duration;
                }
                Err(fault @ Fault::Nonsense(..)) => {
                    return self.lost(session, &held, None, fault.why()).await;
                }
                // Why shows when it is looked at the next time.
                Err(_) => {}
            }
        }
        if let Some(known) = self.known().sessions.get_mut(&session)
            && known.id == held.id
        {
            (known.duration, known.is_capped) = (held.duration, held.is_capped);
        }
    }

    /// The session is gone: whoever had it is told, once, and the record given back.
    async fn lost(&self, session: SessionId, held: &Held, end: Option<End>, why: Why) {
        {
            let mut known = self.known();
            // It may have been given back, or changed, meanwhile.
            if known.sessions.get(&session).is_none_or(|known| known.id != held.id) {
                return;
            }
            known.sessions.remove(&session);
        }
        self.report.ended(session, why);
        self.ended(held.flow, &held.id, end).await;
    }

    async fn give_back_what_is_left(&self) {
        let now = Instant::now();
        let ids: Vec<ApiId> = {
            let mut known = self.known();
            known.leaving.retain(|_, until| now < *until);
            // What events said of sessions that are gone meanwhile.
            let mut told = std::mem::take(&mut known.told);
            told.retain(|id, _| known.has(id));
            known.told = told;
            known.leaving.keys().cloned().collect()
        };
        for id in ids {
            match self.api.delete(&id).await {
                Ok(()) => drop(self.known().leaving.remove(&id)),
                // The others would fare no better.
                Err(_) => return,
            }
        }
    }

    /// A request that broke off may have begun a session: what is there for its packets and is not ours, nobody wants.
    async fn look_for_strays(&self) {
        let flows: Vec<_> = {
            let known = self.known();
            known.strays.keys().filter(|flow| !known.taken.contains(flow)).copied().collect()
        };
        for flow in flows {
            let Ok(found) = self.api.sessions_for(flow).await else { return };
            {
                let mut known = self.known();
                // Somebody began to ask for these packets: what was found may be theirs.
                if known.taken.contains(&flow) {
                    continue;
                }
                match known.strays.get_mut(&flow) {
                    Some(looks) if *looks > 1 => *looks -= 1,
                    _ => drop(known.strays.remove(&flow)),
                }
            }
            for id in found {
                if !self.known().has(&id) {
                    self.give_back(&id, self.settings.duration).await;
                }
            }
        }
    }
}

/// After so many misses in a row the bearer is down.
const MISSES: u32 = 3;
/// So many sessions are looked at at once.
const AT_ONCE: usize = 8;
