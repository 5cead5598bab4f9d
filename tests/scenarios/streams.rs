//! Streams (the MExE QoS API): an app asks for its own and sees no other, more than best effort needs the permission, a
//! flow uses the stream that it names, and whoever loses the right or the room goes on as best effort and is told.

use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use rig::exact::{Way, ask, socks};
use rig::raw::Credentials;
use rig::streams::{App, id, next, said, word};
use rig::{Association, Control, Origin, Output, Peer, Rig, packages, wait};
use serde_json::{Value, json};

/// A gate whose bearer carries so much each way, kbit/s; 80 of 100 may be promised.
fn with_bearer(kbit: u32) -> Rig {
    let mut rig = Rig::builder().prepare();
    carries(&rig, kbit);
    rig.start_again();
    rig
}

fn carries(rig: &Rig, kbit: u32) {
    let text = std::fs::read_to_string(rig.config_file()).unwrap();
    let text = text.split("[[bearer]]").next().unwrap();
    let bearer = format!(
        "[[bearer]]\nname = \"mobile\"\nkind = \"static\"\nuplink = \"{kbit} kbit/s\"\ndownlink = \"{kbit} kbit/s\"\n"
    );
    packages::write(&rig.config_file(), format!("{text}{bearer}").as_bytes());
}

#[test]
fn an_app_sees_and_touches_only_the_streams_of_its_own_run() {
    let rig = Rig::start();
    let one = App::begin(&rig, "operator");
    let two = App::begin(&rig, "third-party");
    let same = App::again(&rig, &one.id);
    let stream = one.ask(json!({ "name": "sync", "class": "background" }));
    assert_eq!((&stream["app"], &stream["run"]), (&json!(one.id), &json!(one.run)));
    assert_eq!((one.own().len(), two.own().len(), same.own().len()), (1, 0, 0));
    let path = format!("/v1/streams/{}", id(&stream));
    for other in [&two, &same] {
        assert_eq!(other.api("DELETE", &path, &json!({})).1["reason"], "not-found");
        assert_eq!(other.api("PATCH", &path, &json!({ "max_sdu": 500 })).1["reason"], "not-found");
    }
    assert_eq!(two.refused(json!({ "run": one.run })), "role-missing");
    assert_eq!(two.refused(json!({ "app": one.id })), "role-missing");
    // What others are told is not for this one, and the user sees all of them.
    let told = two.told();
    two.ask(json!({ "name": "own" }));
    assert_eq!(next(&told).0, "admitted");
    let all = rig.json(["streams"]);
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(rig.metric("mexegate_streams_open{class=\"background\"}"), 2.0);
    assert_eq!(one.api("DELETE", &path, &json!({})).0, 204);
    let own = two.own();
    rig.json(["qos", "release", id(&own[0])]);
    assert_eq!(next(&told), ("released".to_owned(), id(&own[0]).to_owned()));
    assert_eq!(rig.metric("mexegate_streams_open"), 0.0);
}

