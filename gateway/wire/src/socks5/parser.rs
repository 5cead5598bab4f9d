//! The incremental parser of a SOCKS5 handshake. A message is taken from the buffer only when it is whole; a wrong byte
//! is refused as soon as it is there, without waiting for the rest. Called by the service's SOCKS ingress and the
//! fuzzers.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{Buf as _, BytesMut};
use mexe_model::Reason;
use zeroize::Zeroize as _;

use super::{
    ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_NAME, AUTH_VERSION, Command, Greeting, METHOD_NONE_ACCEPTABLE,
    ReplyCode, Request, VERSION, credentials_answer,
};
use crate::{Credentials, RawHost, Target};

/// One handshake, from the first byte to the request.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
}

/// What the next bytes must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Greeting,
    Credentials,
    Request,
    /// The request was read, or the handshake failed: what follows is not ours to read.
    End,
}

/// What came out of the bytes so far.
#[derive(Debug)]
pub enum Step {
    /// The message is not whole yet: read on.
    NeedMore,
    /// The greeting. Unless [`Greeting::refusal`] says otherwise, credentials follow.
    Greeting(Greeting),
    /// The credentials; the request follows.
    Credentials(Credentials),
    /// The request. Bytes still in the buffer are the client's first data.
    Request(Request),
}

impl Parser {
    /// A parser that waits for the greeting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next message off the front of `input` when it is whole; call again after each step, also without new
    /// bytes. While this answers [`Step::NeedMore`], `input` holds less than one message (513 bytes at most), so the
    /// buffer stays bounded. Passwords are overwritten in the buffer once taken.
    ///
    /// # Errors
    /// [`Malformed`] at the first byte that breaks the protocol, and on any call after the handshake has ended.
    pub fn on_bytes(&mut self, input: &mut BytesMut) -> Result<Step, Malformed> {
        let mut reader = Reader { rest: input };
        let outcome = match self.state {
            State::Greeting => greeting(&mut reader).map(Step::Greeting),
            State::Credentials => credentials(&mut reader).map(Step::Credentials),
            State::Request => request(&mut reader).map(Step::Request),
            State::End => return Err(Malformed::AfterEnd),
        };
        let left = reader.rest.len();
        let step = match outcome {
            Ok(step) => step,
            Err(Stop::Short) => return Ok(Step::NeedMore),
            Err(Stop::Malformed(malformed)) => {
                self.state = State::End;
                return Err(malformed);
            }
        };
        self.state = match &step {
            Step::Greeting(greeting) if greeting.refusal().is_none() => State::Credentials,
            Step::Credentials(_) => State::Request,
            _ => State::End,
        };
        let taken = input.len().saturating_sub(left);
        if matches!(step, Step::Credentials(_)) {
            input.get_mut(..taken).unwrap_or_default().zeroize();
        }
        input.advance(taken);
        Ok(step)
    }
}

fn greeting(reader: &mut Reader<'_>) -> Result<Greeting, Stop> {
    reader.expect(VERSION, Malformed::Version)?;
    let count = reader.byte()?;
    if count == 0 {
        return Err(Malformed::NoMethods.into());
    }
    reader.take(count.into()).map(Greeting::new)
}

fn credentials(reader: &mut Reader<'_>) -> Result<Credentials, Stop> {
    reader.expect(AUTH_VERSION, Malformed::CredentialsVersion)?;
    // RFC 1929 has both at least one byte long. Empty ones are read all the same, so that a client which sends no
    // password is told that its credentials are wrong and not that its protocol is.
    let length = reader.byte()?;
    let user = reader.take(length.into())?;
    let length = reader.byte()?;
    let password = reader.take(length.into())?;
    Ok(Credentials::new(user, password))
}

fn request(reader: &mut Reader<'_>) -> Result<Request, Stop> {
    reader.expect(VERSION, Malformed::RequestVersion)?;
    let command = Command::from_code(reader.byte()?);
    reader.expect(0, Malformed::Reserved)?;
    let host = match reader.byte()? {
        ADDRESS_IPV4 => RawHost::Address(Ipv4Addr::from(reader.array::<4>()?).into()),
        ADDRESS_IPV6 => RawHost::Address(Ipv6Addr::from(reader.array::<16>()?).into()),
        ADDRESS_NAME => {
            let length = reader.byte()?;
            if length == 0 {
                return Err(Malformed::Name.into());
            }
            let name = reader.take(length.into())?;
            RawHost::Name(std::str::from_utf8(name).map_err(|_| Malformed::Name)?.to_owned())
        }
        _ => return Err(Malformed::AddressType.into()),
    };
    let port = u16::from_be_bytes(reader.array()?);
    if port == 0 && command == Command::Connect {
        return Err(Malformed::Port.into());
    }
    Ok(Request { command, target: Target { host, port } })
}

/// A message that breaks the protocol. Every one of them is [`Reason::RequestMalformed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An address type that RFC 1928 does not know.
    #[error("the socks5 address type is unknown: use IPv4, a name or IPv6")]
    AddressType,
    /// The parser was called again after the end of the handshake.
    #[error("the socks5 handshake has ended")]
    AfterEnd,
    /// The credentials do not begin with 1.
    #[error("the socks5 credentials have another version than 1")]
    CredentialsVersion,
    /// The host name is empty or not UTF-8.
    #[error("the socks5 host name is empty or not UTF-8")]
    Name,
    /// The greeting offers nothing.
    #[error("the socks5 greeting offers no method: offer user name and password")]
    NoMethods,
    /// Port 0 cannot be connected to.
    #[error("the socks5 request names port 0: ports are 1 to 65535")]
    Port,
    /// The request does not begin with 5.
    #[error("the socks5 request has another version than 5")]
    RequestVersion,
    /// The reserved byte is not 0.
    #[error("the reserved byte of the socks5 request is not 0")]
    Reserved,
    /// The first byte is not 5: not a SOCKS5 client.
    #[error("the first byte is not 5: use a socks5 client")]
    Version,
}

impl Malformed {
    /// The reason to journal and count.
    pub const fn reason(self) -> Reason {
        Reason::RequestMalformed
    }

    /// The bytes to send before closing. Empty for a peer that does not speak SOCKS5 at all.
    pub fn reply(self) -> Vec<u8> {
        match self {
            Self::AfterEnd | Self::Version => Vec::new(),
            Self::NoMethods => vec![VERSION, METHOD_NONE_ACCEPTABLE],
            Self::CredentialsVersion => credentials_answer(false).to_vec(),
            Self::AddressType => ReplyCode::AddressTypeUnsupported.encode_unbound(),
            Self::Name | Self::Port | Self::RequestVersion | Self::Reserved => {
                ReplyCode::GeneralFailure.encode_unbound()
            }
        }
    }
}

/// Why a message did not come out.
enum Stop {
    Short,
    Malformed(Malformed),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads forward over bytes that stay where they are.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Stop> {
        let (first, rest) = self.rest.split_first().ok_or(Stop::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    fn expect(&mut self, expected: u8, otherwise: Malformed) -> Result<(), Stop> {
        if self.byte()? == expected { Ok(()) } else { Err(otherwise.into()) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Stop::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Stop::Short)?;
        self.rest = rest;
        Ok(*taken)
    }
}
