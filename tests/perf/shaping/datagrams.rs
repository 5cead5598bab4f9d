//! Small datagrams through UDP ASSOCIATE, beside Dante: how many a second of the proxy's CPU time, when more come than it can
//! take. Counted where they arrive; what the sink's own socket drops has arrived.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rig::ports::Ports;
use rig::raw::Credentials;
use rig::{Association, proc, wait};

use crate::Patience;
use crate::gate::Gate;
use crate::report::Report;

const BYTES: usize = 64;
/// What the gate is to pass in a second of one core.
const WANTED: f64 = 150_000.0;

/// Appends the table.
pub fn measure(report: &mut Report, patience: Patience) {
    report.table(
        "Datagrams of 64 bytes through UDP ASSOCIATE, one association, one destination, more than it can take",
        &["proxy", "a second", "a second of CPU", "CPU, us each", "150,000 a second of CPU at least, or twice Dante's"],
    );
    let theirs = Dante::start().map(|dante| {
        let found = flood(dante.address, None, dante.child.id(), patience);
        row(report, "dante", &found, "");
        found.of_cpu()
    });
    let gate = Gate::start(None);
    let found = flood(gate.socks(), Some(&gate.who), gate.rig.pid(), patience);
    let wanted = theirs.map_or(WANTED, |theirs| WANTED.max(2.0 * theirs));
    let verdict = report.judge("datagrams", found.of_cpu() >= wanted);
    row(report, "mexegate", &found, verdict);
}

struct Found {
    passed: u64,
    time: Duration,
    cpu: Duration,
}

impl Found {
    fn of_cpu(&self) -> f64 {
        self.passed as f64 / self.cpu.as_secs_f64()
    }
}

fn row(report: &mut Report, name: &str, found: &Found, verdict: &str) {
    let each = found.cpu.as_secs_f64() * 1e6 / found.passed as f64;
    report.row(&[
        &name,
        &format_args!("{:.0}", found.passed as f64 / found.time.as_secs_f64()),
        &format_args!("{:.0}", found.of_cpu()),
        &format_args!("{each:.2}"),
        &verdict,
    ]);
}

fn flood(proxy: SocketAddr, who: Option<&Credentials>, pid: u32, patience: Patience) -> Found {
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let to = sink.local_addr().expect("a bound socket");
    sink.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout above zero");
    let association = match who {
        Some(who) => Association::open(proxy, who).expect("the gate permits it"),
        None => anonymous(proxy),
    };
    let (stop, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reading = thread::spawn({
        let (stop, read, sink) = (Arc::clone(&stop), Arc::clone(&read), sink.try_clone().expect("a socket"));
        move || {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if sink.recv(&mut buffer).is_ok() {
                    read.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    // The first opens the flow.
    association.send(to, &[1; BYTES]);
    wait::until("the first datagram", || (read.load(Ordering::Relaxed) > 0).then_some(()));
    let sending = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..64 {
                    association.send(to, &[1; BYTES]);
                }
            }
        }
    });
    thread::sleep(Duration::from_millis(500));
    let passed = || read.load(Ordering::Relaxed) + dropped(to);
    let (before, cpu, began) = (passed(), proc::cpu(pid), Instant::now());
    thread::sleep(patience.time);
    let found =
        Found { passed: passed() - before, time: began.elapsed(), cpu: proc::cpu(pid).saturating_sub(cpu) };
    stop.store(true, Ordering::Relaxed);
    let _ = (sending.join(), reading.join());
    found
}

/// What the socket at that address had no room for.
fn dropped(at: SocketAddr) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").expect("/proc is mounted");
    let mine = format!(":{:04X}", at.port());
    let line = table
        .lines()
        .skip(1)
        .find(|line| line.split_ascii_whitespace().nth(1).is_some_and(|local| local.ends_with(&mine)));
    line.and_then(|line| line.split_ascii_whitespace().last()?.parse().ok()).unwrap_or(0)
}

/// An association without a password.
fn anonymous(proxy: SocketAddr) -> Association {
    use std::io::{Read as _, Write as _};
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = socket.local_addr().expect("a bound socket").port().to_be_bytes();
    let mut control = TcpStream::connect(proxy).expect("the proxy listens");
    control.write_all(&[5, 1, 0]).expect("an open connection");
    control.read_exact(&mut [0; 2]).expect("the method");
    control.write_all(&[5, 3, 0, 1, 127, 0, 0, 1, port[0], port[1]]).expect("an open connection");
    let mut reply = [0; 10];
    control.read_exact(&mut reply).expect("the reply");
    assert_eq!(reply[..4], [5, 0, 0, 1], "the proxy permits it");
    let ip = Ipv4Addr::new(reply[4], reply[5], reply[6], reply[7]);
    let relay = SocketAddr::from((ip, u16::from_be_bytes([reply[8], reply[9]])));
    Association { control, relay, socket }
}

/// A Dante without passwords.
struct Dante {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Dante {
    fn start() -> Option<Self> {
        let (folder, address) = (tempfile::tempdir().ok()?, Ports::take().socks);
        let text = format!(
            "logoutput: /dev/null\ninternal: 127.0.0.1 port = {}\nexternal: 127.0.0.1\nsocksmethod: none\n\
             clientmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n\
             client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n\
             socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 command: bind connect udpassociate bindreply udpreply }}\n",
            address.port()
        );
        let file = folder.path().join("danted.conf");
        std::fs::write(&file, text).ok()?;
        let mut command = Command::new("danted");
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.arg("-f").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.process_group(0).spawn().ok()?;
        let dante = Self { child, address, _folder: folder };
        wait::within(Duration::from_secs(5), || TcpStream::connect(address).ok()).map(|_| dante)
    }
}

impl Drop for Dante {
    fn drop(&mut self) {
        // Its workers are in the group that was made for it.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
