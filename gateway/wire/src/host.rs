//! Host and port as an app wrote them. An address in its plain form is recognised; everything else stays text, because
//! what is a name, a numeric look-alike or nonsense is decided by `mexe-policy::name`. Called by `socks5` and `forward`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A host as it arrived: an address that the protocol marked as one, or text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RawHost {
    /// Asked for by address.
    Address(IpAddr),
    /// Asked for by text, not normalised, possibly hostile: never resolve or print it as it is.
    Name(String),
}

impl RawHost {
    /// True when both mean the same host, letter case in names aside.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(a), Self::Address(b)) => a == b,
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }
}

impl fmt::Display for RawHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host and a port, as they arrived; shown as `host:port`, IPv6 addresses in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub host: RawHost,
    /// The port; 0 only in the SOCKS commands that allow it.
    pub port: u16,
}

impl Target {
    /// Reads `host[:port]`, IPv6 addresses in brackets, the port 1 to 65535 without sign or leading blank.
    ///
    /// # Errors
    /// A user part, an empty host, an IPv6 address without brackets, a port out of range, or no port where there is no
    /// default.
    pub fn parse(authority: &str, default_port: Option<u16>) -> Result<Self, TargetError> {
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        if let Some(rest) = authority.strip_prefix('[') {
            let (inner, rest) = rest.split_once(']').ok_or(TargetError::Host)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| TargetError::Host)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(TargetError::Host),
            };
            return Ok(Self { host: RawHost::Address(address.into()), port: port_of(port, default_port)? });
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        // A control character or a blank in a host can only be meant to confuse a reader of logs or headers.
        if host.is_empty()
            || host.contains(|c: char| c.is_control() || c.is_whitespace() || "/?#\\".contains(c))
        {
            return Err(TargetError::Host);
        }
        let host = match host.parse::<Ipv4Addr>() {
            Ok(address) => RawHost::Address(address.into()),
            Err(_) => RawHost::Name(host.into()),
        };
        Ok(Self { host, port: port_of(port, default_port)? })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            RawHost::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            RawHost::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Why text is not `host[:port]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The host is empty, or neither a name nor an address.
    #[error("the host is empty or malformed: write a name, an address, or an IPv6 address in brackets")]
    Host,
    /// No port, and none can be assumed.
    #[error("the port is missing: write host:port")]
    PortMissing,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A user name stands before the host.
    #[error("a user name or password stands before the host: leave it out")]
    UserInfo,
}

fn port_of(text: Option<&str>, default_port: Option<u16>) -> Result<u16, TargetError> {
    let Some(text) = text else { return default_port.ok_or(TargetError::PortMissing) };
    // `parse` alone would take `+80`.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TargetError::Port);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(TargetError::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<String, TargetError> {
        Target::parse(text, Some(80)).map(|t| t.to_string())
    }

    #[test]
    fn hosts_and_ports_are_read_exactly() {
        assert_eq!(target("example.org"), Ok("example.org:80".into()));
        assert_eq!(target("Example.ORG:8080"), Ok("Example.ORG:8080".into()));
        assert_eq!(target("192.0.2.1:1"), Ok("192.0.2.1:1".into()));
        assert_eq!(target("[2001:db8::1]:65535"), Ok("[2001:db8::1]:65535".into()));
        assert_eq!(target("[::1]"), Ok("[::1]:80".into()));
        let v6 = Target::parse("[::1]:443", None).unwrap();
        assert_eq!(v6.host, RawHost::Address("::1".parse().unwrap()));
    }

    #[test]
    fn numeric_look_alikes_stay_names_for_the_policy_to_judge() {
        for text in ["2130706433", "127.1", "0x7f.1", "0177.0.0.1"] {
            assert_eq!(Target::parse(text, Some(80)).unwrap().host, RawHost::Name(text.into()));
        }
    }

    #[test]
    fn anything_else_is_refused_by_what_is_wrong() {
        for (text, error) in [
            ("", TargetError::Host),
            (":80", TargetError::Host),
            ("::1", TargetError::Host),
            ("[::1", TargetError::Host),
            ("[::1]80", TargetError::Host),
            ("[fe80::1%eth0]:80", TargetError::Host),
            ("[127.0.0.1]:80", TargetError::Host),
            ("a b:80", TargetError::Host),
            ("a\u{0}b:80", TargetError::Host),
            ("example.org/x:80", TargetError::Host),
            ("example.org:", TargetError::Port),
            ("example.org:0", TargetError::Port),
            ("example.org:+80", TargetError::Port),
            ("example.org:80:80", TargetError::Port),
            ("example.org:65536", TargetError::Port),
            ("2001:db8::1", TargetError::Port),
            ("user@example.org", TargetError::UserInfo),
            ("user:secret@example.org:80", TargetError::UserInfo),
        ] {
            assert_eq!(target(text), Err(error), "{text:?}");
        }
        assert_eq!(Target::parse("example.org", None), Err(TargetError::PortMissing));
    }
}
