//! Answers, read as the field sends them: with and without blanks, fields that are left out or too many. What makes no
//! sense is `None`, and never a guess.

use super::quality::{EpsQuality, UmtsQuality};
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

/// What the lines that answer `AT+CGEQNEG` say of that context.
pub fn umts_quality(lines: &[String], cid: u8) -> Option<UmtsQuality> {
    of_context(lines, "+CGEQNEG", cid, UmtsQuality::of)
}

/// What the lines that answer `AT+CGEQOSRDP` say of that context.
pub fn eps_quality(lines: &[String], cid: u8) -> Option<EpsQuality> {
    of_context(lines, "+CGEQOSRDP", cid, EpsQuality::of)
}

fn of_context<T>(lines: &[String], name: &str, cid: u8, read: impl Fn(&[&str]) -> Option<T>) -> Option<T> {
    lines.iter().find_map(|line| {
        let fields = fields(rest_of(line, name)?)?;
        let (first, rest) = fields.split_first()?;
        (first.parse() == Ok(cid)).then(|| read(rest)).flatten()
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
