//! The bearers of the configuration, each with its control: which there are, which of them a flow goes over, and what is
//! asked of each. What becomes of them is heard by whoever watches them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mexe_model::BitRate;
use mexe_qos::Attributes;
use prometheus::{IntCounter, IntCounterVec};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use super::camara::CamaraControl;
use super::fixed::Fixed;
use super::linux::LinuxControl;
use super::modem::ModemControl;
use super::{
    BearerEvent, DEADLINE, Granted, NegotiationFault, NetworkControl, Report, Request, SessionId, Status, Why,
};
use crate::config::{self, BearerKind, CamaraSettings, DeviceQueues};
use crate::gate::Gate;
use crate::observe::BearerSeries;
use crate::qos::shaping::Shared;

/// One bearer.
pub struct Bearer {
    report: Arc<Report>,
    kind: BearerKind,
    device: Option<String>,
    camara: Option<CamaraSettings>,
    control: Arc<dyn NetworkControl>,
    shaping: Shared,
    /// How what flows move over it is counted now.
    counts_as_roaming: AtomicBool,
    negotiations: IntCounterVec,
    moved: [IntCounter; 2],
}

impl Bearer {
    /// Of that control, which keeps that report.
    #[cfg(test)]
    pub(super) fn of(
        report: Arc<Report>,
        control: Arc<dyn NetworkControl>,
        negotiations: IntCounterVec,
    ) -> Self {
        let shaping = Shared::new(true, false, super::Capacity::default());
        let moved = ["up", "down"].map(|way| IntCounter::new(way, way).expect("a name"));
        let (kind, device, camara) = (BearerKind::Static, None, None);
        let counts_as_roaming = AtomicBool::new(false);
        Self { report, kind, device, camara, control, shaping, counts_as_roaming, negotiations, moved }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        self.report.name()
    }

    /// How it is now.
    pub fn status(&self) -> Status {
        self.report.status()
    }

