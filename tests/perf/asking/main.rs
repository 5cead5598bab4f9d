//! What questions to the user cost: how soon a held connection opens after the answer, and what an app that asks without
//! end takes from the gate and from the questions of others. Prints tables, writes them to target/perf as markdown, and
//! fails when a target is missed. Started by `tests/perf/questions`.

mod flood;
mod opening;
mod rank;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Measures what questions to the user cost, and prints tables")]
struct Arguments {
    /// How often an asking app and a refused one are compared
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections a second that the hostile app makes
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Only these
    #[arg(long, value_delimiter = ',', value_parser = ["opening", "flood"])]
    only: Vec<String>,
    /// A short run that shows whether everything works, not how fast; it misses no target
    #[arg(long)]
    quick: bool,
    /// Where the markdown goes
    #[arg(long, default_value = "target/perf/questions.md")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |what: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == what);
    let (mut text, mut met) = (String::new(), true);
    if wanted("opening") {
        met &= opening::measure(&mut text, arguments.quick);
    }
    if wanted("flood") {
        let rounds = if arguments.quick { 1 } else { arguments.rounds };
        met &= flood::measure(&mut text, rounds, arguments.rate, arguments.quick);
    }
    println!("{text}");
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder).expect("the output's folder can be made");
    }
    std::fs::write(&arguments.out, text).expect("the output can be written");
    if met || arguments.quick { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
