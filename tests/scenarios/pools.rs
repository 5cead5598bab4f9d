//! Nobody takes what is others' (security rule S5): strangers have places of their own, an app its share of the rest and
//! of the journal, a run its limits; and what is too slow, too much or too late is refused by its reason.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rig::exact::{Http, Way, ask, credentials, socks};
use rig::raw::{Credentials, basic};
use rig::{Origin, Rig, wait};
use rustix::process::Signal;
use serde_json::Value;

/// An app with a session permission for the whole loopback, and the credentials of a run of it.
fn permitted(rig: &Rig, domain: &str) -> (String, Credentials) {
    let app = rig.app(domain);
    let run = rig.run(&app);
    rig.grant(&app, "network.connect=127.0.0.0/8", "session");
    let who = credentials(&app, &run);
    (app, who)
}

/// Whether bytes go through the tunnel both ways.
fn carries(tunnel: &mut TcpStream) -> bool {
    let request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answer = Vec::new();
    let mut byte = [0];
    let mut came = tunnel.write_all(request).is_ok();
    while came && !answer.ends_with(b"\r\n\r\nhello\n") {
        came = tunnel.read_exact(&mut byte).is_ok();
        answer.push(byte[0]);
    }
    came && answer.starts_with(b"HTTP/1.1 200")
}

#[test]
fn a_flood_of_strangers_takes_nothing_from_those_who_said_who_they_are() {
    let rig = Rig::builder().section("limits", "handshake = \"2s\"").start();
    let origin = Origin::start();
    let (_, who) = permitted(&rig, "third-party");
    let port = origin.address().port();
    let mut tunnels: Vec<_> =
        (0..5).map(|_| socks(rig.ports().socks, &who, "127.0.0.1", port).unwrap()).collect();
    let before = rig.fds();
    // Silent, half a greeting, half a request; four times as many as the gate has places for them.
    let flood: Vec<_> = (0..512)
        .map(|n| {
            let address = if n % 2 == 0 { rig.ports().socks } else { rig.ports().http };
            let mut stranger = TcpStream::connect(address).expect("the kernel's queue takes it");
            let start = ["", "", "\u{5}\u{1}", "CONNECT 127."][n % 4];
            stranger.write_all(start.as_bytes()).unwrap();
            stranger
        })
        .collect();
    wait::until("the places of strangers to be taken", || (rig.fds() >= before + 100).then_some(()));
    assert!(
        rig.fds() < before + 200,
        "{} descriptors more: the rest has to wait outside",
        rig.fds() - before
    );
    for tunnel in &mut tunnels {
        assert!(carries(tunnel), "an open tunnel goes on");
    }
    // Newcomers who say who they are get in, and it is the strangers who have to go.
    for way in Way::ALL {
        assert_eq!(ask(&rig, way, &who, "127.0.0.1", port), "hello", "{way:?}");
    }
    assert_eq!(rig.json(["flows"])["items"].as_array().unwrap().len(), 5);
    drop(flood);
    wait::until("all strangers to be gone", || (rig.fds() <= before).then_some(()));
}

#[test]
fn one_app_leaves_places_for_the_others() {
    let rig = Rig::builder().section("limits", "connections = 40\nconnections_per_run = 30").start();
    let origin = Origin::start();
    let (greedy, first) = permitted(&rig, "third-party");
    let second = credentials(&greedy, &rig.run(&greedy));
    rig.grant(&greedy, "network.connect=127.0.0.0/8", "session");
    let (_, modest) = permitted(&rig, "operator");
    let port = origin.address().port();
    let open = |who: &Credentials| socks(rig.ports().socks, who, "127.0.0.1", port);
    let mut held = Vec::new();
    // One run has its limit, the app with all its runs another: the last twentieth is for others.
    for (who, most) in [(&first, 30), (&second, 8)] {
        while let Ok(tunnel) = open(who) {
            held.push(tunnel);
            assert!(held.len() <= 38);
        }
        assert_eq!(held.len(), if most == 30 { 30 } else { 38 });
        for way in Way::ALL {
            assert_eq!(ask(&rig, way, who, "127.0.0.1", port), "limit-connections");
        }
    }
    for way in Way::ALL {
        assert_eq!(ask(&rig, way, &modest, "127.0.0.1", port), "hello");
    }
    held.extend([open(&modest).unwrap(), open(&modest).unwrap()]);
    assert_eq!(
        ask(&rig, Way::Connect, &modest, "127.0.0.1", port),
        "limit-connections",
        "now all 40 are taken"
    );
    assert!(held.iter_mut().all(carries));
    // What is given back is there again.
    held.clear();
    wait::until("the flows to end", || {
        rig.json(["flows"])["items"].as_array().unwrap().is_empty().then_some(())
    });
    for who in [&first, &second, &modest] {
        assert_eq!(ask(&rig, Way::Forward, who, "127.0.0.1", port), "hello");
    }
}

