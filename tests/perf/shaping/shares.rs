//! Who gets how much of 10 Mbit/s when all want more: guarantees, the background's floor, equal shares for unequal writers, and
//! all of it for one class when the others are silent.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::Patience;
use crate::gate::Gate;
use crate::load::Load;
use crate::report::Report;
use crate::road::{Kind, Road};

const RATE: u64 = 10_000_000;
const GUARANTEED: u64 = 2_000_000;

/// Appends the tables.
pub fn measure(report: &mut Report, patience: Patience) {
    report.table(
        "Shares of 10 Mbit/s, everybody sends as much as they can (each could fill the bearer by itself)",
        &["what", "found", "wanted", ""],
    );
    guarantees(report, patience);
    equals(report, patience);
    alone(report, patience);
}

/// Four streams with 2 Mbit/s guaranteed each, which is all that may be promised, five streaming without, ten of background.
fn guarantees(report: &mut Report, patience: Patience) {
    let gate = Gate::start(Some(RATE));
    let streaming = |name: String, guaranteed: Option<u64>| {
        let mut wish = json!({ "class": "streaming", "max_bitrate_up": "10 Mbit/s" });
        if let Some(rate) = guaranteed {
            wish["guaranteed_bitrate_up"] = json!(format!("{rate} bit/s"));
        }
        gate.stream(&gate.run, &name, wish);
        gate.open_as(&Gate::of_stream(&gate.who, &name))
    };
    let mut number = 0;
    let mut begin = |stream| {
        number += 1;
        Load::on(&gate, stream, number, 16 * 1024)
    };
    let kept: Vec<Load> = (0..4).map(|n| begin(streaming(format!("kept{n}"), Some(GUARANTEED)))).collect();
    let others: Vec<Load> = (0..5).map(|n| begin(streaming(format!("other{n}"), None))).collect();
    let background: Vec<Load> = (0..10).map(|_| begin(gate.open(Kind::Bulk))).collect();
    let began = background.last().map_or(kept[0].began, |last| last.began) + Duration::from_secs(1);
    thread::sleep(patience.time + Duration::from_millis(1200));
    let rate =
        |load: &Load| load.arrived.between(began, patience.time) as f64 * 8.0 / patience.time.as_secs_f64();
    let all = |loads: &[Load]| loads.iter().map(rate).sum::<f64>();
    let least = kept.iter().map(rate).fold(f64::MAX, f64::min) / GUARANTEED as f64 * 100.0;
    let verdict = report.judge("guarantees beside load", least >= 99.0);
    report.row(&[
        &"least of 4 guarantees of 2 Mbit/s beside 15 others, % of it",
        &format_args!("{least:.2}"),
        &"99 at least",
        &verdict,
    ]);
    let floor = all(&background) / RATE as f64 * 100.0;
    let verdict = report.judge("the background's floor", floor >= 3.0);
    report.row(&[
        &"all background meanwhile, % of the bearer",
        &format_args!("{floor:.2}"),
        &"3 at least",
        &verdict,
    ]);
    let whole = (all(&kept) + all(&others) + all(&background)) / RATE as f64 * 100.0;
    let verdict = report.judge("all of it is used beside load", (98.0..=100.5).contains(&whole));
    report.row(&[
        &"everybody together, % of the bearer",
        &format_args!("{whole:.2}"),
        &"98 to 100.5",
        &verdict,
    ]);
}

/// Eight of the background that write very unlike amounts at once.
fn equals(report: &mut Report, patience: Patience) {
    const WRITES: [usize; 8] = [200, 1000, 1448, 4096, 8192, 16_384, 65_536, 262_144];
    let gate = Gate::start(Some(RATE));
    let loads: Vec<Load> =
        WRITES.iter().zip(0..).map(|(write, n)| Load::begin(&gate, Kind::Bulk, n, *write)).collect();
    let began = loads[WRITES.len() - 1].began + Duration::from_secs(1);
    thread::sleep(patience.time + Duration::from_millis(1200));
    let got: Vec<f64> = loads.iter().map(|load| load.arrived.between(began, patience.time) as f64).collect();
    let (sum, squares) = (got.iter().sum::<f64>(), got.iter().map(|x| x * x).sum::<f64>());
    let jain = sum * sum / (got.len() as f64 * squares);
    let verdict = report.judge("fairness", jain >= 0.98);
    report.row(&[
        &"Jain's index of 8 equals that write 200 bytes to 256 KiB at once",
        &format_args!("{jain:.4}"),
        &"0.98 at least",
        &verdict,
    ]);
}

/// One of the background while a guarantee is silent.
fn alone(report: &mut Report, patience: Patience) {
    let gate = Gate::start(Some(RATE));
    let wish =
        json!({ "class": "streaming", "guaranteed_bitrate_up": "8 Mbit/s", "max_bitrate_up": "8 Mbit/s" });
    gate.stream(&gate.run, "silent", wish);
    let _silent = gate.open_as(&Gate::of_stream(&gate.who, "silent"));
    let load = Load::begin(&gate, Kind::Bulk, 1, 16 * 1024);
    thread::sleep(patience.time + Duration::from_millis(1200));
    let whole = load.rate(patience.time) / RATE as f64 * 100.0;
    let verdict = report.judge("work conservation", whole >= 98.0);
    report.row(&[
        &"one of the background while 8 Mbit/s are guaranteed to one that is silent, %",
        &format_args!("{whole:.2}"),
        &"98 at least",
        &verdict,
    ]);
}
