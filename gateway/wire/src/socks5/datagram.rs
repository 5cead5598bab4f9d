//! The header in front of each datagram of an association (RFC 1928, section 7), both ways. Reading one takes no memory:
//! the destination stays where it is, as bytes that are equal for equal destinations. Called by the service for every
//! datagram that an app sends or gets.
//!
//! ```
//! use mexe_wire::socks5::{ReplyHeader, client, datagram};
//! use mexe_wire::{RawHost, Target};
//!
//! let target = Target { host: RawHost::Name("Example.org".into()), port: 53 };
//! let mut bytes = client::datagram(&target, b"question")?;
//! let read = datagram(&mut bytes)?;
//! assert_eq!(read.payload, b"question");
//! assert_eq!(read.destination.target()?.to_string(), "example.org:53");
//!
//! let reply = ReplyHeader::new("192.0.2.7:53".parse()?);
//! assert_eq!(reply.as_slice(), [0, 0, 0, 1, 192, 0, 2, 7, 0, 53]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mexe_model::Reason;

use super::{ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_NAME};
use crate::{RawHost, Target};

/// The longest header of a datagram that is handed to a client: an IPv6 address.
pub const MAX_REPLY_HEADER: usize = 4 + 16 + 2;
/// The longest header that a client can send: a name of 255 bytes.
pub const MAX_REQUEST_HEADER: usize = 4 + 1 + 255 + 2;

/// A datagram as it came from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Where it is to go.
    pub destination: Destination<'a>,
    /// What is to go there. May be empty.
    pub payload: &'a [u8],
}

/// The destination of a datagram, in its own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination<'a>(&'a [u8]);

impl<'a> Destination<'a> {
    /// Address type, address and port: the same bytes for the same destination, letter case in names aside.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The destination as the client wrote it, names in lower case.
    ///
    /// # Errors
    /// [`BadDatagram::Name`] when it is a name that is not UTF-8.
    pub fn target(self) -> Result<Target, BadDatagram> {
        let (kind, rest) = self.0.split_first().ok_or(BadDatagram::Short)?;
        let (address, port) = rest.split_last_chunk::<2>().ok_or(BadDatagram::Short)?;
        let host = match *kind {
            ADDRESS_IPV4 => RawHost::Address(Ipv4Addr::from(exactly(address)?).into()),
            ADDRESS_IPV6 => RawHost::Address(Ipv6Addr::from(exactly(address)?).into()),
            _ => {
                let name = address.get(1..).unwrap_or_default();
                RawHost::Name(std::str::from_utf8(name).map_err(|_| BadDatagram::Name)?.to_owned())
            }
        };
        Ok(Target { host, port: u16::from_be_bytes(*port) })
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BadDatagram> {
    bytes.try_into().map_err(|_| BadDatagram::Short)
}

/// Reads a datagram from a client. A name is put into lower case where it stands.
///
/// # Errors
/// [`BadDatagram`]: it goes nowhere, and nobody is told but the counters, as RFC 1928 asks.
pub fn datagram(bytes: &mut [u8]) -> Result<Datagram<'_>, BadDatagram> {
    let &[reserved_0, reserved_1, fragment, kind, first, ..] = &*bytes else {
        return Err(BadDatagram::Short);
    };
    if (reserved_0, reserved_1) != (0, 0) {
        return Err(BadDatagram::Reserved);
    }
    if fragment != 0 {
        return Err(BadDatagram::Fragment);
    }
    let address = match kind {
        ADDRESS_IPV4 => 4,
        ADDRESS_IPV6 => 16,
        ADDRESS_NAME if first == 0 => return Err(BadDatagram::Name),
        ADDRESS_NAME => 1 + usize::from(first),
        _ => return Err(BadDatagram::AddressType),
    };
    let (header, payload) = bytes.split_at_mut_checked(3 + 1 + address + 2).ok_or(BadDatagram::Short)?;
    if kind == ADDRESS_NAME {
        header.get_mut(5..4 + address).unwrap_or_default().make_ascii_lowercase();
    }
    if header.ends_with(&[0, 0]) {
        return Err(BadDatagram::Port);
    }
    Ok(Datagram { destination: Destination(header.get(3..).unwrap_or_default()), payload })
}

/// The header of datagrams that one sender's answers are handed to the client with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    bytes: [u8; MAX_REPLY_HEADER],
    length: usize,
}

