//! Bad input at the proxies: malformed, half-open, one byte at a time, oversize, garbage, slow, and thousands of random
//! mutations. Each gets the right refusal or a close; nothing panics, nothing stays behind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rig::random::Random;
use rig::raw::{self, Credentials, Door, basic};
use rig::{Control, Rig, wait};

/// A gate that an app may use to reach one server, and what it looked like before anybody came.
struct Scene {
    rig: Rig,
    control: Control,
    who: Credentials,
    target: SocketAddr,
    fds: usize,
}

impl Scene {
    fn set(limits: &str) -> Self {
        let rig = Rig::builder().section("limits", limits).start();
        let mut control = Control::of(&rig);
        let app = rig.app("third-party");
        control.grant(&app, "127.0.0.1", "blanket");
        let (_, who) = control.run(&app);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        // Answers, and ends each connection.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                    let _ = stream.read(&mut [0; 1024]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                });
            }
        });
        for door in [Door::Socks, Door::Connect] {
            raw::open(rig.ports(), door, &who, target).unwrap();
        }
        wait::until("the first flows to end", || control.list("/v1/flows").is_empty().then_some(()));
        let fds = rig.fds();
        Self { rig, control, who, target, fds }
    }

    /// A valid forward request, up to its empty line.
    fn forward(&self, method: &str, more: &str) -> String {
        let (target, authorization) = (self.target, basic(&self.who));
        format!(
            "{method} http://{target}/ HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {authorization}\r\n{more}"
        )
    }

    /// Nothing is left of whatever was done to the gate.
    #[track_caller]
    fn left_clean(mut self) {
        let control = &mut self.control;
        wait::until("every flow to end", || control.list("/v1/flows").is_empty().then_some(()));
        wait::until("no connection to be counted", || {
            let status = control.done("GET", "/v1/status", None).json;
            (status["connections"]["open"] == 0).then_some(())
        });
        assert!(control.list("/v1/runs").iter().all(|run| run["connections"] == 0));
        assert_eq!(self.rig.metric("mexegate_flows_open"), 0.0);
        let fds = wait::within(Duration::from_secs(5), || (self.rig.fds() <= self.fds).then_some(()));
        assert!(fds.is_some(), "{} descriptors, {} before", self.rig.fds(), self.fds);
        // It still works, at both doors.
        for door in [Door::Socks, Door::Connect] {
            raw::open(self.rig.ports(), door, &self.who, self.target).unwrap();
        }
        let log = self.rig.log();
        assert!(!log.contains("panicked"), "{log}");
        assert_eq!(self.rig.cli(["journal", "verify"]).code, 0);
    }
}

/// Sends bytes, ends its half, and reads what comes until the end; `None` when the gate does not end it in 15 seconds.
fn tell(address: SocketAddr, bytes: &[u8], finish: bool) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    // The gate may close before it has read everything.
    let _ = stream.write_all(bytes);
    if finish {
        let _ = stream.shutdown(Shutdown::Write);
    }
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        _ => Some(answer),
    }
}

