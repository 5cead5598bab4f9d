//! What a voice-like exchange waits beside bulk: 160 bytes there and back every 20 ms, alone and beside eight connections that
//! send as much as they can, on 10 Mbit/s.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Patience;
use crate::gate::Gate;
use crate::kernel::{Discipline, Kernel};
use crate::load::Load;
use crate::report::Report;
use crate::road::{Kind, Road};
use crate::sink::ECHO;

const RATE: u64 = 10_000_000;
const EVERY: Duration = Duration::from_millis(20);
const BYTES: usize = 160;
const LOADS: u32 = 8;
/// After so long an exchange counts as lost.
const LOST: Duration = Duration::from_secs(1);

/// Appends the table.
pub fn measure(report: &mut Report, patience: Patience) {
    report.table(
        "160 bytes there and back every 20 ms on 10 Mbit/s, milliseconds, alone and beside 8 connections that send as much as they can; \
         beyond idle, p50 is to be 2 at most and p99 10.",
        &["way", "protocol", "idle p50, p99", "loaded p50, p99, longest", "lost", "beyond idle p50, p99", "wanted"],
    );
    let count = usize::try_from(patience.time.as_millis() / EVERY.as_millis()).unwrap_or(500);
    for protocol in ["TCP", "UDP"] {
        let ways: [&dyn Fn() -> Option<Box<dyn Road>>; 3] = [
            &|| {
                let gate = Gate::start(Some(RATE));
                let wish = json!({
                    "class": "conversational",
                    "guaranteed_bitrate_up": "128 kbit/s", "guaranteed_bitrate_down": "128 kbit/s",
                    "max_bitrate_up": "256 kbit/s", "max_bitrate_down": "256 kbit/s",
                });
                gate.stream(&gate.run, "voice", wish);
                Some(Box::new(gate))
            },
            &|| Some(Box::new(Kernel::start(Discipline::Htb, RATE)?)),
            &|| Some(Box::new(Kernel::start(Discipline::Tbf, RATE)?)),
        ];
        for way in ways {
            let Some(road) = way() else { continue };
            let mut exchange = exchange(&*road, protocol);
            let idle = repeat(&mut *exchange, count / 2);
            let loads: Vec<Load> =
                (0..LOADS).map(|number| Load::begin(&*road, Kind::Bulk, number, 64 * 1024)).collect();
            thread::sleep(Duration::from_secs(2));
            let loaded = repeat(&mut *exchange, count);
            drop(loads);
            let lost = loaded.iter().filter(|time| **time >= LOST).count();
            let [idle50, idle99, _] = ranks(&idle);
            let [p50, p99, longest] = ranks(&loaded);
            let verdict = match road.name() == "mexegate" {
                true => report.judge(
                    &format!("delay beside load, {protocol}"),
                    p50 - idle50 <= 2.0 && p99 - idle99 <= 10.0 && lost == 0,
                ),
                false => "",
            };
            report.row(&[
                &road.name(),
                &protocol,
                &format_args!("{idle50:.2}, {idle99:.2}"),
                &format_args!("{p50:.2}, {p99:.2}, {longest:.2}"),
                &lost,
                &format_args!("{:+.2}, {:+.2}", p50 - idle50, p99 - idle99),
                &verdict,
            ]);
        }
    }
}

/// Sends so many bytes and has them back; false when they were lost.
type Exchange = dyn FnMut(&mut [u8]) -> bool;

fn exchange(road: &dyn Road, protocol: &str) -> Box<Exchange> {
    if protocol == "TCP" {
        let mut stream = road.open(Kind::Voice);
        stream.write_all(&ECHO.to_be_bytes()).expect("an open connection");
        return Box::new(move |bytes| {
            stream.write_all(bytes).and_then(|()| stream.read_exact(bytes)).is_ok()
        });
    }
    let way = road.datagrams().expect("every way takes datagrams");
    way.socket.set_read_timeout(Some(LOST)).expect("a timeout above zero");
    Box::new(move |bytes| {
        let sent = stamp(bytes);
        let whole = [&way.header[..], bytes].concat();
        // The association lives by it.
        let _ = &way.control;
        way.socket.send(&whole).is_ok() && heard(&way.socket, sent, bytes.len())
    })
}

fn stamp(bytes: &mut [u8]) -> [u8; 8] {
    static SENT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let stamp = SENT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_be_bytes();
    bytes[..8].copy_from_slice(&stamp);
    stamp
}

/// Whether this very datagram comes back; late ones are passed over.
fn heard(socket: &UdpSocket, stamp: [u8; 8], length: usize) -> bool {
    let mut buffer = [0; 2048];
    while let Ok(got) = socket.recv(&mut buffer) {
        // A header of the way may stand before it.
        if got >= length && buffer[got - length..].starts_with(&stamp) {
            return true;
        }
    }
    false
}

fn repeat(exchange: &mut Exchange, count: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut bytes = [7; BYTES];
    let mut times = Vec::new();
    for n in 0..count {
        let due = start + EVERY * u32::try_from(n).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        times.push(if exchange(&mut bytes) { sent.elapsed() } else { LOST });
    }
    times
}

/// Median, 99th percentile and longest, milliseconds.
fn ranks(times: &[Duration]) -> [f64; 3] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    [0.5, 0.99, 1.0].map(|share| {
        let at = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(at.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    })
}
