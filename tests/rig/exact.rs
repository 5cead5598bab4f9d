//! Requests exactly as a test writes them: heads of HTTP requests byte for byte, hosts as any text, without a client in
//! between that would tidy them up. For what a hostile app sends and curl never would.

use std::io::{BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::control::{content_length, read_head};
use crate::raw::{Credentials, basic};
use crate::{Rig, Run};

/// One connection to the HTTP proxy, or to any other HTTP server.
pub struct Http {
    stream: BufReader<TcpStream>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head, with its empty line.
    pub head: String,
    /// The body, as long as the head said.
    pub body: Vec<u8>,
}

impl Http {
    /// Connects; answers that take longer than 20 seconds are taken for none.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_nodelay(true).expect("a fresh socket");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout above zero");
        Self { stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are. A connection that broke shows in the answer.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// The next answer, `None` when the connection ended or broke before a whole one. An answer without a length has no
    /// body here; one in chunks has the chunks' bytes.
    pub fn answer(&mut self) -> Option<Answer> {
        let head = read_head(&mut self.stream).ok()?;
        let status = head.get(9..12)?.parse().ok()?;
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { self.chunks()? } else { self.bytes(content_length(&head))? };
        Some(Answer { status, head, body })
    }

    /// Whether the other side has ended the connection, nothing else arriving first.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
            || self.stream.get_ref().take_error().is_ok_and(|error| error.is_some())
    }

    /// The socket; what was read ahead is lost.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let mut size = String::new();
            std::io::BufRead::read_line(&mut self.stream, &mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            all.extend(self.bytes(size)?);
            self.bytes(2)?;
            if size == 0 {
                return Some(all);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

impl Answer {
    /// The reason of a refusal, which header and body have to agree on; empty when it is none.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn reason(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let body = json["reason"].as_str().unwrap_or_default().to_owned();
        if let Some(status) = self.field("proxy-status") {
            let details = status.split("details=\"").nth(1).and_then(|rest| rest.split('"').next());
            assert_eq!(details, Some(body.as_str()), "header and body differ: {status}");
        }
        body
    }

    /// A field of the head.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// The three ways through the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// HTTP CONNECT.
    Connect,
    /// An absolute-form request.
    Forward,
    /// SOCKS5 CONNECT.
    Socks,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Forward, Self::Socks];

    /// The journal's name of the door.
    pub const fn ingress(self) -> &'static str {
        match self {
            Self::Connect => "http-connect",
            Self::Forward => "http-forward",
            Self::Socks => "socks5",
        }
    }
}

/// What an app with these credentials shows to the proxies.
pub fn credentials(app: &str, run: &Run) -> Credentials {
    Credentials { app: app.to_owned(), token: run.token.clone() }
}

/// Asks for `GET /hello` at a host, written as it is, and tells how that went: `hello` when the origin's page came, else
/// the reason by which the gate refused. SOCKS5 has no place for a reason: there it is the one that the journal got.
///
/// # Panics
/// When the answer is neither.
#[track_caller]
pub fn ask(rig: &Rig, way: Way, who: &Credentials, host: &str, port: u16) -> String {
    match way {
        Way::Connect => {
            let mut http = Http::to(rig.ports().http);
            let authority = format!("{}:{port}", bracketed(host));
            http.send(format!(
                "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: {}\r\n\r\n",
                basic(who)
            ));
            let answer = http.answer().expect("an answer to CONNECT");
            if answer.status == 200 { hello(http, host) } else { answer.reason() }
        }
        Way::Forward => {
            let mut http = Http::to(rig.ports().http);
            let authority = format!("{}:{port}", bracketed(host));
            http.send(format!(
                "GET http://{authority}/hello HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: {}\r\n\r\n",
                basic(who)
            ));
            page_or_reason(&http.answer().expect("an answer to a forward request"))
        }
        Way::Socks => {
            let seen = last_record(rig);
            match socks(rig.ports().socks, who, host, port) {
                Ok(stream) => hello(Http { stream: BufReader::new(stream) }, host),
                Err(0xff) => "not authenticated".to_owned(),
                Err(_) => journalled_after(rig, seen, who, host, port),
            }
        }
    }
}

/// A SOCKS5 connection for a host as text (an address when it is one); the reply code when it was refused, 0xff when
/// the credentials were.
///
/// # Errors
/// The reply.
///
/// # Panics
/// When the gate does not answer as SOCKS5 does.
pub fn socks(proxy: SocketAddr, who: &Credentials, host: &str, port: u16) -> Result<TcpStream, u8> {
    let mut stream = TcpStream::connect(proxy).expect("the gate listens");
    stream.set_nodelay(true).expect("a fresh socket");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout above zero");
    let short = |text: &str| u8::try_from(text.len()).expect("at most 255 bytes");
    let mut bytes = vec![5, 1, 2, 1];
    for text in [&who.app, &who.token] {
        bytes.push(short(text));
        bytes.extend(text.as_bytes());
    }
    bytes.extend([5, 1, 0]);
    match host.parse() {
        Ok(IpAddr::V4(v4)) => bytes.extend([&[1], &v4.octets()[..]].concat()),
        Ok(IpAddr::V6(v6)) => bytes.extend([&[4], &v6.octets()[..]].concat()),
        Err(_) => bytes.extend([&[3, short(host)], host.as_bytes()].concat()),
    }
    bytes.extend(port.to_be_bytes());
    stream.write_all(&bytes).expect("the gate reads");
    let mut start = [0; 4];
    stream.read_exact(&mut start[..2]).expect("an answer to the greeting");
    if start[1] != 2 {
        return Err(0xff);
    }
    stream.read_exact(&mut start[..2]).expect("an answer to the credentials");
    if start[1] != 0 {
        return Err(0xff);
    }
    stream.read_exact(&mut start).expect("a reply");
    let mut bound = vec![0; if start[3] == 4 { 18 } else { 6 }];
    stream.read_exact(&mut bound).expect("a whole reply");
    if start[1] == 0 { Ok(stream) } else { Err(start[1]) }
}

/// The number of the journal's last record.
pub fn last_record(rig: &Rig) -> u64 {
    rig.journal(["--limit", "1"]).last().and_then(|record| record["seq"].as_u64()).unwrap_or(0)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[track_caller]
fn hello(mut through: Http, host: &str) -> String {
    through.send(format!("GET /hello HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", bracketed(host)));
    page_or_reason(&through.answer().expect("an answer through the tunnel"))
}

#[track_caller]
fn page_or_reason(answer: &Answer) -> String {
    match (answer.status, answer.body.as_slice()) {
        (200, b"hello\n") => "hello".to_owned(),
        _ => {
            let reason = answer.reason();
            assert!(!reason.is_empty(), "neither the page nor a refusal: {answer:?}");
            reason
        }
    }
}

/// The reason that was written down for this request, which came after that record: of a refusal, or of a flow that
/// never came about. A refusal is in the journal before the answer, or it was counted to an equal one of the last second.
#[track_caller]
fn journalled_after(rig: &Rig, seen: u64, who: &Credentials, host: &str, port: u16) -> String {
    let target = match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{}:{port}", host.to_ascii_lowercase().trim_end_matches('.')),
    };
    crate::wait::until(&format!("a record of the refusal of `{host}`"), || {
        let records = rig.journal(["--app", &who.app, "--limit", "60"]);
        let own = |record: &&Value| {
            record["ingress"] == "socks5"
                && (record["target"] == target.as_str() || record["target"].is_null())
        };
        let (new, old): (Vec<_>, Vec<_>) =
            records.iter().filter(own).partition(|record| record["seq"].as_u64() > Some(seen));
        let is_count = |record: &Value| !record["detail"]["counted"].is_null();
        let reason = |record: &Value| record["reason"].as_str().map(str::to_owned);
        if let Some(found) = new.iter().filter(|record| !is_count(record)).find_map(|record| reason(record)) {
            return Some(found);
        }
        if new.iter().any(|record| record["decision"] == "allow") {
            // The end of the flow is still to come.
            return None;
        }
        let mut equal: Vec<_> = old.iter().filter_map(|record| reason(record)).collect();
        equal.sort_unstable();
        equal.dedup();
        match equal.as_slice() {
            [only] => Some(only.clone()),
            _ => new.iter().find_map(|record| reason(record)),
        }
    })
}
