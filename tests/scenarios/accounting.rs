//! Accounts of what apps moved: every byte once, over restarts and through every door; and thresholds, beyond which the user
//! is asked, always or only where the device is roaming.

use std::time::{Duration, Instant};

use mexe_forge::usim::{Card, CardKind};
use rig::bulk::{Bulk, Pace, To, Way};
use rig::cli::code;
use rig::origin::Origin;
use rig::raw::Door;
use rig::verbs::{cli, done};
use rig::{Association, Builder, ContextHabits, Control, FakeModem, Habits, Peer, Rig, packages, wait};
use serde_json::{Value, json};

/// Local days are UTC's here, whatever the machine's zone is.
fn usual() -> Builder {
    Rig::builder().variable("TZ", "UTC0")
}

fn usage(rig: &Rig, by: &str) -> Vec<Value> {
    done(rig, &["usage", "--by", by])["items"].as_array().unwrap().clone()
}

fn sum(rows: &[Value], field: &str) -> u64 {
    rows.iter().map(|row| row[field].as_u64().unwrap()).sum()
}

/// What the journal says that ended flows moved.
fn journalled(rig: &Rig) -> (u64, u64, u64) {
    let records = rig.journal([""; 0]);
    let ends: Vec<_> = records.into_iter().filter(|record| record["kind"] == "flow-end").collect();
    let of = |field: &str| ends.iter().map(|end| end[field].as_u64().unwrap_or(0)).sum();
    (of("bytes_up"), of("bytes_down"), ends.len() as u64)
}

#[test]
fn every_byte_is_counted_once_through_every_door_and_over_restarts() {
    let (mut rig, origin) = (usual().start(), Origin::start());
    let (app, other) = (rig.app("third-party"), rig.app("operator"));
    let mut expected = 0;
    for turn in 0..3 {
        for app in [&app, &other] {
            rig.grant(app, "network.connect=127.0.0.1", "blanket");
            rig.grant(app, "network.datagram=127.0.0.1", "blanket");
            let mut control = Control::of(&rig);
            let (_, who) = control.run(app);
            let run = rig.run(app);
            let big = origin.url("/big?bytes=300000");
            assert_eq!(rig.curl(["--proxy", &run.http, &big]).body.len(), 300_000);
            assert_eq!(rig.curl(["--proxytunnel", "--proxy", &run.http, &big]).body.len(), 300_000);
            assert_eq!(rig.curl(["--proxy", &run.socks, &big]).body.len(), 300_000);
            let peer = Peer::start();
            let association = Association::open(rig.ports().socks, &who).unwrap();
            association.send(peer.address(), b"datagram");
            peer.echo();
            association.receive();
            expected += 900_000 + 8;
        }
        wait::until("the flows' ends", || (journalled(&rig).2 >= (turn + 1) * 8).then_some(()));
        if turn == 0 {
            rig.stop();
        } else {
            // What was asked for is written down: a gate that is killed afterwards has lost nothing of it.
            usage(&rig, "app");
            rig.kill();
        }
        rig.start_again();
    }
    let rows = usage(&rig, "day,app,class,bearer");
    let (up, down, flows) = journalled(&rig);
    assert_eq!((sum(&rows, "bytes_up"), sum(&rows, "bytes_down")), (up, down), "{rows:#?}");
    assert_eq!(sum(&rows, "flows"), flows);
    assert!(down >= expected, "{down} of {expected}");
    for row in &rows {
        assert_eq!((&row["bearer"], &row["dropped_up"]), (&json!("default"), &json!(0)), "{row}");
        assert_eq!(row["day"].as_str().map(str::len), Some(10));
    }
    // Added up otherwise it is the same.
    for by in ["app", "class", "bearer", "day", "class,app"] {
        let rows = usage(&rig, by);
        assert_eq!((sum(&rows, "bytes_up"), sum(&rows, "bytes_down")), (up, down), "{by}: {rows:#?}");
        assert_eq!(rows[0].as_object().unwrap().len(), 6 + by.split(',').count());
    }
    assert_eq!(usage(&rig, "app").len(), 2);
    let own = done(&rig, &["usage", &app, "--by", "app"]);
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    assert_eq!(own["items"][0]["app"], json!(app));
    assert!(done(&rig, &["usage", "--since", "2020-01-01", "--until", "2020-12-31"])["items"] == json!([]));
}

