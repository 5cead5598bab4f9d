//! Streams and the network: a stream asks its bearer, has what the network gives, and follows it while it is open. Whatever
//! a modem or its network answers, or does not, the stream goes on as best effort, and everybody is told why.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use mexe_forge::usim::{Card, CardKind};
use rig::exact::socks;
use rig::raw::Credentials;
use rig::streams::{App, id, next, said, word};
use rig::{ContextHabits, Control, FakeModem, Habits, Origin, Rig, Wrong, packages, wait};
use serde_json::{Value, json};

fn modem(contexts: ContextHabits) -> FakeModem {
    let habits = Habits { contexts: Some(contexts), ..Habits::default() };
    FakeModem::start(Some(&Card::new(CardKind::Usim)), habits)
}

/// A gate on that modem, which is up.
fn on(modem: &FakeModem, more: &str) -> Rig {
    let mut rig = Rig::builder().prepare();
    let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
    let port = modem.port().display();
    text.push_str(&format!("[[bearer]]\nname = \"mobile\"\nkind = \"modem\"\ndevice = \"{port}\"\n{more}"));
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    let mut control = Control::of(&rig);
    wait::until("the modem", || {
        let bearers = control.list("/v1/bearers");
        bearers.iter().any(|bearer| bearer["name"] == "mobile" && bearer["state"] == "up").then_some(())
    });
    rig
}

/// An app that may have a quality of service.
fn app(rig: &Rig) -> App<'_> {
    let app = App::begin(rig, "third-party");
    rig.grant(&app.id, "network.qos", "session");
    rig.grant(&app.id, "network.connect=127.0.0.1", "session");
    app
}

fn call() -> Value {
    json!({ "name": "call", "class": "conversational", "max_bitrate_up": "400 kbit/s",
            "guaranteed_bitrate_up": "200 kbit/s", "guaranteed_bitrate_down": "64 kbit/s" })
}

fn stream(app: &App<'_>) -> Value {
    app.own().pop().unwrap()
}

fn becomes(told: &Receiver<(String, String)>, op: &str) {
    let heard =
        std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(25)).ok()).find(|heard| heard.0 == op);
    assert!(heard.is_some(), "nobody said {op}");
}

fn negotiations(rig: &Rig, result: &str) -> f64 {
    rig.metric(&format!("mexegate_qos_negotiations_total{{bearer=\"mobile\",result=\"{result}\"}}"))
}

/// When a record was written, within its hour.
fn milliseconds(record: &Value) -> f64 {
    let at = record["at"].as_str().unwrap();
    let (minutes, seconds) = at[14..].trim_end_matches('Z').split_once(':').unwrap();
    (minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()) * 1000.0
}

fn contexts(modem: &FakeModem) -> Vec<u8> {
    modem.contexts().contexts.keys().copied().collect()
}

#[test]
fn a_stream_has_what_the_network_gives_and_follows_it() {
    let modem = modem(ContextHabits::default());
    let rig = on(&modem, "");
    let app = app(&rig);
    let told = app.told();
    let asked = app.ask(call());
    assert_eq!(
        (&asked["state"], &asked["network"]["state"]),
        (&json!("admitted"), &json!("given")),
        "{asked}"
    );
    // 128 kbit/s is all that the network guarantees.
    assert_eq!(word(&asked, "guaranteed_bitrate_up"), said("128 kbit/s", "network", Some("capped")));
    assert_eq!(word(&asked, "guaranteed_bitrate_down"), said("64 kbit/s", "app", None));
    assert_eq!(word(&asked, "max_bitrate_up"), said("400 kbit/s", "app", None));
    assert_eq!(negotiations(&rig, "granted-otherwise"), 1.0);
    assert_eq!(next(&told).0, "admitted");
    assert_eq!(next(&told).0, "changed");
    let filter = modem.contexts().contexts[&2].filter.clone().unwrap();
    assert!(filter.contains("184.252"), "by its DSCP: {filter}");
    let sessions = Control::of(&rig).list("/v1/bearers")[0]["sessions"].clone();
    assert_eq!(sessions[0]["id"], asked["network"]["session"]);

    // The network changes it, and ends it.
    modem.network_modifies(2, |given| given.guaranteed = (48, 64));
    becomes(&told, "changed");
    assert_eq!(word(&stream(&app), "guaranteed_bitrate_up"), said("48 kbit/s", "network", Some("capped")));
    modem.network_drops(2);
    becomes(&told, "degraded");
    let lost = stream(&app);
    assert_eq!((&lost["class"], &lost["reason"]), (&json!("background"), &json!("qos-not-granted")));
    assert_eq!(lost["network"]["why"], "network-ended");
    assert_eq!(word(&lost, "class"), said("background", "network", Some("capped")));
    assert_eq!(rig.metric("mexegate_streams_open{class=\"background\"}"), 1.0);
    let written = rig.journal(["--action", "stream.degrade", "--reason", "qos-not-granted"]);
    assert_eq!(written[0]["detail"]["network"]["why"], "network-ended");

    // Asked for again it is asked for again, a change is a change there, and what is released is given back.
    let path = format!("/v1/streams/{}", id(&lost));
    let again = app.api("PATCH", &path, &json!({})).1;
    assert_eq!((&again["state"], &again["class"]), (&json!("admitted"), &json!("conversational")), "{again}");
    let less = app.api("PATCH", &path, &json!({ "guaranteed_bitrate_up": "32 kbit/s" })).1;
    assert_eq!(word(&less, "guaranteed_bitrate_up"), said("32 kbit/s", "app", None));
    assert!(modem.heard().iter().any(|line| line.starts_with("AT+CGCMOD=")), "the context was modified");
    assert_eq!(contexts(&modem), [1, 2]);
    assert_eq!(app.api("DELETE", &path, &json!({})).0, 204);
    wait::until("the context to be given back", || (contexts(&modem) == [1]).then_some(()));
}

