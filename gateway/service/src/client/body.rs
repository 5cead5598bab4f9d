//! Request bodies: nothing, bytes, or a file read piece by piece so that a package never lies in memory whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

/// How much of a file is read at a time.
const PIECE: usize = 64 << 10;

/// A request body.
#[derive(Debug)]
pub(super) enum Body {
    /// These bytes, once.
    Bytes(Option<Bytes>),
    /// No body.
    Empty,
    /// A file's bytes.
    File {
        /// Where they come from.
        file: Box<tokio::fs::File>,
        /// How many are still to come.
        left: u64,
        /// What goes before them.
        head: Option<Bytes>,
        /// What goes after them.
        tail: Option<Bytes>,
    },
}

impl Body {
    pub(super) fn file(file: tokio::fs::File, length: u64) -> Self {
        Self::File { file: Box::new(file), left: length, head: None, tail: None }
    }

    /// A file's bytes between others, as in a multipart body.
    pub(super) fn file_between(head: Bytes, file: tokio::fs::File, length: u64, tail: Bytes) -> Self {
        Self::File { file: Box::new(file), left: length, head: Some(head), tail: Some(tail) }
    }

    /// How many bytes are still to come.
    fn left(&self) -> u64 {
        let length =
            |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |b| u64::try_from(b.len()).unwrap_or(u64::MAX));
        match self {
            Self::Bytes(bytes) => length(bytes),
            Self::Empty => 0,
            Self::File { left, head, tail, .. } => {
                left.saturating_add(length(head)).saturating_add(length(tail))
            }
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Empty => Poll::Ready(None),
            Self::File { head: head @ Some(_), .. } => Poll::Ready(head.take().map(|b| Ok(Frame::data(b)))),
            Self::File { left: 0, tail, .. } => Poll::Ready(tail.take().map(|b| Ok(Frame::data(b)))),
            Self::File { file, left, .. } => {
                let piece = usize::try_from(*left).map_or(PIECE, |left| left.min(PIECE));
                let mut bytes = BytesMut::zeroed(piece);
                let mut buffer = ReadBuf::new(&mut bytes);
                ready!(Pin::new(file.as_mut()).poll_read(cx, &mut buffer))?;
                let read = buffer.filled().len();
                if read == 0 {
                    return Poll::Ready(Some(Err(io::Error::other(
                        "the file became shorter while it was read",
                    ))));
                }
                *left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
                bytes.truncate(read);
                Poll::Ready(Some(Ok(Frame::data(bytes.freeze()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0 && !matches!(self, Self::Bytes(Some(_)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
