//! Judges a package in parts that do not depend on each other: the digest of the whole file, the second opinion on its
//! layout, and the entries' bytes by the shares of [`crate::jar::Plan`]. The engine owns no thread: the caller runs the
//! parts, on as many of its own as it likes. The answer is that of [`crate::verify`], part by part the same code.

use std::io::{self, Read, Seek};
use std::ops::Range;

use mexe_model::Reason;

use crate::container::{self, Alone, Aside, Container};
use crate::evidence::Evidence;
use crate::jar::{self, Plan};
use crate::judge;
use crate::limits::{Limits, Work};
use crate::moment::Moment;
use crate::root_store::TrustStore;
use crate::verdict::{Refusal, TrustVerdict, Verification};

/// Where a package's bytes are. They must stay the same while it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Source<O> {
    /// Opens them once more, each time with a place of its own.
    pub open: O,
    /// How many they are.
    pub size: u64,
    /// Their SHA-256.
    pub digest: WholeDigest,
}

/// The SHA-256 of a whole package. No verdict depends on it, and it costs about as much as all the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeDigest {
    /// Computed.
    Wanted,
    /// The caller has hashed these very bytes itself.
    Known([u8; 32]),
    /// Not computed for a package that brings its signature inside; the answer has zeros.
    Unwanted,
}

impl WholeDigest {
    const fn is_to_be_computed(self) -> bool {
        matches!(self, Self::Wanted)
    }

    const fn answer(self) -> Option<[u8; 32]> {
        match self {
            Self::Wanted => None,
            Self::Known(digest) => Some(digest),
            Self::Unwanted => Some([0; 32]),
        }
    }
}

/// One part of the work; it does not matter which is run first, nor where.
#[derive(Debug)]
pub struct Part<'a, O> {
    number: usize,
    task: Task<'a>,
    cost: u64,
    source: &'a Source<O>,
    limits: &'a Limits,
}

#[derive(Debug)]
enum Task<'a> {
    Digest,
    Entries(&'a Plan, Range<usize>),
    Layout(&'a Plan),
}

/// What a part found.
#[derive(Debug)]
pub struct Outcome {
    number: usize,
    found: Result<Option<[u8; 32]>, Refusal>,
}

impl<R: Read + Seek, O: Fn() -> io::Result<R>> Part<'_, O> {
    /// How much work it is, in bytes that are read or made: to judge whether a thread is worth it.
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// Does it.
    pub fn run(self) -> Outcome {
        self.run_beside(&Alone)
    }

    /// Does it, with somebody who can do two things at once.
    pub fn run_beside(self, aside: &dyn Aside) -> Outcome {
        let size = self.source.size;
        let found =
            (self.source.open)().map_err(|error| unreadable(&error)).and_then(|mut reader| {
                match &self.task {
                    Task::Digest => judge::digest(&mut reader, size, self.limits).map(Some),
                    Task::Entries(plan, range) => {
                        let mut container = Container::again(reader, size, &plan.entries);
                        plan.check(&mut container, range.clone(), aside).map(|()| None)
                    }
                    Task::Layout(plan) => container::agrees(reader, size, &plan.entries).map(|()| None),
                }
            });
        Outcome { number: self.number, found }
    }
}

