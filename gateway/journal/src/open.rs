//! Opening the journal: takes the lock, brings the schema up to date, finds the key that belongs to the last seal,
//! checks what was not sealed yet, reserves numbers, seals, and starts the threads. Whatever does not fit is an error
//! here, and then nothing was changed that the next start would miss.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::JournalError;
use crate::batch::{FLOW_BLOCK, RUN_BLOCK};
use crate::coalesce::Coalescer;
use crate::journal::{Options, locate};
use crate::keeper::{Keeper, KeeperDesk, now};
use crate::key::{self, KeyFile, Slot};
use crate::lock::StateLock;
use crate::seal::{Seal, Sealer};
use crate::shared::{Life, Shared};
use crate::state::Loaded;
use crate::store::{Fault, Store};
use crate::syncer::{SyncDesk, Syncer};
use crate::writer::{Clock, Numbers, Writer};
use crate::{beginning, schema, tables, verify};

/// See the module.
pub(crate) fn open(state_dir: &Path, options: Options) -> Result<(Arc<Shared>, Life, Loaded), JournalError> {
    let state_dir = make_dir(state_dir)?;
    let lock = StateLock::take(&state_dir)?;
    let path = locate(&state_dir, &options.file);
    let conn = schema::open(&path)?;
    let in_database = |what| JournalError::database(what, &path);
    let key_path = state_dir.join(key::FILE);
    let key_file = KeyFile::open(&key_path)?;
    let last_seal = Seal::last(&conn).map_err(in_database("read the seals of"))?;
    let (mut sealer, identity) = match &last_seal {
        Some(seal) => resume(&conn, &path, &key_file, &key_path, seal)?,
        None => beginning::begin(&conn, &path, &key_file, &key_path)?,
    };
    if let Some(seal) = &last_seal {
        verify::check_tail(&conn, &path, &identity, seal)?;
    }
    let loaded = load(&conn, &path, &identity)?;
    let next_grant = tables::counter(&conn, "grant").map_err(in_database("read"))?;
    let pruning = has_leftovers(&conn).map_err(in_database("read"))?;

    let failed = |fault: Fault| JournalError::Damaged { path: path.clone(), why: fault.why.to_string() };
    let mut store = Store::new(conn, path.clone(), identity).map_err(failed)?;
    let numbers = Numbers {
        flow_limit: loaded.first_flow_id.saturating_add(FLOW_BLOCK),
        run_limit: loaded.first_run_id.saturating_add(RUN_BLOCK),
    };
    let used = first_commit(&mut store, &mut sealer, numbers).map_err(|fault| JournalError::Io {
        path: path.clone(),
        what: "write the opening seal",
        source: io::Error::other(fault.why.to_string()),
    })?;
    let wal = schema::wal_path(&path);
    sync_all(&state_dir, &wal)?;
    if let Some(slot) = used {
        sealer.renew(key_file.fresh(slot).map_err(JournalError::io("write the seal key", &key_path))?);
    }

    let wal_file = std::fs::File::open(&wal).map_err(JournalError::io("open the write-ahead log", &wal))?;
    let shared = Arc::new(Shared::new(path.clone(), next_grant, store.committed()));
    let (sync_desk, keeper_desk) = (Arc::new(SyncDesk::default()), Arc::new(KeeperDesk::default()));
    keeper_desk.set_busy(pruning);
    let keeper = Keeper {
        shared: Arc::clone(&shared),
        desk: Arc::clone(&keeper_desk),
        conn: schema::connect(&path)?,
        identity,
        options: options.clone(),
    };
    let syncer = Syncer {
        shared: Arc::clone(&shared),
        desk: Arc::clone(&sync_desk),
        key_file,
        wal: wal_file,
        wal_path: wal,
    };
    let helpers = vec![
        spawn("mexe-journal-sync", &path, move || syncer.run())?,
        spawn("mexe-journal-keep", &path, move || keeper.run())?,
    ];
    let writer = Writer {
        shared: Arc::clone(&shared),
        store,
        sealer,
        sync_desk,
        keeper_desk,
        coalescer: Coalescer::new(options.refusals),
        numbers,
        pruning,
        helpers,
        lock,
        clock: Clock::new(),
        carried: Vec::new(),
        rare: Vec::new(),
        tidying: Vec::new(),
        pruned: 0,
        clearers: VecDeque::new(),
        clearing: None,
    };
    let thread = spawn("mexe-journal", &path, move || writer.run())?;
    Ok((Arc::clone(&shared), Life::new(shared, thread), loaded))
}