#[test]
fn more_than_best_effort_needs_the_permission_and_goes_with_it() {
    let rig = Rig::start();
    let origin = Origin::start();
    let app = App::begin(&rig, "third-party");
    rig.grant(&app.id, "network.connect=127.0.0.1", "session");
    let call = json!({ "name": "call", "profile": "voice" });
    assert_eq!(app.refused(call.clone()), "qos-not-permitted");
    let refusal = rig.journal(["--app", &app.id, "--action", "network.qos"]).pop().unwrap();
    assert_eq!((&refusal["decision"], &refusal["reason"]), (&json!("deny"), &json!("permission-missing")));

    let grant = rig.grant(&app.id, "network.qos", "session");
    let told = app.told();
    let stream = app.ask(call);
    assert_eq!((&stream["class"], &stream["state"]), (&json!("conversational"), &json!("admitted")));
    assert_eq!(stream["grant"], grant);
    assert_eq!(next(&told), ("admitted".to_owned(), id(&stream).to_owned()));
    // The operator keeps the upper levels to its own apps.
    let arp = word(&stream, "arp");
    assert_eq!((arp.1.as_str(), stream["attributes"]["arp"]["level"].as_u64()), ("operator", Some(9)));
    assert_eq!(word(&stream, "guaranteed_bitrate_up"), said("31 kbit/s", "profile", None));
    assert_eq!(rig.metric("mexegate_streams_open{class=\"conversational\"}"), 1.0);

    // A flow that is open goes on, but as everybody's do.
    let named = Credentials { app: format!("{}+call", app.id), token: app.who.token.clone() };
    let port = origin.address().port();
    let _tunnel = socks(rig.ports().socks, &named, "127.0.0.1", port).unwrap();
    let flow = || rig.json(["flows"])["items"][0].clone();
    assert_eq!((&flow()["class"], &flow()["stream"]), (&json!("conversational"), &stream["id"]));
    assert_eq!(app.own()[0]["flows"], 1);
    assert_eq!(tos_to(port), ["0xb8"]);
    rig.json(["revoke", &grant]);
    assert_eq!(next(&told), ("degraded".to_owned(), id(&stream).to_owned()));
    let (class, state, reason) = app.state(id(&stream));
    assert_eq!((class, state, reason), (json!("background"), json!("degraded"), json!("permission-revoked")));
    wait::until("the open flow to be as everybody's", || (flow()["class"] == "background").then_some(()));
    assert_eq!(tos_to(port), Vec::<String>::new());
    assert_eq!(rig.metric("mexegate_flows_open{class=\"conversational\"}"), 0.0);
    let written = rig.journal(["--action", "stream.degrade"]).pop().unwrap();
    assert_eq!(
        (&written["reason"], &written["detail"]["stream"]),
        (&json!("permission-revoked"), &stream["id"])
    );

    // Asked for again with a new permission, it is what it was; and with its run it ends.
    let path = format!("/v1/streams/{}", id(&stream));
    assert_eq!(app.api("PATCH", &path, &json!({})).1["reason"], "qos-not-permitted");
    rig.grant(&app.id, "network.qos", "session");
    let (status, again) = app.api("PATCH", &path, &json!({ "max_bitrate_up": "64 kbit/s" }));
    assert_eq!(
        (status, &again["class"], &again["state"]),
        (200, &json!("conversational"), &json!("admitted"))
    );
    assert_eq!(word(&again, "max_bitrate_up"), said("64 kbit/s", "app", None));
    wait::until("the flow to have its class again", || (flow()["class"] == "conversational").then_some(()));
    rig.json(["app", "stop", &app.run]);
    wait::until("the stream to end", || {
        rig.json(["streams"])["items"].as_array().unwrap().is_empty().then_some(())
    });
}

/// The marks other than none of the open connections to a port, as the kernel shows them.
fn tos_to(port: u16) -> Vec<String> {
    let port = format!(":{port}");
    let args = ["--tcp", "--numeric", "--no-header", "--tos", "state", "established", "dport", "=", &port];
    let shown = Output::of(Command::new("ss").args(args)).stdout;
    let marks = shown.split_whitespace().filter_map(|word| word.strip_prefix("tos:"));
    marks.filter(|mark| *mark != "0" && *mark != "0x0").map(str::to_owned).collect()
}

#[test]
fn a_single_permission_is_for_one_stream_and_the_user_is_asked_like_for_everything() {
    let rig = Rig::builder().section("policy", "prompt_wait = \"20s\"").start();
    let app = App::begin(&rig, "third-party");
    let mut control = Control::of(&rig);
    let grant = rig.grant(&app.id, "network.qos", "single");
    let stream = app.ask(json!({ "class": "interactive" }));
    assert_eq!(stream["grant"], grant);
    assert_eq!(word(&stream, "traffic_handling_priority"), said("3", "class", None));
    // The next one is asked for. A no holds for the run; the next run may ask again.
    let (status, problem) = answered(&mut control, &app, "deny");
    assert_eq!((status, &problem["reason"]), (403, &json!("prompt-denied")), "{problem}");
    assert_eq!(app.refused(json!({ "class": "streaming" })), "prompt-denied");
    let app = App::again(&rig, &app.id);
    let (status, stream) = answered(&mut control, &app, "allow");
    assert_eq!((status, &stream["class"]), (201, &json!("streaming")), "{stream}");
    // For the session, so nobody is asked for the next one.
    app.ask(json!({ "class": "streaming" }));
    assert_eq!(control.list("/v1/prompts").len(), 0);
}

