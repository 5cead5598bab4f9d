//! The database's shape, the scripts that lead to it from every older one, and how a connection to it is set up. Called
//! from `open` (read and write) and from `query` and `verify` (read only).

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::JournalError;

/// Marks the file as ours: "mxgt".
const APPLICATION_ID: i64 = 0x6d78_6774;

/// How long a connection waits for another process's lock, for instance an operator's sqlite3.
pub(crate) const BUSY: Duration = Duration::from_secs(1);

/// Each script leads from the schema of its place in the list to the next one. Only ever append.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
];

/// The schema that this build writes.
pub(crate) fn latest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Opens the database for writing, making it or bringing it up to the latest schema. A file that is not ours, or
/// is newer than we are, stays as it is.
///
/// # Errors
/// `NotADatabase`, `Newer`, `Damaged`, `Io`, `Database`.
pub(crate) fn open(path: &Path) -> Result<Connection, JournalError> {
    // SQLite would make it with the process's umask.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(JournalError::io("open the database for writing", path))?;
    let empty = file.metadata().map_err(JournalError::io("look at the database", path))?.len() == 0;
    drop(file);
    if !empty {
        // A look through a read-only connection first: it cannot change what it finds.
        let found = open_read_only(path).and_then(|conn| version(&conn, path))?;
        if found > latest() {
            return Err(JournalError::Newer { path: path.to_owned(), found, known: latest() });
        }
    }
    let mut conn = connect(path)?;
    migrate(&mut conn, path)?;
    Ok(conn)
}

/// A further connection for writing to a database that [`open`] has already seen.
pub(crate) fn connect(path: &Path) -> Result<Connection, JournalError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags).map_err(JournalError::database("open", path))?;
    let set_up = || {
        conn.busy_timeout(BUSY)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "NORMAL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "trusted_schema", false)?;
        // What is deleted is overwritten: erased fields must not stay readable in free pages.
        conn.pragma_update(None, "secure_delete", true)?;
        // Checkpoints sync the disk; the keeper does them beside the writer, not inside a commit.
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "journal_size_limit", 4 << 20)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        conn.set_prepared_statement_cache_capacity(64);
        Ok(())
    };
    set_up().map_err(JournalError::database("set up", path))?;
    Ok(conn)
}

/// Opens the database for reading, with or without a gate that writes it, also on a file system without writing.
///
/// # Errors
/// `Missing`, `NotADatabase`, `Newer`, `Damaged`, `Database`.
pub(crate) fn open_read_only(path: &Path) -> Result<Connection, JournalError> {
    if !path.try_exists().map_err(JournalError::io("look for the database", path))? {
        return Err(JournalError::Missing { path: path.to_owned() });
    }
    let attempt = |uri: bool| -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = if uri {
            let name = format!("file:{}?immutable=1", percent_encoded(path));
            Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(path, flags)?
        };
        conn.busy_timeout(BUSY)?;
        conn.pragma_update(None, "trusted_schema", false)?;
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(conn)
    };
    match attempt(false) {
        Ok(conn) => Ok(conn),
        // A reader of a WAL database has to make its index file; where it cannot and no WAL is left, the database is
        // whole in its one file.
        Err(fault) if needs_writing(&fault) && !wal_path(path).exists() => {
            attempt(true).map_err(JournalError::database("read", path))
        }
        Err(fault) => Err(JournalError::database("read", path)(fault)),
    }
}

/// The schema's number; refuses what is not ours.
pub(crate) fn version(conn: &Connection, path: &Path) -> Result<i64, JournalError> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables = || conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    let found = pragma("user_version")
        .and_then(|version| Ok((version, pragma("application_id")?, tables()?)))
        .map_err(JournalError::database("read", path))?;
    match found {
        (version, APPLICATION_ID, _) => Ok(version),
        // Killed between making the file and the first script.
        (0, 0, 0) => Ok(0),
        _ => Err(JournalError::NotADatabase { path: path.to_owned() }),
    }
}

/// Where SQLite keeps what is not yet in the database file.
pub(crate) fn wal_path(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// All steps or none: a gate killed at its first start leaves no half of a schema.
fn migrate(conn: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let found = version(conn, path)?;
    let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..)).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let all = |conn: &mut Connection| {
        let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for script in missing {
            transaction.execute_batch(script)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", latest())?;
        transaction.commit()
    };
    all(conn).map_err(JournalError::database("bring the schema up to date", path))
}

fn needs_writing(fault: &rusqlite::Error) -> bool {
    matches!(fault.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn percent_encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
    let encode = |b: &u8| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") };
    path.as_os_str().as_bytes().iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_older_schema_is_brought_up_to_the_latest() {
        for older in 0..=MIGRATIONS.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("j.db");
            let conn = Connection::open(&path).unwrap();
            for script in &MIGRATIONS[..older] {
                conn.execute_batch(script).unwrap();
            }
            if older > 0 {
                conn.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
                conn.pragma_update(None, "user_version", i64::try_from(older).unwrap()).unwrap();
            }
            drop(conn);
            let conn = open(&path).unwrap();
            assert_eq!(version(&conn, &path).unwrap(), latest(), "from {older}");
            for table in [
                "apps",
                "counters",
                "erasures",
                "gaps",
                "grants",
                "identity",
                "lists",
                "records",
                "roots",
                "schedules",
                "seals",
                "trust",
                "usage",
            ] {
                let strict: i64 = conn
                    .query_row("SELECT strict FROM pragma_table_list WHERE name = ?1", [table], |row| {
                        row.get(0)
                    })
                    .unwrap();
                assert_eq!(strict, 1, "{table}");
            }
        }
    }

    #[test]
    fn usage_that_was_counted_before_roaming_was_told_apart_is_kept_as_at_home() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.db");
        let conn = Connection::open(&path).unwrap();
        for script in &MIGRATIONS[..5] {
            conn.execute_batch(script).unwrap();
        }
        conn.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        conn.pragma_update(None, "user_version", 5).unwrap();
        let row = "INSERT INTO usage VALUES (20000, 'a', 'background', 'cell', 1, 2, 3, 4, 5, 6)";
        conn.execute(row, []).unwrap();
        drop(conn);
        drop(open(&path).unwrap());
        let rows = crate::usage::usage(&path, 20_000, 20_000).unwrap();
        let [(key, usage)] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((key.day, &*key.bearer, key.roaming), (20_000, "cell", false));
        assert_eq!((usage.bytes_up, usage.dropped_down, usage.flow_ms), (1, 4, 6));
    }

    #[test]
    fn the_connection_is_set_up_as_documented() {
        let dir = tempfile::tempdir().unwrap();
        let conn = open(&dir.path().join("j.db")).unwrap();
        let pragma =
            |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        assert_eq!(pragma("journal_mode").unwrap(), rusqlite::types::Value::Text("wal".into()));
        for (name, value) in [
            ("foreign_keys", 1),
            ("trusted_schema", 0),
            ("secure_delete", 1),
            ("synchronous", 1),
            ("wal_autocheckpoint", 0),
        ] {
            assert_eq!(pragma(name).unwrap(), rusqlite::types::Value::Integer(value), "{name}");
        }
    }

    #[test]
    fn names_with_odd_bytes_survive_in_a_uri() {
        assert_eq!(percent_encoded(Path::new("/a b/%?#.db")), "/a%20b/%25%3F%23.db");
    }
}
