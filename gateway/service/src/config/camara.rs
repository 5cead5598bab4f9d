//! `[bearer.camara]`: where an operator's quality-on-demand API is, how the gate proves who it is there, and which device its
//! sessions are for. Secrets stand in files of their own, never in the configuration. Called by `bearer`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use mexe_qos::TrafficClass;
use serde::{Deserialize, Serialize};

use super::raw::Raw;
use super::value::Period;
use super::{ConfigError, Guard};

/// As it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawCamara {
    /// The API's root: `/quality-on-demand/v1` and `/qos-profiles/v1` come after it.
    pub(super) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_secret_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ipv4: Option<RawIpv4>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ipv6: Option<Ipv6Addr>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) profiles: BTreeMap<TrafficClass, String>,
    #[serde(default = "usual_duration")]
    pub(super) duration: Period,
    #[serde(default = "usual_poll")]
    pub(super) poll: Period,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roots: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sink: Option<RawSink>,
}

/// How the device is seen from outside.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawIpv4 {
    pub(super) public: Ipv4Addr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) private: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
}

/// Where events are taken.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawSink {
    pub(super) url: String,
    pub(super) listen: SocketAddr,
    pub(super) certificate: String,
    pub(super) key: String,
}

const fn usual_duration() -> Period {
    Period(Duration::from_secs(3600))
}

const fn usual_poll() -> Period {
    Period(Duration::from_secs(10))
}

/// How an operator's quality-on-demand API is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CamaraSettings {
    /// The API's root, without a slash at its end: `https`, or `http` to this host.
    pub url: String,
    /// What proves who the gate is.
    pub credential: Credential,
    /// Which device the sessions are for.
    pub device: DeviceIdentity,
    /// The profiles that the user chose for a class.
    pub profiles: BTreeMap<TrafficClass, String>,
    /// How long a session is asked for, and extended by.
    pub duration: Duration,
    /// How often sessions are looked at.
    pub poll: Duration,
    /// The authorities that the API's server may lead to, PEM.
    pub roots: PathBuf,
    /// Where events are taken; without, the gate only looks.
    pub sink: Option<SinkSettings>,
    /// How the files are guarded.
    pub guard: Guard,
    /// How long what cannot be configured takes.
    pub pace: Pace,
}

/// How long an operator's API is waited for, and left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// For one answer, from the look-up of the name to the last byte.
    pub answer: Duration,
    /// From the request for a session until it is available.
    pub available: Duration,
    /// Between two looks at the profiles.
    pub profiles: Duration,
    /// After a token was refused.
    pub token: Duration,
    /// After the API had enough, where it does not say for how long.
    pub busy: Duration,
    /// After the network ended a session that could not be given back: its record blocks another one.
    pub terminated: Duration,
    /// After the network ended a session, or somebody else's was in the way: nothing blocks another one, but it would end
    /// likewise.
    pub again: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            answer: seconds(10),
            available: seconds(40),
            profiles: seconds(60),
            token: seconds(10),
            busy: seconds(60),
            terminated: seconds(360),
            again: seconds(60),
        }
    }
}

/// What proves who the gate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An access token, in a file that something else keeps fresh.
    Token(PathBuf),
    /// OAuth 2.0 client credentials, which a token is asked for with.
    Client {
        /// Where.
        url: String,
        /// Whose.
        id: String,
        /// The file of the secret.
        secret: PathBuf,
        /// What the token is for; `None` leaves that to the server.
        scope: Option<String>,
    },
}

/// Which device sessions are for; nothing at all where the token itself names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// E.164, with the plus.
    pub phone_number: Option<String>,
    /// How it is seen from outside, with its own address or its port there.
    pub ipv4: Option<(Ipv4Addr, Option<Ipv4Addr>, Option<u16>)>,
    /// One address of its subnet.
    pub ipv6: Option<Ipv6Addr>,
}

/// Where events are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// What the operator calls: `https`.
    pub url: String,
    /// Where the gate listens for it.
    pub listen: SocketAddr,
    /// The chain that it shows, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// What is wrong with which key.
pub(super) type Wrong = (&'static str, String);

/// Turns what is written into what is used. `servers` are the authorities where nothing else is named.
pub(super) fn checked(raw: &RawCamara, servers: PathBuf, guard: &Guard) -> Result<CamaraSettings, Wrong> {
    let settings = CamaraSettings {
        url: address("url", &raw.url, true)?,
        credential: credential(raw)?,
        device: device(raw)?,
        profiles: raw.profiles.clone(),
        duration: raw.duration.0,
        poll: raw.poll.0,
        roots: raw.roots.as_ref().map_or(servers, PathBuf::from),
        sink: raw.sink.as_ref().map(sink).transpose()?,
        guard: *guard,
        pace: Pace::default(),
    };
    for name in settings.profiles.values() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !(3..=256).contains(&name.len()) || !name.bytes().all(plain) {
            return Err((
                "profiles",
                format!("`{name}` is no name of a profile: 3 to 256 letters, digits, `_`, `.`, `-`"),
            ));
        }
    }
    if settings.poll < SHORTEST || settings.poll > LONGEST_POLL {
        return Err(("poll", "write 1s to 5m: sessions are looked at so often".to_owned()));
    }
    if settings.duration < settings.poll.saturating_mul(2) || settings.duration > LONGEST {
        return Err(("duration", "write twice `poll` to 365d: sessions are asked for so long".to_owned()));
    }
    Ok(settings)
}

