//! The service from start to stop: opens what it needs in an order that leaves nothing half done, listens, reloads on
//! SIGHUP, and drains on SIGTERM.

mod load;
mod orphans;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use mexe_journal::{Journal, JournalError};
use mexe_model::Reason;
use mexe_policy::{Policy, Settings, Surroundings};
use mexe_relay::{Key, back_pressure};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use crate::accounting;
use crate::apps::{self, App, Apps};
use crate::config::{self, BearerKind, ConfigError, Loaded};
use crate::gate::{Gate, Listening, Parts};
use crate::ingress::Door;
use crate::notify;
use crate::observe::pages;
use crate::qos::limits::AppLimits;
use crate::{bearer, card, clock, control, floor, grants, prompts, running, schedules, surroundings};
pub use load::check_tables;
use workers::Workers;

/// The control socket's name in the state directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The file that holds the console's token.
pub const CONSOLE_TOKEN: &str = "console.token";
/// After the drain's deadline flows are cut; what has not ended this long after is left behind.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How often the device's own addresses are looked at.
const LOOK_AROUND: Duration = Duration::from_secs(10);

/// Why the service could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A configured file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A configured file's content.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// A listener.
    #[error("cannot listen on {address} for {what}: {source}; choose another address in [listen]")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// For which protocol.
        what: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// Something in the state directory.
    #[error("{}: {source}; check the state directory", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The process itself.
    #[error("cannot {what}: {why}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        why: String,
    },
}

impl ServeError {
    fn process(what: &'static str, why: impl ToString) -> Self {
        Self::Process { what, why: why.to_string() }
    }
}

/// A gate that listens.
pub struct Serving {
    /// The gate.
    pub gate: Arc<Gate>,
    /// The console's token.
    pub console_token: Arc<Zeroizing<String>>,
    workers: Workers,
    drain: Duration,
}

/// Serves until SIGTERM or SIGINT, then drains. `reload` reads the configuration anew, for SIGHUP.
///
/// # Errors
/// What keeps the service from starting.
pub fn run(loaded: Loaded, reload: impl Fn() -> Result<Loaded, ConfigError>) -> Result<(), ServeError> {
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| ServeError::process("start the runtime", error))?;
    let served = runtime.block_on(async {
        let mut signals = Signals::new()?;
        for note in &loaded.notes {
            tracing::warn!("{note}");
        }
        let serving = start(loaded).await?;
        let listening = serving.gate.listening.clone();
        tracing::info!(?listening, state_dir = %serving.gate.state_dir().display(), "serving");
        while let Asked::Reload = signals.next().await {
            match reload() {
                Ok(loaded) => load::reload(&serving.gate, loaded).await,
                Err(error) => {
                    tracing::error!(%error, "the new configuration is not taken; the old one stays")
                }
            }
        }
        tracing::info!("stopping: no new flows; open ones have until the drain's deadline");
        serving.stop().await;
        Ok(())
    });
    // A card reader or a disk that does not answer keeps nobody from stopping.
    runtime.shutdown_timeout(LAST_WAIT);
    served
}

