//! The writer's connection: appends records to the chain inside one transaction at a time. After a fault it goes back
//! to what is really committed, so that the chain continues from there and nowhere else.

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mexe_model::WallTime;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::chain::{Hash, Line, columns, genesis, signed, unsigned};
use crate::record::Record;
use crate::schema::BUSY;
use crate::state::Head;

/// Why nothing can be written just now.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) why: Arc<str>,
}

impl Fault {
    pub(crate) fn new(why: impl Into<Arc<str>>) -> Self {
        Self { why: why.into() }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(fault: rusqlite::Error) -> Self {
        match fault.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                Self::new("the disk is full: free space where the state directory lies")
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::new("another program keeps the database locked: end it")
            }
            _ => Self::new(format!("the database cannot be written: {fault}; check the disk")),
        }
    }
}

/// See the module.
pub(crate) struct Store {
    conn: Connection,
    path: PathBuf,
    /// Device and inode of the file that `conn` has open.
    file: (u64, u64),
    identity: Hash,
    head: Head,
    committed: u64,
    begun: bool,
    salts: Salts,
    text: String,
    bytes: Vec<u8>,
}

impl Store {
    /// Works on a database that was opened and has its identity.
    pub(crate) fn new(conn: Connection, path: PathBuf, identity: Hash) -> Result<Self, Fault> {
        let file = file_id(&path)?;
        let head = read_head(&conn, &identity)?;
        let (salts, text, bytes) = (Salts::default(), String::new(), Vec::new());
        Ok(Self { conn, path, file, identity, head, committed: head.seq, begun: false, salts, text, bytes })
    }

    pub(crate) fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(crate) fn identity(&self) -> &Hash {
        &self.identity
    }

    /// The end of the chain, the open transaction included.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// The number of the last committed record.
    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether a transaction is open.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Opens a transaction unless one is open.
    pub(crate) fn begin(&mut self) -> Result<(), Fault> {
        if !self.begun {
            // SQLite would go on writing into a file that has no name any more.
            if file_id(&self.path)? != self.file {
                return Err(Fault::new(
                    "the database file was replaced while the gate runs: put it back, or restart",
                ));
            }
            self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.begun = true;
        }
        Ok(())
    }

    /// Appends a record; its number is the answer. `proof` binds what is written beside it into the chain.
    pub(crate) fn append(&mut self, record: &Record, proof: Option<&Hash>) -> Result<u64, Fault> {
        self.begin()?;
        self.text.clear();
        for address in &record.addresses {
            let blank = if self.text.is_empty() { "" } else { " " };
            // INVARIANT: writing to a String does not fail.
            let _ = write!(self.text, "{blank}{address}");
        }
        let detail = record.detail.as_ref().map(|detail| detail.to_string());
        let salt = self.salts.next()?;
        let seq = self.head.seq.saturating_add(1);
        let line = Line {
            seq: signed(seq),
            at: signed(record.at.as_millis()),
            kind: record.kind.as_str(),
            flow: record.flow.map(|flow| signed(flow.0)),
            domain: record.domain.map(|domain| domain.as_str()),
            action: record.action.as_deref(),
            decision: record.decision.map(|decision| decision.as_str()),
            reason: record.reason.map(|reason| reason.code()),
            grant: record.grant.map(|grant| signed(grant.0)),
            rule: record.rule.as_deref(),
            binding: record.binding.as_deref(),
            ingress: record.ingress.as_deref(),
            class: record.class.as_deref(),
            bytes_up: record.bytes_up.map(signed),
            bytes_down: record.bytes_down.map(signed),
            duration_ms: record.duration_ms.map(signed),
            count: i64::from(record.count),
            proof: proof.map(<[u8; 32]>::as_slice),
            app: record.app.as_ref().map(|app| app.as_str()),
            run: record.run.map(|run| signed(run.0)),
            target: record.target.as_deref(),
            addresses: (!record.addresses.is_empty()).then_some(&self.text),
            detail: detail.as_deref(),
            salt: Some(&salt),
        };
        let commitment = line.commitment(&salt, &mut self.bytes);
        let hash = line.hash(&self.head.hash, &commitment, &mut self.bytes);
        insert(&self.conn, &line, &commitment, &hash)?;
        self.head = Head { seq, hash, at: Some(record.at) };
        Ok(seq)
    }

