//! The app's side of a connection to the HTTP door, with everything that it reads shown to a [`Watch`] before the parser
//! gets it. What the watch doubts is known by the time the request in question is answered, because its head was read
//! here first.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use mexe_wire::forward::{Doubt, Watch};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::SharedStream;

/// Where the watch of a connection leaves its doubt for whoever answers the requests.
pub(super) type Doubted = Arc<OnceLock<Doubt>>;

/// See the module.
pub(super) struct Watched {
    stream: SharedStream,
    watch: Watch,
    doubted: Doubted,
}

impl Watched {
    pub(super) fn new(stream: SharedStream, doubted: Doubted) -> Self {
        Self { stream, watch: Watch::default(), doubted }
    }

    pub(super) fn into_inner(self) -> SharedStream {
        self.stream
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.watch.on_bytes(buffer.filled().get(before..).unwrap_or_default());
        if let Some(doubt) = self.watch.doubt() {
            // Only the first one counts, and there is never another.
            let _ = self.doubted.set(doubt);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