#[test]
fn malformed_socks_gets_its_reply_and_a_close() {
    let scene = Scene::set("");
    let good = raw::socks_request(&scene.who, scene.target);
    let request = good.len() - 10;
    let with = |tail: &[u8]| [&good[..request], tail].concat();
    // Method chosen, credentials accepted.
    let up_to_request = |reply: &[u8]| [&[5, 2, 1, 0], reply].concat();
    let reply = |code: u8| up_to_request(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    let cases: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("nothing", vec![], vec![]),
        ("SOCKS4", vec![4, 1, 0, 80, 127, 0, 0, 1, 0], vec![]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), vec![]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![]),
        ("no method", vec![5, 0], vec![5, 255]),
        ("no method that names a run", vec![5, 2, 0, 1], vec![5, 255]),
        ("every method", [vec![5, 255], (0..255).collect()].concat(), vec![5, 2]),
        ("half a greeting", vec![5, 3, 2], vec![]),
        ("credentials of another version", vec![5, 1, 2, 2, 1, b'a', 1, b'b'], vec![5, 2, 1, 1]),
        ("empty credentials", vec![5, 1, 2, 1, 0, 0], vec![5, 2, 1, 1]),
        ("wrong credentials", vec![5, 1, 2, 1, 1, b'a', 1, b'b'], vec![5, 2, 1, 1]),
        (
            "the longest credentials",
            [vec![5, 1, 2, 1, 255], vec![b'a'; 255], vec![255], vec![0xff; 255]].concat(),
            vec![5, 2, 1, 1],
        ),
        ("half the credentials", good[..20].to_vec(), vec![5, 2]),
        ("a request of another version", with(&[4, 1, 0, 1, 127, 0, 0, 1, 0, 80]), reply(1)),
        ("a reserved byte that is set", with(&[5, 1, 1, 1, 127, 0, 0, 1, 0, 80]), reply(1)),
        ("port 0", with(&[5, 1, 0, 1, 127, 0, 0, 1, 0, 0]), reply(1)),
        ("an empty name", with(&[5, 1, 0, 3, 0, 0, 80]), reply(1)),
        ("a name that is no text", with(&[5, 1, 0, 3, 2, 0xff, 0xfe, 0, 80]), reply(1)),
        ("a name with a zero", with(b"\x05\x01\x00\x03\x03a\x00b\x00\x50"), reply(2)),
        ("a name with a line end", with(b"\x05\x01\x00\x03\x04a\r\nb\x00\x50"), reply(2)),
        ("an address type of no kind", with(&[5, 1, 0, 2, 127, 0, 0, 1, 0, 80]), reply(8)),
        ("BIND", with(&[5, 2, 0, 1, 127, 0, 0, 1, 0, 80]), reply(7)),
        ("a command of no kind", with(&[5, 200, 0, 1, 127, 0, 0, 1, 0, 80]), reply(7)),
        ("half a request", good[..good.len() - 3].to_vec(), vec![5, 2, 1, 0]),
    ];
    for (what, bytes, expected) in &cases {
        let answer = tell(scene.rig.ports().socks, bytes, true);
        assert_eq!(answer.as_ref(), Some(expected), "{what}");
    }
    // Without the end of its half the client is told just the same, where there is something to tell.
    for (what, bytes, expected) in cases
        .iter()
        .filter(|(what, ..)| !what.contains("half") && !what.contains("nothing") && *what != "every method")
    {
        let answer = tell(scene.rig.ports().socks, bytes, false);
        assert_eq!(answer.as_ref(), Some(expected), "{what}, left open");
    }
    let refusals = scene.rig.journal(["--reason", "request-malformed"]);
    assert!(!refusals.is_empty());
    assert!(!scene.rig.journal(["--reason", "command-unsupported"]).is_empty());
    scene.left_clean();
}

