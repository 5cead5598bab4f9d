//! A way through the gate for programs that know no proxy: it listens on a port of this device, for connections and for
//! datagrams, and brings both to one target, by CONNECT and by UDP ASSOCIATE of SOCKS5.

use std::io::copy;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::datagrams::Association;
use crate::ports::Ports;
use crate::proc;
use crate::raw::{self, Credentials, Door};

/// How often it is looked whether the relay has ended.
const LOOK: Duration = Duration::from_millis(100);

/// A relay to one target, which ends with its value. Datagrams are those of one client, the last that sent.
pub struct Relay {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    socks: SocketAddr,
    connections_as: Credentials,
    target: SocketAddr,
    listener: TcpListener,
    socket: UdpSocket,
    association: Association,
    client: Mutex<Option<SocketAddr>>,
    answers: AtomicU64,
    stop: AtomicBool,
}

impl Relay {
    /// A relay on a free port, which calls itself one thing for connections and another for datagrams.
    ///
    /// # Panics
    /// When the gate gives it no association.
    #[track_caller]
    pub fn start(
        ports: &Ports,
        connections: &Credentials,
        datagrams: &Credentials,
        target: SocketAddr,
    ) -> Self {
        let (listener, socket) = bound();
        let association = Association::open(ports.socks, datagrams).expect("an association");
        for socket in [&socket, &association.socket] {
            socket.set_read_timeout(Some(LOOK)).expect("a timeout above zero");
        }
        let shared = Arc::new(Shared {
            socks: ports.socks,
            connections_as: connections.clone(),
            target,
            listener,
            socket,
            association,
            client: Mutex::new(None),
            answers: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let threads = [Shared::accept, Shared::bring_up, Shared::bring_down].map(|work| {
            let shared = shared.clone();
            std::thread::spawn(move || work(&shared))
        });
        Self { shared, threads: threads.into() }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Never.
    pub fn address(&self) -> SocketAddr {
        self.shared.listener.local_addr().expect("a listener has an address")
    }

    /// Datagrams that came back from the target.
    pub fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::Acquire)
    }

    /// Datagrams for which there was no room on their way to the gate, in this device's own sockets: the client's, and the
    /// target's.
    pub fn overflown(&self) -> (u64, u64) {
        let up = [self.address().port(), self.shared.association.relay.port()];
        let up = up.into_iter().map(|port| proc::overflown(Some(port), None)).sum();
        (up, proc::overflown(None, Some(self.shared.target.port())))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn accept(&self) {
        for client in self.listener.incoming().flatten() {
            if self.is_over() {
                return;
            }
            let Ok(gate) = raw::open_at(self.socks, Door::Socks, &self.connections_as, self.target) else {
                continue;
            };
            // It is the program's own affair how long it says nothing.
            gate.set_read_timeout(None).expect("an open socket");
            for (from, to) in [(&client, &gate), (&gate, &client)] {
                let (from, to) = (from.try_clone(), to.try_clone());
                let (Ok(mut from), Ok(mut to)) = (from, to) else { continue };
                std::thread::spawn(move || {
                    // How it ends is for the two ends to know.
                    let _ = copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    }

    fn bring_up(&self) {
        let mut buffer = vec![0; 65_536];
        while !self.is_over() {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            *self.client.lock().expect("no holder panics") = Some(from);
            self.association.send(self.target, &buffer[..length]);
        }
    }

    fn bring_down(&self) {
        while !self.is_over() {
            let Ok((_, payload)) = self.association.try_receive() else { continue };
            let client = *self.client.lock().expect("no holder panics");
            if let Some(client) = client {
                // A client that has gone takes nothing more.
                let _ = self.socket.send_to(&payload, client);
            }
            self.answers.fetch_add(1, Ordering::Release);
        }
    }
}

/// A listener and a socket on the same port.
fn bound() -> (TcpListener, UdpSocket) {
    let both = || {
        let listener = TcpListener::bind("127.0.0.1:0").ok()?;
        let socket = UdpSocket::bind(listener.local_addr().ok()?).ok()?;
        Some((listener, socket))
    };
    (0..100).find_map(|_| both()).expect("a port that is free twice")
}
