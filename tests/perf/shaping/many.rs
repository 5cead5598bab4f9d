//! What a thousand slow streams cost: each 64 kbit/s, each sends as much as it can.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Patience;
use crate::gate::Gate;
use crate::report::Report;
use crate::road::Road as _;

const STREAMS: u32 = 1000;
/// A run has 64 streams at most.
const OF_A_RUN: u32 = 50;
const RATE: u64 = 64_000;

/// Appends the table.
pub fn measure(report: &mut Report, patience: Patience) {
    report.table(
        "1,000 streams of 64 kbit/s on 100 Mbit/s, each with a connection that sends as much as it can",
        &["CPU of the gate, % of a core", "slowest and fastest, % of their rate", "25 % at most"],
    );
    let gate = Gate::start(Some(100_000_000));
    let mut streams = Vec::new();
    for _ in 0..STREAMS / OF_A_RUN {
        let (run, who) = gate.another_run();
        for n in 0..OF_A_RUN {
            let wish = json!({ "class": "streaming", "max_bitrate_up": format!("{RATE} bit/s") });
            let name = format!("s{n}");
            gate.stream(&run, &name, wish);
            streams.push(gate.open_as(&Gate::of_stream(&who, &name)));
        }
    }
    let arrived: Vec<_> = (0..STREAMS).map(|number| gate.sink().recording(number)).collect();
    for (stream, number) in streams.iter_mut().zip(0_u32..) {
        stream.write_all(&number.to_be_bytes()).expect("an open connection");
        stream.set_nonblocking(true).expect("an open socket");
    }
    // One thread keeps them all full: a thousand of them would be what is measured.
    let stop = Arc::new(AtomicBool::new(false));
    let filling = thread::spawn({
        let stop = Arc::clone(&stop);
        move || fill(&mut streams, &stop)
    });
    thread::sleep(Duration::from_secs(3));
    let (cpu, began) = (gate.cpu(), Instant::now());
    thread::sleep(patience.time);
    let (cpu, time) = (gate.cpu().saturating_sub(cpu), began.elapsed());
    let share = cpu.as_secs_f64() / time.as_secs_f64() * 100.0;
    let wanted = RATE as f64 / 8.0 * time.as_secs_f64();
    let got: Vec<f64> = arrived.iter().map(|one| one.between(began, time) as f64 / wanted * 100.0).collect();
    stop.store(true, Ordering::Relaxed);
    let _ = filling.join();
    let (least, most) =
        (got.iter().copied().fold(f64::MAX, f64::min), got.iter().copied().fold(0.0, f64::max));
    let verdict = report.judge("1,000 streams", share <= 25.0);
    report.row(&[&format_args!("{share:.1}"), &format_args!("{least:.1}, {most:.1}"), &verdict]);
}

fn fill(streams: &mut [TcpStream], stop: &AtomicBool) {
    let block = [b'x'; 4096];
    while !stop.load(Ordering::Relaxed) {
        for stream in streams.iter_mut() {
            while stream.write(&block).is_ok() {}
        }
        thread::sleep(Duration::from_millis(100));
    }
}