#[test]
fn an_open_flow_is_counted_while_it_is_open() {
    let rig = usual().start();
    let app = rig.app("third-party");
    let mut control = Control::of(&rig);
    control.grant(&app, "127.0.0.1", "session");
    let (_, who) = control.run(&app);
    let bulk = Bulk::begin(rig.ports(), &who, Way::Tunnel(Door::Connect), To::Client, Pace::Still);
    let before = usage(&rig, "app");
    assert_eq!((sum(&before, "flows"), sum(&before, "bytes_down") > 0), (1, true), "{before:?}");
    wait::until("time to pass", || (sum(&usage(&rig, "app"), "flow_ms") > 200).then_some(()));
    drop(bulk);
}

#[test]
fn what_comes_in_is_what_goes_on_and_what_is_dropped() {
    const PROFILE: &str = "name = \"slow\"\ndescription = \"slow\"\nclass = \"background\"\nmax_bitrate_up = \"8 kbit/s\"\n\
                           max_bitrate_down = \"8 kbit/s\"\nburst = 2000\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("slow.toml"), PROFILE).unwrap();
    let profiles = format!("profiles = \"{}\"\ndefault_profile = \"slow\"", folder.path().display());
    let rig = usual().section("qos", &profiles).start();
    let app = rig.app("third-party");
    rig.grant(&app, "network.datagram=127.0.0.1", "blanket");
    let (_, who) = Control::of(&rig).run(&app);
    let peer = Peer::start();
    let association = Association::open(rig.ports().socks, &who).unwrap();
    association.send(peer.address(), &[7; 1000]);
    assert_eq!(peer.receive().1.len(), 1000);
    // From here on the flow is open, and what is dropped is dropped of it.
    for _ in 1..20 {
        association.send(peer.address(), &[7; 1000]);
    }
    let rows = wait::until("all of them", || {
        let rows = usage(&rig, "app");
        (sum(&rows, "bytes_up") + sum(&rows, "dropped_up") >= 20_000).then_some(rows)
    });
    assert_eq!(sum(&rows, "bytes_up") + sum(&rows, "dropped_up"), 20_000, "{rows:?}");
    assert!(sum(&rows, "bytes_up") <= 4_000, "{rows:?}");
}

#[test]
fn what_is_wrong_about_a_question_is_said() {
    let rig = usual().start();
    for (path, word) in [
        ("/v1/usage?by=colour", "`colour`"),
        ("/v1/usage?since=2026-02-30", "since"),
        ("/v1/usage?since=2026-03-02&until=2026-03-01", "`since` is after `until`"),
        ("/v1/usage?from=2026-03-02", "from"),
    ] {
        let reply = rig.api([""; 0], path);
        assert_eq!((reply.status, reply.reason().as_deref()), (400, Some("request-malformed")), "{path}");
        assert!(reply.text().contains(word), "{path}: {}", reply.text());
    }
    for line in [
        &["usage", "threshold", "50"][..],
        &["usage", "threshold", "0MB"],
        &["usage", "threshold", "1MB", "--per", "year"],
        &["usage", "remove", "x"],
    ] {
        cli(&rig, line).ended(code::USAGE);
    }
    let output = cli(&rig, &["usage", "threshold", "1MB", "--app", "nobody"]);
    assert_eq!(output.ended(code::FAULT).json["reason"], "app-unknown");
    assert_eq!(cli(&rig, &["usage", "remove", "7"]).ended(code::FAULT).json["reason"], "not-found");
}

