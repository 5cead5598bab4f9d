//! The gate as one value: everything that the listeners, the API and the tasks share. It holds the rooms together and
//! decides nothing itself; what changes goes through the few methods here and in [`crate::apps`], [`crate::grants`] and
//! [`crate::running`], one at a time.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption, Guard as Loaded};
use mexe_card::Voice;
use mexe_journal::Journal;
use mexe_model::{FlowId, Instant, Reason, RunId, WallTime};
use mexe_policy::{ActionId, Policy, Surroundings};
use mexe_qos::ProfileSet;
use mexe_relay::{Key, Leases, PipePool, Revoked};
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounting::Accounts;
use crate::apps::Apps;
use crate::associations::Associations;
use crate::bearer::Bearers;
use crate::calls::Calls;
use crate::clock;
use crate::config::{Config, Guard};
use crate::events::{Event, Events};
use crate::fetch::Fetched;
use crate::floor::Floor;
use crate::flows::Flows;
use crate::notify;
use crate::observe::{Metrics, Stock};
use crate::permits::Permits;
use crate::prompts::Desk;
use crate::qos::Streams;
use crate::qos::limits::AppLimits;
use crate::runs::Runs;
use crate::schedules::Schedules;
use crate::shadow::Beside;
use crate::trust::Trusted;

/// Where the gate listens; `None` where a listener is off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// SOCKS5.
    pub socks: Option<SocketAddr>,
    /// HTTP CONNECT and forward requests.
    pub http: Option<SocketAddr>,
    /// API.
    pub console: Option<SocketAddr>,
    /// Metrics and health.
    pub metrics: Option<SocketAddr>,
    /// Where operators send events.
    pub sinks: Vec<SocketAddr>,
}

impl Listening {
    /// Every address that is listened on.
    pub fn all(&self) -> Vec<SocketAddr> {
        let own = [self.socks, self.http, self.console, self.metrics].into_iter().flatten();
        own.chain(self.sinks.iter().copied()).collect()
    }
}

/// The actions that the gate itself asks about.
#[derive(Clone, Copy, Debug)]
pub struct OwnActions {
    /// `network.connect`.
    pub connect: ActionId,
    /// `network.datagram`.
    pub datagram: ActionId,
    /// `network.qos`.
    pub qos: ActionId,
    /// `network.usage`.
    pub usage: ActionId,
}

/// What a gate is made of when it starts.
pub struct Parts {
    /// The checked configuration.
    pub config: Config,
    /// Table, settings, surroundings and the grants that survived.
    pub policy: Policy,
    /// The actions that the gate asks about, in that table.
    pub actions: OwnActions,
    /// The schedules that were signed off; their grants are in the policy.
    pub schedules: Schedules,
    /// The open journal.
    pub journal: Journal,
    /// What was moved this month, and the usage thresholds.
    pub accounts: Accounts,
    /// The most that apps may move a second.
    pub app_limits: AppLimits,
    /// The installed apps.
    pub apps: Apps,
    /// Roots, and what was wrong with some.
    pub trusted: Trusted,
    /// The earliest time that it can be now.
    pub floor: Floor,
    /// What the administrator's messages call this device.
    pub device: String,
    /// Who may have written the files that trust comes from.
    pub guard: Guard,
    /// The traffic profiles.
    pub profiles: ProfileSet,
    /// Where it listens.
    pub listening: Listening,
    /// Numbers that were never given out before.
    pub first_run: u64,
    /// Likewise for flows.
    pub first_flow: u64,
    /// How many files the process may open.
    pub files: u64,
    /// The state directory.
    pub state_dir: PathBuf,
}