/// The app asks for a stream, and the user answers that it may or not, for the session.
fn answered(control: &mut Control, app: &App<'_>, answer: &str) -> (u16, Value) {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| app.api("POST", "/v1/streams", &json!({ "class": "streaming" })));
        let question = wait::until("the question", || {
            control.list("/v1/prompts").into_iter().find(|prompt| prompt["state"] == "open")
        });
        assert_eq!(question["action"], "network.qos");
        let path = format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap());
        let said = match answer {
            "allow" => json!({ "answer": "allow", "permission": "session" }),
            _ => json!({ "answer": "deny" }),
        };
        control.done("POST", &path, Some(&said));
        asked.join().unwrap()
    })
}

#[test]
fn a_flow_uses_the_stream_that_it_names_and_no_other() {
    let rig = Rig::start();
    let origin = Origin::start();
    let app = App::begin(&rig, "third-party");
    rig.grant(&app.id, "network.connect=127.0.0.1", "session");
    rig.grant(&app.id, "network.qos", "session");
    let stream = app.ask(json!({ "name": "film", "class": "streaming" }));
    let url = origin.url("/hello");
    let journalled = || {
        let record =
            rig.journal(["--app", &app.id, "--decision", "allow", "--action", "network.connect"]).pop();
        let record = record.unwrap();
        (record["class"].clone(), record["detail"].clone())
    };
    let socks = |user: &str| format!("socks5h://{user}:{}@{}", app.who.token, rig.ports().socks);
    let http = format!("http://{}:{}@{}", app.id, app.who.token, rig.ports().http);
    for called in ["film", id(&stream)] {
        let expected = (json!("streaming"), json!({ "stream": stream["id"] }));
        let reply = rig.curl(["--proxy", &socks(&format!("{}+{called}", app.id)), &url]);
        assert_eq!((reply.text().trim(), journalled()), ("hello", expected.clone()));
        let header = format!("MExE-Stream: {called}");
        let reply = rig.curl(["--proxy", &http, "--proxytunnel", "--proxy-header", &header, &url]);
        assert_eq!((reply.text().trim(), journalled()), ("hello", expected));
    }
    // How urgent a tunnel is says which interactive flow it is; a stream goes before it.
    let tunnel = |headers: &[&str]| {
        let mut args = vec!["--proxy", &http, "--proxytunnel", &url];
        headers.iter().for_each(|header| args.extend(["--proxy-header", header]));
        rig.curl(args)
    };
    assert_eq!(tunnel(&["Priority: u=1"]).text().trim(), "hello");
    assert_eq!(journalled(), (json!("interactive"), Value::Null));
    assert_eq!(tunnel(&["Priority: u=7"]).text().trim(), "hello");
    assert_eq!(journalled().0, "background");
    assert_eq!(tunnel(&["Priority: u=1", "MExE-Stream: film"]).text().trim(), "hello");
    assert_eq!(journalled().0, "streaming");
    // A forwarded request says so as well.
    let forwarded = |header: &str| rig.curl(["--proxy", &http, "-H", header, &url]);
    assert_eq!(forwarded("MExE-Stream: film").text().trim(), "hello");
    assert_eq!(journalled(), (json!("streaming"), json!({ "stream": stream["id"] })));
    assert_eq!(forwarded("Priority: u=0").text().trim(), "hello");
    assert_eq!(journalled().0, "interactive");
    assert_eq!(forwarded("MExE-Stream: another").status, 403);
    // Without a name it is as before, and a name that is none of this run's opens nothing.
    assert_eq!(ask(&rig, Way::Socks, &app.who, "127.0.0.1", origin.address().port()), "hello");
    assert_eq!(journalled(), (json!("background"), Value::Null));
    let other = App::again(&rig, &app.id);
    let foreign = other.ask(json!({ "name": "theirs" }));
    for none in ["theirs", id(&foreign), "stream-999", "", "film+film"] {
        let before = origin.connections();
        let reply = rig.curl(["--proxy", &socks(&format!("{}+{none}", app.id)), &url]);
        assert_ne!(reply.status, 200, "{none}");
        let reply = tunnel(&[&format!("MExE-Stream: {none}")]);
        assert!(none.is_empty() || reply.connect_status == 403, "{none}: {reply:?}");
        assert!(none.is_empty() || origin.connections() == before, "{none}");
    }
    let refused = rig.journal(["--app", &app.id, "--decision", "deny", "--reason", "not-found"]);
    assert!(!refused.is_empty());
    // A name is no way around the token.
    let wrong = format!("socks5h://{}+film:{}@{}", app.id, "0".repeat(64), rig.ports().socks);
    assert_eq!(rig.curl(["--proxy", &wrong, &url]).status, 0);
}

