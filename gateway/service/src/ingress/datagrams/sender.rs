//! Whether who sends a datagram to an association is who asked for it (S10). The kernel tells the user of each socket of this
//! network; which of the user's programs it is, it does not tell everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether the sockets that datagrams can come from at `from` are the same user's as the app's end of the control
/// connection. An app on another network than the gate's is known by its address alone.
pub(super) async fn is_the_apps(control: (SocketAddr, SocketAddr), from: SocketAddr) -> bool {
    // Thousands of sockets take milliseconds to list.
    tokio::task::spawn_blocking(move || {
        let tcp = ["/proc/net/tcp", "/proc/net/tcp6"].map(read);
        let (app, gate) = (canonical(control.0), canonical(control.1));
        let owner = tcp
            .iter()
            .flat_map(|text| sockets(text))
            .find_map(|socket| (socket.local == app && socket.remote == gate).then_some(socket.uid));
        let Some(owner) = owner else { return true };
        let udp = ["/proc/net/udp", "/proc/net/udp6"].map(read);
        let senders: Vec<u32> = udp.iter().flat_map(|text| senders(text, from)).collect();
        !senders.is_empty() && senders.iter().all(|uid| *uid == owner)
    })
    .await
    .unwrap_or(false)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// The users of the sockets that datagrams can come from at that address.
fn senders(text: &str, from: SocketAddr) -> impl Iterator<Item = u32> {
    let can_be = move |socket: &Socket| {
        let ip = socket.local.ip();
        socket.local.port() == from.port() && (ip == from.ip() || ip.is_unspecified())
    };
    sockets(text).filter(can_be).map(|socket| socket.uid)
}

/// One line of the kernel's lists.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    uid: u32,
}

/// The sockets of a list as in `/proc/net/udp`, IPv4 in its own form.
fn sockets(text: &str) -> impl Iterator<Item = Socket> {
    text.lines().skip(1).filter_map(|line| {
        // sl, local, remote, state, queues, timer, retransmits, uid
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
        Some(Socket { local, remote, uid: words.nth(4)?.parse().ok()? })
    })
}

/// `0100007F:0035`: each four bytes of the address as the processor has them, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |n: usize| u32::from_str_radix(ip.get(n * 8..n * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let mut octets = [0; 16];
            octets.iter_mut().zip(words.iter().flatten()).for_each(|(to, from)| *to = *from);
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
  101: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 12345 2 0000000000000000 0\n\
  102: 00000000:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000  1001        0 12346 2 0000000000000000 0\n\
  broken\n";
    const UDP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
  103: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000  1002        0 1 2 0 0\n\
  104: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000  1003        0 1 2 0 0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_owners_of_a_senders_sockets_are_found() {
        let found = |text: &str, from: &str| senders(text, from.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(found(UDP, "127.0.0.1:8080"), [1000]);
        assert_eq!(found(UDP, "127.0.0.2:8080"), [0; 0]);
        assert_eq!(found(UDP, "127.0.0.2:8081"), [1001], "a socket on every address");
        assert_eq!(found(UDP6, "[::1]:8080"), [1002]);
        assert_eq!(found(UDP6, "127.0.0.1:8080"), [1003], "IPv4 in the clothes of IPv6");
    }

    #[tokio::test]
    async fn a_socket_of_ones_own_is_recognised_and_none_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let control = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = socket.local_addr().unwrap();
        assert!(is_the_apps(control, from).await);
        drop(socket);
        assert!(!is_the_apps(control, from).await);
        let elsewhere = ("192.0.2.1:4000".parse().unwrap(), control.1);
        assert!(is_the_apps(elsewhere, "192.0.2.1:5000".parse().unwrap()).await);
    }
}
