//! The API over the control socket on one kept-alive connection, for tests that ask often or measure the time from a
//! request to its effect: no process is started and no connection made for a call.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Rig, raw::Credentials};

/// A connection to the control socket.
pub struct Control {
    stream: BufReader<UnixStream>,
}

/// What the API answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, null when it is empty or no JSON.
    pub json: Value,
    /// Just before the request was written.
    pub sent: Instant,
    /// When the answer was there.
    pub answered: Instant,
}

impl Control {
    /// Connects to the gate of a rig.
    ///
    /// # Panics
    /// When it does not listen.
    pub fn of(rig: &Rig) -> Self {
        Self::at(&rig.state_dir().join("control.sock")).expect("the gate listens on its control socket")
    }

    /// Connects to a socket; answers that take longer than 30 seconds are errors.
    ///
    /// # Errors
    /// The system's own.
    pub fn at(socket: &std::path::Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// The connection broke: a gate that was killed, for example.
    pub fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        let sent = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes())?;
        let head = read_head(&mut self.stream)?;
        let status =
            head.get(9..12).and_then(|code| code.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
        let mut body = vec![0; content_length(&head)];
        self.stream.read_exact(&mut body)?;
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Answer { status, json, sent, answered: Instant::now() })
    }

    /// A request that has to be answered with a success.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn done(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.ask(method, path, body).expect("the gate answers");
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.json);
        answer
    }

    /// The items of a list.
    ///
    /// # Panics
    /// When the gate does not give it.
    #[track_caller]
    pub fn list(&mut self, path: &str) -> Vec<Value> {
        let answer = self.done("GET", path, None);
        answer.json["items"].as_array().cloned().unwrap_or_else(|| panic!("no list at {path}"))
    }

    /// Gives a permission for `network.connect` on a target and tells the grant's id.
    ///
    /// # Panics
    /// When the gate refuses it.
    #[track_caller]
    pub fn grant(&mut self, app: &str, target: &str, permission: &str) -> String {
        let wish =
            json!({ "app": app, "action": "network.connect", "target": target, "permission": permission });
        text(&self.done("POST", "/v1/grants", Some(&wish)).json, "id")
    }

    /// Begins a token run and tells its id and credentials.
    ///
    /// # Panics
    /// When the gate refuses it.
    #[track_caller]
    pub fn run(&mut self, app: &str) -> (String, Credentials) {
        let run = self.done("POST", &format!("/v1/apps/{app}/runs"), None).json;
        (text(&run, "run"), Credentials { app: app.to_owned(), token: text(&run, "token") })
    }

    /// The journal's records after a number, at most 10,000.
    ///
    /// # Panics
    /// When the gate does not give them.
    #[track_caller]
    pub fn journal_after(&mut self, after: u64) -> Vec<Value> {
        self.list(&format!("/v1/journal?after={after}&limit=10000"))
    }
}

fn text(json: &Value, key: &str) -> String {
    json[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {json}")).to_owned()
}

/// Reads an HTTP head, up to and with its empty line.
pub(crate) fn read_head(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if head[before..].trim_end().is_empty() {
            return Ok(head);
        }
    }
}

/// The length of the body that follows a head; 0 when it does not say.
pub(crate) fn content_length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let field = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    field.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}
