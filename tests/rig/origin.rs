//! An HTTP/1.1 server of our own, on 127.0.0.1 or wherever asked: small enough to be trusted, and it counts what really
//! arrived, which is what the cut and the accounting tests measure. One thread a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The server. It stops accepting when dropped.
///
/// - `GET /hello` answers `hello`;
/// - `GET /big?bytes=N` answers N bytes of `x`;
/// - `POST /upload` reads the body and answers how many bytes it had;
/// - anything else is 404.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    connections: AtomicU64,
    open: AtomicU64,
    received: AtomicU64,
    heads: Mutex<Vec<String>>,
    last_byte: Mutex<Option<Instant>>,
}

impl Origin {
    /// Serves on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Serves there. In the network namespace of the calling thread (see [`crate::World`]).
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn at(address: SocketAddr) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.stop.load(Ordering::Acquire) {
                    return;
                }
                serving.connections.fetch_add(1, Ordering::Relaxed);
                serving.open.fetch_add(1, Ordering::Relaxed);
                let shared = serving.clone();
                std::thread::spawn(move || {
                    // A client that goes away is an event of the test, not a fault of the server.
                    let _ = serve(&stream, &shared);
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Body bytes received so far, counted as they arrive.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// When the last body byte arrived.
    pub fn last_byte(&self) -> Option<Instant> {
        *self.shared.last_byte.lock().expect("no holder panics")
    }

    /// Every request head so far, request line first, as it arrived.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().expect("no holder panics").clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(head) = head(&mut reader)? else { return Ok(()) };
        let request: Vec<&str> = head.lines().next().unwrap_or_default().split(' ').collect();
        let (method, target) =
            (request.first().copied().unwrap_or(""), request.get(1).copied().unwrap_or(""));
        let length = field(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let chunked =
            field(&head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        if field(&head, "expect").is_some() {
            (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        shared.heads.lock().expect("no holder panics").push(head.clone());
        let received =
            if chunked { read_chunks(&mut reader, shared)? } else { read(&mut reader, length, shared)? };
        let big = target.strip_prefix("/big?bytes=").and_then(|n| n.parse::<u64>().ok());
        match (method, target, big) {
            ("GET" | "HEAD", "/hello", _) => answer(stream, "200 OK", b"hello\n")?,
            ("POST" | "PUT", "/upload", _) => answer(stream, "200 OK", format!("{received}\n").as_bytes())?,
            ("GET", _, Some(bytes)) => big_answer(stream, bytes)?,
            _ => answer(stream, "404 Not Found", b"no such page\n")?,
        }
    }
}

fn head(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head[before..].trim_end().is_empty() {
            return Ok(Some(head));
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn read(reader: &mut impl Read, mut left: u64, shared: &Shared) -> std::io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = reader.read(&mut buffer[..most])? as u64;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        *shared.last_byte.lock().expect("no holder panics") = Some(Instant::now());
        shared.received.fetch_add(n, Ordering::Relaxed);
        total += n;
        left -= n;
    }
    Ok(total)
}

fn read_chunks(reader: &mut impl BufRead, shared: &Shared) -> std::io::Result<u64> {
    let mut total = 0;
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(|_| std::io::ErrorKind::InvalidData)?;
        total += read(reader, size, shared)?;
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if size == 0 {
            return Ok(total);
        }
    }
}

fn answer(mut stream: &TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())
}

fn big_answer(mut stream: &TcpStream, mut left: u64) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n").as_bytes())?;
    let block = vec![b'x'; 256 * 1024];
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.write_all(&block[..most])?;
        left -= most as u64;
    }
    Ok(())
}
