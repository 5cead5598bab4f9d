//! A flow over loopback for the tests: app <-> (client, relay, upstream) <-> server, and bytes whose place in the stream
//! can be told from their value.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use mexe_model::{FlowId, GrantId, Instant, RunId};
use mexe_relay::{Closed, LeaseHandle, LeaseKeys, Leases, Options, Outcome, PipePool, clock, relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub const IDLE: Duration = Duration::from_secs(60);

/// Two ends of one connection.
pub async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (near, far) = (near.unwrap(), far.unwrap().0);
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

pub fn keys(flow: u64) -> LeaseKeys {
    let app = "app".parse().unwrap();
    LeaseKeys { flow: FlowId(flow), run: RunId(1), app, grant: Some(GrantId(1)), qos_grant: None, root: None }
}

/// A ledger that remembers what was closed.
pub fn ledger() -> (Leases, Arc<Mutex<Vec<Closed>>>) {
    let closed = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&closed);
    (Leases::new(move |end| kept.lock().unwrap().push(end)), closed)
}

pub fn options() -> Options {
    Options::new(IDLE, PipePool::default())
}

/// A running flow, seen from both ends.
pub struct Flow {
    pub app: TcpStream,
    pub server: TcpStream,
    pub leases: Leases,
    pub closed: Arc<Mutex<Vec<Closed>>>,
    pub handle: LeaseHandle,
    pub task: JoinHandle<Outcome>,
}

impl Flow {
    pub async fn start(options: Options) -> Self {
        let (leases, closed) = ledger();
        let ((app, client), (upstream, server)) = tokio::join!(connection(), connection());
        let mut lease = leases.open(keys(1), 0, clock::now());
        let handle = lease.handle();
        let task = tokio::spawn(async move { relay::run(client, upstream, &mut lease, options).await });
        Self { app, server, leases, closed, handle, task }
    }

    pub async fn outcome(self) -> (Outcome, Closed) {
        let outcome = self.task.await.unwrap();
        let closed = self.closed.lock().unwrap().pop().expect("the lease has closed");
        assert!(self.closed.lock().unwrap().is_empty(), "a lease closes once");
        assert_eq!((outcome.bytes_up, outcome.bytes_down), (closed.bytes_up, closed.bytes_down));
        (outcome, closed)
    }
}

/// The bytes of the stream repeat after this many: a prime, so that no buffer's size is a multiple of it.
const PERIOD: usize = 65_521;

/// The bytes from a place of the stream on, at most 300 000: made once, because the tests are not to be the slow part.
pub fn stream_at(place: u64, len: usize) -> &'static [u8] {
    static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let byte = |n: usize| ((n % PERIOD) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
        (0..PERIOD + 300_000).map(byte).collect()
    });
    let start = usize::try_from(place % PERIOD as u64).unwrap();
    &STREAM[start..start + len]
}

pub fn bytes_at(place: u64, len: usize) -> Vec<u8> {
    stream_at(place, len).to_vec()
}

/// Writes `total` bytes of the stream and returns how many were taken before an error.
pub async fn send(stream: &mut (impl AsyncWriteExt + Unpin), total: u64) -> u64 {
    let mut sent = 0;
    while sent < total {
        let chunk = stream_at(sent, usize::try_from((total - sent).min(100_003)).unwrap());
        let mut rest = chunk;
        while !rest.is_empty() {
            match stream.write(rest).await {
                Ok(n) => {
                    sent += n as u64;
                    rest = &rest[n..];
                }
                Err(_) => return sent,
            }
        }
    }
    sent
}

/// Reads and checks to the end; returns the count and whether the end was clean.
pub async fn receive(stream: &mut (impl AsyncReadExt + Unpin)) -> (u64, std::io::Result<()>) {
    receive_counted(stream, &AtomicU64::new(0)).await
}

pub async fn receive_counted(
    stream: &mut (impl AsyncReadExt + Unpin),
    count: &AtomicU64,
) -> (u64, std::io::Result<()>) {
    let mut received = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return (received, Ok(())),
            Ok(n) => {
                assert!(&buffer[..n] == stream_at(received, n), "bytes differ after {received}");
                received += n as u64;
                count.store(received, Ordering::Relaxed);
            }
            Err(error) => return (received, Err(error)),
        }
    }
}

pub fn since(start: Instant) -> Duration {
    clock::now().since(start)
}

/// Open descriptors of this process.
pub fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
