//! The forward proxy under requests that two readers could read in two ways (security rule S9): each is refused, or
//! reaches the origin in one reading only; each request on a connection is a decision of its own; nothing that is meant
//! for the gate passes it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use rig::exact::{Answer, Http, credentials};
use rig::raw::{Credentials, basic};
use rig::{Origin, Rig, Run, wait};

struct Forward {
    rig: Rig,
    origin: Origin,
    app: String,
    run: Run,
    who: Credentials,
}

impl Forward {
    fn start() -> Self {
        let (rig, origin) = (Rig::start(), Origin::start());
        let app = rig.app("third-party");
        let run = rig.run(&app);
        rig.grant(&app, &format!("network.connect={}", origin.address()), "session");
        let who = credentials(&app, &run);
        Self { rig, origin, app, run, who }
    }

    /// `{HOST}` and `{AUTH}` in the text stand for the origin and the run's credentials.
    fn filled(&self, text: &str) -> String {
        text.replace("{HOST}", &self.origin.address().to_string())
            .replace("{AUTH}", &format!("Proxy-Authorization: {}\r\n", basic(&self.who)))
    }

    fn open(&self) -> Http {
        Http::to(self.rig.ports().http)
    }

    /// Sends one text on a fresh connection and gives the first answer.
    fn say(&self, text: &str) -> (Http, Option<Answer>) {
        let mut http = self.open();
        http.send(self.filled(text));
        let answer = http.answer();
        (http, answer)
    }
}

