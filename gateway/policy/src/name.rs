//! What an app typed as a host, made into an address or into one canonical name, or refused. Nothing is resolved here.
//! A name comes out in the one spelling that is decided on, journalled and resolved (UTS #46, lower case, no trailing
//! dot), so that two spellings can never mean two things to two readers. Called by the ingresses and by
//! [`crate::target`].

use std::net::{Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use mexe_model::{DomainName, Host, Reason};

/// The most bytes of a host that are looked at: four times the longest name, for names typed in UTF-8.
const LONGEST: usize = 1024;

/// Reads a host as an app typed it: an IPv4 address (four decimal parts, no leading zeros), an IPv6 address (with or
/// without brackets, no zone), or a fully qualified name. `localhost` is the one name of a single label that is taken:
/// it resolves inward, and so needs a grant for the address. Other single labels would call for a search list.
///
/// # Errors
/// [`Reason::NameNotAllowed`] for everything else: names that look like numbers (`127.1`, `0x7f.1`, `2130706433`: some
/// resolvers take them for addresses), single labels, and whatever is not a host name.
pub fn parse_host(raw: &str) -> Result<Host, Reason> {
    if raw.len() > LONGEST {
        return Err(Reason::NameNotAllowed);
    }
    if let Some(inner) = raw.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(Reason::NameNotAllowed)?;
        return inner
            .parse::<Ipv6Addr>()
            .map(|a| Host::Address(a.into()))
            .map_err(|_| Reason::NameNotAllowed);
    }
    if let Ok(address) = raw.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    if raw.contains(':') {
        return raw.parse::<Ipv6Addr>().map(|a| Host::Address(a.into())).map_err(|_| Reason::NameNotAllowed);
    }
    parse_name(raw).map(Host::Name).ok_or(Reason::NameNotAllowed)
}

/// The canonical form of a fully qualified name; `None` where [`parse_host`] refuses.
pub(crate) fn parse_name(raw: &str) -> Option<DomainName> {
    canonical(raw).filter(|name| name.as_str().contains('.') || name.as_str() == "localhost")
}

/// The canonical form of a name, also of one with a single label.
pub(crate) fn canonical(raw: &str) -> Option<DomainName> {
    if raw.len() > LONGEST {
        return None;
    }
    // Hyphens in the third and fourth place are left alone: real hosts have them (`r3---sn-x.example`).
    let ascii = Uts46::new()
        .to_ascii(raw.as_bytes(), AsciiDenyList::URL, Hyphens::CheckFirstLast, DnsLength::VerifyAllowRootDot)
        .ok()?;
    let name = DomainName::from_ascii(ascii.strip_suffix('.').unwrap_or(&ascii))?;
    (!looks_numeric(name.as_str())).then_some(name)
}

/// Whether a resolver might take the name for an address: its last label is all digits, or begins as a hexadecimal
/// number does. Judged after UTS #46, which makes ASCII digits of full-width ones.
fn looks_numeric(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    last.bytes().all(|b| b.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(raw: &str) -> Result<String, Reason> {
        parse_host(raw).map(|h| h.to_string())
    }

    #[test]
    fn names_come_out_in_one_spelling() {
        for (raw, name) in [
            ("example.org", "example.org"),
            ("EXAMPLE.Org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("example。org", "example.org"),
            ("ｅｘａｍｐｌｅ.org", "example.org"),
            ("_sip._tcp.example.org", "_sip._tcp.example.org"),
            ("r3---sn-x.example", "r3---sn-x.example"),
            ("localhost", "localhost"),
            ("LocalHost.", "localhost"),
            ("a.localhost", "a.localhost"),
            ("1.example", "1.example"),
            ("0xample.org", "0xample.org"),
            ("4.in-addr.arpa", "4.in-addr.arpa"),
        ] {
            assert!(matches!(parse_host(raw), Ok(Host::Name(_))), "{raw}");
            assert_eq!(host(raw).as_deref(), Ok(name), "{raw}");
        }
    }

    #[test]
    fn addresses_are_read_strictly() {
        for (raw, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[2001:DB8:0:0::1]", "2001:db8::1"),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
            ("64:ff9b::7f00:1", "64:ff9b::7f00:1"),
        ] {
            assert!(matches!(parse_host(raw), Ok(Host::Address(_))), "{raw}");
            assert_eq!(host(raw).as_deref(), Ok(address), "{raw}");
        }
    }

    #[test]
    fn numbers_in_disguise_are_refused_and_never_resolved() {
        for raw in [
            "2130706433",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0x7f000001",
            "0x7f.0.0.0x1",
            "0X7F.1",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "1.2.3.4.5",
            "256.0.0.1",
            "example.1",
            "example.0x",
            "example.0x1f",
            "１２７.０.０.１",
            "127。0。0。1",
            "⑫.1",
            "[127.0.0.1]",
        ] {
            assert_eq!(host(raw), Err(Reason::NameNotAllowed), "{raw}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let label = format!("{}.org", "a".repeat(64));
        let long = format!("{}org", "abcdefg.".repeat(32));
        let huge = "a.".repeat(100_000);
        for raw in [
            "",
            ".",
            "..",
            "a..b",
            ".example.org",
            "example.org..",
            "exa mple.org",
            " example.org",
            "example.org\n",
            "example.org\r\nHost: x",
            "exam\0ple.org",
            "example.org\0.evil.example",
            "exam\u{7f}ple.org",
            "example%2eorg",
            "example.org%00",
            "example.org:443",
            "example.org/",
            "user@example.org",
            "exam\\ple.org",
            "exam*ple.org",
            "*.example.org",
            "exam'ple.org",
            "exam(ple.org",
            "-a.example",
            "a-.example",
            "xn--.example",
            "xn--a.example",
            "xn--example-.org",
            "xn--bücher.example",
            "\u{202e}gro.elpmaxe",
            "example．org／x",
            "a\u{2024}\u{ff0f}b.org",
            "intranet",
            "com",
            "fe80::1%eth0",
            "[fe80::1%25eth0]",
            "[::1",
            "::1]",
            "[]",
            "[example.org]",
            ":::",
            "1::2::3",
            label.as_str(),
            long.as_str(),
            huge.as_str(),
        ] {
            let start: String = raw.chars().take(40).collect();
            assert_eq!(host(raw), Err(Reason::NameNotAllowed), "{start:?}");
        }
    }
}
