//! The target of a permission as the user writes it: `host[:port]`, `*.domain[:port]`, `ADDRESS|CIDR[:port]`. Text to
//! pattern and back; whether a pattern covers a request is decided in [`crate::decision`]. Called by the command line,
//! the API and the journal through [`crate::grant`].

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use mexe_model::DomainName;

use crate::name::{canonical, parse_name};

/// Which hosts a pattern means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every name below this one, not the name itself. Only requests made by name.
    Below(DomainName),
    /// Exactly this name. Only requests made by name.
    Name(DomainName),
    /// These addresses; host bits are zero. A single address has a full-length prefix.
    Network(IpNet),
    /// Exactly this telephone number.
    Number(Arc<str>),
}

/// Hosts and a port that a permission is limited to. Reads back as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetPattern {
    /// The hosts.
    pub host: HostPattern,
    /// The port; `None` for any.
    pub port: Option<NonZeroU16>,
}

impl TargetPattern {
    /// Whether the pattern names addresses, and so may cover addresses that are not global.
    pub fn is_address(&self) -> bool {
        matches!(self.host, HostPattern::Network(_))
    }

    /// A telephone number, as the dialling action takes it: `+?[0-9]{1,20}`, or a service code: digits, `*`, `#` and `+`
    /// that begin with `*` or `#` and end with `#`. `None` for anything else.
    pub fn number(canonical: &str) -> Option<Self> {
        let digits = canonical.strip_prefix('+').unwrap_or(canonical);
        let is_number = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'*' | b'#' | b'+');
        let is_code = canonical.starts_with(['*', '#'])
            && canonical.ends_with('#')
            && (3..=40).contains(&canonical.len())
            && canonical.bytes().all(plain);
        (is_number || is_code).then(|| Self { host: HostPattern::Number(canonical.into()), port: None })
    }

    /// Whether it is a telephone number.
    pub fn is_number(&self) -> bool {
        matches!(self.host, HostPattern::Number(_))
    }
}

impl FromStr for TargetPattern {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = |problem| TargetError { text: shown(text), problem };
        if text.is_empty() || text.len() > 1024 {
            return Err(wrong(Problem::Host));
        }
        let (host, port) = split_port(text).map_err(wrong)?;
        let host = parse_host_pattern(host).map_err(wrong)?;
        Ok(Self { host, port })
    }
}

/// Splits off `:port`. IPv6 needs its brackets when a port follows, so that `::1:80` cannot mean two things.
fn split_port(text: &str) -> Result<(&str, Option<NonZeroU16>), Problem> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']').ok_or(Problem::Brackets)?;
        // Brackets are for IPv6 alone.
        if !inner.contains(':') {
            return Err(Problem::Brackets);
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((inner, Some(parse_port(port)?))),
            None if after.is_empty() => Ok((inner, None)),
            None => Err(Problem::Brackets),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        // Two colons: IPv6 without brackets.
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, Some(parse_port(port)?))),
    }
}

fn parse_port(text: &str) -> Result<NonZeroU16, Problem> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain).ok_or(Problem::Port)
}

fn parse_host_pattern(host: &str) -> Result<HostPattern, Problem> {
    if host == "*" {
        return Err(Problem::Everything);
    }
    if let Some(domain) = host.strip_prefix("*.") {
        let domain = canonical(domain).ok_or(Problem::Host)?;
        // The registry's customers share nothing but the suffix: a wildcard there would span strangers.
        return match psl::suffix(domain.as_str().as_bytes()) {
            Some(suffix) if suffix.as_bytes() == domain.as_str().as_bytes() => Err(Problem::PublicSuffix),
            _ => Ok(HostPattern::Below(domain)),
        };
    }
    if host.contains('*') {
        return Err(Problem::Wildcard);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(HostPattern::Network(address.into()));
    }
    if let Some((_, length)) = host.split_once('/') {
        let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
        let net = host.parse::<IpNet>().ok().filter(|_| plain).ok_or(Problem::Network)?;
        return if net.trunc() == net {
            Ok(HostPattern::Network(net))
        } else {
            Err(Problem::HostBits(net.trunc()))
        };
    }
    let number = host.strip_prefix('+').unwrap_or(host);
    if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Telephone);
    }
    parse_name(host).map(HostPattern::Name).ok_or(Problem::Host)
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = self.port.is_some() && matches!(self.host, HostPattern::Network(IpNet::V6(_)));
        if bracketed {
            f.write_str("[")?;
        }
        match &self.host {
            HostPattern::Below(domain) => write!(f, "*.{domain}")?,
            HostPattern::Name(name) => name.fmt(f)?,
            HostPattern::Network(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f)?,
            HostPattern::Network(net) => net.fmt(f)?,
            HostPattern::Number(number) => f.write_str(number)?,
        }
        if bracketed {
            f.write_str("]")?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl serde::Serialize for TargetPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for TargetPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not a target; says why and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a target: {problem}")]
pub struct TargetError {
    text: String,
    problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error(
        "put IPv6 in brackets and the port after them, as in `[2001:db8::1]:443` or `[2001:db8::/32]:443`"
    )]
    Brackets,
    #[error("leave the target out for any global address, or name a domain as in `*.example.org`")]
    Everything,
    #[error("write a fully qualified name, `*.domain`, an address, or a CIDR")]
    Host,
    #[error("the address has bits beyond the prefix; write `{0}`")]
    HostBits(IpNet),
    #[error("write a CIDR as in `10.0.0.0/8` or `2001:db8::/32`")]
    Network,
    #[error("write a port from 1 to 65535")]
    Port,
    #[error("a wildcard on a public suffix would cover strangers; name a domain below it")]
    PublicSuffix,
    #[error("a telephone number is no host; write a fully qualified name, an address, or a CIDR")]
    Telephone,
    #[error("a wildcard stands for whole names in front, as in `*.example.org`")]
    Wildcard,
}

