//! The gate beside its peers, in one run against one origin: interleaved rounds, medians, and the ratio to each peer.
//! Prints a table and writes it to target/perf as markdown. Started by `tests/perf/run`, which installs the peers.

mod contestant;
mod table;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::{Parser, ValueEnum as _};
use serde_json::{Value, json};

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
    /// Only these measures
    #[arg(long, value_delimiter = ',', value_parser = ["idle", "connect", "echo", "echoes", "download", "upload"])]
    measure: Vec<String>,
    /// A short run that shows whether everything works, not how fast
    #[arg(long)]
    quick: bool,
    /// Measures this one, here and once, and prints the figures: what the program runs itself as
    #[arg(long, value_enum, hide = true)]
    inside: Option<Kind>,
    /// Where the markdown goes
    #[arg(long, default_value = "target/perf/compare.md")]
    out: PathBuf,
}

/// What each round asks of each contestant: the name of the measure, and what the load generator is told.
fn plan(quick: bool) -> Vec<(&'static str, Vec<&'static str>)> {
    if quick {
        return vec![
            ("idle", vec!["idle", "--count", "200"]),
            ("connect", vec!["connect", "--count", "16", "--seconds", "0.5"]),
            ("echo", vec!["echo", "--seconds", "0.5"]),
            ("echoes", vec!["echo", "--count", "16", "--seconds", "0.5"]),
            ("download", vec!["download", "--count", "4", "--gib", "0.25"]),
            ("upload", vec!["upload", "--count", "4", "--gib", "0.25"]),
        ];
    }
    vec![
        ("idle", vec!["idle", "--count", "2000"]),
        ("connect", vec!["connect", "--count", "16", "--seconds", "5"]),
        ("echo", vec!["echo", "--seconds", "4"]),
        ("echoes", vec!["echo", "--count", "16", "--seconds", "4"]),
        ("download", vec!["download", "--count", "4", "--gib", "4"]),
        ("upload", vec!["upload", "--count", "4", "--gib", "4"]),
    ]
}

/// Contestant and measure to one JSON object a round.
pub type Results = BTreeMap<(Kind, String), Vec<Value>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(kind) = arguments.inside {
        return inside(kind, &arguments);
    }
    let mut results = Results::new();
    let mut failed = false;
    for round in 1..=arguments.rounds {
        for kind in &arguments.only {
            match outside(*kind, &arguments) {
                Ok(figures) => {
                    for (measure, figures) in figures {
                        eprintln!("round {round} {kind} {measure}: {figures}");
                        failed |= figures.get("why").is_some();
                        results.entry((*kind, measure)).or_default().push(figures);
                    }
                }
                Err(why) => {
                    eprintln!("round {round} {kind}: left out: {why}");
                    failed = true;
                }
            }
        }
    }
    let text = table::render(&arguments.only, &results, arguments.rounds);
    println!("{text}");
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder).expect("the output's folder can be made");
    }
    std::fs::write(&arguments.out, text).expect("the output can be written");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Measures one contestant in a network namespace of its own: tens of thousands of connections leave as many ports in
/// TIME_WAIT, which nobody after it has to live with.
fn outside(kind: Kind, arguments: &Arguments) -> Result<Vec<(String, Value)>, String> {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--"]).arg(std::env::current_exe().map_err(|error| error.to_string())?);
    let name = kind.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    command.args(["--inside", &name]).args(arguments.quick.then_some("--quick")).stderr(Stdio::inherit());
    if !arguments.measure.is_empty() {
        command.args(["--measure", &arguments.measure.join(",")]);
    }
    let output = command.output().map_err(|error| format!("cannot run unshare: {error}"))?;
    if !output.status.success() {
        return Err("it did not start".to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |line: &str| -> Option<(String, Value)> {
        let (measure, figures) = line.split_once(' ')?;
        Some((measure.to_owned(), serde_json::from_str(figures).ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// One line a measure: its name and its figures, or `{"why": ..}`.
fn inside(kind: Kind, arguments: &Arguments) -> ExitCode {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.is_ok_and(|status| status.success()), "loopback can be switched on: is iproute2 installed?");
    // Best effort: with fewer ports the fastest contestants may show failed connections, and the table counts those.
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "32768 65535");
    let (_server, origin) = start_origin();
    let mut contestant = match Contestant::start(kind, origin) {
        Ok(contestant) => contestant,
        Err(why) => {
            eprintln!("{kind}: {why}");
            return ExitCode::FAILURE;
        }
    };
    let wanted = |measure: &str| {
        arguments.measure.is_empty() || arguments.measure.iter().any(|wanted| wanted == measure)
    };
    for (measure, ask) in plan(arguments.quick).into_iter().filter(|(measure, _)| wanted(measure)) {
        let figures = load(&ask, &contestant, origin).unwrap_or_else(|why| {
            json!({ "why": contestant.ended().map_or(why, |status| format!("it ended by itself: {status}")) })
        });
        println!("{measure} {figures}");
    }
    ExitCode::SUCCESS
}

/// Another binary of this package, beside this one.
fn sibling(name: &str) -> Command {
    let own = std::env::current_exe().expect("a program knows its own path");
    Command::new(own.with_file_name(name))
}

/// The origin's process; it ends with this value, also when the run fails half-way.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn start_origin() -> (Server, SocketAddr) {
    let mut child =
        sibling("perf-origin").stdout(Stdio::piped()).spawn().expect("perf-origin is beside perf-compare");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("the origin prints its address");
    (Server(child), line.trim().parse().expect("an address"))
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
