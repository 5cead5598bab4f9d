//! Towards the bearer: names to addresses, and a connection to exactly the addresses that were decided on (S6). A name
//! is looked up once, as it is: no search list, no second look-up between decision and connect. Candidates race as RFC
//! 8305 describes it, a quarter of a second apart.

mod datagrams;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mexe_model::{BitRate, DomainName, Reason};
use mexe_policy::ActionId;
use mexe_qos::Marking;
use mexe_relay::back_pressure;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::gate::OwnActions;

/// How long one candidate has before the next one starts as well.
const STAGGER: Duration = Duration::from_millis(250);
/// More addresses than this are not tried.
pub const MOST_CANDIDATES: usize = 64;

/// The addresses of a name: the hosts file first, then the system's resolver with the name made absolute, so that no
/// search list is ever applied. `localhost` and names under it are the loopback (RFC 6761) and are not asked for.
///
/// # Errors
/// [`Reason::NameUnresolvable`] when there is none or no answer came within `patience`.
pub async fn resolve(name: &DomainName, patience: Duration) -> Result<Vec<IpAddr>, Reason> {
    if name.as_str() == "localhost" || name.as_str().ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    if let Ok(hosts) = tokio::fs::read_to_string("/etc/hosts").await {
        let listed = in_hosts_file(&hosts, name.as_str());
        if !listed.is_empty() {
            return Ok(listed);
        }
    }
    let absolute = format!("{name}.");
    let answer = timeout(patience, tokio::net::lookup_host((absolute.as_str(), 0))).await;
    let mut addresses = Vec::new();
    if let Ok(Ok(found)) = answer {
        for address in found {
            if !addresses.contains(&address.ip()) && addresses.len() < MOST_CANDIDATES {
                addresses.push(address.ip());
            }
        }
    }
    if addresses.is_empty() { Err(Reason::NameUnresolvable) } else { Ok(addresses) }
}

fn in_hosts_file(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// How a flow goes out.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// What its packets are marked with.
    pub marking: Marking,
    /// By this network device and no other; `None` leaves it to the routing table.
    pub device: Option<&'a str>,
    /// What comes back by it is shaped to this rate, or to less.
    pub down: Option<BitRate>,
}

impl From<Marking> for Way<'_> {
    fn from(marking: Marking) -> Self {
        Self { marking, device: None, down: None }
    }
}

/// What carries a flow on the outside.
pub trait Upstream: Sized + Send {
    /// What opening one is to the policy.
    fn action(actions: &OwnActions) -> ActionId;

    /// Connects to one of the candidates, and to nothing else.
    ///
    /// # Errors
    /// Why none of them can be had.
    fn connect(
        candidates: &[SocketAddr],
        way: Way<'_>,
        patience: Duration,
    ) -> impl Future<Output = Result<Connected<Self>, Reason>> + Send;
}

impl Upstream for TcpStream {
    fn action(actions: &OwnActions) -> ActionId {
        actions.connect
    }

    fn connect(
        candidates: &[SocketAddr],
        way: Way<'_>,
        patience: Duration,
    ) -> impl Future<Output = Result<Connected, Reason>> + Send {
        connect(candidates, way, patience)
    }
}

/// A connection, and its two ends.
#[derive(Debug)]
pub struct Connected<S = TcpStream> {
    /// The connection.
    pub stream: S,
    /// This end.
    pub local: SocketAddr,
    /// The candidate that answered.
    pub remote: SocketAddr,
}

/// Connects to the first candidate that answers.
///
/// # Errors
/// [`Reason::UpstreamTimeout`], [`Reason::UpstreamRefused`] or [`Reason::UpstreamUnreachable`]: the last candidate's.
///
/// Cancel safe: dropped, it closes every attempt.
pub async fn connect(
    candidates: &[SocketAddr],
    way: Way<'_>,
    patience: Duration,
) -> Result<Connected, Reason> {
    if let [only] = candidates {
        // The usual case costs no task.
        return match timeout(patience, attempt(*only, way)).await {
            Ok(result) => result.map_err(|error| reason_of(&error)),
            Err(_) => Err(Reason::UpstreamTimeout),
        };
    }
    let deadline = Instant::now() + patience;
    let mut waiting = interleave(candidates).into_iter();
    let mut racing = JoinSet::new();
    let mut last = Reason::UpstreamUnreachable;
    let mut next_start = Instant::now();
    while !racing.is_empty() || waiting.len() > 0 {
        tokio::select! {
            biased;
            () = sleep_until(deadline) => return Err(Reason::UpstreamTimeout),
            Some(done) = racing.join_next() => match done {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    last = reason_of(&error);
                    next_start = Instant::now();
                }
                Err(_) => {}
            },
            () = sleep_until(next_start), if waiting.len() > 0 => {
                if let Some(address) = waiting.next() {
                    let Way { marking, down, .. } = way;
                    let device = way.device.map(str::to_owned);
                    racing.spawn(async move {
                        attempt(address, Way { marking, device: device.as_deref(), down }).await
                    });
                    next_start = Instant::now() + STAGGER;
                }
            }
        }
    }
    Err(last)
}

async fn attempt(address: SocketAddr, way: Way<'_>) -> io::Result<Connected> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    set_out(SockRef::from(&socket), address, way)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(rate) = way.down {
        back_pressure::prepare_upstream(SockRef::from(&socket), rate)?;
    }
    let stands = match socket.connect(&address.into()) {
        Ok(()) => true,
        // On this host the connection stands already: nothing to wait for, and no timer to set.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => socket.peer_addr().is_ok(),
        Err(error) => return Err(error),
    };
    let stream = TcpStream::from_std(socket.into())?;
    if !stands {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    // A socket connected to itself (source port = destination port on this host) talks to nobody.
    let local = stream.local_addr()?;
    if local == address {
        return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
    }
    Ok(Connected { stream, local, remote: address })
}

