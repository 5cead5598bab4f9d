//! A full disk, a file taken away: the journal says that it is unavailable, loses nothing that it promised to keep, and
//! is back by itself when it can be.

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
use std::process::Command;
use std::time::{Duration, Instant};

use common::{World, allowed, app, at, change_record, install, stored_grant, wait};
use mexe_journal::{Change, Filter, Journal, Kind, Options, Record, query, verify};
use mexe_model::GrantId;

const DIR: &str = "MEXE_JOURNAL_TEST_DIR";

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes until it fails; answers the last number and the failure.
async fn fill(journal: &Journal) -> (u64, String) {
    let mut last = 0;
    let large = "x".repeat(4000);
    for n in 0..1_000_000 {
        match journal.record(Record { target: Some(large.clone()), ..allowed(n) }).await {
            Ok(seq) => last = seq,
            Err(unavailable) => return (last, unavailable.to_string()),
        }
    }
    panic!("never full");
}

#[test]
fn a_full_disk_refuses_keeps_notes_and_recovers() {
    let mount = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(mount.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!(
            "not run: a small file system cannot be mounted here; the test with a limit on file size stands for it"
        );
        return;
    }
    let dir = mount.path().join("state");
    let outcome = std::panic::catch_unwind(|| full_disk(&dir));
    Command::new("umount").arg(mount.path()).status().unwrap();
    outcome.unwrap();
}

fn full_disk(dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let ballast = dir.with_file_name("ballast");
    std::fs::write(&ballast, vec![1; 20 << 20]).unwrap();
    let (journal, _) = Journal::open(dir, Options::default()).unwrap();
    let (change, record) = install("weather");
    wait(journal.change(change, record)).unwrap();
    let (last, why) = wait(fill(&journal));
    assert!(last > 10, "{last}");
    assert!(why.contains("the disk is full"), "{why}");
    let health = journal.health();
    assert!(!health.available && health.why.unwrap().contains("the disk is full"));
    // What is asked for now is refused, and is not found later.
    let grant = stored_grant(journal.next_grant_id(), "weather");
    let large = Record { target: Some("y".repeat(4 << 20)), ..change_record() };
    assert!(wait(journal.change(Change::PutGrant(grant), large)).is_err());
    for n in 0..50 {
        let detail = serde_json::json!("z".repeat(100_000));
        journal.note(Record { detail: Some(detail), ..Record::flow_end(at(n)) });
    }
    // Altogether they are more than there is room for.
    until("notes wait", || journal.health().backlog > 0 && !journal.health().available);
    assert!(verify(dir).unwrap().records >= last);
    std::fs::remove_file(&ballast).unwrap();
    // Nobody asks; it comes back by itself.
    until("it recovers", || journal.health().available && journal.health().backlog == 0);
    let next = wait(journal.record(Record { app: Some(app("weather")), ..allowed(1) })).unwrap();
    assert!(next >= last + 51);
    journal.close();
    let rows = query(dir, &Filter { kind: Some(Kind::FlowEnd), ..Filter::default() }).unwrap();
    assert_eq!(rows.len(), 50);
    let report = verify(dir).unwrap();
    assert_eq!((report.records, report.unsealed_tail), (next, 0));
    let (_, loaded) = Journal::open(dir, Options::default()).unwrap();
    assert!(loaded.grants.is_empty());
    assert_eq!(loaded.apps.len(), 1);
}

/// The child of the last test: another program that opens the database for writing, looks, and ends.
#[test]
#[ignore = "the other program of the last test"]
fn visitor() {
    let Some(dir) = std::env::var_os(DIR) else { panic!("started by the other test only") };
    let conn = rusqlite::Connection::open(Path::new(&dir).join("mexegate.db")).unwrap();
    let records: i64 = conn.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).unwrap();
    assert!(records > 0);
}

/// The child of the next test: its files may not grow past a limit, until it lifts the limit itself.
#[test]
#[ignore = "the limited process of the other test"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { panic!("started by the other test only") };
    let (journal, _) = Journal::open(Path::new(&dir), Options::default()).unwrap();
    let (last, why) = wait(fill(&journal));
    assert!(last > 10 && why.contains("the database cannot be written"), "{last} {why}");
    let again = wait(journal.record(Record { target: Some("x".repeat(100_000)), ..allowed(1) }));
    assert!(again.is_err() && !journal.health().available);
    journal.note(Record { detail: Some(serde_json::json!("z".repeat(100_000))), ..Record::flow_end(at(1)) });
    let limits = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    let lifted = rustix::process::Rlimit { current: limits.maximum, maximum: limits.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, lifted).unwrap();
    until("it recovers", || journal.health().available && journal.health().backlog == 0);
    assert_eq!(wait(journal.record(allowed(2))), Ok(last + 2));
    journal.close();
}

