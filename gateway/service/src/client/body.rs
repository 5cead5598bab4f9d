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
    },
}

impl Body {
    pub(super) fn file(file: tokio::fs::File, length: u64) -> Self {
        Self::File { file: Box::new(file), left: length }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Empty | Self::File { left: 0, .. } => Poll::Ready(None),
            Self::File { file, left } => {
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
        matches!(self, Self::Bytes(None) | Self::Empty | Self::File { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| u64::try_from(b.len()).unwrap_or(u64::MAX)))
            }
            Self::Empty => SizeHint::with_exact(0),
            Self::File { left, .. } => SizeHint::with_exact(*left),
        }
    }
}
