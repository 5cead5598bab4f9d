//! Lets the kernel send what a flow was granted no faster than the bearer takes it (SO_MAX_PACING_RATE): also what it sends
//! a second time, which no arbiter sees. Decides nothing; called with the queues' lengths when a flow begins on a bearer that
//! is a network device, and when that has become faster or slower.

use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::AsRawFd as _;

use tokio::net::TcpStream;

/// No limit, as the kernel says it.
const NONE: c_uint = c_uint::MAX;

/// So many bytes a second at most; `None` is no limit. It is only a courtesy to the device: what the kernel refuses changes
/// nothing for the flow.
#[expect(
    unsafe_code,
    reason = "the socket option has no safe wrapper; its number and its type are given here"
)]
pub(crate) fn pace(stream: &TcpStream, bytes_per_second: Option<u64>) {
    let rate: c_uint = bytes_per_second.map_or(NONE, |rate| c_uint::try_from(rate).unwrap_or(NONE));
    let rate: *const c_uint = &raw const rate;
    // SAFETY: the option reads as many bytes as it is told from the address that it is given, which are those of `rate`; the
    // descriptor is open for as long as `stream` is borrowed.
    let _: c_int = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            rate.cast::<c_void>(),
            LENGTH,
        )
    };
}

/// The length of the option, bytes.
const LENGTH: libc::socklen_t = 4;

#[cfg(test)]
pub(crate) mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What the kernel holds the socket to, bytes a second.
    #[expect(unsafe_code, reason = "as above")]
    pub(crate) fn paced_at(stream: &TcpStream) -> Option<u64> {
        // Eight bytes where the kernel has them: it writes as many as there is room for.
        let (mut rate, mut length) = (0_u32, LENGTH);
        // SAFETY: it writes at most `length` bytes to `rate`, which has them.
        let answer = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MAX_PACING_RATE,
                (&raw mut rate).cast::<c_void>(),
                &raw mut length,
            )
        };
        assert_eq!((answer, length), (0, LENGTH));
        (rate != NONE).then_some(u64::from(rate))
    }

    #[tokio::test]
    async fn a_socket_is_paced_and_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert_eq!(paced_at(&stream), None);
        pace(&stream, Some(1_562_500));
        assert_eq!(paced_at(&stream), Some(1_562_500));
        pace(&stream, Some(1 << 40));
        assert_eq!(paced_at(&stream), None, "more than it can say");
        pace(&stream, Some(1));
        pace(&stream, None);
        assert_eq!(paced_at(&stream), None);
    }
}
