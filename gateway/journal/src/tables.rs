//! Apps, grants, roots and counters in the database: applies a [`Change`] inside the writer's transaction, and reads
//! everything back when the journal is opened. Whether a change is allowed is not asked here.

use mexe_model::{AppId, GrantId, Instant, Reason, RunId, Trust, WallTime};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use crate::chain::{signed, unsigned};
use crate::state::{
    AppState, Change, Deadline, StoredApp, StoredGrant, StoredList, StoredRoot, StoredSchedule,
};

/// Why a change was not applied.
#[derive(Debug)]
pub(crate) enum NotApplied {
    /// The database cannot do it now; the whole transaction is lost.
    Database(rusqlite::Error),
    /// It does not fit what is there; nothing else is touched.
    Refused(String),
}

impl From<rusqlite::Error> for NotApplied {
    fn from(fault: rusqlite::Error) -> Self {
        match fault.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Refused(fault.to_string()),
            _ => Self::Database(fault),
        }
    }
}

/// Applies a change. When it is refused the caller rolls back to before it.
pub(crate) fn apply(conn: &Connection, change: &Change) -> Result<(), NotApplied> {
    match change {
        Change::BindGrants { run, grants } => {
            let sql = "UPDATE grants SET runs = trim(runs || ' ' || ?2) WHERE id = ?1";
            for grant in grants {
                conn.prepare_cached(sql)?.execute(params![signed(grant.0), signed(run.0)])?;
            }
        }
        Change::PutApp(app) => put_app(conn, app)?,
        Change::PutGrant(grant) => put_grant(conn, grant)?,
        Change::PutList(list) => {
            let sql = "INSERT OR IGNORE INTO lists (id, der, added_at) VALUES (?1, ?2, ?3)";
            let values = params![list.id, list.der, signed(list.added_at.as_millis())];
            conn.prepare_cached(sql)?.execute(values)?;
        }
        Change::PutRoot(root) => put_root(conn, root)?,
        Change::PutSchedule(schedule) => put_schedule(conn, schedule)?,
        Change::PutTrust { name, value: serde_json::Value::Null } => {
            conn.prepare_cached("DELETE FROM trust WHERE name = ?1")?.execute([name])?;
        }
        Change::PutTrust { name, value } => {
            let sql = "INSERT OR REPLACE INTO trust (name, value) VALUES (?1, ?2)";
            conn.prepare_cached(sql)?.execute(params![name, value.to_string()])?;
        }
        Change::RemoveApp(id) => {
            conn.prepare_cached("DELETE FROM apps WHERE id = ?1")?.execute([id.as_str()])?;
        }
        Change::RemoveList(id) => {
            conn.prepare_cached("DELETE FROM lists WHERE id = ?1")?.execute([id])?;
        }
        Change::RemoveRoot(id, kind) => {
            let sql = "DELETE FROM roots WHERE id = ?1 AND kind = ?2";
            conn.prepare_cached(sql)?.execute([id.as_str(), kind.as_str()])?;
        }
        Change::RemoveSchedule(name) => {
            conn.prepare_cached("DELETE FROM schedules WHERE name = ?1")?.execute([name])?;
        }
        Change::RevokeGrants(ids) => {
            for id in ids {
                conn.prepare_cached("DELETE FROM grants WHERE id = ?1")?.execute([signed(id.0)])?;
            }
        }
        Change::SetAppState(id, state) => {
            let sql = "UPDATE apps SET suspended = ?2 WHERE id = ?1";
            if conn.prepare_cached(sql)?.execute(params![id.as_str(), suspended(*state)])? == 0 {
                return Err(NotApplied::Refused(format!("no app `{id}` is installed")));
            }
        }
        Change::Several(changes) => changes.iter().try_for_each(|one| apply(conn, one))?,
        Change::SpendGrant(id) => {
            let sql = "UPDATE grants SET spent = 1 WHERE id = ?1 AND spent = 0";
            if conn.prepare_cached(sql)?.execute([signed(id.0)])? == 0 {
                return Err(NotApplied::Refused(format!("{id} is not there to be used")));
            }
        }
        Change::UseSchedule { name, usage } => {
            let sql = "UPDATE schedules SET usage = ?2 WHERE name = ?1";
            conn.prepare_cached(sql)?.execute(params![name, usage.to_string()])?;
        }
    }
    Ok(())
}

