//! The conversation between a measured run's program and whoever started it, over the upgraded control connection: one
//! type byte, four bytes of length (big-endian), the payload. When the caller goes away the run ends, and when the
//! program exits the caller hears its exit code.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mexe_model::{Reason, RunId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;

use crate::gate::Gate;
use crate::launch;
use crate::running::{self, ProcessWatch};

/// The name of the protocol in the Upgrade header.
pub const PROTOCOL: &str = "mexegate-run";

/// Frame types.
pub mod frame {
    /// Caller to program: bytes for standard input; none ends it.
    pub const STDIN: u8 = 0;
    /// Program to caller: standard output.
    pub const STDOUT: u8 = 1;
    /// Program to caller: standard error.
    pub const STDERR: u8 = 2;
    /// Program to caller: four bytes of exit code, big-endian; the last frame.
    pub const EXIT: u8 = 3;
    /// Caller to program: one byte, a signal number.
    pub const SIGNAL: u8 = 4;
    /// Program to caller: `{"run":"..."}`, the first frame.
    pub const STARTED: u8 = 5;
}

/// A frame longer than this breaks the protocol.
const LONGEST: usize = 64 * 1024;

/// Carries frames both ways until the program exits or the caller goes away, then ends the run. `caller` is watched beside
/// the connection: input that the program does not read keeps the end of the connection from being seen.
pub async fn converse(
    gate: Arc<Gate>,
    run: RunId,
    mut child: Child,
    upgrade: OnUpgrade,
    caller: Option<ProcessWatch>,
) {
    let gone = async {
        match &caller {
            Some(caller) => caller.exited().await,
            None => std::future::pending().await,
        }
    };
    let pid = child.id();
    let group = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
    if let Ok(upgraded) = upgrade.await {
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        let (frames, queue) = mpsc::channel(16);
        let started = serde_json::json!({ "run": run }).to_string().into_bytes();
        let _ = frames.send((frame::STARTED, started)).await;
        let outputs = tokio::spawn(pump_outputs(child.stdout.take(), child.stderr.take(), frames.clone()));
        let stdin = child.stdin.take();
        let writing = tokio::spawn(write_frames(writer, queue));
        let exit = tokio::select! {
            exit = child.wait() => exit.ok(),
            () = obey(reader, stdin, group) => None,
            () = gone => None,
            () = gate.run_ended(run) => None,
        };
        if let Some(status) = exit {
            // What the program wrote last is still in the pipes; a grandchild that keeps them open is not waited for.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), outputs).await;
            let code = exit_code(status).to_be_bytes().to_vec();
            let _ = frames.send((frame::EXIT, code)).await;
        } else {
            outputs.abort();
        }
        drop(frames);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), writing).await;
    }
    running::end(&gate, run, Reason::RunEnded).await;
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait().await;
    if let Some(pid) = pid {
        launch::forget(pid);
    }
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    // As a shell tells it: 128 and the signal.
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

async fn pump_outputs(
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    frames: mpsc::Sender<(u8, Vec<u8>)>,
) {
    let other = frames.clone();
    tokio::join!(pump(stdout, frame::STDOUT, frames), pump(stderr, frame::STDERR, other));
}

async fn pump(from: Option<impl AsyncRead + Unpin>, kind: u8, frames: mpsc::Sender<(u8, Vec<u8>)>) {
    let Some(mut from) = from else { return };
    loop {
        let mut chunk = vec![0; 16 * 1024];
        match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => chunk.truncate(read),
        }
        if frames.send((kind, chunk)).await.is_err() {
            return;
        }
    }
}

async fn write_frames(mut to: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<(u8, Vec<u8>)>) {
    while let Some((kind, payload)) = queue.recv().await {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        let [a, b, c, d] = length;
        if to.write_all(&[kind, a, b, c, d]).await.is_err() || to.write_all(&payload).await.is_err() {
            return;
        }
        let _ = to.flush().await;
    }
    let _ = to.shutdown().await;
}

/// Does what the caller's frames say; returns when the caller is gone or breaks the protocol.
async fn obey(
    mut from: impl AsyncRead + Unpin,
    mut stdin: Option<ChildStdin>,
    group: Option<rustix::process::Pid>,
) {
    loop {
        let mut head = [0_u8; 5];
        if from.read_exact(&mut head).await.is_err() {
            return;
        }
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            return;
        }
        let mut payload = vec![0; length];
        if from.read_exact(&mut payload).await.is_err() {
            return;
        }
        match (kind, payload.as_slice()) {
            (frame::STDIN, []) => stdin = None,
            (frame::STDIN, bytes) => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(bytes).await.is_err()
                {
                    stdin = None;
                }
            }
            (frame::SIGNAL, [number]) => {
                let signal = rustix::process::Signal::from_named_raw(i32::from(*number));
                if let (Some(group), Some(signal)) = (group, signal) {
                    let _ = rustix::process::kill_process_group(group, signal);
                }
            }
            _ => return,
        }
    }
}
