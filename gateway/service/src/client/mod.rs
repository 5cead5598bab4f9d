//! The control client: HTTP/1.1 over the UNIX socket of a running gate. Carries requests and answers, and turns
//! problem+json into [`Refused`]; what the answers mean is the verbs' business. Called from `cli`.

mod body;
pub mod frame;
mod path;
mod patient;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use mexe_model::Reason;
use serde_json::Value;
use tokio::net::UnixStream;

pub use self::path::ApiPath;

use self::body::Body;
use self::patient::Patient;

/// The control socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

/// How long the gate may take for an answer that needs no package read.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer that is read.
const ANSWER: usize = 64 << 20;

/// The gate said no, or could not do it: its problem+json.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", self.line())]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The reason, when the gate named one.
    pub reason: Option<Reason>,
    /// What happened, in one line.
    pub detail: String,
    /// The whole body, as the gate sent it.
    pub problem: Value,
}

impl Refused {
    fn read(status: StatusCode, body: &[u8]) -> Self {
        let problem = serde_json::from_slice(body).unwrap_or(Value::Null);
        let field = |key| problem.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let reason = field("reason").and_then(|code| code.parse::<Reason>().ok());
        let detail = field("detail")
            .or(reason.map(Reason::says))
            .or_else(|| field("title"))
            .or_else(|| status.canonical_reason())
            .unwrap_or("the gate gave no reason")
            .to_owned();
        Self { status: status.as_u16(), reason, detail, problem }
    }

    fn line(&self) -> String {
        use crate::cli::printable;
        let code = match (self.reason, self.problem.get("reason").and_then(Value::as_str)) {
            (Some(reason), _) => reason.code().to_owned(),
            (None, Some(code)) => printable(code).to_string(),
            (None, None) => format!("status {}", self.status),
        };
        // What is malformed is told by the detail alone.
        let helpful = self.reason.filter(|reason| *reason != Reason::RequestMalformed);
        let help = helpful.map(|reason| format!("; {}", reason.help())).unwrap_or_default();
        format!("{code}: {}{help}", printable(&self.detail))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The gate, or the connection to it, broke while it answered.
    #[error("{what}: {why}")]
    Broken {
        /// What was being done.
        what: String,
        /// The cause, in its own words.
        why: String,
    },
    /// The socket is there, but not for this user.
    #[error("may not open `{}`", socket.display())]
    NotAllowed {
        /// The control socket.
        socket: PathBuf,
    },
    /// Nobody listens on the control socket.
    #[error("no gate answers at `{}`", socket.display())]
    NotRunning {
        /// The control socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The gate answered no.
    #[error(transparent)]
    Refused(Box<Refused>),
}

impl ClientError {
    fn broken(what: &str, why: impl std::fmt::Display) -> Self {
        Self::Broken { what: what.to_owned(), why: why.to_string() }
    }
}

/// Who is at the other end of the control socket, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The gate's user.
    pub uid: u32,
    /// The gate's process, when it is visible from here.
    pub pid: Option<i32>,
}

/// A connection to a running gate. One request at a time; dropping it closes the connection.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Body>,
    peer: Option<Peer>,
}