fn credential(raw: &RawCamara) -> Result<Credential, Wrong> {
    match (&raw.token_file, &raw.token_url, &raw.client_id, &raw.client_secret_file) {
        (Some(file), None, None, None) if raw.scope.is_none() => Ok(Credential::Token(file.into())),
        (None, Some(url), Some(id), Some(secret)) => {
            let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, 0x20..=0x7e));
            if !plain(id) {
                return Err(("client_id", "write it in plain characters".to_owned()));
            }
            if raw.scope.as_deref().is_some_and(|scope| !plain(scope)) {
                return Err((
                    "scope",
                    "write scopes in plain characters, with blanks between them".to_owned(),
                ));
            }
            let url = address("token_url", url, true)?;
            Ok(Credential::Client { url, id: id.clone(), secret: secret.into(), scope: raw.scope.clone() })
        }
        _ => {
            let says = "write either `token_file`, or `token_url`, `client_id` and `client_secret_file`";
            Err(("url", says.to_owned()))
        }
    }
}

fn device(raw: &RawCamara) -> Result<DeviceIdentity, Wrong> {
    if let Some(number) = &raw.phone_number {
        let digits = number.strip_prefix('+').unwrap_or_default();
        let is_whole = (5..=15).contains(&digits.len()) && !digits.starts_with('0');
        if !is_whole || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err((
                "phone_number",
                "write it with plus and country code, as in `+4930123456`".to_owned(),
            ));
        }
    }
    if raw.ipv4.is_some_and(|ipv4| ipv4.private.is_none() && ipv4.port.is_none()) {
        let says = "a public address alone tells no device: add `private`, its own address, or `port`";
        return Err(("ipv4", says.to_owned()));
    }
    Ok(DeviceIdentity {
        phone_number: raw.phone_number.clone(),
        ipv4: raw.ipv4.map(|ipv4| (ipv4.public, ipv4.private, ipv4.port)),
        ipv6: raw.ipv6,
    })
}

fn sink(raw: &RawSink) -> Result<SinkSettings, Wrong> {
    Ok(SinkSettings {
        url: address("sink", &raw.url, false)?,
        listen: raw.listen,
        certificate: PathBuf::from(&raw.certificate),
        key: PathBuf::from(&raw.key),
    })
}

/// An address of HTTPS with a host and a plain path. `near` takes HTTP as well to a loopback address, where nothing
/// travels.
fn address(key: &'static str, text: &str, near: bool) -> Result<String, Wrong> {
    let wrong = |what: &str| Err((key, format!("{what}: write https://HOST/PATH")));
    let Ok(uri) = text.parse::<Uri>() else { return wrong("this is no address") };
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return wrong("the address names no host");
    };
    if authority.as_str().contains('@') {
        return wrong("what proves who the gate is does not stand in an address");
    }
    if uri.query().is_some() || text.contains('#') {
        return wrong("the address ends with its path");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_here = host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if near && is_here => {}
        _ => return wrong("tokens would travel in clear"),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The paths of a bearer, each with its key, for what resolves and guards them.
pub(super) fn paths(raw: &mut RawCamara) -> impl Iterator<Item = (&'static str, &mut String)> {
    let (mut certificate, mut key) = (None, None);
    if let Some(sink) = &mut raw.sink {
        (certificate, key) = (Some(&mut sink.certificate), Some(&mut sink.key));
    }
    [
        ("token_file", raw.token_file.as_mut()),
        ("client_secret_file", raw.client_secret_file.as_mut()),
        ("roots", raw.roots.as_mut()),
        ("sink.certificate", certificate),
        ("sink.key", key),
    ]
    .into_iter()
    .filter_map(|(key, path)| Some((key, path?)))
}

/// What has to be there, and guarded, before the gate starts; the secrets are read again whenever they are used.
pub(super) fn guarded(settings: &CamaraSettings) -> Result<(), (&'static str, ConfigError)> {
    let guard = &settings.guard;
    let (key, secret) = match &settings.credential {
        Credential::Token(file) => ("token_file", file),
        Credential::Client { secret, .. } => ("client_secret_file", secret),
    };
    guard.secret(secret, MAX_SECRET).map_err(|error| (key, error))?;
    guard.read(&settings.roots, MAX_LIST).map_err(|error| ("roots", error))?;
    if let Some(sink) = &settings.sink {
        guard.read(&sink.certificate, MAX_LIST).map_err(|error| ("sink.certificate", error))?;
        guard.secret(&sink.key, MAX_SECRET).map_err(|error| ("sink.key", error))?;
    }
    Ok(())
}

/// True when a list has bearers of this kind: the paths in them start at the file's folder.
pub(super) fn all(raw: &mut Raw) -> impl Iterator<Item = (usize, &mut RawCamara)> {
    raw.bearer.iter_mut().enumerate().filter_map(|(index, bearer)| Some((index, bearer.camara.as_mut()?)))
}

/// A token or a key is never larger, bytes.
pub const MAX_SECRET: u64 = 16 << 10;
/// A list of authorities is never larger, bytes.
pub const MAX_LIST: u64 = 4 << 20;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(365 * 86_400);
