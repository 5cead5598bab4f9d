//! How a forwarded request ends when one of its sides goes before the end: an app that has nothing of the answer yet is
//! told what happened, one that has a part of it learns by a reset that it is not whole, and the journal says whose doing
//! it was.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rig::exact::Http;
use rig::raw::{Credentials, basic};
use rig::{Control, Rig, wait};
use serde_json::Value;

/// A gate, a run that may connect to this machine, and an origin that a test plays itself.
struct Scene {
    rig: Rig,
    control: Control,
    who: Credentials,
    origin: TcpListener,
}

impl Scene {
    fn start() -> Self {
        let rig = Rig::builder().section("limits", "idle = \"1s\"").start();
        let mut control = Control::of(&rig);
        let app = rig.app("third-party");
        control.grant(&app, "127.0.0.1", "blanket");
        let (_, who) = control.run(&app);
        Self { rig, control, who, origin: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn address(&self) -> SocketAddr {
        self.origin.local_addr().unwrap()
    }

    fn head(&self, method: &str, version: &str, more: &str) -> String {
        let (address, who) = (self.address(), basic(&self.who));
        format!(
            "{method} http://{address}/ HTTP/{version}\r\nHost: {address}\r\nProxy-Authorization: {who}\r\n{more}\r\n"
        )
    }

    /// Asks for something, while the origin does `what` with the connection once it has the head.
    fn get(&self, what: impl FnOnce(TcpStream) + Send) -> Http {
        self.get_as("1.1", what)
    }

    fn get_as(&self, version: &str, what: impl FnOnce(TcpStream) + Send) -> Http {
        thread::scope(|scope| {
            let origin = scope.spawn(|| {
                let mut stream = self.origin.accept().unwrap().0;
                until(&mut stream, b"\r\n\r\n");
                what(stream);
            });
            let mut http = Http::to(self.rig.ports().http);
            http.send(self.head("GET", version, ""));
            origin.join().unwrap();
            http
        })
    }

    /// Begins an upload of 100,000 bytes; the origin does `what` once it has the head.
    fn upload(&self, how: &str, sent: &[u8], what: impl FnOnce(TcpStream) + Send) -> Http {
        thread::scope(|scope| {
            let origin = scope.spawn(|| {
                let mut stream = self.origin.accept().unwrap().0;
                until(&mut stream, b"\r\n\r\n");
                what(stream);
            });
            let mut http = Http::to(self.rig.ports().http);
            http.send(self.head("POST", "1.1", how));
            http.send(sent);
            origin.join().unwrap();
            http
        })
    }

    /// The end of the only flow.
    fn end(&mut self) -> Value {
        wait::until("the end in the journal", || {
            let records = self.control.journal_after(0);
            records.into_iter().find(|record| record["kind"] == "flow-end")
        })
    }

    fn ended(&self, result: &str) {
        let name = format!("mexegate_flows_total{{result=\"{result}\"}}");
        wait::until(&name, || (self.rig.metric(&name) == 1.0).then_some(()));
    }
}

fn until(stream: &mut TcpStream, end: &[u8]) {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(end) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the connection ended after {read:?}");
        read.push(byte[0]);
    }
}

fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn an_origin_that_resets_before_it_answers_is_a_bad_gateway() {
    let scene = Scene::start();
    let answer = scene.get(reset).answer().expect("an answer, not a reset");
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream-malformed"), "{answer:?}");
    scene.ended("reset");
}

#[test]
fn an_origin_that_resets_in_its_answer_resets_the_app() {
    let scene = Scene::start();
    // The app speaks HTTP/1.1: it gets the form that ends with the connection in chunks.
    for head in ["Content-Length: 100\r\n", "Connection: close\r\n"] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let asked = scene.get(|mut stream| {
            write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\nhalf").unwrap();
            sender.send(stream).unwrap();
        });
        let mut app = asked.into_stream();
        until(&mut app, b"half");
        reset(receiver.recv().unwrap());
        let error = app.read_to_end(&mut Vec::new()).expect_err("the answer seems whole");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{head:?}");
    }
}

#[test]
fn chunks_that_break_off_do_not_look_whole_to_an_app_that_knows_no_chunks() {
    let scene = Scene::start();
    for rest in ["", "no length\r\n"] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let asked = scene.get_as("1.0", |mut stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").unwrap();
            sender.send(stream).unwrap();
        });
        let mut app = asked.into_stream();
        until(&mut app, b"half");
        let mut origin = receiver.recv().unwrap();
        origin.write_all(rest.as_bytes()).unwrap();
        drop(origin);
        let error = app.read_to_end(&mut Vec::new()).expect_err("the answer seems whole");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{rest:?}");
    }
}

#[test]
fn an_origin_that_never_answers_is_a_gateway_timeout() {
    let mut scene = Scene::start();
    let mut kept = None;
    let answer = scene.get(|stream| kept = Some(stream)).answer().expect("an answer, not a reset");
    assert_eq!((answer.status, answer.reason().as_str()), (504, "upstream-timeout"), "{answer:?}");
    assert_eq!(scene.end()["reason"], "idle-timeout");
    scene.ended("idle");
}

