//! The gate beside its peers, in one run against one origin: interleaved rounds, medians, and the ratio to each peer.
//! Prints a table and writes it to target/perf as markdown. Started by `tests/perf/run`, which installs the peers.

mod contestant;
mod table;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use clap::Parser;
use serde_json::Value;

use crate::contestant::{Contestant, Kind};

#[derive(Parser)]
#[command(about = "Measures the gate and its peers, interleaved, and prints a table")]
struct Arguments {
    /// Who takes part
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::ALL)]
    only: Vec<Kind>,
    /// How often each is measured; the table shows medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A short run that shows whether everything works, not how fast
    #[arg(long)]
    quick: bool,
    /// Where the markdown goes
    #[arg(long, default_value = "target/perf/compare.md")]
    out: PathBuf,
}

/// What each round asks of each contestant.
fn plan(quick: bool) -> Vec<Vec<&'static str>> {
    if quick {
        return vec![
            vec!["idle", "--count", "200"],
            vec!["connect", "--count", "16", "--seconds", "0.5"],
            vec!["echo", "--seconds", "0.5"],
            vec!["download", "--count", "4", "--gib", "0.25"],
            vec!["upload", "--count", "4", "--gib", "0.25"],
        ];
    }
    vec![
        vec!["idle", "--count", "2000"],
        vec!["connect", "--count", "16", "--seconds", "5"],
        vec!["echo", "--seconds", "4"],
        vec!["download", "--count", "4", "--gib", "4"],
        vec!["upload", "--count", "4", "--gib", "4"],
    ]
}

/// Contestant and measure to one JSON object a round.
pub type Results = BTreeMap<(Kind, String), Vec<Value>>;

fn main() {
    let arguments = Arguments::parse();
    let (mut server, origin) = start_origin();
    let mut results = Results::new();
    let mut missing = Vec::new();
    for round in 1..=arguments.rounds {
        for kind in &arguments.only {
            if missing.contains(kind) {
                continue;
            }
            let contestant = match Contestant::start(*kind, origin) {
                Ok(contestant) => contestant,
                Err(why) => {
                    eprintln!("{kind}: left out: {why}");
                    missing.push(*kind);
                    continue;
                }
            };
            for ask in plan(arguments.quick) {
                match load(&ask, &contestant, origin) {
                    Ok(figures) => {
                        eprintln!("round {round} {kind} {}: {figures}", ask[0]);
                        results.entry((*kind, ask[0].to_owned())).or_default().push(figures);
                    }
                    Err(why) => eprintln!("round {round} {kind} {}: no figure: {why}", ask[0]),
                }
            }
        }
    }
    let _ = server.kill().and_then(|()| server.wait());
    let text = table::render(&arguments.only, &results, arguments.rounds);
    println!("{text}");
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder).expect("the output's folder can be made");
    }
    std::fs::write(&arguments.out, text).expect("the output can be written");
    if !missing.is_empty() || results.is_empty() {
        std::process::exit(1);
    }
}

/// Another binary of this package, beside this one.
fn sibling(name: &str) -> Command {
    let own = std::env::current_exe().expect("a program knows its own path");
    Command::new(own.with_file_name(name))
}

fn start_origin() -> (Child, SocketAddr) {
    let mut child =
        sibling("perf-origin").stdout(Stdio::piped()).spawn().expect("perf-origin is beside perf-compare");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("the origin prints its address");
    (child, line.trim().parse().expect("an address"))
}

fn load(ask: &[&str], contestant: &Contestant, origin: SocketAddr) -> Result<Value, String> {
    let mut command = sibling("perf-load");
    command.args(ask).args(contestant.arguments()).arg("--origin").arg(origin.to_string());
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}
