//! Tokens (security rule S3): 256 bits, shown once, kept as a hash in memory only. Wherever else bytes end up, in the
//! journal, the log at its loudest, the state directory, the metrics, an answer, upstream, no token is among them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rig::exact::{Http, Way, ask, credentials, socks};
use rig::raw::{Credentials, basic};
use rig::{Origin, Rig};

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push((path.display().to_string(), fs::read(&path).expect("a file of the rig")));
        }
    }
    found
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// The forms in which a secret could slip out: itself, base64 as the header has it, its raw bytes.
fn forms(who: &Credentials) -> Vec<String> {
    let header = basic(who)["Basic ".len()..].to_owned();
    // Base64 of the token at each of the three places it may have in a group.
    let middle = header[header.len() / 2..header.len() - 4].to_owned();
    vec![who.token.clone(), who.token.to_uppercase(), header, middle]
}

#[test]
fn no_token_is_logged_journalled_stored_or_passed_on() {
    let mut rig = Rig::builder().variable("RUST_LOG", "trace").start();
    let origin = Origin::start();
    let (app, untrusted) = (rig.app("third-party"), rig.app("unsigned"));
    let (run, ended, other) = (rig.run(&app), rig.run(&app), rig.run(&untrusted));
    let who = credentials(&app, &run);
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    rig.json(["app", "stop", &ended.run]);
    let port = origin.address().port();
    // What works, what is refused for want of anything, what is malformed: by each way.
    for way in Way::ALL {
        assert_eq!(ask(&rig, way, &who, "127.0.0.1", port), "hello");
        assert_eq!(ask(&rig, way, &who, "10.0.0.1", port), "target-out-of-scope");
        assert_eq!(ask(&rig, way, &who, "127.1", port), "name-not-allowed");
        assert_eq!(ask(&rig, way, &credentials(&untrusted, &other), "127.0.0.1", port), "untrusted-app");
        let late = ask(&rig, way, &credentials(&app, &ended), "127.0.0.1", port);
        assert!(["credentials-wrong", "not authenticated"].contains(&late.as_str()), "{late}");
    }
    for head in [
        format!(
            "GET http://{}/hello HTTP/1.1\r\nHost: x\r\nProxy-Authorization: {}\r\n\r\n",
            origin.address(),
            basic(&who)
        ),
        format!("GET http://{app}:{}@{}/hello HTTP/1.1\r\nHost: x\r\n\r\n", run.token, origin.address()),
        format!(
            "CONNECT {app}:{}@127.0.0.1:80 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: {}\r\n\r\n",
            run.token,
            basic(&who)
        ),
        format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", run.token, run.token),
        format!("Proxy-Authorization: {}\r\n\r\n", basic(&who)),
    ] {
        let mut http = Http::to(rig.ports().http);
        http.send(head);
        let answer = http.answer().expect("a refusal");
        for form in forms(&who) {
            assert!(!answer.head.contains(&form) && !holds(&answer.body, &form), "{answer:?}");
        }
    }
    // The halves of the credentials swapped, as a careless client sends them.
    let swapped = Credentials { app: run.token.clone(), token: app.clone() };
    assert_eq!(socks(rig.ports().socks, &swapped, "127.0.0.1", port).err(), Some(0xff));
    // On the API, right and wrong; a token as a question's text.
    let console = rig.console_token();
    for header in [
        format!("Authorization: Bearer {}", run.token),
        format!("Authorization: {}", basic(&who)),
        format!("X: {console}"),
    ] {
        let url = format!("http://{}/v1/decisions", rig.ports().console);
        rig.curl([
            "--header",
            &header,
            "--data",
            "{\"action\":\"network.connect\",\"target\":\"127.0.0.1:80\"}",
            &url,
        ]);
        rig.curl(["--header", &header, "--data", &format!("{{\"run\":\"{}\"}}", run.token), &url]);
        rig.curl(["--header", &header, &format!("http://{}/v1/apps/{}", rig.ports().console, run.token)]);
    }
    let shown: Vec<String> = [
        rig.cli(["--json", "runs"]).stdout,
        rig.cli(["runs"]).stdout,
        rig.cli(["--json", "flows"]).stdout,
        rig.cli(["--json", "app", "show", &app]).stdout,
        rig.cli(["--json", "journal"]).stdout,
        rig.cli(["journal"]).stdout,
        rig.cli(["--json", "doctor"]).stdout,
        rig.api([] as [&str; 0], "/v1/status").text(),
        rig.api([] as [&str; 0], "/v1/journal").text(),
        rig.health("metrics").text(),
        rig.health("readyz").text(),
        fs::read_to_string(format!("/proc/{}/cmdline", rig.pid())).unwrap(),
    ]
    .into();
    for fault in ["app", "stop"] {
        // Verbs that name a run by its secret do not repeat it in what is written down.
        rig.cli([fault, "stop", &run.token]);
    }
    assert!(rig.stop().success());
    let mut places = files(rig.folder());
    assert!(rig.log().contains("serving"), "the log is one of the files");
    places.extend(shown.into_iter().map(|text| ("an answer".to_owned(), text.into_bytes())));
    places.extend(origin.heads().into_iter().map(|head| ("the origin".to_owned(), head.into_bytes())));
    assert!(places.len() > 20 && places.iter().any(|(place, _)| place.ends_with("mexegate.db")));
    for secret in [&who, &credentials(&app, &ended), &credentials(&untrusted, &other)] {
        for form in forms(secret) {
            for (place, bytes) in &places {
                assert!(!holds(bytes, &form), "{form} is in {place}");
            }
        }
    }
    for (place, bytes) in places.iter().filter(|(place, _)| !place.ends_with("console.token")) {
        assert!(!holds(bytes, &console), "the console's token is in {place}");
    }
}

#[test]
fn tokens_are_256_bits_and_never_the_same() {
    let mut rig = Rig::start();
    let app = rig.app("third-party");
    let mut seen = BTreeSet::new();
    let mut ones = 0;
    for _ in 0..40 {
        let run = rig.run(&app);
        assert!(
            run.token.len() == 64 && run.token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            "{}",
            run.token
        );
        ones += run.token.chars().map(|digit| digit.to_digit(16).unwrap().count_ones()).sum::<u32>();
        assert!(seen.insert(run.token.clone()));
        assert_eq!(run.socks, format!("socks5h://{app}:{}@{}", run.token, rig.ports().socks));
        assert_eq!(run.http, format!("http://{app}:{}@{}", run.token, rig.ports().http));
    }
    // 10,240 fair coins: seven standard deviations either way.
    assert!((4766..=5474).contains(&ones), "{ones} of 10240 bits are set");
    let console = rig.console_token();
    rig.kill();
    rig.start_again();
    assert_ne!(rig.console_token(), console, "the console's token is another after a restart");
    let url = format!("http://{}/v1/runs", rig.ports().console);
    assert_eq!(rig.curl(["--header", &format!("Authorization: Bearer {console}"), &url]).status, 401);
    assert!(rig.json(["runs"])["items"].as_array().unwrap().is_empty(), "a restart ends all runs");
}
