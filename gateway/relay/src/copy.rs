//! Moves bytes through a small buffer. A flow has a buffer only while bytes are in it: between reads it goes back to the
//! thread's own store, so that an idle connection holds none. Called by `direction`, which decides how much and when.
//!
//! Reading goes through tokio's own `poll_read`: after a read that did not fill the buffer it knows that the socket is
//! empty, and saves the system call that would only say so.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The size of a buffer, bytes.
pub(crate) const BUFFER: usize = 16 * 1024;
/// A thread keeps this many buffers for the next flow.
const KEPT: usize = 4;

thread_local! {
    static STORE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not yet written. Empty: no memory is held.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Held {
    /// Bytes that somebody else has read before the relay began.
    pub(crate) fn early(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { bytes: bytes.into_boxed_slice(), start: 0, end }
    }

    pub(crate) fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Reads up to `most` bytes, at most [`BUFFER`]. Zero bytes: the peer has finished sending. Must be empty.
    pub(crate) fn fill(
        &mut self,
        from: &mut TcpStream,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        debug_assert_eq!(self.len(), 0, "bytes are written before more are read");
        let mut bytes = borrow();
        let most = most.min(bytes.len());
        let read = bytes.get_mut(..most).map_or(Poll::Ready(Ok(0)), |room| {
            let mut room = ReadBuf::new(room);
            Pin::new(from).poll_read(cx, &mut room).map_ok(|()| room.filled().len())
        });
        match read {
            Poll::Ready(Ok(n)) if n > 0 => *self = Self { bytes, start: 0, end: n },
            _ => give_back(bytes),
        }
        read
    }

    /// Writes up to `most` of the bytes.
    pub(crate) fn drain(
        &mut self,
        to: &mut TcpStream,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let end = self.end.min(self.start.saturating_add(most));
        let due = self.bytes.get(self.start..end).unwrap_or_default();
        let n = ready!(Pin::new(to).poll_write(cx, due))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.start = self.start.saturating_add(n);
        if self.len() == 0 {
            give_back(std::mem::take(self).bytes);
        }
        Poll::Ready(Ok(n))
    }
}

fn borrow() -> Box<[u8]> {
    let kept = STORE.with(|store| store.try_borrow_mut().ok().and_then(|mut store| store.pop()));
    kept.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice())
}

fn give_back(bytes: Box<[u8]>) {
    // Early bytes came in a buffer of their own size, which is of no use to others.
    if bytes.len() == BUFFER {
        STORE.with(|store| {
            if let Ok(mut store) = store.try_borrow_mut().map_err(drop)
                && store.len() < KEPT
            {
                store.push(bytes);
            }
        });
    }
}