#[test]
fn no_origin_sees_which_stream_a_request_names_and_every_one_its_urgency() {
    let rig = Rig::start();
    let app = App::begin(&rig, "third-party");
    rig.grant(&app.id, "network.connect=127.0.0.1", "session");
    app.ask(json!({ "name": "slow" }));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let head: Vec<String> = BufReader::new(&client)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        client.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
        head
    });
    let http = format!("http://{}:{}@{}", app.id, app.who.token, rig.ports().http);
    let reply = rig.curl(["--proxy", &http, "-H", "MExE-Stream: slow", "-H", "Priority: u=5", &url]);
    assert_eq!(reply.status, 204);
    let heard = heard.join().unwrap();
    assert!(heard.iter().any(|line| line.eq_ignore_ascii_case("priority: u=5")), "{heard:?}");
    assert!(!heard.iter().any(|line| line.to_ascii_lowercase().starts_with("mexe-")), "{heard:?}");
}

#[test]
fn an_open_flow_follows_the_rate_of_its_stream() {
    let rig = Rig::start();
    let origin = Origin::start();
    let app = App::begin(&rig, "third-party");
    rig.grant(&app.id, "network.connect=127.0.0.1", "session");
    let stream = app.ask(json!({ "name": "slow", "max_bitrate_down": "800 kbit/s" }));
    let socks = format!("socks5h://{}+slow:{}@{}", app.id, app.who.token, rig.ports().socks);
    let http = format!("http://{}:{}@{}", app.id, app.who.token, rig.ports().http);
    follows(&rig, &app, id(&stream), &["--proxy", &socks, &origin.url("/big?bytes=2000000")]);
    // Forwarded, it is another hand that moves the bytes.
    let path = format!("/v1/streams/{}", id(&stream));
    app.api("PATCH", &path, &json!({ "max_bitrate_down": "800 kbit/s" }));
    let named = ["--proxy", &http, "-H", "MExE-Stream: slow", &origin.url("/big?bytes=2000000")];
    follows(&rig, &app, id(&stream), &named);
}