fn make_dir(state_dir: &Path) -> Result<std::path::PathBuf, JournalError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    made.map_err(JournalError::io("make the state directory", state_dir))?;
    state_dir.canonicalize().map_err(JournalError::io("find the state directory", state_dir))
}

/// A journal with seals: the key that the last one names must be there.
fn resume(
    conn: &Connection,
    path: &Path,
    key_file: &KeyFile,
    key_path: &Path,
    seal: &Seal,
) -> Result<(Sealer, [u8; 32]), JournalError> {
    let in_file = |what| JournalError::io(what, key_path);
    let found = key_file.find(&seal.next).map_err(in_file("read the seal key"))?;
    let Some((slot, current)) = found else {
        let why = "it does not hold the key that the last seal names";
        return Err(JournalError::KeyForeign { path: key_path.to_owned(), why });
    };
    let identity = read_identity(conn).map_err(JournalError::database("read the identity of", path))?;
    let next = key_file.fresh(slot.other()).map_err(in_file("write the seal key"))?;
    Ok((Sealer::new(current, slot, next, seal.id, seal.seq), identity))
}

/// The journal's identity.
pub(crate) fn read_identity(conn: &Connection) -> rusqlite::Result<[u8; 32]> {
    conn.query_row("SELECT fingerprint FROM identity WHERE id = 1", [], |row| row.get(0))
}

fn load(conn: &Connection, path: &Path, identity: &[u8; 32]) -> Result<Loaded, JournalError> {
    let read = || {
        Ok(Loaded {
            apps: tables::apps(conn)?,
            grants: tables::grants(conn)?,
            roots: tables::roots(conn)?,
            trust: tables::remembered(conn)?,
            lists: tables::lists(conn)?,
            schedules: tables::schedules(conn)?,
            head: crate::store::read_head(conn, identity)?,
            first_run_id: tables::counter(conn, "run")?,
            first_flow_id: tables::counter(conn, "flow")?,
        })
    };
    read().map_err(|fault: rusqlite::Error| match fault {
        rusqlite::Error::FromSqlConversionFailure(_, _, what) => {
            JournalError::Damaged { path: path.to_owned(), why: what.to_string() }
        }
        fault => JournalError::database("read apps, grants and roots from", path)(fault),
    })
}

/// Whether a pruning was not finished when the gate last ended.
fn has_leftovers(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM gaps g WHERE EXISTS \
                 (SELECT 1 FROM records r WHERE r.seq BETWEEN g.first AND g.last))";
    conn.query_row(sql, [], |row| row.get(0))
}

/// Reserves numbers, forgets spent grants, and seals what the last gate left unsealed.
fn first_commit(store: &mut Store, sealer: &mut Sealer, numbers: Numbers) -> Result<Option<Slot>, Fault> {
    store.begin()?;
    tables::reserve(store.conn(), "flow", numbers.flow_limit)?;
    tables::reserve(store.conn(), "run", numbers.run_limit)?;
    store.conn().execute("DELETE FROM grants WHERE spent <> 0", [])?;
    sealer.write(store, now(), true)?;
    store.commit()?;
    Ok(sealer.advance(store.committed()))
}

/// Brings what was just made onto the disk, the directory's entries included. The database file itself is left to
/// SQLite: closing any handle on it would take away the locks that SQLite holds in this process, and then another
/// program that comes and goes could take the log away.
pub(crate) fn sync_all(state_dir: &Path, wal: &Path) -> Result<(), JournalError> {
    for one in [wal, state_dir] {
        let synced = std::fs::File::open(one).and_then(|file| file.sync_all());
        synced.map_err(JournalError::io("sync to the disk", one))?;
    }
    Ok(())
}

fn spawn(
    name: &str,
    path: &Path,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, JournalError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(JournalError::io("start a thread for", path))
}
