//! What is asked of a context and what it was given: the UMTS profile of +CGEQREQ, +CGEQMIN and +CGEQNEG, the EPS one of
//! +CGEQOS and +CGEQOSRDP, and the filter by which a context's packets are told from others (+CGTFT).

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::str::FromStr;

/// A rate in each direction, kbit/s; 0 is "as subscribed" in a request, and none in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// From the device.
    pub up: u32,
    /// To the device.
    pub down: u32,
}

/// A fraction as the AT commands write it: `mEe` is m times ten to the minus e, and `0E0` is "as subscribed".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRatio {
    /// m.
    pub mantissa: u8,
    /// e.
    pub exponent: u8,
}

impl ErrorRatio {
    /// As subscribed.
    pub const SUBSCRIBED: Self = Self { mantissa: 0, exponent: 0 };
}

impl fmt::Display for ErrorRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}E{}", self.mantissa, self.exponent)
    }
}

impl FromStr for ErrorRatio {
    type Err = ();

    /// Modems write the `E` small as well, and nothing but `0` for "as subscribed".
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "0" {
            return Ok(Self::SUBSCRIBED);
        }
        let (mantissa, exponent) = text.split_once(['E', 'e']).ok_or(())?;
        let digit = |text: &str| match text.as_bytes() {
            [digit @ b'0'..=b'9'] => Ok(digit.saturating_sub(b'0')),
            _ => Err(()),
        };
        Ok(Self { mantissa: digit(mantissa)?, exponent: digit(exponent)? })
    }
}

/// A UMTS profile by its AT values. `None` is a field that is left out: what a modem leaves out is not known, and what a
/// request leaves out is as subscribed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UmtsQuality {
    /// 0 conversational, 1 streaming, 2 interactive, 3 background, 4 as subscribed.
    pub class: u8,
    /// The most.
    pub maximum: Rates,
    /// What is guaranteed.
    pub guaranteed: Rates,
    /// 0 no, 1 yes, 2 as subscribed.
    pub delivery_order: Option<u8>,
    /// Octets.
    pub sdu_size: Option<u32>,
    /// Lost or broken SDUs.
    pub sdu_error: Option<ErrorRatio>,
    /// Wrong bits that nobody noticed.
    pub residual_error: Option<ErrorRatio>,
    /// 0 no, 1 yes, 2 nobody looks, 3 as subscribed.
    pub erroneous: Option<u8>,
    /// Milliseconds.
    pub delay: Option<u32>,
    /// 1 to 3, 1 first.
    pub priority: Option<u8>,
    /// 0 unknown, 1 speech.
    pub source: Option<u8>,
    /// 0 no, 1 yes.
    pub signalling: Option<u8>,
}

impl UmtsQuality {
    /// The class "as subscribed".
    pub const SUBSCRIBED: u8 = 4;

    /// True for the classes that a primary context may not ask for where the device can use LTE (TS 24.008, 6.1.3).
    pub const fn is_real_time(&self) -> bool {
        matches!(self.class, 0 | 1)
    }

    /// The fields after the context's number: uplink before downlink. Those at the end that are left out are not written.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{},{},{},{},{}",
            self.class, self.maximum.up, self.maximum.down, self.guaranteed.up, self.guaranteed.down
        );
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let ratio = |value: Option<ErrorRatio>| value.map(|value| format!("\"{value}\""));
        let mut rest = vec![
            number(self.delivery_order.map(u32::from)),
            number(self.sdu_size),
            ratio(self.sdu_error),
            ratio(self.residual_error),
            number(self.erroneous.map(u32::from)),
            number(self.delay),
            number(self.priority.map(u32::from)),
            number(self.source.map(u32::from)),
            number(self.signalling.map(u32::from)),
        ];
        while rest.last().is_some_and(Option::is_none) {
            rest.pop();
        }
        for field in rest {
            text.push(',');
            text.push_str(&field.unwrap_or_default());
        }
        text
    }

    /// The fields after the context's number of an answer.
    pub(super) fn of(fields: &[&str]) -> Option<Self> {
        let at = |index: usize| fields.get(index).copied().unwrap_or_default();
        let rate = |index: usize| optional::<u32>(at(index)).map(Option::unwrap_or_default);
        let ratio = |index: usize| optional::<ErrorRatio>(at(index));
        let class = at(0).parse().ok().filter(|class| *class <= Self::SUBSCRIBED)?;
        Some(Self {
            class,
            maximum: Rates { up: rate(1)?, down: rate(2)? },
            guaranteed: Rates { up: rate(3)?, down: rate(4)? },
            delivery_order: optional(at(5))?,
            sdu_size: optional(at(6))?,
            sdu_error: ratio(7)?,
            residual_error: ratio(8)?,
            erroneous: optional(at(9))?,
            delay: optional(at(10))?,
            priority: optional(at(11))?,
            source: optional(at(12))?,
            signalling: optional(at(13))?,
        })
    }
}

