//! `app run`: the gate executes the verified package; this side is its terminal. Standard streams and signals travel as
//! frames over the control connection, and the run ends when either side goes away. Decides nothing about the run.

use std::io::{self, Read, Write};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use mexe_model::AppId;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::fault::{Fault, Stop};
use super::{Exit, Global, json_line};
use crate::client::ApiPath;
use crate::client::frame::{Frame, PROTOCOL, RUN_HEADER};

/// Run the verified package by the gate, as its terminal
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
    /// The program's own arguments
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Headers have a limit at the gate; arguments that come near it are refused here, by name.
const LONGEST_HEADER: usize = 64 << 10;

/// So many interrupts in a row leave a program that does not end.
const PATIENCE: usize = 3;

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let what = BASE64_STANDARD.encode(json!({"execute": true, "args": args.args}).to_string());
    if what.len() > LONGEST_HEADER {
        return Err(Fault::usage("the arguments are too long").help("hand them over in a file").into());
    }
    let path = ApiPath::new("/v1/apps").segment(args.app.as_str()).segment("runs");
    global.with_gate(async |gate| {
        let mut signals = signals()?;
        let connection = tokio::select! {
            connection = gate.upgrade(&path, PROTOCOL, (RUN_HEADER, what)) => connection?,
            Some(number) = signals.recv() => return Ok(left_by(number)),
        };
        attend(connection, signals, Terminal::of_this_process(), global.json).await
    })
}

/// Where the program's standard streams begin and end.
struct Terminal {
    stdin: Box<dyn Read + Send>,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
}

impl Terminal {
    fn of_this_process() -> Self {
        Self { stdin: Box::new(io::stdin()), stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) }
    }
}

/// How a shell sees a process that a signal ended.
fn left_by(signal: u8) -> Exit {
    Exit::Program(signal.saturating_add(128))
}

/// Carries streams and signals until the program ends. With `announce`, the run's id goes to the standard error first.
async fn attend(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut signals: mpsc::Receiver<u8>,
    terminal: Terminal,
    announce: bool,
) -> Result<Exit, Stop> {
    let (from_gate, to_gate) = tokio::io::split(connection);
    let (frames, outgoing) = mpsc::channel(4);
    read_stdin(terminal.stdin, frames.clone());
    tokio::spawn(send(outgoing, to_gate));
    let mut ended = tokio::spawn(receive(from_gate, terminal.stdout, terminal.stderr, announce));
    let mut interrupts = 0;
    loop {
        tokio::select! {
            ended = &mut ended => {
                return ended.unwrap_or_else(|e| Err(Fault::new("the run cannot be followed").because(e).into()));
            }
            Some(number) = signals.recv() => {
                interrupts += 1;
                // A full channel means that the gate does not read: the program hears of it by our leaving.
                if interrupts >= PATIENCE || frames.try_send(Frame::Signal(number)).is_err() {
                    return Ok(left_by(number));
                }
            }
        }
    }
}

/// Prints what the program prints, until its exit code comes.
async fn receive(
    mut from_gate: impl AsyncRead + Unpin,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    announce: bool,
) -> Result<Exit, Stop> {
    let (prints, printing) = mpsc::channel(16);
    let printer = tokio::task::spawn_blocking(move || print(printing, stdout, stderr));
    let mut bytes = BytesMut::new();
    let end = 'run: loop {
        loop {
            match Frame::decode(&mut bytes) {
                Ok(Some(Frame::Exit(code))) => {
                    break 'run Ok(Exit::Program(u8::try_from(code).unwrap_or(u8::MAX)));
                }
                Ok(Some(Frame::Started(_))) if !announce => {}
                Ok(Some(frame)) => {
                    if prints.send(frame).await.is_err() {
                        // The printer says below why it stopped.
                        break 'run Ok(Exit::Done);
                    }
                }
                Ok(None) => break,
                Err(error) => break 'run Err(Fault::new("the gate speaks another language").because(error)),
            }
        }
        match from_gate.read_buf(&mut bytes).await {
            Ok(0) => {
                break Err(
                    Fault::new("the gate went away while the program ran").help("see the gate's own log")
                );
            }
            Ok(_) => {}
            Err(error) => break Err(Fault::new("the connection to the gate broke").because(error)),
        }
    };
    drop(prints);
    printer.await.map_err(|e| Fault::new("cannot write the output").because(e))??;
    Ok(end?)
}

/// Writes what comes; blocks while nobody reads it, which in turn holds the program back.
fn print(
    mut printing: mpsc::Receiver<Frame>,
    mut stdout: Box<dyn Write + Send>,
    mut stderr: Box<dyn Write + Send>,
) -> Result<(), Stop> {
    while let Some(frame) = printing.blocking_recv() {
        match frame {
            Frame::Stdout(bytes) => {
                stdout.write_all(&bytes)?;
                stdout.flush()?;
            }
            Frame::Stderr(bytes) => {
                stderr.write_all(&bytes)?;
                stderr.flush()?;
            }
            Frame::Started(json) => {
                let started: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
                writeln!(stderr, "{}", json_line(&started).unwrap_or_default())?;
            }
            Frame::Exit(_) | Frame::Signal(_) | Frame::Stdin(_) => {}
        }
    }
    Ok(())
}

/// Hands frames to the gate. When it cannot, the other direction learns it too and says so.
async fn send(mut outgoing: mpsc::Receiver<Frame>, mut to_gate: impl AsyncWrite + Unpin) {
    let mut bytes = BytesMut::new();
    while let Some(frame) = outgoing.recv().await {
        frame.encode(&mut bytes);
        if to_gate.write_all_buf(&mut bytes).await.is_err() || to_gate.flush().await.is_err() {
            return;
        }
    }
}

/// Reads the standard input on a thread of its own: a terminal cannot be read without blocking. The thread ends with the
/// input, with the run, or with the process.
fn read_stdin(mut stdin: Box<dyn Read + Send>, frames: mpsc::Sender<Frame>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let bytes = match stdin.read(&mut buffer) {
                Ok(read) => buffer.get(..read).map(Bytes::copy_from_slice).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => Bytes::new(),
            };
            let end = bytes.is_empty();
            if frames.blocking_send(Frame::Stdin(bytes)).is_err() || end {
                return;
            }
        }
    });
}

/// The numbers of the signals that the program gets instead of this process.
fn signals() -> Result<mpsc::Receiver<u8>, Fault> {
    let (numbers, incoming) = mpsc::channel(PATIENCE);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()] {
        let mut signal = signal(kind).map_err(|e| Fault::new("cannot listen for signals").because(e))?;
        let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
        let numbers = numbers.clone();
        tokio::spawn(
            async move { while signal.recv().await.is_some() && numbers.send(number).await.is_ok() {} },
        );
    }
    Ok(incoming)
}

#[cfg(test)]
mod tests;
