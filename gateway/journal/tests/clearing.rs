//! Clearing: what the user wants gone is gone for every reader and from the files, changes and the record of it stay,
//! and the chain holds, also against a checkpoint of before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{World, allowed, app, at, install, refused, wait};
use mexe_journal::{Checkpoint, Clearing, Filter, Found, Journal, Record, Row, VerifyError, verify_against};
use mexe_model::Reason;
use proptest::prelude::*;
use serde_json::json;

fn rows(journal: &Journal) -> Vec<Row> {
    journal.query(&Filter { limit: Some(100_000), ..Filter::default() }).unwrap()
}

fn clear(journal: &Journal, what: Clearing) -> u64 {
    let record = Record { detail: Some(json!({ "by": "user" })), ..Record::change(at(0), "journal.clear") };
    wait(journal.clear(what, record)).unwrap()
}

/// Whether the bytes stand in any file of the journal.
fn is_on_disk(world: &World, text: &str) -> bool {
    std::fs::read_dir(world.path()).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[test]
fn decisions_and_ends_go_changes_and_the_record_of_it_stay() {
    let world = World::new();
    let (journal, _) = world.open();
    let (change, record) = install("weather");
    wait(journal.change(change, record)).unwrap();
    for n in 0..1200 {
        wait(journal.record(allowed(n))).unwrap();
        if n % 100 == 0 {
            journal.note(Record { target: Some("host.example.org:1".into()), ..Record::flow_end(at(n)) });
            wait(journal.record(Record::change(at(n), "grant.give"))).unwrap();
        }
    }
    let before = Checkpoint::of(world.path()).unwrap();
    assert!(is_on_disk(&world, "host-7.example.org"));
    assert_eq!(clear(&journal, Clearing::default()), 1212);
    assert!(!is_on_disk(&world, "host-"), "what was cleared is still in a file");
    assert!(!is_on_disk(&world, "host.example.org"));
    let left = rows(&journal);
    assert!(left.iter().all(|row| row.kind == "change"));
    assert_eq!(left.iter().filter(|row| row.action.as_deref() == Some("grant.give")).count(), 12);
    assert_eq!(left[0].action.as_deref(), Some("app.install"));
    let told = left.last().unwrap();
    assert_eq!((told.action.as_deref(), told.count), (Some("journal.clear"), 1212));
    assert_eq!(told.detail, Some(json!({ "by": "user", "records": 1212, "through": 1225 })));
    // A second one finds nothing and leaves no record.
    assert_eq!(clear(&journal, Clearing::default()), 0);
    assert_eq!(rows(&journal).len(), left.len());
    wait(journal.record(allowed(1))).unwrap();
    journal.close();
    let report = verify_against(world.path(), &before).unwrap();
    assert_eq!((report.pruned, report.records), (1212, 15));
    assert_eq!(report.checkpoint.unwrap().found, Found::Seal);
}

#[test]
fn only_what_is_older_goes_wherever_it_stands() {
    let world = World::new();
    let (journal, _) = world.open();
    for n in [5, 1, 9, 2, 8, 3] {
        wait(journal.record(allowed(n))).unwrap();
    }
    assert_eq!(clear(&journal, Clearing { before: Some(at(5)), ..Clearing::default() }), 3);
    let left: Vec<u64> = rows(&journal).iter().map(|row| row.seq).collect();
    assert_eq!(left, [1, 3, 5, 7]);
    // Retention and further clearings go on from there.
    assert_eq!(clear(&journal, Clearing { before: Some(at(9)), ..Clearing::default() }), 2);
    assert_eq!(clear(&journal, Clearing::default()), 1);
    assert_eq!(rows(&journal).iter().map(|row| row.seq).collect::<Vec<_>>(), [7, 8, 9]);
    journal.close();
    assert_eq!(world.verify().unwrap().pruned, 6);
}

#[test]
fn of_one_app_the_personal_fields_go_and_the_links_stay() {
    let world = World::new();
    let (journal, _) = world.open();
    let (change, record) = install("weather");
    wait(journal.change(change, record)).unwrap();
    for n in 0..20 {
        wait(journal.record(allowed(n))).unwrap();
        wait(journal.record(refused("game", &format!("target-{n}:1"), Reason::PermissionMissing))).unwrap();
    }
    let before = Checkpoint::of(world.path()).unwrap();
    let of_weather = Clearing { app: Some(app("weather")), before: Some(at(15)) };
    assert_eq!(clear(&journal, of_weather), 15);
    let shown = |id: &str| journal.query(&Filter { app: Some(app(id)), ..Filter::default() }).unwrap();
    assert_eq!(shown("weather").len(), 6, "the installation and five younger ones");
    assert_eq!(shown("game").len(), 20);
    assert!(!is_on_disk(&world, "host-14.example.org"));
    assert!(is_on_disk(&world, "host-15.example.org"));
    let left = rows(&journal);
    let told = left.last().unwrap();
    assert_eq!((told.action.as_deref(), told.count), (Some("journal.erase"), 15));
    assert_eq!(left.iter().filter(|row| row.erased).count(), 15);
    let nobody = Clearing { app: Some(app("nobody")), ..Clearing::default() };
    assert_eq!(clear(&journal, nobody), 0);
    assert_eq!(rows(&journal).len(), left.len());
    journal.close();
    let report = verify_against(world.path(), &before).unwrap();
    assert_eq!((report.erased, report.pruned), (15, 0));
}

#[test]
fn what_was_only_counted_does_not_come_back_after_it() {
    let world = World::new();
    let (journal, _) = world.open();
    for _ in 0..5 {
        wait(journal.record(refused("game", "secret-target:1", Reason::PermissionMissing))).unwrap();
    }
    assert_eq!(clear(&journal, Clearing::default()), 2, "the first, and the count of the others");
    journal.close();
    assert!(!is_on_disk(&world, "secret-target"));
    let (journal, _) = world.open();
    assert_eq!(rows(&journal).iter().map(|row| row.kind.clone()).collect::<Vec<_>>(), ["change"]);
}

#[test]
fn a_clearing_cannot_be_made_up_without_the_key() {
    for sql in [
        "DELETE FROM records WHERE action = 'journal.clear'",
        "UPDATE records SET count = 9 WHERE action = 'journal.clear'",
        "DELETE FROM gaps",
        "DELETE FROM records WHERE seq = 3; UPDATE gaps SET last = 3 WHERE first = 1",
    ] {
        let world = World::new();
        let (journal, _) = world.open();
        for n in 0..6 {
            wait(journal.record(allowed(n))).unwrap();
        }
        assert_eq!(clear(&journal, Clearing { before: Some(at(2)), ..Clearing::default() }), 2);
        journal.close();
        world.verify().unwrap();
        world.sql(sql);
        assert!(matches!(world.verify(), Err(VerifyError::Broken(_))), "{sql}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is written, cleared and erased in whatever order: a reader sees exactly what should be left, and the
    /// chain holds against each checkpoint taken on the way.
    #[test]
    fn whatever_is_cleared_the_chain_and_every_checkpoint_hold(
        steps in proptest::collection::vec((0_u8..5, 0_u64..20), 1..25),
    ) {
        let world = World::new();
        let (journal, _) = world.open();
        // Of each record that is expected: its number, its time, and whether it is a change.
        let mut expected: Vec<(u64, u64, bool)> = Vec::new();
        let mut checkpoints = Vec::new();
        for (step, n) in steps {
            match step {
                0 | 1 => expected.push((wait(journal.record(allowed(n))).unwrap(), n, false)),
                2 => expected.push((wait(journal.record(Record::change(at(n), "grant.give"))).unwrap(), n, true)),
                3 => {
                    let gone = clear(&journal, Clearing { before: Some(at(n)), ..Clearing::default() });
                    let there = expected.len();
                    expected.retain(|(_, time, change)| *change || *time >= n);
                    prop_assert_eq!(gone, (there - expected.len()) as u64);
                    if gone > 0 {
                        let last = rows(&journal).last().unwrap().seq;
                        expected.push((last, u64::MAX, true));
                    }
                }
                _ => {
                    if clear(&journal, Clearing { app: Some(app("weather")), before: Some(at(n)) }) > 0 {
                        expected.push((rows(&journal).last().unwrap().seq, u64::MAX, true));
                    }
                }
            }
            checkpoints.push(Checkpoint::of(world.path()).unwrap());
        }
        let shown: Vec<u64> = rows(&journal).iter().map(|row| row.seq).collect();
        prop_assert_eq!(shown, expected.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>());
        journal.close();
        for checkpoint in &checkpoints {
            let report = verify_against(world.path(), checkpoint);
            prop_assert!(report.is_ok(), "{report:?}");
        }
    }
}
