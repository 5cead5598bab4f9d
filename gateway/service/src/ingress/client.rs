//! The app's side of a connection: a socket that can be shared with whoever may have to cut it, and a close that lets the
//! last answer arrive.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mexe_qos::Marking;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::upstream;

/// Closes after an answer: unread input would make the kernel reset the connection and take the answer with it, so a
/// little of it is read away first. Bounded in bytes and time.
pub async fn close_gently(mut client: TcpStream) {
    if client.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let mut rest = [0_u8; 4096];
        for _ in 0..16 {
            if !matches!(client.read(&mut rest).await, Ok(read) if read > 0) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), drain).await;
}

/// Completes when the app has gone away while it waits for an answer. One that has sent more than its request cannot be
/// told from one that went; it counts as there.
pub async fn has_left(client: &TcpStream) {
    loop {
        match client.peek(&mut [0]).await {
            Ok(0) | Err(_) => return,
            Ok(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// A socket of which others hold a share.
#[derive(Clone, Debug)]
pub struct SharedStream(Arc<TcpStream>);

impl SharedStream {
    /// Shares `stream`.
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    /// The socket alone, when no other share is left; else the share again.
    ///
    /// # Errors
    /// This share, when others are left.
    pub fn try_into_inner(self) -> Result<TcpStream, Self> {
        Arc::try_unwrap(self.0).map_err(Self)
    }

    /// The next close of the socket throws away what was not sent yet, and resets the connection (S8).
    pub fn reset_on_close(&self) {
        // Fails only for a socket that is gone already.
        let _ = self.0.set_zero_linger();
    }

    /// Marks what is sent from now on.
    pub fn mark(&self, marking: Marking) {
        if let Err(error) = upstream::mark_again(&self.0, marking) {
            tracing::warn!(%error, "an open connection could not be marked anew");
        }
    }
}

impl SharedStream {
    /// Reads what is there.
    pub fn poll_take(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Writes what fits.
    pub fn poll_give(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Ends this side's half of the conversation.
    ///
    /// # Errors
    /// The socket's own.
    pub fn finish(&self) -> io::Result<()> {
        socket2::SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write)
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(self.poll_take(cx, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_give(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}
