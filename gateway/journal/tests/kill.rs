//! A gate that is killed: a child process writes, and says what was acknowledged; it is killed at any moment. Whatever
//! it said must be there, the chain must hold, and the next one must go on from there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{World, allowed, change_record, install, stored_grant, wait};
use mexe_journal::{
    Change, Erasure, Filter, Journal, JournalError, Options, Record, VerifyError, query, verify,
};
use mexe_model::GrantId;

const DIR: &str = "MEXE_JOURNAL_TEST_DIR";
const WORLDS: u64 = 5;
const ROUNDS: u64 = 8;

/// The child: writes as fast as it can, and prints one line for each thing that was acknowledged.
#[test]
#[ignore = "the killed process of the other test"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { panic!("started by the other test only") };
    let (journal, loaded) = Journal::open(Path::new(&dir), Options::default()).unwrap();
    let told = |line: String| std::io::stdout().write_all(line.as_bytes()).unwrap();
    told(format!("\nopen {} {} {}\n", loaded.first_run_id, loaded.first_flow_id, std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (change, record) = install("weather");
        journal.change(change, record).await.unwrap();
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let journal = journal.clone();
            tasks.push(tokio::spawn(async move {
                for n in 0.. {
                    let seq = journal.record(allowed(n)).await.unwrap();
                    told(format!("record {seq} host-{n}.example.org:443\n"));
                    journal.note(Record::flow_end(common::at(n)));
                    // In bursts, so that commits are large ones and small ones, and the journal stays small.
                    if n % 16 == 0 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }));
        }
        let granting = journal.clone();
        tasks.push(tokio::spawn(async move {
            for n in 0.. {
                let id = granting.next_grant_id();
                let put = Change::PutGrant(stored_grant(id, "weather"));
                granting.change(put, change_record()).await.unwrap();
                told(format!("put {}\n", id.0));
                if n % 3 == 0 {
                    continue;
                }
                told(format!("going {}\n", id.0));
                match n % 3 {
                    1 => granting.change(Change::RevokeGrants(vec![id]), change_record()).await.unwrap(),
                    _ => granting.change(Change::SpendGrant(id), change_record()).await.unwrap(),
                };
                told(format!("gone {}\n", id.0));
            }
        }));
        tasks.push(tokio::spawn(async move {
            for n in 0.. {
                tokio::time::sleep(Duration::from_millis(30 + n % 7)).await;
                let before = Erasure::Before(common::at(n % 10));
                journal.erase(before, Record::change(common::at(0), "journal.erase")).await.unwrap();
            }
        }));
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn whatever_was_acknowledged_survives_kill_9_at_any_moment() {
    let (mut acknowledged, mut adopted) = (0, 0);
    for number in 0..WORLDS {
        let world = World::new();
        let mut told = Told::default();
        for round in 0..ROUNDS {
            // Short rounds kill it while it opens; the first one must get so far that there is a journal.
            let millis =
                if round == 0 { 100 } else { 1 + (round * 37 + number * 53) % 160 * (1 + round % 4) };
            for line in run_and_kill(world.path(), Duration::from_millis(millis)) {
                told.line(&line);
            }
            acknowledged += told.check(&world);
        }
        let report = verify(world.path()).unwrap();
        assert!(report.erased > 0 && report.unsealed_tail == 0 && !told.gone.is_empty(), "{report:?}");
        adopted += report.adopted;
        eprintln!("{ROUNDS} kills: {report:?}");
    }
    assert!(acknowledged > 1000, "the children were killed before they wrote: {acknowledged}");
    assert!(adopted > 0);
    eprintln!("{acknowledged} acknowledged records");
}

/// What the children said.
#[derive(Default)]
struct Told {
    /// Of the last child: the target of each record.
    records: BTreeMap<u64, String>,
    live: BTreeSet<GrantId>,
    gone: BTreeSet<GrantId>,
    numbers: BTreeSet<String>,
    head: u64,
}

impl Told {
    fn line(&mut self, line: &str) {
        let grant = |id: &str| GrantId(id.parse().unwrap());
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["open", run, flow, _] => {
                assert!(self.numbers.insert(format!("run {run}")), "given twice: {line}");
                assert!(self.numbers.insert(format!("flow {flow}")), "given twice: {line}");
            }
            ["record", seq, target] => {
                let twice = self.records.insert(seq.parse().unwrap(), target.to_owned());
                assert_eq!(twice, None, "{line}");
            }
            ["put", id] => assert!(self.live.insert(grant(id)), "given twice: {line}"),
            // From here on it may be either, until the end is acknowledged.
            ["going", id] => assert!(self.live.remove(&grant(id)), "{line}"),
            ["gone", id] => assert!(self.gone.insert(grant(id)), "{line}"),
            _ => {}
        }
    }

    /// Looks whether all of it is there; how many records were acknowledged.
    fn check(&mut self, world: &World) -> usize {
        // As it was left behind, before anybody repairs anything.
        let report = verify(world.path()).unwrap();
        let mut found = 0;
        let mut after = self.head;
        while after < report.head_seq {
            let filter = Filter { after: Some(after), limit: Some(10_000), ..Filter::default() };
            for row in query(world.path(), &filter).unwrap() {
                after = row.seq;
                if let Some(target) = self.records.get(&row.seq) {
                    assert!(row.erased || row.target.as_ref() == Some(target), "{row:?}");
                    found += 1;
                }
            }
        }
        assert_eq!(found, self.records.len());
        self.records.clear();
        let (journal, loaded) = world.open();
        assert_eq!(loaded.head.seq, report.head_seq);
        let there: BTreeSet<GrantId> = loaded.grants.iter().map(|grant| grant.id).collect();
        assert!(self.live.is_subset(&there), "lost {:?}", self.live.difference(&there));
        assert!(self.gone.is_disjoint(&there), "came back {:?}", self.gone.intersection(&there));
        // A grant that was committed, and whose acknowledgement was cut off, is there as well; from now on it counts.
        self.live = there;
        wait(journal.record(allowed(1))).unwrap();
        drop(journal);
        self.head = verify(world.path()).unwrap().head_seq;
        assert_eq!(self.head, report.head_seq + 1);
        found
    }
}

#[test]
fn killed_at_its_very_first_start_it_starts_the_next_time() {
    let mut born = 0;
    for round in 0..40 {
        let world = World::new();
        run_and_kill(world.path(), Duration::from_millis(2 * round));
        match verify(world.path()) {
            Ok(report) if report.seals > 0 => born += 1,
            Ok(report) => assert_eq!((report.records, report.unsealed_tail), (0, 0)),
            Err(VerifyError::Unreadable(JournalError::Missing { .. })) => {}
            Err(other) => panic!("round {round}: {other}"),
        }
        let (journal, _) = world.open();
        wait(journal.record(allowed(1))).unwrap();
        drop(journal);
        let report = verify(world.path()).unwrap();
        assert!(report.identity_proven && report.unsealed_tail == 0, "round {round}: {report:?}");
    }
    eprintln!("40 kills at the first start, {born} of them with a seal");
}

/// Starts a child, kills it so long after it has begun, and answers what it said.
fn run_and_kill(dir: &Path, after: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    // Also while it opens it may be killed: then no line ever comes.
    let opened = after > Duration::from_millis(60);
    while opened && !lines.last().is_some_and(|line: &String| line.starts_with("open")) {
        let mut line = String::new();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child ended by itself: {lines:?}");
        lines.push(line.trim_end().to_owned());
    }
    // The child must not come to wait for us.
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        while output.read_until(b'\n', &mut bytes).unwrap() > 0 {}
        let text = String::from_utf8(bytes).unwrap();
        // A line that was cut off says nothing.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole).to_owned();
        whole.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.extend(reader.join().unwrap());
    lines
}
