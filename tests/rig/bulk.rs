//! One bulk transfer through the gate with every queue on its way full: the state in which a cut that only closes sockets
//! would still deliver megabytes. The sender writes as much as it can, the receiver reads nothing or little.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::control::read_head;
use crate::ports::Ports;
use crate::raw::{self, Credentials, Door, basic};
use crate::wait;

/// What the sender would send if nobody stopped it.
pub const SIZE: u64 = 1 << 30;

/// Which proxy, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A tunnel.
    Tunnel(Door),
    /// A forward request.
    Forward,
}

/// Where the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A download: the client receives.
    Client,
    /// An upload: the origin receives.
    Origin,
}

/// How the receiver reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Not at all.
    Still,
    /// 32 KiB a millisecond, at most.
    Slow,
}

/// A transfer that has begun.
pub struct Bulk {
    receiver: TcpStream,
    sender: TcpStream,
    sent: Arc<AtomicU64>,
    read: Arc<AtomicU64>,
    writing: JoinHandle<std::io::Error>,
    reading: Option<JoinHandle<(u64, bool)>>,
}

/// How a transfer was cut.
#[derive(Clone, Debug)]
pub struct Cut {
    /// When the receiver's kernel had the reset.
    pub at: Instant,
    /// Bytes that the sender's kernel had taken.
    pub sent: u64,
    /// Bytes that the receiver ever got.
    pub received: u64,
}

impl Bulk {
    /// Begins a transfer between a client and a listener of the test, and waits until it is stuck, or slow.
    ///
    /// # Panics
    /// When the gate does not let it.
    #[track_caller]
    pub fn begin(ports: &Ports, who: &Credentials, way: Way, to: To, pace: Pace) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = listener.local_addr().expect("a listener has an address");
        let accepting = std::thread::spawn(move || listener.accept().expect("the gate connects").0);
        let (client, origin) = match way {
            Way::Tunnel(door) => {
                let client = raw::open(ports, door, who, target).expect("the flow is permitted");
                (client, accepting.join().expect("a plain accept"))
            }
            Way::Forward => forward(ports, who, target, to, accepting),
        };
        let (receiver, sender) = match to {
            To::Client => (client, origin),
            To::Origin => (origin, client),
        };
        let (sent, read) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let writing = write_on(sender.try_clone().expect("a socket can be shared"), sent.clone());
        let reading = (pace == Pace::Slow)
            .then(|| read_slowly(receiver.try_clone().expect("a socket can be shared"), read.clone()));
        let bulk = Self { receiver, sender, sent, read, writing, reading };
        bulk.wait_until_stuck();
        bulk
    }

    /// The connection of the sender has taken nothing for a while, or much more than was read.
    fn wait_until_stuck(&self) {
        let mut last = (0, Instant::now());
        wait::until("the queues to be full", || {
            let sent = self.sent.load(Ordering::Relaxed);
            if sent != last.0 {
                last = (sent, Instant::now());
            }
            let stuck = sent > 0 && last.1.elapsed() > Duration::from_millis(30);
            let ahead = self.reading.is_some() && sent > self.read.load(Ordering::Relaxed) + (1 << 20);
            (stuck || ahead).then_some(())
        });
    }

    /// Bytes that the receiver's kernel has taken so far.
    pub fn arrived(&self) -> u64 {
        self.read.load(Ordering::Relaxed) + raw::unread(&self.receiver)
    }

    /// The connection of the receiver, to wait on.
    pub fn receiver(&self) -> &TcpStream {
        &self.receiver
    }

    /// Runs what is to cut the transfer, waits for the reset, and sees that nothing came after it.
    ///
    /// # Panics
    /// When there is no reset within 10 seconds, or a byte came after it, or all bytes came.
    #[track_caller]
    pub fn cut_by<T>(self, act: impl FnOnce() -> T) -> (T, Cut) {
        let watched = self.receiver.try_clone().expect("a socket can be shared");
        let watching = std::thread::spawn(move || raw::hung_up(&watched, Duration::from_secs(10)));
        let done = act();
        (done, self.was_cut(watching.join().expect("a poll does not panic")))
    }

    #[track_caller]
    fn was_cut(self, at: Option<Instant>) -> Cut {
        let at = at.expect("the receiver is reset within 10 seconds");
        let arrived = self.arrived();
        let fault = self.writing.join().expect("the sender does not panic");
        let broken = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
        assert!(broken.contains(&fault.kind()), "the sender was not reset: {fault}");
        let (received, reset) = match self.reading {
            Some(reading) => reading.join().expect("the reader does not panic"),
            None => {
                let out = raw::read_out(&self.receiver);
                assert_eq!(out.0, arrived, "bytes came after the reset");
                out
            }
        };
        assert!(reset, "the receiver saw an orderly end after {received} bytes");
        assert!(received < SIZE, "all bytes came");
        let _ = self.sender.shutdown(Shutdown::Both);
        Cut { at, sent: self.sent.load(Ordering::Relaxed), received }
    }
}

/// A forward request that is under way: a GET whose answer comes, or a POST whose body goes.
fn forward(
    ports: &Ports,
    who: &Credentials,
    target: SocketAddr,
    to: To,
    accepting: JoinHandle<TcpStream>,
) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(ports.http).expect("the gate listens");
    let (method, length) = match to {
        To::Client => ("GET", String::new()),
        To::Origin => ("POST", format!("Content-Length: {SIZE}\r\n")),
    };
    let authorization = basic(who);
    let head = format!(
        "{method} http://{target}/ HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {authorization}\r\n{length}\r\n"
    );
    client.write_all(head.as_bytes()).expect("the gate reads");
    let mut origin = accepting.join().expect("a plain accept");
    read_head(&mut BufReader::with_capacity(1, &origin)).expect("the gate forwards the head");
    if to == To::Client {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        origin.write_all(head.as_bytes()).expect("the gate reads");
        read_head(&mut BufReader::with_capacity(1, &client)).expect("the gate forwards the head");
    }
    (client, origin)
}

fn write_on(mut stream: TcpStream, sent: Arc<AtomicU64>) -> JoinHandle<std::io::Error> {
    std::thread::spawn(move || {
        let block = vec![b'x'; 64 * 1024];
        let mut left = SIZE;
        while left > 0 {
            match stream.write(&block) {
                Ok(n) => {
                    sent.fetch_add(n as u64, Ordering::Relaxed);
                    left = left.saturating_sub(n as u64);
                }
                Err(error) => return error,
            }
        }
        std::io::Error::other("everything was sent")
    })
}

fn read_slowly(mut stream: TcpStream, read: Arc<AtomicU64>) -> JoinHandle<(u64, bool)> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return (read.load(Ordering::Relaxed), false),
                Ok(n) => {
                    read.fetch_add(n as u64, Ordering::Relaxed);
                }
                Err(error) => {
                    let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
                    return (read.load(Ordering::Relaxed), reset);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    })
}
