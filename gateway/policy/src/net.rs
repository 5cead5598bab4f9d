//! Networks by prefix: which of an app's CIDRs contain an address. One hash look-up for each prefix length in use, so that
//! the number of networks does not matter. Part of [`crate::index`].

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;

use ipnet::IpNet;

/// Values by network.
#[derive(Debug)]
pub(crate) struct Nets<V> {
    v4: Family<V>,
    v6: Family<V>,
}

#[derive(Debug)]
struct Family<V> {
    by_prefix: HashMap<Prefix, V, BuildHasherDefault<Mix>>,
    /// Prefix lengths in use, longest first.
    lengths: Vec<u8>,
}

impl<V> Default for Nets<V> {
    fn default() -> Self {
        let family = || Family { by_prefix: HashMap::default(), lengths: Vec::new() };
        Self { v4: family(), v6: family() }
    }
}

impl<V: Default> Nets<V> {
    /// The value of exactly this network, made if there is none.
    pub(crate) fn entry(&mut self, net: IpNet) -> &mut V {
        let (family, width) = match net {
            IpNet::V4(_) => (&mut self.v4, 32),
            IpNet::V6(_) => (&mut self.v6, 128),
        };
        let length = net.prefix_len();
        if let Err(at) = family.lengths.binary_search_by(|l| length.cmp(l)) {
            family.lengths.insert(at, length);
        }
        family.by_prefix.entry(Prefix::of(bits(net.addr()), length, width)).or_default()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.v4.by_prefix.values_mut().chain(self.v6.by_prefix.values_mut())
    }

    /// Every network that contains all the addresses, longest prefix first; none when there is no address. A prefix
    /// shorter than an address's `shortest` does not count for it.
    pub(crate) fn containing<'a>(
        &'a self,
        addresses: &'a [IpAddr],
        shortest: impl Fn(IpAddr) -> u8,
    ) -> impl Iterator<Item = &'a V> {
        let (family, width) = match addresses.first() {
            Some(IpAddr::V6(_)) => (&self.v6, 128),
            _ => (&self.v4, 32),
        };
        let same_family = addresses.iter().all(|a| if width == 32 { a.is_ipv4() } else { a.is_ipv6() });
        let least = addresses.iter().map(|a| shortest(*a)).max().unwrap_or(0);
        let first = addresses.first().map(|a| bits(*a)).filter(|_| same_family);
        // How many leading bits all the addresses have in common: no longer prefix can contain them all.
        let common = first.map_or(0, |first| {
            let differ = addresses.iter().fold(0, |differ, a| differ | (bits(*a) ^ first));
            u32::from(width).saturating_sub(u128::BITS - differ.leading_zeros())
        });
        let fits = move |length: u8| length >= least && u32::from(length) <= common;
        let lengths: &[u8] = if first.is_some() { &family.lengths } else { &[] };
        lengths
            .iter()
            .filter(move |l| fits(**l))
            .filter_map(move |length| family.by_prefix.get(&Prefix::of(first.unwrap_or(0), *length, width)))
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The leading bits of a network's address, and how many.
#[derive(Debug, PartialEq, Eq)]
struct Prefix {
    bits: u128,
    length: u8,
}

impl Prefix {
    /// The leading `length` bits of a number of `width` bits, the rest zero.
    fn of(bits: u128, length: u8, width: u8) -> Self {
        let rest = u32::from(width.saturating_sub(length));
        let bits = bits.checked_shr(rest).and_then(|b| b.checked_shl(rest)).unwrap_or(0);
        Self { bits, length }
    }
}

impl Hash for Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let low = u64::try_from(self.bits & u128::from(u64::MAX)).unwrap_or(0);
        let high = u64::try_from(self.bits >> 64).unwrap_or(0);
        state.write_u64(low.rotate_left(32) ^ high ^ u64::from(self.length).rotate_right(16));
    }
}

/// A quick hash for prefixes, as there may be a look-up for each of 129 lengths. Nobody gains by collisions: the keys are
/// what the user granted, not what an app asks for.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u64(u64::from(*b)));
    }

    fn write_u64(&mut self, word: u64) {
        // 2^64 / golden ratio, odd. The map looks at the highest and the lowest bits; the shifts bring all down to those.
        let word = self.0 ^ word;
        let mixed = (word ^ (word >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(nets: &[&str], addresses: &[&str]) -> Vec<String> {
        let mut index = Nets::<String>::default();
        for net in nets {
            *index.entry(net.parse().unwrap()) = (*net).to_owned();
        }
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        index.containing(&addresses, crate::address::shortest_naming_prefix).cloned().collect()
    }

    #[test]
    fn the_networks_of_an_address_come_longest_first() {
        let nets = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "11.0.0.0/8", "::/0", "::1/128"];
        assert_eq!(found(&nets, &["10.1.2.3"]), ["10.1.2.3/32", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(found(&nets, &["::1"]), ["::1/128", "::/0"]);
        assert_eq!(found(&nets, &[]), [""; 0]);
    }

    #[test]
    fn a_network_counts_for_several_addresses_only_if_it_has_them_all() {
        let nets = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "::/0", "2001:db8::/32"];
        assert_eq!(found(&nets, &["10.1.2.3", "10.1.2.4"]), ["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(found(&nets, &["10.1.2.3", "10.2.0.1"]), ["10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(found(&nets, &["10.1.2.3", "192.0.2.1"]), ["0.0.0.0/0"]);
        assert_eq!(found(&nets, &["10.1.2.3", "2001:db8::1"]), [""; 0]);
        assert_eq!(found(&nets, &["2001:db8::1", "2001:db8::2"]), ["2001:db8::/32", "::/0"]);
    }

    #[test]
    fn a_wide_network_does_not_name_wrapped_addresses() {
        let nets = ["::/0", "::/64", "::ffff:0:0/96", "::ffff:127.0.0.0/104", "64:ff9b::/96"];
        assert_eq!(found(&nets, &["::ffff:127.0.0.1"]), ["::ffff:127.0.0.0/104", "::ffff:0:0/96"]);
        assert_eq!(found(&nets, &["64:ff9b::1"]), ["64:ff9b::/96"]);
        assert_eq!(found(&nets, &["::1"]), ["::/64", "::/0"]);
    }
}