#[test]
fn beyond_a_threshold_what_is_open_is_cut_and_nothing_opens_until_it_is_permitted() {
    let (mut rig, origin) = (usual().start(), Origin::start());
    let (app, other) = (rig.app("third-party"), rig.app("operator"));
    for app in [&app, &other] {
        rig.grant(app, "network.connect=127.0.0.1", "blanket");
    }
    let set = done(&rig, &["usage", "threshold", "1MB", "--app", &app]);
    assert_eq!(
        (&set["bytes"], &set["per"], &set["reached"]),
        (&json!(1_000_000), &json!("day"), &json!(false))
    );
    let mut control = Control::of(&rig);
    let (_, who) = control.run(&app);
    let run = rig.run(&app);
    let hello = origin.url("/hello");
    assert_eq!(rig.curl(["--proxy", &run.http, &hello]).text(), "hello\n");
    // It has moved little, and stands open.
    let still = Bulk::begin(rig.ports(), &who, Way::Tunnel(Door::Connect), To::Client, Pace::Still);
    still.cut_by(|| {
        let got = rig.curl(["--proxy", &run.http, &origin.url("/big?bytes=1500000")]);
        assert_eq!(got.body.len(), 1_500_000, "what is moved before it is looked is moved");
    });
    wait::until("its end in the journal", || {
        let said = rig.journal(["--reason", "usage-threshold"]);
        said.iter().any(|record| record["kind"] == "flow-end").then_some(())
    });
    for _ in 0..2 {
        assert_eq!(rig.curl(["--proxy", &run.http, &hello]).reason().as_deref(), Some("usage-threshold"));
    }
    // Others are not concerned.
    assert_eq!(rig.curl(["--proxy", &rig.run(&other).http, &hello]).text(), "hello\n");
    let listed = &done(&rig, &["usage", "thresholds"])["items"][0];
    assert_eq!((&listed["reached"], &listed["app"]), (&json!(true), &json!(app)));

    // One more flow, and no other.
    rig.grant(&app, "network.usage", "single");
    let replies: Vec<_> = (0..3).map(|_| rig.curl(["--proxy", &run.http, &hello])).collect();
    assert_eq!(replies[0].text(), "hello\n");
    for reply in &replies[1..] {
        assert_eq!(reply.reason().as_deref(), Some("usage-threshold"));
    }
    // As long as it is permitted what is open stays open.
    let grant = rig.grant(&app, "network.usage", "session");
    let still = Bulk::begin(rig.ports(), &who, Way::Tunnel(Door::Connect), To::Client, Pace::Still);
    assert_eq!(rig.curl(["--proxy", &run.http, &hello]).text(), "hello\n");
    still.cut_by(|| done(&rig, &["revoke", &grant]));
    // The sums and the threshold outlive the gate.
    rig.stop();
    rig.start_again();
    let run = rig.run(&app);
    assert_eq!(rig.curl(["--proxy", &run.http, &hello]).reason().as_deref(), Some("usage-threshold"));
    let id = done(&rig, &["usage", "thresholds"])["items"][0]["id"].to_string();
    done(&rig, &["usage", "remove", &id]);
    assert_eq!(rig.curl(["--proxy", &run.http, &hello]).text(), "hello\n");
    assert_eq!(done(&rig, &["usage", "thresholds"])["items"], json!([]));
}

#[test]
fn beyond_a_threshold_the_user_is_asked() {
    let (rig, origin) = (usual().section("policy", "prompt_wait = \"20s\"").start(), Origin::start());
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    done(&rig, &["usage", "threshold", "1B", "--per", "month"]);
    let run = rig.run(&app);
    let hello = origin.url("/hello");
    // Nothing was moved yet.
    assert_eq!(rig.curl(["--proxy", &run.http, &hello]).text(), "hello\n");
    for (answer, outcome) in [("allow", Ok("hello\n")), ("deny", Err("prompt-denied"))] {
        let reply = std::thread::scope(|scope| {
            let asks = scope.spawn(|| rig.curl(["--proxy", &run.http, &hello]));
            let prompt = wait::until("the question", || {
                let open = done(&rig, &["prompts"])["items"].as_array().unwrap().clone();
                open.into_iter().find(|prompt| prompt["state"] == "open")
            });
            assert_eq!((&prompt["action"], &prompt["app"]), (&json!("network.usage"), &json!(app)));
            assert!(prompt["covers"].as_str().unwrap().contains("threshold"), "{prompt}");
            done(&rig, &["answer", prompt["id"].as_str().unwrap(), answer, "--permission", "single"]);
            asks.join().unwrap()
        });
        match outcome {
            Ok(text) => assert_eq!(reply.text(), text),
            Err(reason) => assert_eq!(reply.reason().as_deref(), Some(reason)),
        }
    }
}

