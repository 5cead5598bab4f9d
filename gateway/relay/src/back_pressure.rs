//! Keeps the queues of the kernel short on both sides of a shaped flow: what stands there has been taken from the app and
//! cannot be put behind anything. Without it a sender parks megabytes, which are seconds at the rate of a bearer. Called by
//! `direction` when a flow begins, and when its bearer has become faster or slower; whoever makes the sockets calls it before.
//!
//! A queue that becomes shorter than what its sender was promised loses what arrives beyond it, and the sender waits 200 ms and
//! more before it says that again. So sockets are made with short queues, and those of fast flows are made longer.

use std::io;

use mexe_model::BitRate;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Chunks of two milliseconds that a receive queue may hold where the sender is on this device: 16 ms.
const NEAR: u64 = 8;
/// Likewise where it is across the network, whose round trip has to fit in: 128 ms.
const FAR: u64 = 64;
/// Less makes a sender on this device stop and go; the kernel counts its own overhead against it.
const LEAST_NEAR: u64 = 16 << 10;
const LEAST_FAR: u64 = 64 << 10;
/// Where a limit was and is no longer.
const MOST: u64 = 4 << 20;
/// What may be written and wait to be sent.
const UNSENT: u64 = 16 << 10;

/// The largest TCP segment that is taken from a sender of this device, bytes: that of an Ethernet. The loopback's own is 64 KiB,
/// more than such a queue; a sender whose segment does not fit into what is left of one waits 200 ms before it cuts it up.
const SEGMENT: u32 = 1448;
/// Nanoseconds of a rate in a chunk.
const CHUNK: u64 = 2_000_000;

/// Before it listens: whom it accepts are senders on this device, whose flows will be shaped.
///
/// # Errors
/// The system's own.
pub fn prepare_listener(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_mss(SEGMENT)?;
    socket.set_recv_buffer_size(narrow(LEAST_NEAR))
}

/// Before it connects: what comes back will be shaped to that rate, or to less.
///
/// # Errors
/// The system's own.
pub fn prepare_upstream(socket: SockRef<'_>, rate: BitRate) -> io::Result<()> {
    let chunk = u64::try_from(u128::from(rate.get()) * u128::from(CHUNK) / 8_000_000_000).unwrap_or(u64::MAX);
    let queue = chunk.saturating_mul(FAR).clamp(LEAST_FAR, MOST);
    socket.set_tcp_mss(SEGMENT)?;
    socket.set_recv_buffer_size(narrow(queue))
}

/// A flow without any limit on a socket that was prepared for one.
pub(crate) fn free(from: &TcpStream) {
    let from = SockRef::from(from);
    // The kernel says twice what it was told.
    let is_prepared = from.recv_buffer_size().is_ok_and(|size| size <= narrow(LEAST_NEAR * 2));
    if is_prepared {
        let _ = from.set_recv_buffer_size(narrow(MOST));
    }
}

/// Where the sender of a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// On this device.
    Near,
    /// Across the network.
    Far,
}

/// Fits the receive queue of the one and the unsent part of the other to a chunk of so many bytes.
pub(crate) fn fit(from: &TcpStream, to: &TcpStream, sender: Sender, chunk: u64) {
    let (times, least) = match sender {
        Sender::Near => (NEAR, LEAST_NEAR),
        Sender::Far => (FAR, LEAST_FAR),
    };
    let queue = chunk.saturating_mul(times).clamp(least, MOST);
    let unsent = chunk.saturating_mul(2).clamp(UNSENT, MOST);
    // Neither can fail on a socket that is open; were it to, the flow is only less prompt.
    let _ = SockRef::from(from).set_recv_buffer_size(narrow(queue));
    let _ = SockRef::from(to).set_tcp_notsent_lowat(u32::try_from(unsent).unwrap_or(u32::MAX));
}

fn narrow(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
