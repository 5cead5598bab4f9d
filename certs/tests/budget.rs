//! What a hostile package can make the engine do is bounded: by counts that the engine keeps, by the bytes that it reads,
//! counted by the reader, and by memory, counted by this test binary's allocator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]
#![allow(unsafe_code, reason = "a global allocator cannot be written without; this one passes everything on")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use mexe_certs::{
    Evidence, Limits, Part, RootKind, Source, TrustStore, Verification, WholeDigest, Work, verify_in_parts,
};
use mexe_forge::jar::{JarBuilder, SignOptions, pack};
use mexe_model::Reason;
use support::*;

struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn hold(more: usize, less: usize) {
    let held = (HELD.get() + more).saturating_sub(less);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call goes on to the system's allocator unchanged; the counters are thread-locals without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be held while one is copied into the other.
        hold(size, 0);
        hold(0, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static READ: Cell<u64> = const { Cell::new(0) };
}

/// Counts what is read.
struct Counted<'a>(Cursor<&'a [u8]>);

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        READ.set(READ.get() + read as u64);
        Ok(read)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// What one judgement took.
struct Cost {
    verification: Verification,
    work: Work,
    read: u64,
    memory: usize,
}

fn cost(package: &[u8], store: &TrustStore, limits: &Limits) -> Cost {
    let source = Source {
        open: || Ok(Counted(Cursor::new(package))),
        size: package.len() as u64,
        digest: WholeDigest::Wanted,
    };
    let before = HELD.get();
    PEAK.set(before);
    READ.set(0);
    let one_by_one = |parts: Vec<Part<'_, _>>| parts.into_iter().map(Part::run).collect();
    let (verification, work) = verify_in_parts(&source, Evidence::Inside, store, AT, limits, one_by_one);
    Cost { verification, work, read: READ.get(), memory: PEAK.get() - before }
}

fn reason(cost: &Cost) -> Option<Reason> {
    cost.verification.verdict.reason()
}

/// What `limits.rs` and `profile.md` promise.
const MEMORY_MAX: usize = 192 << 20;

#[test]
fn a_package_as_large_as_is_allowed_in_every_way_stays_within_the_memory() {
    let world = World::new(RootKind::Operator);
    let options = SignOptions { digests: vec!["SHA-256"], ..SignOptions::default() };
    let mut jar = JarBuilder::new().options(options);
    // Names as long as the central directory has room for, each wrapped twice in manifest and signature file.
    for number in 0..64_990_u32 {
        let name = format!("{number:05}/{}", "n".repeat(118));
        jar = jar.entry(&name, []);
    }
    let package = jar.sign(&world.signer).unwrap();
    drop(jar);
    let cost = cost(&package, &world.store, &Limits::default());
    assert_eq!(reason(&cost), None, "{:?}", cost.verification.verdict);
    assert!(cost.memory < MEMORY_MAX, "{} bytes were held", cost.memory);
    assert!(cost.read < 4 * package.len() as u64, "{} of {} bytes were read", cost.read, package.len());
    assert_eq!(cost.work.sections, 2 * 64_990);
}

#[test]
fn unpacking_holds_the_same_memory_for_a_small_and_for_a_large_entry() {
    let store = TrustStore::builder().build();
    let held = |length: usize| {
        let package = pack(&[("zeros".to_owned(), vec![0; length])]).unwrap();
        let cost = cost(&package, &store, &Limits::default());
        assert_eq!((reason(&cost), cost.work.inflated), (Some(Reason::Unsigned), length as u64));
        cost.memory
    };
    let (small, large) = (held(1 << 20), held(64 << 20));
    assert!(large <= small + 4096, "{small} bytes for 1 MiB, {large} for 64 MiB");
    assert!(large < 2 << 20, "{large}");
}

