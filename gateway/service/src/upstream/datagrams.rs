//! A socket for datagrams to one destination and back. It is connected, so that the kernel lets nobody else's datagrams in
//! (S10) and tells of errors on the way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mexe_model::Reason;
use mexe_policy::ActionId;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use super::{Connected, Upstream, Way, reason_of, set_out};
use crate::gate::OwnActions;

impl Upstream for UdpSocket {
    fn action(actions: &OwnActions) -> ActionId {
        actions.datagram
    }

    /// The first candidate that there is a way to: nothing else can be told of them before one answers.
    async fn connect(
        candidates: &[SocketAddr],
        way: Way<'_>,
        _patience: Duration,
    ) -> Result<Connected<Self>, Reason> {
        let mut last = Reason::UpstreamUnreachable;
        for candidate in candidates {
            match attempt(*candidate, way) {
                Ok(connected) => return Ok(connected),
                Err(error) => last = reason_of(&error),
            }
        }
        Err(last)
    }
}

fn attempt(address: SocketAddr, way: Way<'_>) -> io::Result<Connected<UdpSocket>> {
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    set_out(SockRef::from(&socket), address, way)?;
    // The app learns from what does not arrive how large its datagrams may be; one lost fragment loses the datagram.
    match address {
        SocketAddr::V4(_) => set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?,
        SocketAddr::V6(_) => set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?,
    }
    socket.connect(&address.into())?;
    let stream = UdpSocket::from_std(socket.into())?;
    let local = stream.local_addr()?;
    // A socket connected to itself talks to nobody.
    if local == address {
        return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
    }
    Ok(Connected { stream, local, remote: address })
}

#[cfg(test)]
mod tests {
    use mexe_qos::Marking;

    use super::*;

    #[tokio::test]
    async fn a_candidate_without_a_way_is_passed_over_and_strangers_are_not_heard() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let there = server.local_addr().unwrap();
        // Broadcast: the kernel refuses it to a socket that did not ask for it.
        let all = ["255.255.255.255:9".parse().unwrap(), there];
        let marking = Marking { dscp: 46, priority: 6 };
        let connected = <UdpSocket as Upstream>::connect(&all, marking.into(), Duration::ZERO).await.unwrap();
        assert_eq!(connected.remote, there);
        assert_eq!(SockRef::from(&connected.stream).tos_v4().unwrap(), 46 << 2);
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger.send_to(b"stranger", connected.local).await.unwrap();
        server.send_to(b"answer", connected.local).await.unwrap();
        let mut buffer = [0; 64];
        let (length, from) = connected.stream.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"answer"[..], there));
        let none =
            <UdpSocket as Upstream>::connect(&all[..1], marking.into(), Duration::ZERO).await.unwrap_err();
        assert_eq!(none, Reason::UpstreamUnreachable);
    }
}
