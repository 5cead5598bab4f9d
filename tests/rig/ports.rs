//! Ports for one gate, below the range that the kernel gives to outgoing connections and kept by a file lock while the
//! rig lives, so that neither another rig nor a connection can take them between two starts of the gate.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The addresses of one gate's listeners, all on 127.0.0.1.
#[derive(Debug)]
pub struct Ports {
    /// SOCKS5.
    pub socks: SocketAddr,
    /// HTTP CONNECT and forward requests.
    pub http: SocketAddr,
    /// Console and API.
    pub console: SocketAddr,
    /// Metrics and health.
    pub metrics: SocketAddr,
    _lock: File,
}

const FIRST: u16 = 20_000;
const BLOCK: u16 = 8;
const BLOCKS: u16 = 1_500;

impl Ports {
    /// Takes a block that no other rig holds and nobody listens on.
    ///
    /// # Panics
    /// When there is none.
    pub fn take() -> Self {
        let folder = std::env::temp_dir().join("mexegate-rig-ports");
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        // Rigs that start at once begin at different blocks.
        let first = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("below BLOCKS");
        for block in (first..BLOCKS).chain(0..first) {
            let Ok(lock) = File::create(folder.join(block.to_string())) else { continue };
            if lock.try_lock().is_err() {
                continue;
            }
            let address = |n| SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + block * BLOCK + n));
            let bound: Vec<_> = (0..BLOCK).map_while(|n| TcpListener::bind(address(n)).ok()).collect();
            if bound.len() == usize::from(BLOCK) {
                return Self {
                    socks: address(0),
                    http: address(1),
                    console: address(2),
                    metrics: address(3),
                    _lock: lock,
                };
            }
        }
        panic!("every port block is taken: is `{}` full of locks?", folder.display());
    }
}
