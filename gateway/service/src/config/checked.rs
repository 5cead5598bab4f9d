//! The configuration as the service uses it: every value in its own type, every rule between values kept. Called by
//! `load` after the layers are merged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use mexe_certs::Staleness;
use mexe_policy::TokenRuns;

use super::bearer::Bearer;
use super::layers::Layers;
use super::raw::{Expiry, Notify, Raw, RawCommand};
use super::{ConfigError, Guard};

/// A configuration that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the database, the control socket and the console's token are.
    pub state_dir: PathBuf,
    /// `[[bearer]]`: none means one bearer without limits. Streams are admitted against the first one.
    pub bearers: Vec<Bearer>,
    /// `[journal]`.
    pub journal: Journal,
    /// `[limits]`.
    pub limits: Limits,
    /// `[listen]`.
    pub listen: Listen,
    /// `[policy]`.
    pub policy: Policy,
    /// `[qos]`.
    pub qos: Qos,
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[trust]`.
    pub trust: Trust,
}

/// Where to listen; `None` is off. All on loopback unless `insecure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// SOCKS5.
    pub socks: Option<SocketAddr>,
    /// HTTP CONNECT and forward proxying.
    pub http: Option<SocketAddr>,
    /// HTTP/3, UDP. No effect yet.
    pub masque: Option<SocketAddr>,
    /// Console and API.
    pub console: Option<SocketAddr>,
    /// Prometheus metrics.
    pub metrics: Option<SocketAddr>,
    /// True when listeners may stand off loopback, where credentials travel in clear.
    pub insecure: bool,
}

/// A card that does not carry the bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardSource {
    /// An image of its files.
    Directory(PathBuf),
    /// A card reader (PC/SC), by its name; without one, the first that has a card.
    Reader(Option<String>),
}

impl CardSource {
    /// What a value begins with that names a card reader.
    pub(super) const READER: &str = "pcsc:";

    fn of(value: &str) -> Self {
        match value.strip_prefix(Self::READER) {
            Some(name) => Self::Reader((!name.is_empty()).then(|| name.to_owned())),
            None => Self::Directory(value.into()),
        }
    }
}

/// Where most systems keep the authorities of servers.
const SERVERS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom to trust. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The roots directory; guarded when it was loaded.
    pub roots: Option<PathBuf>,
    /// The folder of revocation lists; guarded when it was loaded.
    pub crls: Option<PathBuf>,
    /// Where a card is that is not the modem's (lab).
    pub usim: Option<CardSource>,
    /// True when legacy algorithms may reach the third party domain.
    pub legacy: bool,
    /// What an outdated revocation list means.
    pub revocation: Staleness,
    /// The authorities that HTTPS servers may lead to, PEM: for `app fetch`, and operators' APIs that name no others.
    pub servers: PathBuf,
}

/// How decisions are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A security table instead of the shipped one; guarded when it was loaded.
    pub security_table: Option<PathBuf>,
    /// Actions that are added to the table; guarded when it was loaded.
    pub actions: Option<PathBuf>,
    /// Which blanket permissions one app does not hold together.
    pub exclusions: Exclusions,
    /// How long a request waits for the user's answer; zero asks nobody.
    pub prompt_wait: Duration,
    /// How many questions may wait.
    pub prompt_queue: NonZeroU32,
    /// Whether the user's desktop is told of questions.
    pub prompt_notify: Notify,
    /// Whether the user's desktop is told which apps hold connections.
    pub connection_notify: Notify,
    /// What the user chose to tell his own questions by.
    pub prompt_phrase: Option<String>,
    /// What runs by token may use.
    pub token_runs: TokenRuns,
    /// What expiry does to installed apps.
    pub expiry: Expiry,
}

impl Policy {
    /// True when the end of a certificate's validity suspends apps that were installed before it.
    pub fn expiry_is_strict(&self) -> bool {
        self.expiry == Expiry::Strict
    }
}

/// Which blanket permissions one app does not hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusions {
    /// Those of a file; guarded when it was loaded.
    File(PathBuf),
    /// Those of MIDP 2.0.
    Midp,
    /// All may be held together.
    Off,
}

impl Exclusions {
    /// The values that are no path.
    pub(super) const WORDS: [&str; 2] = ["midp", "off"];

    fn of(value: &str) -> Self {
        match value {
            "midp" => Self::Midp,
            "off" => Self::Off,
            path => Self::File(path.into()),
        }
    }
}

