//! The five measurements. Each warms the proxy up, reads its CPU time, works, lets it settle and reads again, so that
//! closing is paid for by who opened.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rig::proc;
use serde_json::{Value, json};

use crate::door::Door;

/// The time a proxy gets to close what its clients have closed, before its CPU time is read.
const SETTLE: Duration = Duration::from_millis(300);

/// Connections: connect, handshake, 32-byte echo, close. Per second, milliseconds, and CPU microseconds each.
pub fn connect(door: &Door, pid: u32, workers: usize, time: Duration) -> Result<Value> {
    for _ in 0..50 {
        one(door)?;
    }
    std::thread::sleep(SETTLE);
    let cpu = cpu(pid);
    let start = Instant::now();
    let stop = AtomicBool::new(false);
    let mut times = Vec::new();
    let mut failed = 0_u64;
    std::thread::scope(|scope| -> Result<()> {
        let work = || {
            let (mut times, mut failed) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let begin = Instant::now();
                match one(door) {
                    Ok(()) => times.push(begin.elapsed()),
                    Err(_) => failed += 1,
                }
            }
            (times, failed)
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            let (more, lost) = worker.join().expect("a worker does not panic");
            times.extend(more);
            failed += lost;
        }
        Ok(())
    })?;
    let elapsed = start.elapsed();
    std::thread::sleep(SETTLE);
    let used = self::cpu(pid).saturating_sub(cpu);
    let done = times.len() as f64;
    Ok(json!({
        "connections": times.len(),
        "failed": failed,
        "per_second": done / elapsed.as_secs_f64(),
        "p50_ms": millis(&mut times, 0.5),
        "p99_ms": millis(&mut times, 0.99),
        "cpu_us": micros(used) / done,
    }))
}

fn one(door: &Door) -> Result<()> {
    let mut stream = door.open()?;
    round_trip(&mut stream, &[b'E'; 32], &mut [0; 32])
}

/// Round trips of 64 bytes, one after the other on each connection. CPU microseconds each.
pub fn echo(door: &Door, pid: u32, connections: usize, time: Duration) -> Result<Value> {
    let mut streams = (0..connections).map(|_| door.open()).collect::<Result<Vec<_>>>()?;
    for stream in &mut streams {
        for _ in 0..50 {
            round_trip(stream, &[b'E'; 64], &mut [0; 64])?;
        }
    }
    std::thread::sleep(SETTLE);
    let cpu = cpu(pid);
    let mut times = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let work = |mut stream: TcpStream| -> Result<Vec<Duration>> {
            let mut times = Vec::new();
            let end = Instant::now() + time;
            while Instant::now() < end {
                let begin = Instant::now();
                round_trip(&mut stream, &[b'E'; 64], &mut [0; 64])?;
                times.push(begin.elapsed());
            }
            Ok(times)
        };
        let workers: Vec<_> = streams.drain(..).map(|stream| scope.spawn(move || work(stream))).collect();
        for worker in workers {
            times.extend(worker.join().expect("a worker does not panic")?);
        }
        Ok(())
    })?;
    std::thread::sleep(SETTLE);
    let used = self::cpu(pid).saturating_sub(cpu);
    let done = times.len() as f64;
    Ok(json!({
        "round_trips": times.len(),
        "p50_us": millis(&mut times, 0.5) * 1000.0,
        "p99_us": millis(&mut times, 0.99) * 1000.0,
        "cpu_us": micros(used) / done,
    }))
}

/// Bulk: that many bytes over that many streams at once, in one direction. Gbit/s and CPU seconds per GiB.
pub fn bulk(door: &Door, pid: u32, streams: usize, bytes: u64, download: bool) -> Result<Value> {
    let share = bytes / streams as u64;
    let opened = (0..streams).map(|_| door.open()).collect::<Result<Vec<_>>>()?;
    let cpu = cpu(pid);
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let work = |stream: TcpStream| if download { receive(stream, share) } else { send(stream, share) };
        let workers: Vec<_> = opened.into_iter().map(|stream| scope.spawn(move || work(stream))).collect();
        for worker in workers {
            worker.join().expect("a worker does not panic")?;
        }
        Ok(())
    })?;
    let elapsed = start.elapsed();
    std::thread::sleep(SETTLE);
    let used = self::cpu(pid).saturating_sub(cpu);
    let moved = (share * streams as u64) as f64;
    Ok(json!({
        "bytes": share * streams as u64,
        "gbit_per_second": moved * 8.0 / 1e9 / elapsed.as_secs_f64(),
        "cpu_s_per_gib": used.as_secs_f64() / (moved / f64::from(1 << 30)),
    }))
}

fn receive(mut stream: TcpStream, bytes: u64) -> Result<()> {
    stream.write_all(&[&b"D"[..], &bytes.to_be_bytes()].concat())?;
    let mut block = vec![0; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        match stream.read(&mut block)? as u64 {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => left = left.saturating_sub(n),
        }
    }
    Ok(())
}

fn send(mut stream: TcpStream, bytes: u64) -> Result<()> {
    stream.write_all(&[&b"U"[..], &bytes.to_be_bytes()].concat())?;
    let block = vec![b'x'; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.write_all(&block[..most])?;
        left -= most as u64;
    }
    stream.read_exact(&mut [0; 1])
}

/// Memory: that many connections opened, each used for one echo, then held for a second. KiB each.
pub fn idle(door: &Door, pid: u32, connections: usize) -> Result<Value> {
    for _ in 0..50 {
        one(door)?;
    }
    std::thread::sleep(SETTLE * 3);
    let before = memory(pid);
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = door.open()?;
        round_trip(&mut stream, &[b'E'; 32], &mut [0; 32])?;
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(1));
    let after = memory(pid);
    // Every one of them still works.
    for stream in &mut held {
        round_trip(stream, &[b'F'; 32], &mut [0; 32])?;
        stream.shutdown(Shutdown::Both)?;
    }
    Ok(json!({
        "connections": connections,
        "base_kib": before,
        "kib_each": (after as f64 - before as f64) / connections as f64,
    }))
}

fn round_trip(stream: &mut TcpStream, send: &[u8], receive: &mut [u8]) -> Result<()> {
    stream.write_all(send)?;
    stream.read_exact(receive)?;
    if send == receive { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

fn cpu(pid: u32) -> Duration {
    if pid == 0 { Duration::ZERO } else { proc::cpu(pid) }
}

fn memory(pid: u32) -> u64 {
    if pid == 0 { 0 } else { proc::memory_kib(pid) }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The time below which that part of the times lies, milliseconds.
fn millis(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * part) as usize;
    times.get(at.min(times.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