/// A download over a stream of 800 kbit/s becomes fast when the stream does.
fn follows(rig: &Rig, app: &App<'_>, stream: &str, download: &[&str]) {
    let began = Instant::now();
    let reply = std::thread::scope(|scope| {
        let download = scope.spawn(|| rig.curl(download));
        let moved = || rig.json(["flows"])["items"][0]["bytes_down"].as_u64().unwrap_or_default();
        wait::until("some of it to arrive", || (moved() > 50_000).then_some(()));
        assert!(moved() < 1_000_000, "100,000 bytes a second are all that it has");
        let path = format!("/v1/streams/{stream}");
        let (status, faster) = app.api("PATCH", &path, &json!({ "max_bitrate_down": "80 Mbit/s" }));
        assert_eq!((status, word(&faster, "max_bitrate_down")), (200, said("80 Mbit/s", "app", None)));
        download.join().unwrap()
    });
    assert_eq!(reply.body.len(), 2_000_000);
    // It would have taken 20 seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn datagrams_of_a_stream_are_marked_as_it_is_and_from_its_change_on_as_it_is_then() {
    let rig = Rig::start();
    let peer = Peer::start();
    let app = App::begin(&rig, "third-party");
    rig.grant(&app.id, "network.datagram=127.0.0.1", "session");
    let grant = rig.grant(&app.id, "network.qos", "session");
    let stream = app.ask(json!({ "name": "call", "profile": "voice" }));
    let named = Credentials { app: format!("{}+call", app.id), token: app.who.token.clone() };
    let association = Association::open(rig.ports().socks, &named).unwrap();
    let exchange = || {
        association.send(peer.address(), b"speech");
        assert_eq!(peer.echo(), b"speech");
        assert_eq!(association.receive().1, b"speech");
    };
    exchange();
    let flow = || rig.json(["flows"])["items"][0].clone();
    assert_eq!((&flow()["class"], &flow()["stream"]), (&json!("conversational"), &stream["id"]));
    assert_eq!(app.own()[0]["dscp"], json!({ "number": 46, "name": "EF" }));
    rig.json(["revoke", &grant]);
    wait::until("the marked flow to end", || {
        rig.json(["flows"])["items"].as_array().unwrap().is_empty().then_some(())
    });
    // The association stands, and what is sent now goes as everybody's does.
    exchange();
    assert_eq!((&flow()["class"], &flow()["stream"]), (&json!("background"), &stream["id"]));
    assert_eq!(app.own()[0]["dscp"], json!({ "number": 0, "name": "default" }));
}

#[test]
fn a_more_important_stream_displaces_others_who_are_told_and_have_their_room_back_after_it() {
    let rig = with_bearer(100);
    let weak = App::begin(&rig, "third-party");
    let strong = App::begin(&rig, "operator");
    for app in [&weak, &strong] {
        rig.grant(&app.id, "network.qos", "session");
    }
    let wish = |rate: u32, level: u32, displaces: bool| {
        json!({
            "class": "conversational",
            "guaranteed_bitrate_up": format!("{rate} kbit/s"),
            "arp": { "level": level, "pre_emption_capability": displaces, "pre_emption_vulnerability": true },
        })
    };
    let told = weak.told();
    let small = weak.ask(wish(20, 12, false));
    let large = weak.ask(wish(50, 10, false));
    assert_eq!((next(&told).0, next(&told).0), ("admitted".to_owned(), "admitted".to_owned()));
    // 80 of 100 are promised at most, 70 are taken; best effort is always admitted.
    assert_eq!(strong.refused(wish(11, 5, false)), "qos-not-admitted");
    strong.ask(json!({ "class": "interactive" }));
    // Nobody outside the operator's domain is more important than level 9.
    assert_eq!(weak.refused(wish(81, 12, false)), "qos-not-admitted");
    let strong_stream = strong.ask(wish(25, 3, true));
    assert_eq!(strong_stream["attributes"]["arp"]["level"], 3);
    // One had to go: the smaller is less important, and its 20 are enough.
    assert_eq!(next(&told), ("degraded".to_owned(), id(&small).to_owned()));
    let lost = (json!("background"), json!("degraded"), json!("qos-displaced"));
    assert_eq!(weak.state(id(&small)), lost);
    assert_eq!(weak.state(id(&large)).1, "admitted");
    let written = rig.journal(["--action", "stream.degrade", "--reason", "qos-displaced"]);
    assert_eq!((written.len(), &written[0]["detail"]["stream"]), (1, &small["id"]));
    let request = rig.journal(["--action", "stream.request"]).pop().unwrap();
    assert_eq!(request["detail"]["displaced"], json!([small["id"]]));
    // A change that finds no room leaves the stream as it was.
    let path = format!("/v1/streams/{}", id(&large));
    let (status, problem) = weak.api("PATCH", &path, &json!({ "guaranteed_bitrate_up": "60 kbit/s" }));
    assert_eq!((status, &problem["reason"]), (409, &json!("qos-not-admitted")));
    assert_eq!(weak.state(id(&large)), (json!("conversational"), json!("admitted"), Value::Null));
    // The room is given back to who lost it.
    rig.json(["qos", "release", id(&strong_stream)]);
    assert_eq!(next(&told), ("restored".to_owned(), id(&small).to_owned()));
    assert_eq!(weak.state(id(&small)), (json!("conversational"), json!("admitted"), Value::Null));
}

