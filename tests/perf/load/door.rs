//! How a connection to the origin is opened through a proxy: nothing, SOCKS5 (RFC 1928, 1929) or HTTP CONNECT, written
//! out here so that the client's part costs the same for every proxy. The messages are made once.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A way to the origin.
pub struct Door {
    proxy: SocketAddr,
    steps: Vec<Step>,
}

/// Bytes to send, then what has to come back.
struct Step {
    send: Vec<u8>,
    expect: Expect,
}

enum Expect {
    /// Exactly this many bytes that begin with these.
    Bytes { begin: &'static [u8], length: usize },
    /// A head of an HTTP response with status 200.
    Head,
}

impl Door {
    /// Straight to that address.
    pub fn tcp(proxy: SocketAddr) -> Self {
        Self { proxy, steps: Vec::new() }
    }

    /// By SOCKS5, with a user name and password where given. The origin is named by its IPv4 address.
    pub fn socks(proxy: SocketAddr, origin: SocketAddr, credentials: Option<(String, String)>) -> Self {
        let method = if credentials.is_some() { 2 } else { 0 };
        let begin: &[u8] = if method == 2 { &[5, 2] } else { &[5, 0] };
        let mut steps = vec![Step { send: vec![5, 1, method], expect: Expect::Bytes { begin, length: 2 } }];
        if let Some((user, password)) = credentials {
            let mut send = vec![1, u8::try_from(user.len()).expect("a short user name")];
            send.extend(user.bytes());
            send.push(u8::try_from(password.len()).expect("a short password"));
            send.extend(password.bytes());
            steps.push(Step { send, expect: Expect::Bytes { begin: &[1, 0], length: 2 } });
        }
        let SocketAddr::V4(origin) = origin else { panic!("the origin is on IPv4") };
        let mut send = vec![5, 1, 0, 1];
        send.extend(origin.ip().octets());
        send.extend(origin.port().to_be_bytes());
        steps.push(Step { send, expect: Expect::Bytes { begin: &[5, 0, 0, 1], length: 10 } });
        Self { proxy, steps }
    }

    /// By HTTP CONNECT, with Basic credentials where given.
    pub fn http(proxy: SocketAddr, origin: SocketAddr, credentials: Option<(String, String)>) -> Self {
        let field = credentials.map_or(String::new(), |(user, password)| {
            format!("Proxy-Authorization: Basic {}\r\n", base64(format!("{user}:{password}").as_bytes()))
        });
        let send = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n{field}\r\n").into_bytes();
        Self { proxy, steps: vec![Step { send, expect: Expect::Head }] }
    }

    /// A connection that has reached the origin.
    ///
    /// # Errors
    /// A socket's error, or `ConnectionRefused` when the proxy answered otherwise than with success.
    pub fn open(&self) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.proxy)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        for step in &self.steps {
            stream.write_all(&step.send)?;
            match &step.expect {
                Expect::Bytes { begin, length } => {
                    let mut answer = [0; 16];
                    stream.read_exact(&mut answer[..*length])?;
                    if !answer.starts_with(begin) {
                        return Err(refused(&format!("{:?}", &answer[..*length])));
                    }
                }
                Expect::Head => head(&mut stream)?,
            }
        }
        Ok(stream)
    }
}

/// The origin says nothing first, so all that comes is the head.
fn head(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::new();
    let mut block = [0; 512];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut block)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => head.extend(&block[..n]),
        }
    }
    if head.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(refused(&String::from_utf8_lossy(&head))) }
}

fn refused(answer: &str) -> Error {
    Error::new(ErrorKind::ConnectionRefused, format!("the proxy answered {answer}"))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for n in 0..4 {
            let letter = char::from(ALPHABET[(bits >> (18 - 6 * n) & 63) as usize]);
            text.push(if n <= group.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
