//! The commands themselves. There is no form for anything else that a modem could be told, so nothing that asks for a
//! bearer can dial, read a card or give a PIN.

use super::quality::{Filter, Parameters};

/// What packets a context carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PdpType {
    /// IPv4.
    Ip,
    /// IPv6.
    Ipv6,
    /// Both.
    Ipv4v6,
}

impl PdpType {
    /// The word of the standard.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "IP",
            Self::Ipv6 => "IPV6",
            Self::Ipv4v6 => "IPV4V6",
        }
    }
}

/// What a device can be registered for; each has its own command, of the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// +C5GREG: the 5G system.
    FiveG,
    /// +CEREG: LTE.
    Eps,
    /// +CGREG: packets on GSM and UMTS.
    Gprs,
    /// +CREG: calls, on modems that tell no more.
    Circuit,
}

impl Service {
    /// Every one of them; who is registered for an earlier one sends its packets there.
    pub const ALL: [Self; 4] = [Self::FiveG, Self::Eps, Self::Gprs, Self::Circuit];

    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FiveG => "+C5GREG",
            Self::Eps => "+CEREG",
            Self::Gprs => "+CGREG",
            Self::Circuit => "+CREG",
        }
    }
}

/// What is said to the modem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// +CGDCONT: define a primary context. The name of the access point was checked ([`super::apn`]).
    Define {
        /// Which context.
        cid: u8,
        /// Its packets.
        kind: PdpType,
        /// Its access point.
        apn: String,
    },
    /// +CGDSCONT: define a context beside a primary one.
    DefineSecondary {
        /// Which context.
        cid: u8,
        /// Beside which.
        primary: u8,
    },
    /// +CGDSCONT: forget a context.
    UndefineSecondary(u8),
    /// +CGDSCONT=?: which numbers contexts may have.
    SecondaryRange,
    /// +CGTFT: which packets are the context's.
    Filter {
        /// Which context.
        cid: u8,
        /// When it is looked at, the least first.
        precedence: u8,
        /// The packets.
        filter: Filter,
    },
    /// +CGEQREQ: what is to be asked for at the next activation or modification.
    Request(u8, Parameters),
    /// +CGEQMIN: below this, an activation fails.
    Minimum(u8, Parameters),
    /// +CGEQMIN: whatever is given is taken.
    NoMinimum(u8),
    /// +CGEQREQ=?: whether the modem knows UMTS profiles.
    RequestRange,
    /// +CGEQNEG: what the network gave.
    Negotiated(u8),
    /// +CGEQOS: the EPS profile to ask for.
    EpsRequest(u8, Parameters),
    /// +CGEQOS=?: whether the modem knows EPS profiles.
    EpsRange,
    /// +CGEQOSRDP: the EPS profile that is in use.
    EpsDynamic(u8),
    /// +CGACT: activate or deactivate a context.
    Activate {
        /// Which.
        cid: u8,
        /// On or off.
        active: bool,
    },
    /// +CGACT?: which contexts are active.
    States,
    /// Whether and where the device is registered.
    Registration(Service),
    /// +CGCMOD: put a changed profile into effect.
    Modify(u8),
    /// +CGEREP: tell of what happens to contexts.
    ReportEvents,
    /// +CGBRRREP: tell of the rate that the base station recommends.
    ReportRates,
}

impl Command {
    /// The text, without the carriage return that ends it.
    pub fn text(&self) -> String {
        match self {
            Self::Define { cid, kind, apn } => format!("AT+CGDCONT={cid},\"{}\",\"{apn}\"", kind.as_str()),
            Self::DefineSecondary { cid, primary } => format!("AT+CGDSCONT={cid},{primary}"),
            Self::UndefineSecondary(cid) => format!("AT+CGDSCONT={cid}"),
            Self::SecondaryRange => "AT+CGDSCONT=?".to_owned(),
            Self::Filter { cid, precedence, filter } => {
                format!("AT+CGTFT={cid},{}", filter.text(*precedence))
            }
            Self::Request(cid, quality) => format!("AT+CGEQREQ={cid},{}", quality.as_str()),
            Self::Minimum(cid, quality) => format!("AT+CGEQMIN={cid},{}", quality.as_str()),
            Self::NoMinimum(cid) => format!("AT+CGEQMIN={cid}"),
            Self::RequestRange => "AT+CGEQREQ=?".to_owned(),
            Self::Negotiated(cid) => format!("AT+CGEQNEG={cid}"),
            Self::EpsRequest(cid, quality) => format!("AT+CGEQOS={cid},{}", quality.as_str()),
            Self::EpsRange => "AT+CGEQOS=?".to_owned(),
            Self::EpsDynamic(cid) => format!("AT+CGEQOSRDP={cid}"),
            Self::Activate { cid, active } => format!("AT+CGACT={},{cid}", u8::from(*active)),
            Self::States => "AT+CGACT?".to_owned(),
            Self::Registration(service) => format!("AT{}?", service.name()),
            Self::Modify(cid) => format!("AT+CGCMOD={cid}"),
            Self::ReportEvents => "AT+CGEREP=2,1".to_owned(),
            Self::ReportRates => "AT+CGBRRREP=1".to_owned(),
        }
    }

    /// What may stand in an error or a log.
    pub fn name(&self) -> String {
        match self {
            // Where the app connects to is not a matter of the log.
            Self::Filter { cid, .. } => format!("AT+CGTFT={cid}"),
            other => other.text(),
        }
    }

    /// Whether the network has to answer before the modem does: then it takes seconds, and nothing else is done meanwhile.
    pub const fn asks_the_network(&self) -> bool {
        matches!(self, Self::Activate { .. } | Self::Modify(_))
    }

    /// How many lines may answer it: a modem has at most so many contexts.
    pub const fn answers_max(&self) -> usize {
        match self {
            Self::States | Self::RequestRange | Self::SecondaryRange => 64,
            _ => 4,
        }
    }

    /// Whether a line is this command's answer; every other line came on its own.
    pub fn is_answer(&self, line: &str) -> bool {
        let names: &[&str] = match self {
            Self::SecondaryRange => &["+CGDSCONT"],
            // There are modems that say the older command's name.
            Self::RequestRange => &["+CGEQREQ", "+CGQREQ"],
            Self::Negotiated(_) => &["+CGEQNEG"],
            Self::EpsRange => &["+CGEQOS"],
            Self::EpsDynamic(_) => &["+CGEQOSRDP"],
            Self::States => &["+CGACT"],
            Self::Registration(service) => &[service.name()],
            _ => &[],
        };
        names.iter().any(|name| super::rest_of(line, name).is_some())
    }
}
