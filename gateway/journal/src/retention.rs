//! What is old enough, or too much, to be kept. Retention takes out whole days of decisions and ends of flows, oldest
//! first; changes stay for their own, longer time. What is taken out leaves a gap with the hashes at both ends, and the
//! set of gaps is bound into the chain by a record `journal.prune` that is sealed in the same transaction: nobody
//! without the seal key can pass off a deletion as retention. The keeper plans, the writer carries out in small steps.
//!
//! Clearing at the user's wish goes the same way, with a record `journal.clear` in the place of `journal.prune`. Either
//! way the newest seals stay, as many as a tenth of the size holds: on them a checkpoint is found again.

use std::time::Duration;

use mexe_model::WallTime;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use crate::chain::{Hash, genesis, sha256, signed, unsigned};
use crate::journal::Options;
use crate::record::{Kind, Record};

const DAY: u64 = 86_400_000;

/// The action of the record that tells of a pruning.
pub(crate) const PRUNE: &str = "journal.prune";

/// The action of the record that tells of an erasure. These records are never taken out.
pub(crate) const ERASE: &str = "journal.erase";

/// The action of the record that tells of a clearing. These records are never taken out, either.
pub(crate) const CLEAR: &str = "journal.clear";

/// What a seal takes in the database, with what SQLite puts around it, bytes; rounded up.
const SEAL_SIZE: u64 = 256;

/// Records `first` to `last` are taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The hash of the record before `first`.
    pub(crate) before: Hash,
    /// The hash of record `last`.
    pub(crate) hash: Hash,
}

impl Gap {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            first: unsigned(row.get(0)?),
            last: unsigned(row.get(1)?),
            before: row.get(2)?,
            hash: row.get(3)?,
        })
    }
}

/// What is to be taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// All gaps there will be, those that are there already included.
    pub(crate) gaps: Vec<Gap>,
    /// How many records go.
    pub(crate) records: u64,
    /// The last record that goes.
    pub(crate) through: u64,
    /// Seals below this id go too.
    pub(crate) first_seal: u64,
}

/// How much one plan may take out for its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Everything that is old enough.
    All,
    /// The oldest day only: a clock that jumps ahead must not cost the whole journal at once.
    OneDay,
}

/// Plans, by the given time. `None` when everything stays. No earlier plan may be half carried out.
pub(crate) fn plan(
    conn: &Connection,
    now: WallTime,
    pace: Pace,
    options: &Options,
    identity: &Hash,
) -> rusqlite::Result<Option<Plan>> {
    let mut by_age = last_before(conn, now, days_ago(now, options.retention))?;
    let too_large = is_too_large(conn, options.max_size)?;
    let oldest = if pace == Pace::OneDay || too_large { oldest_part(conn, now)? } else { 0 };
    if pace == Pace::OneDay {
        by_age = by_age.min(oldest);
    }
    let by_size = if too_large { oldest } else { 0 };
    let old_gaps = gaps(conn)?;
    let mut high = by_age.max(by_size);
    if let Some(gap) = old_gaps.iter().find(|gap| gap.first <= high && gap.last > high) {
        high = gap.last;
    }
    let change_cutoff = days_ago(now, options.change_retention.max(options.retention));
    let stays = "SELECT seq FROM records WHERE seq <= ?1 AND kind = 'change' AND (at >= ?2 OR action IN (?3, ?4)) \
                 ORDER BY seq";
    let kept = numbers(conn, stays, params![signed(high), signed(change_cutoff), ERASE, CLEAR])?;
    without(conn, high, &kept, old_gaps, options, identity)
}

/// Plans what the user clears: all decisions and ends of flows before that time. `None` when there are none. As with
/// [`plan`], no earlier plan may be half carried out.
pub(crate) fn plan_clearing(
    conn: &Connection,
    before: WallTime,
    options: &Options,
    identity: &Hash,
) -> rusqlite::Result<Option<Plan>> {
    let sql = "SELECT coalesce(max(seq), 0) FROM records WHERE kind <> 'change' AND at < ?1";
    let high = unsigned(conn.query_row(sql, [signed(before.as_millis())], |row| row.get(0))?);
    let stays = "SELECT seq FROM records WHERE seq <= ?1 AND (kind = 'change' OR at >= ?2) ORDER BY seq";
    let kept = numbers(conn, stays, params![signed(high), signed(before.as_millis())])?;
    without(conn, high, &kept, gaps(conn)?, options, identity)
}

