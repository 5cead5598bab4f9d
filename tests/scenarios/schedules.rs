//! Event schedules: signed off by what they say, used without asking within their hours and budget, and over when those
//! are, for what is open as well.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rig::bulk::{Bulk, Pace, To, Way};
use rig::cli::code;
use rig::exact::credentials;
use rig::origin::Origin;
use rig::raw::Door;
use rig::verbs::{cli, done, file};
use rig::{Association, Builder, Control, Peer, Rig, Run, wait};
use serde_json::{Value, json};

const ALL_DAYS: &str = r#"["mon", "tue", "wed", "thu", "fri", "sat", "sun"]"#;
const ALWAYS: (&str, &str) = ("00:00", "24:00");

/// Local time is UTC here, whatever the machine's zone is.
fn usual() -> Builder {
    Rig::builder().variable("TZ", "UTC0")
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A schedule for connections to this device; `rest` comes before the hours.
fn schedule(app: &str, rest: &str, (from, to): (&str, &str), budget: &str) -> String {
    format!(
        "name = \"nightly\"\napp = \"{app}\"\nactions = [\"network.connect\"]\ntargets = [\"127.0.0.1\"]\n{rest}\n\
         [[hours]]\ndays = {ALL_DAYS}\nfrom = \"{from}\"\nto = \"{to}\"\n[budget]\n{budget}\n"
    )
}

fn sign(rig: &Rig, text: &str) -> Value {
    let path = file(rig, "nightly.toml", text);
    let path = path.to_str().unwrap();
    let digest = done(rig, &["schedule", "show", path])["digest"].as_str().unwrap().to_owned();
    done(rig, &["schedule", "sign", path, "--digest", &digest])
}

fn get(rig: &Rig, run: &Run, url: &str) -> rig::curl::Reply {
    rig.curl(["--proxy", &run.http, url])
}

fn clock(minute: u64) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[test]
fn what_is_signed_off_is_permitted_without_asking_until_it_is_taken_back() {
    let (rig, origin) = (usual().start(), Origin::start());
    let app = rig.app("third-party");
    let run = rig.run(&app);
    let url = origin.url("/hello");
    assert_eq!(get(&rig, &run, &url).reason().as_deref(), Some("permission-missing"));

    let text = schedule(&app, "", ALWAYS, "");
    let path = file(&rig, "nightly.toml", &text);
    let path = path.to_str().unwrap();
    let shown = done(&rig, &["schedule", "show", path]);
    assert_eq!(shown["sentences"][0], format!("{app} may connect to 127.0.0.1, at any time"));
    assert_eq!(shown["signed_off"], false);
    assert!(done(&rig, &["schedule", "list"])["items"].as_array().unwrap().is_empty());
    // Nobody is at the terminal, or agreed to something else.
    cli(&rig, &["schedule", "sign", path]).ended(code::USAGE);
    let other = "0".repeat(64);
    let output = cli(&rig, &["schedule", "sign", path, "--digest", &other]);
    assert_eq!(output.ended(code::USAGE).json["reason"], "request-malformed");
    assert_eq!(get(&rig, &run, &url).reason().as_deref(), Some("permission-missing"));

    let signed = done(&rig, &["schedule", "sign", path, "--digest", shown["digest"].as_str().unwrap()]);
    assert_eq!((&signed["state"], &signed["signed_off"]), (&json!("open"), &json!(true)));
    assert_eq!(get(&rig, &run, &url).text(), "hello\n");
    let grants = done(&rig, &["grants", &app]);
    let grant = &grants["items"][0];
    assert_eq!(
        (&grant["schedule"], &grant["permission"]),
        (&json!("nightly"), &json!("blanket")),
        "{grants}"
    );
    let record = &rig.journal(["--app", &app])[0..].iter().find(|r| r["action"] == "schedule.sign").cloned();
    let record = record.as_ref().expect("signing off is written down");
    assert_eq!(record["detail"]["digest"], shown["digest"]);
    assert_eq!(record["detail"]["permits"], shown["sentences"]);

    // Taken back as a whole, also by one of its grants; what is open is cut.
    let mut control = Control::of(&rig);
    let (_, who) = control.run(&app);
    for by_grant in [false, true] {
        if by_grant {
            sign(&rig, &text);
        }
        let bulk = Bulk::begin(rig.ports(), &who, Way::Tunnel(Door::Socks), To::Client, Pace::Still);
        let grants = done(&rig, &["grants", &app]);
        let grant = grants["items"][0]["id"].as_str().unwrap().to_owned();
        let (answer, cut) = bulk.cut_by(|| match by_grant {
            false => control.done("DELETE", "/v1/schedules/nightly", None),
            true => control.done("DELETE", &format!("/v1/grants/{grant}"), None),
        });
        assert!(cut.at - answer.sent < Duration::from_millis(50), "{:?}", cut.at - answer.sent);
        assert_eq!(get(&rig, &run, &url).reason().as_deref(), Some("permission-missing"));
        assert!(done(&rig, &["grants", &app])["items"].as_array().unwrap().is_empty());
        refused_or_gone(&rig);
    }
}

fn refused_or_gone(rig: &Rig) {
    let output = cli(rig, &["schedule", "revoke", "nightly"]);
    assert_eq!(output.ended(code::FAULT).json["reason"], "not-found");
}

#[test]
fn a_schedule_counts_after_a_restart_and_goes_with_its_app() {
    let (mut rig, origin) = (usual().start(), Origin::start());
    let app = rig.app("third-party");
    let url = origin.url("/hello");
    let signed = sign(&rig, &schedule(&app, "", ALWAYS, ""));
    rig.kill();
    rig.start_again();
    let run = rig.run(&app);
    assert_eq!(get(&rig, &run, &url).text(), "hello\n");
    let listed = done(&rig, &["schedule", "list", &app]);
    assert_eq!(listed["items"][0]["grants"], signed["grants"], "the same grants");
    // Another of the same name takes its place.
    sign(&rig, &schedule(&app, "", ALWAYS, "bytes = 1000000000"));
    let listed = done(&rig, &["schedule", "list"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["left"]["bytes"], 1_000_000_000);
    // What a schedule of another app would be, and what the table wants to be asked for.
    for (text, reason) in [
        (schedule("nobody", "", ALWAYS, ""), "app-unknown"),
        (
            schedule(&app, "", ALWAYS, "")
                .replace("network.connect", "network.call")
                .replace("127.0.0.1", "+4930123456"),
            "permission-above-maximum",
        ),
        (schedule(&app, "", ALWAYS, "").replace("network.connect", "network.unheard-of"), "action-unknown"),
    ] {
        let path = file(&rig, "other.toml", &text);
        let output = cli(&rig, &["schedule", "show", path.to_str().unwrap()]);
        assert_eq!(output.json["reason"], reason, "{}{}", output.stdout, output.stderr);
    }
    let path = file(&rig, "other.toml", schedule(&app, "", ("06:00", "05:00"), ""));
    let output = cli(&rig, &["schedule", "show", path.to_str().unwrap()]);
    assert!(output.json["detail"].as_str().unwrap().starts_with("line 9, column 6: "), "{}", output.json);

    done(&rig, &["app", "remove", &app]);
    assert!(done(&rig, &["schedule", "list"])["items"].as_array().unwrap().is_empty());
    rig.kill();
    rig.start_again();
    assert!(done(&rig, &["schedule", "list"])["items"].as_array().unwrap().is_empty());
}

#[test]
fn at_other_hours_it_permits_nothing_and_its_last_moment_cuts_what_is_open() {
    let (rig, origin) = (usual().start(), Origin::start());
    let app = rig.app("third-party");
    let run = rig.run(&app);
    let url = origin.url("/hello");
    // Two hours from now, for one.
    let hour = (seconds() / 3600 + 2) % 24;
    sign(&rig, &schedule(&app, "", (&clock(hour * 60), &clock(hour * 60 + 60)), ""));
    assert_eq!(get(&rig, &run, &url).reason().as_deref(), Some("outside-hours"));
    let address = origin.address();
    let explained = done(&rig, &["explain", &app, &format!("network.connect={address}")]);
    assert_eq!((&explained["decision"], &explained["reason"]), (&json!("ask"), &json!("outside-hours")));
    assert_eq!(done(&rig, &["schedule", "list"])["items"][0]["state"], "outside-hours");

    let until = rig::verbs::later(mexe_model::WallTime::from_secs(seconds()), 3);
    let until = format!("until = \"{}\"", until.to_string().replace(".000Z", "Z"));
    sign(&rig, &schedule(&app, &until, ALWAYS, ""));
    let mut control = Control::of(&rig);
    let (_, who) = control.run(&app);
    let bulk = Bulk::begin(rig.ports(), &who, Way::Tunnel(Door::Socks), To::Client, Pace::Still);
    bulk.cut_by(|| ());
    assert_eq!(get(&rig, &run, &url).reason().as_deref(), Some("permission-expired"));
    let end = rig.journal(["--reason", "permission-expired"]);
    assert!(end.iter().any(|record| record["kind"] == "flow-end"), "{end:?}");
}

#[test]
fn the_end_of_its_hours_cuts_what_is_open() {
    let (rig, origin) = (usual().start(), Origin::start());
    let app = rig.app("third-party");
    let run = rig.run(&app);
    // Not in the last seconds of a minute, which may be over before all is set up.
    wait::within(Duration::from_secs(10), || (seconds() % 60 < 52).then_some(()));
    let minute = seconds() / 60 % 1440;
    sign(&rig, &schedule(&app, "", ("00:00", &clock(minute + 1)), ""));
    let mut control = Control::of(&rig);
    let (_, who) = control.run(&app);
    let bulk = Bulk::begin(rig.ports(), &who, Way::Tunnel(Door::Connect), To::Client, Pace::Still);
    let left = 60 - seconds() % 60;
    // Shortly before the end it is open.
    std::thread::sleep(Duration::from_secs(left.saturating_sub(3)));
    assert_eq!(get(&rig, &run, &origin.url("/hello")).text(), "hello\n");
    bulk.cut_by(|| ());
    assert_eq!(seconds() / 60 % 1440, (minute + 1) % 1440, "not before the minute");
    assert_eq!(get(&rig, &run, &origin.url("/hello")).reason().as_deref(), Some("outside-hours"));
    let end = rig.journal(["--reason", "outside-hours"]);
    assert!(end.iter().any(|record| record["kind"] == "flow-end"), "{end:?}");
}

#[test]
fn performances_are_counted_exactly_and_over_a_power_failure() {
    let (mut rig, origin) = (usual().start(), Origin::start());
    let app = rig.app("third-party");
    let url = origin.url("/hello");
    sign(&rig, &schedule(&app, "", ALWAYS, "events-per-day = 5"));
    let run = rig.run(&app);
    assert_eq!(get(&rig, &run, &url).text(), "hello\n");
    rig.kill();
    rig.start_again();
    let run = rig.run(&app);
    let replies: Vec<String> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..12).map(|_| scope.spawn(|| get(&rig, &run, &url))).collect();
        tries
            .into_iter()
            .map(|one| one.join().unwrap())
            .map(|reply| reply.reason().unwrap_or_else(|| reply.text()))
            .collect()
    });
    let hellos = replies.iter().filter(|reply| *reply == "hello\n").count();
    let used_up = replies.iter().filter(|reply| *reply == "budget-used-up").count();
    assert_eq!((hellos, used_up), (4, 8), "{replies:?}");
    let listed = &done(&rig, &["schedule", "list"])["items"][0];
    assert_eq!((&listed["state"], &listed["used"]["events_today"]), (&json!("budget-used-up"), &json!(5)));
    rig.kill();
    rig.start_again();
    let run = rig.run(&app);
    assert_eq!(get(&rig, &run, &url).reason().as_deref(), Some("budget-used-up"));
    // Signed off anew, what was used is not given again.
    sign(&rig, &schedule(&app, "", ALWAYS, "events-per-day = 6"));
    assert_eq!(get(&rig, &run, &url).text(), "hello\n");
    assert_eq!(get(&rig, &run, &url).reason().as_deref(), Some("budget-used-up"));
}

