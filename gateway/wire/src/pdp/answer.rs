//! Answers, read as the field sends them: with and without blanks, fields that are left out or too many. What makes no
//! sense is `None`, and never a guess.

use super::command::Service;
use super::{fields, rest_of};

/// Whether a context is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextState {
    /// Which.
    pub cid: u8,
    /// Whether it is.
    pub active: bool,
}

/// The lines that answer `AT+CGACT?`. A line that makes no sense is left out.
pub fn context_states(lines: &[String]) -> Vec<ContextState> {
    let read = |line: &String| {
        let fields = fields(rest_of(line, "+CGACT")?)?;
        let [cid, state] = fields.as_slice() else { return None };
        let active = match *state {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        Some(ContextState { cid: cid.parse().ok()?, active })
    };
    lines.iter().filter_map(read).collect()
}

/// Whose network a device is registered on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// On none that carries packets.
    None,
    /// Its own operator's.
    Home,
    /// Another's.
    Roaming,
}

/// The registration in the lines that answer `AT+CEREG?` and its like: `n,stat,...`. A line of that name that the modem said
/// on its own begins with the state alone, or goes on with the quoted code of an area; one that was asked for goes before it.
/// The states are those that makers of modems print from TS 27.007.
pub fn registration(lines: &[String], service: Service) -> Option<Registration> {
    let stated = |line: &String| {
        let rest = rest_of(line, service.name())?;
        let (first, more) = rest.split_once(',').map_or((rest, None), |(first, more)| (first, Some(more)));
        let second = more.map(|more| more.split_once(',').map_or(more, |(second, _)| second).trim());
        match second {
            // No state has more than two digits, and no area fewer than four.
            Some(second) if !second.starts_with('"') && second.len() <= 2 => Some((0, state(second)?)),
            Some(_) | None => Some((1, state(first.trim())?)),
        }
    };
    let said = lines.iter().filter_map(stated).min_by_key(|(told, _)| *told);
    said.map(|(_, registration)| registration)
}

fn state(stat: &str) -> Option<Registration> {
    Some(match stat.parse().ok()? {
        // 9 and 10 prefer other calls, and carry packets as 1 and 5 do; 6, 7 and 8 carry messages, or emergencies only.
        1 | 9 => Registration::Home,
        5 | 10 => Registration::Roaming,
        0 | 2 | 3 | 4 | 6 | 7 | 8 | 90 => Registration::None,
        _ => return None,
    })
}

/// The parameters that the lines that answer `AT+CGEQNEG` have for that context, after its number.
pub fn negotiated(lines: &[String], cid: u8) -> Option<&str> {
    of_context(lines, "+CGEQNEG", cid)
}

/// The parameters that the lines that answer `AT+CGEQOSRDP` have for that context, after its number.
pub fn eps_dynamic(lines: &[String], cid: u8) -> Option<&str> {
    of_context(lines, "+CGEQOSRDP", cid)
}

fn of_context<'a>(lines: &'a [String], name: &str, cid: u8) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let (first, rest) = rest_of(line, name)?.split_once(',')?;
        (first.trim().parse() == Ok(cid)).then(|| rest.trim())
    })
}

/// The numbers of contexts that the answer to `AT+CGDSCONT=?` allows: `(1-11),...` or `(5,6,7),...`. At most 16 of them.
pub fn cids_of_range(lines: &[String]) -> Vec<u8> {
    let read = |line: &String| {
        let fields = fields(rest_of(line, "+CGDSCONT")?)?;
        let range = fields.first()?.strip_prefix('(')?.strip_suffix(')')?;
        let mut cids = Vec::new();
        for part in range.split(',').take(CIDS_MAX) {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to): (u8, u8) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            cids.extend((from.max(1)..=to).take(CIDS_MAX));
        }
        cids.truncate(CIDS_MAX);
        Some(cids)
    };
    lines.iter().find_map(read).unwrap_or_default()
}

/// A device has at most eleven bearers (TS 24.301), and no modem was seen with more contexts than this.
const CIDS_MAX: usize = 16;