/// User input for an error: bounded, one line, nothing that a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_as_they_are_shown() {
        for (text, as_shown) in [
            ("example.org", "example.org"),
            ("Example.ORG.:443", "example.org:443"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("localhost:8058", "localhost:8058"),
            ("*.example.org", "*.example.org"),
            ("*.EXAMPLE.org:80", "*.example.org:80"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.1:65535", "192.0.2.1:65535"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/8:22", "10.0.0.0/8:22"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[::1]:80", "[::1]:80"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("[2001:DB8::/32]:443", "[2001:db8::/32]:443"),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        ] {
            let pattern: TargetPattern = text.parse().unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(pattern.to_string(), as_shown, "{text}");
            assert_eq!(pattern.to_string().parse::<TargetPattern>().unwrap(), pattern, "{text}");
        }
    }

    #[test]
    fn wildcards_on_public_suffixes_are_refused() {
        for domain in ["com", "co.uk", "github.io", "foo.ck", "test", "localhost", "xn--55qx5d.cn", "公司.cn"]
        {
            let error = format!("*.{domain}").parse::<TargetPattern>().unwrap_err();
            assert!(matches!(error.problem, Problem::PublicSuffix), "{error}");
        }
        for domain in
            ["example.com", "example.co.uk", "someone.github.io", "www.ck", "rig.test", "a.xn--55qx5d.cn"]
        {
            assert!(format!("*.{domain}").parse::<TargetPattern>().is_ok(), "{domain}");
        }
    }

    #[test]
    fn what_is_not_a_target_is_refused_with_what_to_write() {
        for (text, problem) in [
            ("", Problem::Host),
            ("*", Problem::Everything),
            ("*:443", Problem::Everything),
            ("a*.example.org", Problem::Wildcard),
            ("*example.org", Problem::Wildcard),
            ("a.*.example.org", Problem::Wildcard),
            ("*.*.example.org", Problem::Host),
            ("*.", Problem::Host),
            ("*.127.1", Problem::Host),
            ("intranet", Problem::Host),
            ("127.1", Problem::Host),
            ("0x7f.1", Problem::Host),
            ("exa mple.org", Problem::Host),
            ("example.org\n", Problem::Host),
            ("fe80::1%eth0", Problem::Host),
            ("::1:80:zz", Problem::Host),
            ("10.1.2.3/8", Problem::HostBits("10.0.0.0/8".parse().unwrap())),
            ("2001:db8::1/32", Problem::HostBits("2001:db8::/32".parse().unwrap())),
            ("10.0.0.0/33", Problem::Network),
            ("10.0.0.0/08", Problem::Network),
            ("10.0.0.0/", Problem::Network),
            ("10/8", Problem::Network),
            ("example.org/24", Problem::Network),
            ("example.org:0", Problem::Port),
            ("example.org:65536", Problem::Port),
            ("example.org:", Problem::Port),
            ("example.org:080", Problem::Port),
            ("example.org:+80", Problem::Port),
            ("[::1]x", Problem::Brackets),
            ("[::1", Problem::Brackets),
            ("[127.0.0.1]:80", Problem::Brackets),
            ("[example.org]", Problem::Brackets),
            ("[2001:db8::]/32", Problem::Brackets),
            ("+493012345", Problem::Telephone),
            ("112", Problem::Telephone),
            ("2130706433", Problem::Telephone),
        ] {
            assert_eq!(text.parse::<TargetPattern>().unwrap_err().problem, problem, "{text:?}");
        }
    }

    #[test]
    fn error_text_stays_on_one_line_whatever_was_typed() {
        let error =
            format!("a\u{1b}[2J\r\n{}", "x".repeat(2000)).parse::<TargetPattern>().unwrap_err().to_string();
        assert!(error.len() < 300 && !error.chars().any(char::is_control), "{error}");
    }
}
