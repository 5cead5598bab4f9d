//! Checkpoints: one seal in a public form, to be kept on another machine. A [`Checkpoint`] says how far the journal was
//! and what its head was; later it is held against the journal, which must still go on from there. Nothing in it is
//! personal or secret. What it proves hangs on the seals since then, which retention and clearing leave in place (see
//! `retention`); where they are gone, the record's own hash is compared, and where that is gone, too, it is said so.

use std::path::Path;

use mexe_model::WallTime;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::chain::{Hash, hex, signed, unhex};
use crate::error::{JournalError, Mismatch};
use crate::query::database;
use crate::seal::Seal;
use crate::{open, retention, schema};

/// What stands in the document's field `format`.
const FORMAT: &str = "mexegate checkpoint 1";

/// How far a journal was, signed by the key of that moment, which is destroyed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    identity: Hash,
    seal: Seal,
}

/// The text is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is not written as one.
    #[error("it is not written as a checkpoint: {0}")]
    Malformed(String),
    /// Its signature does not fit what it says.
    #[error("its signature does not fit what it says: it was changed or damaged")]
    Signature,
}

/// What a journal still has of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The checkpoint's seal.
    pub seal: u64,
    /// The last record that it covers.
    pub seq: u64,
    /// What it was found by.
    pub found: Found,
}

/// How strongly a checkpoint is borne out, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The same seal is there, and each one since is by the key that the one before it names.
    Seal,
    /// Its seal was taken out since; the record that it covers last has the same hash.
    Record,
    /// Seal and record were taken out since: the identity is the same and the journal is further on, nothing more.
    TakenOut,
}

/// The document, as it is written down.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    journal: String,
    seal: u64,
    seq: u64,
    at: String,
    at_ms: u64,
    adopted: u64,
    head: String,
    key: String,
    next_key: String,
    signature: String,
}

impl Checkpoint {
    /// The newest one of a journal. `path` is the state directory or the database in it. A gate that runs seals about
    /// once a second; what came after its last seal is not covered.
    ///
    /// # Errors
    /// [`JournalError::NotBegun`] before the first seal, or as [`query`](crate::query()).
    pub fn of(path: &Path) -> Result<Self, JournalError> {
        let path = database(path);
        let conn = opened(&path)?;
        let read = || {
            let reading = conn.unchecked_transaction()?;
            let Some(seal) = Seal::last(&reading)? else { return Ok(None) };
            Ok(Some(Self { identity: open::read_identity(&reading)?, seal }))
        };
        let found: rusqlite::Result<Option<Self>> = read();
        let found = found.map_err(JournalError::database("read the last seal of", &path))?;
        found.ok_or(JournalError::NotBegun { path })
    }

    /// Holds a checkpoint against a journal without walking its chain; [`verify_against`](crate::verify_against()) does
    /// both. `None` when the journal goes on from it.
    ///
    /// # Errors
    /// As [`query`](crate::query()).
    pub fn mismatch(&self, path: &Path) -> Result<Option<Mismatch>, JournalError> {
        let path = database(path);
        let conn = opened(&path)?;
        let standing = self.standing(&conn).map_err(JournalError::database("read the seals of", &path))?;
        Ok(standing.err())
    }

    /// Reads the document.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = |what: &str| CheckpointError::Malformed(what.to_owned());
        let document: Document =
            serde_json::from_str(text).map_err(|fault| CheckpointError::Malformed(fault.to_string()))?;
        if document.format != FORMAT {
            return Err(malformed("its format is another one"));
        }
        if document.at != WallTime::from_millis(document.at_ms).to_string() {
            return Err(malformed("`at` and `at_ms` are different times"));
        }
        let hash = |text: &str| unhex(text).ok_or_else(|| malformed("a hash or key is not 64 digits"));
        let checkpoint = Self {
            identity: hash(&document.journal)?,
            seal: Seal {
                id: document.seal,
                seq: document.seq,
                at: document.at_ms,
                adopted: document.adopted,
                head: hash(&document.head)?,
                public: hash(&document.key)?,
                next: hash(&document.next_key)?,
                signature: unhex(&document.signature)
                    .ok_or_else(|| malformed("the signature is not 128 digits"))?,
            },
        };
        if checkpoint.seal.is_signed() { Ok(checkpoint) } else { Err(CheckpointError::Signature) }
    }

    /// The document: a JSON object with its line end.
    pub fn document(&self) -> String {
        let seal = &self.seal;
        let document = Document {
            format: FORMAT.to_owned(),
            journal: hex(&self.identity),
            seal: seal.id,
            seq: seal.seq,
            at: WallTime::from_millis(seal.at).to_string(),
            at_ms: seal.at,
            adopted: seal.adopted,
            head: hex(&seal.head),
            key: hex(&seal.public),
            next_key: hex(&seal.next),
            signature: hex(&seal.signature),
        };
        // INVARIANT: a struct of texts and numbers serialises.
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The last record that it covers.
    pub const fn seq(&self) -> u64 {
        self.seal.seq
    }

    /// When it was sealed.
    pub const fn at(&self) -> WallTime {
        WallTime::from_millis(self.seal.at)
    }

    /// What is wrong with a journal that has no seal.
    pub(crate) fn without_a_seal(&self) -> Mismatch {
        Mismatch::AnotherJournal { of: hex(&self.identity), found: "a journal without a seal".to_owned() }
    }

    /// What the journal has of it, as it stands at one moment.
    pub(crate) fn standing(&self, conn: &Connection) -> rusqlite::Result<Result<Standing, Mismatch>> {
        let seq = self.seal.seq;
        let Some(last) = Seal::last(conn)? else { return Ok(Err(self.without_a_seal())) };
        let identity = open::read_identity(conn)?;
        if identity != self.identity {
            return Ok(Err(Mismatch::AnotherJournal { of: hex(&self.identity), found: hex(&identity) }));
        }
        let sealed = Seal::by_id(conn, self.seal.id)?;
        if sealed.is_none() && (last.id < self.seal.id || last.seq < seq) {
            return Ok(Err(Mismatch::RolledBack {
                seal: last.id,
                seq: last.seq,
                wanted_seal: self.seal.id,
                wanted_seq: seq,
            }));
        }
        let (same, found) = match sealed {
            Some(seal) => (seal == self.seal, Found::Seal),
            None => match hash_at(conn, seq)? {
                Some(hash) => (hash == self.seal.head, Found::Record),
                None => (true, Found::TakenOut),
            },
        };
        if !same {
            return Ok(Err(Mismatch::Rewritten { seq }));
        }
        Ok(Ok(Standing { seal: self.seal.id, seq, found }))
    }
}

fn opened(path: &Path) -> Result<Connection, JournalError> {
    let conn = schema::open_read_only(path)?;
    match schema::version(&conn, path)? {
        0 => Err(JournalError::NotBegun { path: path.to_owned() }),
        found if found > schema::latest() => {
            Err(JournalError::Newer { path: path.to_owned(), found, known: schema::latest() })
        }
        _ => Ok(conn),
    }
}

/// The hash of a record that is there, or that ended a gap.
fn hash_at(conn: &Connection, seq: u64) -> rusqlite::Result<Option<Hash>> {
    if let Some(gap) = retention::gap_around(conn, seq)? {
        return Ok((gap.last == seq).then_some(gap.hash));
    }
    conn.query_row("SELECT hash FROM records WHERE seq = ?1", [signed(seq)], |row| row.get(0)).optional()
}