#[test]
fn a_limit_on_file_size_refuses_and_recovers_when_it_is_lifted() {
    let world = World::new();
    // The signal that comes with the limit is ignored, as under a shell's trap; only the soft limit is set.
    let script =
        "trap '' XFSZ; ulimit -S -f 600; exec \"$0\" --exact child --ignored --nocapture --test-threads=1";
    let output = Command::new("bash")
        .arg("-c")
        .arg(script)
        .arg(std::env::current_exe().unwrap())
        .env(DIR, world.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = world.verify().unwrap();
    assert_eq!(report.unsealed_tail, 0);
    let ends = query(world.path(), &Filter { kind: Some(Kind::FlowEnd), ..Filter::default() }).unwrap();
    assert_eq!(ends.len(), 1);
}

#[test]
fn a_database_file_that_was_replaced_or_removed_is_noticed() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(journal.record(allowed(1))).unwrap();
    let aside = world.path().join("aside");
    std::fs::rename(world.database(), &aside).unwrap();
    let why = wait(journal.record(allowed(2))).unwrap_err().to_string();
    assert!(why.contains("the database file cannot be found"), "{why}");
    std::fs::copy(&aside, world.database()).unwrap();
    let why = wait(journal.record(allowed(2))).unwrap_err().to_string();
    assert!(why.contains("the database file was replaced"), "{why}");
    std::fs::rename(&aside, world.database()).unwrap();
    until("it recovers", || journal.health().available);
    assert_eq!(wait(journal.record(allowed(2))), Ok(2));
    journal.close();
    assert_eq!(world.verify().unwrap().records, 2);
}

#[test]
fn a_log_that_was_taken_away_is_never_acknowledged_as_synced() {
    let world = World::new();
    let (journal, _) = world.open();
    let (change, record) = install("weather");
    wait(journal.change(change, record)).unwrap();
    std::fs::rename(world.path().join("mexegate.db-wal"), world.path().join("aside")).unwrap();
    let grant = Change::PutGrant(stored_grant(GrantId(1), "weather"));
    let why = wait(journal.change(grant, change_record())).unwrap_err().to_string();
    assert!(why.contains("the write-ahead log cannot be synced"), "{why}");
    // And so it stays, until a restart.
    assert!(wait(journal.record(allowed(1))).is_err());
    assert!(!journal.health().available);
    std::fs::rename(world.path().join("aside"), world.path().join("mexegate.db-wal")).unwrap();
    assert!(wait(journal.record(allowed(1))).is_err());
    drop(journal);
    let (journal, _) = world.open();
    assert_eq!(wait(journal.record(allowed(1))).ok(), Some(world.verify().unwrap().head_seq));
}

#[test]
fn another_program_that_keeps_the_database_locked_is_waited_for_and_then_told() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(journal.record(allowed(1))).unwrap();
    let conn = rusqlite::Connection::open(world.database()).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    let why = wait(journal.record(allowed(2))).unwrap_err().to_string();
    assert!(why.contains("another program keeps the database locked"), "{why}");
    conn.execute_batch("ROLLBACK").unwrap();
    until("it recovers", || journal.health().available);
    assert_eq!(wait(journal.record(allowed(2))), Ok(2));
}

#[test]
fn another_program_that_comes_and_goes_does_not_take_the_log_away() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let (journal, _) = world.open();
    wait(journal.record(allowed(1))).unwrap();
    let log = world.path().join("mexegate.db-wal");
    let before = std::fs::metadata(&log).unwrap().ino();
    let visit = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "visitor", "--ignored", "--test-threads=1"])
        .env(DIR, world.path())
        .status();
    assert!(visit.unwrap().success());
    assert_eq!(std::fs::metadata(&log).unwrap().ino(), before);
    // What prevents it is a lock of ours on the database file, which the kernel forgets when any handle is closed.
    let inode = format!(":{} ", std::fs::metadata(world.database()).unwrap().ino());
    let ours = format!(" {} ", std::process::id());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    assert!(locks.lines().any(|lock| lock.contains(&inode) && lock.contains(&ours)), "{locks}");
    let (change, record) = install("weather");
    assert_eq!(wait(journal.change(change, record)), Ok(2));
    journal.close();
    assert_eq!(world.verify().unwrap().records, 2);
}
