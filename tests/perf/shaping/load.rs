//! Connections that send, or receive, as much as they can.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::road::{Kind, Road};
use crate::sink::{Recording, SEND};

/// One that sends until it is dropped.
pub struct Load {
    stream: TcpStream,
    /// When it began.
    pub began: Instant,
    /// What arrives.
    pub arrived: Recording,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Begins one with a number of its own, that writes so many bytes at once.
    pub fn begin(road: &dyn Road, kind: Kind, number: u32, write: usize) -> Self {
        Self::on(road, road.open(kind), number, write)
    }

    /// The same on a connection that is open.
    pub fn on(road: &dyn Road, stream: TcpStream, number: u32, write: usize) -> Self {
        let arrived = road.sink().recording(number);
        let mut sender = stream.try_clone().expect("a socket can be shared");
        let began = Instant::now();
        let thread = thread::spawn(move || {
            let block = vec![b'x'; write];
            if sender.write_all(&number.to_be_bytes()).is_err() {
                return;
            }
            while sender.write(&block).is_ok() {}
        });
        Self { stream, began, arrived, thread: Some(thread) }
    }

    /// Begins one that receives.
    pub fn download(road: &dyn Road) -> Self {
        let mut stream = road.open(Kind::Bulk);
        stream.set_read_timeout(None).expect("an open socket");
        stream.write_all(&SEND.to_be_bytes()).expect("an open connection");
        let (arrived, began) = (Recording::default(), Instant::now());
        let (mut receiver, here) = (stream.try_clone().expect("a socket can be shared"), arrived.clone());
        let thread = thread::spawn(move || drop(here.fill(&mut receiver)));
        Self { stream, began, arrived, thread: Some(thread) }
    }

    /// Bytes that stand in the kernel between the load and a sink on this device.
    pub fn standing(&self, sink: SocketAddr) -> u64 {
        let own = self.stream.local_addr().expect("an open socket").port();
        rig::proc::standing(own, sink.port())
    }

    /// The rate of what arrives, from a second after the beginning on, bits a second.
    pub fn rate(&self, time: Duration) -> f64 {
        self.arrived.rate(self.began + Duration::from_secs(1), time)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