fn put_app(conn: &Connection, app: &StoredApp) -> rusqlite::Result<()> {
    // An upsert, not a replacement: replacing the row would take the app's grants with it.
    let sql = "INSERT INTO apps (id, name, version, domain, digest, signer_key, root, qos_profile, facts, file, \
                 installed_at, suspended) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
               ON CONFLICT (id) DO UPDATE SET name = ?2, version = ?3, domain = ?4, digest = ?5, signer_key = ?6, \
                 root = ?7, qos_profile = ?8, facts = ?9, file = ?10, installed_at = ?11, suspended = ?12";
    conn.prepare_cached(sql)?.execute(params![
        app.id.as_str(),
        app.name,
        app.version,
        app.domain.as_str(),
        app.digest,
        app.signer_key,
        app.root.as_ref().map(|root| root.as_str()),
        app.qos_profile,
        app.facts.to_string(),
        app.file,
        signed(app.installed_at.as_millis()),
        suspended(app.state),
    ])?;
    Ok(())
}

fn put_grant(conn: &Connection, grant: &StoredGrant) -> rusqlite::Result<()> {
    let sql = "INSERT INTO grants (id, app, action, target, permission, granted_at, expires_at, deadline_boot, \
                 deadline_at, runs) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let runs: Vec<String> = grant.runs.iter().map(|run| run.0.to_string()).collect();
    conn.prepare_cached(sql)?.execute(params![
        signed(grant.id.0),
        grant.app.as_str(),
        grant.action,
        grant.target,
        grant.permission.as_str(),
        signed(grant.granted_at.as_millis()),
        grant.expires_at.map(|at| signed(at.as_millis())),
        grant.deadline.as_ref().map(|deadline| &deadline.boot),
        grant.deadline.as_ref().map(|deadline| signed(deadline.at.as_nanos())),
        runs.join(" "),
    ])?;
    reserve(conn, "grant", grant.id.0.saturating_add(1))
}

fn put_schedule(conn: &Connection, schedule: &StoredSchedule) -> rusqlite::Result<()> {
    let sql = "INSERT INTO schedules (name, app, text, digest, grants, signed_off_at, usage) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let grants: Vec<String> = schedule.grants.iter().map(|grant| grant.0.to_string()).collect();
    conn.prepare_cached(sql)?.execute(params![
        schedule.name,
        schedule.app.as_str(),
        schedule.text,
        schedule.digest,
        grants.join(" "),
        signed(schedule.signed_off_at.as_millis()),
        schedule.usage.to_string(),
    ])?;
    let last = schedule.grants.iter().max();
    last.map_or(Ok(()), |last| reserve(conn, "grant", last.0.saturating_add(1)))
}

fn put_root(conn: &Connection, root: &StoredRoot) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO roots (id, kind, state, source, subject, certificate, changed_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    conn.prepare_cached(sql)?.execute(params![
        root.id.as_str(),
        root.kind.as_str(),
        root.state.as_str(),
        root.source,
        root.subject,
        root.certificate,
        signed(root.changed_at.as_millis()),
    ])?;
    Ok(())
}

fn suspended(state: AppState) -> Option<&'static str> {
    match state {
        AppState::Active => None,
        AppState::Suspended(reason) => Some(reason.code()),
    }
}

/// Sees to it that numbers below `next` are never given again.
pub(crate) fn reserve(conn: &Connection, name: &str, next: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE counters SET next = max(next, ?2) WHERE name = ?1";
    conn.prepare_cached(sql)?.execute(params![name, signed(next)])?;
    Ok(())
}

/// The next free number.
pub(crate) fn counter(conn: &Connection, name: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT next FROM counters WHERE name = ?1";
    let next: Option<i64> = conn.query_row(sql, [name], |row| row.get(0)).optional()?;
    Ok(next.map_or(1, unsigned))
}

/// Every installed app.
pub(crate) fn apps(conn: &Connection) -> rusqlite::Result<Vec<StoredApp>> {
    let sql = "SELECT id, name, version, domain, digest, signer_key, root, qos_profile, facts, file, installed_at, \
                 suspended FROM apps ORDER BY id";
    let read = |row: &Row<'_>| {
        let suspended = row.get::<_, Option<String>>(11)?;
        Ok(StoredApp {
            id: word(row, 0, |text| text.parse::<AppId>().ok())?,
            name: row.get(1)?,
            version: row.get(2)?,
            domain: word(row, 3, trust)?,
            digest: row.get(4)?,
            signer_key: row.get(5)?,
            root: optional_word(row, 6, |text| text.parse().ok())?,
            qos_profile: row.get(7)?,
            facts: word(row, 8, |text| serde_json::from_str(text).ok())?,
            file: row.get(9)?,
            installed_at: WallTime::from_millis(unsigned(row.get(10)?)),
            state: match suspended {
                None => AppState::Active,
                Some(_) => AppState::Suspended(word(row, 11, |text| text.parse::<Reason>().ok())?),
            },
        })
    };
    conn.prepare(sql)?.query_map([], read)?.collect()
}

