//! Who is measured, how each is configured and started, and how it is spoken to. Every start is a fresh process, so that
//! memory is counted from the same point; it ends with its value.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rig::{Rig, wait};
use tempfile::TempDir;

/// The contestants, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// No proxy: what origin and load generator cost themselves
    Direct,
    /// HAProxy, TCP mode, splice
    Haproxy,
    /// microsocks without credentials
    Microsocks,
    /// microsocks with user and password
    MicrosocksPassword,
    /// Dante without credentials
    Dante,
    /// Dante with user and password (needs root)
    DantePassword,
    /// The gate, SOCKS5 with a run's credentials, policy and journal on
    GateSocks,
    /// The gate, HTTP CONNECT
    GateHttp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Direct,
        Self::Haproxy,
        Self::Microsocks,
        Self::MicrosocksPassword,
        Self::Dante,
        Self::DantePassword,
        Self::GateSocks,
        Self::GateHttp,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::Haproxy => "haproxy (TCP, splice)",
            Self::Microsocks => "microsocks",
            Self::MicrosocksPassword => "microsocks, password",
            Self::Dante => "dante",
            Self::DantePassword => "dante, password",
            Self::GateSocks => "mexegate SOCKS5",
            Self::GateHttp => "mexegate CONNECT",
        })
    }
}

/// One that runs.
pub struct Contestant {
    mode: &'static str,
    proxy: SocketAddr,
    credentials: Option<(String, String)>,
    process: Process,
}

enum Process {
    None,
    Group { child: Child, _folder: TempDir },
    Gate(Box<Rig>),
}

const USER: &str = "perf-user";
const PASSWORD: &str = "perf-word";

impl Contestant {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// One line that says why it cannot take part.
    pub fn start(kind: Kind, origin: SocketAddr) -> Result<Self, String> {
        let plain = None;
        let password = || Some((USER.to_owned(), PASSWORD.to_owned()));
        if matches!(kind, Kind::GateSocks | Kind::GateHttp) {
            return Ok(Self::gate(kind, origin));
        }
        if kind == Kind::Direct {
            return Ok(Self { mode: "tcp", proxy: origin, credentials: None, process: Process::None });
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let proxy = free_port();
        let (mode, command, credentials) = match kind {
            Kind::Haproxy => ("tcp", haproxy(folder.path(), proxy, origin)?, plain),
            Kind::Microsocks => ("socks", microsocks(proxy, None), plain),
            Kind::MicrosocksPassword => ("socks", microsocks(proxy, Some((USER, PASSWORD))), password()),
            Kind::Dante => ("socks", dante(folder.path(), proxy, false)?, plain),
            _ => ("socks", dante(folder.path(), proxy, true)?, password()),
        };
        let child = spawn(command)?;
        let contestant =
            Self { mode, proxy, credentials, process: Process::Group { child, _folder: folder } };
        let up = wait::within(Duration::from_secs(10), || std::net::TcpStream::connect(proxy).ok());
        up.map(|_| contestant).ok_or_else(|| "it does not listen".to_owned())
    }

    fn gate(kind: Kind, origin: SocketAddr) -> Self {
        let rig = Rig::start();
        let app = rig.app("third-party");
        rig.grant(&app, &format!("network.connect={}", origin.ip()), "blanket");
        let run = rig.run(&app);
        let (mode, proxy) = match kind {
            Kind::GateHttp => ("http", rig.ports().http),
            _ => ("socks", rig.ports().socks),
        };
        Self { mode, proxy, credentials: Some((app, run.token)), process: Process::Gate(Box::new(rig)) }
    }

    /// How it ended, when it did so before its time.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        match &mut self.process {
            Process::Group { child, .. } => child.try_wait().ok().flatten(),
            Process::None | Process::Gate(_) => None,
        }
    }

    /// What the load generator has to be told.
    pub fn arguments(&self) -> Vec<String> {
        let pid = match &self.process {
            Process::None => 0,
            Process::Group { child, .. } => child.id(),
            Process::Gate(rig) => rig.pid(),
        };
        let proxy = self.proxy.to_string();
        let mut arguments: Vec<String> =
            ["--mode", self.mode, "--proxy", &proxy, "--pid", &pid.to_string()].map(str::to_owned).into();
        if let Some((user, password)) = &self.credentials {
            arguments.extend(["--user", user, "--password", password].map(str::to_owned));
        }
        arguments
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        if let Process::Group { child, .. } = &mut self.process {
            // Dante's workers are in the group that was made for it.
            if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.wait();
        }
    }
}

fn spawn(mut command: Command) -> Result<Child, String> {
    let program = command.get_program().display().to_string();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().map_err(|error| format!("cannot start `{program}`: {error}"))
}

/// A port that was free a moment ago, below the range of outgoing connections.
fn free_port() -> SocketAddr {
    let ports = rig::ports::Ports::take();
    ports.socks
}

fn haproxy(folder: &Path, proxy: SocketAddr, origin: SocketAddr) -> Result<Command, String> {
    let text = format!(
        "global\n  maxconn 4000\n\
         defaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen perf\n  bind {proxy}\n  server origin {origin}\n"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).map_err(|error| error.to_string())?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-q").arg("-f").arg(file);
    Ok(command)
}

fn microsocks(proxy: SocketAddr, credentials: Option<(&str, &str)>) -> Command {
    let mut command = Command::new("microsocks");
    command.args(["-i", &proxy.ip().to_string(), "-p", &proxy.port().to_string()]);
    if let Some((user, password)) = credentials {
        command.args(["-u", user, "-P", password]);
    }
    command
}

/// Dante asks the system for passwords. It gets an account that exists only in a mount namespace of its own, with the
/// cheapest hash there is, so that the table shows Dante and not the hash.
fn dante(folder: &Path, proxy: SocketAddr, password: bool) -> Result<Command, String> {
    let method = if password { "username" } else { "none" };
    let text = format!(
        "logoutput: /dev/null\ninternal: {} port = {}\nexternal: {}\nsocksmethod: {method}\nclientmethod: none\n\
         user.privileged: root\nuser.unprivileged: nobody\n\
         client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\nsocks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n",
        proxy.ip(),
        proxy.port(),
        // Dante binds its end before it connects, so that every port of that address in TIME_WAIT is lost to it, the
        // clients' too. On an address of its own it meets only what it left itself.
        "127.0.0.11",
    );
    let file = folder.join("danted.conf");
    fs::write(&file, text).map_err(|error| error.to_string())?;
    if !password {
        let mut command = Command::new("danted");
        command.arg("-f").arg(file);
        return Ok(command);
    }
    if !rustix::process::geteuid().is_root() {
        return Err("an account in a mount namespace needs root".to_owned());
    }
    let script = "set -e; d=$1\n\
        hash=$(perl -e 'print crypt($ARGV[0], \"pf\")' \"$3\")\n\
        { cat /etc/passwd; echo \"$2:x:65533:65534::/nonexistent:/usr/sbin/nologin\"; } >$d/passwd\n\
        { cat /etc/shadow; echo \"$2:$hash:19000:0:99999:7:::\"; } >$d/shadow; chmod 600 $d/shadow\n\
        mount --bind $d/passwd /etc/passwd; mount --bind $d/shadow /etc/shadow\n\
        exec danted -f $d/danted.conf";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder).args([USER, PASSWORD]);
    Ok(command)
}
