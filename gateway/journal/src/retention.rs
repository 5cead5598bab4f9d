//! What is old enough, or too much, to be kept. Retention takes out whole days of decisions and ends of flows, oldest
//! first; changes stay for their own, longer time. What is taken out leaves a gap with the hashes at both ends, and the
//! set of gaps is bound into the chain by a record `journal.prune` that is sealed in the same transaction: nobody
//! without the seal key can pass off a deletion as retention. The keeper plans, the writer carries out in small steps.

use std::time::Duration;

use mexe_model::WallTime;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use crate::chain::{Hash, genesis, sha256, signed, unsigned};
use crate::journal::Options;
use crate::record::Record;

const DAY: u64 = 86_400_000;

/// The action of the record that tells of a pruning.
pub(crate) const PRUNE: &str = "journal.prune";

/// The action of the record that tells of an erasure. These records are never taken out.
pub(crate) const ERASE: &str = "journal.erase";

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

/// What is to be taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// All gaps there will be, those that are there already included.
    pub(crate) gaps: Vec<Gap>,
    /// How many records go.
    pub(crate) records: u64,
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
    let stays = "SELECT seq FROM records WHERE seq <= ?1 AND kind = 'change' AND (at >= ?2 OR action = ?3) ORDER BY seq";
    let mut statement = conn.prepare(stays)?;
    let kept = statement
        .query_map(params![signed(high), signed(change_cutoff), ERASE], |row| Ok(unsigned(row.get(0)?)))?
        .collect::<rusqlite::Result<Vec<u64>>>()?;
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
    let sql = "SELECT coalesce((SELECT max(id) FROM seals WHERE seq <= ?1), (SELECT min(id) FROM seals), 1)";
    let first_seal = unsigned(conn.query_row(sql, [signed(high)], |row| row.get(0))?);
    Ok(Some(Plan { gaps, records, first_seal }))
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

/// The record that tells of it.
pub(crate) fn record(plan: &Plan, at: WallTime) -> Record {
    let through = plan.gaps.iter().map(|gap| gap.last).max().unwrap_or_default();
    Record {
        detail: Some(json!({ "records": plan.records, "through": through })),
        ..Record::change(at, PRUNE)
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
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Gap {
            first: unsigned(row.get(0)?),
            last: unsigned(row.get(1)?),
            before: row.get(2)?,
            hash: row.get(3)?,
        })
    };
    conn.prepare("SELECT first, last, before, hash FROM gaps ORDER BY first")?.query_map([], read)?.collect()
}

/// Takes out up to `limit` records that lie in gaps; how many it were. Zero means that all are gone.
pub(crate) fn delete_some(conn: &Connection, limit: u32) -> rusqlite::Result<usize> {
    let sql = "SELECT g.first, g.last FROM gaps g \
               WHERE EXISTS (SELECT 1 FROM records r WHERE r.seq BETWEEN g.first AND g.last) ORDER BY g.first LIMIT 1";
    let range: Option<(i64, i64)> =
        conn.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((first, last)) = range else { return Ok(0) };
    let sql = "DELETE FROM records WHERE seq IN \
                 (SELECT seq FROM records WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq LIMIT ?3)";
    conn.prepare_cached(sql)?.execute(params![first, last, limit])
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
    if let Some(gap) = gaps.iter().find(|gap| gap.last == seq) {
        return Ok(gap.hash);
    }
    conn.prepare_cached("SELECT hash FROM records WHERE seq = ?1")?.query_row([signed(seq)], |row| row.get(0))
}