#[test]
fn a_smaller_bearer_takes_guarantees_by_importance_and_a_larger_one_gives_them_back() {
    let rig = with_bearer(100);
    let app = App::begin(&rig, "operator");
    rig.grant(&app.id, "network.qos", "session");
    let told = app.told();
    let ask = |level: u32| {
        let stream = app.ask(json!({
            "class": "streaming",
            "guaranteed_bitrate_down": "30 kbit/s",
            "arp": { "level": level, "pre_emption_vulnerability": true },
        }));
        assert_eq!(next(&told).0, "admitted");
        stream
    };
    let (less, more) = (ask(8), ask(2));
    carries(&rig, 50);
    rig.signal(rustix::process::Signal::HUP);
    wait::until("the less important one to give way", || {
        (app.state(id(&less)).2 == "qos-not-admitted").then_some(())
    });
    let kept = app.own().into_iter().find(|stream| stream["id"] == more["id"]).unwrap();
    assert_eq!(kept["state"], "admitted");
    // What nobody asked to be limited is limited by what the bearer carries.
    assert_eq!(word(&kept, "max_bitrate_down"), said("50 kbit/s", "subscription", None));
    carries(&rig, 100);
    rig.signal(rustix::process::Signal::HUP);
    wait::until("it to be restored", || (app.state(id(&less)).1 == "admitted").then_some(()));
}

