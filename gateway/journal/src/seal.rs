//! Seals: about once a second the head of the chain is signed with the key of the epoch, which is then destroyed. A
//! seal names the next epoch's key, so that the seals make a chain of their own, from the journal's identity to the
//! key that lies in `journal.key` now. The writer makes them; `verify` and `open` check them.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use mexe_model::WallTime;
use rusqlite::{Connection, OptionalExtension, params};

use crate::chain::{Hash, signed, unsigned};
use crate::key::{EpochKey, Slot};
use crate::store::{Fault, Store};

/// One seal as it lies in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) id: u64,
    /// The last record that it covers.
    pub(crate) seq: u64,
    pub(crate) at: u64,
    /// How many records had no seal when the gate was started and made this one.
    pub(crate) adopted: u64,
    pub(crate) head: Hash,
    pub(crate) public: [u8; 32],
    pub(crate) next: [u8; 32],
    pub(crate) signature: [u8; 64],
}

impl Seal {
    const COLUMNS: &'static str = "id, seq, at, adopted, head, public, next, signature";

    fn message(&self) -> Vec<u8> {
        let mut message = b"mexegate seal 1\0".to_vec();
        for number in [self.id, self.seq, self.at, self.adopted] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        for bytes in [&self.head, &self.public, &self.next] {
            message.extend_from_slice(bytes);
        }
        message
    }

    /// Whether the key that it names made it.
    pub(crate) fn is_signed(&self) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(&self.message(), &self.signature).is_ok()
    }

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: unsigned(row.get(0)?),
            seq: unsigned(row.get(1)?),
            at: unsigned(row.get(2)?),
            adopted: unsigned(row.get(3)?),
            head: row.get(4)?,
            public: row.get(5)?,
            next: row.get(6)?,
            signature: row.get(7)?,
        })
    }

    /// Every seal, oldest first, to that function until it fails.
    pub(crate) fn each<E: From<rusqlite::Error>>(
        conn: &Connection,
        mut look: impl FnMut(Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = conn.prepare(&format!("SELECT {} FROM seals ORDER BY id", Self::COLUMNS))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            look(Self::read(row)?)?;
        }
        Ok(())
    }

    /// The newest seal.
    pub(crate) fn last(conn: &Connection) -> rusqlite::Result<Option<Self>> {
        let sql = format!("SELECT {} FROM seals ORDER BY id DESC LIMIT 1", Self::COLUMNS);
        conn.query_row(&sql, [], Self::read).optional()
    }

    /// The seal with that id, if it is still there.
    pub(crate) fn by_id(conn: &Connection, id: u64) -> rusqlite::Result<Option<Self>> {
        let sql = format!("SELECT {} FROM seals WHERE id = ?1", Self::COLUMNS);
        conn.query_row(&sql, [signed(id)], Self::read).optional()
    }

    fn insert(&self, conn: &Connection) -> rusqlite::Result<()> {
        let sql = "INSERT INTO seals (id, seq, at, adopted, head, public, next, signature) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        conn.prepare_cached(sql)?.execute(params![
            signed(self.id),
            signed(self.seq),
            signed(self.at),
            signed(self.adopted),
            self.head,
            self.public,
            self.next,
            self.signature,
        ])?;
        Ok(())
    }
}

/// Holds the keys of this epoch and the next, and knows what is sealed.
pub(crate) struct Sealer {
    current: EpochKey,
    slot: Slot,
    /// Missing between a seal and the moment when the used key is destroyed.
    next: Option<EpochKey>,
    last_id: u64,
    sealed: u64,
}

impl Sealer {
    /// `current` lies in `slot` and is the key that seal `last_id`, over everything up to record `sealed`, names;
    /// `next` lies in the other slot.
    pub(crate) fn new(current: EpochKey, slot: Slot, next: EpochKey, last_id: u64, sealed: u64) -> Self {
        Self { current, slot, next: Some(next), last_id, sealed }
    }

    /// Whether a seal can be made now.
    pub(crate) fn is_ready(&self) -> bool {
        self.next.is_some()
    }

    /// The last record that is sealed.
    pub(crate) fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Writes a seal over the store's head into the open transaction. Nothing here changes until [`Sealer::advance`].
    pub(crate) fn write(&self, store: &mut Store, at: WallTime, opening: bool) -> Result<(), Fault> {
        let Some(next) = &self.next else { return Err(Fault::new("the next seal key is not there yet")) };
        store.begin()?;
        let head = store.head();
        let mut seal = Seal {
            id: self.last_id.saturating_add(1),
            seq: head.seq,
            at: at.as_millis(),
            adopted: if opening { head.seq.saturating_sub(self.sealed) } else { 0 },
            head: head.hash,
            public: *self.current.public(),
            next: *next.public(),
            signature: [0; 64],
        };
        seal.signature = self.current.sign(&seal.message());
        seal.insert(store.conn())?;
        Ok(())
    }

    /// Whether the seal that was last written is committed, whatever the commit said.
    pub(crate) fn is_written(&self, store: &Store) -> Result<bool, Fault> {
        let last = Seal::last(store.conn())?;
        Ok(last.is_some_and(|seal| seal.id == self.last_id.saturating_add(1)))
    }

    /// After the commit: the next epoch begins. Answers the place of the used key, to be overwritten once the disk has
    /// the seal.
    pub(crate) fn advance(&mut self, sealed: u64) -> Option<Slot> {
        let next = self.next.take()?;
        let used = self.slot;
        self.current = next;
        self.slot = used.other();
        self.last_id = self.last_id.saturating_add(1);
        self.sealed = sealed;
        Some(used)
    }

    /// The used key is destroyed, and this one lies in its place.
    pub(crate) fn renew(&mut self, next: EpochKey) {
        self.next = Some(next);
    }
}