#[test]
fn what_is_not_for_the_network_is_not_asked_and_what_ends_gives_back() {
    let modem = modem(ContextHabits::default());
    let mut rig = on(&modem, "");
    let app = App::begin(&rig, "third-party");
    let grant = rig.grant(&app.id, "network.qos", "session");
    let web = app.ask(json!({ "class": "interactive", "max_bitrate_down": "1 Mbit/s" }));
    assert_eq!((&web["state"], &web["network"]), (&json!("admitted"), &Value::Null));
    assert_eq!(contexts(&modem), [1]);
    app.ask(call());
    assert_eq!(contexts(&modem), [1, 2]);
    // Its class goes, and with it what the network keeps for it.
    rig.json(["revoke", &grant]);
    wait::until("the context to be given back", || (contexts(&modem) == [1]).then_some(()));
    let other = App::again(&rig, &app.id);
    rig.grant(&app.id, "network.qos", "session");
    other.ask(call());
    wait::until("its context", || (contexts(&modem) == [1, 2]).then_some(()));
    rig.json(["app", "stop", &other.run]);
    wait::until("the context to go with the run", || (contexts(&modem) == [1]).then_some(()));
    let last = App::again(&rig, &app.id);
    rig.grant(&app.id, "network.qos", "session");
    last.ask(call());
    wait::until("its context", || (contexts(&modem) == [1, 2]).then_some(()));
    rig.stop();
    assert_eq!(contexts(&modem), [1], "the gate that stops gives it back: {:?}", modem.heard());
}

#[test]
fn whatever_the_network_refuses_leaves_a_stream_best_effort_and_says_why() {
    let modem = modem(ContextHabits::default());
    let rig = on(&modem, "");
    let app = app(&rig);
    let told = app.told();
    let cases = [
        (("AT+CGACT=1", Wrong::Error(Some(148))), "not-accepted"),
        (("AT+CGACT=1", Wrong::Error(None)), "not-accepted"),
        (("AT+CGACT=1", Wrong::Error(Some(133))), "not-permitted"),
        (("AT+CGACT=1", Wrong::Error(Some(178))), "busy"),
        (("AT+CGDSCONT=2", Wrong::Error(Some(3))), "failed"),
        (("AT+CGEQNEG=2", Wrong::Says("+CGEQNEG: 2,what?")), "nonsense"),
    ];
    for (wrong, why) in cases {
        modem.with_network(|network| network.wrong = vec![wrong.clone()]);
        let asked = app.ask(call());
        assert_eq!(
            (&asked["state"], &asked["class"]),
            (&json!("degraded"), &json!("background")),
            "{wrong:?}"
        );
        assert_eq!((&asked["reason"], &asked["network"]["why"]), (&json!("qos-not-granted"), &json!(why)));
        assert_eq!(
            negotiations(&rig, why),
            if why == "not-accepted" { negotiations(&rig, why) } else { 1.0 }
        );
        becomes(&told, "degraded");
        let table = rig.cli(["streams"]).ended(0).stdout;
        assert!(table.contains("degraded") && table.contains("qos-not-granted"), "{table}");
        assert_eq!(app.api("DELETE", &format!("/v1/streams/{}", id(&asked)), &json!({})).0, 204);
        assert_eq!(contexts(&modem), [1], "{wrong:?}");
    }
    modem.with_network(|network| network.wrong.clear());
    assert_eq!(app.ask(call())["state"], "admitted");
}

