//! A flow with a maximum bitrate: at every moment it has moved no more than burst + rate x T, and when it is hungry it
//! gets what it is due.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]
#![allow(clippy::cast_precision_loss, unreachable_pub, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Flow, bytes_at, options, receive_counted, send};
use mexe_model::{BitRate, Instant};
use mexe_qos::Meter;
use mexe_relay::{LeaseHandle, Limits, Options, Strategy, clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs a hungry flow both ways for a while; returns (moved, due) bytes of each direction
/// from when its burst was used up.
async fn run(strategy: Strategy, rate: u64, burst: u64, time: Duration) -> [(u64, u64); 2] {
    let rate = BitRate::bits_per_second(rate).unwrap();
    let begin = clock::now();
    let limits = Limits {
        up: Some(Meter::new(rate, burst, begin).into()),
        down: Some(Meter::new(rate, burst, begin).into()),
        allowance: None,
    };
    let flow = Flow::start(Options { strategy, limits, ..options() }).await;
    let ((mut app_read, mut app_write), (mut server_read, mut server_write)) =
        (flow.app.into_split(), flow.server.into_split());
    let tasks = [
        tokio::spawn(async move { send(&mut app_write, 1 << 40).await }),
        tokio::spawn(async move { send(&mut server_write, 1 << 40).await }),
        tokio::spawn(async move { receive_counted(&mut server_read, &Default::default()).await.0 }),
        tokio::spawn(async move { receive_counted(&mut app_read, &Default::default()).await.0 }),
    ];
    // The clock is read after the counter, so what was moved is compared with no less time than it had.
    let look = |moved: fn(&LeaseHandle) -> u64| (moved(&flow.handle), clock::now());
    let due = |from: Instant, to: Instant| {
        u64::try_from(u128::from(to.as_nanos() - from.as_nanos()) * u128::from(rate.get()) / 8_000_000_000)
            .unwrap()
    };
    let directions: [fn(&LeaseHandle) -> u64; 2] = [LeaseHandle::bytes_up, LeaseHandle::bytes_down];
    // What is due is counted from when the burst is used up: before that, the bucket is full and earns nothing.
    let mut started = [None; 2];
    let mut seen = [(0, 0); 2];
    let end = begin.after(time);
    while clock::now() < end {
        tokio::time::sleep(Duration::from_millis(3)).await;
        for ((direction, started), seen) in directions.into_iter().zip(&mut started).zip(&mut seen) {
            let (moved, now) = look(direction);
            assert!(moved <= burst + due(begin, now), "{moved} bytes after {:?}", now.since(begin));
            if moved > burst {
                let (before, since) = *started.get_or_insert((moved, now));
                *seen = (moved - before, due(since, now));
            }
        }
    }
    flow.task.abort();
    for task in tasks {
        task.abort();
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hungry_flow_gets_its_rate_and_never_more() {
    for strategy in [Strategy::Copy, Strategy::Splice] {
        for (rate, burst) in [(1_000_000, 20_000), (20_000_000, 256 * 1024), (200_000_000, 4 << 20)] {
            let seen = run(strategy, rate, burst, Duration::from_millis(2200)).await;
            for ((moved, due), way) in seen.into_iter().zip(["up", "down"]) {
                let percent = moved as f64 * 100.0 / due as f64;
                println!("{strategy:?}, {rate} bit/s, {way}: {moved} of {due} bytes, {percent:.2} %");
                // Below only by what the bucket could not hold while the machine was elsewhere; above never by more
                // than the bucket held when the count began.
                assert!(percent > 80.0 && moved <= due + burst);
            }
        }
    }
}

#[tokio::test]
async fn a_burst_goes_at_once_and_the_rest_waits() {
    // A packet is due after 1500 s.
    let rate = BitRate::bits_per_second(8).unwrap();
    let limits = Limits { up: Some(Meter::new(rate, 30_000, clock::now()).into()), ..Limits::default() };
    let mut flow = Flow::start(Options { limits, ..options() }).await;
    flow.app.write_all(&bytes_at(0, 31_000)).await.unwrap();
    flow.server.read_exact(&mut vec![0; 30_000]).await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(100), flow.server.read_u8()).await;
    assert!(more.is_err());
    assert_eq!(flow.handle.bytes_up(), 30_000);
}
