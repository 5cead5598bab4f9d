//! What the device itself is called on the network: its own addresses, read from /proc, so that the policy can keep apps
//! from reaching the device by its outside addresses (S6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of this device's interfaces now, loopback included.
pub fn device_addresses() -> Vec<IpAddr> {
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut all: Vec<IpAddr> = local_v4(&v4).into_iter().map(IpAddr::V4).collect();
    all.extend(local_v6(&v6).into_iter().map(IpAddr::V6));
    all.sort_unstable();
    all.dedup();
    all
}

/// In fib_trie a leaf line `|-- 10.0.2.15` is followed by its types; `/32 host LOCAL` marks an own address.
fn local_v4(text: &str) -> Vec<Ipv4Addr> {
    let mut leaf: Option<Ipv4Addr> = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(leaf);
        }
    }
    found
}

/// Each line of if_inet6 begins with the 32 hexadecimal digits of an address.
fn local_v6(text: &str) -> Vec<Ipv6Addr> {
    let digits = |line: &str| line.get(..32).and_then(|hex| u128::from_str_radix(hex, 16).ok());
    text.lines().filter_map(digits).map(Ipv6Addr::from_bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.0.2.0\n        /24 link UNICAST\n     |-- 10.0.2.15\n        /32 host LOCAL\n     |-- 10.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(trie), [Ipv4Addr::new(10, 0, 2, 15)]);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\nshort\n";
        assert_eq!(local_v6(inet6), [Ipv6Addr::LOCALHOST]);
        assert!(device_addresses().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
