//! A call beside downloads: a stream of the conversational class, short exchanges on it, and what they take alone and while
//! the same app downloads as fast as the bearer lets it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mexe_model::{AppId, BitRate, Permission, Reason, RunId};
use mexe_qos::TrafficClass;
use mexe_qos::negotiation::Request;
use tokio_util::sync::CancellationToken;

use super::browser::{Who, socks_tunnel};
use super::permit_action;
use crate::gate::Gate;
use crate::qos::ask::{self, Ask};
use crate::refused::Refused;

/// What the run calls its stream.
pub(super) const NAME: &str = "call";
/// What a narrow-band call needs with its headers, bit/s.
const GUARANTEED: u64 = 64_000;
const MOST: u64 = 256_000;

/// How often something is said.
const EVERY: Duration = Duration::from_millis(20);
const DOWNLOADS: usize = 4;

/// Half of the exchanges took no longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    /// Without anything else.
    pub alone: Duration,
    /// Beside the downloads.
    pub beside: Duration,
}

/// Permits the app more than best effort for its session, and asks for the stream.
pub(super) async fn begin(gate: &Arc<Gate>, app: &AppId, run: RunId) -> Result<(), Refused> {
    permit_action(gate, app, "network.qos", None, Permission::Session).await?;
    let run = gate.runs.get(run).ok_or(Reason::RunEnded)?;
    let (guaranteed, most) = (BitRate::bits_per_second(GUARANTEED), BitRate::bits_per_second(MOST));
    let request = Request {
        class: Some(TrafficClass::Conversational),
        guaranteed_bitrate_up: guaranteed,
        guaranteed_bitrate_down: guaranteed,
        max_bitrate_up: most,
        max_bitrate_down: most,
        ..Request::default()
    };
    let ask = Ask { name: Some(NAME.to_owned()), profile: None, request };
    ask::request(gate, &run, ask, &CancellationToken::new()).await.map(drop)
}

/// A run's proxy URL for what belongs to the stream: the name stands behind the app's.
pub(super) fn on_the_stream(proxy: &str) -> String {
    match proxy.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once(':')?))) {
        Some((scheme, (app, rest))) => format!("{scheme}://{app}+{NAME}:{rest}"),
        None => proxy.to_owned(),
    }
}

/// Exchanges on the stream, alone and beside downloads of the same run. Blocking.
pub(super) fn beside_downloads(proxy: SocketAddr, who: &Who, origin: SocketAddr) -> io::Result<Delays> {
    let caller = Who { user: format!("{}+{NAME}", who.user), password: who.password.clone() };
    let mut call = tunnel(proxy, &caller, origin)?;
    let alone = exchanges(&mut call, origin, 25)?;
    let downloads: Vec<TcpStream> =
        (0..DOWNLOADS).map(|_| download(proxy, who, origin)).collect::<io::Result<_>>()?;
    std::thread::sleep(Duration::from_millis(500));
    let beside = exchanges(&mut call, origin, 50);
    for download in &downloads {
        // Its reader ends by that.
        let _ = download.shutdown(std::net::Shutdown::Both);
    }
    Ok(Delays { alone, beside: beside? })
}

fn tunnel(proxy: SocketAddr, who: &Who, origin: SocketAddr) -> io::Result<TcpStream> {
    socks_tunnel(proxy, Some(who), origin)?.map_err(|answer| io::Error::other(format!("{answer:?}")))
}

/// One that is read as it comes, by a thread of its own.
fn download(proxy: SocketAddr, who: &Who, origin: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = tunnel(proxy, who, origin)?;
    write!(stream, "GET /bytes/10000000000 HTTP/1.1\r\nHost: {origin}\r\n\r\n")?;
    let mut reader = stream.try_clone()?;
    std::thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while matches!(reader.read(&mut chunk), Ok(1..)) {}
    });
    Ok(stream)
}

/// The median of so many.
fn exchanges(call: &mut TcpStream, origin: SocketAddr, count: u32) -> io::Result<Duration> {
    call.set_nodelay(true)?;
    let began = Instant::now();
    let mut times = Vec::new();
    let mut answer = [0; 1024];
    for n in 0..count {
        let due = began + EVERY.saturating_mul(n);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        write!(call, "GET /said HTTP/1.1\r\nHost: {origin}\r\n\r\n")?;
        // The origin's answer is one short line with its head: all of it in one segment.
        if call.read(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_name_stands_behind_the_apps() {
        assert_eq!(
            on_the_stream("socks5://app:token@127.0.0.1:1080"),
            "socks5://app+call:token@127.0.0.1:1080"
        );
        assert_eq!(on_the_stream(""), "");
    }
}