/// A gate, and a stream that a modem answers wrongly for, which flows do not wait for.
fn unanswered(wrong: Wrong) {
    let modem = modem(ContextHabits::default());
    let rig = on(&modem, "");
    let (app, origin) = (app(&rig), Origin::start());
    let told = app.told();
    modem.with_network(|network| network.wrong = vec![("AT+CGEQNEG=2", wrong)]);
    let asked = app.ask(call());
    assert_eq!((&asked["state"], &asked["class"]), (&json!("asking"), &json!("conversational")), "{asked}");
    let named = Credentials { app: format!("{}+call", app.id), token: app.who.token.clone() };
    let _flow = socks(rig.ports().socks, &named, "127.0.0.1", origin.address().port()).unwrap();
    assert_eq!(rig.json(["flows"])["items"][0]["class"], "background");
    becomes(&told, "degraded");
    let lost = stream(&app);
    assert_eq!((&lost["reason"], &lost["network"]["why"]), (&json!("qos-not-granted"), &json!("silent")));
    assert_eq!(negotiations(&rig, "silent"), 1.0);
}

#[test]
fn a_modem_that_says_nothing_holds_up_no_flow() {
    unanswered(Wrong::Silent);
}

#[test]
fn a_modem_that_stops_in_the_middle_of_a_line_holds_up_no_flow() {
    unanswered(Wrong::Half);
}

#[test]
fn a_slow_network_is_waited_for_by_nobody_and_what_it_gives_reaches_open_flows() {
    let slow = ContextHabits { network: Duration::from_secs(7), ..ContextHabits::default() };
    let modem = modem(slow);
    let rig = on(&modem, "");
    let (app, origin) = (app(&rig), Origin::start());
    let told = app.told();
    assert_eq!(app.ask(call())["state"], "asking");
    let named = Credentials { app: format!("{}+call", app.id), token: app.who.token.clone() };
    let _flow = socks(rig.ports().socks, &named, "127.0.0.1", origin.address().port()).unwrap();
    let class = || rig.json(["flows"])["items"][0]["class"].clone();
    assert_eq!(class(), "background");
    becomes(&told, "changed");
    assert_eq!(stream(&app)["state"], "admitted");
    wait::until("the open flow to have its class", || (class() == "conversational").then_some(()));
}

#[test]
fn flows_are_cut_when_their_bearer_goes_and_streams_come_back_with_it() {
    let modem = modem(ContextHabits::default());
    let rig = on(&modem, "apn = \"internet\"\n");
    let (app, origin) = (app(&rig), Origin::start());
    app.ask(call());
    let told = app.told();
    let named = Credentials { app: format!("{}+call", app.id), token: app.who.token.clone() };
    let _flow = socks(rig.ports().socks, &named, "127.0.0.1", origin.address().port()).unwrap();
    modem.network_drops(1);
    assert_eq!(next(&told).0, "degraded");
    let cut = wait::until("the end of the flow", || {
        rig.journal(["--reason", "bearer-lost", "--kind", "flow-end"]).pop()
    });
    let lost = rig.journal(["--action", "bearer.lost"]).pop().unwrap();
    let took = milliseconds(&cut) - milliseconds(&lost);
    assert!(took <= 50.0, "{took} ms");
    assert_eq!(rig.journal(["--action", "stream.degrade"])[0]["reason"], "bearer-lost");
    // The gate connects the modem again, and the stream has what it had.
    becomes(&told, "restored");
    let back = stream(&app);
    assert_eq!((&back["state"], &back["class"]), (&json!("admitted"), &json!("conversational")));
    let active = modem.contexts().contexts.values().filter(|context| context.active).count();
    assert_eq!(active, 2, "the first, and one of its own");
}

#[test]
fn when_the_air_becomes_bad_the_less_important_give_way_there_too() {
    let modem = modem(ContextHabits { guarantees: (2_000, 2_000), ..ContextHabits::default() });
    let rig = on(&modem, "");
    let app = app(&rig);
    let of = |level: u64, name: &str| {
        app.ask(json!({ "name": name, "class": "streaming", "guaranteed_bitrate_up": "400 kbit/s",
            "arp": { "level": level, "pre_emption_capability": true, "pre_emption_vulnerability": true } }))
    };
    let (less, more) = (of(13, "less"), of(10, "more"));
    assert_eq!(contexts(&modem), [1, 2, 3]);
    let told = app.told();
    // 80 % of it is for one of them.
    modem.recommends(600, 1);
    becomes(&told, "degraded");
    assert_eq!(app.state(id(&less)).2, "qos-not-admitted");
    wait::until("its context to be given back", || (contexts(&modem) == [1, 3]).then_some(()));
    assert_eq!(app.state(id(&more)).1, "admitted");
    modem.recommends(2_000, 1);
    becomes(&told, "restored");
    wait::until("its context again", || (contexts(&modem) == [1, 2, 3]).then_some(()));
    wait::until("its class again", || (app.state(id(&less)).1 == "admitted").then_some(()));
    // A more important one takes its place, and its context.
    let most = json!({ "class": "streaming", "guaranteed_bitrate_up": "1 Mbit/s",
        "arp": { "level": 9, "pre_emption_capability": true, "pre_emption_vulnerability": false } });
    assert_eq!(app.ask(most)["state"], "admitted");
    assert_eq!(app.state(id(&less)).2, "qos-displaced");
    wait::until("as many contexts as before", || (contexts(&modem).len() == 3).then_some(()));
}