/// Marks an open connection anew.
///
/// # Errors
/// The system's own; the connection stays as it was, or is half marked.
pub fn mark_again(socket: &TcpStream, marking: Marking) -> io::Result<()> {
    let tos = u32::from(marking.tos());
    let (remote, socket) = (socket.peer_addr()?, SockRef::from(socket));
    match remote {
        SocketAddr::V4(_) => socket.set_tos_v4(tos)?,
        SocketAddr::V6(_) => socket.set_tclass_v6(tos)?,
    }
    socket.set_priority(marking.priority)
}

/// Puts the socket on its way, before it is connected.
fn set_out(socket: SockRef<'_>, address: SocketAddr, way: Way<'_>) -> io::Result<()> {
    let marking = way.marking;
    // This host's own addresses are not behind any device but `lo`.
    if let Some(device) = way.device.filter(|_| !address.ip().to_canonical().is_loopback()) {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    let tos = u32::from(marking.tos());
    if tos != 0 {
        match address {
            SocketAddr::V4(_) => socket.set_tos_v4(tos)?,
            SocketAddr::V6(_) => socket.set_tclass_v6(tos)?,
        }
    }
    // Setting the type of service sets the priority too, so the priority comes last. Above 6 needs CAP_NET_ADMIN; none
    // of ours is.
    if marking.priority != 0 {
        socket.set_priority(marking.priority)?;
    }
    Ok(())
}

/// Address families in turn, the resolver's first one first (RFC 8305, 4).
fn interleave(candidates: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = candidates.first().is_some_and(SocketAddr::is_ipv6);
    let (mut a, mut b): (Vec<_>, Vec<_>) = candidates.iter().partition(|c| c.is_ipv6() == first_is_v6);
    a.reverse();
    b.reverse();
    let mut order = Vec::with_capacity(candidates.len());
    while let Some(next) = a.pop().or_else(|| b.pop()) {
        order.push(next);
        order.extend(b.pop());
    }
    order
}

fn reason_of(error: &io::Error) -> Reason {
    // No descriptor left for it: that is about the gate and not about the destination.
    if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) {
        return Reason::LimitConnections;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Reason::UpstreamRefused,
        io::ErrorKind::TimedOut => Reason::UpstreamTimeout,
        _ => Reason::UpstreamUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_is_read_by_exact_name() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.1 gone\n10.0.0.2 Printer printer.lan # x\nfe80::1%lo bad\n::1 printer.lan";
        assert_eq!(
            in_hosts_file(hosts, "printer.lan"),
            ["10.0.0.2".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
        assert_eq!(in_hosts_file(hosts, "printer"), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert!(in_hosts_file(hosts, "gone").is_empty());
        assert!(in_hosts_file(hosts, "lan").is_empty());
    }

    #[test]
    fn families_take_turns() {
        let all: Vec<SocketAddr> = ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        let order = interleave(&all);
        assert_eq!(order, [all[0], all[3], all[1], all[2]]);
    }

    #[tokio::test]
    async fn trap_7_a_dead_candidate_does_not_stop_the_next_which_has_its_priority_beside_its_mark() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let marking = Marking { dscp: 46, priority: 6 };
        let all = [dead, listener.local_addr().unwrap()];
        let connected = connect(&all, marking.into(), Duration::from_secs(5)).await.unwrap();
        assert_eq!((connected.remote, connected.stream.peer_addr().unwrap()), (all[1], all[1]));
        assert_eq!(connected.local, connected.stream.local_addr().unwrap());
        let socket = SockRef::from(&connected.stream);
        assert_eq!(socket.tos_v4().unwrap(), 46 << 2);
        // The type of service sets the priority (0xb8 would make it 4), so ours comes last.
        assert_eq!(socket.priority().unwrap(), 6);
        assert!(socket.tcp_nodelay().unwrap());
        let refused = connect(&[dead], marking.into(), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(refused, Reason::UpstreamRefused);
        let refused = connect(&[dead, dead], marking.into(), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(refused, Reason::UpstreamRefused);
    }

    /// A listener whose queue is full, and what fills it: the next connection stays half open until somebody accepts.
    fn full() -> (std::net::TcpListener, Vec<Socket>) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let fill = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
            let _ = socket.connect(&address);
            let queued = socket.peer_addr().is_ok();
            (socket, queued)
        };
        let (mut filling, mut queued) = (Vec::new(), true);
        while queued {
            let (socket, is_queued) = fill();
            filling.push(socket);
            queued = is_queued;
        }
        (listener.into(), filling)
    }

    #[tokio::test]
    async fn a_connection_that_does_not_stand_at_once_is_waited_for() {
        let (listener, filling) = full();
        let address = listener.local_addr().unwrap();
        let marking = Marking { dscp: 0, priority: 0 };
        let late = connect(&[address], marking.into(), Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(late, Reason::UpstreamTimeout);
        let accepting = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(100));
            filling.iter().for_each(|_| drop(listener.accept()));
            listener
        });
        let connected = connect(&[address], marking.into(), Duration::from_secs(20)).await.unwrap();
        assert_eq!(connected.stream.peer_addr().unwrap(), address);
        drop((accepting.await, connected));
    }

    #[tokio::test]
    async fn localhost_is_never_asked_for() {
        for name in ["localhost", "a.localhost"] {
            let name = DomainName::from_ascii(name).unwrap();
            let found = resolve(&name, Duration::from_secs(1)).await.unwrap();
            assert!(found.iter().all(IpAddr::is_loopback));
        }
    }
}