#[test]
fn an_app_that_goes_in_its_upload_is_not_turned_away_and_ends_its_flow() {
    for how in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut scene = Scene::start();
        let mut app = TcpStream::connect(scene.rig.ports().http).unwrap();
        app.write_all(format!("{}5\r\nhello\r\n", scene.head("POST", "1.1", how)).as_bytes()).unwrap();
        let mut origin = scene.origin.accept().unwrap().0;
        until(&mut origin, b"\r\n\r\n");
        app.shutdown(Shutdown::Both).unwrap();
        drop(app);
        let end = scene.end();
        assert!(end["bytes_up"].as_u64().unwrap() > 0, "{end}");
        scene.ended("reset");
        let refused: Vec<_> = scene.rig.journal(["--reason", "request-malformed"]);
        assert!(refused.is_empty(), "{how:?}: {refused:?}");
        // The origin is not led to believe that it has all of it.
        let mut rest = Vec::new();
        let ended_well = origin.read_to_end(&mut rest).is_ok();
        let seems_whole = rest.ends_with(b"0\r\n\r\n") || rest.len() >= 100;
        assert!(!(ended_well && seems_whole), "{how:?}: {rest:?}");
    }
}

const PLAIN: &str = "Content-Length: 100000\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const TOO_LARGE: &str =
    "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large";

#[test]
fn what_an_origin_says_to_an_upload_that_it_does_not_take_arrives() {
    let scene = Scene::start();
    for _ in 0..10 {
        for how in [PLAIN, CHUNKED] {
            // Closed with input unread: the kernel resets the connection behind the answer.
            let asked = scene.upload(how, b"a\r\n0123456789\r\n", |mut stream| {
                stream.write_all(TOO_LARGE.as_bytes()).unwrap();
            });
            let mut asked = asked;
            let answer = asked.answer().expect("the origin's answer");
            assert_eq!((answer.status, answer.body.as_slice()), (413, b"too large".as_slice()), "{how:?}");
        }
    }
}

#[test]
fn an_upload_that_stops_half_way_is_the_apps_fault() {
    for how in [PLAIN, CHUNKED] {
        let mut scene = Scene::start();
        let mut kept = None;
        let mut asked = scene.upload(how, b"a\r\n0123456789\r\n", |stream| kept = Some(stream));
        let answer = asked.answer().expect("an answer, not a reset");
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (408, "handshake-timeout"),
            "{how:?}: {answer:?}"
        );
        assert_eq!(scene.end()["reason"], "idle-timeout");
    }
}

#[test]
fn broken_chunks_beside_an_early_answer_are_written_down() {
    let scene = Scene::start();
    let mut asked = scene.upload(CHUNKED, b"a\r\n0123456789\r\n", |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nearly").unwrap();
        thread::spawn(move || {
            // It waits for all of the upload before it says the rest.
            let _ = stream.read_to_end(&mut Vec::new());
        });
    });
    asked.send("no length\r\n");
    wait::until("the record", || {
        let refused = scene.rig.journal(["--reason", "request-malformed"]);
        (!refused.is_empty()).then_some(())
    });
    assert!(asked.answer().is_none(), "an answer that broke off looks whole");
}

#[test]
fn an_answer_that_stops_half_way_is_reset_and_a_whole_one_is_left_alone() {
    let mut scene = Scene::start();
    let mut kept = None;
    let asked = scene.get(|mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").unwrap();
        kept = Some(stream);
    });
    let error = asked.into_stream().read_to_end(&mut Vec::new()).expect_err("the answer seems whole");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(scene.end()["reason"], "idle-timeout");

    // The upload stops, but what the origin had to say is said: the connection ends without a reset.
    let mut asked = scene.upload(PLAIN, b"0123456789", |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").unwrap();
        kept = Some(stream);
    });
    assert_eq!(asked.answer().expect("the origin's answer").body, b"early");
    assert_eq!(asked.into_stream().read_to_end(&mut Vec::new()).expect("no reset"), 0);
}

#[test]
fn an_answer_in_chunks_that_breaks_off_is_the_origins_doing() {
    let scene = Scene::start();
    for version in ["1.0", "1.1"] {
        let asked = scene.get_as(version, |mut stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").unwrap();
        });
        asked.into_stream().read_to_end(&mut Vec::new()).expect_err("the answer seems whole");
    }
    let name = "mexegate_flows_total{result=\"reset\"}";
    wait::until(name, || (scene.rig.metric(name) == 2.0).then_some(()));
}

#[test]
fn an_answer_that_the_app_has_not_taken_yet_is_cut_with_its_right() {
    let scene = Scene::start();
    let size = 64 << 20;
    let (sender, receiver) = std::sync::mpsc::channel();
    let asked = scene.get(|mut stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
        sender.send(stream).unwrap();
    });
    let mut origin = receiver.recv().unwrap();
    origin.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // Until the gate takes no more, because the app does not.
    while origin.write(&[0; 65536]).is_ok_and(|wrote| wrote > 0) {}
    let grants = scene.rig.json(["grants", "--json"]);
    let id = grants["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{grants}"));
    assert_eq!(scene.rig.cli(["revoke", id]).code, 0);
    let error = asked.into_stream().read_to_end(&mut Vec::new()).expect_err("the answer goes on");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