/// Every grant that can still be used; those that were spent are deleted.
pub(crate) fn grants(conn: &Connection) -> rusqlite::Result<Vec<StoredGrant>> {
    let sql = "SELECT id, app, action, target, permission, granted_at, expires_at, deadline_boot, deadline_at, runs \
               FROM grants WHERE spent = 0 ORDER BY id";
    let read = |row: &Row<'_>| {
        let deadline_at = row.get::<_, Option<i64>>(8)?;
        let deadline = match (row.get(7)?, deadline_at) {
            (Some(boot), Some(at)) => Some(Deadline { boot, at: Instant::from_nanos(unsigned(at)) }),
            _ => None,
        };
        Ok(StoredGrant {
            id: GrantId(unsigned(row.get(0)?)),
            app: word(row, 1, |text| text.parse().ok())?,
            action: row.get(2)?,
            target: row.get(3)?,
            permission: word(row, 4, |text| text.parse().ok())?,
            granted_at: WallTime::from_millis(unsigned(row.get(5)?)),
            expires_at: row.get::<_, Option<i64>>(6)?.map(|at| WallTime::from_millis(unsigned(at))),
            deadline,
            runs: word(row, 9, |text| text.split_whitespace().map(|n| n.parse().ok().map(RunId)).collect())?,
        })
    };
    conn.prepare(sql)?.query_map([], read)?.collect()
}

/// Every schedule.
pub(crate) fn schedules(conn: &Connection) -> rusqlite::Result<Vec<StoredSchedule>> {
    let sql = "SELECT name, app, text, digest, grants, signed_off_at, usage FROM schedules ORDER BY name";
    let read = |row: &Row<'_>| {
        Ok(StoredSchedule {
            name: row.get(0)?,
            app: word(row, 1, |text| text.parse().ok())?,
            text: row.get(2)?,
            digest: row.get(3)?,
            grants: word(row, 4, |text| {
                text.split_whitespace().map(|n| n.parse().ok().map(GrantId)).collect()
            })?,
            signed_off_at: WallTime::from_millis(unsigned(row.get(5)?)),
            usage: word(row, 6, |text| serde_json::from_str(text).ok())?,
        })
    };
    conn.prepare(sql)?.query_map([], read)?.collect()
}

/// Every root that something is remembered of.
pub(crate) fn roots(conn: &Connection) -> rusqlite::Result<Vec<StoredRoot>> {
    let sql = "SELECT id, kind, state, source, subject, certificate, changed_at FROM roots ORDER BY kind, id";
    let read = |row: &Row<'_>| {
        Ok(StoredRoot {
            id: word(row, 0, |text| text.parse().ok())?,
            kind: word(row, 1, |text| text.parse().ok())?,
            state: word(row, 2, |text| text.parse().ok())?,
            source: row.get(3)?,
            subject: row.get(4)?,
            certificate: row.get(5)?,
            changed_at: WallTime::from_millis(unsigned(row.get(6)?)),
        })
    };
    conn.prepare(sql)?.query_map([], read)?.collect()
}

/// What is remembered of the trust store, by name.
pub(crate) fn remembered(conn: &Connection) -> rusqlite::Result<Vec<(String, serde_json::Value)>> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, word(row, 1, |text| serde_json::from_str(text).ok())?));
    conn.prepare("SELECT name, value FROM trust ORDER BY name")?.query_map([], read)?.collect()
}

/// Every revocation list that was taken in.
pub(crate) fn lists(conn: &Connection) -> rusqlite::Result<Vec<StoredList>> {
    let read = |row: &Row<'_>| {
        let added_at = WallTime::from_millis(unsigned(row.get(2)?));
        Ok(StoredList { id: row.get(0)?, der: row.get(1)?, added_at })
    };
    conn.prepare("SELECT id, der, added_at FROM lists ORDER BY added_at, id")?.query_map([], read)?.collect()
}

fn trust(text: &str) -> Option<Trust> {
    Trust::ALL.into_iter().find(|trust| trust.as_str() == text)
}

/// A column whose text must be one that we write; anything else means that the file was altered.
fn word<T>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().unwrap_or_default();
    parse(text).ok_or_else(|| {
        let what = crate::UnknownWord::new(text);
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(what))
    })
}

fn optional_word<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    match row.get::<_, Option<String>>(column)? {
        None => Ok(None),
        Some(_) => word(row, column, parse).map(Some),
    }
}