#[test]
fn what_is_out_of_range_is_negotiated_and_what_makes_no_sense_is_refused_with_its_reason() {
    let rig = with_bearer(1_000);
    let app = App::begin(&rig, "third-party");
    rig.grant(&app.id, "network.qos", "session");
    let stream = app.ask(json!({
        "class": "conversational",
        "max_bitrate_up": "1000 Gbit/s",
        "guaranteed_bitrate_up": "900 kbit/s",
        "transfer_delay": 1,
        "traffic_handling_priority": 2,
        "max_sdu": u64::MAX,
        "sdu_error_ratio": "2e-9",
        "arp": { "level": 0 },
    }));
    assert_eq!(word(&stream, "max_bitrate_up"), said("1 Mbit/s", "subscription", Some("capped")));
    assert_eq!(word(&stream, "guaranteed_bitrate_up"), said("800 kbit/s", "subscription", Some("capped")));
    assert_eq!(word(&stream, "transfer_delay"), said("10 ms", "app", Some("out-of-range")));
    assert_eq!(word(&stream, "max_sdu"), said("1520 octets", "app", Some("out-of-range")));
    assert_eq!(word(&stream, "sdu_error_ratio"), said("1e-6", "app", Some("out-of-range")));
    assert_eq!(word(&stream, "traffic_handling_priority"), said("", "app", Some("not-in-class")));
    assert_eq!(stream["attributes"]["arp"]["level"], 9);
    let path = format!("/v1/streams/{}", id(&stream));
    for bad in [
        json!({ "class": "best" }),
        json!({ "class": 7 }),
        json!({ "max_bitrate_up": "2000 Gbit/s" }),
        json!({ "max_bitrate_up": 1000 }),
        json!({ "max_bitrate_up": "0 kbit/s" }),
        json!({ "transfer_delay": -1 }),
        json!({ "transfer_delay": 1e300 }),
        json!({ "max_sdu": "large" }),
        json!({ "sdu_error_ratio": "1" }),
        json!({ "arp": { "level": 3, "queue": true } }),
        json!({ "arp": 3 }),
        json!({ "warp": 9 }),
        json!({ "profile": "warp-speed" }),
        json!({ "profile": 3 }),
        json!([]),
        json!("voice"),
    ] {
        assert_eq!(app.refused(bad.clone()), "request-malformed", "{bad}");
        assert_eq!(app.api("PATCH", &path, &bad).1["reason"], "request-malformed", "{bad}");
    }
    for name in ["", "Call", "a+b", "a b", "stream-1", &"x".repeat(33)] {
        assert_eq!(app.refused(json!({ "name": name })), "request-malformed", "{name}");
    }
    app.ask(json!({ "name": "twice" }));
    assert_eq!(app.refused(json!({ "name": "twice" })), "request-malformed");
    for none in ["stream-999", "stream-", "x", "%00"] {
        let (status, problem) = app.api("DELETE", &format!("/v1/streams/{none}"), &json!({}));
        assert_eq!((status, &problem["reason"]), (404, &json!("not-found")), "{none}");
    }
    assert_eq!(app.own().len(), 2, "nothing of that left anything behind");
    // Nobody fills the gate with streams.
    for _ in 2..64 {
        app.ask(json!({}));
    }
    assert_eq!(app.refused(json!({})), "limit-connections");
}

#[test]
fn the_command_line_asks_changes_and_releases_and_explain_says_where_each_value_comes_from() {
    let rig = with_bearer(1_000);
    let app = App::begin(&rig, "third-party");
    rig.grant(&app.id, "network.qos", "session");
    let asked = ["qos", "request", &app.id, "--name", "call", "--class", "conversational"];
    let stream = rig.json(asked.iter().chain(&["--guaranteed-up", "40 kbit/s", "--level", "12"]));
    assert_eq!(word(&stream, "guaranteed_bitrate_up"), said("40 kbit/s", "app", None));
    let changed = rig.json(["qos", "modify", id(&stream), "--max-up", "30 kbit/s"]);
    let word = word(&changed, "guaranteed_bitrate_up");
    assert_eq!(word, said("30 kbit/s", "app", Some("above-maximum")));
    let text = rig.cli(["qos", "modify", id(&stream), "--delay", "5"]).stdout;
    assert!(text.contains("10 ms (app, asked for 5 ms: out-of-range)"), "{text}");
    let table = rig.cli(["streams"]).stdout;
    assert!(table.contains("STREAM") && table.contains("call") && table.contains("admitted"), "{table}");
    let page = rig.api(["-X", "GET"], "/console/quality").text();
    assert!(page.contains(id(&stream)) && page.contains("30 kbit/s"), "{page}");
    rig.json(["qos", "release", id(&stream)]);
    let refused = rig.cli(["--json", "qos", "release", id(&stream)]);
    assert_eq!(refused.json["reason"], "not-found");
    let target = "network.connect=93.184.215.14:5060";
    let explained = rig.json(["explain", &app.id, target])["qos"].clone();
    let given = explained["provenance"].as_array().unwrap();
    let of = |attribute: &str| given.iter().find(|given| given["attribute"] == attribute).unwrap().clone();
    assert_eq!(
        (&of("class")["value"], &of("class")["source"]),
        (&json!("conversational"), &json!("profile"))
    );
    assert_eq!((&of("arp")["source"], &of("arp")["why"]), (&json!("operator"), &json!("capped")));
    let text = rig.cli(["explain", &app.id, target]).stdout;
    assert!(text.contains("guaranteed_bitrate_up") && text.contains("31 kbit/s (profile)"), "{text}");
}
