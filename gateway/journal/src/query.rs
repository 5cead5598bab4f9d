//! Reading records back: a [`Filter`] in, [`Row`]s out, over a connection of its own that can only read. Works while a
//! gate writes and while none runs. Called by the command line and by the control API.

use std::path::{Path, PathBuf};

use mexe_model::{AppId, FlowId, GrantId, Reason, RunId, Trust, WallTime};
use rusqlite::types::Value;
use serde::Serialize;

use crate::JournalError;
use crate::chain::{COLUMNS, Line, Link, hex, signed, unsigned};
use crate::record::{Kind, Outcome};
use crate::schema;

/// Which records are wanted: those that fit every field that is filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this app. Erased records belong to no app any more.
    pub app: Option<AppId>,
    /// At this time or later.
    pub since: Option<WallTime>,
    /// Before this time.
    pub until: Option<WallTime>,
    /// With this reason.
    pub reason: Option<Reason>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Decided so.
    pub decision: Option<Outcome>,
    /// Of apps that were this to the security table.
    pub domain: Option<Trust>,
    /// Of this action.
    pub action: Option<String>,
    /// Of this run.
    pub run: Option<RunId>,
    /// Of this flow.
    pub flow: Option<FlowId>,
    /// With a higher number than this. Changes which ones come when there are more than [`Filter::limit`]: with it the
    /// oldest, so that one can page on; without it the newest.
    pub after: Option<u64>,
    /// At most so many; 1000 when not given.
    pub limit: Option<u32>,
}

/// One record as it is shown: one JSON object, fields that are empty left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its number.
    pub seq: u64,
    /// When it happened; RFC 3339 in JSON.
    #[serde(serialize_with = "rfc_3339")]
    pub at: WallTime,
    /// What it tells of: `decision`, `flow-end` or `change`.
    pub kind: String,
    /// The app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowId>,
    /// The security domain, or `untrusted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What was asked or done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Where it wanted to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `allow`, `deny` or `ask`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The reason's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The rule, with its provenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How the run is bound to its package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// Where the request came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,
    /// The traffic class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Bytes from the app to the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_up: Option<u64>,
    /// Bytes from the network to the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_down: Option<u64>,
    /// How long the flow lived, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The addresses, each with its port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// For how many events it stands; left out when for one.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u64,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
    /// Whether the personal fields were taken out; left out when not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    /// The record's hash in the chain, lower-case hexadecimal.
    pub hash: String,
    /// The record in one sentence for a person; see [`says`](crate::says()).
    pub says: String,
}

/// The records of a journal that fit the filter, by number. `path` is the state directory or the database in it.
///
/// # Errors
/// `Missing`, `NotADatabase`, `Newer`, `Damaged` or `Database`.
pub fn query(path: &Path, filter: &Filter) -> Result<Vec<Row>, JournalError> {
    page(path, filter).map(|page| page.rows)
}

/// Records, and where to go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The records that fit, by number.
    pub rows: Vec<Row>,
    /// Put this into [`Filter::after`] to get those that come after: nothing between was left out. It moves on also
    /// when no record fits, so that whoever follows the journal never goes over the same records twice.
    pub next: u64,
}

/// As [`query()`], and where to go on.
///
/// # Errors
/// As [`query()`].
pub fn page(path: &Path, filter: &Filter) -> Result<Page, JournalError> {
    let path = database(path);
    let conn = schema::open_read_only(&path)?;
    let found = schema::version(&conn, &path)?;
    if found > schema::latest() {
        return Err(JournalError::Newer { path, found, known: schema::latest() });
    }
    if found == 0 {
        return Ok(Page { rows: Vec::new(), next: filter.after.unwrap_or_default() });
    }
    let read = || {
        let reading = conn.unchecked_transaction()?;
        let rows = select(&reading, filter)?;
        let sql = "SELECT coalesce(max(seq), 0) FROM records";
        let head = unsigned(reading.query_row(sql, [], |row| row.get(0))?);
        let limit = usize::try_from(filter.limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX);
        let next = match rows.last() {
            // There may be more up to the end.
            Some(last) if filter.after.is_some() && rows.len() >= limit => last.seq,
            _ => head.max(filter.after.unwrap_or_default()),
        };
        Ok(Page { rows, next })
    };
    read().map_err(JournalError::database("read records from", &path))
}

fn select(conn: &rusqlite::Connection, filter: &Filter) -> rusqlite::Result<Vec<Row>> {
    let (sql, values) = statement(filter);
    let mut statement = conn.prepare(&sql)?;
    let read = |row: &rusqlite::Row<'_>| Line::read(row).map(|(line, link)| Row::from_line(&line, &link));
    let mut rows: Vec<Row> =
        statement.query_map(rusqlite::params_from_iter(values), read)?.collect::<Result<_, _>>()?;
    if filter.after.is_none() {
        rows.reverse();
    }
    Ok(rows)
}

