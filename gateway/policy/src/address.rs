//! What kind of address an address is, by the IANA special-purpose registries (RFC 6890 and successors). Only
//! [`AddressClass::Global`] is covered by names, wildcards and "any"; where a registry says "globally reachable" of a
//! block that serves infrastructure (anycast relays, ORCHID and the like), the safer side is taken. Called by
//! [`crate::surroundings`] for every candidate address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The class of one address. Every address has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressClass {
    /// Benchmarking: 198.18.0.0/15, 2001:2::/48.
    Benchmark,
    /// The limited broadcast address.
    Broadcast,
    /// IPv6 with an IPv4 address in its last 32 bits, deprecated: ::/96 but :: and ::1.
    Compatible,
    /// Documentation: 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20.
    Documentation,
    /// Global unicast: none of the others.
    Global,
    /// One link only: 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// This device: 127.0.0.0/8, ::1.
    Loopback,
    /// IPv4 in IPv6 clothes, ::ffff:0:0/96: the kernel connects to the IPv4 address.
    Mapped,
    /// Where clouds hand out credentials: 169.254.169.254, 100.100.100.200, 168.63.129.16, fd00:ec2::254, fd20:ce::254.
    Metadata,
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// IPv4 through a translator: 64:ff9b::/96, 64:ff9b:1::/48.
    Nat64,
    /// RFC 1918 networks, unique local fc00::/7, the former site-local fec0::/10.
    Private,
    /// Set aside or not assigned: 192.0.0.0/24, 240.0.0.0/4, 2001::/23, and IPv6 outside 2000::/3.
    Reserved,
    /// Carrier-grade NAT: 100.64.0.0/10.
    SharedSpace,
    /// Tunnels through anybody's relay: 2002::/16 and 192.88.99.0/24.
    SixToFour,
    /// Tunnels through anybody's relay: 2001::/32.
    Teredo,
    /// 0.0.0.0/8 but 0.0.0.0.
    ThisNetwork,
    /// 0.0.0.0 and ::, which connect to this device.
    Unspecified,
}

impl AddressClass {
    /// The stable name, kebab-case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Benchmark => "benchmark",
            Self::Broadcast => "broadcast",
            Self::Compatible => "compatible",
            Self::Documentation => "documentation",
            Self::Global => "global",
            Self::LinkLocal => "link-local",
            Self::Loopback => "loopback",
            Self::Mapped => "mapped",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Nat64 => "nat64",
            Self::Private => "private",
            Self::Reserved => "reserved",
            Self::SharedSpace => "shared-space",
            Self::SixToFour => "six-to-four",
            Self::Teredo => "teredo",
            Self::ThisNetwork => "this-network",
            Self::Unspecified => "unspecified",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The class of an address. IPv4 inside IPv6 is classed by its wrapping, never as what it carries: none of the wrappings
/// is global.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        [169, 254, 169, 254] | [100, 100, 100, 200] | [168, 63, 129, 16] => AddressClass::Metadata,
        [0, 0, 0, 0] => AddressClass::Unspecified,
        [0, ..] => AddressClass::ThisNetwork,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::SharedSpace,
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [192, 0, 0, _] => AddressClass::Reserved,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [192, 88, 99, _] => AddressClass::SixToFour,
        [198, 18..=19, ..] => AddressClass::Benchmark,
        [224..=239, ..] => AddressClass::Multicast,
        [255, 255, 255, 255] => AddressClass::Broadcast,
        [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Global,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    match address.segments() {
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            AddressClass::Metadata
        }
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0, 0, 0, 0, 0, 0, ..] => AddressClass::Compatible,
        [0, 0, 0, 0, 0, 0xffff, ..] => AddressClass::Mapped,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => AddressClass::Nat64,
        [0x2001, 0, ..] => AddressClass::Teredo,
        [0x2001, 2, 0, ..] => AddressClass::Benchmark,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Documentation,
        [0x2001, 0..=0x1ff, ..] => AddressClass::Reserved,
        [0x2002, ..] => AddressClass::SixToFour,
        [0x2000..=0x3fff, ..] => AddressClass::Global,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        _ => AddressClass::Reserved,
    }
}

/// The address that is really reached, as far as the device can tell: IPv4 for the mapped, compatible and well-known
/// NAT64 forms, else the address itself. Only used to recognise the device's own addresses: a form that would slip past
/// a grant must not slip past that.
pub(crate) fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [.., a, b, c, d] = v6.octets();
    match classify_v6(v6) {
        AddressClass::Compatible | AddressClass::Mapped => Ipv4Addr::new(a, b, c, d).into(),
        AddressClass::Nat64 if v6.segments().get(2) == Some(&0) => Ipv4Addr::new(a, b, c, d).into(),
        _ => address,
    }
}

