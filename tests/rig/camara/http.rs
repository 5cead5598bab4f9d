//! HTTP/1.1 for the operator: questions read strictly, answers written plainly, and the tricks that spoil them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Shared, Trick, api};

/// A question.
pub(super) struct Question {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Question {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// An answer; without a body it is empty.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
    pub(super) headers: Vec<(&'static str, String)>,
}

pub(super) fn no(status: u16, code: &str) -> Answer {
    let body = json!({ "status": status, "code": code, "message": "see the code" });
    Answer { status, body: Some(body), headers: Vec::new() }
}

pub(super) fn serve(stream: &TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(question) = read(&mut reader)? else { return Ok(()) };
        let line = format!("{} {}", question.method, question.path);
        let trick = {
            let mut state = shared.state.lock().expect("no holder panics");
            let body = serde_json::from_slice(&question.body).unwrap_or(Value::Null);
            state.heard.push((line.clone(), body));
            let tricks = state.habits.tricks.iter();
            tricks.rev().find(|(begin, _)| line.starts_with(begin)).map(|(_, trick)| trick.clone())
        };
        let done = || {
            let mut state = shared.state.lock().expect("no holder panics");
            let mut events = state.tick();
            let answer = api::answer(&mut state, &question, &mut events);
            *state.statuses.entry(answer.status).or_default() += 1;
            drop(state);
            events.into_iter().for_each(|event| event.send());
            answer
        };
        let is_over = || shared.over.load(Ordering::Acquire);
        match trick {
            None => write(stream, &done(), &question)?,
            Some(Trick::Status(status, code)) => write(stream, &no(status, code), &question)?,
            Some(Trick::Later(status, seconds)) => {
                let mut answer = no(status, "TOO_MANY_REQUESTS");
                answer.headers.push(("Retry-After", seconds.to_string()));
                write(stream, &answer, &question)?;
            }
            Some(Trick::Body(text)) => {
                let status = if line.ends_with("/sessions") { 201 } else { 200 };
                let head = format!(
                    "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    text.len()
                );
                (&*stream).write_all(format!("{head}{text}").as_bytes())?;
            }
            Some(Trick::Changed(change)) => {
                let mut answer = done();
                answer.body.iter_mut().for_each(change);
                write(stream, &answer, &question)?;
            }
            Some(Trick::HangsUp) => {
                done();
                return Ok(());
            }
            Some(Trick::Silent) => {
                done();
                while !is_over() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            Some(Trick::Slow) => {
                let mut stream = stream;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                while !is_over() {
                    stream.write_all(b" ")?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                return Ok(());
            }
            Some(Trick::Endless) => {
                let mut stream = stream;
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
                while !is_over() {
                    stream.write_all(&chunk)?;
                }
                return Ok(());
            }
            Some(Trick::Redirect(to)) => {
                let answer = Answer { status: 307, body: None, headers: vec![("Location", to)] };
                write(stream, &answer, &question)?;
            }
        }
        let ends = question.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if ends || is_over() {
            return Ok(());
        }
    }
}

fn line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.by_ref().take(64 << 10).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    // Latin-1, as HTTP/1.1 has it.
    Ok(Some(
        line.iter().map(|b| char::from(*b)).collect::<String>().trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Question>> {
    let Some(first) = line(reader)? else { return Ok(None) };
    let words: Vec<&str> = first.split(' ').collect();
    let (method, path) = match words[..] {
        [method, path, _] => (method.to_owned(), path.to_owned()),
        _ => return Ok(None),
    };
    let mut headers = Vec::new();
    loop {
        let Some(text) = line(reader)? else { return Ok(None) };
        if text.is_empty() {
            break;
        }
        if let Some((key, value)) = text.split_once(':') {
            headers.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let mut question = Question { method, path, headers, body: Vec::new() };
    if question.header("transfer-encoding").is_some() {
        loop {
            let size = line(reader)?.unwrap_or_default();
            let size = u64::from_str_radix(size.trim(), 16).map_err(|_| std::io::ErrorKind::InvalidData)?;
            reader.by_ref().take(size).read_to_end(&mut question.body)?;
            line(reader)?;
            if size == 0 {
                return Ok(Some(question));
            }
        }
    }
    let length = question.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.by_ref().take(length).read_to_end(&mut question.body)?;
    Ok(Some(question))
}

fn write(mut stream: &TcpStream, answer: &Answer, question: &Question) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Answer\r\n", answer.status);
    if let Some(correlator) = question.header("x-correlator").filter(|value| api::is_correlator(value)) {
        head += &format!("x-correlator: {correlator}\r\n");
    }
    for (key, value) in &answer.headers {
        head += &format!("{key}: {value}\r\n");
    }
    let body = answer.body.as_ref().map(Value::to_string).unwrap_or_default();
    if answer.body.is_some() {
        head += "Content-Type: application/json\r\n";
    }
    if answer.status != 204 {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let body = if question.method == "HEAD" { "" } else { &body };
    stream.write_all(format!("{head}\r\n{body}").as_bytes())
}
