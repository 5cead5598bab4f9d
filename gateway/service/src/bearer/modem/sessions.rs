//! The sessions of one modem: each a context beside the first one or, where a modem has no such contexts, the first one
//! itself. A context that a session failed to get is forgotten again.

use std::collections::BTreeMap;

use mexe_qos::Attributes;
use mexe_wire::pdp::{Command, ContextState, Filter};

use super::{Profiles, Shared, codes};
use crate::bearer::{Capacity, Granted, NegotiationFault, Report, Request, SessionId, Why};

/// Which session has which context.
#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<SessionId, Place>);

#[derive(Clone, Debug)]
struct Place {
    cid: u8,
    request: Request,
}

impl Shared {
    pub(super) async fn negotiate(&self, request: &Request) -> Result<Granted, NegotiationFault> {
        let _turn = self.turn.lock().await;
        if let Some(why) = self.report.status().down {
            return Err(NegotiationFault::BearerDown(why));
        }
        let cid = self.place(request).await?;
        let asked = match cid == self.settings.context {
            true => self.ask_first(request).await,
            false => self.ask_beside(cid, request).await,
        };
        let attributes = match asked {
            Ok(attributes) => attributes,
            Err(fault) => {
                self.forget(cid).await;
                return Err(fault);
            }
        };
        let session = Report::next_session();
        self.known().sessions.0.insert(session, Place { cid, request: request.clone() });
        self.report.granted(session, request.wished, attributes);
        Ok(Granted { session, attributes })
    }

    /// The number of the context that is to have it.
    async fn place(&self, request: &Request) -> Result<u8, NegotiationFault> {
        let first = self.settings.context;
        let (knows, taken) = {
            let known = self.known();
            let taken: Vec<u8> = known.sessions.0.values().map(|place| place.cid).collect();
            (known.knows.clone(), taken)
        };
        let no_profiles = || NegotiationFault::NotSupported("the modem knows no commands for it".into());
        knows.profiles.ok_or_else(no_profiles)?;
        if knows.secondary.is_empty() {
            // TS 24.008, 6.1.3: where the device can use LTE, its first context asks for no class with guarantees.
            if codes::is_real_time(&request.wished) {
                let says = "the modem has one context, and that may not ask for conversational or streaming";
                return Err(NegotiationFault::NotSupported(says.into()));
            }
            return match taken.is_empty() {
                true => Ok(first),
                false => {
                    Err(NegotiationFault::Busy("the modem has one context, and that is asked for".into()))
                }
            };
        }
        // Whatever the modem lists is somebody's.
        let listed = mexe_wire::pdp::context_states(&self.ask(Command::States).await?);
        let is_free = |cid: &u8| !taken.contains(cid) && listed.iter().all(|state| state.cid != *cid);
        let full = || NegotiationFault::Busy("every context of the modem is in use".into());
        knows.secondary.into_iter().find(is_free).ok_or_else(full)
    }

    async fn ask_beside(&self, cid: u8, request: &Request) -> Result<Attributes, NegotiationFault> {
        self.ask(Command::DefineSecondary { cid, primary: self.settings.context }).await?;
        self.store(cid, request).await?;
        let packets = request.packets;
        let filter = Filter {
            remote: packets.remote,
            protocol: packets.protocol,
            port: packets.port,
            dscp: packets.dscp,
        };
        if filter == (Filter { remote: None, protocol: None, port: None, dscp: None }) {
            return Err(NegotiationFault::NotSupported("nothing tells its packets from others".into()));
        }
        self.ask(Command::Filter { cid, precedence: cid, filter }).await?;
        self.ask(Command::Activate { cid, active: true }).await?;
        self.given(cid, request).await
    }

    async fn ask_first(&self, request: &Request) -> Result<Attributes, NegotiationFault> {
        let cid = self.settings.context;
        self.store(cid, request).await?;
        self.ask(Command::Modify(cid)).await?;
        self.given(cid, request).await
    }

    /// Says what is to be asked for next time.
    async fn store(&self, cid: u8, request: &Request) -> Result<(), NegotiationFault> {
        let profiles = self.known().knows.profiles;
        if profiles == Some(Profiles::Eps) {
            self.ask(Command::EpsRequest(cid, codes::eps(&request.wished)?)).await?;
            return Ok(());
        }
        self.ask(Command::Request(cid, codes::umts(&request.wished)?)).await?;
        let least = match request.least == Capacity::default() {
            true => Command::NoMinimum(cid),
            false => Command::Minimum(cid, codes::umts_least(&request.wished, request.least)?),
        };
        // What is given is looked at, whether the modem does so or not.
        self.if_it_knows(least).await?;
        Ok(())
    }