/// The shortest prefix that counts as naming the address. A grant for `::/0` means IPv6; it does not name the IPv4
/// network that hides in one of its blocks.
pub(crate) fn shortest_naming_prefix(address: IpAddr) -> u8 {
    let IpAddr::V6(v6) = address else { return 0 };
    match classify_v6(v6) {
        AddressClass::Compatible | AddressClass::Mapped => 96,
        AddressClass::Nat64 if v6.segments().get(2) == Some(&0) => 96,
        AddressClass::Nat64 => 48,
        AddressClass::Teredo => 32,
        AddressClass::SixToFour => 16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_block_is_known_at_both_ends_and_left_outside() {
        use AddressClass::*;
        for (address, class) in [
            ("0.0.0.0", Unspecified),
            ("0.0.0.1", ThisNetwork),
            ("0.255.255.255", ThisNetwork),
            ("1.0.0.0", Global),
            ("9.255.255.255", Global),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("11.0.0.0", Global),
            ("100.63.255.255", Global),
            ("100.64.0.0", SharedSpace),
            ("100.100.100.200", Metadata),
            ("100.127.255.255", SharedSpace),
            ("100.128.0.0", Global),
            ("126.255.255.255", Global),
            ("127.0.0.0", Loopback),
            ("127.255.255.255", Loopback),
            ("128.0.0.0", Global),
            ("168.63.129.16", Metadata),
            ("169.253.255.255", Global),
            ("169.254.0.0", LinkLocal),
            ("169.254.169.254", Metadata),
            ("169.254.255.255", LinkLocal),
            ("169.255.0.0", Global),
            ("172.15.255.255", Global),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Global),
            ("191.255.255.255", Global),
            ("192.0.0.0", Reserved),
            ("192.0.0.255", Reserved),
            ("192.0.1.0", Global),
            ("192.0.2.0", Documentation),
            ("192.0.2.255", Documentation),
            ("192.0.3.0", Global),
            ("192.88.98.255", Global),
            ("192.88.99.1", SixToFour),
            ("192.88.100.0", Global),
            ("192.167.255.255", Global),
            ("192.168.0.0", Private),
            ("192.168.255.255", Private),
            ("192.169.0.0", Global),
            ("198.17.255.255", Global),
            ("198.18.0.0", Benchmark),
            ("198.19.255.255", Benchmark),
            ("198.20.0.0", Global),
            ("198.51.99.255", Global),
            ("198.51.100.0", Documentation),
            ("198.51.101.0", Global),
            ("203.0.112.255", Global),
            ("203.0.113.255", Documentation),
            ("203.0.114.0", Global),
            ("223.255.255.255", Global),
            ("224.0.0.0", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.0", Reserved),
            ("255.255.255.254", Reserved),
            ("255.255.255.255", Broadcast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Compatible),
            ("::127.0.0.1", Compatible),
            ("::ffff:127.0.0.1", Mapped),
            ("::ffff:8.8.8.8", Mapped),
            ("::ffff:0:8.8.8.8", Reserved),
            ("::1:0:0:0", Reserved),
            ("64:ff9b::", Nat64),
            ("64:ff9b::127.0.0.1", Nat64),
            ("64:ff9b::1:0:0", Reserved),
            ("64:ff9b:1::", Nat64),
            ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Nat64),
            ("64:ff9b:2::", Reserved),
            ("100::1", Reserved),
            ("100:0:0:1::1", Reserved),
            ("200::1", Reserved),
            ("1fff:ffff::", Reserved),
            ("2000::", Global),
            ("2001::1", Teredo),
            ("2001:0:ffff::", Teredo),
            ("2001:1::1", Reserved),
            ("2001:2::1", Benchmark),
            ("2001:2:1::", Reserved),
            ("2001:3::", Reserved),
            ("2001:10::", Reserved),
            ("2001:20::", Reserved),
            ("2001:30::", Reserved),
            ("2001:1ff:ffff::", Reserved),
            ("2001:200::", Global),
            ("2001:db7:ffff::", Global),
            ("2001:db8::", Documentation),
            ("2001:db8:ffff::", Documentation),
            ("2001:db9::", Global),
            ("2002::", SixToFour),
            ("2002:7f00:1::", SixToFour),
            ("2003::", Global),
            ("2606:4700::1111", Global),
            ("3ffe:ffff::", Global),
            ("3fff::", Documentation),
            ("3fff:fff:ffff::", Documentation),
            ("3fff:1000::", Global),
            ("4000::", Reserved),
            ("5f00::1", Reserved),
            ("fbff:ffff::", Reserved),
            ("fc00::", Private),
            ("fd00:ec2::253", Private),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
            ("fdff:ffff::", Private),
            ("fe00::", Reserved),
            ("fe7f:ffff::", Reserved),
            ("fe80::1", LinkLocal),
            ("febf:ffff::", LinkLocal),
            ("fec0::1", Private),
            ("feff:ffff::", Private),
            ("ff00::", Multicast),
            ("ff02::1", Multicast),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
        ] {
            assert_eq!(classify(address.parse().unwrap()), class, "{address}");
        }
    }

    #[test]
    fn wrapped_ipv4_is_recognised_and_named_only_by_its_own_block() {
        for (address, inner, prefix) in [
            ("::ffff:127.0.0.1", "127.0.0.1", 96),
            ("::127.0.0.1", "127.0.0.1", 96),
            ("64:ff9b::10.0.0.1", "10.0.0.1", 96),
            ("64:ff9b:1::1", "64:ff9b:1::1", 48),
            ("2002:a00:1::", "2002:a00:1::", 16),
            ("2001::1", "2001::1", 32),
            ("2606:4700::1", "2606:4700::1", 0),
            ("::1", "::1", 0),
            ("10.0.0.1", "10.0.0.1", 0),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(
                reached(parsed).to_string(),
                inner.parse::<IpAddr>().unwrap().to_string(),
                "{address}"
            );
            assert_eq!(shortest_naming_prefix(parsed), prefix, "{address}");
        }
    }
}
