//! Moves bytes between a socket and a pipe inside the kernel. Two moves, each at most one turn of a task: socket to pipe,
//! pipe to socket. Called by `direction`, which decides how much and when.
//!
//! No `SPLICE_F_MORE`: it corks the connection like `TCP_CORK` and adds up to 200 ms to a small exchange.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::pipe::{SpliceFlags, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::pipe::Pipe;

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// Fills an empty pipe with up to `most` bytes from the socket. Zero bytes: the peer has finished sending.
///
/// The pipe must be empty: then "try again" can only mean that the socket has nothing.
pub(crate) fn fill(
    pipe: &mut Pipe,
    from: &TcpStream,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    debug_assert_eq!(pipe.filled, 0, "a pipe is drained before it is filled");
    let most = most.min(pipe.size);
    loop {
        ready!(from.poll_read_ready(cx))?;
        let moved =
            from.try_io(Interest::READABLE, || Ok(splice(from, None, &pipe.write, None, most, FLAGS)?));
        match moved {
            Ok(n) => {
                pipe.filled = n;
                return Poll::Ready(Ok(n));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Moves up to `most` of the pipe's bytes to the socket.
pub(crate) fn drain(
    pipe: &mut Pipe,
    to: &TcpStream,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let most = most.min(pipe.filled);
    loop {
        ready!(to.poll_write_ready(cx))?;
        let moved = to.try_io(Interest::WRITABLE, || Ok(splice(&pipe.read, None, to, None, most, FLAGS)?));
        match moved {
            // The pipe holds bytes, so its end is not what this means.
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                pipe.filled = pipe.filled.saturating_sub(n);
                return Poll::Ready(Ok(n));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}
