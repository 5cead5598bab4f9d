//! Clients of the proxies on plain sockets, for what curl cannot show: when exactly a connection was reset, what was in
//! flight, requests byte by byte.

use std::io::{BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::control::{content_length, read_head};
use crate::ports::Ports;

/// What an app shows to a proxy.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name.
    pub app: String,
    /// The password.
    pub token: String,
}

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// SOCKS5.
    Socks,
    /// HTTP CONNECT.
    Connect,
}

/// How the proxy said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    /// The connection broke before an answer.
    Broken(std::io::ErrorKind),
    /// A SOCKS5 reply code; 0xff when the credentials were refused.
    Socks(u8),
    /// An HTTP status, and the reason in the body.
    Http(u16, String),
}

impl From<std::io::Error> for No {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.kind())
    }
}

/// The bytes of a whole SOCKS5 conversation up to the request: greeting, credentials, CONNECT.
pub fn socks_request(who: &Credentials, target: SocketAddr) -> Vec<u8> {
    let mut bytes = vec![5, 1, 2, 1];
    for text in [&who.app, &who.token] {
        bytes.push(u8::try_from(text.len()).expect("short credentials"));
        bytes.extend(text.as_bytes());
    }
    bytes.extend([5, 1, 0]);
    match target.ip() {
        IpAddr::V4(ip) => {
            bytes.push(1);
            bytes.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(4);
            bytes.extend(ip.octets());
        }
    }
    bytes.extend(target.port().to_be_bytes());
    bytes
}

/// The value of `Proxy-Authorization` for a run.
pub fn basic(who: &Credentials) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let plain = format!("{}:{}", who.app, who.token);
    let mut text = String::from("Basic ");
    for group in plain.as_bytes().chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The head of a CONNECT request.
pub fn connect_request(who: &Credentials, target: SocketAddr) -> Vec<u8> {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {}\r\n\r\n", basic(who))
        .into()
}

/// Sends the request for a connection and does not wait for the answer.
///
/// # Errors
/// The system's own.
pub fn ask(ports: &Ports, door: Door, who: &Credentials, target: SocketAddr) -> std::io::Result<TcpStream> {
    let address = match door {
        Door::Socks => ports.socks,
        Door::Connect => ports.http,
    };
    ask_at(address, door, who, target)
}

fn ask_at(
    address: SocketAddr,
    door: Door,
    who: &Credentials,
    target: SocketAddr,
) -> std::io::Result<TcpStream> {
    let request = match door {
        Door::Socks => socks_request(who, target),
        Door::Connect => connect_request(who, target),
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(&request)?;
    Ok(stream)
}

/// Reads the answer to [`ask`]; nothing behind it is taken from the socket.
///
/// # Errors
/// Every kind of no.
pub fn answer(door: Door, stream: &TcpStream) -> Result<(), No> {
    match door {
        Door::Socks => socks_answer(stream),
        Door::Connect => http_answer(stream),
    }
}

/// A connection to a target through a proxy.
///
/// # Errors
/// Every kind of no.
pub fn open(ports: &Ports, door: Door, who: &Credentials, target: SocketAddr) -> Result<TcpStream, No> {
    let stream = ask(ports, door, who, target)?;
    answer(door, &stream)?;
    Ok(stream)
}

/// The same, of a proxy that is known by its address.
///
/// # Errors
/// Every kind of no.
pub fn open_at(
    address: SocketAddr,
    door: Door,
    who: &Credentials,
    target: SocketAddr,
) -> Result<TcpStream, No> {
    let stream = ask_at(address, door, who, target)?;
    answer(door, &stream)?;
    Ok(stream)
}

fn socks_answer(mut stream: &TcpStream) -> Result<(), No> {
    let mut start = [0; 4];
    stream.read_exact(&mut start[..2])?;
    if start[1] != 2 {
        return Err(No::Socks(0xff));
    }
    stream.read_exact(&mut start[..2])?;
    if start[1] != 0 {
        return Err(No::Socks(0xff));
    }
    stream.read_exact(&mut start)?;
    let mut bound = vec![0; if start[3] == 4 { 18 } else { 6 }];
    stream.read_exact(&mut bound)?;
    if start[1] == 0 { Ok(()) } else { Err(No::Socks(start[1])) }
}

fn http_answer(stream: &TcpStream) -> Result<(), No> {
    // One byte at a time: what follows a success is the tunnel's.
    let mut reader = BufReader::with_capacity(1, stream);
    let head = read_head(&mut reader)?;
    let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
    if status == 200 {
        return Ok(());
    }
    let mut body = vec![0; content_length(&head)];
    reader.read_exact(&mut body)?;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    Err(No::Http(status, body["reason"].as_str().unwrap_or_default().to_owned()))
}

/// Waits until the kernel has seen the connection reset or closed both ways, without reading from it; `None` when the
/// time is up before.
pub fn hung_up(stream: &TcpStream, time: Duration) -> Option<Instant> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        // No event is asked for: errors and hang-ups are always reported.
        let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::empty())];
        match poll(&mut fds, Some(&left)) {
            Ok(0) if Instant::now() >= end => return None,
            Ok(n) if n > 0 => return Some(Instant::now()),
            _ => {}
        }
    }
}

/// Bytes that have arrived and were not read yet.
pub fn unread(stream: &TcpStream) -> u64 {
    rustix::io::ioctl_fionread(stream).unwrap_or(0)
}

/// Reads to the end; how many bytes came, and whether the end was a reset.
pub fn read_out(mut stream: &TcpStream) -> (u64, bool) {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (total, false),
            Ok(n) => total += n as u64,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return (total, error.kind() == std::io::ErrorKind::ConnectionReset),
        }
    }
}
