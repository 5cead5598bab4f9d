//! What is said in CAMARA's QualityOnDemand API (r3.2), and what makes sense of what it answers: a session has to be the one
//! that was asked about, with the profile that was asked for, in a state and for a time that can be. Bytes in, values out.
//! Called by `api` and `sink`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use mexe_qos::NetworkProfile;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::DeviceIdentity;

/// The number that the operator gave a session: a UUID, and so fit to stand in a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiId(String);

impl ApiId {
    pub(super) fn read(text: &str) -> Option<Self> {
        let fits = text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
        fits.then(|| Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for ApiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose packets a session is for: the other end, and its port where one is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) remote: IpAddr,
    pub(super) port: Option<u16>,
}

/// How a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) id: ApiId,
    pub(super) status: Status,
    /// The whole of it, since it became available.
    pub(super) duration: Duration,
}

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Requested,
    Available,
    Unavailable(Option<End>),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum End {
    DurationExpired,
    NetworkTerminated,
    DeleteRequested,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    session_id: String,
    qos_profile: String,
    duration: i64,
    qos_status: WrittenStatus,
    status_info: Option<End>,
    application_server: WrittenServer,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum WrittenStatus {
    Requested,
    Available,
    Unavailable,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenServer {
    ipv4_address: Option<String>,
    ipv6_address: Option<String>,
}

/// A session as it is answered. `flow` and `profile` are what it was asked for with; `id` the one that was asked about, where
/// one was.
///
/// # Errors
/// What makes no sense in it.
pub(super) fn session(
    body: &[u8],
    flow: Flow,
    profile: &str,
    id: Option<&ApiId>,
) -> Result<Info, &'static str> {
    let written: Written = serde_json::from_slice(body).map_err(|_| "it is no session")?;
    let answered = ApiId::read(&written.session_id).ok_or("its number is no UUID")?;
    if id.is_some_and(|asked| *asked != answered) {
        return Err("it is another session");
    }
    if written.qos_profile != profile {
        return Err("it has another profile");
    }
    let WrittenServer { ipv4_address, ipv6_address } = &written.application_server;
    let server = if flow.remote.is_ipv4() { ipv4_address } else { ipv6_address };
    if !server.as_deref().is_some_and(|server| covers(server, flow.remote)) {
        return Err("it is for another server");
    }
    let seconds = u64::try_from(written.duration).ok().filter(|seconds| (1..=LONGEST).contains(seconds));
    let duration = Duration::from_secs(seconds.ok_or("its duration cannot be")?);
    let status = match (written.qos_status, written.status_info) {
        (WrittenStatus::Requested, _) => Status::Requested,
        (WrittenStatus::Available, _) => Status::Available,
        (WrittenStatus::Unavailable, end) => Status::Unavailable(end),
    };
    Ok(Info { id: answered, status, duration })
}

/// The number alone, of an answer that otherwise makes no sense.
pub(super) fn id_in(body: &[u8]) -> Option<ApiId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Numbered {
        session_id: String,
    }
    ApiId::read(&serde_json::from_slice::<Numbered>(body).ok()?.session_id)
}

/// The sessions of a list that are for these packets.
pub(super) fn sessions_for(body: &[u8], flow: Flow) -> Vec<ApiId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        session_id: String,
        application_server: WrittenServer,
        application_server_ports: Option<Value>,
    }
    let Ok(list) = serde_json::from_slice::<Vec<Value>>(body) else { return Vec::new() };
    let listed = list.into_iter().filter_map(|one| serde_json::from_value::<Listed>(one).ok());
    let ours = listed.filter(|one| {
        let server = match flow.remote {
            IpAddr::V4(_) => &one.application_server.ipv4_address,
            IpAddr::V6(_) => &one.application_server.ipv6_address,
        };
        // As we write it, and not what covers it.
        let same = server.as_deref().and_then(|text| text.parse::<IpAddr>().ok()) == Some(flow.remote);
        same && one.application_server_ports == ports(flow)
    });
    ours.filter_map(|one| ApiId::read(&one.session_id)).take(MOST).collect()
}

fn covers(server: &str, address: IpAddr) -> bool {
    let (network, bits) = match server.split_once('/') {
        None => return server.parse::<IpAddr>().ok() == Some(address),
        Some((network, bits)) => (network.parse::<IpAddr>(), bits.parse::<u32>()),
    };
    let (Ok(network), Ok(bits)) = (network, bits) else { return false };
    let same =
        |a: u128, b: u128, width: u32| bits <= width && (a ^ b).checked_shr(width - bits).unwrap_or(0) == 0;
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

fn ports(flow: Flow) -> Option<Value> {
    flow.port.map(|port| json!({ "ports": [port] }))
}

/// Where events of a session go, and what proves that they come from the operator.
pub(super) struct Told<'a> {
    pub(super) url: &'a str,
    pub(super) token: &'a str,
    /// RFC 3339: until when that proof counts.
    pub(super) until: String,
}