/// An EPS profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EpsQuality {
    /// The QoS class identifier; 0: the network chooses.
    pub qci: u8,
    /// What is guaranteed.
    pub guaranteed: Rates,
    /// The most.
    pub maximum: Rates,
    /// The most of all contexts of the access point together, where the modem says it.
    pub aggregate: Option<Rates>,
}

impl EpsQuality {
    /// Whether its rates are guaranteed (TS 23.203: QCI 1 to 4, 65 to 67, 71 to 76, 82 to 90).
    pub const fn is_guaranteed(&self) -> bool {
        matches!(self.qci, 1..=4 | 65..=67 | 71..=76 | 82..=90)
    }

    /// The fields after the context's number: downlink before uplink, and rates only where they are guaranteed.
    pub(super) fn text(&self) -> String {
        match self.is_guaranteed() {
            false => self.qci.to_string(),
            true => format!(
                "{},{},{},{},{}",
                self.qci, self.guaranteed.down, self.guaranteed.up, self.maximum.down, self.maximum.up
            ),
        }
    }

    /// The fields after the context's number of an answer.
    pub(super) fn of(fields: &[&str]) -> Option<Self> {
        let at = |index: usize| fields.get(index).copied().unwrap_or_default();
        let rate = |index: usize| optional::<u32>(at(index)).map(Option::unwrap_or_default);
        let aggregate = Rates { down: rate(5)?, up: rate(6)? };
        Some(Self {
            qci: at(0).parse().ok()?,
            guaranteed: Rates { down: rate(1)?, up: rate(2)? },
            maximum: Rates { down: rate(3)?, up: rate(4)? },
            aggregate: (aggregate != Rates::default()).then_some(aggregate),
        })
    }
}

/// An empty field is none, and anything that is not a value of that kind makes no sense: the outer `None`.
#[expect(clippy::option_option, reason = "three cases: left out, a value, nonsense")]
fn optional<T: FromStr>(field: &str) -> Option<Option<T>> {
    if field.is_empty() { Some(None) } else { field.parse().ok().map(Some) }
}

/// Which packets belong to a secondary context (+CGTFT): one filter, and at least one of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// The other end.
    pub remote: Option<IpAddr>,
    /// The transport protocol's number.
    pub protocol: Option<u8>,
    /// The other end's port.
    pub port: Option<u16>,
    /// The differentiated services code point, which is compared without the two bits below it.
    pub dscp: Option<u8>,
}

impl Filter {
    /// The fields after the context's number: filter 1, evaluated at this precedence. The numbers of filters begin at 1
    /// in the AT command, and an address is followed by its mask in the same string.
    pub(super) fn text(&self, precedence: u8) -> String {
        let mut text = format!("1,{precedence},");
        if let Some(remote) = self.remote {
            let octets = match remote.to_canonical() {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let dotted: Vec<String> = octets.iter().map(ToString::to_string).collect();
            let mask = vec!["255"; octets.len()].join(".");
            let _ = write!(text, "\"{}.{mask}\"", dotted.join("."));
        }
        let protocol = self.protocol.map(|number| number.to_string()).unwrap_or_default();
        let port = self.port.map(|port| format!("\"{port}.{port}\"")).unwrap_or_default();
        let service = self.dscp.map(|dscp| format!("\"{}.252\"", dscp << 2)).unwrap_or_default();
        let _ = write!(text, ",{protocol},,{port},,{service}");
        while text.ends_with(',') {
            text.pop();
        }
        text
    }
}

/// The name of an access point that may be written into a command.
///
/// # Errors
/// It is empty, too long, or holds what no name of one has: labels of letters, digits and hyphens (TS 23.003, clause 9).
pub fn apn(name: &str) -> Result<&str, NameError> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    (name.len() <= 100 && name.split('.').all(label)).then_some(name).ok_or(NameError)
}

/// It is no name of an access point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of an access point is made of letters, digits, hyphens and dots, as in `internet.example`")]
pub struct NameError;