fn moved(rig: &Rig) -> u64 {
    let ends = rig.journal([""; 0]);
    let ends = ends.iter().filter(|record| record["kind"] == "flow-end");
    ends.map(|end| end["bytes_up"].as_u64().unwrap_or(0) + end["bytes_down"].as_u64().unwrap_or(0)).sum()
}

#[test]
fn bytes_are_counted_to_the_last_one_through_every_door() {
    const BUDGET: u64 = 3_000_000;
    let (mut rig, origin) = (usual().start(), Origin::start());
    let app = rig.app("third-party");
    sign(&rig, &schedule(&app, "", ALWAYS, &format!("bytes = {BUDGET}")));
    let run = rig.run(&app);
    let big = origin.url("/big?bytes=1000000");
    // Forwarded, tunnelled, by SOCKS; the last one is cut.
    assert_eq!(get(&rig, &run, &big).body.len(), 1_000_000);
    assert_eq!(rig.curl(["--proxytunnel", "--proxy", &run.http, &big]).body.len(), 1_000_000);
    let last = rig.curl(["--proxy", &run.socks, &origin.url("/big?bytes=5000000")]);
    assert!(last.exit != 0 && last.body.len() < 1_000_000, "{} bytes, {}", last.body.len(), last.stderr);
    wait::until("the end in the journal", || (moved(&rig) >= BUDGET).then_some(()));
    assert_eq!(moved(&rig), BUDGET);
    assert_eq!(get(&rig, &run, &big).reason().as_deref(), Some("budget-used-up"));
    let listed = &done(&rig, &["schedule", "list"])["items"][0];
    assert_eq!((&listed["used"]["bytes"], &listed["left"]), (&json!(BUDGET), &Value::Null));
    assert!(!rig.journal(["--reason", "budget-used-up"]).is_empty());
    rig.stop();
    rig.start_again();
    let run = rig.run(&app);
    assert_eq!(get(&rig, &run, &big).reason().as_deref(), Some("budget-used-up"));
}

