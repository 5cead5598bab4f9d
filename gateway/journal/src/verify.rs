//! Checking the chain: every record hashes to what the next one builds on, every seal is signed by the key that the
//! seal before it named, and the last of those keys is the one in `journal.key`. Reads only, with or without a gate
//! that writes.
//!
//! What this finds: a record that was edited, removed, put in, moved or cut off; a part put back from an older copy; a
//! tail forged below the last seal; personal fields removed without an erasure; records removed without retention or a
//! clearing; a journal that was emptied, by the key that is no longer the first. What it cannot find by itself: a whole
//! older state directory put back, its key included, or a new one in its place. That takes a [`Checkpoint`].

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use crate::beginning::{self, Unsealed};
use crate::chain::{COLUMNS, Hash, Line, Link, genesis, hex, identity, sha256, signed, unsigned};
use crate::checkpoint::{Checkpoint, Standing};
use crate::error::{Broken, JournalError, Mismatch, VerifyError};
use crate::key::{self, KeyFile};
use crate::query::database;
use crate::retention::{self, Gap};
use crate::seal::Seal;
use crate::{open, schema};

/// What was found out about a chain that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// How many records are there.
    pub records: u64,
    /// How many seals are there.
    pub seals: u64,
    /// How many records have had their personal fields taken out.
    pub erased: u64,
    /// How many records retention has taken out.
    pub pruned: u64,
    /// How many records at the end have no seal yet: up to about a second of them while a gate runs or after it was
    /// killed. Nothing proves these.
    pub unsealed_tail: u64,
    /// How many records were first sealed by the start after a gate was killed. More than a second's worth at once would
    /// be strange.
    pub adopted: u64,
    /// What the journal is known by: the fingerprint of its first public key, lower-case hexadecimal. Empty while a gate
    /// that is started for the first time, or was killed then, has not made it.
    pub identity: String,
    /// Whether the seals go back to that first key, or, before the first seal, that key is there. After retention took the first seals out they do not, and the
    /// identity is what the journal says of itself.
    pub identity_proven: bool,
    /// The last record's number.
    pub head_seq: u64,
    /// The last record's hash, lower-case hexadecimal.
    pub head: String,
    /// What is there of the checkpoint that it was held against; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Standing>,
}

/// Checks a journal. `path` is the state directory or the database in it; the key file is looked for beside it.
///
/// # Errors
/// [`VerifyError::Broken`] with the first record that does not fit, [`VerifyError::Unreadable`] when it cannot be read.
pub fn verify(path: &Path) -> Result<VerifyReport, VerifyError> {
    check(path, None)
}

/// Checks a journal as [`verify`] does, and that it goes on from a checkpoint that was kept elsewhere.
///
/// # Errors
/// As [`verify`], and [`VerifyError::Checkpoint`] when it does not.
pub fn verify_against(path: &Path, checkpoint: &Checkpoint) -> Result<VerifyReport, VerifyError> {
    check(path, Some(checkpoint))
}

fn check(path: &Path, checkpoint: Option<&Checkpoint>) -> Result<VerifyReport, VerifyError> {
    let path = database(path);
    let conn = schema::open_read_only(&path)?;
    let key_path = path.with_file_name(key::FILE);
    let mut tries = 0;
    loop {
        tries += 1;
        let found = schema::version(&conn, &path)?;
        if found != schema::latest() && found != 0 {
            let why =
                format!("its schema is {found}; start the gate once to bring it up to {}", schema::latest());
            return Err(JournalError::Damaged { path, why }.into());
        }
        let looked = match checkpoint {
            None if found == 0 => unsealed(None, &key_path),
            Some(checkpoint) if found == 0 => return Err(checkpoint.without_a_seal().into()),
            _ => snapshot(&conn, &key_path, checkpoint),
        };
        // A gate that runs may have renewed its key between our look at the database and that at the file.
        match looked {
            Err(Trouble::Key(_)) if tries < 5 => std::thread::sleep(std::time::Duration::from_millis(50)),
            outcome => return outcome.map_err(|trouble| trouble.told(&path, &key_path)),
        }
    }
}

