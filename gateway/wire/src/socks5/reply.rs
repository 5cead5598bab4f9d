//! SOCKS5 replies: their codes, their bytes, and which one a [`Reason`] becomes. Called by the SOCKS ingress when it
//! knows how a request ended.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mexe_model::Reason;

use super::{ADDRESS_IPV4, ADDRESS_IPV6, VERSION};

/// The reply codes of RFC 1928, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyCode {
    /// 0x00: the stream is open.
    Succeeded,
    /// 0x01: anything that has no code of its own.
    GeneralFailure,
    /// 0x02: refused by the gate.
    NotAllowed,
    /// 0x03: no route to the network.
    NetworkUnreachable,
    /// 0x04: no route to the host, or no address for its name.
    HostUnreachable,
    /// 0x05: the host refused.
    ConnectionRefused,
    /// 0x06: the host did not answer in time.
    TtlExpired,
    /// 0x07: the command is not offered.
    CommandUnsupported,
    /// 0x08: the address type is unknown.
    AddressTypeUnsupported,
}

impl ReplyCode {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Succeeded,
        Self::GeneralFailure,
        Self::NotAllowed,
        Self::NetworkUnreachable,
        Self::HostUnreachable,
        Self::ConnectionRefused,
        Self::TtlExpired,
        Self::CommandUnsupported,
        Self::AddressTypeUnsupported,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::GeneralFailure => 1,
            Self::NotAllowed => 2,
            Self::NetworkUnreachable => 3,
            Self::HostUnreachable => 4,
            Self::ConnectionRefused => 5,
            Self::TtlExpired => 6,
            Self::CommandUnsupported => 7,
            Self::AddressTypeUnsupported => 8,
        }
    }

    /// The reply's bytes; `bound` is the gate's end of the new stream.
    pub fn encode(self, bound: SocketAddr) -> Vec<u8> {
        let mut reply = Vec::with_capacity(22);
        reply.extend([VERSION, self.code(), 0]);
        match bound.ip() {
            IpAddr::V4(address) => {
                reply.push(ADDRESS_IPV4);
                reply.extend(address.octets());
            }
            IpAddr::V6(address) => {
                reply.push(ADDRESS_IPV6);
                reply.extend(address.octets());
            }
        }
        reply.extend(bound.port().to_be_bytes());
        reply
    }

    /// The bytes of a reply that binds nothing: every refusal, and a success that keeps the bearer's address to itself.
    pub fn encode_unbound(self) -> Vec<u8> {
        self.encode(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0))
    }
}

/// The reply for a request that ended by `reason`. Whatever the gate itself refuses is 0x02, a limit or an unwritable
/// journal included; only what went wrong behind the gate, or in the protocol, has another code.
pub fn reply_for(reason: Reason) -> ReplyCode {
    match reason {
        Reason::BearerLost => ReplyCode::NetworkUnreachable,
        Reason::CommandUnsupported => ReplyCode::CommandUnsupported,
        Reason::HandshakeTimeout | Reason::RequestMalformed | Reason::UpstreamMalformed => {
            ReplyCode::GeneralFailure
        }
        Reason::NameUnresolvable | Reason::UpstreamUnreachable => ReplyCode::HostUnreachable,
        Reason::UpstreamRefused => ReplyCode::ConnectionRefused,
        Reason::UpstreamTimeout => ReplyCode::TtlExpired,
        _ => ReplyCode::NotAllowed,
    }
}