/// A gate whose only way is that modem.
fn on(modem: &FakeModem) -> Rig {
    let mut rig = usual().prepare();
    let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
    let port = modem.port().display();
    text.push_str(&format!("[[bearer]]\nname = \"mobile\"\nkind = \"modem\"\ndevice = \"{port}\"\n"));
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    rig
}

fn is_now(rig: &Rig, roaming: &Value) {
    let mut control = Control::of(rig);
    wait::until(&format!("a bearer that is up and roaming: {roaming}"), || {
        let bearer = control.list("/v1/bearers").remove(0);
        (bearer["state"] == "up" && bearer["roaming"] == *roaming).then_some(())
    });
}

/// The device registers there, and the modem tells so.
fn registers(rig: &Rig, modem: &FakeModem, stat: u8, roaming: bool) {
    let said: &'static str = if roaming { "0,5" } else { "0,1" };
    modem.with_contexts(|side| {
        side.registered.insert("+CEREG", said);
    });
    modem.say(&format!("+CEREG: {stat}"));
    is_now(rig, &json!(roaming));
}

fn moved(rig: &Rig, roaming: bool) -> u64 {
    let rows = usage(rig, "day,roaming");
    rows.iter()
        .filter(|row| row["roaming"] == roaming)
        .map(|row| sum(std::slice::from_ref(row), "bytes_down"))
        .sum()
}

