//! A way from the load to the sink.

use std::net::{TcpStream, UdpSocket};

use crate::sink::Sink;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes last.
    Bulk,
    /// Goes first.
    Voice,
}

/// A way with a rate.
pub trait Road {
    /// How the table calls it.
    fn name(&self) -> String;
    /// Where it leads.
    fn sink(&self) -> &Sink;
    /// A connection to the sink; nothing has been said on it.
    fn open(&self, kind: Kind) -> TcpStream;
    /// A way to the sink's echo of datagrams, for what goes first.
    fn datagrams(&self) -> Option<Datagrams> {
        None
    }
}

/// A way for datagrams.
pub struct Datagrams {
    /// Connected to where they are taken.
    pub socket: UdpSocket,
    /// What has to stand before each.
    pub header: Vec<u8>,
    /// What the way lives by.
    pub control: Option<TcpStream>,
}
