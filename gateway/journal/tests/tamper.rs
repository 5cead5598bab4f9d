//! Tampering: whatever is done to the files behind the gate's back, `verify` names the record.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{World, allowed, app, wait};
use mexe_journal::{Broken, Erasure, Journal, JournalError, Record, VerifyError};

/// Does that to a sound journal of 20 records, and answers what `verify` says of it.
fn after(sql: &str) -> Broken {
    let world = World::with_records(20);
    assert_eq!(world.verify().unwrap().records, 20);
    world.sql(sql);
    broken(&world)
}

fn broken(world: &World) -> Broken {
    match world.verify() {
        Err(VerifyError::Broken(broken)) => broken,
        other => panic!("not found: {other:?}"),
    }
}

#[test]
fn an_edited_field_is_found_whichever_it_is() {
    let columns = [
        "at = at + 1",
        "kind = 'change'",
        "flow = 7",
        "domain = 'operator'",
        "action = 'network.call'",
        "decision = 'deny'",
        "reason = 'run-ended'",
        "grant_id = 9",
        "rule = 'x'",
        "binding = 'measured'",
        "ingress = 'http'",
        "class = 'streaming'",
        "bytes_up = 1",
        "bytes_down = 1",
        "duration_ms = 1",
        "count = 2",
        "app = 'other'",
        "run = 9",
        "target = 'x:1'",
        "addresses = '192.0.2.1:1'",
        "detail = '{}'",
        "salt = zeroblob(16)",
        "commitment = zeroblob(32)",
        "hash = zeroblob(32)",
        "app = NULL",
        "salt = NULL",
    ];
    for column in columns {
        assert_eq!(after(&format!("UPDATE records SET {column} WHERE seq = 7")).seq, 7, "{column}");
    }
}

#[test]
fn personal_fields_taken_out_without_an_erasure_are_found() {
    let out = "app = NULL, run = NULL, target = NULL, addresses = NULL, detail = NULL, salt = NULL";
    let found = after(&format!("UPDATE records SET {out} WHERE seq = 7"));
    assert_eq!(found.seq, 7);
    assert!(found.what.contains("no erasure tells of it"), "{found}");
}

#[test]
fn a_forged_erasure_is_found() {
    let out = "app = NULL, run = NULL, target = NULL, addresses = NULL, detail = NULL, salt = NULL";
    let sql = format!(
        "UPDATE records SET {out} WHERE seq = 7; INSERT INTO erasures VALUES (7, x'0000000000000007')"
    );
    assert!(after(&sql).what.contains("no record tells of"), "{sql}");
    // Neither may a true one be stretched to further records.
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        journal.record(allowed(1)).await.unwrap();
        journal.record(Record { app: Some(app("other")), ..allowed(2) }).await.unwrap();
        journal
            .erase(Erasure::App(app("other")), Record::change(common::at(3), "journal.erase"))
            .await
            .unwrap();
    });
    journal.close();
    assert_eq!(world.verify().unwrap().erased, 1);
    world.sql(&format!(
        "UPDATE records SET {out} WHERE seq = 1; UPDATE erasures SET erased = x'00000000000000010000000000000002'"
    ));
    assert_eq!(broken(&world).seq, 3);
}

#[test]
fn a_removed_record_is_found_wherever_it_was() {
    assert_eq!(after("DELETE FROM records WHERE seq = 1").seq, 2);
    assert_eq!(after("DELETE FROM records WHERE seq = 7").seq, 8);
    let cut = after("DELETE FROM records WHERE seq > 15");
    assert!(cut.seq == 15 && cut.what.contains("the records end here"), "{cut}");
    assert!(after("DELETE FROM records").what.contains("the records end here"));
}

#[test]
fn records_that_changed_places_are_found() {
    let swap = "UPDATE records SET seq = 100 WHERE seq = 7; UPDATE records SET seq = 7 WHERE seq = 8; \
                UPDATE records SET seq = 8 WHERE seq = 100";
    assert_eq!(after(swap).seq, 7);
}

#[test]
fn cutting_off_the_end_together_with_its_seals_is_found_by_the_key() {
    let world = World::with_records(20);
    // The seals after the 10th record go too, so that records and seals agree.
    world.sql("DELETE FROM records WHERE seq > 10; DELETE FROM seals WHERE seq > 10");
    let found = broken(&world);
    assert!(found.what.contains("does not hold the key"), "{found}");
    // The gate does not build on it either.
    assert!(Journal::open(world.path(), world.options.clone()).is_err());
    let world = World::with_records(20);
    world.sql("DELETE FROM seals");
    assert!(broken(&world).what.contains("there is no seal"));
    assert!(Journal::open(world.path(), world.options.clone()).is_err());
}

