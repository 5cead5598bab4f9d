//! The most that an app may move a second: all its connections together, over each door, while they are open, with bearers
//! and without, and after the gate was started again.

use std::time::{Duration, Instant};

use mexe_forge::usim::{Card, CardKind};
use rig::cli::code;
use rig::streams::App;
use rig::verbs::{cli, done};
use rig::{Association, ContextHabits, Control, FakeModem, Habits, Origin, Peer, Rig, packages, wait};
use serde_json::{Value, json};

const BEARER: &str =
    "[[bearer]]\nname = \"wire\"\nkind = \"static\"\nuplink = \"200 Mbit/s\"\ndownlink = \"200 Mbit/s\"\n";

fn on(bearer: &str) -> Rig {
    let mut rig = Rig::builder().prepare();
    let text = std::fs::read_to_string(rig.config_file()).unwrap() + bearer;
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    rig
}

fn app(rig: &Rig, domain: &str) -> String {
    let app = rig.app(domain);
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    rig.grant(&app, "network.datagram=127.0.0.1", "blanket");
    app
}

/// How long it takes to get so many bytes over each of these proxies at once.
fn took(rig: &Rig, origin: &Origin, proxies: &[&str], bytes: usize) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for proxy in proxies {
            let url = origin.url(&format!("/big?bytes={bytes}"));
            scope.spawn(move || assert_eq!(rig.curl(["--proxy", proxy, &url]).body.len(), bytes));
        }
    });
    began.elapsed()
}

#[test]
fn all_connections_of_an_app_keep_to_its_limit_together_and_others_do_not() {
    for bearer in [BEARER, ""] {
        let (mut rig, origin) = (on(bearer), Origin::start());
        let (slow, other) = (app(&rig, "third-party"), app(&rig, "operator"));
        let set = done(&rig, &["app", "limit", &slow, "--down", "1600 kbit/s"]);
        assert_eq!(
            (&set["app"], &set["max_bitrate_down"], &set["max_bitrate_up"]),
            (&json!(slow), &json!("1600 kbit/s"), &Value::Null)
        );
        for turn in 0..2 {
            let (limited, free) = (rig.run(&slow), rig.run(&other));
            // 300,000 bytes at 200,000 a second, less the burst of a tenth of a second.
            let proxies = [&*limited.http, &*limited.socks, &*limited.http];
            let long = took(&rig, &origin, &proxies, 100_000);
            assert!(long > Duration::from_millis(1_300), "turn {turn}: {long:?}");
            // That would take it two minutes.
            let free = took(&rig, &origin, &[&free.http, &free.socks], 12_000_000);
            assert!(free < Duration::from_secs(20), "{free:?}");
            if turn == 0 {
                rig.stop();
                rig.start_again();
            }
        }
        let listed = done(&rig, &["app", "limits"]);
        assert_eq!(listed["items"], json!([set]));
    }
}