/// How packages are executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Java archives.
    pub jar: RuntimeCommand,
    /// Native executables.
    pub native: RuntimeCommand,
}

impl Runtime {
    /// The command for that kind of package, `jar` or `native`; no words at all for any other, so that nothing is ever
    /// executed by a runtime that was not meant for it.
    pub fn command(&self, kind: &str) -> &[String] {
        match kind {
            "jar" => &self.jar.command,
            "native" => &self.native.command,
            _ => &[],
        }
    }
}

/// A command line: a program, arguments, and `{package}` in at least one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeCommand {
    /// The words, the program first.
    pub command: Vec<String>,
}

/// What streams get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qos {
    /// A folder of profiles instead of the shipped ones.
    pub profiles: Option<PathBuf>,
    /// The profile of a stream that nothing else names one for. Whether it exists is checked by who loads the profiles.
    pub default_profile: String,
}

/// How much is allowed at once, and how long things may take. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all; `None` is what RLIMIT_NOFILE leaves room for.
    pub connections: Option<NonZeroU32>,
    /// Connections of one run.
    pub connections_per_run: NonZeroU32,
    /// New connections of one run in one second; `None` is off.
    pub new_connections_per_second_per_run: Option<NonZeroU32>,
    /// From accept to the whole request.
    pub handshake: Duration,
    /// From the decision to an open upstream connection, all addresses together.
    pub connect: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
    /// The same for a flow of datagrams, which has no other end.
    pub datagram_idle: Duration,
    /// From the signal to stop until open flows are cut.
    pub drain: Duration,
    /// A package.
    pub package: u64,
    /// Any other request body.
    pub body: u64,
}

/// How much of the journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// For how long.
    pub retention: Duration,
    /// In how many bytes.
    pub max_size: u64,
}

/// A phrase is a short line, so that it is read each time.
fn phrase(raw: &Raw, layers: &Layers) -> Result<Option<String>, ConfigError> {
    let Some(phrase) = &raw.policy.prompt_phrase else { return Ok(None) };
    let fits = !phrase.trim().is_empty() && phrase.chars().count() <= 60;
    if fits && !phrase.chars().any(char::is_control) {
        return Ok(Some(phrase.clone()));
    }
    Err(layers.wrong("policy.prompt_phrase", "write a line of 1 to 60 characters that only you would choose"))
}

/// Turns what is written into what is used.
pub(super) fn check(
    raw: &Raw,
    state_dir: PathBuf,
    layers: &Layers,
    guard: &Guard,
) -> Result<Config, ConfigError> {
    let path = |text: &Option<String>| text.as_deref().map(PathBuf::from);
    let servers = path(&raw.trust.servers).unwrap_or_else(|| PathBuf::from(SERVERS));
    let config = Config {
        state_dir,
        bearers: super::bearer::checked(raw, layers, &servers, guard)?,
        journal: Journal { retention: raw.journal.retention.0, max_size: raw.journal.max_size.0 },
        limits: Limits {
            connections: raw.limits.connections.map(|count| count.0),
            connections_per_run: raw.limits.connections_per_run.0,
            new_connections_per_second_per_run: raw
                .limits
                .new_connections_per_second_per_run
                .map(|count| count.0),
            handshake: raw.limits.handshake.0,
            connect: raw.limits.connect.0,
            idle: raw.limits.idle.0,
            datagram_idle: raw.limits.datagram_idle.0,
            drain: raw.limits.drain.0,
            package: raw.limits.package.0,
            body: raw.limits.body.0,
        },
        listen: listen(raw, layers)?,
        policy: Policy {
            security_table: path(&raw.policy.security_table),
            actions: path(&raw.policy.actions),
            exclusions: Exclusions::of(&raw.policy.exclusions),
            prompt_wait: raw.policy.prompt_wait.0,
            prompt_queue: raw.policy.prompt_queue.0,
            prompt_notify: raw.policy.prompt_notify,
            connection_notify: raw.policy.connection_notify,
            prompt_phrase: phrase(raw, layers)?,
            token_runs: raw.policy.token_runs.into(),
            expiry: raw.policy.expiry,
        },
        qos: Qos { profiles: path(&raw.qos.profiles), default_profile: raw.qos.default_profile.clone() },
        runtime: Runtime {
            jar: command(&raw.runtime.jar, "runtime.jar.command", layers)?,
            native: command(&raw.runtime.native, "runtime.native.command", layers)?,
        },
        trust: Trust {
            roots: path(&raw.trust.roots),
            crls: path(&raw.trust.crls),
            usim: raw.trust.usim.as_deref().map(CardSource::of),
            legacy: raw.trust.legacy,
            revocation: raw.trust.revocation.into(),
            servers,
        },
    };
    if config.qos.default_profile.is_empty() {
        return Err(layers
            .wrong("qos.default_profile", "the name is empty: write a profile's name, as in `background`"));
    }
    for (key, size, least, shown) in [
        ("limits.body", config.limits.body, 1 << 10, "1 KiB"),
        ("limits.package", config.limits.package, 1 << 10, "1 KiB"),
        ("journal.max_size", config.journal.max_size, 1 << 20, "1 MiB"),
    ] {
        if size < least {
            return Err(
                layers.wrong(key, format!("the size is too small to work with: write {shown} or more"))
            );
        }
    }
    guarded(&config, layers, guard)?;
    Ok(config)
}

