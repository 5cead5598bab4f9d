//! Networks by prefix: which of an app's CIDRs contain an address. Two networks are apart or one is within the other, so
//! the innermost is found by halving, and every other one that contains the address is around it: neither the number of
//! networks nor that of different prefix lengths matters. Part of [`crate::index`].

use std::collections::BTreeMap;
use std::iter::successors;
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
    /// Bits of an address.
    width: u8,
    /// What came in, until it is arranged: by first address, and of several that begin there the widest first.
    added: BTreeMap<(u128, u8), V>,
    /// The networks, in that order.
    nets: Vec<Net>,
    /// Their values, apart: most of the networks that are looked at are not around the address.
    values: Vec<V>,
}

#[derive(Debug)]
struct Net {
    first: u128,
    /// Which one is directly around it, from 1 on; 0 for none.
    within: u32,
    length: u8,
}

impl<V> Default for Nets<V> {
    fn default() -> Self {
        let family = |width| Family { width, added: BTreeMap::new(), nets: Vec::new(), values: Vec::new() };
        Self { v4: family(32), v6: family(128) }
    }
}

impl<V: Default> Nets<V> {
    /// The value of exactly this network, made if there is none.
    pub(crate) fn entry(&mut self, net: IpNet) -> &mut V {
        let family = match net {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        };
        let net = net.trunc();
        family.added.entry((bits(net.addr()), net.prefix_len())).or_default()
    }

    /// Once, after the last entry; each value is arranged as well.
    pub(crate) fn arrange(&mut self, mut value: impl FnMut(&mut V)) {
        self.v4.arrange(&mut value);
        self.v6.arrange(&mut value);
    }

    /// Every network that contains all the addresses, longest prefix first; none when there is no address. A prefix
    /// shorter than an address's `shortest` does not count for it.
    pub(crate) fn containing<'a>(
        &'a self,
        addresses: &'a [IpAddr],
        shortest: impl Fn(IpAddr) -> u8,
    ) -> impl Iterator<Item = &'a V> {
        let family = match addresses.first() {
            Some(IpAddr::V6(_)) => &self.v6,
            _ => &self.v4,
        };
        let same_family =
            addresses.iter().all(|a| if family.width == 32 { a.is_ipv4() } else { a.is_ipv6() });
        let least = addresses.iter().map(|a| shortest(*a)).max().unwrap_or(0);
        let first = addresses.first().map(|a| bits(*a)).filter(|_| same_family);
        // How many leading bits all the addresses have in common: no longer prefix can contain them all.
        let common = first.map_or(0, |first| {
            let differ = addresses.iter().fold(0, |differ, a| differ | (bits(*a) ^ first));
            u32::from(family.width).saturating_sub(u128::BITS - differ.leading_zeros())
        });
        let fits = move |length: u8| length >= least && u32::from(length) <= common;
        let around = first.into_iter().flat_map(|first| family.around(first));
        around.filter(move |(net, _)| fits(net.length)).filter_map(|(_, at)| family.values.get(at))
    }
}

impl<V> Family<V> {
    fn arrange(&mut self, value: &mut impl FnMut(&mut V)) {
        // Those that are open around the present one, outermost first.
        let mut around: Vec<u32> = Vec::new();
        for ((first, length), mut own) in std::mem::take(&mut self.added) {
            value(&mut own);
            while around.pop_if(|at| !self.contains(*at, first)).is_some() {}
            let within = around.last().copied().unwrap_or(0);
            self.nets.push(Net { first, within, length });
            self.values.push(own);
            around.push(u32::try_from(self.nets.len()).unwrap_or(0));
        }
        self.nets.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// The network of that number, from 1 on, and its place.
    fn net(&self, number: u32) -> Option<(&Net, usize)> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        Some((self.nets.get(at)?, at))
    }

    fn contains(&self, number: u32, address: u128) -> bool {
        self.net(number).is_some_and(|(net, _)| net.contains(address, self.width))
    }

    /// The networks that contain the address, innermost first, and their places.
    fn around(&self, address: u128) -> impl Iterator<Item = (&Net, usize)> {
        // The last one that begins at or before the address, or one around that, is the innermost.
        let begun = self.nets.partition_point(|net| net.first <= address);
        let last = begun.checked_sub(1).and_then(|last| Some((self.nets.get(last)?, last)));
        let outwards = successors(last, |(net, _)| self.net(net.within));
        outwards.filter(move |(net, _)| net.contains(address, self.width))
    }
}

impl Net {
    fn contains(&self, address: u128, width: u8) -> bool {
        let rest = u32::from(width.saturating_sub(self.length));
        (self.first ^ address).checked_shr(rest).unwrap_or(0) == 0
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
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
        index.arrange(|_| ());
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
    fn a_network_next_to_the_address_hides_none_around_it() {
        let nets = ["10.0.0.0/8", "10.1.0.0/24", "10.1.0.0/28", "10.1.2.0/24", "192.0.2.0/24"];
        assert_eq!(found(&nets, &["10.1.0.16"]), ["10.1.0.0/24", "10.0.0.0/8"]);
        assert_eq!(found(&nets, &["10.1.1.0"]), ["10.0.0.0/8"]);
        assert_eq!(found(&nets, &["10.255.255.255"]), ["10.0.0.0/8"]);
        assert_eq!(found(&nets, &["9.255.255.255"]), [""; 0]);
        assert_eq!(found(&nets, &["255.255.255.255"]), [""; 0]);
        assert_eq!(found(&["::/0", "fe80::/10"], &["ffff::"]), ["::/0"]);
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
