//! The configuration as it is written: one struct a section, every key with its default, unknown keys denied. Only form
//! is decided here; what the values mean together is for `checked`.

use mexe_certs::Staleness;
use mexe_model::BitRate;
use mexe_policy::TokenRuns;
use mexe_wire::pdp::PdpType;
use serde::{Deserialize, Serialize};

use super::camara::RawCamara;
use super::value::{Count, Listener, Patience, Period, Size};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Raw {
    pub(super) bearer: Vec<RawBearer>,
    pub(super) journal: RawJournal,
    pub(super) limits: RawLimits,
    pub(super) listen: RawListen,
    pub(super) policy: RawPolicy,
    pub(super) qos: RawQos,
    pub(super) runtime: RawRuntime,
    pub(super) trust: RawTrust,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawListen {
    pub(super) socks: Listener,
    pub(super) http: Listener,
    pub(super) masque: Listener,
    pub(super) console: Listener,
    pub(super) metrics: Listener,
    pub(super) insecure: bool,
}

impl Default for RawListen {
    fn default() -> Self {
        let local = |port| Listener(Some(std::net::SocketAddr::from(([127, 0, 0, 1], port))));
        Self {
            socks: local(1080),
            http: local(3128),
            masque: local(4433),
            console: local(8057),
            metrics: local(9057),
            insecure: false,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTrust {
    pub(super) roots: Option<String>,
    pub(super) crls: Option<String>,
    pub(super) usim: Option<String>,
    pub(super) legacy: bool,
    pub(super) revocation: RawStaleness,
    pub(super) servers: Option<String>,
}

/// What an outdated revocation list means.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", expecting = "one of \"strict\", \"warn\"")]
pub(super) enum RawStaleness {
    #[default]
    Strict,
    Warn,
}

impl From<RawStaleness> for Staleness {
    fn from(raw: RawStaleness) -> Self {
        match raw {
            RawStaleness::Strict => Self::Strict,
            RawStaleness::Warn => Self::Warn,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawPolicy {
    pub(super) security_table: Option<String>,
    pub(super) actions: Option<String>,
    pub(super) exclusions: String,
    pub(super) prompt_wait: Patience,
    pub(super) prompt_queue: Count,
    pub(super) prompt_notify: Notify,
    pub(super) connection_notify: Notify,
    pub(super) prompt_phrase: Option<String>,
    pub(super) token_runs: RawTokenRuns,
    pub(super) expiry: Expiry,
}

impl Default for RawPolicy {
    fn default() -> Self {
        Self {
            security_table: None,
            actions: None,
            exclusions: "off".to_owned(),
            prompt_wait: Patience(std::time::Duration::from_secs(30)),
            prompt_queue: Count::of(64),
            prompt_notify: Notify::Auto,
            connection_notify: Notify::Auto,
            prompt_phrase: None,
            token_runs: RawTokenRuns::SessionOnly,
            expiry: Expiry::Lenient,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", expecting = "one of \"allow\", \"session-only\", \"refuse\"")]
pub(super) enum RawTokenRuns {
    Allow,
    SessionOnly,
    Refuse,
}

impl From<RawTokenRuns> for TokenRuns {
    fn from(raw: RawTokenRuns) -> Self {
        match raw {
            RawTokenRuns::Allow => Self::Allow,
            RawTokenRuns::SessionOnly => Self::SessionOnly,
            RawTokenRuns::Refuse => Self::Refuse,
        }
    }
}

/// Whether the user's desktop is told of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", expecting = "one of \"auto\", \"off\"")]
pub enum Notify {
    /// Where there is a session bus: the gate's own, or that of whoever watches the questions.
    Auto,
    /// Never.
    Off,
}

/// What the expiry of a certificate does to an app that was installed while it was valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", expecting = "one of \"lenient\", \"strict\"")]
pub enum Expiry {
    /// Nothing: a valid installation stays.
    Lenient,
    /// The app is suspended.
    Strict,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawRuntime {
    pub(super) jar: RawCommand,
    pub(super) native: RawCommand,
}

impl Default for RawRuntime {
    fn default() -> Self {
        let words = |words: &[&str]| RawCommand { command: words.iter().map(|w| (*w).to_owned()).collect() };
        Self { jar: words(&["java", "-jar", "{package}"]), native: words(&["{package}"]) }
    }
}

/// No default for the one key: an empty `[runtime.jar]` says nothing, and is refused as such.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawCommand {
    pub(super) command: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawQos {
    pub(super) profiles: Option<String>,
    pub(super) default_profile: String,
}

impl Default for RawQos {
    fn default() -> Self {
        Self { profiles: None, default_profile: "background".into() }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawBearer {
    pub(super) name: String,
    pub(super) kind: BearerKind,
    /// The serial port of a modem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    /// The number of a modem's first context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<u8>,
    /// The access point that the gate connects that context to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) apn: Option<String>,
    /// Which packets it then carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) packets: Option<Packets>,
    /// The queues that the gate puts on a network device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queues: Option<DeviceQueues>,
    /// Whether it is another operator's network, where the gate cannot find out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roaming: Option<bool>,
    /// An operator's quality-on-demand API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) camara: Option<RawCamara>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uplink: Option<BitRate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) downlink: Option<BitRate>,
}

/// The queues of a network device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", expecting = "one of \"none\", \"htb\"")]
pub enum DeviceQueues {
    /// As they are.
    #[default]
    None,
    /// One for each class, by the kernel's HTB.
    Htb,
}

/// How the gate reaches a bearer's network control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename_all = "kebab-case",
    expecting = "one of \"static\", \"linux\", \"modem\", \"camara\", \"tunnel\""
)]
pub enum BearerKind {
    /// An operator's quality-on-demand API.
    Camara,
    /// The kernel's queues on a network device.
    Linux,
    /// AT commands.
    Modem,
    /// Fixed rates from this file.
    Static,
    /// A tunnel to another gate.
    Tunnel,
}

impl BearerKind {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Camara => "camara",
            Self::Linux => "linux",
            Self::Modem => "modem",
            Self::Static => "static",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Which packets a context carries.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", expecting = "one of \"ipv4\", \"ipv6\", \"ipv4v6\"")]
pub(super) enum Packets {
    Ipv4,
    Ipv6,
    Ipv4v6,
}

impl Packets {
    pub(super) const fn kind(self) -> PdpType {
        match self {
            Self::Ipv4 => PdpType::Ip,
            Self::Ipv6 => PdpType::Ipv6,
            Self::Ipv4v6 => PdpType::Ipv4v6,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawLimits {
    pub(super) connections: Option<Count>,
    pub(super) connections_per_run: Count,
    pub(super) new_connections_per_second_per_run: Option<Count>,
    pub(super) handshake: Period,
    pub(super) connect: Period,
    pub(super) idle: Period,
    pub(super) datagram_idle: Period,
    pub(super) drain: Period,
    pub(super) package: Size,
    pub(super) body: Size,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_run: Count::of(4096),
            new_connections_per_second_per_run: None,
            handshake: seconds(10),
            connect: seconds(10),
            idle: seconds(3600),
            datagram_idle: seconds(120),
            drain: seconds(10),
            package: Size(512 << 20),
            body: Size(64 << 10),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawJournal {
    pub(super) retention: Period,
    pub(super) max_size: Size,
}

impl Default for RawJournal {
    fn default() -> Self {
        Self { retention: seconds(90 * 86_400), max_size: Size(256 << 20) }
    }
}

const fn seconds(seconds: u64) -> Period {
    Period(std::time::Duration::from_secs(seconds))
}