fn listen(raw: &Raw, layers: &Layers) -> Result<Listen, ConfigError> {
    let insecure = raw.listen.insecure;
    let mut taken = BTreeMap::new();
    for (key, listener) in [
        ("listen.socks", raw.listen.socks),
        ("listen.http", raw.listen.http),
        ("listen.masque", raw.listen.masque),
        ("listen.console", raw.listen.console),
        ("listen.metrics", raw.listen.metrics),
    ] {
        let Some(address) = listener.0 else { continue };
        if !insecure && !address.ip().to_canonical().is_loopback() {
            let message = format!(
                "`{address}` is not a loopback address, and credentials would travel in clear: use 127.0.0.1 or [::1], \
                 or set listen.insecure = true"
            );
            return Err(layers.wrong(key, message));
        }
        // The one UDP listener takes no port from the others, and port 0 is a different one each time.
        if key != "listen.masque"
            && address.port() != 0
            && let Some(other) = taken.insert(address, key)
        {
            return Err(layers
                .wrong(key, format!("`{address}` is taken by {other}: give each listener its own port")));
        }
    }
    Ok(Listen {
        socks: raw.listen.socks.0,
        http: raw.listen.http.0,
        masque: raw.listen.masque.0,
        console: raw.listen.console.0,
        metrics: raw.listen.metrics.0,
        insecure,
    })
}

fn command(raw: &RawCommand, key: &str, layers: &Layers) -> Result<RuntimeCommand, ConfigError> {
    let wrong = |message: &str| Err(layers.wrong(key, message));
    if raw.command.first().is_none_or(String::is_empty) {
        return wrong("the command names no program: write [\"PROGRAM\", \"ARGUMENT\", ..]");
    }
    if raw.command.iter().any(|word| word.contains('\0')) {
        return wrong("a word of the command holds a NUL character");
    }
    if !raw.command.iter().any(|word| word.contains("{package}")) {
        return wrong(
            "no word of the command is `{package}`, so the app would never be executed: put it where the file belongs",
        );
    }
    Ok(RuntimeCommand { command: raw.command.clone() })
}

/// Files that widen trust must be there and well guarded before anything is started (S4).
fn guarded(config: &Config, layers: &Layers, guard: &Guard) -> Result<(), ConfigError> {
    // What is not there is a mistake in the configuration: tell where it was named.
    let named_by = |key: &'static str| {
        move |error| match error {
            ConfigError::Unreadable { .. } => layers.wrong(key, error.to_string()),
            other => other,
        }
    };
    if let Some(roots) = &config.trust.roots {
        guard.roots(roots).map_err(named_by("trust.roots"))?;
    }
    if let Some(table) = &config.policy.security_table {
        guard.read(table, MAX_TABLE).map_err(named_by("policy.security_table"))?;
    }
    if let Some(actions) = &config.policy.actions {
        guard.read(actions, MAX_TABLE).map_err(named_by("policy.actions"))?;
    }
    if let Exclusions::File(exclusions) = &config.policy.exclusions {
        guard.read(exclusions, MAX_TABLE).map_err(named_by("policy.exclusions"))?;
    }
    if let Some(profiles) = &config.qos.profiles {
        let readable = std::fs::read_dir(profiles).map_err(|error| ConfigError::unreadable(profiles, error));
        readable.map_err(named_by("qos.profiles"))?;
    }
    Ok(())
}

/// A security table of more than a megabyte is another file.
const MAX_TABLE: u64 = 1 << 20;
