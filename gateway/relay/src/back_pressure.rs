//! Keeps the queues of the kernel short on both sides of a shaped flow: what stands there has been taken from the app and
//! cannot be put behind anything. Without it a sender parks megabytes, which are seconds at the rate of a bearer. Called by
//! `direction` when a flow begins, and when its bearer has become faster or slower.

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
    let _ = SockRef::from(from).set_recv_buffer_size(usize::try_from(queue).unwrap_or(usize::MAX));
    let _ = SockRef::from(to).set_tcp_notsent_lowat(u32::try_from(unsent).unwrap_or(u32::MAX));
}
