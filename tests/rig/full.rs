//! A destination that neither takes a connection nor refuses it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};

/// A listener that takes no further connection: whoever connects hangs until somebody accepts.
#[derive(Debug)]
pub struct Full {
    listener: TcpListener,
    fill: Vec<TcpStream>,
}

impl Full {
    /// # Panics
    /// When the system has no socket, or its queue does not fill.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut fill = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(150)) {
            fill.push(stream);
            assert!(fill.len() < 10, "the queue does not fill");
        }
        Self { listener, fill }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Never for a listener.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Lets everybody in who waits, or comes back within that time; who came besides those that filled the queue.
    ///
    /// # Panics
    /// When the system does not let it.
    pub fn let_in(&self, time: Duration) -> Vec<TcpStream> {
        self.listener.set_nonblocking(true).unwrap();
        let own: Vec<_> = self.fill.iter().map(|stream| stream.local_addr().unwrap()).collect();
        let end = Instant::now() + time;
        let mut others = Vec::new();
        while Instant::now() < end {
            match self.listener.accept() {
                Ok((stream, peer)) if !own.contains(&peer) => others.push(stream),
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        others
    }
}