#[test]
fn a_journal_that_was_emptied_is_found_by_the_key() {
    let tables = [
        "records",
        "seals",
        "gaps",
        "erasures",
        "grants",
        "schedules",
        "apps",
        "roots",
        "trust",
        "lists",
        "usage",
    ];
    let emptied = tables.map(|table| format!("DELETE FROM {table};")).concat();
    let with_identity = format!("{emptied} DELETE FROM identity");
    let dropped = tables.map(|table| format!("DROP TABLE {table};")).concat()
        + "DROP TABLE counters; DROP TABLE identity; PRAGMA user_version = 0; PRAGMA application_id = 0";
    for sql in [&emptied, &with_identity, &dropped] {
        let found = after(sql);
        assert!(found.what.contains("never had one"), "{sql}: {found}");
    }
    // The gate does not go on with the identity of what it was.
    let world = World::with_records(20);
    world.sql(&emptied);
    assert!(matches!(
        Journal::open(world.path(), world.options.clone()),
        Err(JournalError::KeyForeign { .. })
    ));
    // What is kept beside the records does not stand without a seal either.
    let world = World::new();
    let (journal, _) = world.open();
    let (change, record) = common::install("weather");
    wait(journal.change(change, record)).unwrap();
    journal.close();
    world.sql("DELETE FROM seals; DELETE FROM records");
    assert!(broken(&world).what.contains("there is no seal"));
}

#[test]
fn a_seal_that_was_edited_removed_or_moved_is_found() {
    for sql in [
        "UPDATE seals SET signature = zeroblob(64) WHERE id = 2",
        "UPDATE seals SET seq = seq - 1 WHERE id = 2",
        "UPDATE seals SET at = at + 1 WHERE id = 2",
        "UPDATE seals SET adopted = 5 WHERE id = 2",
        "UPDATE seals SET head = zeroblob(32) WHERE id = 2",
        "UPDATE seals SET public = zeroblob(32) WHERE id = 2",
        "UPDATE seals SET next = zeroblob(32) WHERE id = 2",
        "DELETE FROM seals WHERE id = 1",
        "DELETE FROM seals WHERE id = 2",
        "UPDATE seals SET id = 100 WHERE id = 2; UPDATE seals SET id = 2 WHERE id = 3; UPDATE seals SET id = 3 WHERE id = 100",
        "UPDATE identity SET fingerprint = zeroblob(32)",
        "DELETE FROM identity",
    ] {
        let _ = after(sql);
    }
}

#[test]
fn deletions_cannot_be_passed_off_as_retention() {
    let gap = "INSERT INTO gaps SELECT 5, 8, (SELECT hash FROM records WHERE seq = 4), hash FROM records WHERE seq = 8; \
               DELETE FROM records WHERE seq BETWEEN 5 AND 8";
    let found = after(gap);
    assert!(found.what.contains("no record tells of it"), "{found}");
}

#[test]
fn a_part_put_back_from_an_older_copy_is_found() {
    let world = World::with_records(10);
    let (database, key) =
        (std::fs::read(world.database()).unwrap(), std::fs::read(world.path().join("journal.key")).unwrap());
    let (journal, _) = world.open();
    wait(async {
        for n in 10..20 {
            journal.record(allowed(n)).await.unwrap();
        }
    });
    journal.close();
    let (newer, newer_key) =
        (std::fs::read(world.database()).unwrap(), std::fs::read(world.path().join("journal.key")).unwrap());
    // The older database with the newer key.
    std::fs::write(world.database(), &database).unwrap();
    assert!(broken(&world).what.contains("does not hold the key"));
    // The newer database with the older key.
    std::fs::write(world.database(), &newer).unwrap();
    std::fs::write(world.path().join("journal.key"), &key).unwrap();
    assert!(broken(&world).what.contains("does not hold the key"));
    std::fs::write(world.path().join("journal.key"), &newer_key).unwrap();
    assert_eq!(world.verify().unwrap().records, 20);
    // Both older: this is what only a checkpoint kept elsewhere can tell.
    std::fs::write(world.database(), &database).unwrap();
    std::fs::write(world.path().join("journal.key"), &key).unwrap();
    assert_eq!(world.verify().unwrap().records, 10);
}

#[test]
fn a_chain_computed_anew_after_an_edit_is_found_by_its_seals() {
    // Another journal's records under the seals of this one: each chain is sound in itself.
    let (world, other) = (World::with_records(20), World::with_records(20));
    world.sql(&format!(
        "ATTACH '{}' AS other; DELETE FROM records; INSERT INTO records SELECT * FROM other.records",
        other.database().display()
    ));
    let _ = broken(&world);
    // With its seals and its identity as well, it is the key that does not fit.
    world.sql(&format!(
        "ATTACH '{}' AS other; DELETE FROM seals; INSERT INTO seals SELECT * FROM other.seals; \
         DELETE FROM identity; INSERT INTO identity SELECT * FROM other.identity",
        other.database().display()
    ));
    assert!(broken(&world).what.contains("does not hold the key"));
}

#[test]
fn a_running_gates_journal_verifies_again_and_again() {
    let world = World::new();
    let (journal, _) = world.open();
    let began = std::time::Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let writing = runtime.spawn(async move {
        let mut n = 0;
        while began.elapsed() < std::time::Duration::from_secs(4) {
            journal.record(allowed(n)).await.unwrap();
            n += 1;
        }
        n
    });
    let mut looks = 0;
    while !writing.is_finished() {
        let report = world.verify().unwrap();
        assert_eq!(report.head_seq, report.records);
        looks += 1;
    }
    let written = runtime.block_on(writing).unwrap();
    drop(runtime);
    let report = world.verify().unwrap();
    assert_eq!((report.records, report.unsealed_tail), (written, 0));
    assert!(looks > 1 && report.seals > 3, "{looks} {report:?}");
}
