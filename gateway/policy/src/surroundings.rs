//! What the device is to itself: its own addresses and the gate's own listeners. The listeners are never reached through
//! the gate, in any notation, whatever was granted; the device's own addresses are never covered by names or "any".
//! Filled by the service, replaced when an interface or listener changes.

use std::net::{IpAddr, SocketAddr};

use crate::address::{AddressClass, classify, reached};

/// Which of the candidate addresses may be connected to: bit n for the n-th, the first 64 only.
pub(crate) fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|n| 1u64.checked_shl(n)).unwrap_or(0)
}

/// The gate's own listeners and the device's own addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The gate's own listeners, of any protocol. An unspecified address stands for every own address with that port.
    pub listeners: Vec<SocketAddr>,
    /// The addresses of the device's interfaces.
    pub device_addresses: Vec<IpAddr>,
}

/// What is known of a list of candidate addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates {
    /// Those that names, wildcards and "any" may cover.
    pub(crate) public: u64,
    /// All of them.
    pub(crate) every: u64,
    /// Whether a listener of the gate is among them.
    pub(crate) own: bool,
    /// Whether nothing else is among them.
    pub(crate) only_own: bool,
}

impl Surroundings {
    /// The same in the order and notation that look-ups rely on.
    pub(crate) fn prepared(mut self) -> Self {
        for address in &mut self.device_addresses {
            *address = reached(*address);
        }
        self.device_addresses.sort_unstable();
        self.device_addresses.dedup();
        self
    }

    /// Whether a connection to there would come back to one of the gate's listeners.
    pub fn is_listener(&self, address: IpAddr, port: u16) -> bool {
        let address = reached(address);
        self.listeners.iter().filter(|listener| listener.port() == port).any(|listener| {
            let own = reached(listener.ip());
            // Connecting to the unspecified address reaches this device. A listener on it may take both families.
            own == address
                || address.is_unspecified()
                || own.is_unspecified() && (address.is_loopback() || self.is_device(address))
        })
    }

    /// Whether the device itself has this address.
    pub(crate) fn is_device(&self, address: IpAddr) -> bool {
        self.device_addresses.binary_search(&reached(address)).is_ok()
    }

    /// Whether names, wildcards and "any" may cover the address.
    pub fn is_public(&self, address: IpAddr) -> bool {
        classify(address) == AddressClass::Global && !self.is_device(address)
    }

    /// Looks at each candidate once.
    pub(crate) fn candidates(&self, addresses: &[IpAddr], port: u16) -> Candidates {
        let mut seen = Candidates { public: 0, every: 0, own: false, only_own: true };
        for (index, address) in addresses.iter().enumerate() {
            if self.is_listener(*address, port) {
                seen.own = true;
                continue;
            }
            seen.only_own = false;
            seen.every |= bit(index);
            if self.is_public(*address) {
                seen.public |= bit(index);
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(listeners: &[&str], device: &[&str]) -> Surroundings {
        let listeners = listeners.iter().map(|l| l.parse().unwrap()).collect();
        let device_addresses = device.iter().map(|a| a.parse().unwrap()).collect();
        Surroundings { listeners, device_addresses }.prepared()
    }

    #[test]
    fn a_listener_is_recognised_in_every_notation() {
        let gate = here(
            &["127.0.0.1:1080", "[::1]:3128", "0.0.0.0:9057", "[::]:8057"],
            &["198.51.100.7", "2001:db8::7"],
        );
        for (address, port, own) in [
            ("127.0.0.1", 1080, true),
            ("127.0.0.1", 1081, false),
            ("127.0.0.2", 1080, false),
            ("::ffff:127.0.0.1", 1080, true),
            ("::127.0.0.1", 1080, true),
            ("64:ff9b::127.0.0.1", 1080, true),
            ("0.0.0.0", 1080, true),
            ("::", 1080, true),
            ("::ffff:0.0.0.0", 1080, true),
            ("::1", 3128, true),
            ("::", 3128, true),
            ("127.0.0.1", 3128, false),
            ("127.0.0.1", 9057, true),
            ("127.9.9.9", 9057, true),
            ("198.51.100.7", 9057, true),
            ("::ffff:198.51.100.7", 9057, true),
            ("198.51.100.8", 9057, false),
            ("2001:db8::7", 8057, true),
            ("198.51.100.7", 8057, true),
            ("::1", 8057, true),
            ("198.51.100.7", 1080, false),
        ] {
            assert_eq!(gate.is_listener(address.parse().unwrap(), port), own, "{address} {port}");
        }
    }

    #[test]
    fn the_devices_own_global_address_is_not_public() {
        let gate = here(&[], &["8.8.8.8", "::ffff:9.9.9.9"]);
        assert!(!gate.is_public("8.8.8.8".parse().unwrap()));
        assert!(!gate.is_public("9.9.9.9".parse().unwrap()));
        assert!(gate.is_public("8.8.4.4".parse().unwrap()));
    }

    #[test]
    fn candidates_beyond_the_sixty_fourth_are_never_connected_to() {
        let many = vec!["8.8.8.8".parse().unwrap(); 70];
        let seen = here(&[], &[]).candidates(&many, 443);
        assert_eq!((seen.public, seen.every, seen.own, seen.only_own), (u64::MAX, u64::MAX, false, false));
    }
}
