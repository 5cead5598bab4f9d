//! The load generator: one measurement a call, against one proxy, printed as one line of JSON. Plain threads with
//! blocking sockets. The proxy's CPU time and memory are read from /proc before and after, for its whole process tree.

mod door;
mod measure;

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::door::Door;

#[derive(Parser)]
#[command(about = "Measures one thing about one proxy and prints it as JSON")]
struct Arguments {
    /// What is measured
    what: What,
    /// How the proxy is spoken to
    #[arg(long, value_enum)]
    mode: Mode,
    /// Where the proxy listens; the origin itself in mode tcp without a proxy
    #[arg(long)]
    proxy: SocketAddr,
    /// Where the origin listens
    #[arg(long)]
    origin: SocketAddr,
    /// User name for the proxy
    #[arg(long)]
    user: Option<String>,
    /// Password for the proxy
    #[arg(long, default_value = "")]
    password: String,
    /// The proxy's process, its descendants included; 0 for none
    #[arg(long, default_value_t = 0)]
    pid: u32,
    /// How long, where time is given
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// How many at once: workers, streams, or connections held open
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// How much, over all streams, where an amount is given
    #[arg(long, default_value_t = 2.0)]
    gib: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Connect, handshake, 32-byte echo, close, again and again by `count` workers
    Connect,
    /// 64-byte round trips on `count` connections
    Echo,
    /// `count` streams from the origin
    Download,
    /// `count` streams to the origin
    Upload,
    /// `count` connections opened, used once, and held
    Idle,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// No handshake: the proxy leads to the origin by itself
    Tcp,
    /// SOCKS5
    Socks,
    /// HTTP CONNECT
    Http,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let credentials = arguments.user.clone().map(|user| (user, arguments.password.clone()));
    let door = match arguments.mode {
        Mode::Tcp => Door::tcp(arguments.proxy),
        Mode::Socks => Door::socks(arguments.proxy, arguments.origin, credentials),
        Mode::Http => Door::http(arguments.proxy, arguments.origin, credentials),
    };
    let (pid, count) = (arguments.pid, arguments.count);
    let seconds = std::time::Duration::from_secs_f64(arguments.seconds);
    let bytes = (arguments.gib * f64::from(1 << 30)) as u64;
    let result = match arguments.what {
        What::Connect => measure::connect(&door, pid, count, seconds),
        What::Echo => measure::echo(&door, pid, count, seconds),
        What::Download => measure::bulk(&door, pid, count, bytes, true),
        What::Upload => measure::bulk(&door, pid, count, bytes, false),
        What::Idle => measure::idle(&door, pid, count),
    }?;
    println!("{result}");
    Ok(())
}
