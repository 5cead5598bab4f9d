//! Where the load goes: notes when how many bytes have arrived on each connection, or says back what it hears. The first four
//! bytes of a connection are its number; `ECHO` is for what is to be said back, `SEND` for who wants to receive without end.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The number of connections that are said back to.
pub const ECHO: u32 = u32::MAX;

/// The number of connections that everything is sent on that they take.
pub const SEND: u32 = u32::MAX - 1;

/// A sink on both protocols, at one address.
pub struct Sink {
    /// Where.
    pub address: SocketAddr,
    arrived: Arc<Mutex<HashMap<u32, Recording>>>,
}

/// When how much had arrived: the instant, and all bytes up to then.
#[derive(Clone, Default)]
pub struct Recording(Arc<Mutex<Vec<(Instant, u64)>>>);

impl Sink {
    /// Serves on these two until the process ends.
    pub fn on(listener: TcpListener, datagrams: UdpSocket) -> Self {
        let address = listener.local_addr().expect("a listener has an address");
        let arrived = Arc::new(Mutex::new(HashMap::new()));
        let all = Arc::clone(&arrived);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                // What breaks off is the load's own end.
                thread::spawn(move || serve(stream, &all).ok());
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
                let _ = datagrams.send_to(&buffer[..length], from);
            }
        });
        Self { address, arrived }
    }

    /// On this device.
    pub fn here() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let datagrams =
            UdpSocket::bind(listener.local_addr().expect("an address")).expect("the same for UDP");
        Self::on(listener, datagrams)
    }

    /// What arrives on that connection.
    pub fn recording(&self, number: u32) -> Recording {
        self.arrived.lock().expect("nobody panics").entry(number).or_default().clone()
    }
}

fn serve(mut stream: TcpStream, all: &Mutex<HashMap<u32, Recording>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut number = [0; 4];
    stream.read_exact(&mut number)?;
    let number = u32::from_be_bytes(number);
    let mut buffer = vec![0; 256 * 1024];
    if number == ECHO {
        loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..length])?;
        }
    }
    if number == SEND {
        loop {
            stream.write_all(&buffer[..64 * 1024])?;
        }
    }
    let recording = all.lock().expect("nobody panics").entry(number).or_default().clone();
    recording.fill(&mut stream)
}

impl Recording {
    /// Reads to the end and notes what arrives.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn fill(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        let mut total = 0;
        loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            total += length as u64;
            self.0.lock().expect("nobody panics").push((Instant::now(), total));
        }
    }

    /// All that had arrived by then.
    pub fn by(&self, at: Instant) -> u64 {
        let all = self.0.lock().expect("nobody panics");
        let before = all.partition_point(|(when, _)| *when <= at);
        before.checked_sub(1).map_or(0, |last| all[last].1)
    }

    /// What arrived in between.
    pub fn between(&self, from: Instant, time: Duration) -> u64 {
        self.by(from + time) - self.by(from)
    }

    /// The rate in between, bits a second: from one arrival to another, since a slow rate has few of them.
    pub fn rate(&self, from: Instant, time: Duration) -> f64 {
        let all = self.0.lock().expect("nobody panics");
        let before = all.partition_point(|(when, _)| *when < from);
        let after = all.partition_point(|(when, _)| *when <= from + time);
        match (all.get(before), after.checked_sub(1).and_then(|last| all.get(last))) {
            (Some((first, less)), Some((last, more))) if last > first => {
                (more - less) as f64 * 8.0 / last.duration_since(*first).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// When the first byte arrived.
    pub fn first(&self) -> Option<Instant> {
        self.0.lock().expect("nobody panics").first().map(|(when, _)| *when)
    }

    /// The most by which any window has more than the rate (bytes a second) allows, bytes.
    pub fn excess(&self, rate: f64) -> f64 {
        let all = self.0.lock().expect("nobody panics");
        let Some((first, _)) = all.first() else { return 0.0 };
        let (mut least, mut most, mut before) = (f64::MAX, 0.0_f64, 0);
        for (when, total) in all.iter() {
            let allowed = rate * when.duration_since(*first).as_secs_f64();
            least = least.min(before as f64 - allowed);
            most = most.max(*total as f64 - allowed - least);
            before = *total;
        }
        most
    }

    /// From `from` on, the first instant from which on a window has within five hundredths of what the rate gives, looked for
    /// millisecond by millisecond.
    pub fn settles(&self, from: Instant, rate: f64, window: Duration) -> Option<Duration> {
        let wanted = rate * window.as_secs_f64();
        (0..1000).map(Duration::from_millis).find(|later| {
            let got = self.between(from + *later, window) as f64;
            (got - wanted).abs() <= 0.05 * wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(samples: &[(u64, u64)]) -> (Instant, Recording) {
        let start = Instant::now();
        let all = samples.iter().map(|(millis, total)| (start + Duration::from_millis(*millis), *total));
        (start, Recording(Arc::new(Mutex::new(all.collect()))))
    }

    #[test]
    fn bytes_are_counted_by_the_time_of_their_arrival() {
        let (start, all) = recording(&[(10, 100), (20, 300), (40, 400)]);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!([5, 10, 25, 50].map(|millis| all.by(at(millis))), [0, 100, 300, 400]);
        assert_eq!(all.between(at(15), Duration::from_millis(10)), 200);
        // From 100 at 10 ms to 400 at 40 ms.
        assert!((all.rate(start, Duration::from_millis(45)) - 80_000.0).abs() < 1.0);
    }

    #[test]
    fn the_excess_is_that_of_the_worst_window() {
        // 1,000 bytes a second with 200 at once in the middle: with the 90 just before them 290, of which 1 was allowed.
        let (_, all) = recording(&[(0, 10), (100, 100), (101, 300), (300, 400)]);
        assert!((all.excess(1000.0) - 289.0).abs() < 1.0, "{}", all.excess(1000.0));
    }
}
