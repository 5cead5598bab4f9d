//! One transaction of the writer: puts jobs into the chain, remembers who waits for what, and answers them when the
//! outcome is known. What needs a seal of its own ([`Rare`]) is here too.

use mexe_model::Instant;
use rusqlite::{params, params_from_iter};

use crate::Unavailable;
use crate::chain::{sha256, signed, unsigned};
use crate::coalesce::{Coalescer, Offer};
use crate::courier::{self, Answer};
use crate::journal::Erasure;
use crate::queue::Job;
use crate::record::Record;
use crate::retention::{self, Plan};
use crate::seal::Sealer;
use crate::store::{Fault, Store};
use crate::tables::{self, NotApplied};
use crate::usage;
use crate::writer::Numbers;

/// How many numbers of flows are reserved at once.
pub(crate) const FLOW_BLOCK: u64 = 1_000_000;

/// How many numbers of runs are reserved at once.
pub(crate) const RUN_BLOCK: u64 = 1000;

/// Who waits for the open transaction.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    answers: Vec<(Answer, u64)>,
    /// Those who wait for the disk, too.
    synced: Vec<(Answer, u64)>,
    /// Notes of this batch, to be carried on if it fails.
    pub(crate) notes: Vec<Record>,
    /// Those who could not be served because of a fault before them.
    unserved: Vec<Answer>,
    last_flow: u64,
    last_run: u64,
}

impl Batch {
    /// Does a job, or counts it.
    ///
    /// # Errors
    /// The transaction is lost; the job is kept for [`Batch::refuse`].
    pub(crate) fn add(
        &mut self,
        store: &mut Store,
        coalescer: &mut Coalescer,
        now: Instant,
        job: Job,
    ) -> Result<(), Fault> {
        match job {
            Job::Record { record, answer } => match self.offer(coalescer, now, &record) {
                Offer::Folded(seq) if seq <= store.committed() => {
                    answer.send(Ok(seq));
                    Ok(())
                }
                Offer::Folded(seq) => {
                    self.answers.push((answer, seq));
                    Ok(())
                }
                Offer::Write => match self.append(store, &record) {
                    Ok(seq) => {
                        coalescer.written(now, &record, seq);
                        self.answers.push((answer, seq));
                        Ok(())
                    }
                    Err(fault) => self.keep_unserved(answer, fault),
                },
            },
            Job::Account { usage, answer } => {
                let added = store.begin().and_then(|()| Ok(usage::add(store.conn(), &usage)?));
                match added {
                    Ok(()) => {
                        self.answers.push((answer, store.committed()));
                        Ok(())
                    }
                    Err(fault) => self.keep_unserved(answer, fault),
                }
            }
            Job::Note { record } => match self.offer(coalescer, now, &record) {
                Offer::Folded(_) => Ok(()),
                Offer::Write => self.note(store, record),
            },
            Job::Change { change, record, answer } => match self.change(store, &change, &record) {
                Ok(seq) => {
                    self.synced.push((answer, seq));
                    Ok(())
                }
                Err(NotDone::Refused(why)) => {
                    answer.send(Err(Unavailable::new(format!("it refused the change: {why}"))));
                    Ok(())
                }
                Err(NotDone::Fault(fault)) => self.keep_unserved(answer, fault),
            },
            Job::Clear { .. } | Job::Erase { .. } | Job::Tidy { .. } => Ok(()),
        }
    }

    /// Writes a record that nobody waits for.
    pub(crate) fn note(&mut self, store: &mut Store, record: Record) -> Result<(), Fault> {
        let outcome = self.append(store, &record).map(|_| ());
        self.notes.push(record);
        outcome
    }

    /// Takes a job that comes after a fault.
    pub(crate) fn keep(&mut self, job: Job) {
        match job {
            Job::Note { record } => self.notes.push(record),
            Job::Account { answer, .. }
            | Job::Record { answer, .. }
            | Job::Change { answer, .. }
            | Job::Clear { answer, .. }
            | Job::Erase { answer, .. }
            | Job::Tidy { answer } => self.unserved.push(answer),
        }
    }

    /// Reserves further numbers of flows and runs when half of the last block is used.
    pub(crate) fn reserve(&self, store: &mut Store, numbers: &mut Numbers) -> Result<(), Fault> {
        let blocks = [
            ("flow", self.last_flow, &mut numbers.flow_limit, FLOW_BLOCK),
            ("run", self.last_run, &mut numbers.run_limit, RUN_BLOCK),
        ];
        for (name, last, limit, block) in blocks {
            if last.saturating_add(block / 2) > *limit {
                let next = last.saturating_add(block);
                store.begin()?;
                tables::reserve(store.conn(), name, next)?;
                // Should the commit fail, the next batch that is near the end reserves again.
                *limit = next;
            }
        }
        Ok(())
    }

    /// After the commit: answers everybody but those who wait for the disk; they are handed out.
    pub(crate) fn answer(self) -> Vec<(Answer, u64)> {
        courier::send_all(self.answers);
        self.synced
    }

    /// After a fault: everybody is told, and the notes are handed out to be carried on.
    pub(crate) fn refuse(self, why: &Unavailable) -> Vec<Record> {
        let waiting = self.answers.into_iter().chain(self.synced).map(|(answer, _)| answer);
        for answer in waiting.chain(self.unserved) {
            answer.send(Err(why.clone()));
        }
        self.notes
    }

