//! How soon a changed rate is the rate: a stream's maximum is changed by the API while its flow sends as much as it can.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Patience;
use crate::gate::Gate;
use crate::load::Load;
use crate::report::Report;

const WINDOW: Duration = Duration::from_millis(200);
const WANTED: Duration = Duration::from_millis(50);

/// Appends the table.
pub fn measure(report: &mut Report, patience: Patience) {
    report.table(
        "From the request that changes a stream's maximum to the first window of 200 ms within 5 % of the new one, milliseconds",
        &["change, Mbit/s", "times", "median", "longest", "50 at most"],
    );
    for (before, after) in [(8_u64, 2_u64), (2, 8), (4, 5)] {
        let gate = Gate::start(Some(20_000_000));
        let wish = |rate: u64| json!({ "class": "streaming", "max_bitrate_up": format!("{rate} Mbit/s") });
        let id = gate.stream(&gate.run, "one", wish(before));
        let load = Load::on(&gate, gate.open_as(&Gate::of_stream(&gate.who, "one")), 1, 16 * 1024);
        let mut times = Vec::new();
        for _ in 0..patience.times {
            change(&gate, &id, wish(before));
            thread::sleep(Duration::from_millis(800));
            let sent = Instant::now();
            change(&gate, &id, wish(after));
            thread::sleep(Duration::from_millis(1300));
            let rate = after as f64 * 1e6 / 8.0;
            times.push(load.arrived.settles(sent, rate, WINDOW).unwrap_or(Duration::from_secs(1)));
        }
        times.sort_unstable();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        let verdict = report.judge(&format!("change from {before} to {after} Mbit/s"), longest <= WANTED);
        report.row(&[
            &format_args!("{before} to {after}"),
            &times.len(),
            &median.as_millis(),
            &longest.as_millis(),
            &verdict,
        ]);
    }
}

fn change(gate: &Gate, id: &str, wish: serde_json::Value) {
    gate.control.borrow_mut().done("PATCH", &format!("/v1/streams/{id}"), Some(&wish));
}
