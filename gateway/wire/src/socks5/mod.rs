//! SOCKS5 (RFC 1928) with user name and password (RFC 1929), the server's side: what each message says and what to
//! answer. Messages come out of [`Parser`] one at a time, whatever the split of the bytes; what follows the request is
//! left in the buffer for the relay. No other method than user name and password is ever chosen.
//!
//! The datagrams of an association have their own header each: [`datagram`](fn@datagram), [`ReplyHeader`].
//!
//! Order of a handshake: greeting, [`Greeting::answer`]; credentials, [`credentials_answer`]; request,
//! [`ReplyCode::encode`]. A [`Malformed`] message ends it: send [`Malformed::reply`], then close.

pub mod client;
mod datagram;
mod parser;
mod reply;
#[cfg(test)]
mod tests;

use mexe_model::Reason;

pub use datagram::{
    BadDatagram, Datagram, Destination, MAX_REPLY_HEADER, MAX_REQUEST_HEADER, ReplyHeader, datagram,
};
pub use parser::{Malformed, Parser, Step};
pub use reply::{ReplyCode, reply_for};

use crate::Target;

/// The longest handshake, bytes: greeting, credentials, and a request by name, each at its longest.
pub const MAX_HANDSHAKE: usize = (2 + 255) + (3 + 255 + 255) + (4 + 1 + 255 + 2);

/// The client's first message: the authentication methods that it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    methods: [u64; 4],
}

impl Greeting {
    fn new(methods: &[u8]) -> Self {
        let mut set = [0u64; 4];
        for method in methods {
            if let Some(word) = set.get_mut(usize::from(method >> 6)) {
                *word |= 1 << (method & 63);
            }
        }
        Self { methods: set }
    }

    /// True when the client offers that method.
    pub fn offers(&self, method: u8) -> bool {
        self.methods.get(usize::from(method >> 6)).is_some_and(|word| word >> (method & 63) & 1 == 1)
    }

    /// The bytes to answer: user name and password, or "no acceptable methods", after which the connection closes.
    pub fn answer(&self) -> [u8; 2] {
        if self.offers(METHOD_USER_PASSWORD) {
            [VERSION, METHOD_USER_PASSWORD]
        } else {
            [VERSION, METHOD_NONE_ACCEPTABLE]
        }
    }

    /// Why the handshake ends here, when it does: the client offers no way to name its run.
    pub fn refusal(&self) -> Option<Reason> {
        (!self.offers(METHOD_USER_PASSWORD)).then_some(Reason::CredentialsMissing)
    }
}

/// The bytes that answer the credentials: accepted, or refused, after which the connection closes.
pub const fn credentials_answer(accepted: bool) -> [u8; 2] {
    [AUTH_VERSION, if accepted { 0 } else { 1 }]
}

/// What the client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// Where to; for [`Command::UdpAssociate`] where the client will send from, port 0 when it does not know. The port
    /// of a [`Command::Connect`] is never 0.
    pub target: Target,
}

/// The commands of RFC 1928, section 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a stream to the target.
    Connect,
    /// Wait for one stream from the target.
    Bind,
    /// Relay datagrams.
    UdpAssociate,
    /// A command that the RFC does not know; refuse it with [`Reason::CommandUnsupported`].
    Unknown(u8),
}

impl Command {
    const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Connect,
            2 => Self::Bind,
            3 => Self::UdpAssociate,
            other => Self::Unknown(other),
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Connect => 1,
            Self::Bind => 2,
            Self::UdpAssociate => 3,
            Self::Unknown(code) => code,
        }
    }
}

const VERSION: u8 = 5;
const AUTH_VERSION: u8 = 1;
const METHOD_USER_PASSWORD: u8 = 0x02;
const METHOD_NONE_ACCEPTABLE: u8 = 0xFF;
const ADDRESS_IPV4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_IPV6: u8 = 4;