/// Opens everything and listens.
///
/// # Errors
/// What keeps the service from starting; nothing is left behind.
pub async fn start(loaded: Loaded) -> Result<Serving, ServeError> {
    let (config, guard) = (loaded.config, loaded.guard);
    let files = raise_file_limit();
    let table = Arc::new(load::security_table(&config, &guard)?);
    let exclusions = load::exclusions(&config, &guard)?;
    let actions = load::own_actions(&table)?;
    let profiles = load::profiles(&config)?;
    let trust_files = load::trust_files(&config, &guard)?;
    let options = load::journal_options(&config);
    let state_dir = config.state_dir.clone();
    let (journal, stored) = Journal::open(&state_dir, options)?;
    let device = load::device(&journal, &stored).await?;
    let floor = load::floor(&stored);
    let accounts = load::accounts(&journal, &stored);
    let app_limits = AppLimits::stored(&stored);
    let trusted = load::trusted(&config, trust_files, &guard, &stored, &floor);
    for problem in &trusted.problems {
        tracing::warn!("{problem}");
    }
    let apps = Apps::new(stored.apps.into_iter().map(App::from_stored));
    let folder = state_dir.join(apps::FOLDER);
    apps::tidy_folder(&state_dir, &apps).map_err(|source| ServeError::State { path: folder, source })?;

    let listeners = Listeners::bind(&config.listen, may_be_shaped(&config.bearers)).await?;
    let listening = listeners.addresses(&config.bearers);
    let settings = Settings { token_runs: config.policy.token_runs };
    let here =
        Surroundings { listeners: listening.all(), device_addresses: surroundings::device_addresses() };
    let policy = Policy::new(table, settings, here).with_exclusions(exclusions);
    let policy = load::grants(policy, stored.grants, &apps, &journal).await;
    let (policy, schedules) = schedules::load(policy, stored.schedules, &apps, &journal).await;
    let console_token = Arc::new(write_console_token(&state_dir)?);
    let drain = config.limits.drain;
    let gate = Gate::new(Parts {
        config,
        policy,
        actions,
        schedules,
        journal,
        accounts,
        app_limits,
        apps,
        trusted,
        floor,
        device,
        guard,
        profiles,
        listening,
        first_run: stored.first_run_id,
        first_flow: stored.first_flow_id,
        files,
        state_dir: state_dir.clone(),
    });
    let gate = Arc::new(gate.map_err(|error| ServeError::process("set up the metrics", error))?);

    let denials = stored.trust.iter().find(|(name, _)| name == prompts::KEPT);
    if let Some((_, value)) = denials {
        let denials = prompts::restore(value, gate.policy().table(), clock::now(), clock::wall());
        gate.prompts.lock().restore(denials);
    }
    // A gate that was killed between a change of roots and what it means for the apps settles it now.
    let settled = apps::settle_roots(&gate, &gate.change().await).await;
    // What suspended an app may have gone while no gate ran. A start waits for no package to be judged.
    let again = Arc::clone(&gate);
    tokio::spawn(async move { apps::judge_concerned(&again, &settled.resumed).await });

    // Before anything is let in: until then no hours are open.
    schedules::settle(&gate).await;

    let workers = Workers::start().map_err(|error| ServeError::process("start the workers", error))?;
    let api = control::router(Arc::clone(&gate));
    let socket = state_dir.join(CONTROL_SOCKET);
    let control = control::listen::bind_control_socket(&socket)
        .map_err(|source| ServeError::State { path: socket, source })?;
    tokio::spawn(control::listen::serve_control_socket(Arc::clone(&gate), control, api.clone()));
    listeners.serve(&gate, &workers, api, &console_token)?;
    orphans::adopt(&gate);
    if let Some(bus) = notify::session_bus() {
        // A stop waits until it has taken away what it shows.
        gate.spawn(notify::questions::follow(Arc::clone(&gate), bus.clone()));
        gate.spawn(notify::connections::follow(Arc::clone(&gate), bus));
    }
    // Before the modem is looked for, so that nothing of it is missed.
    tokio::spawn(bearer::keep(Arc::clone(&gate)));
    tokio::spawn(floor::watch(Arc::clone(&gate)));
    // A stop waits until it has ended the call that an app may have.
    gate.spawn(card::watch(Arc::clone(&gate), guard));
    tokio::spawn(grants::expire(Arc::clone(&gate)));
    tokio::spawn(schedules::keep(Arc::clone(&gate)));
    tokio::spawn(accounting::keep(Arc::clone(&gate)));
    tokio::spawn(running::end_overdue(Arc::clone(&gate)));
    tokio::spawn(look_around(Arc::clone(&gate)));
    Ok(Serving { gate, console_token, workers, drain })
}

impl Serving {
    /// No new flows; open ones have until the drain's deadline, then they are cut. The journal is whole when this returns.
    pub async fn stop(self) {
        let gate = &self.gate;
        gate.stop();
        if tokio::time::timeout(self.drain, gate.drained()).await.is_err() {
            let cut = gate.cut(&Key::All, Reason::GateStopping);
            tracing::info!(cut = cut.flows, "the drain's deadline is over");
        }
        for run in gate.runs.list() {
            running::end(gate, run.id, Reason::GateStopping).await;
        }
        let _ = tokio::time::timeout(LAST_WAIT, gate.drained()).await;
        schedules::give_back(gate).await;
        if let Err(error) = accounting::flush(gate).await {
            tracing::warn!(%error, "the latest of what apps moved could not be written down");
        }
        let _ = std::fs::remove_file(gate.state_dir().join(CONTROL_SOCKET));
        let journal = gate.journal.clone();
        let _ = tokio::task::spawn_blocking(move || journal.close()).await;
        self.workers.stop();
    }
}

/// The bound listeners, before anybody is served.
struct Listeners {
    socks: Option<std::net::TcpListener>,
    http: Option<std::net::TcpListener>,
    console: Option<std::net::TcpListener>,
    metrics: Option<std::net::TcpListener>,
}

impl Listeners {
    /// `is_shaped` is whether flows may be held to the rate of a bearer.
    async fn bind(listen: &crate::config::Listen, is_shaped: bool) -> Result<Self, ServeError> {
        Ok(Self {
            socks: bind(listen.socks, "SOCKS5", is_shaped)?,
            http: bind(listen.http, "HTTP", is_shaped)?,
            console: bind(listen.console, "the console", false)?,
            metrics: bind(listen.metrics, "metrics", false)?,
        })
    }

