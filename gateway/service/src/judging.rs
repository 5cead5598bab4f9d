//! Judges a package file: hands the parts of the signature engine's work to as many threads as help, and gives its verdict.
//! The engine owns no thread and no file; both are here. Called wherever a package is installed, run or shown.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use crate::trust::Trusted;
use mexe_certs::{
    Alone, Aside, Evidence, Limits, Make, Moment, Outcome, Part, Source, Take, Verification, WholeDigest,
};

/// Judges the first `size` bytes of `file` against the roots of this device. Their SHA-256 may be known only if they cannot
/// have changed since they were hashed. Blocks; the calling thread works too.
pub fn verify(
    file: &File,
    size: u64,
    digest: WholeDigest,
    evidence: Evidence<'_>,
    trusted: &Trusted,
    at: impl Into<Moment>,
) -> Verification {
    let source = Source { open: || Ok(Place { file, size, at: 0 }), size, digest };
    let limits = Limits::default();
    mexe_certs::verify_in_parts(&source, evidence, &trusted.store, at, &limits, in_parallel).0
}

/// Runs the parts on up to [`THREADS_MAX`] threads, and two more for a part that is most of the work by itself. A part that
/// breaks off has no outcome: the engine refuses then.
fn in_parallel<R, O>(parts: Vec<Part<'_, O>>) -> Vec<Outcome>
where
    R: Read + Seek,
    O: Fn() -> io::Result<R> + Sync,
{
    let cost = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.cost()));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(parts.len());
    if cost < WORTH_A_THREAD || threads < 2 {
        return parts.into_iter().map(Part::run).collect();
    }
    let queue = Mutex::new(parts.into_iter());
    let run = |part: Part<'_, O>| {
        let is_most = part.cost() > cost / 2;
        part.run_beside(if is_most { &Beside } else { &Alone })
    };
    let work = || {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::iter::from_fn(next).map(run).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        // Where no thread can be had, those that there are do its work.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().name("judging".to_owned()).spawn_scoped(scope, work).ok())
            .collect();
        let mut outcomes = work();
        outcomes.extend(others.into_iter().filter_map(|other| other.join().ok()).flatten());
        outcomes
    })
}

/// A phone has as many cores that are worth it, and other things to do.
const THREADS_MAX: usize = 4;
/// Bytes of work that take about a millisecond, many times what starting a thread takes.
const WORTH_A_THREAD: u64 = 2 << 20;

/// Takes pieces on a thread of its own.
struct Beside;

impl Aside for Beside {
    fn beside(&self, make: Make<'_>, take: Take<'_>) {
        let (hand_on, pieces) = mpsc::sync_channel::<(Vec<u8>, Range<usize>)>(PIECES);
        let (hand_back, used) = mpsc::channel();
        let (making, taking) = (&mut *make, &mut *take);
        let both = thread::scope(move |scope| {
            let taker = thread::Builder::new().name("judging".to_owned()).spawn_scoped(scope, move || {
                for (buffer, piece) in pieces {
                    taking(buffer.get(piece).unwrap_or_default());
                    // At the end nobody needs it back.
                    let _ = hand_back.send(buffer);
                }
            });
            if taker.is_err() {
                return false;
            }
            making(&mut move |buffer, piece| {
                let spare = used.try_recv().unwrap_or_else(|_| vec![0; buffer.len()]);
                // Only one that broke off takes no more; then the scope ends in its panic.
                let _ = hand_on.send((std::mem::replace(buffer, spare), piece));
            });
            true
        });
        if !both {
            Alone.beside(make, take);
        }
    }
}

/// How many pieces may wait to be taken.
const PIECES: usize = 4;

/// A place in a file that is its own: several read the same file at once.
struct Place<'a> {
    file: &'a File,
    size: u64,
    at: u64,
}

