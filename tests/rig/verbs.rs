//! What scenarios about trust do again and again: files, verbs that succeed or are refused by a reason, roots and apps and
//! their states, open flows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use mexe_model::WallTime;
use serde_json::Value;

use crate::cli::{Output, code};
use crate::raw::{self, Credentials, Door};
use crate::{Control, Rig, packages};

/// That many seconds after.
pub fn later(at: WallTime, seconds: u64) -> WallTime {
    WallTime::from_secs(at.as_secs() + seconds)
}

/// That many seconds before.
pub fn earlier(at: WallTime, seconds: u64) -> WallTime {
    WallTime::from_secs(at.as_secs() - seconds)
}

/// A file in the rig's folder.
pub fn file(rig: &Rig, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = rig.folder().join(name);
    packages::write(&path, bytes.as_ref());
    path
}

/// Runs a verb with `--json`.
pub fn cli(rig: &Rig, line: &[&str]) -> Output {
    rig.cli(["--json"].iter().chain(line))
}

/// Runs a verb that has to succeed.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn done(rig: &Rig, line: &[&str]) -> Value {
    cli(rig, line).ended(code::DONE).json
}

/// Sees to it that a verb was refused for that reason.
///
/// # Panics
/// When it was not.
#[track_caller]
pub fn refused(output: Output, reason: &str) {
    let output = output.ended(code::REFUSED);
    assert_eq!(output.json["reason"], reason, "{}{}", output.stdout, output.stderr);
}

/// The id of the first root of that kind.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn root_of(rig: &Rig, kind: &str) -> String {
    let roots = done(rig, &["roots", "list"]);
    let of_kind = |root: &&Value| root["kind"] == kind;
    let root = roots["items"].as_array().unwrap().iter().find(of_kind);
    root.unwrap_or_else(|| panic!("no {kind} root in {roots}"))["id"].as_str().unwrap().to_owned()
}

/// The state of a root; `absent` when it is not listed.
pub fn state_of(rig: &Rig, id: &str) -> String {
    let roots = done(rig, &["roots", "list"]);
    let root = roots["items"].as_array().unwrap().iter().find(|root| root["id"] == id);
    root.map_or_else(|| "absent".to_owned(), |root| root["state"].as_str().unwrap().to_owned())
}

/// State and reason of an app.
pub fn app_state(rig: &Rig, app: &str) -> (Value, Value) {
    let shown = done(rig, &["app", "show", app]);
    (shown["state"].clone(), shown["reason"].clone())
}

/// The app of a domain, which may connect to this machine, with a run.
pub fn ready(rig: &Rig, control: &mut Control, domain: &str) -> (String, Credentials) {
    let app = rig.app(domain);
    control.grant(&app, "127.0.0.1", "blanket");
    let (_, who) = control.run(&app);
    (app, who)
}

/// An open flow with both of its ends.
///
/// # Panics
/// When it cannot be opened.
pub fn flow(rig: &Rig, who: &Credentials) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = raw::open(rig.ports(), Door::Socks, who, listener.local_addr().unwrap()).unwrap();
    let mut server = listener.accept().unwrap().0;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    (client, server)
}

/// Whether the stream was reset.
pub fn is_cut(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
}
