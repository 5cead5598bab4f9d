//! What apps moved, by local day, app, traffic class and bearer: sums that the writer adds to, and that are read back as
//! they are asked for. Sums, not records: they are in no chain, and keep no target. Whoever counts hands over what came
//! in since the last time, so nothing is counted twice.

use std::path::Path;
use std::sync::Arc;

use mexe_model::AppId;
use rusqlite::{Connection, Row, params};

use crate::JournalError;
use crate::chain::{signed, unsigned};
use crate::query::database;
use crate::schema;

/// Whose usage, of what, when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    /// The local day, counted from 1970-01-01.
    pub day: i64,
    /// The app.
    pub app: AppId,
    /// The traffic class.
    pub class: Arc<str>,
    /// The bearer.
    pub bearer: Arc<str>,
    /// Whether the device was on another operator's network.
    pub roaming: bool,
}

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Payload bytes that went to the network.
    pub bytes_up: u64,
    /// Payload bytes that came from it.
    pub bytes_down: u64,
    /// Payload bytes that the app sent and the gate did not pass on.
    pub dropped_up: u64,
    /// Payload bytes that the network sent and the gate did not pass on.
    pub dropped_down: u64,
    /// Flows that were opened.
    pub flows: u64,
    /// How long flows were open, all added up, milliseconds.
    pub flow_ms: u64,
}

impl Usage {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.bytes_up, other.bytes_up),
            (&mut self.bytes_down, other.bytes_down),
            (&mut self.dropped_up, other.dropped_up),
            (&mut self.dropped_down, other.dropped_down),
            (&mut self.flows, other.flows),
            (&mut self.flow_ms, other.flow_ms),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

/// How many days back are kept.
pub const USAGE_DAYS: i64 = 400;

/// The usage of these days, the last one included, by day and app. `path` is the state directory or the database in it.
///
/// # Errors
/// As [`query()`](crate::query()).
pub fn usage(path: &Path, first: i64, last: i64) -> Result<Vec<(UsageKey, Usage)>, JournalError> {
    let path = database(path);
    let conn = schema::open_read_only(&path)?;
    let found = schema::version(&conn, &path)?;
    if found > schema::latest() {
        return Err(JournalError::Newer { path, found, known: schema::latest() });
    }
    if found < FIRST_SCHEMA {
        return Ok(Vec::new());
    }
    let read = || {
        let sql = "SELECT day, app, class, bearer, roaming, bytes_up, bytes_down, dropped_up, dropped_down, flows, flow_ms \
                   FROM usage WHERE day BETWEEN ?1 AND ?2 ORDER BY day, app, class, bearer, roaming";
        conn.prepare(sql)?.query_map([first, last], one)?.collect::<rusqlite::Result<_>>()
    };
    read().map_err(JournalError::database("read the usage from", &path))
}

/// The first schema that has the table as it is.
const FIRST_SCHEMA: i64 = 6;

fn one(row: &Row<'_>) -> rusqlite::Result<(UsageKey, Usage)> {
    let app: String = row.get(1)?;
    let wrong = |e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e));
    let key = UsageKey {
        day: row.get(0)?,
        app: app.parse().map_err(wrong)?,
        class: row.get::<_, String>(2)?.into(),
        bearer: row.get::<_, String>(3)?.into(),
        roaming: row.get(4)?,
    };
    let number = |index| row.get::<_, i64>(index).map(unsigned);
    let usage = Usage {
        bytes_up: number(5)?,
        bytes_down: number(6)?,
        dropped_up: number(7)?,
        dropped_down: number(8)?,
        flows: number(9)?,
        flow_ms: number(10)?,
    };
    Ok((key, usage))
}

/// Adds to what is there. With the first usage of a new day the oldest day goes that is too old: a clock that is wrong for
/// a while takes one day, not all.
pub(crate) fn add(conn: &Connection, more: &[(UsageKey, Usage)]) -> rusqlite::Result<()> {
    let newest = more.iter().map(|(key, _)| key.day).max();
    let known: Option<i64> =
        conn.prepare_cached("SELECT max(day) FROM usage")?.query_row([], |row| row.get(0))?;
    if let Some(newest) = newest.filter(|newest| known.is_some_and(|known| *newest > known)) {
        let sql = "DELETE FROM usage WHERE day = (SELECT min(day) FROM usage) AND day < ?1";
        conn.prepare_cached(sql)?.execute([newest.saturating_sub(USAGE_DAYS)])?;
    }
    let sql = "INSERT INTO usage \
                 (day, app, class, bearer, roaming, bytes_up, bytes_down, dropped_up, dropped_down, flows, flow_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
               ON CONFLICT (day, app, class, bearer, roaming) DO UPDATE SET \
                 bytes_up = bytes_up + ?6, bytes_down = bytes_down + ?7, dropped_up = dropped_up + ?8, \
                 dropped_down = dropped_down + ?9, flows = flows + ?10, flow_ms = flow_ms + ?11";
    let mut statement = conn.prepare_cached(sql)?;
    for (key, usage) in more {
        statement.execute(params![
            key.day,
            key.app.as_str(),
            key.class,
            key.bearer,
            key.roaming,
            signed(usage.bytes_up),
            signed(usage.bytes_down),
            signed(usage.dropped_up),
            signed(usage.dropped_down),
            signed(usage.flows),
            signed(usage.flow_ms),
        ])?;
    }
    Ok(())
}