/// What is between the last seal and the end must fit, or the gate must not build on it.
pub(crate) fn check_tail(
    conn: &Connection,
    path: &Path,
    identity: &Hash,
    seal: &Seal,
) -> Result<(), JournalError> {
    let check = || {
        if !seal.is_signed() {
            return Err(broken(seal.seq, "the last seal's signature is wrong").into());
        }
        let mut walk = Walk::new(conn, seal.seq, seal.head)?;
        if seal.seq > 0 && walk.hash_at(conn, seal.seq)? != Some(seal.head) {
            return Err(broken(seal.seq, "it is not what was sealed").into());
        }
        if seal.seq == 0 && seal.head != genesis(identity) {
            return Err(broken(0, "the identity is not the one that was sealed").into());
        }
        let mut statement =
            conn.prepare(&format!("SELECT {COLUMNS} FROM records WHERE seq > ?1 ORDER BY seq"))?;
        let mut rows = statement.query([signed(seal.seq)])?;
        while let Some(row) = rows.next()? {
            let (line, link) = Line::read(row)?;
            walk.step(&line, &link)?;
        }
        Ok(())
    };
    check().map_err(|trouble: Trouble| match trouble {
        Trouble::Database(fault) => JournalError::database("read records from", path)(fault),
        Trouble::Checkpoint(mismatch) => {
            JournalError::Damaged { path: path.to_owned(), why: mismatch.to_string() }
        }
        Trouble::Broken(broken) | Trouble::Key(broken) => {
            JournalError::Damaged { path: path.to_owned(), why: broken.to_string() }
        }
    })
}

/// What can come between.
enum Trouble {
    Broken(Broken),
    Checkpoint(Mismatch),
    Database(rusqlite::Error),
    /// The key does not fit, which may be a matter of time.
    Key(Broken),
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(fault: rusqlite::Error) -> Self {
        Self::Database(fault)
    }
}

impl Trouble {
    fn told(self, path: &Path, key_path: &Path) -> VerifyError {
        match self {
            Self::Broken(broken) => VerifyError::Broken(broken),
            Self::Checkpoint(mismatch) => VerifyError::Checkpoint(mismatch),
            Self::Key(Broken { seq, what }) => {
                let what = format!("`{}`: {what}", key_path.display());
                VerifyError::Broken(Broken { seq, what })
            }
            Self::Database(fault) => {
                VerifyError::Unreadable(JournalError::database("read records from", path)(fault))
            }
        }
    }
}

fn broken(seq: u64, what: impl Into<String>) -> Broken {
    Broken { seq, what: what.into() }
}

