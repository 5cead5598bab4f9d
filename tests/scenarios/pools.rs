//! Nobody takes what is others' (security rule S5): strangers have places of their own, an app its share of the rest and
//! of the journal; and what is too much at once is refused by its reason.

use std::io::{Read, Write};
use std::net::TcpStream;

use rig::exact::{Http, Way, ask, credentials, socks};
use rig::raw::{Credentials, basic};
use rig::{Origin, Rig, wait};
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
    // A flow that has just ended may still be listed for a moment.
    wait::until("the tunnels alone to be open", || {
        (rig.json(["flows"])["items"].as_array().unwrap().len() == 5).then_some(())
    });
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
    // A place is given back when the gate has seen the end of its connection.
    for way in Way::ALL {
        wait::until("a place", || (ask(&rig, way, &modest, "127.0.0.1", port) == "hello").then_some(()));
    }
    held.extend([(); 2].map(|()| wait::until("a place", || open(&modest).ok())));
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

#[test]
fn silent_connections_to_console_and_metrics_take_no_files_and_keep_nobody_out() {
    let rig = Rig::builder().section("limits", "handshake = \"2s\"").start();
    let before = rig.fds();
    let flood: Vec<_> = (0..600)
        .map(|n| {
            let address = if n % 2 == 0 { rig.ports().console } else { rig.ports().metrics };
            let mut silent = TcpStream::connect(address).expect("the kernel's queue takes it");
            silent.write_all(["", "GET /metrics HT"][n / 2 % 2].as_bytes()).unwrap();
            silent
        })
        .collect();
    wait::until("some to be let in", || (rig.fds() >= before + 20).then_some(()));
    assert!(rig.fds() < before + 100, "{} descriptors more: the rest has to wait", rig.fds() - before);
    // Who scrapes, and the user with the console's token, get through nevertheless.
    assert_eq!(rig.health("metrics").status, 200);
    assert_eq!(rig.api([""; 0], "/v1/status").status, 200);
    drop(flood);
    // Silence has an end, also when nobody else comes.
    let mut silent = TcpStream::connect(rig.ports().metrics).unwrap();
    silent.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}