#[test]
fn a_run_opens_no_more_in_a_second_than_it_may() {
    let rig = Rig::builder().section("limits", "new_connections_per_second_per_run = 4").start();
    let origin = Origin::start();
    let (app, who) = permitted(&rig, "third-party");
    let other = credentials(&app, &rig.run(&app));
    rig.grant(&app, "network.connect=127.0.0.0/8", "session");
    let port = origin.address().port();
    let began = Instant::now();
    let answers: Vec<_> = (0..24).map(|n| ask(&rig, Way::ALL[n % 2], &who, "127.0.0.1", port)).collect();
    let (yes, no): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| *answer == "hello");
    // Four at once, and four more for each second that this took.
    let most = 4.0 + 4.0 * began.elapsed().as_secs_f64() + 1.0;
    assert!(yes.len() >= 4 && (yes.len() as f64) <= most, "{answers:?}");
    assert!(!no.is_empty() && no.iter().all(|answer| *answer == "limit-rate"), "{answers:?}");
    assert_eq!(ask(&rig, Way::Socks, &other, "127.0.0.1", port), "hello", "another run has its own");
    wait::until("the run to be let in again", || {
        (ask(&rig, Way::Connect, &who, "127.0.0.1", port) == "hello").then_some(())
    });
    let refused = rig.journal(["--reason", "limit-rate", "--app", &app]);
    assert!(!refused.is_empty());
}

/// How many refusals by that reason the journal tells of for an app, and in how many records.
fn told(rig: &Rig, app: &str, reason: &str) -> (u64, usize) {
    let records = rig.journal(["--app", app, "--reason", reason, "--decision", "deny"]);
    let count = |record: &Value| record["count"].as_u64().unwrap_or(1);
    (records.iter().map(count).sum(), records.len())
}

#[test]
fn refusals_of_one_kind_are_counted_together_and_none_is_lost() {
    let rig = Rig::start();
    let (noisy, quiet) = (rig.app("third-party"), rig.app("operator"));
    let (loud, soft) = (credentials(&noisy, &rig.run(&noisy)), credentials(&quiet, &rig.run(&quiet)));
    let mut http = Http::to(rig.ports().http);
    let request = format!(
        "GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1:9\r\nProxy-Authorization: {}\r\n\r\n",
        basic(&loud)
    );
    for _ in 0..20 {
        http.send(request.repeat(20));
        for _ in 0..20 {
            assert_eq!(http.answer().expect("a refusal").reason(), "permission-missing");
        }
    }
    assert_eq!(ask(&rig, Way::Forward, &soft, "127.0.0.1", 9), "permission-missing");
    let (_, records) = wait::until("all 400 to be told of", || {
        let told = told(&rig, &noisy, "permission-missing");
        (told.0 == 400).then_some(told)
    });
    assert!(records <= 40, "400 equal refusals in {records} records");
    assert_eq!(told(&rig, &quiet, "permission-missing"), (1, 1), "another app's is not among them");
    rig.json(["journal", "verify"]);
}