impl Read for Place<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Place<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = to.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use mexe_certs::{Evidence, Limits, RootKind, TrustStore};
    use mexe_forge::jar::JarBuilder;
    use mexe_forge::pki::{Authority, Shape};

    use mexe_model::WallTime;

    use super::*;

    const AT: WallTime = WallTime::from_secs(1_795_489_491);

    /// A signed package whose work is worth several threads, of so many entries, and a store that knows its root.
    fn large(entries: u32) -> (Vec<u8>, TrustStore) {
        let root = Authority::root("Root", &Shape::at(AT)).unwrap();
        let signer = root.signer("Signer", &Shape::at(AT)).unwrap();
        let mut jar = JarBuilder::new().attribute("MExE-Name", "large");
        for number in 1..=entries {
            let each = 12_000_000 / entries;
            // Packs to three quarters: many pieces on both sides of the unpacking.
            let mixed = |n: u32| n.wrapping_mul(number).wrapping_mul(0x9E37_79B1) ^ n.rotate_left(13);
            let content: Vec<u8> = (0..each).map(|n| mixed(n).to_le_bytes()[2] & 0x3F).collect();
            jar = jar.entry(&format!("data/{number}.bin"), content);
        }
        let mut store = TrustStore::builder();
        for added in store.add(RootKind::Operator, "root.pem", root.pem().as_bytes(), AT) {
            added.unwrap();
        }
        (jar.sign(&signer).unwrap(), store.build())
    }

    #[test]
    fn many_threads_say_what_one_says() {
        // One large entry is unpacked and hashed beside each other.
        for entries in [40, 1] {
            many_threads_say_the_same_of(&large(entries));
        }
    }

    #[test]
    fn pieces_beside_each_other_arrive_whole_and_in_order_and_buffers_come_back() {
        let (mut taken, mut buffers) = (Vec::new(), std::collections::BTreeSet::new());
        let mut make = |hand_on: &mut mexe_certs::HandOn<'_>| {
            let mut buffer = vec![0; 64];
            for number in 0..=255 {
                buffer.fill(0);
                buffer[64 - usize::from(number % 65)..].fill(number);
                buffers.insert(buffer.as_ptr().addr());
                let length = usize::from(number % 65);
                hand_on(&mut buffer, 64 - length..64);
                assert_eq!(buffer.len(), 64);
            }
        };
        Beside.beside(&mut make, &mut |piece| taken.push(piece.to_vec()));
        let expected: Vec<_> = (0..=255_u8).map(|number| vec![number; usize::from(number % 65)]).collect();
        assert_eq!(taken, expected);
        assert!(buffers.len() <= PIECES + 4, "{} buffers", buffers.len());
    }

    #[test]
    fn a_taker_that_breaks_off_ends_the_work_in_its_panic() {
        let mut handed = 0;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut make = |hand_on: &mut mexe_certs::HandOn<'_>| {
                for _ in 0..100 {
                    hand_on(&mut vec![0; 64], 0..64);
                    handed += 1;
                }
            };
            Beside.beside(&mut make, &mut |_| panic!("broke off"));
        }));
        assert!(ended.is_err());
        assert_eq!(handed, 100, "whoever makes the pieces does not wait for ever");
    }

    fn many_threads_say_the_same_of((package, store): &(Vec<u8>, TrustStore)) {
        for damaged in [None, Some(package.len() / 3), Some(package.len() - 30), Some(200)] {
            let mut bytes = package.clone();
            if let Some(at) = damaged {
                bytes[at] ^= 1;
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let size = bytes.len() as u64;
            let source =
                Source { open: || Ok(Place { file: &file, size, at: 0 }), size, digest: WholeDigest::Wanted };
            let limits = Limits::default();
            let (ours, _) =
                mexe_certs::verify_in_parts(&source, Evidence::Inside, store, AT, &limits, in_parallel);
            let reader = std::io::Cursor::new(&bytes);
            let one = mexe_certs::verify(reader, size, Evidence::Inside, store, AT, &limits);
            assert_eq!(ours.verdict.reason(), one.verdict.reason(), "{damaged:?}");
            assert_eq!((ours.package, ours.digest), (one.package, one.digest));
            assert_eq!(one.verdict.reason().is_none(), damaged.is_none());
        }
    }
}
