//! `[[bearer]]`: one way onto the network each. What its kind needs is checked here, and what its kind has no use for is a
//! mistake: a key that does nothing would look as if it did. Called by `checked`.

use std::path::Path;

use mexe_model::BitRate;
use mexe_wire::pdp::{self, PdpType};

use super::camara::{self, CamaraSettings};
use super::layers::Layers;
use super::raw::{BearerKind, DeviceQueues, Packets, Raw, RawBearer};
use super::{ConfigError, Guard};
use crate::bearer::Capacity;

/// One way onto the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Its name, `[a-z0-9][a-z0-9-]{0,31}`: a metric label.
    pub name: String,
    /// How it is controlled.
    pub kind: BearerKind,
    /// The serial port of a modem, whose card counts; the network device of the kernel's.
    pub device: Option<String>,
    /// What the gate puts on a network device.
    pub queues: DeviceQueues,
    /// Whether it is another operator's network, where the gate cannot find out.
    pub roaming: Option<bool>,
    /// How a modem is used.
    pub modem: ModemSettings,
    /// How an operator's API is used.
    pub camara: Option<CamaraSettings>,
    /// Its rate towards the network.
    pub uplink: Option<BitRate>,
    /// Its rate towards the device.
    pub downlink: Option<BitRate>,
}

/// How a modem is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModemSettings {
    /// The number of the context that carries everything.
    pub context: u8,
    /// The access point that the gate connects that context to; `None` leaves this to something else on the device.
    pub apn: Option<String>,
    /// Which packets that context then carries.
    pub packets: PdpType,
}

impl Default for ModemSettings {
    fn default() -> Self {
        Self { context: 1, apn: None, packets: PdpType::Ipv4v6 }
    }
}

impl Bearer {
    /// The one that there is when none is configured.
    pub fn unlimited() -> Self {
        Self {
            name: "default".to_owned(),
            kind: BearerKind::Static,
            device: None,
            queues: DeviceQueues::None,
            roaming: None,
            modem: ModemSettings::default(),
            camara: None,
            uplink: None,
            downlink: None,
        }
    }

    /// The most that it carries, by the configuration.
    pub const fn ceiling(&self) -> Capacity {
        Capacity { up: self.uplink, down: self.downlink }
    }
}

/// Turns what is written into what is used. `servers` are the authorities of servers where a bearer names none.
pub(super) fn checked(
    raw: &Raw,
    layers: &Layers,
    servers: &Path,
    guard: &Guard,
) -> Result<Vec<Bearer>, ConfigError> {
    let mut bearers: Vec<Bearer> = Vec::new();
    for (index, bearer) in raw.bearer.iter().enumerate() {
        let wrong = |key: &str, message: String| {
            Err(layers.wrong_in("bearer", &format!("bearer.{index}.{key}"), message))
        };
        let name = &bearer.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !name.starts_with(plain) || name.len() > 32 || !name.chars().all(|c| plain(c) || c == '-') {
            return wrong(
                "name",
                "a bearer's name is 1 to 32 lower-case letters, digits and hyphens".to_owned(),
            );
        }
        if bearers.iter().any(|other| other.name == *name) {
            return wrong("name", format!("there are two bearers `{name}`: give each its own name"));
        }
        for (key, is_set, kinds) in [
            ("apn", bearer.apn.is_some(), &[BearerKind::Modem][..]),
            ("camara", bearer.camara.is_some(), &[BearerKind::Camara]),
            ("context", bearer.context.is_some(), &[BearerKind::Modem]),
            ("packets", bearer.packets.is_some(), &[BearerKind::Modem]),
            ("queues", bearer.queues.is_some(), &[BearerKind::Linux]),
            // A modem tells itself.
            (
                "roaming",
                bearer.roaming.is_some(),
                &[BearerKind::Camara, BearerKind::Linux, BearerKind::Static],
            ),
        ] {
            if is_set && !kinds.contains(&bearer.kind) {
                let kind = bearer.kind.as_str();
                return wrong(key, format!("a bearer of kind {kind} has no `{key}`: leave it out"));
            }
        }
        if bearer.kind == BearerKind::Linux {
            let Some(device) = &bearer.device else {
                return wrong(
                    "name",
                    "a bearer of kind linux needs `device`, the name of a network device".to_owned(),
                );
            };
            // As the kernel wants them (IFNAMSIZ).
            let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':');
            if device.is_empty() || device.len() > 15 || !device.bytes().all(plain) {
                return wrong(
                    "device",
                    "this is no name of a network device: write one as in `wwan0`".to_owned(),
                );
            }
        }
        if let Some(Err(error)) = bearer.apn.as_deref().map(pdp::apn) {
            return wrong("apn", error.to_string());
        }
        if bearer.context.is_some_and(|context| !(1..=11).contains(&context)) {
            return wrong("context", "a modem counts its contexts from 1, and has at most 11".to_owned());
        }
        if bearer.kind == BearerKind::Camara && bearer.camara.is_none() {
            return wrong(
                "name",
                "a bearer of kind camara needs a table `[bearer.camara]` with `url`".to_owned(),
            );
        }
        let camara = bearer.camara.as_ref().map(|raw| camara::checked(raw, servers.to_owned(), guard));
        let camara = match camara.transpose() {
            Ok(camara) => camara,
            Err((key, message)) => return wrong(&format!("camara.{key}"), message),
        };
        match camara.as_ref().map(camara::guarded).transpose() {
            // What is not there is a mistake in the configuration: tell where it was named.
            Err((key, error @ ConfigError::Unreadable { .. })) => {
                return wrong(&format!("camara.{key}"), error.to_string());
            }
            Err((_, error)) => return Err(error),
            Ok(_) => {}
        }
        bearers.push(taken(bearer, camara));
    }
    Ok(bearers)
}

fn taken(bearer: &RawBearer, camara: Option<CamaraSettings>) -> Bearer {
    let usual = ModemSettings::default();
    Bearer {
        name: bearer.name.clone(),
        kind: bearer.kind,
        device: bearer.device.clone(),
        queues: bearer.queues.unwrap_or_default(),
        roaming: bearer.roaming,
        modem: ModemSettings {
            context: bearer.context.unwrap_or(usual.context),
            apn: bearer.apn.clone(),
            packets: bearer.packets.map_or(usual.packets, Packets::kind),
        },
        camara,
        uplink: bearer.uplink,
        downlink: bearer.downlink,
    }
}
