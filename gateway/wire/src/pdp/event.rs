//! What a modem says about contexts on its own: +CGEV, once +CGEREP switched it on, and +CGBRRREP. The forms of +CGEV
//! differ between releases, so that only what all agree on is taken out of it; where a number is missing, one looks again.

use super::command::Service;
use super::{fields, rest_of};

/// The bit of a modification that says that the quality of service changed (TS 27.007, +CGEV).
pub const REASON_QOS: u16 = 2;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Contexts were activated or deactivated, or the device was attached, detached or registered elsewhere: ask how
    /// everything is.
    Changed,
    /// The network or the device changed that context.
    Modified {
        /// Which.
        cid: u8,
        /// What about it, as a sum of bits; `None` where the modem does not say.
        reasons: Option<u16>,
    },
    /// The base station recommends that rate.
    Recommended {
        /// kbit/s.
        rate: u32,
        /// Whether it is for what the device sends.
        up: bool,
        /// For these contexts; none: for all.
        cids: Vec<u8>,
    },
}

impl Event {
    /// Reads a line, if it is about contexts. One that begins as such and makes no sense is [`Event::Changed`]: something
    /// happened.
    pub fn read(line: &str) -> Option<Self> {
        if let Some(rest) = rest_of(line, "+CGBRRREP") {
            return recommended(rest);
        }
        if Service::ALL.iter().any(|service| rest_of(line, service.name()).is_some()) {
            return Some(Self::Changed);
        }
        let said = rest_of(line, "+CGEV")?.trim();
        let upper = said.to_ascii_uppercase();
        let modified = ["NW MODIFY", "ME MODIFY"].into_iter().find_map(|begin| upper.strip_prefix(begin));
        let Some(rest) = modified else { return Some(Self::Changed) };
        let number = |field: Option<&&str>| field.and_then(|field| field.parse::<u16>().ok());
        let fields = fields(rest).unwrap_or_default();
        let cid = number(fields.first()).and_then(|cid| u8::try_from(cid).ok());
        Some(cid.map_or(Self::Changed, |cid| Self::Modified { cid, reasons: number(fields.get(1)) }))
    }
}

/// `rate,direction,n,cid,...`; a recommendation that cannot be read is none.
fn recommended(rest: &str) -> Option<Event> {
    let fields = fields(rest)?;
    let (rate, direction, rest) = match fields.as_slice() {
        [rate, direction, rest @ ..] => (rate, direction, rest),
        _ => return None,
    };
    let up = match *direction {
        "1" => true,
        "2" => false,
        _ => return None,
    };
    let cids = rest.iter().skip(1).map(|cid| cid.parse().ok()).collect::<Option<Vec<u8>>>()?;
    Some(Event::Recommended { rate: rate.parse().ok()?, up, cids })
}
