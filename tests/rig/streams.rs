//! An app that asks for streams (the MExE QoS API) with its own run's token, and hears what becomes of them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Rig;
use crate::raw::Credentials;

/// A run that speaks for itself.
pub struct App<'a> {
    rig: &'a Rig,
    /// The app's id.
    pub id: String,
    /// The run's id.
    pub run: String,
    /// What it calls itself on the proxies.
    pub who: Credentials,
}

impl<'a> App<'a> {
    /// Installs the sample app of a domain and begins a run of it.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn begin(rig: &'a Rig, domain: &str) -> Self {
        let id = rig.app(domain);
        Self::again(rig, &id)
    }

    /// Begins another run of an app.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn again(rig: &'a Rig, id: &str) -> Self {
        let run = rig.run(id);
        let who = Credentials { app: id.to_owned(), token: run.token };
        Self { rig, id: id.to_owned(), run: run.run, who }
    }

    /// The API with the run's own token: status and answer.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let token = format!("Authorization: Bearer {}", self.who.token);
        let url = format!("http://{}{path}", self.rig.ports().console);
        let reply = self.rig.curl(["-X", method, "-H", &token, "-d", &body.to_string(), &url]);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    /// Asks for a stream that has to be admitted.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn ask(&self, body: Value) -> Value {
        let (status, stream) = self.api("POST", "/v1/streams", &body);
        assert_eq!(status, 201, "{stream}");
        stream
    }

    /// Asks for a stream that has to be refused, and tells the reason.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn refused(&self, body: Value) -> String {
        let (status, problem) = self.api("POST", "/v1/streams", &body);
        assert!(status >= 400, "{problem}");
        problem["reason"].as_str().unwrap().to_owned()
    }

    /// The streams that it sees.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn own(&self) -> Vec<Value> {
        self.api("GET", "/v1/streams", &json!({})).1["items"].as_array().unwrap().clone()
    }

    /// Class, state and reason of one of them.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn state(&self, id: &str) -> (Value, Value, Value) {
        let stream = self.own().into_iter().find(|stream| stream["id"] == id).unwrap();
        (stream["class"].clone(), stream["state"].clone(), stream["reason"].clone())
    }

    /// What the run is told of its streams from now on, as (what, which).
    ///
    /// # Panics
    /// When the gate does not tell.
    pub fn told(&self) -> Receiver<(String, String)> {
        let mut stream = TcpStream::connect(self.rig.ports().console).unwrap();
        let request = format!(
            "GET /v1/streams HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: text/event-stream\r\n\r\n",
            self.rig.ports().console,
            self.who.token
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert!(lines.next().unwrap().unwrap().contains(" 200 "));
        for line in lines.by_ref() {
            if line.unwrap().is_empty() {
                break;
            }
        }
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some(data) = line.strip_prefix("data:") else { continue };
                let data: Value = serde_json::from_str(data.trim()).unwrap();
                let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
                if tell.send((text("op"), text("id"))).is_err() {
                    return;
                }
            }
        });
        told
    }
}

/// What is told next.
///
/// # Panics
/// When that is nothing.
#[track_caller]
pub fn next(told: &Receiver<(String, String)>) -> (String, String) {
    told.recv_timeout(Duration::from_secs(10)).expect("something is told")
}

/// The id of a stream.
///
/// # Panics
/// When it has none.
pub fn id(stream: &Value) -> &str {
    stream["id"].as_str().unwrap()
}

/// Who had the last word on a value, and why it is another than was asked for.
///
/// # Panics
/// When it has no such value.
#[track_caller]
pub fn word(stream: &Value, attribute: &str) -> (String, String, Option<String>) {
    let given = stream["provenance"].as_array().unwrap();
    let given = given.iter().find(|given| given["attribute"] == attribute);
    let given = given.unwrap_or_else(|| panic!("{attribute} in {stream}"));
    let text = |key: &str| given[key].as_str().map(str::to_owned);
    (text("value").unwrap_or_default(), text("source").unwrap(), text("why"))
}

/// The same, to compare with.
pub fn said(value: &str, source: &str, why: Option<&str>) -> (String, String, Option<String>) {
    (value.to_owned(), source.to_owned(), why.map(str::to_owned))
}
