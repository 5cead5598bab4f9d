//! Checkpoints: an older copy that was put back, another journal and a rewritten past are told from one that goes on,
//! also after retention and clearing, and also where the seals of then are gone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::path::Path;

use common::{World, allowed, at, wait};
use mexe_journal::{
    Checkpoint, CheckpointError, Clearing, Found, JournalError, Mismatch, Record, VerifyError, verify_against,
};

/// Opens the journal, writes so many records, and closes it.
fn go_on(world: &World, records: u64) {
    let (journal, _) = world.open();
    for n in 0..records {
        wait(journal.record(allowed(n))).unwrap();
    }
    journal.close();
}

fn copy(from: &Path, to: &Path) {
    for file in ["mexegate.db", "journal.key"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[track_caller]
fn mismatch(world: &World, checkpoint: &Checkpoint) -> Mismatch {
    let quick = checkpoint.mismatch(world.path()).unwrap();
    match verify_against(world.path(), checkpoint) {
        Err(VerifyError::Checkpoint(found)) => {
            assert_eq!(quick.as_ref(), Some(&found));
            found
        }
        other => panic!("not found: {other:?}"),
    }
}

#[test]
fn a_journal_goes_on_from_each_of_its_checkpoints() {
    let world = World::new();
    let mut taken = Vec::new();
    for round in 0..4 {
        go_on(&world, round);
        taken.push(Checkpoint::of(world.path()).unwrap());
    }
    for checkpoint in taken {
        let again = Checkpoint::parse(&checkpoint.document()).unwrap();
        assert_eq!(again, checkpoint);
        let report = verify_against(world.path(), &again).unwrap();
        assert_eq!(report.checkpoint.unwrap().found, Found::Seal);
    }
}

#[test]
fn an_older_copy_that_was_put_back_is_found_by_a_checkpoint_and_by_nothing_else() {
    let world = World::new();
    go_on(&world, 3);
    let older = tempfile::tempdir().unwrap();
    copy(world.path(), older.path());
    go_on(&world, 3);
    let checkpoint = Checkpoint::of(world.path()).unwrap();
    // The same also where nothing was written but a seal.
    copy(older.path(), world.path());
    assert_eq!(world.verify().unwrap().head_seq, 3);
    let found = mismatch(&world, &checkpoint);
    assert!(matches!(found, Mismatch::RolledBack { seq: 3, wanted_seq: 6, .. }), "{found:?}");
    assert!(found.to_string().starts_with("rolled back behind the checkpoint"), "{found}");
    // The copy goes on, and is farther than the checkpoint before long.
    for _ in 0..4 {
        go_on(&world, 3);
    }
    world.verify().unwrap();
    assert_eq!(mismatch(&world, &checkpoint), Mismatch::Rewritten { seq: 6 });
    // Clearing it does not hide that.
    let (journal, _) = world.open();
    assert!(wait(journal.clear(Clearing::default(), Record::change(at(0), "journal.clear"))).unwrap() > 0);
    journal.close();
    assert_eq!(mismatch(&world, &checkpoint), Mismatch::Rewritten { seq: 6 });
}

#[test]
fn another_journal_and_none_are_not_the_one_that_was_checkpointed() {
    let (world, other) = (World::with_records(4), World::with_records(4));
    let checkpoint = Checkpoint::of(world.path()).unwrap();
    assert!(matches!(mismatch(&other, &checkpoint), Mismatch::AnotherJournal { .. }));
    let empty = World::new();
    assert!(matches!(
        verify_against(empty.path(), &checkpoint),
        Err(VerifyError::Unreadable(JournalError::Missing { .. }))
    ));
    std::fs::write(empty.database(), "").unwrap();
    assert!(matches!(
        verify_against(empty.path(), &checkpoint),
        Err(VerifyError::Checkpoint(Mismatch::AnotherJournal { .. }))
    ));
    assert!(matches!(Checkpoint::of(empty.path()), Err(JournalError::NotBegun { .. })));
}

#[test]
fn where_the_seals_of_then_are_gone_it_says_how_little_is_left_to_prove() {
    let mut world = World::new();
    // No room for seals that nothing needs.
    world.options.max_size = 0;
    go_on(&world, 3);
    let (journal, _) = world.open();
    wait(journal.record(Record::change(at(0), "grant.give"))).unwrap();
    journal.close();
    let at_the_change = Checkpoint::of(world.path()).unwrap();
    assert_eq!(at_the_change.seq(), 4);
    go_on(&world, 2);
    let between = Checkpoint::of(world.path()).unwrap();
    go_on(&world, 2);
    let (journal, _) = world.open();
    assert_eq!(wait(journal.clear(Clearing::default(), Record::change(at(0), "journal.clear"))), Ok(7));
    journal.close();
    let found = |checkpoint| verify_against(world.path(), checkpoint).unwrap().checkpoint.unwrap().found;
    assert_eq!(found(&at_the_change), Found::Record);
    assert_eq!(found(&between), Found::TakenOut);
    // The record that is left is compared all the same.
    let other = World::new();
    copy(world.path(), other.path());
    other.sql("UPDATE records SET hash = zeroblob(32) WHERE seq = 4");
    assert_eq!(mismatch(&other, &at_the_change), Mismatch::Rewritten { seq: 4 });
}

#[test]
fn a_chain_that_is_broken_is_broken_with_a_checkpoint_too() {
    let world = World::with_records(10);
    let checkpoint = Checkpoint::of(world.path()).unwrap();
    world.sql("UPDATE records SET target = 'elsewhere:1' WHERE seq = 3");
    assert_eq!(checkpoint.mismatch(world.path()).unwrap(), None);
    assert!(matches!(verify_against(world.path(), &checkpoint), Err(VerifyError::Broken(_))));
}

#[test]
fn a_document_that_was_changed_anywhere_is_none() {
    let world = World::with_records(4);
    let text = Checkpoint::of(world.path()).unwrap().document();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in document.as_object().unwrap() {
        let mut changed = document.clone();
        changed[key] = match value {
            serde_json::Value::String(text) => {
                let last = if text.ends_with('0') { '1' } else { '0' };
                let mut changed = text.clone();
                changed.pop();
                changed.push(last);
                changed.into()
            }
            number => (number.as_u64().unwrap() + 1).into(),
        };
        let read = Checkpoint::parse(&changed.to_string());
        match key.as_str() {
            // Not signed: the head's hash hangs on it, and the journal is compared by it.
            "journal" => assert!(matches!(mismatch(&world, &read.unwrap()), Mismatch::AnotherJournal { .. })),
            "format" | "at" | "at_ms" => assert!(matches!(read, Err(CheckpointError::Malformed(_))), "{key}"),
            _ => assert_eq!(read, Err(CheckpointError::Signature), "{key}"),
        }
        let mut less = document.clone();
        less.as_object_mut().unwrap().remove(key);
        assert!(matches!(Checkpoint::parse(&less.to_string()), Err(CheckpointError::Malformed(_))), "{key}");
    }
    for text in ["", "{}", "[]", "null", &format!("{text}{text}")] {
        assert!(matches!(Checkpoint::parse(text), Err(CheckpointError::Malformed(_))), "{text}");
    }
}