#[test]
fn a_limit_is_taken_up_and_let_go_by_what_is_open() {
    let (rig, origin) = (on(BEARER), Origin::start());
    let app = app(&rig, "third-party");
    let run = rig.run(&app);
    let moved = || {
        let flows = done(&rig, &["flows"])["items"].as_array().unwrap().clone();
        flows.first().and_then(|flow| flow["bytes_down"].as_u64()).unwrap_or(0)
    };
    let (long, endless) = (origin.url("/big?bytes=40000000"), origin.url("/big?bytes=4000000000"));
    std::thread::scope(|scope| {
        done(&rig, &["app", "limit", &app, "--down", "80 kbit/s"]);
        let get = scope.spawn(|| rig.curl(["--proxy", &run.http, "--max-time", "60", &long]).body.len());
        wait::until("it to move", || (moved() > 1_000).then_some(()));
        let (before, began) = (moved(), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        let (more, time) = (moved() - before, began.elapsed());
        let most = 10_000.0 * time.as_secs_f64() + 5_000.0;
        assert!((more as f64) < most, "{more} bytes in {time:?}, at most {most}");
        // It would take an hour.
        done(&rig, &["app", "limit", &app, "--none"]);
        assert_eq!(get.join().unwrap(), 40_000_000);
        // And the other way round: what was free is held.
        let get = scope.spawn(|| rig.curl(["--proxy", &run.http, "--max-time", "4", &endless]).body.len());
        wait::until("it to move", || (moved() > 1_000_000).then_some(()));
        done(&rig, &["app", "limit", &app, "--down", "80 kbit/s"]);
        let (before, began) = (moved(), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        let (more, time) = (moved() - before, began.elapsed());
        let most = 10_000.0 * time.as_secs_f64() + 300_000.0;
        assert!((more as f64) < most, "{more} bytes in {time:?}, at most {most}");
        get.join().unwrap();
    });
    assert_eq!(done(&rig, &["app", "limits"])["items"].as_array().unwrap().len(), 1);
    let said = rig.journal(["--kind", "change"]);
    let said: Vec<_> = said.iter().filter_map(|record| record["action"].as_str()).collect();
    let of_limits: Vec<_> = said.into_iter().filter(|action| action.starts_with("limit.")).collect();
    assert_eq!(of_limits.len(), 3, "{of_limits:?}");
}

#[test]
fn datagrams_and_streams_are_held_to_it_too() {
    let rig = on(BEARER);
    let limited = app(&rig, "third-party");
    rig.grant(&limited, "network.qos", "session");
    done(&rig, &["app", "limit", &limited, "--up", "80 kbit/s", "--down", "160 kbit/s"]);
    let app = App::again(&rig, &limited);
    let stream = app.ask(json!({ "name": "call", "class": "conversational",
                                 "guaranteed_bitrate_up": "64 kbit/s", "guaranteed_bitrate_down": "1 Mbit/s" }));
    assert_eq!(stream["attributes"]["guaranteed_bitrate_down"], "160 kbit/s", "{stream}");
    let said = stream["provenance"]
        .as_array()
        .unwrap()
        .iter()
        .find(|said| said["attribute"] == "guaranteed_bitrate_down");
    assert_eq!(said.unwrap()["source"], "user", "{stream}");
    // A stream follows, as it does when a bearer changes.
    done(&rig, &["app", "limit", &limited, "--up", "80 kbit/s", "--down", "120 kbit/s"]);
    assert_eq!(app.own().pop().unwrap()["attributes"]["guaranteed_bitrate_down"], "120 kbit/s");

    let (_, who) = Control::of(&rig).run(&limited);
    let peer = Peer::start();
    let association = Association::open(rig.ports().socks, &who).unwrap();
    association.send(peer.address(), &[7; 1000]);
    assert_eq!(peer.receive().1.len(), 1000);
    let began = Instant::now();
    // As many as surely have room in the queue of a socket.
    for _ in 0..60 {
        association.send(peer.address(), &[7; 1000]);
    }
    let row = wait::until("all of them to be counted", || {
        let rows = done(&rig, &["usage", "--by", "app"])["items"].as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["app"] == limited)?;
        let of = |field: &str| row[field].as_u64().unwrap();
        (of("bytes_up") + of("dropped_up") >= 61_000).then(|| (of("bytes_up"), of("dropped_up")))
    });
    // 10,000 a second, and the burst of a tenth of a second or what the arbiter catches up.
    let most = 10_000.0 * began.elapsed().as_secs_f64() + 4_000.0;
    assert!((row.0 as f64) < most && row.1 > 40_000, "{row:?}, at most {most}");
}

#[test]
fn a_limit_that_is_raised_takes_no_room_from_others() {
    let rig = on(
        "[[bearer]]\nname = \"wire\"\nkind = \"static\"\nuplink = \"1 Mbit/s\"\ndownlink = \"1 Mbit/s\"\n",
    );
    let limited = app(&rig, "third-party");
    let other = app(&rig, "manufacturer");
    for app in [&limited, &other] {
        rig.grant(app, "network.qos", "session");
    }
    done(&rig, &["app", "limit", &limited, "--up", "100 kbit/s", "--down", "100 kbit/s"]);
    let call = json!({ "name": "call", "class": "conversational",
                       "guaranteed_bitrate_up": "600 kbit/s", "guaranteed_bitrate_down": "600 kbit/s" });
    let (first, second) = (App::again(&rig, &limited), App::again(&rig, &other));
    let has = |app: &App<'_>| {
        let stream = app.own().pop().unwrap();
        (stream["state"].clone(), stream["attributes"]["guaranteed_bitrate_up"].clone())
    };
    first.ask(call.clone());
    second.ask(call);
    let (little, much) = ((json!("admitted"), json!("100 kbit/s")), (json!("admitted"), json!("600 kbit/s")));
    assert_eq!((has(&first), has(&second)), (little.clone(), much.clone()));
    done(&rig, &["app", "limit", &limited, "--none"]);
    assert_eq!((has(&first), has(&second)), (little, much.clone()));
    // When there is room, it is had by changing the stream.
    let id = second.own()[0]["id"].as_str().unwrap().to_owned();
    done(&rig, &["qos", "release", &id]);
    let id = first.own()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(first.api("PATCH", &format!("/v1/streams/{id}"), &json!({})).0, 200);
    assert_eq!(has(&first), much);
}