    fn offer(&mut self, coalescer: &mut Coalescer, now: Instant, record: &Record) -> Offer {
        // What is only counted has used up its number, too.
        self.last_flow = self.last_flow.max(record.flow.map_or(0, |flow| flow.0));
        coalescer.offer(now, record)
    }

    fn append(&mut self, store: &mut Store, record: &Record) -> Result<u64, Fault> {
        self.last_flow = self.last_flow.max(record.flow.map_or(0, |flow| flow.0));
        self.last_run = self.last_run.max(record.run.map_or(0, |run| run.0));
        store.append(record, None)
    }

    fn change(&mut self, store: &mut Store, change: &crate::Change, record: &Record) -> Result<u64, NotDone> {
        store.begin()?;
        let savepoint = |sql: &str| store.conn().prepare_cached(sql)?.execute([]).map(|_| ());
        savepoint("SAVEPOINT change").map_err(Fault::from)?;
        match tables::apply(store.conn(), change) {
            Ok(()) => savepoint("RELEASE change").map_err(Fault::from)?,
            Err(NotApplied::Database(fault)) => return Err(Fault::from(fault).into()),
            Err(NotApplied::Refused(why)) => {
                savepoint("ROLLBACK TO change").map_err(Fault::from)?;
                savepoint("RELEASE change").map_err(Fault::from)?;
                return Err(NotDone::Refused(why));
            }
        }
        Ok(self.append(store, record)?)
    }

    fn keep_unserved(&mut self, answer: Answer, fault: Fault) -> Result<(), Fault> {
        self.unserved.push(answer);
        Err(fault)
    }
}

enum NotDone {
    Fault(Fault),
    Refused(String),
}

impl From<Fault> for NotDone {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What alters the past of the chain, and so is sealed in its own transaction.
pub(crate) enum Rare {
    /// Takes personal fields out.
    Erase { what: Erasure, record: Box<Record>, answer: Answer },
    /// Adopts what retention or a clearing takes out.
    Prune { plan: Plan, clearing: Option<Clearer> },
}

/// Who wants records cleared.
pub(crate) struct Clearer {
    pub(crate) record: Box<Record>,
    pub(crate) answer: Answer,
}

impl Rare {
    /// Writes it into a transaction; how many records are concerned.
    pub(crate) fn carry_out(&mut self, store: &mut Store, _sealer: &Sealer) -> Result<u64, Fault> {
        store.begin()?;
        match self {
            Self::Erase { what, record, .. } => erase(store, what, record),
            Self::Prune { plan, clearing } => {
                retention::adopt(store.conn(), plan)?;
                let sql = "SELECT id, public FROM seals ORDER BY id LIMIT 1";
                let (id, public): (i64, [u8; 32]) =
                    store.conn().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let proof = retention::proof(&plan.gaps, (unsigned(id), &public), store.identity());
                let record = clearing.as_ref().map(|clearer| &*clearer.record);
                store.append(&retention::record(plan, crate::keeper::now(), record), Some(&proof))?;
                Ok(plan.records)
            }
        }
    }

    /// After a fault.
    pub(crate) fn refuse(self, fault: &Fault) {
        let answer = match self {
            Self::Erase { answer, .. } => Some(answer),
            Self::Prune { clearing, .. } => clearing.map(|clearer| clearer.answer),
        };
        if let Some(answer) = answer {
            answer.send(Err(Unavailable::new(std::sync::Arc::clone(&fault.why))));
        }
    }
}

fn erase(store: &mut Store, what: &Erasure, record: &Record) -> Result<u64, Fault> {
    use rusqlite::types::Value;
    let millis = |at: &mexe_model::WallTime| Value::Integer(signed(at.as_millis()));
    let (condition, values) = match what {
        Erasure::App(app) => ("app = ?1", vec![Value::Text(app.as_str().to_owned())]),
        Erasure::Before(at) => ("at < ?1", vec![millis(at)]),
        Erasure::Requests { app, before } => (
            "app = ?1 AND at < ?2 AND kind <> 'change'",
            vec![Value::Text(app.as_str().to_owned()), millis(before)],
        ),
    };
    let sql = format!("SELECT seq FROM records WHERE {condition} AND salt IS NOT NULL ORDER BY seq");
    let mut statement = store.conn().prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(&values))?;
    let mut erased = Vec::new();
    while let Some(row) = rows.next()? {
        erased.extend_from_slice(&row.get::<_, i64>(0)?.to_be_bytes());
    }
    drop(rows);
    drop(statement);
    if erased.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "UPDATE records SET app = NULL, run = NULL, target = NULL, addresses = NULL, detail = NULL, salt = NULL \
         WHERE {condition} AND salt IS NOT NULL"
    );
    let count = store.conn().execute(&sql, params_from_iter(&values))?;
    let count =
        u64::try_from(count).map_err(|_| Fault::new("more records were erased than can be counted"))?;
    let record = retention::cleared(record, retention::ERASE, count, serde_json::Value::Null);
    let seq = store.append(&record, Some(&sha256(&erased)))?;
    store
        .conn()
        .execute("INSERT INTO erasures (seq, erased) VALUES (?1, ?2)", params![signed(seq), erased])?;
    Ok(count)
}
