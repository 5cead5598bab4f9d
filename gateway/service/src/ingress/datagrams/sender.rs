//! Whether who sends a datagram to an association is who asked for it (S10). The kernel tells the user of each socket of this
//! network, and, of the processes that the gate may look into, which holds which socket. Where it may look into one that
//! holds the control connection, the sender's socket has to be such a process's as well; else the user has to be the same.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whose a sender is.
#[derive(Debug)]
pub(super) enum Whose {
    /// The app's.
    Apps(Sender),
    /// Somebody else's.
    Others,
    /// There is no such socket: nobody can tell whose it was.
    Nobodys,
}

/// The app's own sockets that datagrams can come from.
#[derive(Debug)]
pub(super) struct Sender {
    /// Where a process holds each, and what stands there as long as it does; empty where that cannot be seen.
    held: Vec<(PathBuf, PathBuf)>,
    /// On another network than the gate's, known by its address alone.
    pub(super) is_remote: bool,
}

impl Sender {
    /// Whether a process that was seen to hold such a socket still does, as far as that can be seen. A look at one file of
    /// the kernel's.
    pub(super) fn is_held(&self) -> bool {
        let holds = |(fd, socket): &(PathBuf, PathBuf)| fs::read_link(fd).is_ok_and(|link| link == *socket);
        self.held.is_empty() || self.held.iter().any(holds)
    }
}

/// Whose the sockets are that datagrams can come from at `from`, where `control` are the ends of the control connection, the
/// app's first.
pub(super) async fn whose(control: (SocketAddr, SocketAddr), from: SocketAddr) -> Whose {
    // Thousands of sockets take milliseconds to list.
    tokio::task::spawn_blocking(move || judge(control, from)).await.unwrap_or(Whose::Others)
}

fn judge(control: (SocketAddr, SocketAddr), from: SocketAddr) -> Whose {
    let (app, gate) = (canonical(control.0), canonical(control.1));
    let tcp = ["/proc/net/tcp", "/proc/net/tcp6"].map(read);
    let is_control = |socket: &Socket| socket.local == app && socket.remote == gate;
    let Some(control) = tcp.iter().flat_map(|text| sockets(text)).find(is_control) else {
        return Whose::Apps(Sender { held: Vec::new(), is_remote: true });
    };
    let found = all_senders(from);
    if found.is_empty() {
        return Whose::Nobodys;
    }
    if found.iter().any(|(uid, _)| *uid != control.uid) {
        return Whose::Others;
    }
    let wanted: Vec<PathBuf> = found.iter().map(|(_, inode)| link(*inode)).collect();
    let held = match held_beside(&link(control.inode), &wanted, control.uid) {
        None => Vec::new(),
        Some(held) if wanted.iter().all(|socket| held.iter().any(|(_, link)| link == socket)) => held,
        // It may have been closed between the two looks.
        Some(_) if all_senders(from) != found => return Whose::Nobodys,
        Some(_) => return Whose::Others,
    };
    Whose::Apps(Sender { held, is_remote: false })
}

/// Where processes that hold `control` hold one of `wanted`; `None` when no process is seen to hold `control`.
fn held_beside(control: &Path, wanted: &[PathBuf], uid: u32) -> Option<Vec<(PathBuf, PathBuf)>> {
    let mut beside = None;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let is_one =
            process.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        if !is_one || !process.metadata().is_ok_and(|about| about.uid() == uid) {
            continue;
        }
        // Those of other users cannot be read, and need not be.
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
        let (mut holds_control, mut held) = (false, Vec::new());
        for fd in open.flatten() {
            let Ok(link) = fs::read_link(fd.path()) else { continue };
            holds_control |= link == control;
            if wanted.contains(&link) {
                held.push((fd.path(), link));
            }
        }
        if holds_control {
            beside.get_or_insert_with(Vec::new).append(&mut held);
        }
    }
    beside
}

/// What a descriptor of that socket looks like.
fn link(inode: u64) -> PathBuf {
    format!("socket:[{inode}]").into()
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// User and number of every socket that datagrams can come from at that address.
fn all_senders(from: SocketAddr) -> Vec<(u32, u64)> {
    ["/proc/net/udp", "/proc/net/udp6"].map(read).iter().flat_map(|text| senders(text, from)).collect()
}

fn senders(text: &str, from: SocketAddr) -> impl Iterator<Item = (u32, u64)> {
    let can_be = move |socket: &Socket| {
        let ip = socket.local.ip();
        socket.local.port() == from.port() && (ip == from.ip() || ip.is_unspecified())
    };
    sockets(text).filter(can_be).map(|socket| (socket.uid, socket.inode))
}

/// One line of the kernel's lists.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    uid: u32,
    inode: u64,
}

/// The sockets of a list as in `/proc/net/udp`, IPv4 in its own form.
fn sockets(text: &str) -> impl Iterator<Item = Socket> {
    text.lines().skip(1).filter_map(|line| {
        // sl, local, remote, state, queues, timer, retransmits, uid, timeout, inode
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
        let uid = words.nth(4)?.parse().ok()?;
        Some(Socket { local, remote, uid, inode: words.nth(1)?.parse().ok()? })
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
        assert_eq!(found(UDP, "127.0.0.1:8080"), [(1000, 12345)]);
        assert_eq!(found(UDP, "127.0.0.2:8080"), []);
        assert_eq!(found(UDP, "127.0.0.2:8081"), [(1001, 12346)], "a socket on every address");
        assert_eq!(found(UDP6, "[::1]:8080"), [(1002, 1)]);
        assert_eq!(found(UDP6, "127.0.0.1:8080"), [(1003, 1)], "IPv4 in the clothes of IPv6");
    }

    #[tokio::test]
    async fn a_socket_of_ones_own_is_recognised_and_none_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let control = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = socket.local_addr().unwrap();
        let Whose::Apps(sender) = whose(control, from).await else { panic!("this very process holds both") };
        assert!(sender.is_held() && !sender.is_remote && sender.held.len() == 1, "{sender:?}");
        drop(socket);
        assert!(!sender.is_held());
        assert!(matches!(whose(control, from).await, Whose::Nobodys));
        let elsewhere = ("192.0.2.1:4000".parse().unwrap(), control.1);
        let far = whose(elsewhere, "192.0.2.1:5000".parse().unwrap()).await;
        assert!(matches!(far, Whose::Apps(sender) if sender.is_remote));
    }
}
