//! Both ends of a flow of datagrams: an app that holds a SOCKS5 association, byte for byte, and a server that says back
//! what it hears.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::raw::{Credentials, No, socks_request};

/// How long an answer may take before there is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// An association with the gate, and the socket that the app sends from.
pub struct Association {
    /// The connection that the association lives by.
    pub control: TcpStream,
    /// Where the gate takes datagrams.
    pub relay: SocketAddr,
    /// Where the app sends from.
    pub socket: UdpSocket,
}

impl Association {
    /// Asks for one, saying nothing about where datagrams will come from.
    ///
    /// # Errors
    /// Every kind of no.
    pub fn open(door: SocketAddr, who: &Credentials) -> Result<Self, No> {
        let any = if door.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        Self::claiming(door, who, any.parse().expect("an address"))
    }

    /// Asks for one, saying that datagrams will come from there.
    ///
    /// # Errors
    /// Every kind of no.
    ///
    /// # Panics
    /// When no socket can be had.
    pub fn claiming(door: SocketAddr, who: &Credentials, claim: SocketAddr) -> Result<Self, No> {
        let socket = UdpSocket::bind(SocketAddr::new(door.ip(), 0)).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        let (control, relay) = Self::ask(door, who, claim)?;
        Ok(Self { control, relay, socket })
    }

    /// The conversation up to the reply.
    ///
    /// # Errors
    /// Every kind of no.
    pub fn ask(
        door: SocketAddr,
        who: &Credentials,
        claim: SocketAddr,
    ) -> Result<(TcpStream, SocketAddr), No> {
        let mut request = socks_request(who, claim);
        let command = request.len() - if claim.is_ipv4() { 9 } else { 21 };
        request[command] = 3;
        let mut control = TcpStream::connect(door)?;
        control.set_read_timeout(Some(PATIENCE))?;
        control.write_all(&request)?;
        let mut start = [0; 4];
        control.read_exact(&mut start[..2])?;
        if start[1] == 2 {
            control.read_exact(&mut start[2..])?;
        }
        if start != [5, 2, 1, 0] {
            return Err(No::Socks(0xff));
        }
        control.read_exact(&mut start)?;
        let [5, code, 0, kind] = start else { return Err(No::Socks(0xff)) };
        let ip: IpAddr = if kind == 4 {
            let mut octets = [0; 16];
            control.read_exact(&mut octets)?;
            octets.into()
        } else {
            let mut octets = [0; 4];
            control.read_exact(&mut octets)?;
            octets.into()
        };
        let mut port = [0; 2];
        control.read_exact(&mut port)?;
        if code == 0 {
            Ok((control, SocketAddr::new(ip, u16::from_be_bytes(port))))
        } else {
            Err(No::Socks(code))
        }
    }

    /// Sends a datagram to an address.
    ///
    /// # Panics
    /// When the system refuses it.
    #[track_caller]
    pub fn send(&self, to: SocketAddr, payload: &[u8]) {
        self.send_bytes(&[&header(to)[..], payload].concat());
    }

    /// Sends a datagram to a name.
    ///
    /// # Panics
    /// When the system refuses it.
    #[track_caller]
    pub fn send_to_name(&self, name: &str, port: u16, payload: &[u8]) {
        let length = u8::try_from(name.len()).expect("a short name");
        let header = [&[0, 0, 0, 3, length][..], name.as_bytes(), &port.to_be_bytes()].concat();
        self.send_bytes(&[&header[..], payload].concat());
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the system refuses it.
    #[track_caller]
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.relay).expect("loopback takes a datagram");
    }

    /// The next datagram: where it came from, as the gate says, and what is in it.
    ///
    /// # Panics
    /// When none comes in 20 seconds, or from another than the gate, or with another header than the RFC's.
    #[track_caller]
    pub fn receive(&self) -> (SocketAddr, Vec<u8>) {
        self.try_receive().expect("a datagram within 20 seconds")
    }

    /// The next datagram, or why there is none.
    ///
    /// # Errors
    /// The system's own.
    ///
    /// # Panics
    /// When it comes from another than the gate, or with another header than the RFC's.
    #[track_caller]
    pub fn try_receive(&self) -> std::io::Result<(SocketAddr, Vec<u8>)> {
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer)?;
        assert_eq!(from, self.relay, "the gate answers from where it is sent to");
        buffer.truncate(length);
        assert_eq!(buffer[..3], [0, 0, 0], "reserved, and no fragment");
        let ip = |octets: usize| -> IpAddr {
            match octets {
                4 => <[u8; 4]>::try_from(&buffer[4..8]).expect("four").into(),
                _ => <[u8; 16]>::try_from(&buffer[4..20]).expect("sixteen").into(),
            }
        };
        let octets = if buffer[3] == 4 { 16 } else { 4 };
        let (ip, port) = (ip(octets), &buffer[4 + octets..6 + octets]);
        let origin = SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]));
        Ok((origin, buffer[6 + octets..].to_vec()))
    }

    /// Sends, and waits for the answer, which comes from where it was sent to.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn exchange(&self, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
        self.send(to, payload);
        let (from, answer) = self.receive();
        assert_eq!(from, to);
        answer
    }

    /// Whether nothing has arrived that was not read.
    pub fn is_quiet(&self) -> bool {
        self.socket.set_nonblocking(true).expect("an open socket");
        let quiet = self.socket.peek_from(&mut [0; 1]).is_err();
        self.socket.set_nonblocking(false).expect("an open socket");
        quiet
    }
}

/// The header of a datagram for an address.
fn header(to: SocketAddr) -> Vec<u8> {
    let mut header = vec![0, 0, 0];
    match to.ip() {
        IpAddr::V4(ip) => {
            header.push(1);
            header.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            header.push(4);
            header.extend(ip.octets());
        }
    }
    header.extend(to.port().to_be_bytes());
    header
}

/// A server of datagrams that a test reads by hand.
pub struct Peer {
    /// Its socket.
    pub socket: UdpSocket,
}

impl Peer {
    /// On that address; port 0 is any.
    ///
    /// # Panics
    /// When it cannot bind.
    pub fn at(address: &str) -> Self {
        let socket =
            UdpSocket::bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        Self { socket }
    }

    /// On a port of 127.0.0.1.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0")
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Never.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// The next datagram, and who sent it.
    ///
    /// # Panics
    /// When none comes in 20 seconds.
    #[track_caller]
    pub fn receive(&self) -> (SocketAddr, Vec<u8>) {
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("a datagram within 20 seconds");
        buffer.truncate(length);
        (from, buffer)
    }

    /// Answers the next datagram with the same, and tells what it was.
    ///
    /// # Panics
    /// When none comes in 20 seconds.
    #[track_caller]
    pub fn echo(&self) -> Vec<u8> {
        let (from, datagram) = self.receive();
        self.socket.send_to(&datagram, from).expect("loopback takes a datagram");
        datagram
    }

    /// Everything that has arrived and was not read.
    ///
    /// # Panics
    /// Never.
    pub fn unread(&self) -> Vec<Vec<u8>> {
        self.socket.set_nonblocking(true).expect("an open socket");
        let mut buffer = vec![0; 65_536];
        let read = || self.socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec());
        let all = std::iter::from_fn(read).collect();
        self.socket.set_nonblocking(false).expect("an open socket");
        all
    }
}
