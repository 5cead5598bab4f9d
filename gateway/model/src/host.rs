//! Where a request wants to go: a name or an address, and a port. A [`DomainName`] is already normalised: how text from
//! an app becomes one (IDNA, numeric look-alikes) is decided in `mexe-policy::name`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A fully qualified domain name: lower-case ASCII labels of letters, digits, hyphens and underscores, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Arc<str>);

impl DomainName {
    /// Takes text that is already normalised; `None` when it is not a well-formed name.
    pub fn from_ascii(text: &str) -> Option<Self> {
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        (text.len() <= 253 && text.split('.').all(label)).then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A host, by name or by address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Asked for by address.
    Address(IpAddr),
    /// Asked for by name; not resolved yet.
    Name(DomainName),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A host and a port; shown as `host:port`, IPv6 addresses in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port, 1 to 65535 for anything that is connected to.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_name_is_normalised_or_is_none() {
        for good in ["localhost", "example.org", "xn--bcher-kva.example", "_dmarc.example.org"] {
            assert_eq!(DomainName::from_ascii(good).unwrap().as_str(), good);
        }
        let long = format!("{}.org", "a".repeat(64));
        for bad in ["", ".", "example.org.", "Example.org", "a..b", "-a.org", "a-.org", "a b", long.as_str()]
        {
            assert!(DomainName::from_ascii(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn endpoints_put_ipv6_in_brackets() {
        let shown =
            |address: &str| Endpoint { host: Host::Address(address.parse().unwrap()), port: 443 }.to_string();
        assert_eq!(shown("192.0.2.1"), "192.0.2.1:443");
        assert_eq!(shown("2001:db8::1"), "[2001:db8::1]:443");
    }
}
