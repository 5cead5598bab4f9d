//! Retention: whole days go, oldest first, changes stay longer, the size is kept, and the chain verifies all the while.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{World, allowed, wait};
use mexe_journal::{Filter, Journal, Kind, Record, Row, VerifyError};
use mexe_model::WallTime;

const DAY: u64 = 86_400_000;

/// That many days before this test began.
fn days_ago(days: u64) -> WallTime {
    static BEGAN: LazyLock<u64> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        u64::try_from(now).unwrap()
    });
    WallTime::from_millis(*BEGAN - days * DAY)
}

/// One record of each kind for each day from `from` days ago to today.
fn fill(journal: &Journal, from: u64) {
    wait(async {
        for days in (0..=from).rev() {
            journal.record(Record { at: days_ago(days), ..allowed(days) }).await.unwrap();
            journal.record(Record::change(days_ago(days), "grant.put")).await.unwrap();
            journal.record(Record::flow_end(days_ago(days))).await.unwrap();
        }
    });
}

fn rows(journal: &Journal) -> Vec<Row> {
    journal.query(&Filter { limit: Some(100_000), ..Filter::default() }).unwrap()
}

#[test]
fn old_decisions_go_by_whole_days_and_changes_stay_for_their_own_time() {
    let mut world = World::new();
    world.options.retention = Duration::from_secs(10 * 86_400);
    world.options.change_retention = Duration::from_secs(20 * 86_400);
    let (journal, _) = world.open();
    fill(&journal, 30);
    // Days 11 to 30 lose two records each, days 21 to 30 the third as well.
    assert_eq!(wait(journal.tidy()), Ok(20 * 2 + 10));
    assert_eq!(wait(journal.tidy()), Ok(0));
    let left = rows(&journal);
    assert!(left.iter().filter(|row| row.kind != "change").all(|row| row.at >= days_ago(11)));
    assert_eq!(left.iter().filter(|row| row.kind != "change").count(), 22);
    assert_eq!(left.iter().filter(|row| row.action.as_deref() == Some("grant.put")).count(), 21);
    assert_eq!(left.last().unwrap().action.as_deref(), Some("journal.prune"));
    let report = world.verify().unwrap();
    assert_eq!((report.pruned, report.unsealed_tail), (50, 0));
    // It goes on from there, is opened again, and prunes again.
    wait(journal.record(allowed(1))).unwrap();
    journal.close();
    world.options.retention = Duration::from_secs(5 * 86_400);
    let (journal, loaded) = world.open();
    assert_eq!(loaded.head.seq, 95);
    assert_eq!(wait(journal.tidy()), Ok(10));
    journal.close();
    let report = world.verify().unwrap();
    assert_eq!((report.pruned, report.head_seq), (60, 96));
    assert_eq!(report.records, 36);
}

#[test]
fn seals_go_with_what_they_sealed_and_then_the_identity_is_a_claim() {
    let mut world = World::new();
    world.options.retention = Duration::from_secs(10 * 86_400);
    for days in [40, 30, 20] {
        let (journal, _) = world.open();
        wait(journal.record(Record { at: days_ago(days), ..allowed(days) })).unwrap();
        journal.close();
    }
    let identity = world.verify().unwrap();
    assert!(identity.identity_proven);
    // A tenth of the size is for seals: here there is no room for any that is not needed.
    world.options.max_size = 0;
    let (journal, _) = world.open();
    wait(journal.record(allowed(1))).unwrap();
    assert_eq!(wait(journal.tidy()), Ok(3));
    journal.close();
    let report = world.verify().unwrap();
    assert_eq!(report.identity, identity.identity);
    assert!(!report.identity_proven);
    assert!(report.seals < identity.seals);
    // Whoever tries to claim another identity is found out.
    world.sql("UPDATE identity SET fingerprint = zeroblob(32)");
    assert!(matches!(world.verify(), Err(VerifyError::Broken(_))));
}

#[test]
fn with_room_for_them_the_seals_stay_and_prove_the_identity() {
    let mut world = World::new();
    world.options.retention = Duration::from_secs(10 * 86_400);
    for days in [40, 30, 20] {
        let (journal, _) = world.open();
        wait(journal.record(Record { at: days_ago(days), ..allowed(days) })).unwrap();
        journal.close();
    }
    let before = world.verify().unwrap();
    let (journal, _) = world.open();
    assert_eq!(wait(journal.tidy()), Ok(3));
    journal.close();
    let report = world.verify().unwrap();
    assert!(report.identity_proven && report.seals > before.seals, "{report:?}");
    assert_eq!((report.identity, report.pruned), (before.identity, 3));
}

