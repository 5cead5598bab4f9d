//! What the relay costs: CPU seconds for each GiB of bulk, microseconds for each short round trip, and memory for each
//! idle connection, beside tokio's own `copy_bidirectional` in the same run. Only the thread that relays is counted.
//!
//! `cargo run --release -p mexe-relay --example relay_bench [MIB_PER_STREAM_AND_DIRECTION] [ROUND_TRIPS]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a measuring tool"
)]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mexe_model::{BitRate, FlowId, RunId};
use mexe_qos::Meter;
use mexe_relay::{LeaseKeys, Leases, Limits, Options, PipePool, Strategy, clock, relay};
use rustix::time::{ClockId, clock_gettime};

#[derive(Clone, Copy, Debug)]
enum Mover {
    Tokio(usize),
    Ours(Strategy),
    OursMetered,
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Relays `flows` connections to `to` on its own thread; returns where, and the CPU time that it took.
fn start(mover: Mover, flows: u64, to: SocketAddr) -> (SocketAddr, thread::JoinHandle<Duration>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let relay = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        listener.set_nonblocking(true).unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (leases, pipes) = (Leases::new(|_| {}), PipePool::default());
            let mut running = Vec::new();
            for n in 0..flows {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut upstream = tokio::net::TcpStream::connect(to).await.unwrap();
                client.set_nodelay(true).unwrap();
                upstream.set_nodelay(true).unwrap();
                let app = "bench".parse().unwrap();
                let keys = LeaseKeys {
                    flow: FlowId(n),
                    run: RunId(0),
                    app,
                    grant: None,
                    qos_grant: None,
                    root: None,
                };
                let mut lease = leases.open(keys, 0, clock::now());
                let mut options = Options::new(Duration::from_secs(600), pipes.clone());
                running.push(tokio::spawn(async move {
                    match mover {
                        Mover::Tokio(size) => {
                            let _ = tokio::io::copy_bidirectional_with_sizes(
                                &mut client,
                                &mut upstream,
                                size,
                                size,
                            )
                            .await;
                        }
                        Mover::Ours(strategy) => {
                            options.strategy = strategy;
                            relay::run(client, upstream, &mut lease, options).await;
                        }
                        Mover::OursMetered => {
                            let rate = BitRate::bits_per_second(BitRate::MAX).unwrap();
                            let meter = || Some(Meter::new(rate, Meter::MAX_BURST, clock::now()).into());
                            options.limits = Limits { up: meter(), down: meter(), allowance: None };
                            relay::run(client, upstream, &mut lease, options).await;
                        }
                    }
                }));
            }
            let begin = cpu();
            for flow in running {
                flow.await.unwrap();
            }
            cpu() - begin
        })
    });
    (at, relay)
}

fn pump(mut to: TcpStream, bytes: u64) {
    let chunk = vec![7; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        let n = usize::try_from(left.min(chunk.len() as u64)).unwrap();
        to.write_all(&chunk[..n]).unwrap();
        left -= n as u64;
    }
    to.shutdown(Shutdown::Write).unwrap();
}

fn drain(mut from: TcpStream, bytes: u64) {
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => break,
            n => got += n as u64,
        }
    }
    assert_eq!(got, bytes);
}

fn both_ways(stream: TcpStream, bytes: u64) {
    let other = stream.try_clone().unwrap();
    let writer = thread::spawn(move || pump(other, bytes));
    drain(stream, bytes);
    writer.join().unwrap();
}

fn bulk(mover: Mover, bytes: u64) {
    const STREAMS: u64 = 4;
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, relay) = start(mover, STREAMS, origin.local_addr().unwrap());
    let begin = Instant::now();
    let mut ends = Vec::new();
    for _ in 0..STREAMS {
        let app = TcpStream::connect(at).unwrap();
        let (server, _) = origin.accept().unwrap();
        ends.push(thread::spawn(move || both_ways(app, bytes)));
        ends.push(thread::spawn(move || both_ways(server, bytes)));
    }
    ends.into_iter().for_each(|end| end.join().unwrap());
    let wall = begin.elapsed().as_secs_f64();
    let used = relay.join().unwrap().as_secs_f64();
    let gib = (bytes * STREAMS * 2) as f64 / f64::from(1 << 30);
    println!("{:24} {:6.2} CPU s/GiB  {:6.1} Gbit/s", format!("{mover:?}"), used / gib, gib * 8.59 / wall);
}

