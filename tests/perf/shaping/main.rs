//! What the QoS manager's shaping is worth, beside the kernel's (HTB and TBF, in a network namespace), nginx and Dante, in one
//! run: rates, delay beside load, guarantees, fairness, queues, changes, many streams, datagrams. Prints tables, writes them
//! to target/perf as markdown, and fails when a target is missed. Started by `tests/perf/qos`.

mod change;
mod datagrams;
mod gate;
mod kernel;
mod load;
mod many;
mod nginx;
mod ping;
mod queue;
mod rates;
mod report;
mod road;
mod shares;
mod sink;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::report::Report;

#[derive(Parser)]
#[command(about = "Measures what shaping is worth, and prints tables")]
struct Arguments {
    /// Only these
    #[arg(long, value_delimiter = ',', value_parser = ["rates", "ping", "shares", "queue", "change", "many", "datagrams"])]
    only: Vec<String>,
    /// How long each measurement of a rate takes
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// A short run that shows whether everything works, not how well; it misses no target
    #[arg(long)]
    quick: bool,
    /// Where the markdown goes
    #[arg(long, default_value = "target/perf/qos.md")]
    out: PathBuf,
}

/// How long things are looked at.
#[derive(Clone, Copy)]
struct Patience {
    /// Each rate.
    time: Duration,
    /// How often what is short is done again.
    times: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |what: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == what);
    let patience = match arguments.quick {
        true => Patience { time: Duration::from_secs(2), times: 2 },
        false => Patience { time: Duration::from_secs_f64(arguments.seconds), times: 10 },
    };
    let mut report = Report::default();
    type Scene = fn(&mut Report, Patience);
    let scenes: [(&str, Scene); 7] = [
        ("rates", rates::measure),
        ("ping", ping::measure),
        ("shares", shares::measure),
        ("queue", queue::measure),
        ("change", change::measure),
        ("many", many::measure),
        ("datagrams", datagrams::measure),
    ];
    for (name, measure) in scenes {
        if wanted(name) {
            measure(&mut report, patience);
        }
    }
    let text = report.text();
    println!("{text}");
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder).expect("the output's folder can be made");
    }
    std::fs::write(&arguments.out, text).expect("the output can be written");
    if report.is_met() || arguments.quick { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
