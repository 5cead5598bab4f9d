//! What the demo's scenes use in place of curl: asks the origin for a page through the gate, by SOCKS5, by CONNECT or by a
//! forward request, and tells what came back. Blocking, with time limits; nothing else of the gate is used.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mexe_wire::socks5::{Command, client};
use mexe_wire::{RawHost, Target};

/// Nothing in a scene takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who asks: user name and password on the proxies.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub user: String,
    pub password: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The page, from the origin.
    Page(String),
    /// HTTP status and the whole answer, from the gate.
    Refused(u16, String),
    /// SOCKS5: no method or wrong credentials.
    NotAuthenticated,
    /// SOCKS5: a reply other than success.
    Reply(u8),
}

/// Asks by SOCKS5 CONNECT.
pub(super) fn by_socks(proxy: SocketAddr, who: Option<&Who>, origin: SocketAddr) -> io::Result<Answer> {
    match socks_tunnel(proxy, who, origin)? {
        Ok(mut tunnel) => get(&mut tunnel, "/", origin),
        Err(answer) => Ok(answer),
    }
}

/// A tunnel by SOCKS5, for a scene that moves its own bytes.
pub(super) fn socks_tunnel(
    proxy: SocketAddr,
    who: Option<&Who>,
    origin: SocketAddr,
) -> io::Result<Result<TcpStream, Answer>> {
    let mut stream = connect(proxy)?;
    let Some(who) = who else {
        stream.write_all(&[5, 1, 0])?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer)?;
        return Ok(Err(Answer::NotAuthenticated));
    };
    stream.write_all(&client::greeting())?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer)?;
    stream.write_all(&client::credentials(&who.user, &who.password).map_err(io::Error::other)?)?;
    stream.read_exact(&mut answer)?;
    if answer != [1, 0] {
        return Ok(Err(Answer::NotAuthenticated));
    }
    let target = Target { host: RawHost::Address(origin.ip()), port: origin.port() };
    stream.write_all(&client::request(Command::Connect, &target).map_err(io::Error::other)?)?;
    // The gate binds IPv4 addresses here, so a reply is ten bytes; a refusal is as well.
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    match reply {
        [5, 0, ..] => Ok(Ok(stream)),
        [_, code, ..] => Ok(Err(Answer::Reply(code))),
    }
}

/// Asks by HTTP CONNECT.
pub(super) fn by_connect(proxy: SocketAddr, who: Option<&Who>, origin: SocketAddr) -> io::Result<Answer> {
    let mut stream = connect(proxy)?;
    write!(stream, "CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n{}\r\n", authorization(who))?;
    let head = read_head(&mut stream)?;
    match status(&head) {
        200 => get(&mut stream, "/", origin),
        status => Ok(Answer::Refused(status, head + &rest(&mut stream))),
    }
}

/// Asks by a forward request.
pub(super) fn by_forward(proxy: SocketAddr, who: Option<&Who>, origin: SocketAddr) -> io::Result<Answer> {
    let mut stream = connect(proxy)?;
    let authorization = authorization(who);
    write!(
        stream,
        "GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n{authorization}Connection: close\r\n\r\n"
    )?;
    let head = read_head(&mut stream)?;
    let body = rest(&mut stream);
    match status(&head) {
        200 => Ok(Answer::Page(body)),
        status => Ok(Answer::Refused(status, head + &body)),
    }
}

fn connect(proxy: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&proxy, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn authorization(who: Option<&Who>) -> String {
    who.map_or_else(String::new, |who| {
        let pair = STANDARD.encode(format!("{}:{}", who.user, who.password));
        format!("Proxy-Authorization: Basic {pair}\r\n")
    })
}

fn get(stream: &mut TcpStream, path: &str, origin: SocketAddr) -> io::Result<Answer> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\n\r\n")?;
    let head = read_head(stream)?;
    let body = rest(stream);
    Ok(if status(&head) == 200 { Answer::Page(body) } else { Answer::Refused(status(&head), head + &body) })
}

/// Up to and with the empty line.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > 16 * 1024 {
            return Err(io::Error::other("the head of the answer does not end"));
        }
    }
    String::from_utf8(head).map_err(io::Error::other)
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn rest(stream: &mut TcpStream) -> String {
    let mut body = Vec::new();
    // A kept-alive answer ends with the time limit: what came until then is the answer.
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let _ = stream.take(1 << 20).read_to_end(&mut body);
    String::from_utf8_lossy(&body).into_owned()
}