impl Client {
    /// Connects to the gate that owns the state directory. Must be called within a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// When no gate listens there, or it is not for this user.
    pub async fn connect(state_dir: &Path) -> Result<Self, ClientError> {
        let socket = state_dir.join(SOCKET);
        let stream = UnixStream::connect(&socket).await.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket: socket.clone() },
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                ClientError::NotRunning { socket: socket.clone(), source }
            }
            _ => ClientError::broken(&format!("cannot connect to `{}`", socket.display()), source),
        })?;
        let peer = stream.peer_cred().ok().map(|cred| Peer { uid: cred.uid(), pid: cred.pid() });
        let (sender, connection) = http1::handshake(TokioIo::new(Patient::new(stream)))
            .await
            .map_err(|e| ClientError::broken("cannot talk to the gate", e))?;
        // Ends with the sender; an error of the connection also reaches the request that is under way.
        tokio::spawn(connection.with_upgrades());
        Ok(Self { sender, peer })
    }

    /// Who answers.
    pub const fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// `GET`, answered by JSON.
    ///
    /// # Errors
    /// When the gate refuses, or the connection breaks.
    pub async fn get(&mut self, path: &ApiPath) -> Result<Value, ClientError> {
        self.exchange(Method::GET, path, Body::Empty).await
    }

    /// `POST` of JSON, answered by JSON.
    ///
    /// # Errors
    /// When the gate refuses, or the connection breaks.
    pub async fn post(&mut self, path: &ApiPath, body: &Value) -> Result<Value, ClientError> {
        self.exchange(Method::POST, path, Body::Bytes(Some(Bytes::from(body.to_string())))).await
    }

    /// Sends the bytes of a small file, answered by JSON; null when the gate has nothing to add.
    ///
    /// # Errors
    /// When the gate refuses, or the connection breaks.
    pub async fn send(
        &mut self,
        method: Method,
        path: &ApiPath,
        kind: &'static str,
        bytes: Vec<u8>,
    ) -> Result<Value, ClientError> {
        let request = request(method, path).header(CONTENT_TYPE, kind).body(Body::Bytes(Some(bytes.into())));
        let request = request.map_err(|e| ClientError::broken("cannot make the request", e))?;
        answer(in_time(self.sender.send_request(request)).await?).await
    }

    /// As [`Client::post`], for what takes as long as it takes: there is no time limit here.
    ///
    /// # Errors
    /// When the gate refuses, or the connection breaks.
    pub async fn post_patiently(&mut self, path: &ApiPath, body: &Value) -> Result<Value, ClientError> {
        self.patiently(Method::POST, path, body).await
    }

    /// As [`Client::post_patiently`], for a change.
    ///
    /// # Errors
    /// Those of [`Client::post_patiently`].
    pub async fn patch_patiently(&mut self, path: &ApiPath, body: &Value) -> Result<Value, ClientError> {
        self.patiently(Method::PATCH, path, body).await
    }

    async fn patiently(
        &mut self,
        method: Method,
        path: &ApiPath,
        body: &Value,
    ) -> Result<Value, ClientError> {
        let request = request(method, path)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::Bytes(Some(Bytes::from(body.to_string()))))
            .map_err(|e| ClientError::broken("cannot make the request", e))?;
        answer(self.sender.send_request(request).await.map_err(connection_broke)?).await
    }

    /// `DELETE`; the answer is null when the gate has nothing to add.
    ///
    /// # Errors
    /// When the gate refuses, or the connection breaks.
    pub async fn delete(&mut self, path: &ApiPath) -> Result<Value, ClientError> {
        self.exchange(Method::DELETE, path, Body::Empty).await
    }

    /// As [`Client::delete`], for what takes as long as it takes: there is no time limit here.
    ///
    /// # Errors
    /// When the gate refuses, or the connection breaks.
    pub async fn delete_patiently(&mut self, path: &ApiPath) -> Result<Value, ClientError> {
        let request = request(Method::DELETE, path)
            .body(Body::Empty)
            .map_err(|e| ClientError::broken("cannot make the request", e))?;
        answer(self.sender.send_request(request).await.map_err(connection_broke)?).await
    }

    /// `POST` of a package's bytes, streamed: `length` bytes are read from `file`. There is no time limit, because a
    /// large package takes its time.
    ///
    /// # Errors
    /// When the gate refuses, the file ends early, or the connection breaks.
    pub async fn upload(
        &mut self,
        path: &ApiPath,
        file: tokio::fs::File,
        length: u64,
    ) -> Result<Value, ClientError> {
        let request = request(Method::POST, path)
            .header(CONTENT_TYPE, "application/java-archive")
            .header(CONTENT_LENGTH, length)
            .body(Body::file(file, length))
            .map_err(|e| ClientError::broken("cannot make the request", e))?;
        answer(self.sender.send_request(request).await.map_err(connection_broke)?).await
    }

    /// As [`Client::upload`], with more that belongs to the package: name and content of each part, sent before it as
    /// multipart/form-data.
    ///
    /// # Errors
    /// As [`Client::upload`].
    pub async fn upload_with(
        &mut self,
        path: &ApiPath,
        parts: &[(&str, Vec<u8>)],
        file: tokio::fs::File,
        length: u64,
    ) -> Result<Value, ClientError> {
        let boundary = boundary(parts);
        let mut head = Vec::new();
        for (name, content) in parts {
            head.extend_from_slice(part_head(&boundary, name).as_bytes());
            head.extend_from_slice(content);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(part_head(&boundary, "package").as_bytes());
        let tail = format!("\r\n--{boundary}--\r\n");
        let size = length.saturating_add((head.len() + tail.len()) as u64);
        let request = request(Method::POST, path)
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
            .header(CONTENT_LENGTH, size)
            .body(Body::file_between(head.into(), file, length, tail.into()))
            .map_err(|e| ClientError::broken("cannot make the request", e))?;
        answer(self.sender.send_request(request).await.map_err(connection_broke)?).await
    }

    /// `POST` that takes the connection over: the gate answers 101 and both sides speak `protocol` from then on.
    ///
    /// # Errors
    /// When the gate refuses, or the connection breaks.
    pub async fn upgrade(
        mut self,
        path: &ApiPath,
        protocol: &'static str,
        header: (&'static str, String),
    ) -> Result<TokioIo<hyper::upgrade::Upgraded>, ClientError> {
        let request = request(Method::POST, path)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, protocol)
            .header(CONTENT_LENGTH, 0)
            .header(header.0, header.1)
            .body(Body::Empty)
            .map_err(|e| ClientError::broken("cannot make the request", e))?;
        let response = in_time(self.sender.send_request(request)).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(response).await.map_err(connection_broke)?;
            return Ok(TokioIo::new(upgraded));
        }
        let status = response.status();
        answer(response).await?;
        Err(ClientError::broken("the gate did not take the connection over", format!("it answered {status}")))
    }

    async fn exchange(&mut self, method: Method, path: &ApiPath, body: Body) -> Result<Value, ClientError> {
        let mut request = request(method, path);
        if matches!(body, Body::Bytes(_)) {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(|e| ClientError::broken("cannot make the request", e))?;
        answer(in_time(self.sender.send_request(request)).await?).await
    }
}

