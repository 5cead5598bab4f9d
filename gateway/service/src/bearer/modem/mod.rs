//! `modem`: quality of service by AT commands (TS 27.007). The port belongs to whoever watches the card; it lends a handle
//! ([`ModemControl::attach`]) for as long as it is there. The modem's first context carries everything; what is asked for
//! gets a context of its own beside it, whose packets are told by a filter, where the modem can do that.
//!
//! What the modem says on its own is heard, and it is asked from time to time, because many say nothing.

mod codes;
mod sessions;

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use mexe_card::{ContextFault, Contexts};
use mexe_model::BitRate;
use mexe_qos::Attributes;
use mexe_wire::pdp::{self, Cause, Command, Event, Registration, Service};
use tokio::sync::{broadcast, oneshot, watch};

use self::sessions::Sessions;
use super::keeper::LOOK;
use super::{
    Capacity, Granted, Negotiating, NegotiationFault, NetworkControl, Report, Request, SessionId, Why,
};
use crate::config::ModemSettings;

/// The control of one modem.
#[derive(Debug)]
pub struct ModemControl(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    report: Arc<Report>,
    settings: ModemSettings,
    port: watch::Sender<Option<Contexts>>,
    /// One change, or one look, at a time.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

/// What is known of the modem.
#[derive(Debug, Default)]
struct Known {
    knows: Knows,
    /// What the base station recommends.
    recommended: Capacity,
    sessions: Sessions,
}

/// What a modem can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Knows {
    /// Which profiles.
    profiles: Option<Profiles>,
    /// The numbers that contexts beside the first may have; none: it knows no such contexts.
    secondary: Vec<u8>,
    /// Which registrations it was asked about and said nothing at all.
    unheard: Vec<Service>,
}

/// UMTS profiles where the modem has them: they say everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profiles {
    Umts,
    Eps,
}

impl ModemControl {
    /// Of a modem that nobody has found yet.
    pub fn new(report: Arc<Report>, settings: ModemSettings) -> Self {
        report.down(Why::new("modem-gone", "the modem was not found yet"));
        Self(Arc::new(Shared {
            report,
            settings,
            port: watch::Sender::new(None),
            turn: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        }))
    }

    /// The modem is there.
    pub fn attach(&self, contexts: Contexts) {
        self.0.port.send_replace(Some(contexts));
    }

    /// The modem is gone.
    pub fn detach(&self) {
        self.0.port.send_replace(None);
        self.0.lost("modem-gone", "the modem is gone: connect it again");
    }

    /// Follows the modem for as long as this runs.
    pub async fn run(self: Arc<Self>) {
        let mut port = self.0.port.subscribe();
        loop {
            let contexts = port.borrow_and_update().clone();
            let served = async {
                match contexts {
                    Some(contexts) => self.0.serve(contexts).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = port.changed() => if changed.is_err() { return },
                () = served => self.detach(),
            }
        }
    }

    /// In a task of its own, so that a modem is left in order by whoever does not wait any more.
    fn apart<T: Send + 'static, F>(&self, task: impl FnOnce(Arc<Shared>) -> F) -> Negotiating<'_, T>
    where
        F: Future<Output = Result<T, NegotiationFault>> + Send + 'static,
    {
        let task = tokio::spawn(task(Arc::clone(&self.0)));
        async { task.await.unwrap_or_else(|failed| Err(NegotiationFault::Failed(failed.to_string()))) }
            .boxed()
    }
}

impl NetworkControl for ModemControl {
    fn negotiate<'a>(&'a self, request: &'a Request) -> Negotiating<'a, Granted> {
        let (shared, request) = (Arc::clone(&self.0), request.clone());
        let (done, answer) = oneshot::channel();
        tokio::spawn(async move {
            let granted = shared.negotiate(&request).await;
            if let Err(Ok(unwanted)) = done.send(granted) {
                let _ = shared.release(unwanted.session).await;
            }
        });
        async { answer.await.unwrap_or_else(|_| Err(NegotiationFault::Failed("it was given up".into()))) }
            .boxed()
    }

    fn modify<'a>(&'a self, session: SessionId, request: &'a Request) -> Negotiating<'a, Attributes> {
        let request = request.clone();
        self.apart(move |shared| async move { shared.modify(session, &request).await })
    }

    fn release(&self, session: SessionId) -> Negotiating<'_, ()> {
        self.apart(move |shared| async move { shared.release(session).await })
    }
}