#[test]
fn what_is_left_after_pruning_cannot_be_altered_unnoticed() {
    for sql in [
        "UPDATE records SET at = at + 1 WHERE seq = 2",
        "UPDATE records SET at = at + 1 WHERE seq = 5",
        "UPDATE records SET at = at + 1 WHERE seq = (SELECT max(seq) FROM records)",
        "DELETE FROM records WHERE seq = 2",
        "DELETE FROM records WHERE action = 'journal.prune'",
        "UPDATE gaps SET hash = zeroblob(32) WHERE first = 1",
        "UPDATE gaps SET before = zeroblob(32) WHERE first = 3",
        "UPDATE gaps SET last = last + 1 WHERE first = 3; DELETE FROM records WHERE seq = 5",
        "DELETE FROM gaps WHERE first = 1",
        "DELETE FROM gaps",
        "DELETE FROM seals WHERE id = (SELECT min(id) FROM seals)",
    ] {
        let mut world = World::new();
        world.options.retention = Duration::from_secs(10 * 86_400);
        let (journal, _) = world.open();
        fill(&journal, 15);
        assert_eq!(wait(journal.tidy()), Ok(10));
        journal.close();
        world.verify().unwrap();
        world.sql(sql);
        assert!(matches!(world.verify(), Err(VerifyError::Broken(_))), "{sql}");
    }
}

#[test]
fn one_record_from_a_wrong_clock_drags_no_other_with_it() {
    let mut world = World::new();
    world.options.retention = Duration::from_secs(10 * 86_400);
    let (journal, _) = world.open();
    wait(async {
        for at in [days_ago(30), WallTime::from_secs(4_000_000_000), days_ago(29), days_ago(2)] {
            journal.record(Record { at, ..allowed(1) }).await.unwrap();
        }
        // The clock stood in 1970 for a moment.
        journal.record(Record { at: WallTime::from_secs(5), ..allowed(1) }).await.unwrap();
        journal.record(Record { at: days_ago(1), ..allowed(1) }).await.unwrap();
    });
    assert_eq!(wait(journal.tidy()), Ok(3));
    assert_eq!(rows(&journal).iter().map(|row| row.seq).collect::<Vec<_>>(), [4, 5, 6, 7]);
    journal.close();
    world.verify().unwrap();
}

#[test]
fn a_journal_that_grows_too_large_loses_its_oldest_days_first_and_no_changes() {
    let mut world = World::new();
    let (journal, _) = world.open();
    let large = "x".repeat(2000);
    wait(async {
        journal.record(Record::change(days_ago(3), "app.install")).await.unwrap();
        for days in [3, 2, 1] {
            for n in 0..400 {
                let record = Record { at: days_ago(days), target: Some(large.clone()), ..allowed(n) };
                journal.record(record).await.unwrap();
            }
        }
    });
    journal.close();
    // Three days at 1.6 MB, one record a page: one has to go.
    world.options.max_size = 5_300_000;
    let (journal, _) = world.open();
    assert_eq!(wait(journal.tidy()), Ok(400));
    let left = rows(&journal);
    assert_eq!(left[0].action.as_deref(), Some("app.install"));
    assert!(left[1].at >= days_ago(2) && left.len() == 802);
    assert_eq!(wait(journal.tidy()), Ok(0));
    // One day alone that is too large loses its oldest part.
    wait(async {
        for n in 0..3000 {
            let record = Record { at: days_ago(0), target: Some(large.clone()), ..allowed(n) };
            journal.record(record).await.unwrap();
        }
        while journal.tidy().await.unwrap() > 0 {}
    });
    let left = rows(&journal);
    assert!(left.len() > 700 && left.len() < 1200, "{}", left.len());
    assert_eq!(left[0].action.as_deref(), Some("app.install"));
    assert!(left.iter().filter(|row| row.kind == Kind::Decision.as_str()).all(|row| row.at >= days_ago(1)));
    journal.close();
    world.verify().unwrap();
}

#[test]
fn a_pruning_that_was_cut_short_verifies_and_is_finished_after_the_restart() {
    let mut world = World::new();
    world.options.retention = Duration::from_secs(10 * 86_400);
    let (journal, _) = world.open();
    wait(async {
        for n in 0..3000 {
            journal.record(Record { at: days_ago(20), ..allowed(n) }).await.unwrap();
        }
        journal.record(allowed(1)).await.unwrap();
        // Not waited for: closed in the midst of it.
        let begun = async {
            while world.number("SELECT count(*) FROM gaps") == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = journal.tidy() => {}
            () = begun => {}
        }
    });
    journal.close();
    let report = world.verify().unwrap();
    assert_eq!((report.pruned, report.records), (3000, 2));
    let (journal, _) = world.open();
    let began = std::time::Instant::now();
    while world.number("SELECT count(*) FROM records") > 2 {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(wait(journal.tidy()), Ok(0));
    journal.close();
    assert_eq!(world.verify().unwrap().records, 2);
}
