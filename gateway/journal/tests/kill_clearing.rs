//! A gate that is killed while it clears: all of it or nothing is gone for a reader, the next start finishes what was
//! begun, and the chain holds against a checkpoint of before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, allowed, app, at, wait};
use mexe_journal::{Checkpoint, Clearing, Filter, Journal, Options, Record, query, verify_against};

const DIR: &str = "MEXE_JOURNAL_TEST_DIR";
const OF_ONE_APP: &str = "MEXE_JOURNAL_TEST_OF_ONE_APP";
const RECORDS: u64 = 3000;
const CHANGES: u64 = 30;

/// The child: clears what the other test wrote, and says when it begins and when it is done.
#[test]
#[ignore = "the killed process of the other test"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { panic!("started by the other test only") };
    let (journal, _) = Journal::open(Path::new(&dir), Options::default()).unwrap();
    let told = |line: &str| std::io::stdout().write_all(line.as_bytes()).unwrap();
    told("\nbegins\n");
    let app = std::env::var_os(OF_ONE_APP).map(|_| app("weather"));
    let what = Clearing { app, before: None };
    let cleared = wait(journal.clear(what, Record::change(at(0), "journal.clear"))).unwrap();
    told(&format!("cleared {cleared}\n"));
    std::thread::sleep(Duration::from_secs(60));
}

/// Runs the child and kills it so long after it began; whether it said that it was done.
fn run_and_kill(dir: &Path, of_one_app: bool, after: Duration) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"]).env(DIR, dir);
    if of_one_app {
        command.env(OF_ONE_APP, "yes");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim_end() != "begins" {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child ended by itself");
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    let expected = format!("cleared {RECORDS}\n");
    assert!(expected.starts_with(&line), "{line}");
    line == expected
}

fn filled() -> (World, Checkpoint) {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        for n in 0..RECORDS {
            if n % (RECORDS / CHANGES) == 0 {
                journal.record(Record::change(at(n), "grant.give")).await.unwrap();
            }
            journal.note(allowed(n));
        }
    });
    journal.close();
    let checkpoint = Checkpoint::of(world.path()).unwrap();
    (world, checkpoint)
}

fn is_on_disk(world: &World, text: &str) -> bool {
    ["mexegate.db", "mexegate.db-wal"].iter().any(|file| {
        let bytes = std::fs::read(world.path().join(file)).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[test]
fn a_clearing_that_is_killed_is_done_whole_or_not_at_all() {
    let (mut begun, mut unfinished) = (0, 0);
    for round in 0..16 {
        let of_one_app = round % 4 == 3;
        let (world, checkpoint) = filled();
        let done = run_and_kill(world.path(), of_one_app, Duration::from_millis(round * 9));
        let report = verify_against(world.path(), &checkpoint).unwrap();
        let gone = report.pruned.max(report.erased);
        assert!(gone == RECORDS || (gone == 0 && !done), "round {round}: {report:?}");
        let all = Filter { limit: Some(100_000), ..Filter::default() };
        let seen = |rows: &[mexe_journal::Row]| rows.iter().filter(|row| row.target.is_some()).count();
        let rows = query(world.path(), &all).unwrap();
        assert_eq!(seen(&rows) as u64, RECORDS - gone, "round {round}");
        begun += u64::from(gone > 0);
        unfinished += u64::from(gone > 0 && is_on_disk(&world, ".example.org"));

        // The next start goes on with it by itself.
        let (journal, _) = world.open();
        let began = Instant::now();
        let left = "SELECT count(*) FROM records WHERE target IS NOT NULL";
        while gone > 0 && world.number(left) > 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "round {round}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let rows = query(world.path(), &all).unwrap();
        assert_eq!(seen(&rows) as u64, RECORDS - gone, "round {round}");
        assert_eq!(
            rows.iter().filter(|row| row.kind == "change").count() as u64,
            CHANGES + u64::from(gone > 0)
        );
        wait(journal.record(allowed(1))).unwrap();
        journal.close();
        assert!(gone == 0 || !is_on_disk(&world, "host-77.example.org"), "round {round}");
        verify_against(world.path(), &checkpoint).unwrap();
    }
    eprintln!("16 kills: {begun} had begun, {unfinished} of them had left something in the files");
    assert!(begun > 0, "every child was killed before it began");
}
