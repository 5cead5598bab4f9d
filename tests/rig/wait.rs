//! Waiting for a condition instead of sleeping for a time.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Asks every 5 ms until the answer is there, for 20 seconds.
///
/// # Panics
/// When the time is up, saying what was awaited.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(20), &mut ask).unwrap_or_else(|| panic!("waited 20 seconds in vain: {what}"))
}

/// Asks every 5 ms until the answer is there or the time is up.
pub fn within<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until somebody listens there.
///
/// # Panics
/// When nobody does within 20 seconds.
#[track_caller]
pub fn listening(address: SocketAddr) {
    until(&format!("a listener on {address}"), || TcpStream::connect(address).ok());
}