    /// How it is now, and whatever it becomes; its capacity is in it.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.report.watch()
    }

    /// Asks for a session.
    ///
    /// # Errors
    /// Why there is none; whoever asked for it falls back to best effort.
    pub async fn negotiate(&self, request: &Request) -> Result<Granted, NegotiationFault> {
        let answer = self.in_time(self.control.negotiate(request)).await;
        self.count(answer.as_ref().map(|granted| granted.attributes == request.wished));
        answer
    }

    /// Asks for something else for a session that there is.
    ///
    /// # Errors
    /// Why not; the session is as before.
    pub async fn modify(
        &self,
        session: SessionId,
        request: &Request,
    ) -> Result<Attributes, NegotiationFault> {
        let answer = self.in_time(self.control.modify(session, request)).await;
        self.count(answer.as_ref().map(|given| *given == request.wished));
        answer
    }

    /// Gives a session back.
    ///
    /// # Errors
    /// The bearer could not be told; the session counts as gone here.
    pub async fn release(&self, session: SessionId) -> Result<(), NegotiationFault> {
        let answer = self.in_time(self.control.release(session)).await;
        self.report.released(session);
        answer
    }

    /// Whether a network behind it is asked: then its word caps what it gives.
    pub const fn is_negotiated(&self) -> bool {
        matches!(self.kind, BearerKind::Modem | BearerKind::Camara)
    }

    /// Whether it can be asked only for packets to and from an end that is known.
    pub fn needs_remote(&self) -> bool {
        self.control.needs_remote()
    }

    /// Whether packets go nowhere when it is lost. An operator's API is only asked about the network behind it.
    pub const fn is_path(&self) -> bool {
        !matches!(self.kind, BearerKind::Camara)
    }

    /// Whether flows can go over it now.
    pub fn carries(&self) -> bool {
        !self.is_path() || self.status().is_up()
    }

    /// The network device that flows go out by, where they are not left to the routing table.
    pub fn bound_to(&self) -> Option<&str> {
        self.device.as_deref().filter(|_| self.kind == BearerKind::Linux)
    }

    /// What it carries, shared by its flows.
    pub const fn shaping(&self) -> &Shared {
        &self.shaping
    }

    /// Whether what is moved over it is moved on another operator's network. A modem that does not say is taken to be there:
    /// that may cost more.
    pub fn is_roaming(&self) -> bool {
        self.counts_as_roaming.load(Ordering::Acquire)
    }

    /// Counts what is moved from now on as it is said to be. `before` is done first, where that changes anything: what was
    /// moved is counted as it was moved.
    pub fn count_roaming(&self, before: impl FnOnce()) {
        let roaming = self.status().roaming.unwrap_or(self.kind == BearerKind::Modem);
        if self.is_roaming() != roaming {
            before();
            self.counts_as_roaming.store(roaming, Ordering::Release);
        }
    }

    /// Its flows moved so many bytes more, up and down.
    pub fn moved(&self, bytes: [u64; 2]) {
        self.moved.iter().zip(bytes).for_each(|(series, bytes)| series.inc_by(bytes));
    }

    /// How often its flows were cut because it was lost. Who has looked before, and finds the same afterwards, was on it all
    /// the time.
    pub fn losses(&self) -> u64 {
        if self.is_path() { self.report.losses() } else { 0 }
    }

    /// Completes when it is lost again. Cancel safe.
    pub async fn lost(&self, losses: u64) {
        let mut status = self.watch();
        while self.losses() == losses {
            if status.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What it gives that session now; `None` when there is no such session.
    pub fn given(&self, session: SessionId) -> Option<Attributes> {
        self.report.sessions().get(&session).map(|session| session.given)
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, NegotiationFault>>,
    ) -> Result<T, NegotiationFault> {
        let late = || Err(NegotiationFault::Silent(format!("{} s are over", DEADLINE.as_secs())));
        timeout(DEADLINE, asked).await.unwrap_or_else(|_: tokio::time::error::Elapsed| late())
    }

    fn count(&self, answer: Result<bool, &NegotiationFault>) {
        let result = match answer {
            Ok(true) => GRANTED,
            Ok(false) => OTHERWISE,
            Err(fault) => fault.code(),
        };
        self.negotiations.with_label_values(&[self.name().as_ref(), result]).inc();
    }

    fn shown(&self) -> Value {
        let status = self.status();
        let sessions: Vec<Value> = self
            .report
            .sessions()
            .iter()
            .map(|(id, session)| json!({ "id": id.to_string(), "wished": session.wished, "given": session.given }))
            .collect();
        json!({
            "name": **self.name(),
            "kind": self.kind,
            "device": self.device,
            "queues": self.control.queues(),
            "state": if status.is_up() { "up" } else { "down" },
            "why": status.down.as_ref().map(|why| why.code),
            "detail": status.down.as_ref().map(|why| &why.says),
            "since": status.since.to_string(),
            "uplink": status.capacity.up,
            "downlink": status.capacity.down,
            "roaming": status.roaming,
            "sessions": sessions,
        })
    }
}

/// What the series call a negotiation that gave what was asked for.
const GRANTED: &str = "granted";
/// One that gave something else, or did not say all.
const OTHERWISE: &str = "granted-otherwise";

/// Every bearer.
pub struct Bearers {
    all: Vec<Arc<Bearer>>,
    devices: Vec<Arc<LinuxControl>>,
    modems: Vec<(Arc<str>, Arc<ModemControl>)>,
    operators: Vec<(Arc<str>, Arc<CamaraControl>)>,
    events: broadcast::Sender<BearerEvent>,
}

impl Bearers {
    /// Those of the configuration; without any, one without limits.
    pub fn new(configured: &[config::Bearer], series: &BearerSeries) -> Self {
        let is_shared = !configured.is_empty();
        let events = broadcast::Sender::new(EVENTS_MAX);
        let (all, devices, modems, operators) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut bearers = Self { all, devices, modems, operators, events };
        let unlimited = config::Bearer::unlimited();
        let configured = if configured.is_empty() { std::slice::from_ref(&unlimited) } else { configured };
        for bearer in configured {
            bearers.add(bearer, is_shared, series);
        }
        bearers
    }

    fn add(&mut self, configured: &config::Bearer, is_shared: bool, series: &BearerSeries) {
        let why = Why::new("starting", "it was not asked yet");
        let ceiling = configured.ceiling();
        let report = Arc::new(Report::new(&configured.name, ceiling, self.events.clone(), why));
        let control: Arc<dyn NetworkControl> = match configured.kind {
            BearerKind::Static => Arc::new(Fixed::new(Arc::clone(&report))),
            BearerKind::Modem => {
                let control = ModemControl::new(Arc::clone(&report), configured.modem.clone());
                let control = Arc::new(control);
                if !self.modems.is_empty() {
                    let says = "the gate uses one modem, the first of the configuration";
                    report.down(Why::new("modem-not-first", says));
                }
                self.modems.push((Arc::clone(report.name()), Arc::clone(&control)));
                control
            }
            BearerKind::Linux => {
                let device = configured.device.clone().unwrap_or_default();
                let control = Arc::new(LinuxControl::new(
                    Arc::clone(&report),
                    device,
                    configured.queues == DeviceQueues::Htb,
                ));
                self.devices.push(Arc::clone(&control));
                control
            }
            BearerKind::Camara => match &configured.camara {
                Some(settings) => {
                    let control = Arc::new(CamaraControl::new(Arc::clone(&report), settings.clone()));
                    self.operators.push((Arc::clone(report.name()), Arc::clone(&control)));
                    control
                }
                None => not_controlled(&report, "nothing says where the operator's API is"),
            },
            BearerKind::Tunnel => {
                not_controlled(&report, "this version cannot control bearers of kind tunnel")
            }
        };
        if let Some(roaming) = configured.roaming {
            report.roams(Some(roaming));
        }
        for result in NegotiationFault::CODES.into_iter().chain([GRANTED, OTHERWISE]) {
            series.negotiations.with_label_values(&[configured.name.as_str(), result]);
        }
        let name = configured.name.as_str();
        let bearer = Bearer {
            report,
            kind: configured.kind,
            device: configured.device.clone(),
            camara: configured.camara.clone(),
            control,
            shaping: Shared::new(is_shared, configured.kind == BearerKind::Linux, ceiling),
            counts_as_roaming: AtomicBool::new(false),
            negotiations: series.negotiations.clone(),
            moved: ["up", "down"].map(|way| series.bytes.with_label_values(&[name, way])),
        };
        bearer.count_roaming(|| {});
        self.all.push(Arc::new(bearer));
    }

    /// The bearer of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Bearer>> {
        self.all.iter().find(|bearer| **bearer.name() == *name)
    }

    /// The one that new flows go over: the first that can carry them.
    pub fn choose(&self) -> Option<&Arc<Bearer>> {
        self.all.iter().find(|bearer| bearer.carries())
    }

    /// The one that streams are promised something on: that which new flows go over, else the first.
    pub fn first(&self) -> Option<&Arc<Bearer>> {
        self.choose().or_else(|| self.all.first())
    }

    /// Begins to follow them, as long as the gate runs.
    pub fn follow(&self, gate: &Arc<Gate>) {
        for (_, modem) in &self.modems {
            tokio::spawn(Arc::clone(modem).run());
        }
        for (_, operator) in &self.operators {
            let (operator, stopping) = (Arc::clone(operator), Arc::clone(gate));
            // A stop waits until it has given its sessions back.
            gate.spawn(async move { operator.run(stopping.stopped()).await });
        }
        for device in &self.devices {
            if let Err(error) = device.follow() {
                tracing::error!(%error, "a network device cannot be followed");
            }
            let (device, stopping) = (Arc::clone(device), Arc::clone(gate));
            // A stop waits until it is as it was.
            gate.spawn(async move {
                stopping.stopped().await;
                let _ = tokio::task::spawn_blocking(move || device.leave()).await;
            });
        }
    }

    /// Every one of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Bearer> {
        self.all.iter().map(Arc::as_ref)
    }

    /// The control of a modem.
    pub fn modem(&self, name: &str) -> Option<&Arc<ModemControl>> {
        self.modems.iter().find(|(known, _)| **known == *name).map(|(_, control)| control)
    }

    /// The control of an operator's API.
    pub fn operator(&self, name: &str) -> Option<&Arc<CamaraControl>> {
        self.operators.iter().find(|(known, _)| **known == *name).map(|(_, control)| control)
    }

    /// What happens to them from now on. Who is too slow misses some, is told so, and looks at each anew.
    pub fn watch(&self) -> broadcast::Receiver<BearerEvent> {
        self.events.subscribe()
    }

    /// Every one of them, as the API shows it.
    pub fn list(&self) -> Vec<Value> {
        self.iter().map(Bearer::shown).collect()
    }

    /// Name, and how it is: for the series.
    pub fn stock(&self) -> Vec<(Arc<str>, Status)> {
        self.iter().map(|bearer| (Arc::clone(bearer.name()), bearer.status())).collect()
    }

    /// Takes up the rates of another configuration; bearers that come, go or are controlled otherwise do so at the next
    /// start. Tells whether there are such.
    pub fn reload(&self, configured: &[config::Bearer]) -> bool {
        let unlimited = config::Bearer::unlimited();
        let configured = if configured.is_empty() { std::slice::from_ref(&unlimited) } else { configured };
        let mut others = configured.len() != self.all.len();
        for bearer in configured {
            let same = |known: &&Arc<Bearer>| {
                let queues = known.control.queues().is_some() == (bearer.queues == DeviceQueues::Htb);
                known.kind == bearer.kind
                    && known.device == bearer.device
                    && known.camara == bearer.camara
                    && queues
            };
            match self.get(&bearer.name).filter(same) {
                Some(known) => {
                    known.report.allow(bearer.ceiling());
                    if bearer.kind != BearerKind::Modem {
                        known.report.roams(bearer.roaming);
                    }
                }
                None => others = true,
            }
        }
        others
    }
}

fn not_controlled(report: &Arc<Report>, says: &str) -> Arc<dyn NetworkControl> {
    report.down(Why::new("kind-not-supported", says));
    Arc::new(Fixed::as_reported(Arc::clone(report)))
}

/// So many events a watcher may lag behind.
const EVENTS_MAX: usize = 256;

/// Bytes per second, for the series; a rate that is not a whole number of bytes is rounded down.
pub fn bytes_per_second(rate: BitRate) -> i64 {
    i64::try_from(rate.get() / 8).unwrap_or(i64::MAX)
}

/// How often what cannot tell by itself is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(10);
