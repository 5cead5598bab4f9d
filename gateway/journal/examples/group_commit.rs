//! What the journal costs a connection: CPU time of the whole process, and how long a caller waits for the decision's
//! record, with 1, 16 and 64 callers at a time, without and with a record for the end of the flow. `cargo run --release -p mexe-journal --example group_commit [RECORDS]`

use std::time::{Duration, Instant};

use mexe_journal::{Journal, Options, Outcome, Record, verify};
use mexe_model::{FlowId, GrantId, RunId, SecurityDomain, Trust, WallTime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records: u64 = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("callers  ends  decisions  decisions/s  CPU us each  of that callers  p50 us  p99 us  max us");
    // The last line is measured while retention takes out a hundred thousand records.
    let lines = [(1, 0, 0), (16, 0, 0), (64, 0, 0), (1, 1, 0), (16, 1, 0), (64, 1, 0), (1, 1, 100_000)];
    for (callers, ends, old) in lines {
        let dir = tempfile::tempdir()?;
        let (journal, _) = Journal::open(dir.path(), Options::default())?;
        runtime.block_on(async {
            for number in 0..old {
                journal.note(Record { at: WallTime::from_secs(1), ..record(number) });
                if number % 1000 == 999 {
                    journal.record(Record { at: WallTime::from_secs(1), ..record(number) }).await?;
                }
            }
            Ok::<_, mexe_journal::Unavailable>(())
        })?;
        let tidying = (old > 0).then(|| {
            let journal = journal.clone();
            runtime.spawn(async move { journal.tidy().await })
        });
        let (began, cpu, helpers) = (Instant::now(), cpu_time()?, journal_time()?);
        let mut waits = runtime.block_on(run(journal.clone(), callers, records / callers, ends == 1))?;
        let (took, cpu) = (began.elapsed(), cpu_time()? - cpu);
        let callers_cpu = cpu.saturating_sub(journal_time()? - helpers);
        waits.sort_unstable();
        let count = waits.len();
        let wait = |part: usize| waits.get((count * part / 1000).min(count - 1)).copied().unwrap_or_default();
        let per =
            |time: Duration| time.as_secs_f64() * 1e6 / f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        println!(
            "{callers:7}  {ends:4}  {count:9}  {:11.0}  {:11.1}  {:15.1}  {:6}  {:6}  {:6}",
            1e6 / per(took),
            per(cpu),
            per(callers_cpu),
            wait(500).as_micros(),
            wait(990).as_micros(),
            wait(1000).as_micros()
        );
        if let Some(tidying) = tidying {
            let began = Instant::now();
            println!(
                "         {} records taken out, {:?} after that",
                runtime.block_on(tidying)??,
                began.elapsed()
            );
        }
        let log = std::fs::metadata(dir.path().join("mexegate.db-wal"))?.len() >> 20;
        journal.close();
        println!("         the log had {log} MiB; {:?}", verify(dir.path())?);
    }
    Ok(())
}

async fn run(
    journal: Journal,
    callers: u64,
    each: u64,
    ends: bool,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let journal = journal.clone();
        tasks.push(tokio::spawn(async move {
            let mut waits = Vec::new();
            for number in 0..each {
                let record = record(caller * each + number);
                let began = Instant::now();
                journal.record(record).await?;
                waits.push(began.elapsed());
                if ends {
                    journal.note(Record {
                        bytes_up: Some(1),
                        ..Record::flow_end(WallTime::from_secs(1_795_489_491))
                    });
                }
            }
            Ok::<_, mexe_journal::Unavailable>(waits)
        }));
    }
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await??);
    }
    Ok(waits)
}

fn record(number: u64) -> Record {
    Record {
        flow: Some(FlowId(number)),
        domain: Some(Trust::Domain(SecurityDomain::ThirdParty)),
        action: Some("network.connect".into()),
        decision: Some(Outcome::Allow),
        grant: Some(GrantId(1)),
        rule: Some("network.connect blanket(session) (decision:3)".into()),
        binding: Some("token".into()),
        ingress: Some("socks".into()),
        class: Some("background".into()),
        app: "weather".parse().ok(),
        run: Some(RunId(1)),
        target: Some("api.example.org:443".to_owned()),
        addresses: "203.0.113.7:443".parse().into_iter().collect(),
        ..Record::decision(WallTime::from_secs(1_795_489_491))
    }
}

/// CPU time of all threads of this process.
fn cpu_time() -> std::io::Result<Duration> {
    threads(|_| true)
}

/// CPU time of the journal's own threads.
fn journal_time() -> std::io::Result<Duration> {
    threads(|name| name.starts_with("mexe-journal"))
}

fn threads(wanted: impl Fn(&str) -> bool) -> std::io::Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if wanted(name.trim()) {
            let stat = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            nanos += stat.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    Ok(Duration::from_nanos(nanos))
}
