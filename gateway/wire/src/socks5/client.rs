//! The client's side of SOCKS5, as far as the gate needs it to try itself out: the demo and the tests speak to the gate
//! with these bytes. The gate never is a SOCKS client on the network.

use std::net::{IpAddr, SocketAddr};

use super::{ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_NAME, AUTH_VERSION, Command, METHOD_USER_PASSWORD, VERSION};
use crate::{RawHost, Target};

/// A greeting that offers user name and password and nothing else.
pub const fn greeting() -> [u8; 3] {
    [VERSION, 1, METHOD_USER_PASSWORD]
}

/// The credentials message.
///
/// # Errors
/// [`TooLong`] when one of the two is longer than 255 bytes.
pub fn credentials(user: &str, password: &str) -> Result<Vec<u8>, TooLong> {
    let mut message = vec![AUTH_VERSION];
    for part in [user, password] {
        message.push(u8::try_from(part.len()).map_err(|_| TooLong)?);
        message.extend(part.as_bytes());
    }
    Ok(message)
}

/// The request message.
///
/// # Errors
/// [`TooLong`] when the host name is longer than 255 bytes.
pub fn request(command: Command, target: &Target) -> Result<Vec<u8>, TooLong> {
    let mut message = vec![VERSION, command.code(), 0];
    put(&mut message, target)?;
    Ok(message)
}

/// A datagram for `target`, with its header.
///
/// # Errors
/// [`TooLong`] when the host name is longer than 255 bytes.
pub fn datagram(target: &Target, payload: &[u8]) -> Result<Vec<u8>, TooLong> {
    let mut message = vec![0; 3];
    put(&mut message, target)?;
    message.extend(payload);
    Ok(message)
}

fn put(message: &mut Vec<u8>, target: &Target) -> Result<(), TooLong> {
    match &target.host {
        RawHost::Address(IpAddr::V4(address)) => {
            message.push(ADDRESS_IPV4);
            message.extend(address.octets());
        }
        RawHost::Address(IpAddr::V6(address)) => {
            message.push(ADDRESS_IPV6);
            message.extend(address.octets());
        }
        RawHost::Name(name) => {
            message.extend([ADDRESS_NAME, u8::try_from(name.len()).map_err(|_| TooLong)?]);
            message.extend(name.as_bytes());
        }
    }
    message.extend(target.port.to_be_bytes());
    Ok(())
}

/// Reads a reply off the front of `bytes`: its code, the bound address, and how many bytes it took. `None` while it is
/// not whole, or when it is none.
pub fn reply(bytes: &[u8]) -> Option<(u8, SocketAddr, usize)> {
    let (&[version, code, 0, kind], rest) = bytes.split_first_chunk::<4>()? else { return None };
    if version != VERSION {
        return None;
    }
    let (address, rest) = match kind {
        ADDRESS_IPV4 => rest.split_first_chunk::<4>().map(|(octets, rest)| (IpAddr::from(*octets), rest))?,
        ADDRESS_IPV6 => rest.split_first_chunk::<16>().map(|(octets, rest)| (IpAddr::from(*octets), rest))?,
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let taken = bytes.len().saturating_sub(rest.len());
    Some((code, SocketAddr::new(address, u16::from_be_bytes(*port)), taken))
}

/// A field does not fit its length byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a socks5 field is longer than 255 bytes")]
pub struct TooLong;