    /// Commits the open transaction.
    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        if self.begun {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            self.begun = false;
        }
        self.committed = self.head.seq;
        Ok(())
    }

    /// Empties the log into the database; whether that could be done now, which a reader may prevent.
    pub(crate) fn empty_log(&self) -> Result<bool, Fault> {
        self.conn.busy_timeout(Duration::ZERO)?;
        let outcome = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        self.conn.busy_timeout(BUSY)?;
        match outcome {
            Ok(busy) => Ok(busy == 0),
            Err(fault) if fault.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Gives up the open transaction and reads the head anew from what is committed. Answers whether the transaction
    /// turns out to be committed all the same.
    pub(crate) fn recover(&mut self) -> Result<bool, Fault> {
        let hoped = self.head;
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        self.begun = false;
        self.head = read_head(&self.conn, &self.identity)?;
        let made = self.head.hash == hoped.hash && hoped.seq > self.committed;
        self.committed = self.head.seq;
        Ok(made)
    }
}

/// The end of the committed chain.
pub(crate) fn read_head(conn: &Connection, identity: &Hash) -> rusqlite::Result<Head> {
    let sql = "SELECT seq, hash, at FROM records ORDER BY seq DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| {
        let at = WallTime::from_millis(unsigned(row.get(2)?));
        Ok(Head { seq: unsigned(row.get(0)?), hash: row.get(1)?, at: Some(at) })
    };
    let last = conn.prepare_cached(sql)?.query_row([], read).optional()?;
    Ok(last.unwrap_or_else(|| Head { seq: 0, hash: genesis(identity), at: None }))
}

fn insert(conn: &Connection, line: &Line<'_>, commitment: &Hash, hash: &Hash) -> rusqlite::Result<()> {
    const SQL: &str = concat!(
        "INSERT INTO records (",
        columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
         ?22, ?23, ?24, ?25, ?26)"
    );
    conn.prepare_cached(SQL)?.execute(params![
        line.seq,
        line.at,
        line.kind,
        line.flow,
        line.domain,
        line.action,
        line.decision,
        line.reason,
        line.grant,
        line.rule,
        line.binding,
        line.ingress,
        line.class,
        line.bytes_up,
        line.bytes_down,
        line.duration_ms,
        line.count,
        line.proof,
        line.app,
        line.run,
        line.target,
        line.addresses,
        line.detail,
        line.salt,
        commitment.as_slice(),
        hash.as_slice(),
    ])?;
    Ok(())
}

fn file_id(path: &std::path::Path) -> Result<(u64, u64), Fault> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok((meta.dev(), meta.ino())),
        Err(fault) => {
            Err(Fault::new(format!("the database file cannot be found: {fault}; put it back, or restart")))
        }
    }
}

/// Random salts, drawn many at a time.
struct Salts {
    drawn: [u8; 1024],
    used: usize,
}

impl Default for Salts {
    fn default() -> Self {
        Self { drawn: [0; 1024], used: 1024 }
    }
}

impl Salts {
    fn next(&mut self) -> Result<[u8; 16], Fault> {
        if self.used >= self.drawn.len() {
            aws_lc_rs::rand::fill(&mut self.drawn)
                .map_err(|_| Fault::new("the system gives no randomness"))?;
            self.used = 0;
        }
        let (salt, _) =
            self.drawn.get(self.used..).and_then(|rest| rest.split_first_chunk()).unwrap_or((&[0; 16], &[]));
        self.used += salt.len();
        Ok(*salt)
    }
}