#[test]
fn only_what_is_moved_roaming_counts_for_a_threshold_on_roaming() {
    let contexts = Some(ContextHabits::default());
    let modem = FakeModem::start(Some(&Card::new(CardKind::Usim)), Habits { contexts, ..Habits::default() });
    let (mut rig, origin) = (on(&modem), Origin::start());
    is_now(&rig, &json!(false));
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    let set = done(&rig, &["usage", "threshold", "100kB", "--roaming"]);
    assert_eq!((&set["when"], &set["moved"], &set["reached"]), (&json!("roaming"), &json!(0), &json!(false)));
    let (_, who) = Control::of(&rig).run(&app);
    let run = rig.run(&app);
    let get = |rig: &Rig, run: &rig::Run, bytes: usize| {
        rig.curl(["--proxy", &run.http, &origin.url(&format!("/big?bytes={bytes}"))])
    };
    // At home nothing is asked about, however much it is.
    for _ in 0..2 {
        assert_eq!(get(&rig, &run, 300_000).body.len(), 300_000);
    }
    let still = Bulk::begin(rig.ports(), &who, Way::Tunnel(Door::Connect), To::Client, Pace::Still);
    // Its queues fill at the bearer's rate.
    let (mut last, mut since) = (0, Instant::now());
    let home = wait::until("it to be stuck", || {
        let now = moved(&rig, false);
        if std::mem::replace(&mut last, now) != now {
            since = Instant::now();
        }
        (now > 610_000 && since.elapsed() > Duration::from_millis(500)).then_some(now)
    });
    registers(&rig, &modem, 5, true);
    // What an open flow has moved was moved at home.
    assert_eq!((moved(&rig, true), moved(&rig, false) >= home), (0, true));
    assert_eq!(rig.metric("mexegate_bearer_roaming{bearer=\"mobile\"}"), 1.0);
    let (listed, limit) = (done(&rig, &["usage", "thresholds"]), json!(false));
    assert_eq!(listed["items"][0]["reached"], limit, "{listed}");
    still.cut_by(|| assert_eq!(get(&rig, &run, 150_000).body.len(), 150_000));
    let refused = |rig: &Rig, run: &rig::Run| {
        assert_eq!(get(rig, run, 1).reason().as_deref(), Some("usage-threshold"));
    };
    refused(&rig, &run);
    // Both sums are those of the journal.
    wait::until("the flows' ends", || (journalled(&rig).2 == 4).then_some(()));
    assert_eq!(moved(&rig, true) + moved(&rig, false), journalled(&rig).1);
    assert!(moved(&rig, true) >= 150_000);
    registers(&rig, &modem, 1, false);
    assert_eq!(get(&rig, &run, 1000).body.len(), 1000);
    // All of it outlives the gate.
    let before = (moved(&rig, true), moved(&rig, false));
    rig.stop();
    modem.with_contexts(|side| {
        side.registered.insert("+CEREG", "0,5");
    });
    rig.start_again();
    is_now(&rig, &json!(true));
    assert_eq!((moved(&rig, true), moved(&rig, false)), before);
    let run = rig.run(&app);
    refused(&rig, &run);
    // A modem that does not say may be anywhere.
    registers(&rig, &modem, 1, false);
    assert_eq!(get(&rig, &run, 1000).body.len(), 1000);
    // While it looks for a network it is where it was.
    let asked = || modem.heard().iter().filter(|line| *line == "AT+CREG?").count();
    let before = asked();
    modem.with_contexts(|side| side.registered.values_mut().for_each(|said| *said = "0,2"));
    modem.say("+CEREG: 2");
    wait::until("it to be asked to the end", || (asked() > before).then_some(()));
    is_now(&rig, &json!(false));
    assert_eq!(get(&rig, &run, 1000).body.len(), 1000);
    modem.with_contexts(|side| side.registered.clear());
    modem.say("+CEREG: 0");
    is_now(&rig, &Value::Null);
    refused(&rig, &run);
    let said = rig.journal(["--kind", "change"]);
    let said: Vec<_> = said.iter().filter(|record| record["action"] == "bearer.roaming").collect();
    assert!(said.iter().any(|record| record["detail"]["roaming"] == true), "{said:?}");
    let id = done(&rig, &["usage", "thresholds"])["items"][0]["id"].to_string();
    done(&rig, &["usage", "remove", &id]);
    assert_eq!(get(&rig, &run, 1000).body.len(), 1000);
}

#[test]
fn whether_another_bearer_is_roaming_is_said_by_the_configuration() {
    let origin = Origin::start();
    let mut rig = usual().prepare();
    let usual = std::fs::read_to_string(rig.config_file()).unwrap();
    let with = |roaming: &str| format!("{usual}[[bearer]]\nname = \"wire\"\nkind = \"static\"\n{roaming}\n");
    packages::write(&rig.config_file(), with("").as_bytes());
    rig.start_again();
    is_now(&rig, &Value::Null);
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    done(&rig, &["usage", "threshold", "1B", "--roaming", "--bearer", "wire"]);
    let run = rig.run(&app);
    let hello = origin.url("/hello");
    let reply = || rig.curl(["--proxy", &run.http, &hello]);
    for _ in 0..2 {
        assert_eq!(reply().text(), "hello\n", "a device is at home unless it is said");
    }
    packages::write(&rig.config_file(), with("roaming = true").as_bytes());
    rig.signal(rustix::process::Signal::HUP);
    is_now(&rig, &json!(true));
    assert_eq!(reply().text(), "hello\n");
    wait::until("it to be counted", || {
        (reply().reason().as_deref() == Some("usage-threshold")).then_some(())
    });
    packages::write(&rig.config_file(), with("").as_bytes());
    rig.signal(rustix::process::Signal::HUP);
    is_now(&rig, &Value::Null);
    assert_eq!(reply().text(), "hello\n");
}