fn part_head(boundary: &str, name: &str) -> String {
    format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n")
}

/// A line that stands in none of the parts. In the package it would have to be guessed by whoever made it.
fn boundary(parts: &[(&str, Vec<u8>)]) -> String {
    let mut salt = [0_u8; 16];
    // Without random bytes the parts alone decide; the gate refuses what it cannot take apart.
    let _ = aws_lc_rs::rand::fill(&mut salt);
    loop {
        let boundary = format!("mexegate-{}", crate::apps::hex(&salt));
        let stands_in = |content: &[u8]| content.windows(boundary.len()).any(|w| w == boundary.as_bytes());
        match parts.iter().any(|(_, content)| stands_in(content)) {
            true => salt.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)),
            false => return boundary,
        }
    }
}

fn request(method: Method, path: &ApiPath) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path.as_str())
        .header(HOST, "localhost")
        .header(ACCEPT, "application/json")
}

async fn in_time(
    response: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> Result<Response<Incoming>, ClientError> {
    match tokio::time::timeout(PATIENCE, response).await {
        Ok(response) => response.map_err(connection_broke),
        Err(_) => Err(ClientError::broken("the gate does not answer", "it took longer than a minute")),
    }
}

async fn answer(response: Response<Incoming>) -> Result<Value, ClientError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER)
        .collect()
        .await
        .map_err(|e| ClientError::broken("cannot read the gate's answer", e))?
        .to_bytes();
    if !head.status.is_success() {
        return Err(ClientError::Refused(Box::new(Refused::read(head.status, &body))));
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).map_err(|e| ClientError::broken("the gate's answer is not JSON", e))
}

fn connection_broke(error: hyper::Error) -> ClientError {
    // hyper's own text says little; its cause says what happened.
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    ClientError::broken("the connection to the gate broke", cause.unwrap_or_else(|| error.to_string()))
}

#[cfg(test)]
mod tests;
