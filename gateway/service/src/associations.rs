//! Where the gate takes datagrams from apps: one socket for each association, on a port that the kernel chose. The policy
//! knows the listeners of the configuration; these come and go, and are just as little reached through the gate itself.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses of all associations. Cheap to clone; all clones are one list.
#[derive(Clone, Debug, Default)]
pub struct Associations(Arc<Mutex<HashSet<SocketAddr>>>);

/// One address on the list; dropping it takes it off.
#[derive(Debug)]
pub struct Listed {
    list: Associations,
    address: SocketAddr,
}

impl Associations {
    /// Puts an address on the list, IPv4 in its own form.
    pub fn list(&self, address: SocketAddr) -> Listed {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        Listed { list: self.clone(), address }
    }

    /// Whether what is sent there comes to an association. The unspecified address reaches every own one.
    pub fn are_served_at(&self, address: SocketAddr) -> bool {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if address.ip().is_unspecified() {
            return list.iter().any(|served| served.port() == address.port());
        }
        list.contains(&address)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.list.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_served_while_it_is_listed() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let all = Associations::default();
        let one = all.list(at("127.0.0.1:4000"));
        let six = all.list(at("[::1]:5000"));
        for (address, served) in [
            ("127.0.0.1:4000", true),
            ("127.0.0.1:4001", false),
            ("127.0.0.2:4000", false),
            ("0.0.0.0:4000", true),
            ("[::]:4000", true),
            ("[::1]:5000", true),
            ("[::1]:4000", false),
        ] {
            assert_eq!(all.are_served_at(at(address)), served, "{address}");
        }
        drop(one);
        assert!(!all.are_served_at(at("127.0.0.1:4000")));
        assert!(all.are_served_at(at("[::1]:5000")));
        drop(six);
        assert!(!all.are_served_at(at("0.0.0.0:5000")));
    }
}