#[test]
fn an_app_has_a_quota_of_refusals_in_the_journal() {
    let rig = Rig::start();
    let noisy = rig.app("third-party");
    let loud = credentials(&noisy, &rig.run(&noisy));
    let mut http = Http::to(rig.ports().http);
    // Each for another target, so that no two are equal.
    for n in 0..900_u32 {
        let target = format!("10.0.{}.{}:9", n / 250, n % 250 + 1);
        http.send(format!(
            "GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {}\r\n\r\n",
            basic(&loud)
        ));
        assert_eq!(http.answer().expect("a refusal").reason(), "permission-missing");
    }
    let (_, records) = told(&rig, &noisy, "permission-missing");
    assert!((500..=620).contains(&records), "{records} records of 900 refusals");
    // What was beyond is counted at the latest when the gate ends.
    let mut rig = rig;
    assert!(rig.stop().success());
    assert_eq!(told(&rig, &noisy, "permission-missing").0, 900);
    rig.json(["journal", "verify"]);
}

#[test]
fn who_is_too_slow_to_ask_is_let_go() {
    let rig = Rig::builder().section("limits", "handshake = \"400ms\"").start();
    let before = rig.fds();
    let starts: [&[u8]; 6] = [
        b"",
        b"\x05",
        b"\x05\x01\x02",
        b"\x05\x01\x02\x01\x05abc",
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost",
        b"G",
    ];
    for (n, start) in starts.iter().enumerate() {
        let mut slow = TcpStream::connect(if n < 4 { rig.ports().socks } else { rig.ports().http }).unwrap();
        slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        slow.write_all(start).unwrap();
        let mut rest = Vec::new();
        // An answer may come before the end; the end has to come.
        let _ = slow.read_to_end(&mut rest);
        assert!(!matches!(slow.read(&mut [0]), Ok(n) if n > 0), "{n}");
    }
    let records = wait::until("the timeouts in the journal", || {
        let records = rig.journal(["--reason", "handshake-timeout", "--decision", "deny"]);
        let by = |door: &str| records.iter().any(|record| record["ingress"] == door);
        (by("socks5") && by("http-forward")).then_some(records)
    });
    assert!(records.iter().all(|record| record["app"].is_null()), "nobody said who it was: {records:?}");
    wait::until("the descriptors to be given back", || (rig.fds() <= before).then_some(()));
}

#[test]
fn a_request_byte_by_byte_is_a_request() {
    let rig = Rig::start();
    let origin = Origin::start();
    let (_, who) = permitted(&rig, "third-party");
    let mut http = Http::to(rig.ports().http);
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nProxy-Authorization: {}\r\n\r\n",
        origin.url("/hello"),
        origin.address(),
        basic(&who)
    );
    for byte in request.bytes() {
        http.send([byte]);
    }
    assert_eq!(http.answer().expect("the page").body, b"hello\n");
    let mut tunnel = TcpStream::connect(rig.ports().socks).unwrap();
    tunnel.set_nodelay(true).unwrap();
    for byte in rig::raw::socks_request(&who, origin.address()) {
        tunnel.write_all(&[byte]).unwrap();
    }
    let mut answers = [0; 2 + 2 + 10];
    tunnel.read_exact(&mut answers).unwrap();
    assert_eq!((&answers[..4], answers[5]), (&[5, 2, 1, 0][..], 0));
    assert!(carries(&mut tunnel));
}

#[test]
fn what_socks_offers_beyond_connect_is_refused_by_name() {
    let rig = Rig::start();
    let (app, who) = permitted(&rig, "third-party");
    for (command, reply) in [(2_u8, 7), (3, 7), (9, 7)] {
        let mut bytes = rig::raw::socks_request(&who, "127.0.0.1:80".parse().unwrap());
        let at = bytes.len() - 9;
        bytes[at] = command;
        let mut stream = TcpStream::connect(rig.ports().socks).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer[..4], [5, 2, 1, 0], "{command}: {answer:?}");
        assert_eq!(answer[4..6], [5, reply], "{command}: {answer:?}");
    }
    let record = wait::until("the record", || rig.journal(["--reason", "command-unsupported"]).pop());
    assert_eq!((&record["decision"], &record["app"]), (&"deny".into(), &app.as_str().into()));
}

