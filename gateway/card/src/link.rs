//! The bytes between here and a modem: whole commands out, whole lines in. A future that is dropped in the middle loses
//! nothing: the rest of a command is written before anything else, so that no two commands ever run into one another.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::Fault;
use crate::at::Lines;

/// A port to a modem.
#[derive(Debug)]
pub(crate) struct Link<P> {
    port: P,
    lines: Lines,
    /// What of a command is still to be written; never more than one command.
    out: Vec<u8>,
}

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Link<P> {
    pub(crate) fn new(port: P) -> Self {
        Self { port, lines: Lines::default(), out: Vec::new() }
    }

    /// Sends a command; the carriage return that ends it is put here.
    pub(crate) async fn send(&mut self, text: &str) -> Result<(), Fault> {
        self.drain().await?;
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'\r');
        self.drain().await
    }

    async fn drain(&mut self) -> Result<(), Fault> {
        if self.out.is_empty() {
            return Ok(());
        }
        while !self.out.is_empty() {
            match self.port.write(&self.out).await.map_err(Fault::ModemGone)? {
                0 => return Err(Fault::ModemGone(io::ErrorKind::WriteZero.into())),
                written => drop(self.out.drain(..written.min(self.out.len()))),
            }
        }
        self.port.flush().await.map_err(Fault::ModemGone)
    }

    /// The next line that is not empty.
    pub(crate) async fn line(&mut self) -> Result<String, Fault> {
        loop {
            if let Some(line) = self.lines.next_line() {
                return Ok(line);
            }
            self.drain().await?;
            let mut piece = [0; 512];
            match self.port.read(&mut piece).await.map_err(Fault::ModemGone)? {
                0 => return Err(Fault::ModemGone(io::ErrorKind::UnexpectedEof.into())),
                read => self.lines.push(piece.get(..read).unwrap_or_default()),
            }
        }
    }

    /// Forgets what came in so far.
    pub(crate) fn forget(&mut self) {
        self.lines.clear();
    }
}
