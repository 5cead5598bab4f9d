//! PDP contexts and their quality of service over AT commands (TS 27.007): what is said to a modem as text, and what it
//! answers as values. Nothing is sent from here, and nothing decides what to ask for. The parameters of a profile are
//! written and read by crate mexe-qos; here they are text that is no more than that.

mod answer;
mod cause;
mod command;
mod event;
mod quality;

#[cfg(test)]
mod tests;

pub use self::answer::{
    ContextState, Registration, cids_of_range, context_states, eps_dynamic, negotiated, registration,
};
pub use self::cause::Cause;
pub use self::command::{Command, PdpType, Service};
pub use self::event::{Event, REASON_QOS};
pub use self::quality::{Filter, NameError, Parameters, apn};

/// The most fields that a line may have: what is longer is no answer to anything that is asked here.
const FIELDS_MAX: usize = 64;

/// The fields of a line after its `+NAME:`, by the commas that stand outside quotes and brackets; `None` when there are too
/// many, or quotes stay open. Blanks and quotes around a field are taken away.
fn fields(rest: &str) -> Option<Vec<&str>> {
    let (mut found, mut start, mut quoted, mut depth) = (Vec::new(), 0, false, 0_u8);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth = depth.checked_add(1)?,
            b')' if !quoted => depth = depth.checked_sub(1)?,
            b',' if !quoted && depth == 0 => {
                found.push(plain(rest.get(start..at)?));
                start = at.checked_add(1)?;
            }
            _ => {}
        }
        if found.len() >= FIELDS_MAX {
            return None;
        }
    }
    found.push(plain(rest.get(start..)?));
    (!quoted && depth == 0).then_some(found)
}

fn plain(field: &str) -> &str {
    field.trim().trim_matches('"').trim()
}

/// What follows `+NAME:` in a line; case does not count, and neither does a missing blank.
fn rest_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let head = line.get(..name.len())?;
    let rest = line.get(name.len()..)?.trim_start();
    head.eq_ignore_ascii_case(name).then(|| rest.strip_prefix(':')).flatten()
}