    fn addresses(&self, bearers: &[crate::config::Bearer]) -> Listening {
        let sinks = bearers.iter().filter_map(|bearer| bearer.camara.as_ref()?.sink.as_ref());
        let address = |listener: &Option<std::net::TcpListener>| listener.as_ref()?.local_addr().ok();
        Listening {
            socks: address(&self.socks),
            http: address(&self.http),
            console: address(&self.console),
            metrics: address(&self.metrics),
            sinks: sinks.map(|sink| sink.listen).collect(),
        }
    }

    fn serve(
        self,
        gate: &Arc<Gate>,
        workers: &Workers,
        api: axum::Router,
        token: &Arc<Zeroizing<String>>,
    ) -> Result<(), ServeError> {
        let broken = |error: io::Error| ServeError::process("serve a listener", error);
        for (listener, door) in [(self.socks, Door::Socks5), (self.http, Door::Http)] {
            let Some(listener) = listener else { continue };
            workers.serve(gate, listener, door).map_err(broken)?;
        }
        if let Some(listener) = self.console {
            let listener = TcpListener::from_std(listener).map_err(broken)?;
            let serving = control::listen::serve_console(Arc::clone(gate), listener, api, Arc::clone(token));
            tokio::spawn(serving);
        }
        if let Some(listener) = self.metrics {
            let listener = TcpListener::from_std(listener).map_err(broken)?;
            let pages = pages::metrics_router(Arc::clone(gate));
            let open = control::door::Open::ToTheEnd;
            tokio::spawn(control::door::serve(Arc::clone(gate), listener, open, move |_| pages.clone()));
        }
        Ok(())
    }
}

/// Whether what apps send may be held to the rate of a bearer. A static one without a rate never has one.
fn may_be_shaped(bearers: &[config::Bearer]) -> bool {
    bearers.iter().any(|bearer| bearer.uplink.is_some() || bearer.kind != BearerKind::Static)
}

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 4096;

fn bind(
    address: Option<SocketAddr>,
    what: &'static str,
    is_shaped: bool,
) -> Result<Option<std::net::TcpListener>, ServeError> {
    use socket2::{Domain, Protocol, Socket, Type};
    let Some(address) = address else { return Ok(None) };
    let open = || -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart need not wait for the last connections' TIME-WAIT. (SO_REUSEPORT is left alone: with it, any
        // program of the same user could take a share of the apps' connections, credentials and all.)
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Small writes are answers that somebody waits for. Whatever is accepted inherits it.
        socket.set_tcp_nodelay(true)?;
        if is_shaped {
            back_pressure::prepare_listener((&socket).into())?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map(Some).map_err(|source| ServeError::Listen { address, what, source })
}

/// As many files as the system allows; tells how many.
fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

fn write_console_token(state_dir: &std::path::Path) -> Result<Zeroizing<String>, ServeError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut secret = Zeroizing::new([0_u8; 32]);
    rand::fill(secret.as_mut_slice())
        .map_err(|_| ServeError::process("make the console's token", "no random bytes"))?;
    let token = Zeroizing::new(apps::hex(secret.as_slice()));
    let path = state_dir.join(CONSOLE_TOKEN);
    let write = || -> io::Result<()> {
        // A new file each time: an old one may have been opened by somebody while its mode was another.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(token.as_bytes())?;
        file.write_all(b"\n")
    };
    write().map_err(|source| ServeError::State { path: path.clone(), source })?;
    Ok(token)
}

async fn look_around(gate: Arc<Gate>) {
    loop {
        tokio::select! {
            () = gate.stopped() => return,
            () = tokio::time::sleep(LOOK_AROUND) => {}
        }
        let addresses = surroundings::device_addresses();
        gate.change().await.surroundings(addresses);
    }
}

enum Asked {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, ServeError> {
        let open = |kind| signal(kind).map_err(|error| ServeError::process("watch for signals", error));
        Ok(Self {
            hangup: open(SignalKind::hangup())?,
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
        }
    }
}

/// Completes at SIGTERM or SIGINT: for the demo.
///
/// # Errors
/// Signals cannot be watched.
pub async fn until_stopped() -> Result<(), ServeError> {
    let mut signals = Signals::new()?;
    while let Asked::Reload = signals.next().await {}
    Ok(())
}

/// Log lines go to standard error; `RUST_LOG` chooses which.
pub fn log_to_stderr() {
    log_to_stderr_from("info");
}

/// As [`log_to_stderr`], from another level on where `RUST_LOG` does not say.
pub fn log_to_stderr_from(level: &str) {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // Fails only when something logs already.
    let _ = fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_listener_accepts_sends_small_writes_at_once() {
        let listener = bind(Some(SocketAddr::from(([127, 0, 0, 1], 0))), "test", false).unwrap().unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