/// Walks all records and seals as they stand at one moment.
fn snapshot(
    conn: &Connection,
    key_path: &Path,
    checkpoint: Option<&Checkpoint>,
) -> Result<VerifyReport, Trouble> {
    let reading = conn.unchecked_transaction()?;
    // Before the chain: who put an older copy back shall hear of that, and not of the key that does not fit it.
    let standing = match checkpoint {
        None => None,
        Some(checkpoint) => Some(checkpoint.standing(&reading)?.map_err(Trouble::Checkpoint)?),
    };
    let Some(last_seal) = Seal::last(&reading)? else { return unsealed(Some(&reading), key_path) };
    // First of all, as near as can be to the moment that the database is read at.
    let key = KeyFile::open_read_only(key_path).and_then(|file| file.find(&last_seal.next));
    match key {
        Ok(Some(_)) => {}
        Ok(None) => {
            let what = "it does not hold the key that the last seal names: the seals, or the file, are not the latest";
            return Err(Trouble::Key(broken(last_seal.seq, what)));
        }
        Err(fault) => return Err(Trouble::Key(broken(last_seal.seq, format!("it cannot be read: {fault}")))),
    }
    let fingerprint: Hash =
        open::read_identity(&reading).map_err(|_| Trouble::from(broken(0, "there is no identity")))?;
    let mut walk = Walk::new(&reading, 0, genesis(&fingerprint))?;
    let mut seals = SealWalk::new(fingerprint);
    let mut report = VerifyReport { identity: hex(&fingerprint), ..VerifyReport::default() };
    let mut pending = Vec::new();
    Seal::each(&reading, |seal| {
        seals.step(&seal)?;
        report.adopted = report.adopted.saturating_add(seal.adopted);
        pending.push((seal.seq, seal.head));
        Ok::<(), Trouble>(())
    })?;
    let mut pending = pending.into_iter().peekable();
    while let Some((_, head)) = pending.next_if(|(seq, _)| *seq == 0) {
        check_sealed(0, Some(walk.before), head)?;
    }

    let mut statement = reading.prepare(&format!("SELECT {COLUMNS} FROM records ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (line, link) = Line::read(row)?;
        if !walk.step(&line, &link)? {
            continue;
        }
        report.records += 1;
        report.erased += u64::from(line.is_erased());
        while let Some((seq, head)) = pending.next_if(|(seq, _)| *seq <= walk.seq) {
            check_sealed(seq, walk.hash_of(seq), head)?;
        }
    }
    walk.end()?;
    for (seq, head) in pending {
        if seq > walk.seq {
            let what = format!("the seals go on to record {seq}, but the records end here");
            return Err(broken(walk.seq, what).into());
        }
        check_sealed(seq, walk.hash_of(seq), head)?;
    }
    check_past(&walk, &seals, &fingerprint, last_seal.seq)?;
    report.seals = seals.count;
    report.checkpoint = standing;
    report.pruned = walk.gaps.iter().map(|gap| gap.last.saturating_sub(gap.first).saturating_add(1)).sum();
    report.unsealed_tail = walk.seq.saturating_sub(last_seal.seq);
    report.identity_proven = seals.from_the_first;
    report.head_seq = walk.seq;
    report.head = hex(&walk.before);
    Ok(report)
}

/// Before the first seal there is nothing to check but that there never was one.
fn unsealed(conn: Option<&Connection>, key_path: &Path) -> Result<VerifyReport, Trouble> {
    match beginning::look(conn, key_path)? {
        Unsealed::NotBegun => Ok(VerifyReport::default()),
        Unsealed::Begun(identity) => Ok(VerifyReport {
            identity: hex(&identity),
            identity_proven: true,
            head: hex(&genesis(&identity)),
            ..VerifyReport::default()
        }),
        Unsealed::LostItsSeals => Err(broken(0, "there is no seal").into()),
        Unsealed::OtherKey => Err(Trouble::Key(broken(
            0,
            "there is no seal, and it is not the key file of a journal that never had one",
        ))),
    }
}

fn check_sealed(seq: u64, hash: Option<Hash>, head: Hash) -> Result<(), Broken> {
    match hash {
        Some(hash) if hash != head => Err(broken(seq, "it is not what was sealed")),
        // It lies inside a gap; the gap's ends hold the chain together.
        _ => Ok(()),
    }
}

/// Gaps and a beginning without seals are only right when a sealed record says so.
fn check_past(walk: &Walk, seals: &SealWalk, identity: &Hash, sealed: u64) -> Result<(), Broken> {
    let told = walk.announced.iter().map(|(seq, _)| *seq).chain(walk.last_erasure);
    if let Some(seq) = told.into_iter().find(|seq| *seq > sealed) {
        return Err(broken(seq, "it tells of records taken out, and is not sealed"));
    }
    let proof = retention::proof(&walk.gaps, (seals.first_id, &seals.first_public), identity);
    match walk.announced.last() {
        None if walk.gaps.is_empty() && seals.from_the_first => Ok(()),
        None => Err(broken(0, "records or seals were taken out, and no record tells of it")),
        Some((_, told)) if *told == proof => Ok(()),
        Some((seq, _)) => Err(broken(*seq, "what was taken out is not what it tells of")),
    }
}

/// The seals' own chain.
struct SealWalk {
    identity: Hash,
    count: u64,
    first_id: u64,
    first_public: [u8; 32],
    from_the_first: bool,
    /// Id, last record and the named key of the seal before.
    last: Option<(u64, u64, [u8; 32])>,
}

impl SealWalk {
    fn new(identity: Hash) -> Self {
        Self { identity, count: 0, first_id: 0, first_public: [0; 32], from_the_first: false, last: None }
    }

    fn step(&mut self, seal: &Seal) -> Result<(), Broken> {
        let seq = seal.seq;
        match self.last {
            None => {
                self.first_id = seal.id;
                self.first_public = seal.public;
                self.from_the_first = seal.id == 1;
                if seal.id == 1 && identity(&seal.public) != self.identity {
                    return Err(broken(seq, "the first seal's key is not the journal's identity"));
                }
            }
            Some((id, _, _)) if seal.id != id + 1 => return Err(broken(seq, "a seal before it is missing")),
            Some((_, before, _)) if seal.seq < before => {
                return Err(broken(seq, "the seals are out of order"));
            }
            Some((_, _, named)) if seal.public != named => {
                return Err(broken(seq, "its seal is by another key than the seal before it names"));
            }
            Some(_) => {}
        }
        if !seal.is_signed() {
            return Err(broken(seq, "its seal's signature is wrong"));
        }
        self.count += 1;
        self.last = Some((seal.id, seal.seq, seal.next));
        Ok(())
    }
}

/// The records' chain, up to some record.
struct Walk {
    seq: u64,
    /// Hash of record `seq`.
    before: Hash,
    gaps: Vec<Gap>,
    next_gap: usize,
    /// Records whose personal fields may be missing.
    erased: Vec<u64>,
    /// What erasures were written down, by the record that tells of them.
    erasures: Vec<(u64, Hash)>,
    /// The last record that tells of an erasure.
    last_erasure: Option<u64>,
    /// Records that tell of pruning, with what they bind.
    announced: Vec<(u64, Hash)>,
    scratch: Vec<u8>,
}

impl Walk {
    /// Begins after record `seq`, whose hash is `hash`.
    fn new(conn: &Connection, seq: u64, hash: Hash) -> rusqlite::Result<Self> {
        let gaps: Vec<Gap> = retention::gaps(conn)?;
        let next_gap = gaps.iter().take_while(|gap| gap.last <= seq).count();
        let (mut erased, mut erasures) = (Vec::new(), Vec::new());
        let mut statement = conn.prepare("SELECT seq, erased FROM erasures ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let list: Vec<u8> = row.get(1)?;
            erasures.push((unsigned(row.get(0)?), sha256(&list)));
            let numbers = list.as_chunks::<8>().0;
            erased.extend(numbers.iter().map(|number| u64::from_be_bytes(*number)));
        }
        erased.sort_unstable();
        let (announced, scratch) = (Vec::new(), Vec::new());
        Ok(Self {
            seq,
            before: hash,
            gaps,
            next_gap,
            erased,
            erasures,
            last_erasure: None,
            announced,
            scratch,
        })
    }

    /// Goes over one record; false when it lies in a gap and only waits to be deleted.
    fn step(&mut self, line: &Line<'_>, link: &Link<'_>) -> Result<bool, Broken> {
        let seq = unsigned(line.seq);
        if self.gaps.get(self.next_gap).is_some_and(|gap| gap.first <= seq && seq <= gap.last) {
            return Ok(false);
        }
        self.pass_gap(seq)?;
        if seq != self.seq.saturating_add(1) {
            return Err(broken(seq, format!("it comes after record {}", self.seq)));
        }
        if line.is_erased() {
            if line.has_personal() || self.erased.binary_search(&seq).is_err() {
                return Err(broken(seq, "its personal fields are gone, and no erasure tells of it"));
            }
        } else if line.commitment(line.salt.unwrap_or_default(), &mut self.scratch) != *link.commitment {
            return Err(broken(seq, "its personal fields were changed"));
        }
        let hash = line.hash(&self.before, link.commitment, &mut self.scratch);
        if hash != *link.hash {
            return Err(broken(seq, "it was changed, or what came before it"));
        }
        if let Some(proof) = line.proof {
            self.note_proof(seq, line.action.unwrap_or_default(), proof)?;
        }
        self.seq = seq;
        self.before = hash;
        Ok(true)
    }

    /// Goes over the gap that lies between here and record `seq`.
    fn pass_gap(&mut self, seq: u64) -> Result<(), Broken> {
        while let Some(gap) = self.gaps.get(self.next_gap).filter(|gap| gap.last < seq) {
            if gap.first != self.seq.saturating_add(1) || gap.before != self.before {
                return Err(broken(gap.first, "what was taken out here does not follow on what is there"));
            }
            self.seq = gap.last;
            self.before = gap.hash;
            self.next_gap += 1;
        }
        Ok(())
    }

    /// After the last record.
    fn end(&mut self) -> Result<(), Broken> {
        self.pass_gap(u64::MAX)?;
        match self.erasures.first() {
            Some((seq, _)) => Err(broken(*seq, "an erasure is written down that no record tells of")),
            None => Ok(()),
        }
    }

    fn note_proof(&mut self, seq: u64, action: &str, proof: &[u8]) -> Result<(), Broken> {
        let proof = Hash::try_from(proof).map_err(|_| broken(seq, "its proof has another length"))?;
        if action == retention::PRUNE || action == retention::CLEAR {
            self.announced.push((seq, proof));
            return Ok(());
        }
        match self.erasures.iter().position(|(told, hash)| *told == seq && *hash == proof) {
            Some(found) => {
                self.erasures.remove(found);
                self.last_erasure = Some(seq);
                Ok(())
            }
            None => Err(broken(seq, "what was erased is not what it tells of")),
        }
    }

    /// The hash of a record that was gone over last, or that ended the gap gone over last.
    fn hash_of(&self, seq: u64) -> Option<Hash> {
        if seq == self.seq {
            return Some(self.before);
        }
        retention::gap_ending(&self.gaps, seq).map(|gap| gap.hash)
    }

    fn hash_at(&self, conn: &Connection, seq: u64) -> rusqlite::Result<Option<Hash>> {
        use rusqlite::OptionalExtension;
        if let Some(gap) = retention::gap_ending(&self.gaps, seq) {
            return Ok(Some(gap.hash));
        }
        conn.query_row("SELECT hash FROM records WHERE seq = ?1", [signed(seq)], |row| row.get(0)).optional()
    }
}