fn chat(mover: Mover, round_trips: u32) {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, relay) = start(mover, 1, origin.local_addr().unwrap());
    let mut app = TcpStream::connect(at).unwrap();
    let (mut server, _) = origin.accept().unwrap();
    app.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let echo = thread::spawn(move || {
        let mut message = [0; 64];
        while server.read_exact(&mut message).is_ok() {
            server.write_all(&message).unwrap();
        }
    });
    let begin = Instant::now();
    for _ in 0..round_trips {
        let mut message = [9; 64];
        app.write_all(&message).unwrap();
        app.read_exact(&mut message).unwrap();
    }
    let wall = begin.elapsed().as_secs_f64();
    app.shutdown(Shutdown::Write).unwrap();
    echo.join().unwrap();
    let used = relay.join().unwrap().as_secs_f64();
    let each = 1e6 / f64::from(round_trips);
    println!(
        "{:24} {:6.2} CPU us/round trip  {:6.1} us wall",
        format!("{mover:?}"),
        used * each,
        wall * each
    );
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

/// Opens connections that say one word each way and then nothing. Their other ends are plain sockets of this process,
/// which take no memory of its own, so all that it grows by is the relay's.
fn idle(mover: Mover, connections: u64) {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, relay) = start(mover, connections, origin.local_addr().unwrap());
    let mut ends = Vec::with_capacity(usize::try_from(connections).unwrap());
    let before = resident();
    for _ in 0..connections {
        let (mut app, mut server) = (TcpStream::connect(at).unwrap(), origin.accept().unwrap().0);
        app.write_all(b"there").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        server.write_all(b"and back").unwrap();
        app.read_exact(&mut [0; 8]).unwrap();
        ends.push((app, server));
    }
    println!("{:24} {:6.2} KiB", format!("{mover:?}"), (resident() - before) as f64 / connections as f64);
    drop(ends);
    relay.join().unwrap();
}

fn ledger(open: u64) {
    let leases = Leases::new(|_| {});
    let app: mexe_model::AppId = "bench".parse().unwrap();
    let keys = |n| LeaseKeys {
        flow: FlowId(n),
        run: RunId(n),
        app: app.clone(),
        grant: Some(mexe_model::GrantId(n)),
        qos_grant: None,
        root: None,
    };
    let held: Vec<_> = (0..open).map(|n| leases.open(keys(n), 0, clock::now())).collect();
    let begin = Instant::now();
    (0..100_000).for_each(|n| drop(leases.open(keys(n), 0, clock::now())));
    println!("opening and closing a lease: {} ns", begin.elapsed().as_nanos() / 100_000);
    let begin = Instant::now();
    assert_eq!(leases.revoke(&mexe_relay::Key::Run(RunId(7)), mexe_model::Reason::RunEnded).leases, 1);
    println!("revoking one of {open} leases: {:?}", begin.elapsed());
    drop(held);
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>().expect("a number"));
    let mib = arguments.next().unwrap_or(512);
    let round_trips = arguments.next().unwrap_or(20_000);
    let movers = [
        Mover::Tokio(8 << 10),
        Mover::Tokio(64 << 10),
        Mover::Ours(Strategy::Auto),
        Mover::Ours(Strategy::Copy),
        Mover::Ours(Strategy::Splice),
        Mover::OursMetered,
    ];
    println!("4 streams, {mib} MiB each way on each:");
    movers.into_iter().for_each(|mover| bulk(mover, u64::from(mib) << 20));
    println!("{round_trips} round trips of 64 bytes on one connection:");
    movers.into_iter().for_each(|mover| chat(mover, round_trips));
    println!("memory of an idle connection, 2000 open:");
    [Mover::Ours(Strategy::Auto), Mover::Tokio(8 << 10)].into_iter().for_each(|mover| idle(mover, 2000));
    ledger(10_000);
}
