//! The way through the kernel's own shapers: two network namespaces with a pair of virtual interfaces between them, and a
//! queueing discipline on the sender's. Needs root.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::road::{Datagrams, Kind, Road};
use crate::sink::Sink;

const NEAR: &str = "mexegate-near";
const FAR: &str = "mexegate-far";

/// What shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// One queue, one bucket.
    Tbf,
    /// One class that goes first, for the sink's echo, and one for the rest.
    Htb,
}

/// The two namespaces; they go with the value.
pub struct Kernel {
    discipline: Discipline,
    sink: Sink,
    echo: SocketAddr,
}

impl Kernel {
    /// One that carries so many bits a second; `None` without the right to make namespaces.
    pub fn start(discipline: Discipline, rate: u64) -> Option<Self> {
        remove();
        let ip = |line: &str| run("ip", line);
        let made = ip(&format!("netns add {NEAR}"))
            && ip(&format!("netns add {FAR}"))
            && ip(&format!("-n {NEAR} link add up0 type veth peer name down0 netns {FAR}"))
            && ip(&format!("-n {NEAR} addr add 10.77.0.1/24 dev up0"))
            && ip(&format!("-n {FAR} addr add 10.77.0.2/24 dev down0"))
            && ip(&format!("-n {NEAR} link set up0 up"))
            && ip(&format!("-n {FAR} link set down0 up"));
        let (sink, echo) = within(FAR, || {
            let listener = TcpListener::bind("10.77.0.2:0").ok()?;
            let datagrams = UdpSocket::bind(listener.local_addr().ok()?).ok()?;
            // What is said back has a port of its own, so that a filter can tell it.
            let second = TcpListener::bind("10.77.0.2:0").ok()?;
            let echo = second.local_addr().ok()?;
            let others = UdpSocket::bind(echo).ok()?;
            drop(Sink::on(second, others));
            Some((Sink::on(listener, datagrams), echo))
        })
        .flatten()
        .filter(|_| made)?;
        let tc = |line: &str| run("tc", &format!("-n {NEAR} {line}"));
        // A tick's worth, as the manual page asks for; the limit of the queue is its own 100 ms.
        let burst = (rate / 8 / 250).max(3200);
        let set = match discipline {
            Discipline::Tbf => {
                tc(&format!("qdisc add dev up0 root tbf rate {rate}bit burst {burst} latency 100ms"))
            }
            Discipline::Htb => {
                let port = echo.port();
                tc("qdisc add dev up0 root handle 1: htb default 20")
                    && tc(&format!(
                        "class add dev up0 parent 1: classid 1:1 htb rate {rate}bit ceil {rate}bit burst {burst}"
                    ))
                    && tc(&format!(
                        "class add dev up0 parent 1:1 classid 1:10 htb rate {}bit ceil {rate}bit prio 0",
                        rate / 10
                    ))
                    && tc(&format!(
                        "class add dev up0 parent 1:1 classid 1:20 htb rate {}bit ceil {rate}bit prio 7",
                        rate / 10 * 9
                    ))
                    && tc(&format!(
                        "filter add dev up0 parent 1: protocol ip prio 1 u32 match ip dport {port} 0xffff flowid 1:10"
                    ))
            }
        };
        set.then_some(Self { discipline, sink, echo })
    }
}

impl Road for Kernel {
    fn name(&self) -> String {
        format!("kernel, {}", if self.discipline == Discipline::Tbf { "TBF" } else { "HTB" })
    }

    fn sink(&self) -> &Sink {
        &self.sink
    }

    fn open(&self, kind: Kind) -> TcpStream {
        let to = if kind == Kind::Voice { self.echo } else { self.sink.address };
        let opened = within(NEAR, move || TcpStream::connect(to).ok()).flatten();
        let stream = opened.expect("the namespaces are connected");
        stream.set_nodelay(true).expect("an open socket");
        stream
    }

    fn datagrams(&self) -> Option<Datagrams> {
        let to = self.echo;
        let socket = within(NEAR, move || {
            let socket = UdpSocket::bind("10.77.0.1:0").ok()?;
            socket.connect(to).ok().map(|()| socket)
        });
        Some(Datagrams { socket: socket.flatten()?, header: Vec::new(), control: None })
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        remove();
    }
}

fn remove() {
    for name in [NEAR, FAR] {
        run("ip", &format!("netns del {name}"));
    }
}

/// Does something in a namespace: in a thread, since a thread cannot be counted on to come back. Sockets stay where they were
/// made.
fn within<T: Send + 'static>(name: &str, act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let space = std::fs::File::open(format!("/var/run/netns/{name}")).ok()?;
    let done = thread::spawn(move || {
        use std::os::fd::AsFd as _;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).ok().map(|()| act())
    });
    done.join().ok().flatten()
}

fn run(program: &str, line: &str) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(line.split(' ')).env("PATH", path).output();
    output.is_ok_and(|output| output.status.success())
}
