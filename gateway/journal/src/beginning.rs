//! A journal between its making and its first seal: the tables are there, its identity and its two keys are being
//! written, and no record can be there yet. Decides how it is begun, where it was left by a gate that was killed
//! meanwhile, and which of these states are sound. Called from `open` and from `verify`.
//!
//! The order is what tells a journal that never had a seal from one that lost its seals: the key file is emptied, the
//! identity is written, and only then come the keys. So before the first seal either a key is missing, or the first one
//! is the identity; and that one is destroyed right after the first seal.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::JournalError;
use crate::chain::{Hash, identity};
use crate::key::{EpochKey, KeyFile, Slot};
use crate::open::sync_all;
use crate::schema::wal_path;
use crate::seal::Sealer;

/// Begins a journal that has no seal, or goes on where a killed gate left off: its first key is its identity.
pub(crate) fn begin(
    conn: &Connection,
    path: &Path,
    key_file: &KeyFile,
    key_path: &Path,
) -> Result<(Sealer, Hash), JournalError> {
    let in_database = |what| JournalError::database(what, path);
    let in_file = |what| JournalError::io(what, key_path);
    if has_content(conn).map_err(in_database("read records from"))? {
        let why = "it has records, and no seal over them".to_owned();
        return Err(JournalError::Damaged { path: path.to_owned(), why });
    }
    let known = known_identity(conn).map_err(in_database("read the identity of"))?;
    if let Some(first) = key_file.load(Slot::First).map_err(in_file("read the seal key"))? {
        match known {
            Some(known) if known == identity(first.public()) => {
                let next = key_file.fresh(Slot::Second).map_err(in_file("write the seal key"))?;
                return Ok((Sealer::new(first, Slot::First, next, 0, 0), known));
            }
            Some(_) => {
                let why = "it holds another key than the journal began with";
                return Err(JournalError::KeyForeign { path: key_path.to_owned(), why });
            }
            None => {
                tracing::warn!(path = %key_path.display(), "there is a seal key, and no journal that it belongs to: beginning anew");
            }
        }
    }
    key_file.begin().map_err(in_file("write the seal key"))?;
    let keys = EpochKey::generate().and_then(|current| Ok((current, EpochKey::generate()?)));
    let (current, next) = keys.map_err(in_file("make the seal key"))?;
    let identity = identity(current.public());
    conn.execute("INSERT OR REPLACE INTO identity (id, fingerprint) VALUES (1, ?1)", [identity])
        .map_err(in_database("write the identity to"))?;
    // A power failure must not leave the keys and take the identity.
    sync_all(key_path.parent().unwrap_or(Path::new(".")), &wal_path(path))?;
    for (slot, key) in [(Slot::First, &current), (Slot::Second, &next)] {
        key_file.store(slot, key).map_err(in_file("write the seal key"))?;
    }
    Ok((Sealer::new(current, Slot::First, next, 0, 0), identity))
}

/// What lies there instead of a first seal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unsealed {
    /// The keys are not written yet: the next start begins it.
    NotBegun,
    /// The key of the first seal is there, and this is its fingerprint.
    Begun(Hash),
    /// There is something that a journal without a seal cannot have.
    LostItsSeals,
    /// The key file is not that of a journal without a seal; or it has become so while we looked.
    OtherKey,
}

/// Looks at a journal without a seal; `conn` is none while its tables are not made.
pub(crate) fn look(conn: Option<&Connection>, key_path: &Path) -> rusqlite::Result<Unsealed> {
    let mut known = None;
    if let Some(conn) = conn {
        if has_content(conn)? {
            return Ok(Unsealed::LostItsSeals);
        }
        known = known_identity(conn)?;
    }
    let size = match std::fs::metadata(key_path) {
        Ok(found) => found.len(),
        Err(fault) if fault.kind() == ErrorKind::NotFound => 0,
        Err(_) => return Ok(Unsealed::OtherKey),
    };
    if !KeyFile::holds_a_key(size) {
        return Ok(Unsealed::NotBegun);
    }
    let first = KeyFile::open_read_only(key_path).and_then(|file| file.load(Slot::First));
    let held = first.ok().flatten().map(|first| identity(first.public()));
    Ok(match (held, known) {
        (Some(held), Some(known)) if held == known => Unsealed::Begun(known),
        _ => Unsealed::OtherKey,
    })
}