#[test]
fn each_count_has_its_bound() {
    let world = World::new(RootKind::Operator);
    let second = world.issuer.signer("Second", &mexe_forge::pki::Shape::at(AT)).unwrap();
    let package = sample().sign_all(&[("A", &world.signer), ("B", &second)]).unwrap();
    let sound = Limits::default();
    let done = cost(&package, &world.store, &sound);
    assert_eq!(reason(&done), None);
    let Work { inflated, digested, sections, certificates, signers } = done.work;
    assert_eq!((sections, signers), (3 * 4, 2));
    assert!(certificates >= 4 && inflated > digested - 3000, "{:?}", done.work);
    let count = |n: u64| usize::try_from(n).unwrap();
    for (what, enough, too_few) in [
        ("signers", Limits { signers: 2, ..sound }, Limits { signers: 1, ..sound }),
        ("entries", Limits { entries: 11, ..sound }, Limits { entries: 5, ..sound }),
        ("sections", Limits { sections: 4, ..sound }, Limits { sections: 3, ..sound }),
        ("attributes", Limits { attributes: 20, ..sound }, Limits { attributes: 5, ..sound }),
        (
            "certificates",
            Limits { certificates: count(certificates), ..sound },
            Limits { certificates: count(certificates) - 1, ..sound },
        ),
        ("digested", Limits { digested, ..sound }, Limits { digested: digested - 1, ..sound }),
    ] {
        assert_eq!(reason(&cost(&package, &world.store, &enough)), None, "{what}");
        assert_eq!(reason(&cost(&package, &world.store, &too_few)), Some(Reason::TooCostly), "{what}");
    }
}

#[test]
fn an_entry_costs_once_for_each_algorithm_and_not_for_each_name_of_it() {
    let world = World::new(RootKind::Operator);
    let digested = |digests: &[&'static str]| {
        let options = SignOptions { digests: digests.to_vec(), ..SignOptions::default() };
        let jar = JarBuilder::new().options(options).entry("data.bin", vec![1; 1 << 20]);
        let cost = cost(&jar.sign(&world.signer).unwrap(), &world.store, &Limits::default());
        assert_eq!(reason(&cost), None);
        cost.work.digested >> 20
    };
    assert_eq!(digested(&["SHA-256"]), 1);
    // The forge takes SHA-256 for names that it does not know, as the engine does for this one.
    assert_eq!(digested(&["SHA-256", "SHA256"]), 1);
    assert_eq!(digested(&["SHA-1", "SHA-256", "SHA-384", "SHA-512"]), 4);
}

#[test]
fn a_manifest_of_nothing_but_attributes_or_sections_is_given_up_early() {
    let store = TrustStore::builder().build();
    let attributes: String = (0..900_000).map(|n| format!("A{n}: \n")).collect();
    let sections: String = (0..100_000).map(|n| format!("Name: {n}\n\n")).collect();
    for (what, text) in [("attributes", attributes), ("sections", format!("A: 1\n\n{sections}"))] {
        let package = pack(&[("META-INF/MANIFEST.MF".to_owned(), text.into_bytes())]).unwrap();
        let cost = cost(&package, &store, &Limits::default());
        assert_eq!(reason(&cost), Some(Reason::TooCostly), "{what}");
        assert!(cost.memory < MEMORY_MAX / 2, "{what}: {} bytes were held", cost.memory);
    }
}

#[test]
fn a_part_that_is_lost_refuses_the_package() {
    let world = World::new(RootKind::Operator);
    let package = sample().sign(&world.signer).unwrap();
    let source = Source {
        open: || Ok(Cursor::new(&package)),
        size: package.len() as u64,
        digest: WholeDigest::Wanted,
    };
    let limits = Limits::default();
    for lost in 0..3 {
        let run = |parts: Vec<Part<'_, _>>| {
            assert_eq!(parts.len(), 3);
            let kept = parts.into_iter().enumerate().filter(|(number, _)| *number != lost);
            kept.map(|(_, part)| part.run()).collect()
        };
        let (judged, _) = verify_in_parts(&source, Evidence::Inside, &world.store, AT, &limits, run);
        assert_eq!(judged.verdict.reason(), Some(Reason::ContainerMalformed), "part {lost}");
    }
    // In any order they are complete.
    let backwards = |parts: Vec<Part<'_, _>>| parts.into_iter().rev().map(Part::run).collect();
    let (judged, _) = verify_in_parts(&source, Evidence::Inside, &world.store, AT, &limits, backwards);
    assert_eq!(judged, judge(&package, &world.store));
    // A digest that the caller computed is taken over.
    let known = Source { digest: WholeDigest::Known(judged.digest), ..source };
    let (again, _) = verify_in_parts(&known, Evidence::Inside, &world.store, AT, &limits, |parts| {
        assert_eq!(parts.len(), 2);
        parts.into_iter().map(Part::run).collect()
    });
    assert_eq!(again, judged);
    // One that nobody wants is not computed, and changes nothing else.
    let unwanted = Source { digest: WholeDigest::Unwanted, ..source };
    let (again, _) = verify_in_parts(&unwanted, Evidence::Inside, &world.store, AT, &limits, |parts| {
        assert_eq!(parts.len(), 2);
        parts.into_iter().map(Part::run).collect()
    });
    assert_eq!(again, Verification { digest: [0; 32], ..judged });
}