/// Everything shared.
pub struct Gate {
    config: ArcSwap<Config>,
    policy: ArcSwap<Policy>,
    /// The actions that the gate asks about.
    pub actions: OwnActions,
    /// The schedules that the user signed off.
    pub schedules: Schedules,
    /// The journal.
    pub journal: Journal,
    /// What apps moved.
    pub accounts: Accounts,
    /// The most that apps may move a second.
    pub app_limits: AppLimits,
    /// Installed apps.
    pub apps: Apps,
    /// Live runs.
    pub runs: Runs,
    /// Open leases.
    pub leases: Leases,
    /// Pipes for splicing.
    pub pipes: PipePool,
    last_cut: AtomicU64,
    /// Open flows.
    pub flows: Flows,
    /// Where apps send their datagrams.
    pub associations: Associations,
    /// The ways onto the network.
    pub bearers: Bearers,
    /// Connection limits.
    pub permits: Permits,
    /// The series.
    pub metrics: Metrics,
    /// Where it listens.
    pub listening: Listening,
    trusted: ArcSwap<Trusted>,
    /// The earliest time that it can be now.
    pub floor: Floor,
    /// What the administrator's messages call this device.
    pub device: String,
    /// Who may have written the files that trust comes from.
    pub guard: Guard,
    /// Packages that were fetched and not decided on.
    pub fetched: Fetched,
    /// A candidate beside the live policy.
    pub beside: Beside,
    /// Voice calls that are open.
    pub calls: Calls,
    /// What apps asked a quality of service for.
    pub streams: Streams,
    /// Questions to the user.
    pub prompts: Desk,
    /// Who watches is told here.
    pub events: Events,
    profiles: ArcSwap<ProfileSet>,
    voice: ArcSwapOption<Voice>,
    state_dir: PathBuf,
    started: WallTime,
    next_flow: AtomicU64,
    changing: Mutex<()>,
    /// Told when the next expiry may have moved.
    pub grants_changed: Notify,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Gate {
    /// Puts the parts together.
    ///
    /// # Errors
    /// The metrics registry's own.
    pub fn new(parts: Parts) -> Result<Self, prometheus::Error> {
        let limits = &parts.config.limits;
        let metrics = Metrics::new()?;
        Ok(Self {
            permits: Permits::new(
                parts.files,
                limits.connections.map(as_usize),
                as_usize(limits.connections_per_run),
            ),
            beside: Beside::default(),
            calls: Calls::default(),
            streams: Streams::default(),
            prompts: Desk::new(as_usize(parts.config.policy.prompt_queue)),
            events: Events::default(),
            policy: ArcSwap::from_pointee(parts.policy),
            actions: parts.actions,
            schedules: parts.schedules,
            journal: parts.journal,
            accounts: parts.accounts,
            app_limits: parts.app_limits,
            apps: parts.apps,
            runs: Runs::new(parts.first_run),
            leases: Leases::new(|_| {}),
            pipes: PipePool::default(),
            last_cut: AtomicU64::new(0),
            flows: Flows::default(),
            associations: Associations::default(),
            bearers: Bearers::new(&parts.config.bearers, metrics.bearers()),
            metrics,
            listening: parts.listening,
            trusted: ArcSwap::from_pointee(parts.trusted),
            floor: parts.floor,
            device: parts.device,
            guard: parts.guard,
            fetched: Fetched::default(),
            profiles: ArcSwap::from_pointee(parts.profiles),
            voice: ArcSwapOption::empty(),
            state_dir: parts.state_dir,
            config: ArcSwap::from_pointee(parts.config),
            started: clock::wall(),
            next_flow: AtomicU64::new(parts.first_flow),
            changing: Mutex::new(()),
            grants_changed: Notify::new(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Loaded<Arc<Config>> {
        self.config.load()
    }

    /// The policy as it is now. Decide on one of these, then compare its epoch.
    pub fn policy(&self) -> Loaded<Arc<Policy>> {
        self.policy.load()
    }

    /// The roots as they are now.
    pub fn trusted(&self) -> Arc<Trusted> {
        self.trusted.load_full()
    }

    /// The traffic profiles as they are now.
    pub fn profiles(&self) -> Loaded<Arc<ProfileSet>> {
        self.profiles.load()
    }

    /// Makes calls over the modem that carries the bearer; `None` without one that answers. Whether the modem knows calls
    /// shows when it is to dial.
    pub fn voice(&self) -> Option<Arc<Voice>> {
        self.voice.load_full()
    }

    /// The modem is there and served, or gone.
    pub fn set_voice(&self, voice: Option<Voice>) {
        self.voice.store(voice.map(Arc::new));
    }

    /// The state directory.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Whoever changes apps, grants, runs or roots holds this: changes happen one at a time, so that what is written
    /// down, what the policy holds and what is cut agree.
    pub async fn change(&self) -> Changing<'_> {
        Changing { gate: self, _turn: self.changing.lock().await }
    }

    /// A flow number that was never used.
    pub fn next_flow(&self) -> FlowId {
        FlowId(self.next_flow.fetch_add(1, Ordering::Relaxed))
    }

    /// Cuts every lease under that key, those that are still connecting too; tells how many.
    pub fn cut(&self, key: &Key, reason: Reason) -> Revoked {
        self.last_cut.store(clock::now().as_nanos(), Ordering::Relaxed);
        self.leases.revoke(key, reason)
    }

    /// Cuts every open flow over that bearer.
    pub fn cut_bearer(&self, bearer: &str) {
        self.last_cut.store(clock::now().as_nanos(), Ordering::Relaxed);
        self.flows.cut(bearer, Reason::BearerLost);
    }

    /// When something was cut last.
    pub fn last_cut(&self) -> Instant {
        Instant::from_nanos(self.last_cut.load(Ordering::Relaxed))
    }

    /// Runs a task that a graceful stop waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Completes when the gate begins to stop.
    pub async fn stopped(&self) {
        self.stopping.cancelled().await;
    }

    /// Whether the gate has begun to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Begins to stop: listeners close, new flows are refused.
    pub fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
    }

    /// Completes when every task has ended; only after [`Gate::stop`].
    pub async fn drained(&self) {
        self.tasks.wait().await;
    }

    /// Completes when that run is over.
    pub async fn run_ended(&self, id: RunId) {
        loop {
            let changed = self.grants_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.runs.get(id).is_none() {
                return;
            }
            changed.await;
        }
    }

    /// Why the gate cannot take connections now, if it cannot.
    pub fn not_ready(&self) -> Option<String> {
        if self.is_stopping() {
            return Some(format!("{}: {}", Reason::GateStopping, Reason::GateStopping.says()));
        }
        let health = self.journal.health();
        let why = || health.why.clone().unwrap_or_default();
        (!health.available).then(|| format!("{}: {}", Reason::JournalUnavailable, why()))
    }

    /// Tells the series and the accounts what open flows have moved so far.
    pub fn settle_flow_bytes(&self) {
        self.flows.settle(&self.accounts);
    }

    /// What a scrape counts.
    pub fn stock(&self) -> Stock {
        let health = self.journal.health();
        Stock {
            apps: self.apps.list().iter().map(|app| app.trust).collect(),
            runs: self.runs.list().iter().map(|run| run.trust).collect(),
            grants: self.policy().grants().map(|grant| grant.permission()).collect(),
            roots: self.trusted().counted(),
            streams: self.streams.classes(),
            bearers: self.bearers.stock(),
            prompts_open: self.prompts.lock().open(),
            journal_backlog: health.backlog,
            journal_records: health.records_total,
        }
    }

    /// The gate at a glance.
    pub fn status(&self) -> serde_json::Value {
        let address = |a: Option<SocketAddr>| a.map_or_else(|| "off".to_owned(), |a| a.to_string());
        let config = self.config();
        let health = self.journal.health();
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started_at": self.started.to_string(),
            "ready": self.not_ready().is_none(),
            "why_not_ready": self.not_ready(),
            "pid": std::process::id(),
            "device": self.device,
            "clock": self.clock_holds().map_or_else(|refused| json_text(&refused), |()| "ok".into()),
            "uid": rustix::process::geteuid().as_raw(),
            "state_dir": self.state_dir,
            "listen": {
                "socks": address(self.listening.socks),
                "http": address(self.listening.http),
                "console": address(self.listening.console),
                "metrics": address(self.listening.metrics),
            },
            "token_runs": config.policy.token_runs.as_str(),
            "phrase": config.policy.prompt_phrase,
            "notifier": notify::notifier(config.policy.prompt_notify),
            "connection_notifier": notify::notifier(config.policy.connection_notify),
            "holding": self.flows.holders(),
            "connections": { "open": self.permits.open(), "most": self.permits.most() },
            "journal": { "available": health.available, "backlog": health.backlog },
            "apps": self.apps.list().len(),
            "runs": self.runs.list().len(),
        })
    }
}

/// The right to change what lasts; held by one task at a time.
pub struct Changing<'a> {
    gate: &'a Gate,
    _turn: MutexGuard<'a, ()>,
}