#[test]
fn malformed_http_gets_its_status_and_a_close() {
    let scene = Scene::set("");
    let target = scene.target;
    let good = scene.forward("GET", "");
    let authorization = format!("Proxy-Authorization: {}\r\n", basic(&scene.who));
    let asking =
        |line: &str| format!("{line}\r\nHost: x\r\n{authorization}Connection: close\r\n\r\n").into_bytes();
    let with = |fields: &str| format!("{good}Connection: close\r\n{fields}\r\n").into_bytes();
    let many: String = (0..300).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "x".repeat(200_000));
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
        ("SOCKS5", vec![5, 1, 2, 13, 10, 13, 10], 400),
        ("no version", b"GET /\r\n\r\n".to_vec(), 400),
        ("another version", b"GET / HTTP/3.0\r\n\r\n".to_vec(), 400),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 0),
        ("no credentials", format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes(), 407),
        ("credentials of another scheme", format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nProxy-Authorization: Bearer x\r\n\r\n").into_bytes(), 407),
        ("credentials that are no base64", format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nProxy-Authorization: Basic ?!\r\n\r\n").into_bytes(), 407),
        ("origin form", asking("GET / HTTP/1.1"), 400),
        ("another scheme", asking("GET ftp://127.0.0.1/ HTTP/1.1"), 400),
        ("no host", asking("GET http:/// HTTP/1.1"), 400),
        ("a port of six digits", asking("GET http://127.0.0.1:123456/ HTTP/1.1"), 400),
        ("CONNECT without a port", asking("CONNECT 127.0.0.1 HTTP/1.1"), 400),
        ("CONNECT to port 0", asking("CONNECT 127.0.0.1:0 HTTP/1.1"), 400),
        ("CONNECT to a path", asking("CONNECT /x HTTP/1.1"), 400),
        ("CONNECT to a URL", asking("CONNECT http://127.0.0.1:80/ HTTP/1.1"), 400),
        ("CONNECT to an open bracket", asking("CONNECT [::1:80 HTTP/1.1"), 400),
        ("a field without a colon", with("broken\r\n"), 400),
        ("a field with a zero", with("X: a\0b\r\n"), 400),
        ("a field name with a space", with("X y: a\r\n"), 400),
        ("two lengths", with("Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
        ("a length that is none", with("Content-Length: -1\r\n"), 400),
        ("a coding that is none", with("Transfer-Encoding: nonsense\r\n"), 400),
        ("300 fields", with(&many), 431),
        ("a field of 200 kB", with(&long), 431),
        ("a target of 200 kB", asking(&format!("GET http://127.0.0.1/{} HTTP/1.1", "x".repeat(200_000))), 431),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, expected) in &cases {
        for finish in [true, false] {
            let answer = tell(scene.rig.ports().http, bytes, finish);
            let head = answer.as_deref().map(String::from_utf8_lossy);
            let status = head.as_ref().and_then(|head| head.get(9..12)?.parse::<u16>().ok());
            // Whoever finishes its half before the answer is gone, as far as HTTP is concerned; and oversize input may
            // be cut off before the answer is read.
            let may_be_gone = finish || *expected > 407 || *expected == 0;
            let gone = may_be_gone && head.as_ref().is_some_and(|head| head.is_empty());
            if status != Some(*expected) && !gone {
                wrong.push(format!("{what}, finished {finish}: not {expected} but {head:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Never the whole head came: no answer is due.
    assert_eq!(tell(scene.rig.ports().http, &good.as_bytes()[..30], true), Some(Vec::new()));
    // A body that breaks off takes its request with it.
    let broken = scene.forward("POST", "Content-Length: 100\r\n\r\nonly this");
    let answer = tell(scene.rig.ports().http, broken.as_bytes(), true).expect("an end");
    println!("a body that breaks off: {:?}", String::from_utf8_lossy(&answer).lines().next());
    let broken = scene.forward("POST", "Transfer-Encoding: chunked\r\n\r\nzz\r\nnonsense");
    let answer = tell(scene.rig.ports().http, broken.as_bytes(), true).expect("an end");
    println!("a chunk that is none: {:?}", String::from_utf8_lossy(&answer).lines().next());
    assert!(scene.rig.metric("mexegate_connections_refused_total{reason=\"request-malformed\"}") > 20.0);
    scene.left_clean();
}

#[test]
fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    let scene = Scene::set("");
    let conversations = [
        (scene.rig.ports().socks, raw::socks_request(&scene.who, scene.target), "ok"),
        (scene.rig.ports().http, raw::connect_request(&scene.who, scene.target), "ok"),
        (scene.rig.ports().http, scene.forward("GET", "Connection: close\r\n\r\n").into_bytes(), "ok"),
    ];
    for (address, bytes, end) in &conversations {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for byte in bytes {
            stream.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
        // What follows the request is the flow's; a forward request has nothing to follow.
        let _ = stream.write_all(b"x");
        let answer = read_all(&mut stream).expect("the server ends it");
        assert!(answer.ends_with(end.as_bytes()), "{:?}", String::from_utf8_lossy(&answer));
    }
    scene.left_clean();
}

#[test]
fn whoever_is_slow_or_silent_is_sent_away_in_time() {
    let scene = Scene::set("handshake = \"1s\"");
    let socks = raw::socks_request(&scene.who, scene.target);
    let connect = raw::connect_request(&scene.who, scene.target);
    let forward = scene.forward("GET", "\r\n").into_bytes();
    let ports = scene.rig.ports();
    std::thread::scope(|scope| {
        for (address, bytes) in [(ports.socks, &socks), (ports.http, &connect), (ports.http, &forward)] {
            // Silent from the start; silent in the middle; a byte every 100 ms.
            for (sent, pause) in [(0, None), (7, None), (0, Some(Duration::from_millis(100)))] {
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(&bytes[..sent]).unwrap();
                    let began = Instant::now();
                    if let Some(pause) = pause {
                        for byte in bytes {
                            if stream.write_all(&[*byte]).is_err() || began.elapsed() > Duration::from_secs(5)
                            {
                                break;
                            }
                            std::thread::sleep(pause);
                            if raw::hung_up(&stream, Duration::ZERO).is_some() || raw::unread(&stream) > 2 {
                                break;
                            }
                        }
                    }
                    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    let answer = read_all(&mut stream);
                    let (took, whom) = (began.elapsed(), format!("{sent} bytes, {pause:?}, {address}"));
                    assert!(answer.is_some(), "{whom}: still open after {took:.1?}");
                    let answer = answer.unwrap_or_default();
                    println!(
                        "{whom}: {:?} after {took:.2?}",
                        String::from_utf8_lossy(&answer).lines().next()
                    );
                    assert!((0.9..2.5).contains(&took.as_secs_f64()), "{whom}: after {took:.2?}");
                    assert!(
                        !answer.starts_with(b"HTTP/1.1 2") && answer.len() != 14,
                        "{whom}: it was served"
                    );
                });
            }
        }
    });
    let told = scene.rig.journal(["--reason", "handshake-timeout"]);
    assert!(told.iter().any(|record| record["ingress"] == "socks5"), "{told:?}");
    assert!(
        told.iter().any(|record| record["ingress"] != "socks5"),
        "the HTTP door journals it, too: {told:?}"
    );
    scene.left_clean();
}

#[test]
fn thousands_of_mutations_break_nothing() {
    const EACH: usize = 1500;
    let scene = Scene::set("handshake = \"2s\"\nconnect = \"1s\"");
    let ports = scene.rig.ports();
    let seeds = [
        (ports.socks, [raw::socks_request(&scene.who, scene.target), b"hello".to_vec()].concat()),
        (ports.http, [raw::connect_request(&scene.who, scene.target), b"hello".to_vec()].concat()),
        (ports.http, scene.forward("GET", "Connection: close\r\nX-Y: z\r\n\r\n").into_bytes()),
        (
            ports.http,
            scene.forward("POST", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").into_bytes(),
        ),
    ];
    let mut random = Random::new();
    std::thread::scope(|scope| {
        for (address, seed) in &seeds {
            let mut random = random.split();
            scope.spawn(move || {
                let (mut answered, mut served) = (0, 0);
                for turn in 0..EACH {
                    let bytes = mutated(seed, &mut random);
                    let finish = random.below(8) > 0;
                    let mut stream = TcpStream::connect(address).unwrap();
                    let _ = stream.write_all(&bytes);
                    if !finish {
                        // Gone without a word, with whatever is in flight.
                        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                        continue;
                    }
                    let _ = stream.shutdown(Shutdown::Write);
                    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
                    let answer = read_all(&mut stream);
                    assert!(
                        answer.is_some(),
                        "mutation {turn} is still open: {:?}",
                        String::from_utf8_lossy(&bytes)
                    );
                    let answer = answer.unwrap_or_default();
                    answered += usize::from(!answer.is_empty());
                    served += usize::from(answer.ends_with(b"ok"));
                }
                println!("{address}: {EACH} mutations, {answered} answered, {served} served all the same");
            });
        }
    });
    scene.left_clean();
}

/// One to four small things done to a conversation.
fn mutated(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len().max(1));
        match random.below(7) {
            0 | 1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            3 => bytes.insert(at, random.next() as u8),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            5 => bytes.truncate(at),
            _ => {
                let from = random.below(seed.len());
                let piece = seed[from..(from + random.below(40)).min(seed.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}