/// Sends until it comes through: what comes while the budget's next part is written down is dropped, and costs nothing.
fn insist(send: impl Fn(), arrived: impl Fn() -> bool) {
    wait::until("a datagram to come through", || {
        send();
        arrived().then_some(())
    });
}

#[test]
fn datagrams_are_counted_both_ways_and_the_last_byte_cuts_their_flow() {
    const BUDGET: u64 = 10_000;
    for last_goes_up in [true, false] {
        let (rig, peer) = (usual().start(), Peer::start());
        let app = rig.app("third-party");
        let text = schedule(&app, "", ALWAYS, &format!("bytes = {BUDGET}"));
        sign(&rig, &text.replace("network.connect", "network.datagram"));
        let association = Association::open(rig.ports().socks, &credentials(&app, &rig.run(&app))).unwrap();
        for socket in [&peer.socket, &association.socket] {
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        let flow = std::cell::Cell::new(peer.address());
        let heard = || peer.socket.recv_from(&mut [0; 65_536]).map(|(_, from)| flow.set(from)).is_ok();
        let answered = || association.socket.recv(&mut [0; 65_536]).is_ok();
        let up = |length: usize| association.send(peer.address(), &vec![1; length]);
        let down = |length: usize| {
            peer.socket.send_to(&vec![2; length], flow.get()).unwrap();
        };
        for _ in 0..4 {
            insist(|| up(500), heard);
            insist(|| down(1500), answered);
        }
        // Of the last 2000 bytes no datagram takes a part: one that is too large goes whole or not at all.
        up(2001);
        assert!(!heard(), "more went up than there was");
        down(2001);
        assert!(!answered(), "more came down than there was");
        match last_goes_up {
            true => insist(|| up(2000), heard),
            false => insist(|| down(2000), answered),
        }
        // Nothing is left: the next one, whichever way, ends the flow.
        match last_goes_up {
            true => down(1),
            false => up(1),
        }
        let end = wait::until("the end of the flow", || {
            rig.journal(["--app", &app]).into_iter().find(|record| record["kind"] == "flow-end")
        });
        assert_eq!((&end["reason"], moved(&rig)), (&json!("budget-used-up"), BUDGET), "{end}");
        up(1);
        assert!(!heard() && !answered(), "something moved after the last byte");
        let refused = wait::until("the refusal", || {
            rig.journal(["--app", &app, "--decision", "deny"]).into_iter().next()
        });
        assert_eq!(refused["reason"], "budget-used-up", "{refused}");
        let listed = &done(&rig, &["schedule", "list"])["items"][0];
        assert_eq!(
            (&listed["state"], &listed["used"]["bytes"]),
            (&json!("budget-used-up"), &json!(BUDGET)),
            "{listed}"
        );
    }
}

#[test]
fn a_power_failure_gives_no_byte_twice_and_a_stop_loses_none() {
    const BUDGET: u64 = 20_000_000;
    let (mut rig, origin) = (usual().start(), Origin::start());
    let app = rig.app("third-party");
    sign(&rig, &schedule(&app, "", ALWAYS, &format!("bytes-per-day = {BUDGET}")));
    let run = rig.run(&app);
    let got = get(&rig, &run, &origin.url("/big?bytes=4000000")).body.len();
    assert_eq!(got, 4_000_000);
    let used =
        |rig: &Rig| done(rig, &["schedule", "list"])["items"][0]["used"]["bytes_today"].as_u64().unwrap();
    let before = used(&rig);
    assert!((4_000_000..4_010_000).contains(&before), "{before}");
    rig.stop();
    rig.start_again();
    assert_eq!(used(&rig), before, "what was set aside and not used was given back");
    let run = rig.run(&app);
    get(&rig, &run, &origin.url("/big?bytes=4000000"));
    let before = used(&rig);
    rig.kill();
    rig.start_again();
    let after = used(&rig);
    // A part, and what is set aside when half of one is left.
    assert!((before..=before + BUDGET / 32 * 2).contains(&after), "{before} before, {after} after");
}

#[test]
fn a_clock_that_is_not_to_be_relied_on_opens_no_hours() {
    let (mut rig, origin) = (usual().start(), Origin::start());
    let app = rig.app("third-party");
    sign(&rig, &schedule(&app, "", ALWAYS, ""));
    rig.stop();
    rig.set_clock(Some("-30d"));
    rig.start_again();
    assert_eq!(done(&rig, &["schedule", "list"])["items"][0]["state"], "clock-suspect");
    let explained = done(&rig, &["explain", &app, &format!("network.connect={}", origin.address())]);
    assert_eq!(explained["decision"], "ask", "{explained}");
    rig.stop();
    rig.set_clock(None);
    rig.start_again();
    let run = rig.run(&app);
    assert_eq!(get(&rig, &run, &origin.url("/hello")).text(), "hello\n");
}

#[test]
fn an_app_signs_off_nothing_for_itself() {
    let rig = usual().start();
    let app = rig.app("third-party");
    let run = rig.run(&app);
    let body = json!({ "text": schedule(&app, "", ALWAYS, "") }).to_string();
    let authorization = format!("Authorization: Bearer {}", run.token);
    for arguments in [vec!["--data", body.as_str()], vec!["--request", "DELETE"], vec![]] {
        let url = format!("http://{}/v1/schedules", rig.ports().console);
        let reply = rig.curl(["--header", &authorization, &url].into_iter().chain(arguments));
        assert_eq!(reply.reason().as_deref(), Some("role-missing"), "{}", reply.text());
    }
}
