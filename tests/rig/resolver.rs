//! A DNS server over UDP for the gate under test. It answers from a table and remembers every question in the order
//! asked, because a question that leaves before permission is itself the leak.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const A: u16 = 1;
const AAAA: u16 = 28;

/// The server. It stops when dropped.
pub struct Resolver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    table: Mutex<BTreeMap<String, Vec<IpAddr>>>,
    questions: Mutex<Vec<String>>,
}

impl Resolver {
    /// Serves on that address, port 53 for a resolv.conf. In the network namespace of the calling thread.
    ///
    /// # Panics
    /// When it cannot bind.
    pub fn at(address: SocketAddr) -> Self {
        let socket =
            UdpSocket::bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        let address = socket.local_addr().expect("a bound socket has an address");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout above zero");
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !serving.stop.load(Ordering::Acquire) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = serving.answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this name has these addresses, and no others. Names that were never set do not exist.
    pub fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        self.shared.table.lock().expect("no holder panics").insert(name.to_ascii_lowercase(), addresses);
    }

    /// The names asked for so far, lower case, one entry a question.
    pub fn questions(&self) -> Vec<String> {
        self.shared.questions.lock().expect("no holder panics").clone()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    /// The answer to one datagram; `None` when it is no question.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*query.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
        let question = query.get(12..at + 4)?;
        let name = labels.join(".");
        self.questions.lock().expect("no holder panics").push(name.clone());
        let table = self.table.lock().expect("no holder panics");
        let known = table.get(&name);
        let wanted =
            |address: &&IpAddr| if kind == A { address.is_ipv4() } else { kind == AAAA && address.is_ipv6() };
        let records: Vec<&IpAddr> = known.into_iter().flatten().filter(wanted).collect();
        let mut answer = query.get(..2)?.to_vec();
        // A response, recursion desired and available; NXDOMAIN for a name that was never set.
        answer.extend([0x81, if known.is_some() { 0x80 } else { 0x83 }, 0, 1]);
        answer.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(question);
        for address in records {
            // The name by reference to the question, class IN, a time to live of 0.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1, 0, 0, 0, 0]);
            match address {
                IpAddr::V4(v4) => answer.extend([&[0, 4], &v4.octets()[..]].concat()),
                IpAddr::V6(v6) => answer.extend([&[0, 16], &v6.octets()[..]].concat()),
            }
        }
        Some(answer)
    }
}
