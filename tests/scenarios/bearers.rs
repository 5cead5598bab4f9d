//! Bearers through the gate itself: what the API, the command line, the console's page, the series, the journal and the event
//! stream say of them, as they are configured and as a modem and its network change them.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use mexe_forge::usim::{Card, CardKind};
use rig::raw::{self, Door};
use rig::{ContextHabits, Control, FakeModem, Habits, Output, Rig, packages, wait};
use serde_json::{Value, json};

fn with_bearers(bearers: &str) -> Rig {
    let mut rig = Rig::builder().prepare();
    let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
    text.push_str(bearers);
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    rig
}

fn bearer(control: &mut Control, name: &str) -> Value {
    let all = control.list("/v1/bearers");
    all.into_iter().find(|bearer| bearer["name"] == name).unwrap()
}

#[test]
fn static_bearers_are_what_the_configuration_says_also_after_a_reload() {
    let rig = with_bearers(
        "[[bearer]]\nname = \"wire\"\nkind = \"static\"\nuplink = \"10 Mbit/s\"\ndownlink = \"40 Mbit/s\"\n\
         [[bearer]]\nname = \"later\"\nkind = \"tunnel\"\n",
    );
    let mut control = Control::of(&rig);
    let wire = bearer(&mut control, "wire");
    assert_eq!(
        (&wire["state"], &wire["kind"], &wire["sessions"]),
        (&json!("up"), &json!("static"), &json!([]))
    );
    assert_eq!((&wire["uplink"], &wire["downlink"]), (&json!("10 Mbit/s"), &json!("40 Mbit/s")));
    let later = bearer(&mut control, "later");
    assert_eq!((&later["state"], &later["why"]), (&json!("down"), &json!("kind-not-supported")));
    assert_eq!(rig.metric(r#"mexegate_bearer_up{bearer="wire"}"#), 1.0);
    assert_eq!(rig.metric(r#"mexegate_bearer_up{bearer="later"}"#), 0.0);
    let capacity = |direction: &str| {
        rig.metric(&format!(
            "mexegate_bearer_capacity_bytes_per_second{{bearer=\"wire\",direction=\"{direction}\"}}"
        ))
    };
    assert_eq!((capacity("up"), capacity("down")), (1_250_000.0, 5_000_000.0));
    assert_eq!(rig.json(["bearers"])["items"].as_array().unwrap().len(), 2);
    let table = rig.cli(["bearers"]).ended(0).stdout;
    assert!(table.contains("10 Mbit/s") && table.contains("this version cannot control"), "{table}");

    let text = std::fs::read_to_string(rig.config_file()).unwrap().replace("10 Mbit/s", "20 Mbit/s");
    packages::write(&rig.config_file(), text.as_bytes());
    rig.signal(rustix::process::Signal::HUP);
    wait::until("the new rate", || (bearer(&mut control, "wire")["uplink"] == "20 Mbit/s").then_some(()));
    assert_eq!(capacity("up"), 2_500_000.0);
}

#[test]
fn a_modem_that_comes_changes_and_goes_is_told_everywhere() {
    let habits = Habits { contexts: Some(ContextHabits::default()), ..Habits::default() };
    let modem = FakeModem::start(Some(&Card::new(CardKind::Usim)), habits);
    let rig = with_bearers(&format!(
        "[[bearer]]\nname = \"mobile\"\nkind = \"modem\"\ndevice = \"{}\"\nuplink = \"1 Mbit/s\"\n",
        modem.port().display()
    ));
    let mut control = Control::of(&rig);
    wait::until("the modem", || (bearer(&mut control, "mobile")["state"] == "up").then_some(()));
    let mobile = bearer(&mut control, "mobile");
    // The least of what the configuration allows and what the network gave.
    assert_eq!((&mobile["uplink"], &mobile["downlink"]), (&json!("1 Mbit/s"), &json!("8 Mbit/s")));
    let told = watch(&rig);
    let next = |op: &str| loop {
        let event = told.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("no {op}"));
        if event["op"] == op {
            return event;
        }
    };
    modem.recommends(2000, 2);
    assert_eq!(next("capacity")["downlink"], "2 Mbit/s");
    let series = r#"mexegate_bearer_capacity_bytes_per_second{bearer="mobile",direction="down"}"#;
    assert_eq!(rig.metric(series), 250_000.0);
    modem.network_drops(1);
    assert_eq!(next("lost")["why"], "no-context");
    let down = bearer(&mut control, "mobile");
    assert_eq!((&down["state"], &down["why"]), (&json!("down"), &json!("no-context")));
    assert_eq!(rig.metric(r#"mexegate_bearer_up{bearer="mobile"}"#), 0.0);
    let token = format!("Authorization: Bearer {}", rig.console_token());
    let page = rig.curl(["-H", &token, &format!("http://{}/console/quality", rig.ports().console)]);
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("mobile") && page.contains("context 1 of the modem is not active"), "{page}");
    let written = |action: &str| rig.journal(["--action", action]);
    let lost = wait::until("the record", || written("bearer.lost").pop());
    assert_eq!((&lost["target"], &lost["detail"]["why"]), (&json!("mobile"), &json!("no-context")));
    assert_eq!(written("bearer.found").len(), 1);
    assert!(
        lost["says"].as_str().is_none_or(|says| says.contains("a bearer can be used no longer")),
        "{lost}"
    );
    // And the card beside it is read as ever.
    assert!(modem.heard().iter().any(|line| line.starts_with("AT+CRSM")));
}

/// What `/v1/events` tells of bearers.
fn watch(rig: &Rig) -> mpsc::Receiver<Value> {
    let url = format!("http://{}/v1/events", rig.ports().console);
    let mut curl = Command::new("curl")
        .args([
            "-sN",
            "--max-time",
            "60",
            "-H",
            &format!("Authorization: Bearer {}", rig.console_token()),
            &url,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let mut of_bearers = false;
        for line in lines.map_while(Result::ok) {
            // The first word is of open connections: from then on nothing is missed.
            let _ = ready.send(());
            match line.strip_prefix("data: ") {
                Some(data) if of_bearers => drop(tell.send(serde_json::from_str(data).unwrap())),
                Some(_) => {}
                None => of_bearers = line == "event: bearer",
            }
        }
        let _ = curl.wait();
    });
    is_ready.recv_timeout(Duration::from_secs(10)).expect("the stream begins");
    told
}

fn ip(arguments: &str) {
    Output::of(Command::new("ip").args(arguments.split(' '))).ended(0);
}

#[test]
fn a_network_device_is_followed_and_flows_go_out_by_it() {
    let test = "a_network_device_is_followed_and_flows_go_out_by_it";
    let Some(world) = rig::world::inside(test) else { return };
    let origin = world.origin("93.184.215.14:80");
    let rig = with_bearers(
        "[[bearer]]\nname = \"air\"\nkind = \"linux\"\ndevice = \"device0\"\nuplink = \"1 Mbit/s\"\n",
    );
    let mut control = Control::of(&rig);
    let mut becomes = |state: &str, why: Option<&str>| {
        wait::until(why.unwrap_or(state), || {
            let air = bearer(&mut control, "air");
            (air["state"] == state && air["why"].as_str() == why).then_some(air)
        })
    };
    assert_eq!(becomes("up", None)["uplink"], "1 Mbit/s");
    // By the routing table alone it would go nowhere.
    ip("route add 93.184.215.14/32 dev lo");
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect", "blanket");
    let run = rig.run(&app);
    let reply = rig.curl(["--max-time", "10", "-x", &run.http, "http://93.184.215.14/none"]);
    assert_eq!((reply.status, origin.connections()), (404, 1), "the origin's own answer: {}", rig.log());
    // It says goodbye to itself, which needs the device.
    ip("route delete 93.184.215.14/32 dev lo");
    // The kernel says itself how fast it lets a connection be: a packet in two milliseconds, and a quarter more.
    let (_, who) = Control::of(&rig).run(&app);
    let target = "93.184.215.14:80".parse().unwrap();
    let tunnel = raw::open(rig.ports(), Door::Connect, &who, target).unwrap();
    let paced = |most: &str| {
        wait::until(&format!("pacing at {most}"), || {
            let shown = Output::of(Command::new("ss").args(["-tin", "dst", "93.184.215.14"])).ended(0).stdout;
            shown.contains(&format!("/{most} ")).then_some(())
        });
    };
    paced("7500000bps");
    let text = std::fs::read_to_string(rig.config_file()).unwrap();
    packages::write(&rig.config_file(), text.replace("\"1 Mbit/s\"", "\"10 Mbit/s\"").as_bytes());
    rig.signal(rustix::process::Signal::HUP);
    becomes("up", None);
    wait::until("the rate", || (becomes("up", None)["uplink"] == "10 Mbit/s").then_some(()));
    (&tunnel).write_all(b"GET /slowly HTTP/1.1\r\n").unwrap();
    paced("12500000bps");
    drop(tunnel);
    drop(origin);

    ip("link set device0 down");
    becomes("down", Some("link-down"));
    ip("link set device0 up");
    becomes("up", None);
    ip("address flush dev device0 scope global");
    becomes("down", Some("address-missing"));
    ip("address add 198.18.0.2/24 dev device0");
    becomes("up", None);
    ip("link delete device0");
    becomes("down", Some("device-missing"));
    let lost = || rig.journal(["--action", "bearer.lost"]).len();
    wait::until("three records", || (lost() == 3).then_some(()));
}
