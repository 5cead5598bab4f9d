//! One connection that sends (and through the gate, another that receives) as much as it can: the long-run rate, the worst window
//! and the first burst, at five rates.

use std::time::Duration;

use crate::Patience;
use crate::gate::Gate;
use crate::kernel::{Discipline, Kernel};
use crate::load::Load;
use crate::nginx::Nginx;
use crate::report::Report;
use crate::road::{Kind, Road};

const RATES: [u64; 5] = [64_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// What the kernel counts that is no payload: of 1514 bytes of a full frame, 1448 are.
const FRAMES: f64 = 1448.0 / 1514.0;
/// The first tenth of a second.
const FIRST: Duration = Duration::from_millis(100);

/// Appends the table.
pub fn measure(report: &mut Report, patience: Patience) {
    report.table(
        "Rate of payload that arrives, one connection that sends (`down`: receives), after a first second. The kernel's rates are of frames, and compared \
         with 1448/1514 of them. Windows and burst: bytes beyond rate x time, and as milliseconds at the rate.",
        &["rate, bit/s", "way", "error, %", "worst window, bytes (ms)", "first 0.1 s, bytes (ms beyond)", "0.5 % at most"],
    );
    for rate in RATES {
        let ways: [&dyn Fn() -> Option<Box<dyn Road>>; 4] = [
            &|| Some(Box::new(Gate::start(Some(rate)))),
            &|| Some(Box::new(Kernel::start(Discipline::Tbf, rate)?)),
            &|| Some(Box::new(Kernel::start(Discipline::Htb, rate)?)),
            &|| Some(Box::new(Nginx::start(rate)?)),
        ];
        for way in ways {
            let Some(road) = way() else { continue };
            row(report, &*road, rate, patience, false);
            if road.name() == "mexegate" {
                row(report, &*road, rate, patience, true);
            }
        }
    }
}

fn row(report: &mut Report, road: &dyn Road, rate: u64, patience: Patience, is_down: bool) {
    let is_ours = road.name() == "mexegate";
    let payload = rate as f64 * if road.name().starts_with("kernel") { FRAMES } else { 1.0 };
    let load = if is_down { Load::download(road) } else { Load::begin(road, Kind::Bulk, 1, 64 * 1024) };
    std::thread::sleep(patience.time + Duration::from_millis(1200));
    let error = (load.rate(patience.time) / payload - 1.0) * 100.0;
    let (excess, first) = (load.arrived.excess(payload / 8.0), load.arrived.first());
    let burst = first.map_or(0, |first| load.arrived.by(first + FIRST));
    let beyond = burst as f64 - payload / 8.0 * FIRST.as_secs_f64();
    let ms = |bytes: f64| bytes * 8e3 / payload;
    let verdict = match is_ours {
        true => report.judge(&format!("rate of {rate} bit/s"), error.abs() <= 0.5),
        false => "",
    };
    report.row(&[
        &rate,
        &format_args!("{}{}", road.name(), if is_down { ", down" } else { "" }),
        &format_args!("{error:+.2}"),
        &format_args!("{excess:.0} ({:.1})", ms(excess)),
        &format_args!("{burst} ({:+.1})", ms(beyond)),
        &verdict,
    ]);
}
