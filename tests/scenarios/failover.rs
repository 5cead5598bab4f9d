//! More than one bearer: a flow has the one that it began on, whatever happens to others; when that one is lost it is cut,
//! also while it still connects, and the next goes over the next bearer. Without any, nothing opens.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use mexe_forge::usim::{Card, CardKind};
use rig::exact::socks;
use rig::full::Full;
use rig::raw::{self, Credentials, Door, No};
use rig::streams::{App, next};
use rig::{ContextHabits, Control, FakeModem, Habits, Origin, Rig, packages, wait};
use serde_json::{Value, json};

fn modem() -> FakeModem {
    let habits = Habits { contexts: Some(ContextHabits::default()), ..Habits::default() };
    FakeModem::start(Some(&Card::new(CardKind::Usim)), habits)
}

/// A gate on that modem, which is up, and on what comes after it.
fn on(modem: &FakeModem, after: &str) -> Rig {
    let mut rig = Rig::builder().prepare();
    let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
    let port = modem.port().display();
    text.push_str(&format!("[[bearer]]\nname = \"mobile\"\nkind = \"modem\"\ndevice = \"{port}\"\n{after}"));
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    is_now(&rig, "up");
    rig
}

fn is_now(rig: &Rig, state: &str) {
    let mut control = Control::of(rig);
    wait::until(&format!("the modem to be {state}"), || {
        let bearers = control.list("/v1/bearers");
        bearers.iter().any(|bearer| bearer["name"] == "mobile" && bearer["state"] == state).then_some(())
    });
}

/// The network takes the modem's context, or gives it back.
fn lose(rig: &Rig, modem: &FakeModem) {
    modem.network_drops(1);
    is_now(rig, "down");
}

fn find(rig: &Rig, modem: &FakeModem) {
    modem.with_contexts(|side| side.contexts.get_mut(&1).unwrap().active = true);
    is_now(rig, "up");
}

fn app(rig: &Rig) -> App<'_> {
    let app = App::begin(rig, "third-party");
    rig.grant(&app.id, "network.qos", "session");
    rig.grant(&app.id, "network.connect=127.0.0.1", "session");
    app
}

/// The bearer of every open flow, the oldest first.
fn bearers(rig: &Rig) -> Vec<Value> {
    let flows = rig.json(["flows"])["items"].as_array().unwrap().clone();
    flows.into_iter().map(|flow| flow["bearer"].clone()).collect()
}

fn ended(rig: &Rig, reason: &str) -> Option<Value> {
    rig.journal(["--reason", reason, "--kind", "flow-end"]).pop()
}