impl ReplyHeader {
    /// For datagrams that came from there.
    pub fn new(from: SocketAddr) -> Self {
        let mut bytes = [0; MAX_REPLY_HEADER];
        let mut length = 3;
        let mut put = |more: &[u8]| {
            if let Some(room) = bytes.get_mut(length..length + more.len()) {
                room.copy_from_slice(more);
            }
            length += more.len();
        };
        match from.ip() {
            IpAddr::V4(address) => {
                put(&[ADDRESS_IPV4]);
                put(&address.octets());
            }
            IpAddr::V6(address) => {
                put(&[ADDRESS_IPV6]);
                put(&address.octets());
            }
        }
        put(&from.port().to_be_bytes());
        Self { bytes, length }
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Why a datagram of a client goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDatagram {
    /// An address type that RFC 1928 does not know.
    #[error("the address type of a socks5 datagram is unknown: use IPv4, a name or IPv6")]
    AddressType,
    /// A part of a larger datagram; RFC 1928 lets a server do without these.
    #[error("a socks5 datagram is a fragment: send it whole")]
    Fragment,
    /// The host name is empty or not UTF-8.
    #[error("the host name of a socks5 datagram is empty or not UTF-8")]
    Name,
    /// Nothing can be sent to port 0.
    #[error("a socks5 datagram is for port 0: ports are 1 to 65535")]
    Port,
    /// The reserved bytes are not 0.
    #[error("the reserved bytes of a socks5 datagram are not 0")]
    Reserved,
    /// The header is longer than the datagram.
    #[error("a socks5 datagram is shorter than its header")]
    Short,
}

impl BadDatagram {
    /// The reason to journal and count.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Fragment => Reason::CommandUnsupported,
            Self::AddressType | Self::Name | Self::Port | Self::Reserved | Self::Short => {
                Reason::RequestMalformed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(String, Vec<u8>), BadDatagram> {
        let mut bytes = bytes.to_vec();
        let read = datagram(&mut bytes)?;
        Ok((read.destination.target()?.to_string(), read.payload.to_vec()))
    }

    #[test]
    fn the_three_address_types_are_read() {
        for (bytes, target, payload) in [
            (&b"\0\0\0\x01\xc0\x00\x02\x01\x00\x35hello"[..], "192.0.2.1:53", &b"hello"[..]),
            (b"\0\0\0\x03\x0bExample.ORG\x01\xbb", "example.org:443", b""),
            (b"\0\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff\0", "[2001:db8::1]:65535", b"\0"),
        ] {
            assert_eq!(read(bytes), Ok((target.to_owned(), payload.to_vec())));
        }
    }

    #[test]
    fn each_broken_header_has_its_own_name() {
        for (bytes, bad, reason) in [
            (&b""[..], BadDatagram::Short, "request-malformed"),
            (b"\0\0\0\x01", BadDatagram::Short, "request-malformed"),
            (b"\0\0\0\x01\xc0\x00\x02\x01\x00", BadDatagram::Short, "request-malformed"),
            (b"\0\0\0\x03\x0bexample.org\x01", BadDatagram::Short, "request-malformed"),
            (b"\0\x01\0\x01\xc0\x00\x02\x01\x00\x35", BadDatagram::Reserved, "request-malformed"),
            (b"\0\0\x01\x01\xc0\x00\x02\x01\x00\x35", BadDatagram::Fragment, "command-unsupported"),
            (b"\0\0\x80\x01\xc0\x00\x02\x01\x00\x35", BadDatagram::Fragment, "command-unsupported"),
            (b"\0\0\0\x02\xc0\x00\x02\x01\x00\x35", BadDatagram::AddressType, "request-malformed"),
            (b"\0\0\0\x03\x00\x00\x35", BadDatagram::Name, "request-malformed"),
            (b"\0\0\0\x03\x02\xc3\x28\x00\x35", BadDatagram::Name, "request-malformed"),
            (b"\0\0\0\x01\xc0\x00\x02\x01\x00\x00", BadDatagram::Port, "request-malformed"),
        ] {
            assert_eq!(read(bytes), Err(bad), "{bytes:?}");
            assert_eq!(bad.reason().code(), reason);
        }
    }

    #[test]
    fn one_destination_has_one_key() {
        let key = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            datagram(&mut bytes).unwrap().destination.as_bytes().to_vec()
        };
        assert_eq!(key(b"\0\0\0\x03\x03A.b\x00\x35one"), key(b"\0\0\0\x03\x03a.B\x00\x35other"));
        assert_ne!(key(b"\0\0\0\x03\x03a.b\x00\x35"), key(b"\0\0\0\x03\x03a.b\x00\x36"));
    }

    #[test]
    fn a_reply_says_where_it_came_from() {
        let v6 = ReplyHeader::new("[2001:db8::1]:443".parse().unwrap());
        assert_eq!(v6.as_slice(), b"\0\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb");
        assert_eq!(v6.as_slice().len(), MAX_REPLY_HEADER);
        // It has the form of a request, so a client reads it as it writes.
        let mut whole = [v6.as_slice(), b"answer"].concat();
        let read = datagram(&mut whole).unwrap();
        assert_eq!(
            (read.destination.target().unwrap().to_string().as_str(), read.payload),
            ("[2001:db8::1]:443", &b"answer"[..])
        );
    }
}