fn numbers(conn: &Connection, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<Vec<u64>> {
    conn.prepare(sql)?.query_map(values, |row| Ok(unsigned(row.get(0)?)))?.collect()
}

/// The plan that leaves of the records up to `high` only those that are kept. No gap of now may go on past `high`.
fn without(
    conn: &Connection,
    high: u64,
    kept: &[u64],
    old_gaps: Vec<Gap>,
    options: &Options,
    identity: &Hash,
) -> rusqlite::Result<Option<Plan>> {
    let sql = "SELECT count(*) FROM records WHERE seq <= ?1";
    let there: i64 = conn.query_row(sql, [signed(high)], |row| row.get(0))?;
    let records = unsigned(there).saturating_sub(u64::try_from(kept.len()).unwrap_or(u64::MAX));
    if records == 0 {
        return Ok(None);
    }
    let hash_of = |seq: u64| hash_of(conn, seq, &old_gaps, identity);
    let mut gaps = Vec::new();
    let mut first = 1;
    for stop in kept.iter().copied().chain([high.saturating_add(1)]) {
        if stop > first {
            let last = stop - 1;
            gaps.push(Gap { first, last, before: hash_of(first - 1)?, hash: hash_of(last)? });
        }
        first = stop.saturating_add(1);
    }
    gaps.extend(old_gaps.into_iter().filter(|gap| gap.first > high));
    let sql = "SELECT coalesce((SELECT max(id) FROM seals WHERE seq <= ?1), (SELECT min(id) FROM seals), 1), \
                      coalesce((SELECT max(id) FROM seals), 1)";
    let (covering, last): (i64, i64) =
        conn.query_row(sql, [signed(high)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let kept_seals = options.max_size / 10 / SEAL_SIZE;
    let first_seal = unsigned(covering).min(unsigned(last).saturating_sub(kept_seals));
    Ok(Some(Plan { gaps, records, through: high, first_seal }))
}

/// Writes the plan down; the records go later, in steps of [`delete_some`].
pub(crate) fn adopt(conn: &Connection, plan: &Plan) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM gaps", [])?;
    let mut statement =
        conn.prepare_cached("INSERT INTO gaps (first, last, before, hash) VALUES (?1, ?2, ?3, ?4)")?;
    for gap in &plan.gaps {
        statement.execute(params![signed(gap.first), signed(gap.last), gap.before, gap.hash])?;
    }
    conn.execute("DELETE FROM seals WHERE id < ?1", [signed(plan.first_seal)])?;
    Ok(())
}

/// The record that tells of it: of a pruning, or of a clearing with what the record that was brought for it says.
pub(crate) fn record(plan: &Plan, at: WallTime, clearing: Option<&Record>) -> Record {
    let told = json!({ "records": plan.records, "through": plan.through });
    match clearing {
        None => Record { detail: Some(told), ..Record::change(at, PRUNE) },
        Some(record) => cleared(record, CLEAR, plan.records, told),
    }
}

/// A clearing's record, with how many records it was.
pub(crate) fn cleared(record: &Record, action: &'static str, records: u64, told: Value) -> Record {
    let mut detail = match &record.detail {
        Some(Value::Object(detail)) => detail.clone(),
        _ => serde_json::Map::new(),
    };
    if let Value::Object(told) = told {
        detail.extend(told);
    }
    Record {
        kind: Kind::Change,
        action: Some(action.into()),
        count: u32::try_from(records).unwrap_or(u32::MAX),
        detail: (!detail.is_empty()).then_some(Value::Object(detail)),
        ..record.clone()
    }
}

/// What binds the gaps and the beginning of the seals into the chain.
pub(crate) fn proof(gaps: &[Gap], first_seal: (u64, &[u8; 32]), identity: &Hash) -> Hash {
    let mut bytes = b"mexegate gaps 1\0".to_vec();
    bytes.extend_from_slice(identity);
    bytes.extend_from_slice(&first_seal.0.to_be_bytes());
    bytes.extend_from_slice(first_seal.1);
    for gap in gaps {
        bytes.extend_from_slice(&gap.first.to_be_bytes());
        bytes.extend_from_slice(&gap.last.to_be_bytes());
        bytes.extend_from_slice(&gap.before);
        bytes.extend_from_slice(&gap.hash);
    }
    sha256(&bytes)
}

/// All gaps, in order.
pub(crate) fn gaps(conn: &Connection) -> rusqlite::Result<Vec<Gap>> {
    let sql = "SELECT first, last, before, hash FROM gaps ORDER BY first";
    conn.prepare(sql)?.query_map([], Gap::read)?.collect()
}

/// The gap that a record lies in.
pub(crate) fn gap_around(conn: &Connection, seq: u64) -> rusqlite::Result<Option<Gap>> {
    let sql = "SELECT first, last, before, hash FROM gaps WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
    let gap = conn.prepare_cached(sql)?.query_row([signed(seq)], Gap::read).optional()?;
    Ok(gap.filter(|gap| seq <= gap.last))
}

/// The gap that ends with that record; gaps are in order.
pub(crate) fn gap_ending(gaps: &[Gap], seq: u64) -> Option<&Gap> {
    gaps.binary_search_by_key(&seq, |gap| gap.last).ok().and_then(|found| gaps.get(found))
}

/// Takes out up to `limit` records that lie in gaps; how many it were. Zero means that all are gone.
pub(crate) fn delete_some(conn: &Connection, limit: u32) -> rusqlite::Result<usize> {
    // Gaps first: those that are empty cost one look each, and a clearing may leave one between any two changes.
    let sql = "DELETE FROM records WHERE seq IN \
                 (SELECT r.seq FROM gaps g CROSS JOIN records r ON r.seq BETWEEN g.first AND g.last LIMIT ?1)";
    conn.prepare_cached(sql)?.execute([limit])
}

/// Whether the database holds nine tenths of what it may. The file itself shrinks only by a `VACUUM`, but what was
/// taken out leaves room in it.
pub(crate) fn is_too_large(conn: &Connection, max_size: u64) -> rusqlite::Result<bool> {
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(unsigned);
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages.saturating_mul(pragma("page_size")?) > max_size / 10 * 9)
}

/// The beginning of the day that lies so long ago, in milliseconds.
fn days_ago(now: WallTime, age: Duration) -> u64 {
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    now.as_millis().saturating_sub(age) / DAY * DAY
}

/// The last record of the stretch at the beginning that is older than `cutoff` throughout. One record from a time when
/// the clock stood in the past never drags younger ones with it; one from the future does not hold the others back.
fn last_before(conn: &Connection, now: WallTime, cutoff: u64) -> rusqlite::Result<u64> {
    let sql = "SELECT seq FROM records WHERE at >= ?1 AND at <= ?2 ORDER BY seq LIMIT 1";
    let tomorrow = now.as_millis().saturating_add(DAY);
    let young: Option<i64> =
        conn.query_row(sql, params![signed(cutoff), signed(tomorrow)], |row| row.get(0)).optional()?;
    match young {
        Some(seq) => Ok(unsigned(seq).saturating_sub(1)),
        None => {
            conn.query_row("SELECT coalesce(max(seq), 0) FROM records", [], |row| row.get(0)).map(unsigned)
        }
    }
}

/// The last record of the oldest day; where that day is also the newest, of its oldest eighth.
fn oldest_part(conn: &Connection, now: WallTime) -> rusqlite::Result<u64> {
    let sql = "SELECT at FROM records WHERE kind <> 'change' ORDER BY seq LIMIT 1";
    let oldest: Option<i64> = conn.query_row(sql, [], |row| row.get(0)).optional()?;
    let Some(oldest) = oldest.map(unsigned) else { return Ok(0) };
    let day_end = (oldest / DAY).saturating_add(1).saturating_mul(DAY);
    let whole_day = last_before(conn, now, day_end)?;
    let last: i64 = conn.query_row("SELECT coalesce(max(seq), 0) FROM records", [], |row| row.get(0))?;
    if whole_day < unsigned(last) {
        return Ok(whole_day);
    }
    let sql = "SELECT seq FROM records WHERE kind <> 'change' ORDER BY seq \
               LIMIT 1 OFFSET (SELECT count(*) / 8 FROM records WHERE kind <> 'change')";
    conn.query_row(sql, [], |row| row.get(0)).map(unsigned)
}

/// The hash of a record that is there, or that ended a gap.
fn hash_of(conn: &Connection, seq: u64, gaps: &[Gap], identity: &Hash) -> rusqlite::Result<Hash> {
    if seq == 0 {
        return Ok(genesis(identity));
    }
    if let Some(gap) = gap_ending(gaps, seq) {
        return Ok(gap.hash);
    }
    conn.prepare_cached("SELECT hash FROM records WHERE seq = ?1")?.query_row([signed(seq)], |row| row.get(0))
}