#[test]
fn flows_go_over_the_next_bearer_when_one_is_lost_and_over_the_first_when_it_is_back() {
    let modem = modem();
    let wire =
        "[[bearer]]\nname = \"wire\"\nkind = \"static\"\nuplink = \"800 kbit/s\"\ndownlink = \"5 Mbit/s\"\n";
    let rig = on(&modem, wire);
    let (app, origin) = (app(&rig), Origin::start());
    let told = app.told();
    let call = json!({ "name": "call", "class": "conversational",
                       "guaranteed_bitrate_up": "64 kbit/s", "guaranteed_bitrate_down": "64 kbit/s" });
    assert_eq!(app.ask(call)["network"]["bearer"], "mobile");
    let named = Credentials { app: format!("{}+call", app.id), token: app.who.token.clone() };
    let open = |who: &Credentials| socks(rig.ports().socks, who, "127.0.0.1", origin.address().port());
    let _first = open(&named).unwrap();
    assert_eq!(bearers(&rig), ["mobile"]);
    while told.try_recv().is_ok() {}
    lose(&rig, &modem);
    wait::until("the end of the flow", || ended(&rig, "bearer-lost"));
    // The stream is asked for on the bearer that flows go over now.
    assert_eq!(next(&told).0, "degraded");
    assert_eq!(next(&told).0, "restored");
    let stream = app.own().pop().unwrap();
    assert_eq!((&stream["state"], &stream["network"]["bearer"]), (&json!("admitted"), &json!("wire")));
    let _second = open(&named).unwrap();
    assert_eq!(bearers(&rig), ["wire"]);
    // It has the rates of that bearer: in no time more than these and a burst, whatever the first carries.
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut third = raw::open(rig.ports(), Door::Socks, &app.who, sink.local_addr().unwrap()).unwrap();
    let taking =
        thread::spawn(move || std::io::copy(&mut sink.accept().unwrap().0, &mut std::io::sink()).unwrap());
    let began = Instant::now();
    third.write_all(&[7; 200_000]).unwrap();
    drop(third);
    assert_eq!(taking.join().unwrap(), 200_000);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1_700), "200,000 bytes at 100,000 a second: {took:?}");
    find(&rig, &modem);
    // Who is on the other one stays there.
    let _fourth = open(&app.who).unwrap();
    assert_eq!(bearers(&rig), ["wire", "mobile"]);
    wait::until("the stream to be asked for where flows go", || {
        (app.own().pop().unwrap()["network"]["bearer"] == "mobile").then_some(())
    });
    let moved = |bearer: &str| {
        rig.metric(&format!("mexegate_bearer_bytes_total{{bearer=\"{bearer}\",direction=\"up\"}}"))
    };
    assert!(moved("wire") >= 200_000.0 && moved("mobile") < 200_000.0);
    let used = rig.json(["usage"]);
    assert!(used.to_string().contains("\"wire\""), "{used}");
    // Losing one that flows are not on changes nothing for them.
    lose(&rig, &modem);
    wait::until("only the one to be cut", || (bearers(&rig) == ["wire"]).then_some(()));
}

#[test]
fn without_a_bearer_nothing_opens() {
    let modem = modem();
    let rig = on(&modem, "");
    let (app, origin) = (app(&rig), Origin::start());
    let ask = |door| raw::open(rig.ports(), door, &app.who, origin.address());
    ask(Door::Socks).unwrap();
    lose(&rig, &modem);
    assert!(matches!(ask(Door::Socks), Err(No::Socks(3))), "the network cannot be reached");
    match ask(Door::Connect) {
        Err(No::Http(503, reason)) => assert_eq!(reason, "bearer-lost"),
        other => panic!("{other:?}"),
    }
    let denied = rig.journal(["--reason", "bearer-lost", "--kind", "decision"]);
    assert_eq!(denied.len(), 2, "{denied:?}");
    assert!(denied.iter().all(|record| record["decision"] == "deny"));
    // What is not permitted is refused for that, whatever the bearer does.
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], 9));
    let refused = raw::open(rig.ports(), Door::Connect, &app.who, elsewhere);
    match refused {
        Err(No::Http(403, reason)) => assert_eq!(reason, "target-out-of-scope"),
        other => panic!("{other:?}"),
    }
    find(&rig, &modem);
    ask(Door::Connect).unwrap();
}

#[test]
fn a_connection_that_hangs_is_given_up_when_its_bearer_is_lost() {
    let modem = modem();
    let rig = on(&modem, "");
    let app = app(&rig);
    let full = Full::new();
    let hang = |door| raw::ask(rig.ports(), door, &app.who, full.address()).unwrap();
    let hanging: Vec<_> = [Door::Socks, Door::Connect].map(|door| (door, hang(door))).into();
    wait::until("both to be permitted", || {
        (rig.journal(["--app", &app.id, "--kind", "decision"]).len() == 2).then_some(())
    });
    let began = Instant::now();
    lose(&rig, &modem);
    for (door, stream) in &hanging {
        match raw::answer(*door, stream) {
            Err(No::Socks(3)) => {}
            Err(No::Http(503, reason)) => assert_eq!(reason, "bearer-lost"),
            other => panic!("{door:?}: {other:?}"),
        }
    }
    // The limit for connecting is ten seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(ended(&rig, "bearer-lost").is_some());
    assert_eq!(full.let_in(Duration::from_millis(300)).len(), 0, "nobody tries on");
}