impl Shared {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, code: &'static str, says: impl Into<String>) {
        let mut known = self.known();
        known.sessions = Sessions::default();
        known.recommended = Capacity::default();
        drop(known);
        self.report.down(Why::new(code, says));
    }

    /// The modem, while it is there.
    fn contexts(&self) -> Result<Contexts, NegotiationFault> {
        let gone =
            || NegotiationFault::BearerDown(Why::new("modem-gone", "the modem is gone: connect it again"));
        self.port.borrow().clone().ok_or_else(gone)
    }

    /// Asks one thing. A refusal by the modem has a name, and so has everything else.
    async fn ask(&self, command: Command) -> Result<Vec<String>, NegotiationFault> {
        let asks_the_network = command.asks_the_network();
        self.contexts()?.ask(command).await.map_err(|fault| named(fault, asks_the_network))
    }

    /// Follows one modem until it is gone.
    async fn serve(&self, contexts: Contexts) {
        let mut events = contexts.listen();
        while let Err(fault) = self.begin().await {
            self.lost("modem-silent", fault.to_string());
            tokio::select! {
                () = contexts.closed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        loop {
            self.look().await;
            let event = tokio::select! {
                () = contexts.closed() => return,
                () = tokio::time::sleep(LOOK) => continue,
                event = events.recv() => event,
            };
            match event {
                Ok(Event::Recommended { rate, up, cids }) => {
                    if cids.is_empty() || cids.contains(&self.settings.context) {
                        let mut known = self.known();
                        let of = if up { &mut known.recommended.up } else { &mut known.recommended.down };
                        // kbit/s are 1 000 bit/s; 0 recommends nothing.
                        *of = BitRate::bits_per_second(u64::from(rate).saturating_mul(1000));
                    }
                }
                // Whatever it was: the look says how everything is.
                Ok(Event::Changed | Event::Modified { .. }) | Err(broadcast::error::RecvError::Lagged(_)) => {
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Finds out what the modem can do, and has it tell what happens.
    async fn begin(&self) -> Result<(), NegotiationFault> {
        let _turn = self.turn.lock().await;
        // Whether it does: it is asked from time to time anyway.
        for command in [Command::ReportEvents, Command::ReportRates] {
            self.if_it_knows(command).await?;
        }
        let umts = self.if_it_knows(Command::RequestRange).await?.is_some();
        let profiles = match umts {
            true => Some(Profiles::Umts),
            false => self.if_it_knows(Command::EpsRange).await?.map(|_| Profiles::Eps),
        };
        let secondary = self.if_it_knows(Command::SecondaryRange).await?.unwrap_or_default();
        let mut secondary = pdp::cids_of_range(&secondary);
        secondary.retain(|cid| *cid != self.settings.context);
        self.known().knows = Knows { profiles, secondary, unheard: Vec::new() };
        Ok(())
    }

    /// The answer, or none from a modem that says no.
    async fn if_it_knows(&self, command: Command) -> Result<Option<Vec<String>>, NegotiationFault> {
        match self.contexts()?.ask(command).await {
            Ok(lines) => Ok(Some(lines)),
            Err(ContextFault::Refused { .. }) => Ok(None),
            Err(fault) => Err(named(fault, false)),
        }
    }

    /// How everything is now: the first context, what it carries, and what became of sessions.
    async fn look(&self) {
        let _turn = self.turn.lock().await;
        match self.looked().await {
            Ok(()) => {}
            // During a call it is not asked, and what it was it still is.
            Err(NegotiationFault::Busy(_)) => {}
            Err(NegotiationFault::BearerDown(why)) => self.lost(why.code, why.says),
            Err(NegotiationFault::Silent(says)) => self.lost("modem-silent", says),
            Err(fault) => self.lost("no-context", fault.to_string()),
        }
    }

    async fn looked(&self) -> Result<(), NegotiationFault> {
        let first = self.settings.context;
        let mut states = pdp::context_states(&self.ask(Command::States).await?);
        let is_active = |states: &[pdp::ContextState], cid| states.iter().any(|s| s.cid == cid && s.active);
        if !is_active(&states, first) {
            let Some(apn) = &self.settings.apn else {
                let says = format!("context {first} of the modem is not active: connect it, or set `apn`");
                return Err(NegotiationFault::BearerDown(Why::new("no-context", says)));
            };
            // Its sessions went with it.
            self.lost("no-context", format!("context {first} is being activated"));
            let kind = self.settings.packets;
            self.ask(Command::Define { cid: first, kind, apn: apn.clone() }).await?;
            self.ask(Command::Activate { cid: first, active: true }).await?;
            states = pdp::context_states(&self.ask(Command::States).await?);
            if !is_active(&states, first) {
                let says = format!("the modem does not activate context {first}");
                return Err(NegotiationFault::BearerDown(Why::new("no-context", says)));
            }
        }
        let offered = self.quality(first, &Attributes::default()).await;
        let recommended = self.known().recommended;
        let offered = match offered {
            Ok(quality) => Capacity { up: quality.max_up(), down: quality.max_down() },
            // It carries something all the same, and how much is not known.
            Err(NegotiationFault::NotSupported(_) | NegotiationFault::Nonsense(_)) => Capacity::default(),
            Err(fault) => return Err(fault),
        };
        // Before it is up: then it is counted right from the first flow, or the moment after.
        self.report.roams(self.roaming().await?);
        self.report.up(offered.within(recommended));
        self.sessions_looked(&states).await
    }

    /// Whether it is on another operator's network; `None` when it does not say. What it refuses to say today it may say
    /// tomorrow (the card was busy); while it looks for a network it is where it was.
    async fn roaming(&self) -> Result<Option<bool>, NegotiationFault> {
        let mut roaming = None;
        for service in Service::ALL {
            if self.known().knows.unheard.contains(&service) {
                continue;
            }
            let lines = match self.if_it_knows(Command::Registration(service)).await {
                Ok(lines) => lines.unwrap_or_default(),
                // It has said nothing for longer than anything else may take: not again.
                Err(NegotiationFault::Silent(_)) => {
                    self.known().knows.unheard.push(service);
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            match pdp::registration(&lines, service) {
                Some(Registration::Home) => return Ok(Some(false)),
                Some(Registration::Roaming) => return Ok(Some(true)),
                Some(Registration::None) => roaming = self.report.status().roaming,
                None => {}
            }
        }
        Ok(roaming)
    }

    /// What a context has.
    async fn quality(&self, cid: u8, wished: &Attributes) -> Result<Attributes, NegotiationFault> {
        let profiles = self.known().knows.profiles;
        let nonsense = |lines: &[String]| {
            let said: String = lines.join(" ").chars().take(100).collect();
            NegotiationFault::Nonsense(format!("`{said}` as the quality of context {cid}"))
        };
        match profiles {
            Some(Profiles::Umts) => {
                let lines = self.ask(Command::Negotiated(cid)).await?;
                let given = pdp::negotiated(&lines, cid).and_then(|given| codes::of_umts(given, wished));
                given.ok_or_else(|| nonsense(&lines))
            }
            Some(Profiles::Eps) => {
                let lines = self.ask(Command::EpsDynamic(cid)).await?;
                let given = pdp::eps_dynamic(&lines, cid).and_then(|given| codes::of_eps(given, wished));
                given.ok_or_else(|| nonsense(&lines))
            }
            None => Err(NegotiationFault::NotSupported(
                "the modem knows no commands for quality of service".into(),
            )),
        }
    }
}

/// The named reason for what a modem answered. To a command that asks the network, a refusal without a number is the
/// network's: TS 27.007 has no number for its cause 37 (QoS not accepted) on UMTS.
fn named(fault: ContextFault, asked_the_network: bool) -> NegotiationFault {
    let says = fault.to_string();
    match fault {
        ContextFault::ModemBusy { .. } => NegotiationFault::Busy(says),
        ContextFault::ModemGone => NegotiationFault::BearerDown(Why::new("modem-gone", says)),
        ContextFault::Silent { .. } => NegotiationFault::Silent(says),
        ContextFault::Refused { cause: None, .. } if asked_the_network => NegotiationFault::NotAccepted(says),
        ContextFault::Refused { cause: None, .. } => NegotiationFault::NotSupported(says),
        ContextFault::Refused { cause: Some(cause), .. } => {
            let says = format!("{}: {says}", cause.code());
            match cause.number() {
                NOT_ATTACHED => NegotiationFault::BearerDown(Why::new("not-attached", says)),
                CONTEXTS_TOO_MANY => NegotiationFault::Busy(says),
                129 | 133 | 149 => NegotiationFault::NotPermitted(says),
                181 => NegotiationFault::NotSupported(says),
                _ if cause.means_not_supported() => NegotiationFault::NotSupported(says),
                _ if asked_the_network && Cause::means_no_such_quality(cause) => {
                    NegotiationFault::NotAccepted(says)
                }
                _ => NegotiationFault::Failed(says),
            }
        }
    }
}

/// TS 27.007, 9.2.2.
const NOT_ATTACHED: u16 = 53;
const CONTEXTS_TOO_MANY: u16 = 178;