#[test]
fn a_flow_that_nobody_uses_ends() {
    let rig = Rig::builder().section("limits", "idle = \"700ms\"").start();
    let origin = Origin::start();
    let (app, who) = permitted(&rig, "third-party");
    let began = Instant::now();
    let mut tunnel = socks(rig.ports().socks, &who, "127.0.0.1", origin.address().port()).unwrap();
    assert!(carries(&mut tunnel));
    let mut busy = socks(rig.ports().socks, &who, "127.0.0.1", origin.address().port()).unwrap();
    let mut rest = Vec::new();
    tunnel.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let ended = wait::until("the idle tunnel to end", || {
        assert!(carries(&mut busy), "the other one is used");
        match tunnel.read_to_end(&mut rest) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            _ => Some(began.elapsed()),
        }
    });
    assert!(ended >= Duration::from_millis(700), "{ended:?}");
    let record = wait::until("the record", || rig.journal(["--reason", "idle-timeout", "--app", &app]).pop());
    assert_eq!(record["kind"], "flow-end");
}

#[test]
fn a_gate_that_stops_refuses_by_name_and_cuts_at_its_deadline() {
    let mut rig = Rig::builder().section("limits", "drain = \"1500ms\"").start();
    let origin = Origin::start();
    let (app, who) = permitted(&rig, "third-party");
    let mut tunnel = socks(rig.ports().socks, &who, "127.0.0.1", origin.address().port()).unwrap();
    // One that has said who it is and not yet where to.
    let mut halfway = TcpStream::connect(rig.ports().socks).unwrap();
    halfway.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let bytes = rig::raw::socks_request(&who, origin.address());
    let (start, request) = bytes.split_at(bytes.len() - 10);
    halfway.write_all(start).unwrap();
    halfway.read_exact(&mut [0; 4]).unwrap();
    rig.signal(Signal::TERM);
    wait::until("the listener to be closed", || TcpStream::connect(rig.ports().socks).is_err().then_some(()));
    assert!(carries(&mut tunnel), "an open tunnel has time to finish");
    halfway.write_all(request).unwrap();
    let mut reply = [0; 2];
    halfway.read_exact(&mut reply).unwrap();
    assert_ne!(reply[1], 0, "no new flow");
    let mut rest = Vec::new();
    let _ = tunnel.read_to_end(&mut rest);
    assert!(rig.ended().success());
    let records = rig.journal(["--app", &app, "--reason", "gate-stopping"]);
    let kinds: Vec<_> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"decision") && kinds.contains(&"flow-end"), "{records:?}");
    rig.json(["journal", "verify"]);
}

#[test]
fn bodies_and_packages_have_their_size() {
    let rig = Rig::builder().section("limits", "package = \"4 KiB\"\nbody = \"1 KiB\"").start();
    let app = rig.app("third-party");
    let large = "x".repeat(2000);
    let body = format!(
        "{{\"app\":\"{app}\",\"action\":\"network.connect\",\"permission\":\"single\",\"target\":\"{large}\"}}"
    );
    for path in ["/v1/grants".to_owned(), "/v1/decisions".to_owned(), format!("/v1/apps/{app}/runs")] {
        let reply = rig.api(["--data", &body], &path);
        assert_eq!(
            (reply.status, reply.reason().as_deref()),
            (413, Some("body-too-large")),
            "{path}: {}",
            reply.text()
        );
    }
    let package = rig.folder().join("large.jar");
    std::fs::write(&package, vec![b'P'; 5000]).unwrap();
    let refused =
        rig.cli(["--json", "app", "install", package.to_str().unwrap()]).ended(rig::cli::code::REFUSED);
    assert_eq!(refused.text("reason"), "package-too-large");
    assert_eq!(rig.json(["app", "list"])["items"].as_array().unwrap().len(), 1);
    let left = std::fs::read_dir(rig.state_dir().join("packages")).unwrap().count();
    assert_eq!(left, 1, "nothing of it is kept");
}