impl Changing<'_> {
    /// Replaces the policy by what `with` makes of it.
    pub fn policy(&self, with: impl FnOnce(&Policy) -> Policy) {
        let next = with(&self.gate.policy.load());
        self.gate.beside.follow(&next);
        self.gate.policy.store(Arc::new(next));
        self.gate.grants_changed.notify_waiters();
        self.gate.prompts.changed.notify_waiters();
        self.gate.events.tell(Event::Change);
    }

    /// Puts another trust store in place; who changes it settles what that means for the apps.
    pub fn trust(&self, trusted: Trusted) {
        self.gate.trusted.store(Arc::new(trusted));
        self.gate.events.tell(Event::Change);
    }

    /// Replaces the configuration and profiles at a reload.
    pub fn reload(&self, config: Config, profiles: ProfileSet) {
        self.gate.permits.set_most_of_a_run(as_usize(config.limits.connections_per_run));
        self.gate.prompts.set_places(as_usize(config.policy.prompt_queue));
        self.gate.config.store(Arc::new(config));
        self.gate.profiles.store(Arc::new(profiles));
        crate::qos::capacity_changed(self.gate);
    }

    /// Tells the policy what the device is called on the network now; nothing happens when it is as before.
    pub fn surroundings(&self, device_addresses: Vec<IpAddr>) {
        let next = Surroundings { listeners: self.gate.listening.all(), device_addresses };
        if *self.gate.policy().surroundings() != next {
            self.policy(|policy| policy.with_surroundings(next.clone()));
        }
    }
}

fn json_text(refused: &crate::refused::Refused) -> serde_json::Value {
    refused.to_string().into()
}

fn as_usize(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}
