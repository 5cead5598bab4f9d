//! The conversation of a run against a gate at the other end of a pipe in memory.

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use tokio::io::DuplexStream;

use super::*;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that went away.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal(stdin: &'static [u8]) -> (Terminal, Paper, Paper) {
    let (out, err) = (Paper::default(), Paper::default());
    let ends = Terminal {
        stdin: Box::new(Cursor::new(stdin)),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
    };
    (ends, out, err)
}

async fn say(gate: &mut DuplexStream, frames: &[Frame]) {
    let mut bytes = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    gate.write_all(&bytes).await.unwrap();
}

async fn hear(gate: &mut DuplexStream, bytes: &mut BytesMut) -> Option<Frame> {
    loop {
        if let Some(frame) = Frame::decode(bytes).unwrap() {
            return Some(frame);
        }
        if gate.read_buf(bytes).await.unwrap() == 0 {
            return None;
        }
    }
}

fn started() -> Frame {
    Frame::Started(Bytes::from_static(b"{\"run\":\"run-1\"}"))
}

#[tokio::test]
async fn streams_pass_both_ways_and_the_programs_code_is_the_exit_code() {
    let (cli, mut gate) = tokio::io::duplex(256);
    let (terminal, out, err) = terminal(b"question");
    let (_signals, none) = mpsc::channel(1);
    let program = tokio::spawn(async move {
        say(&mut gate, &[started()]).await;
        let mut bytes = BytesMut::new();
        assert_eq!(hear(&mut gate, &mut bytes).await, Some(Frame::Stdin(Bytes::from_static(b"question"))));
        assert_eq!(hear(&mut gate, &mut bytes).await, Some(Frame::Stdin(Bytes::new())));
        let long = Bytes::from(vec![b'x'; 100_000]);
        let frames = [Frame::Stdout(long), Frame::Stderr(Bytes::from_static(b"hm")), Frame::Exit(42)];
        say(&mut gate, &frames).await;
    });
    assert_eq!(attend(cli, none, terminal, true).await.unwrap(), Exit::Program(42));
    program.await.unwrap();
    assert_eq!((out.text().len(), err.text().as_str()), (100_000, "{\"run\":\"run-1\"}\nhm"));
}

#[tokio::test]
async fn a_signal_goes_to_the_program_and_the_third_one_leaves() {
    let (cli, mut gate) = tokio::io::duplex(256);
    let (terminal, _, _) = terminal(b"");
    let (signals, incoming) = mpsc::channel(3);
    let attending = tokio::spawn(async move { attend(cli, incoming, terminal, false).await.unwrap() });
    say(&mut gate, &[started()]).await;
    let mut bytes = BytesMut::new();
    assert_eq!(hear(&mut gate, &mut bytes).await, Some(Frame::Stdin(Bytes::new())));
    for _ in 0..2 {
        signals.send(2).await.unwrap();
        assert_eq!(hear(&mut gate, &mut bytes).await, Some(Frame::Signal(2)));
    }
    signals.send(2).await.unwrap();
    assert_eq!(attending.await.unwrap(), Exit::Program(130));
}

#[tokio::test]
async fn a_gate_that_goes_away_or_talks_nonsense_is_a_fault() {
    for said in [&[][..], &[1, 0, 0], &[9, 0, 0, 0, 0]] {
        let (cli, mut gate) = tokio::io::duplex(256);
        let (terminal, _, _) = terminal(b"");
        let (_signals, none) = mpsc::channel(1);
        gate.write_all(said).await.unwrap();
        drop(gate);
        let end = attend(cli, none, terminal, false).await;
        assert!(matches!(end, Err(Stop::Fault(_))), "{said:?}: {end:?}");
    }
}

#[tokio::test]
async fn a_reader_that_went_away_ends_the_run() {
    let (cli, mut gate) = tokio::io::duplex(256);
    let (terminal, _, _) = terminal(b"");
    let (_signals, none) = mpsc::channel(1);
    let attending = tokio::spawn(attend(cli, none, Terminal { stdout: Box::new(Closed), ..terminal }, false));
    let endless = Frame::Stdout(Bytes::from_static(b"y\n"));
    let mut bytes = BytesMut::new();
    endless.encode(&mut bytes);
    while gate.write_all(&bytes).await.is_ok() {}
    assert!(matches!(attending.await.unwrap(), Err(Stop::ReaderGone)));
}