    /// What the context has now, if that is enough.
    async fn given(&self, cid: u8, request: &Request) -> Result<Attributes, NegotiationFault> {
        let given = self.quality(cid, &request.wished).await?;
        let real_time = codes::is_real_time(&request.wished);
        let (up, down) = match real_time {
            true => (given.guaranteed_up(), given.guaranteed_down()),
            false => (given.max_up(), given.max_down()),
        };
        for (given, least, direction) in [(up, request.least.up, "up"), (down, request.least.down, "down")] {
            // What is not said may be anything, unless it is a guarantee.
            let enough = match (given, least) {
                (_, None) => true,
                (Some(given), Some(least)) => given >= least,
                (None, Some(_)) => !real_time,
            };
            if !enough {
                let given = given.map_or_else(|| "nothing".to_owned(), |given| given.to_string());
                return Err(NegotiationFault::TooLittle(format!("{given} {direction}")));
            }
        }
        Ok(given)
    }

    /// Leaves the modem as if nobody had asked. Whatever it answers: it was asked to.
    async fn forget(&self, cid: u8) {
        if cid == self.settings.context {
            let nothing = Request {
                wished: Attributes::default(),
                least: Capacity::default(),
                packets: Default::default(),
            };
            if self.store(cid, &nothing).await.is_ok() {
                let _ = self.ask(Command::Modify(cid)).await;
            }
            return;
        }
        let _ = self.ask(Command::Activate { cid, active: false }).await;
        let _ = self.ask(Command::UndefineSecondary(cid)).await;
    }

    pub(super) async fn modify(
        &self,
        session: SessionId,
        request: &Request,
    ) -> Result<Attributes, NegotiationFault> {
        let _turn = self.turn.lock().await;
        let place = self.known().sessions.0.get(&session).cloned().ok_or(NegotiationFault::NoSession)?;
        let cid = place.cid;
        if cid == self.settings.context && codes::is_real_time(&request.wished) {
            let says = "the modem has one context, and that may not ask for conversational or streaming";
            return Err(NegotiationFault::NotSupported(says.into()));
        }
        let asked = async {
            self.store(cid, request).await?;
            self.ask(Command::Modify(cid)).await?;
            self.given(cid, request).await
        };
        match asked.await {
            Ok(attributes) => {
                let request = Request { packets: place.request.packets, ..request.clone() };
                self.known().sessions.0.insert(session, Place { cid, request });
                self.report.granted(session, self.wished(session), attributes);
                Ok(attributes)
            }
            Err(fault) => {
                // Back to what it was, also where the network had begun to give something else.
                if self.store(cid, &place.request).await.is_ok() {
                    let _ = self.ask(Command::Modify(cid)).await;
                }
                Err(fault)
            }
        }
    }

    fn wished(&self, session: SessionId) -> Attributes {
        self.known().sessions.0.get(&session).map(|place| place.request.wished).unwrap_or_default()
    }

    pub(super) async fn release(&self, session: SessionId) -> Result<(), NegotiationFault> {
        let _turn = self.turn.lock().await;
        let place = self.known().sessions.0.remove(&session);
        self.report.released(session);
        if let Some(place) = place {
            self.forget(place.cid).await;
        }
        Ok(())
    }

    /// What became of the sessions, by the list of contexts and what each of them has.
    pub(super) async fn sessions_looked(&self, states: &[ContextState]) -> Result<(), NegotiationFault> {
        let sessions: Vec<(SessionId, Place)> = {
            let known = self.known();
            known.sessions.0.iter().map(|(session, place)| (*session, place.clone())).collect()
        };
        for (session, place) in sessions {
            if !states.iter().any(|state| state.cid == place.cid && state.active) {
                self.known().sessions.0.remove(&session);
                self.report.ended(session, Why::new("network-ended", "the network ended the context"));
                let _ = self.ask(Command::UndefineSecondary(place.cid)).await;
                continue;
            }
            match self.quality(place.cid, &place.request.wished).await {
                Ok(given) => self.report.gives(session, given),
                Err(NegotiationFault::Nonsense(_) | NegotiationFault::NotSupported(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}
