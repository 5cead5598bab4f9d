//! What stands between an app and the bearer: bytes in the kernel's queues that the proxy's side has acknowledged to the app and
//! the sink has not read, as milliseconds at the rate. It is what a voice packet of the same connection would wait for.

use std::thread;
use std::time::{Duration, Instant};

use crate::Patience;
use crate::gate::Gate;
use crate::load::Load;
use crate::nginx::Nginx;
use crate::report::Report;
use crate::road::{Kind, Road};

/// Twice the gate's own latency target: chunks of two milliseconds, and sixteen in a queue whose sender is on this device.
const WANTED: f64 = 2.0 * 16.0;

/// Appends the table.
pub fn measure(report: &mut Report, patience: Patience) {
    report.table(
        "Bytes that stand between an app and the sink while it sends as much as it can, and milliseconds at the rate: median and most",
        &["rate, bit/s", "way", "median bytes (ms)", "most bytes (ms)", "32 ms at most from 10 Mbit/s on"],
    );
    for rate in [1_000_000, 10_000_000, 100_000_000] {
        let ways: [&dyn Fn() -> Option<Box<dyn Road>>; 2] =
            [&|| Some(Box::new(Gate::start(Some(rate)))), &|| Some(Box::new(Nginx::start(rate)?))];
        for way in ways {
            let Some(road) = way() else { continue };
            let load = Load::begin(&*road, Kind::Bulk, 1, 16 * 1024);
            thread::sleep(Duration::from_secs(1));
            let mut standing = Vec::new();
            let end = Instant::now() + patience.time.min(Duration::from_secs(5));
            while Instant::now() < end {
                standing.push(load.standing(road.sink().address));
                thread::sleep(Duration::from_millis(5));
            }
            standing.sort_unstable();
            let ms = |bytes: u64| bytes as f64 * 8e3 / rate as f64;
            let (median, most) = (standing[standing.len() / 2], standing[standing.len() - 1]);
            let verdict = match road.name() == "mexegate" && rate >= 10_000_000 {
                true => report.judge(&format!("queue at {rate} bit/s"), ms(median) <= WANTED),
                false => "",
            };
            report.row(&[
                &rate,
                &road.name(),
                &format_args!("{median} ({:.1})", ms(median)),
                &format_args!("{most} ({:.1})", ms(most)),
                &verdict,
            ]);
        }
    }
}