/// Judges a package as [`crate::verify`] does. `run` is handed all parts at once, the longest first, and gives every
/// part's outcome back, in any order; a package of which a part is missing is refused. Evidence outside the package is
/// judged without parts.
///
/// ```
/// use std::io::Cursor;
/// use mexe_certs::{Evidence, Limits, Part, Source, WholeDigest, root_store::TrustStore, verify_in_parts};
/// use mexe_model::{Reason, WallTime};
///
/// let bytes = b"no archive at all".to_vec();
/// let (size, digest) = (bytes.len() as u64, WholeDigest::Wanted);
/// let source = Source { open: || Ok(Cursor::new(&bytes)), size, digest };
/// let store = TrustStore::builder().build();
/// let at = WallTime::from_secs(1_795_489_491);
/// let limits = Limits::default();
/// let one_by_one = |parts: Vec<Part<'_, _>>| parts.into_iter().map(Part::run).collect();
/// let (judged, _) = verify_in_parts(&source, Evidence::Inside, &store, at, &limits, one_by_one);
/// assert_eq!(judged.verdict.reason(), Some(Reason::ContainerMalformed));
/// ```
pub fn verify_in_parts<R, O>(
    source: &Source<O>,
    evidence: Evidence<'_>,
    store: &TrustStore,
    at: impl Into<Moment>,
    limits: &Limits,
    run: impl FnOnce(Vec<Part<'_, O>>) -> Vec<Outcome>,
) -> (Verification, Work)
where
    R: Read + Seek,
    O: Fn() -> io::Result<R>,
{
    let refused = |refusal| {
        let verdict = TrustVerdict::Refused(refusal);
        (Verification { verdict, package: None, digest: [0; 32] }, Work::default())
    };
    let reader = match (source.open)() {
        Ok(reader) => reader,
        Err(error) => return refused(unreadable(&error)),
    };
    if evidence != Evidence::Inside || source.size > limits.package {
        let judged = crate::verify(reader, source.size, evidence, store, at, limits);
        return (judged, Work::default());
    }
    let planned = Container::lay_out(reader, source.size, limits)
        .and_then(|mut container| jar::plan(&mut container, limits));
    let (whole, plan) = match planned {
        Ok((whole, plan)) => (Ok(whole), Some(plan)),
        Err(refusal) => (Err(refusal), None),
    };
    let parts = parts(source, plan.as_ref(), limits);
    let count = parts.len();
    let digest_is_first = source.digest.is_to_be_computed();
    let mut outcomes = run(parts);
    outcomes.sort_by_key(|outcome| outcome.number);
    let mut digest = source.digest.answer();
    let mut first = None;
    for (number, outcome) in outcomes.iter_mut().enumerate() {
        match std::mem::replace(&mut outcome.found, Ok(None)) {
            _ if outcome.number != number => break,
            Ok(found) => digest = digest.or(found),
            Err(refusal) if number == 0 && digest_is_first => return refused(refusal),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    let complete = outcomes.len() == count && outcomes.iter().enumerate().all(|(n, o)| o.number == n);
    let (Some(digest), true) = (digest, complete) else {
        return refused(Refusal::new(Reason::ContainerMalformed, "a part of the package was not read"));
    };
    let whole = match first {
        Some(refusal) => whole.and(Err(refusal)),
        None => whole,
    };
    (judge::conclude(digest, whole, store, at.into()), plan.map(|plan| plan.work).unwrap_or_default())
}

/// The parts in the order in which their refusals count: the file, its layout, its entries from first to last.
fn parts<'a, O>(source: &'a Source<O>, plan: Option<&'a Plan>, limits: &'a Limits) -> Vec<Part<'a, O>> {
    let mut tasks = Vec::new();
    if source.digest.is_to_be_computed() {
        tasks.push((Task::Digest, source.size));
    }
    if let Some(plan) = plan {
        let cost = u64::try_from(plan.entries.len()).unwrap_or(u64::MAX).saturating_mul(LAYOUT_COST);
        tasks.push((Task::Layout(plan), cost));
        let shares = plan.shares().into_iter();
        tasks.extend(shares.map(|(range, cost)| (Task::Entries(plan, range), cost)));
    }
    let numbered = tasks.into_iter().enumerate();
    numbered.map(|(number, (task, cost))| Part { number, task, cost, source, limits }).collect()
}

/// What the second opinion costs for each entry, as bytes.
const LAYOUT_COST: u64 = 2048;

fn unreadable(error: &io::Error) -> Refusal {
    Refusal::new(Reason::ContainerMalformed, format!("it cannot be read: {error}"))
}