fn known_identity(conn: &Connection) -> rusqlite::Result<Option<Hash>> {
    conn.query_row("SELECT fingerprint FROM identity WHERE id = 1", [], |row| row.get(0)).optional()
}

/// Whether anything is there that comes only after the first seal.
fn has_content(conn: &Connection) -> rusqlite::Result<bool> {
    let some = |table| format!("EXISTS (SELECT 1 FROM {table})");
    let tables =
        ["records", "gaps", "erasures", "apps", "grants", "roots", "trust", "lists", "schedules", "usage"]
            .map(some)
            .join(" OR ");
    conn.query_row(&format!("SELECT {tables}"), [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{VerifyError, VerifyReport, schema, verify};

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        /// As far as a gate comes that is killed before its first seal; its identity.
        fn begin(&self) -> Hash {
            let (path, key_path) = (self.path("mexegate.db"), self.path("journal.key"));
            let conn = schema::open(&path).unwrap();
            begin(&conn, &path, &KeyFile::open(&key_path).unwrap(), &key_path).unwrap().1
        }

        fn cut_key_file(&self, size: u64) {
            let file = std::fs::OpenOptions::new().write(true).open(self.path("journal.key")).unwrap();
            file.set_len(size).unwrap();
        }

        fn verify(&self) -> Result<VerifyReport, VerifyError> {
            verify(self.0.path())
        }

        fn sql(&self, sql: &str) {
            rusqlite::Connection::open(self.path("mexegate.db")).unwrap().execute_batch(sql).unwrap();
        }

        /// The next start takes it over, and it verifies with a seal.
        fn starts(&self) -> String {
            let (journal, _) =
                crate::Journal::open(self.0.path(), crate::Options::default()).expect("it starts");
            journal.close();
            let report = self.verify().expect("it verifies");
            assert!(report.identity_proven && report.seals > 0, "{report:?}");
            report.identity
        }
    }

    fn is_empty_and_sound(report: &VerifyReport) {
        assert_eq!((report.records, report.seals, report.unsealed_tail, report.head_seq), (0, 0, 0, 0));
    }

    #[test]
    fn a_journal_killed_before_its_first_seal_is_sound_and_keeps_its_identity() {
        let world = World::new();
        let begun = world.begin();
        let report = world.verify().unwrap();
        is_empty_and_sound(&report);
        assert!(report.identity_proven);
        assert_eq!(report.identity, crate::chain::hex(&begun));
        assert_eq!(world.begin(), begun, "killed once more");
        assert_eq!(world.starts(), report.identity);
    }

    #[test]
    fn a_journal_killed_at_any_step_of_its_beginning_is_sound() {
        // Before the tables, and with them alone.
        let world = World::new();
        std::fs::write(world.path("mexegate.db"), b"").unwrap();
        is_empty_and_sound(&world.verify().unwrap());
        schema::open(&world.path("mexegate.db")).unwrap();
        let report = world.verify().unwrap();
        is_empty_and_sound(&report);
        assert!(report.identity.is_empty() && !report.identity_proven, "{report:?}");
        world.starts();
        // The identity is written, and the keys are not, or not whole; an empty key file comes before both.
        for size in [0, 7, 32, 40] {
            for identity in ["", "DELETE FROM identity"] {
                let world = World::new();
                world.begin();
                world.cut_key_file(size);
                world.sql(identity);
                let report = world.verify().unwrap();
                is_empty_and_sound(&report);
                assert!(report.identity.is_empty() && !report.identity_proven, "{size}: {report:?}");
                world.starts();
            }
        }
        // The second key is not there, or not whole.
        for size in [64, 70] {
            let world = World::new();
            world.begin();
            world.cut_key_file(size);
            let report = world.verify().unwrap();
            is_empty_and_sound(&report);
            assert_eq!(world.starts(), report.identity);
        }
    }
}
