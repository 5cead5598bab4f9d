//! What the kernel still holds of a socket's bytes, and how to make it forget them. Closing a socket delivers its send
//! queue, which can be megabytes and take seconds; a cut may not. Called by the relay at the end of a flow.

use std::time::Duration;

use rustix::ioctl::{Getter, Opcode, ioctl};
use socket2::SockRef;
use tokio::net::TcpStream;

/// Closes the connection at once: the peer gets a reset, and what the kernel has not sent yet is thrown away.
///
/// For a socket that is not in a relay yet, when its lease is taken back: between connecting and [`crate::relay::run`].
pub fn cut(stream: TcpStream) {
    // Fails only for a socket that has no connection any more: then there is nothing to throw away.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}

/// How far the bytes of a socket have come to which nothing more will be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The peer's kernel has all of them.
    Done,
    /// The connection is gone, and some never arrived.
    Lost,
    /// Some are on the way or wait.
    Pending,
}

/// `told`: whether its write side is shut down.
pub(crate) fn delivery(stream: &TcpStream, told: bool) -> Delivery {
    // The shut-down itself counts as one byte until the peer acknowledges it: no need to wait for that.
    if unacknowledged(stream) <= i32::from(told) {
        Delivery::Done
    } else if stream.peer_addr().is_err() {
        Delivery::Lost
    } else {
        Delivery::Pending
    }
}

/// Bytes in the send queue, sent but not acknowledged ones included. Zero where the kernel cannot tell.
#[expect(unsafe_code, reason = "the ioctl has no safe wrapper; its number and its type are given here")]
fn unacknowledged(stream: &TcpStream) -> i32 {
    /// `SIOCOUTQ`; the few machines with another number answer with an error.
    const SIOCOUTQ: Opcode = 0x5411;
    // SAFETY: SIOCOUTQ writes one C int to the address that it is given, and `Getter` gives it room for exactly that.
    let getter = unsafe { Getter::<SIOCOUTQ, std::ffi::c_int>::new() };
    // SAFETY: as above; the descriptor is open for as long as `stream` is borrowed.
    unsafe { ioctl(stream, getter) }.unwrap_or(0)
}