/// Requests whose framing or target two readers could disagree on; all are to be refused before anything leaves.
const AMBIGUOUS: &[(&str, &str)] = &[
    (
        "two lengths",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    ),
    (
        "a list of lengths",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: 5, 5\r\n\r\nhello",
    ),
    (
        "a signed length",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: +5\r\n\r\nhello",
    ),
    (
        "a hexadecimal length",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: 0x5\r\n\r\nhello",
    ),
    (
        "a length that overflows",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: 18446744073709551621\r\n\r\nhello",
    ),
    (
        "an unknown coding",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked not last",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in HTTP/1.0",
        "POST http://{HOST}/upload HTTP/1.0\r\nHost: {HOST}\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a folded header", "GET http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}X-A: one\r\n two\r\n\r\n"),
    ("a folded Host", "GET http://{HOST}/hello HTTP/1.1\r\nHost:\r\n {HOST}\r\n{AUTH}\r\n"),
    (
        "a blank before the colon",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length : 5\r\n\r\nhello",
    ),
    (
        "a coding with a blank before the colon",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a blank first", "GET http://{HOST}/hello HTTP/1.1\r\n Host: {HOST}\r\n{AUTH}\r\n"),
    (
        "a carriage return alone",
        "GET http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}X-A: 1\rX-B: 2\r\n\r\n",
    ),
    ("a zero byte", "GET http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}X-A: 1\0\r\n\r\n"),
    ("no Host", "GET http://{HOST}/hello HTTP/1.1\r\n{AUTH}\r\n"),
    ("two Hosts", "GET http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n{AUTH}\r\n"),
    ("another Host", "GET http://{HOST}/hello HTTP/1.1\r\nHost: other.example\r\n{AUTH}\r\n"),
    ("another port in Host", "GET http://{HOST}/hello HTTP/1.1\r\nHost: 127.0.0.1:1\r\n{AUTH}\r\n"),
    (
        "a user before the host",
        "GET http://{HOST}@other.example/hello HTTP/1.1\r\nHost: other.example\r\n{AUTH}\r\n",
    ),
    ("a user in Host", "GET http://{HOST}/hello HTTP/1.1\r\nHost: x@{HOST}\r\n{AUTH}\r\n"),
    ("origin form", "GET /hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n"),
    ("asterisk form", "OPTIONS * HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n"),
    ("https by forward request", "GET https://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n"),
    ("a scheme of another kind", "GET file://{HOST}/etc/passwd HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n"),
    ("CONNECT with a path", "CONNECT http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n"),
    (
        "CONNECT with a body",
        "CONNECT {HOST} HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: 5\r\n\r\nhello",
    ),
    ("CONNECT to one, Host another", "CONNECT {HOST} HTTP/1.1\r\nHost: other.example:443\r\n{AUTH}\r\n"),
    (
        "Connection names Host",
        "GET http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Connection: close, Host\r\n\r\n",
    ),
    (
        "Connection names the length",
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: 5\r\nConnection: content-length\r\n\r\nhello",
    ),
    (
        "TRACE with a body",
        "TRACE http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: 5\r\n\r\nhello",
    ),
    ("another protocol", "GET http://{HOST}/hello SMTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n"),
    ("HTTP/2 in clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("not HTTP", "\u{16}\u{3}\u{1}\u{2}\r\n\r\n"),
];

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    let at = Forward::start();
    for (what, text) in AMBIGUOUS {
        // A second request behind each: were the first taken for shorter than it is, this would be a request.
        let smuggled = "GET http://{HOST}/smuggled HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n";
        let (mut http, answer) = at.say(&format!("{text}{smuggled}"));
        // What is no HTTP/1 at all gets no answer in HTTP/1.
        let Some(answer) = answer else {
            assert!(["HTTP/2 in clear", "not HTTP"].contains(what), "{what}: no answer");
            continue;
        };
        assert!(matches!(answer.status, 400 | 407 | 431), "{what}: {answer:?}");
        if !answer.body.is_empty() && answer.status == 400 {
            assert_eq!(answer.reason(), "request-malformed", "{what}");
        }
        assert!(http.answer().is_none(), "{what}: the connection goes on");
    }
    assert_eq!(at.origin.heads(), [""; 0], "nothing of it left the gate");
    assert_eq!(at.origin.connections(), 0);
    let refused = wait::until("malformed requests in the journal", || {
        at.rig.journal(["--reason", "request-malformed", "--decision", "deny"]).pop()
    });
    assert_eq!(refused["reason"], "request-malformed");
    assert!(at.rig.metric("mexegate_connections_refused_total{reason=\"request-malformed\"}") >= 1.0);
    // The gate has lost nothing by it.
    let (_, answer) = at.say("GET http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n");
    assert_eq!(answer.unwrap().body, b"hello\n");
}

/// A body whose length cannot be told twice in the same way.
const TWICE: &[(&str, &str)] = &[
    ("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"),
    ("Transfer-Encoding: chunked\r\n", "Content-Length: 4\r\n"),
    ("Content-Length: 60\r\n", "Transfer-Encoding: chunked\r\n"),
    ("Content-Length: 0\r\n", "Transfer-Encoding: CHUNKED\r\n"),
    ("transfer-encoding:chunked\r\n", "X-Between: 1\r\ncontent-length: \t15 \r\n"),
    ("Content-Length: 15\r\n", "Content-Length: 15\r\n"),
];

/// Requests that are in order, and what the origin answers them.
const IN_ORDER: &[(&str, &str)] = &[
    ("GET http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n", "hello\n"),
    (
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Content-Length: 28\r\n\r\nTransfer-Encoding: chunked\r\n",
        "28\n",
    ),
    (
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n\
         5;x=\"y\"\r\nhello\r\n13 \r\nContent-Length: 9\r\n\r\n0\r\nX-Trailer: 1\r\n\r\n",
        "24\n",
    ),
];

#[test]
fn length_and_coding_at_once_or_a_length_twice_are_refused_in_whichever_request() {
    let at = Forward::start();
    for (first, second) in TWICE {
        let bad = format!(
            "POST http://{{HOST}}/upload HTTP/1.1\r\nHost: {{HOST}}\r\n{{AUTH}}{first}{second}\r\n\
             5\r\nhello\r\n0\r\n\r\nGET http://{{HOST}}/smuggled HTTP/1.1\r\nHost: {{HOST}}\r\n{{AUTH}}\r\n"
        );
        // Alone, behind others that were answered, and behind others in the same packet.
        for before in [&[][..], IN_ORDER, &IN_ORDER[..1]] {
            for at_once in [false, true] {
                let seen = at.origin.heads().len();
                let mut http = at.open();
                let mut unsent = String::new();
                for (good, _) in before {
                    unsent += good;
                    if !at_once {
                        http.send(at.filled(&std::mem::take(&mut unsent)));
                        assert_eq!(http.answer().expect("an answer").status, 200, "{good}");
                    }
                }
                http.send(at.filled(&(unsent + &bad)));
                for (good, told) in before.iter().filter(|_| at_once) {
                    let answer = http.answer().unwrap_or_else(|| panic!("no answer to {good}"));
                    assert_eq!((answer.status, answer.body.as_slice()), (200, told.as_bytes()), "{good}");
                }
                let answer = http.answer().unwrap_or_else(|| panic!("{first}{second}: no answer"));
                assert_eq!((answer.status, answer.reason().as_str()), (400, "request-malformed"));
                assert!(http.answer().is_none(), "{first}{second}: the connection goes on");
                let heads = at.origin.heads().split_off(seen);
                assert_eq!(heads.len(), before.len(), "{heads:?}");
                assert!(!heads.iter().any(|head| head.contains("smuggled")), "{heads:?}");
            }
        }
    }
    let refused = wait::until("malformed requests in the journal", || {
        at.rig.journal(["--reason", "request-malformed", "--decision", "deny"]).pop()
    });
    assert_eq!(refused["app"], at.app.as_str(), "whose it was is written down");
    // Without credentials it is not read either.
    let (mut http, answer) = at.say(
        "POST http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert_eq!(answer.expect("an answer").reason(), "request-malformed");
    assert!(http.answer().is_none(), "the connection goes on");
}

#[test]
fn a_broken_chunk_ends_the_connection_and_smuggles_nothing() {
    let at = Forward::start();
    for chunks in [
        "5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "zz\r\nhello\r\n0\r\n\r\n",
    ] {
        let text = format!(
            "POST http://{{HOST}}/upload HTTP/1.1\r\nHost: {{HOST}}\r\n{{AUTH}}Transfer-Encoding: chunked\r\n\r\n{chunks}\
             GET http://{{HOST}}/smuggled HTTP/1.1\r\nHost: {{HOST}}\r\n{{AUTH}}\r\n"
        );
        let (mut http, first) = at.say(&text);
        let first = first.unwrap_or_else(|| panic!("{chunks:?}: no answer"));
        assert_eq!(
            (first.status, first.reason().as_str()),
            (400, "request-malformed"),
            "the app's fault, not the origin's: {chunks:?}: {first:?}"
        );
        assert!(http.answer().is_none(), "{chunks:?}: the connection goes on");
        let heads = at.origin.heads();
        assert!(!heads.iter().any(|head| head.contains("smuggled")), "{chunks:?}: {heads:?}");
    }
}

#[test]
fn the_origin_sees_its_own_request_and_nothing_that_was_meant_for_the_gate() {
    let at = Forward::start();
    let (_, answer) = at.say(
        "GET http://{HOST}/hello?q=1&r=a%20b HTTP/1.1\r\nhost: {HOST}\r\n{AUTH}Proxy-Connection: keep-alive\r\n\
         Connection: keep-alive, X-Hop, Keep-Alive\r\nConnection: x-other\r\nX-Hop: 1\r\nX-Other: 2\r\nKeep-Alive: timeout=5\r\n\
         TE: trailers\r\nTrailer: X-T\r\nUpgrade: websocket\r\nProxy-Anything: secret\r\nProxy-Status: forged\r\n\
         Authorization: Basic b3duOm9yaWdpbg==\r\nCookie: a=b\r\nX-Kept: yes\r\n\r\n",
    );
    assert_eq!(answer.expect("an answer").status, 404, "the origin has no such page");
    let heads = at.origin.heads();
    let head = &heads[0];
    assert!(head.starts_with("GET /hello?q=1&r=a%20b HTTP/1.1\r\n"), "origin form: {head}");
    let names: Vec<_> =
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["authorization", "cookie", "host", "via", "x-kept"], "{head}");
    assert!(head.contains(&format!("ost: {}\r\n", at.origin.address())), "{head}");
    for secret in [&at.run.token, &basic(&at.who)["Basic ".len()..].to_owned(), &at.app] {
        assert!(!head.contains(secret.as_str()), "{head}");
    }
    // What the gate itself answers is never the origin's to forge.
    let refused = at.say("GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1:9\r\n{AUTH}\r\n").1.unwrap();
    assert_eq!((refused.status, refused.reason().as_str()), (403, "target-out-of-scope"));
}

#[test]
fn every_request_on_a_kept_alive_connection_is_a_decision_of_its_own() {
    let at = Forward::start();
    let other = Origin::start();
    let (elsewhere, own) = (other.address(), at.origin.address());
    let request =
        |to: SocketAddr| at.filled(&format!("GET http://{to}/hello HTTP/1.1\r\nHost: {to}\r\n{{AUTH}}\r\n"));
    let mut http = at.open();
    for _ in 0..2 {
        http.send(request(own));
        assert_eq!(http.answer().expect("the page").body, b"hello\n");
        http.send(request(elsewhere));
        let refused = http.answer().expect("a refusal on the same connection");
        assert_eq!((refused.status, refused.reason().as_str()), (403, "target-out-of-scope"));
    }
    assert_eq!(other.connections(), 0);
    // A permission that is taken back between two requests does not cover the second, nor does one that is used up.
    at.rig.json(["revoke", "--app", &at.app]);
    let mut http = at.open();
    http.send(request(own));
    assert_eq!(http.answer().expect("a refusal").reason(), "permission-missing");
    at.rig.grant(&at.app, &format!("network.connect={own}"), "single");
    http.send(request(own));
    assert_eq!(http.answer().expect("the page").body, b"hello\n");
    http.send(request(own));
    assert_eq!(http.answer().expect("a refusal").reason(), "permission-missing");
    // Requests sent all at once are answered in order, each by its own decision.
    at.rig.grant(&at.app, &format!("network.connect={own}"), "session");
    let mut http = at.open();
    http.send([request(own), request(elsewhere), request(own)].concat());
    let answers: Vec<_> = (0..3).map(|_| http.answer().expect("three answers").status).collect();
    assert_eq!(answers, [200, 403, 200]);
}

#[test]
fn credentials_belong_to_the_request_not_to_the_connection() {
    let at = Forward::start();
    let stranger = at.rig.app("operator");
    let foreign = credentials(&stranger, &at.rig.run(&stranger));
    let own = at.origin.address();
    let request = |authorization: &str| {
        format!("GET http://{own}/hello HTTP/1.1\r\nHost: {own}\r\n{authorization}\r\n")
    };
    let with = |who: &Credentials| request(&format!("Proxy-Authorization: {}\r\n", basic(who)));
    let mut http = at.open();
    http.send(with(&at.who));
    assert_eq!(http.answer().expect("the page").status, 200);
    // The next one without credentials is nobody's, although the connection was somebody's.
    http.send(request(""));
    let nobody = http.answer().expect("a refusal");
    assert_eq!((nobody.status, nobody.reason().as_str()), (407, "credentials-missing"));
    http.send(with(&foreign));
    let other = http.answer().expect("a refusal");
    assert_eq!(
        (other.status, other.reason().as_str()),
        (403, "permission-missing"),
        "the other app has no permission"
    );
    http.send(with(&at.who));
    assert_eq!(http.answer().expect("the page").status, 200);
    let denied = at.rig.journal(["--app", &stranger, "--decision", "deny"]);
    assert_eq!(denied.last().unwrap()["reason"], "permission-missing");
    // Two at once are none; so are those of another scheme, and those of a run that has ended meanwhile.
    let twice =
        format!("Proxy-Authorization: {}\r\nProxy-Authorization: {}\r\n", basic(&at.who), basic(&foreign));
    for (headers, reason) in [
        (twice.as_str(), "credentials-wrong"),
        ("Proxy-Authorization: Bearer abc\r\n", "credentials-wrong"),
        ("Proxy-Authorization: Basic %%%\r\n", "credentials-wrong"),
        ("Proxy-Authorization: Basic\r\n", "credentials-wrong"),
        (&format!("Authorization: {}\r\n", basic(&at.who)), "credentials-missing"),
    ] {
        let mut http = at.open();
        http.send(request(headers));
        let refused = http.answer().expect("a refusal");
        assert_eq!(refused.status, 407, "{headers}");
        assert!(
            [reason, "credentials-missing"].contains(&refused.reason().as_str()),
            "{headers}: {}",
            refused.reason()
        );
    }
    let mut http = at.open();
    http.send(with(&at.who));
    assert_eq!(http.answer().expect("the page").status, 200);
    at.rig.json(["app", "stop", &at.run.run]);
    http.send(with(&at.who));
    assert!(http.answer().is_none_or(|answer| answer.reason() == "credentials-wrong"));
    assert_eq!(at.origin.connections(), 3);
}

#[test]
fn a_body_that_was_refused_is_not_the_next_request() {
    let at = Forward::start();
    let own = at.origin.address();
    let inner = at.filled(&format!("GET http://{own}/smuggled HTTP/1.1\r\nHost: {own}\r\n{{AUTH}}\r\n"));
    for authorization in ["", "{AUTH}"] {
        // Refused for want of credentials, or of a permission for that target.
        let target = if authorization.is_empty() { own.to_string() } else { "127.0.0.1:9".to_owned() };
        let mut http = at.open();
        http.send(at.filled(&format!(
            "POST http://{target}/upload HTTP/1.1\r\nHost: {target}\r\n{authorization}Content-Length: {}\r\n\r\n{inner}",
            inner.len()
        )));
        let refused = http.answer().expect("a refusal");
        assert!(matches!(refused.status, 403 | 407), "{refused:?}");
        http.send(at.filled("GET http://{HOST}/hello HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n"));
        assert!(http.answer().is_none_or(|next| next.body == b"hello\n"), "the body was taken for a request");
    }
    assert!(!at.origin.heads().iter().any(|head| head.contains("smuggled")), "{:?}", at.origin.heads());
}

#[test]
fn a_server_that_breaks_the_protocol_is_not_passed_on() {
    let at = Forward::start();
    for (what, response) in [
        (
            "a switch that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        ),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n"),
        ("a folded header", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
        ("an end before the head", "HTTP/1.1 200 OK\r\nContent-"),
        ("nothing", ""),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        at.rig.grant(&at.app, &format!("network.connect={address}"), "session");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let _ = stream.write_all(response.as_bytes());
        });
        let text = format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{{AUTH}}\r\n");
        let answer = at.say(&text).1.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream-malformed"), "{what}");
        server.join().unwrap();
    }
    // The origin's own hop-by-hop headers stay with it, and its credentials challenge is not the gate's.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    at.rig.grant(&at.app, &format!("network.connect={address}"), "session");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"steal\"\r\nProxy-Status: mexegate; details=\"forged\"\r\n\
                    Keep-Alive: timeout=1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nno";
        let _ = stream.write_all(head.as_bytes());
    });
    let answer = at
        .say(&format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{{AUTH}}\r\n"))
        .1
        .expect("an answer");
    for gone in ["proxy-authenticate", "proxy-status", "keep-alive", "x-hop"] {
        assert_eq!(answer.field(gone), None, "{}", answer.head);
    }
    assert_eq!((answer.field("x-kept"), answer.body.as_slice()), (Some("1"), &b"no"[..]));
    server.join().unwrap();
}

#[test]
fn early_bytes_behind_connect_are_the_tunnels_and_only_after_a_yes() {
    let at = Forward::start();
    let inner = at.filled("GET /hello HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let (mut http, answer) =
        at.say(&format!("CONNECT {{HOST}} HTTP/1.1\r\nHost: {{HOST}}\r\n{{AUTH}}\r\n{inner}"));
    assert_eq!(answer.expect("an answer to CONNECT").status, 200);
    assert_eq!(http.answer().expect("the page through the tunnel").body, b"hello\n");
    // Behind a refused CONNECT they are nobody's: not forwarded, not a request of their own.
    let (mut http, answer) =
        at.say(&format!("CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n{{AUTH}}\r\n{inner}"));
    assert_eq!(answer.expect("an answer to CONNECT").reason(), "target-out-of-scope");
    http.send(
        at.filled("GET http://{HOST}/upload HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}Connection: close\r\n\r\n"),
    );
    while let Some(answer) = http.answer() {
        assert_ne!(answer.body, b"hello\n", "{answer:?}");
    }
    assert!(
        at.origin.heads()[1..].iter().all(|head| head.starts_with("GET /upload")),
        "{:?}",
        at.origin.heads()
    );
}