/// The statement that selects, and its values.
fn statement(filter: &Filter) -> (String, Vec<Value>) {
    let mut conditions = vec![SHOWN];
    let mut values = Vec::new();
    let mut want = |condition: &'static str, value: Option<Value>| {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(value);
        }
    };
    let text = |text: &str| Value::Text(text.to_owned());
    want("app = ?", filter.app.as_ref().map(|app| text(app.as_str())));
    want("at >= ?", filter.since.map(|at| Value::Integer(signed(at.as_millis()))));
    want("at < ?", filter.until.map(|at| Value::Integer(signed(at.as_millis()))));
    want("reason = ?", filter.reason.map(|reason| text(reason.code())));
    want("kind = ?", filter.kind.map(|kind| text(kind.as_str())));
    want("decision = ?", filter.decision.map(|decision| text(decision.as_str())));
    want("domain = ?", filter.domain.map(|domain| text(domain.as_str())));
    want("action = ?", filter.action.as_ref().map(|action| text(action)));
    want("run = ?", filter.run.map(|run| Value::Integer(signed(run.0))));
    want("flow = ?", filter.flow.map(|flow| Value::Integer(signed(flow.0))));
    want("seq > ?", filter.after.map(|after| Value::Integer(signed(after))));
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
    let sql = format!(
        "SELECT {COLUMNS} FROM records WHERE {} ORDER BY seq {} LIMIT {limit}",
        conditions.join(" AND "),
        if filter.after.is_some() { "ASC" } else { "DESC" }
    );
    (sql, values)
}

/// The database, given it or its directory.
pub(crate) fn database(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(crate::DATABASE) } else { path.to_owned() }
}

impl Row {
    fn from_line(line: &Line<'_>, link: &Link<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let mut row = Self {
            seq: unsigned(line.seq),
            at: WallTime::from_millis(unsigned(line.at)),
            kind: line.kind.to_owned(),
            app: owned(line.app),
            run: line.run.map(|run| RunId(unsigned(run))),
            flow: line.flow.map(|flow| FlowId(unsigned(flow))),
            domain: owned(line.domain),
            action: owned(line.action),
            target: owned(line.target),
            decision: owned(line.decision),
            reason: owned(line.reason),
            grant: line.grant.map(|grant| GrantId(unsigned(grant))),
            rule: owned(line.rule),
            binding: owned(line.binding),
            ingress: owned(line.ingress),
            class: owned(line.class),
            bytes_up: line.bytes_up.map(unsigned),
            bytes_down: line.bytes_down.map(unsigned),
            duration_ms: line.duration_ms.map(unsigned),
            addresses: line.addresses.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            count: unsigned(line.count),
            detail: line.detail.map(|text| {
                serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
            }),
            erased: line.is_erased(),
            hash: hex(link.hash),
            says: String::new(),
        };
        row.says = crate::says(&row);
        row
    }
}

/// What is taken out is gone for a reader at once, though it leaves the table in steps.
const SHOWN: &str =
    "NOT coalesce((SELECT last FROM gaps WHERE first <= seq ORDER BY first DESC LIMIT 1) >= seq, 0)";

const DEFAULT_LIMIT: u32 = 1000;

fn rfc_3339<S: serde::Serializer>(at: &WallTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_one(count: &u64) -> bool {
    *count == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite does for a filter, in its words.
    fn plan(filter: &Filter) -> String {
        let dir = tempfile::tempdir().unwrap();
        let conn = schema::open(&dir.path().join("j.db")).unwrap();
        let (sql, values) = statement(filter);
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = statement.query(rusqlite::params_from_iter(values)).unwrap();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>(3).unwrap());
        }
        steps.join("; ")
    }

    #[test]
    fn the_records_of_one_app_are_found_without_a_look_at_the_others() {
        let app = Some("weather".parse().unwrap());
        let newest = Filter { app: app.clone(), limit: Some(50), ..Filter::default() };
        for filter in [
            newest.clone(),
            Filter { after: Some(7), ..newest.clone() },
            Filter { since: Some(WallTime::from_secs(1)), reason: Some(Reason::RunEnded), ..newest },
        ] {
            let plan = plan(&filter);
            assert!(plan.contains("SEARCH records USING INDEX records_by_app"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "it sorts: {plan}");
        }
    }

    #[test]
    fn what_comes_after_a_number_begins_there_and_whether_it_is_gone_is_one_look_in_the_gaps() {
        let plan = plan(&Filter { after: Some(7), ..Filter::default() });
        assert!(plan.contains("SEARCH records USING INTEGER PRIMARY KEY"), "{plan}");
        assert!(plan.contains("SEARCH gaps USING INTEGER PRIMARY KEY"), "{plan}");
    }
}