/// What asks for a session.
pub(super) fn create(
    device: &DeviceIdentity,
    flow: Flow,
    profile: &str,
    seconds: u32,
    told: Option<&Told<'_>>,
) -> Value {
    let family = if flow.remote.is_ipv4() { "ipv4Address" } else { "ipv6Address" };
    let mut asked = json!({
        "applicationServer": { family: flow.remote.to_string() },
        "qosProfile": profile,
        "duration": seconds,
    });
    let more = [
        ("device", self::device(device)),
        ("applicationServerPorts", ports(flow)),
        ("sink", told.map(|told| told.url.into())),
        (
            "sinkCredential",
            told.map(|told| {
                json!({
                    "credentialType": "ACCESSTOKEN",
                    "accessToken": told.token,
                    "accessTokenExpiresUtc": told.until,
                    "accessTokenType": "bearer",
                })
            }),
        ),
    ];
    if let Some(asked) = asked.as_object_mut() {
        asked.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    asked
}

/// What names the device, in a question about it: nothing where the token does.
pub(super) fn about(identity: &DeviceIdentity) -> Value {
    device(identity).map_or_else(|| json!({}), |device| json!({ "device": device }))
}

fn device(device: &DeviceIdentity) -> Option<Value> {
    if *device == DeviceIdentity::default() {
        return None;
    }
    let ipv4 = device.ipv4.map(|(public, private, port)| {
        let mut seen = json!({ "publicAddress": public });
        if let Some(seen) = seen.as_object_mut() {
            seen.extend(private.map(|address| ("privateAddress".to_owned(), json!(address))));
            seen.extend(port.map(|port| ("publicPort".to_owned(), json!(port))));
        }
        seen
    });
    let known = [
        ("phoneNumber", device.phone_number.as_ref().map(|number| json!(number))),
        ("ipv4Address", ipv4),
        ("ipv6Address", device.ipv6.map(|address| json!(address))),
    ];
    Some(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

/// The profiles of a list; what cannot be read in it is left out, and so is a name that comes again.
///
/// # Errors
/// It is no list.
pub(super) fn profiles(body: &[u8]) -> Result<Vec<NetworkProfile>, &'static str> {
    let list: Vec<Value> = serde_json::from_slice(body).map_err(|_| "it is no list of profiles")?;
    let mut read: Vec<NetworkProfile> = Vec::new();
    for one in list.into_iter().take(MOST) {
        let Ok(profile) = serde_json::from_value::<NetworkProfile>(one) else { continue };
        if read.iter().all(|known| known.name != profile.name) {
            read.push(profile);
        }
    }
    Ok(read)
}

/// The code of an error, where it is written as one.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Coded {
        code: String,
    }
    let code = serde_json::from_slice::<Coded>(body).ok()?.code;
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.');
    ((1..=80).contains(&code.len()) && code.bytes().all(plain)).then_some(code)
}

/// Which session an event is of, and how that ended, if it did.
///
/// # Errors
/// Why it is no event of this API.
pub(super) fn event(body: &[u8]) -> Result<(ApiId, Option<End>), &'static str> {
    #[derive(Deserialize)]
    struct CloudEvent {
        specversion: String,
        #[serde(rename = "type")]
        kind: String,
        data: Data,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        session_id: String,
        qos_status: WrittenStatus,
        status_info: Option<End>,
    }
    let event: CloudEvent = serde_json::from_slice(body).map_err(|_| "it is no event")?;
    if event.specversion != "1.0" || event.kind != STATUS_CHANGED {
        return Err("it is an event of another kind");
    }
    let id = ApiId::read(&event.data.session_id).ok_or("its session's number is no UUID")?;
    match event.data.qos_status {
        WrittenStatus::Requested => Err("no event tells of that"),
        WrittenStatus::Available => Ok((id, None)),
        WrittenStatus::Unavailable => Ok((id, event.data.status_info)),
    }
}

const STATUS_CHANGED: &str = "org.camaraproject.quality-on-demand.v1.qos-status-changed";
/// Durations are 32-bit numbers there.
const LONGEST: u64 = i32::MAX as u64;
/// So many entries of a list are read.
const MOST: usize = 1000;

#[cfg(test)]
mod tests;