#[test]
fn what_a_network_gives_follows_the_limit() {
    let contexts = Some(ContextHabits::default());
    let modem = FakeModem::start(Some(&Card::new(CardKind::Usim)), Habits { contexts, ..Habits::default() });
    let port = modem.port().display();
    let rig = on(&format!("[[bearer]]\nname = \"mobile\"\nkind = \"modem\"\ndevice = \"{port}\"\n"));
    wait::until("the modem", || (done(&rig, &["bearers"])["items"][0]["state"] == "up").then_some(()));
    let limited = app(&rig, "third-party");
    rig.grant(&limited, "network.qos", "session");
    done(&rig, &["app", "limit", &limited, "--up", "32 kbit/s", "--down", "32 kbit/s"]);
    let app = App::again(&rig, &limited);
    app.ask(json!({ "name": "call", "class": "conversational",
                    "guaranteed_bitrate_up": "64 kbit/s", "guaranteed_bitrate_down": "64 kbit/s" }));
    let becomes = |rate: &str| {
        wait::until(&format!("{rate} from the network"), || {
            let stream = app.own().pop().unwrap();
            let given = &stream["network"]["given"]["guaranteed_bitrate_up"];
            (stream["state"] == "admitted"
                && *given == *rate
                && stream["attributes"]["guaranteed_bitrate_up"] == *rate)
                .then_some(())
        });
    };
    becomes("32 kbit/s");
    done(&rig, &["app", "limit", &limited, "--none"]);
    becomes("64 kbit/s");
    done(&rig, &["app", "limit", &limited, "--up", "48 kbit/s"]);
    becomes("48 kbit/s");
}

#[test]
fn what_is_wrong_about_a_limit_is_said() {
    let rig = on("");
    let app = rig.app("third-party");
    for line in [
        &["app", "limit", &app][..],
        &["app", "limit", &app, "--up", "5"],
        &["app", "limit", &app, "--up", "5 kbit/s", "--none"],
        &["app", "limit", "No App", "--up", "5 kbit/s"],
    ] {
        cli(&rig, line).ended(code::USAGE);
    }
    let output = cli(&rig, &["app", "limit", "nobody", "--up", "5 kbit/s"]);
    assert_eq!(output.ended(code::FAULT).json["reason"], "app-unknown");
    assert_eq!(cli(&rig, &["app", "limit", &app, "--none"]).ended(code::FAULT).json["reason"], "not-found");
    for (body, word) in [
        ("{\"app\": \"APP\"}", "max_bitrate_up"),
        ("{\"app\": \"APP\", \"max_bitrate_up\": \"0 bit/s\"}", "bit rate"),
        ("{\"app\": \"APP\", \"up\": \"5 kbit/s\"}", "up"),
        ("{\"max_bitrate_up\": \"5 kbit/s\"}", "app"),
    ] {
        let body = body.replace("APP", &app);
        let reply = rig.api(["-H", "content-type: application/json", "-d", &body], "/v1/limits");
        assert_eq!((reply.status, reply.reason().as_deref()), (400, Some("request-malformed")), "{body}");
        assert!(reply.text().contains(word), "{body}: {}", reply.text());
    }
    // It outlives the app.
    done(&rig, &["app", "limit", &app, "--up", "5 kbit/s"]);
    done(&rig, &["app", "remove", &app]);
    assert_eq!(done(&rig, &["app", "limits"])["items"][0]["app"], json!(app));
    done(&rig, &["app", "limit", &app, "--none"]);
}
