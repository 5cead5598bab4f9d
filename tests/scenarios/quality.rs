//! What a flow gets on its way (security rule S21): a class above background only with the permission for it, marked in
//! every packet that leaves, and no more than its profile's maximum, each way, by every door. And `qos decode`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use mexe_forge::jar::JarBuilder;
use mexe_model::SecurityDomain;
use rig::cli::code;
use rig::exact::{Http, Way, ask, credentials, socks};
use rig::program::{install, install_for, native};
use rig::raw::{Credentials, basic};
use rig::{Origin, Output, Rig, World, binary, packages, wait, world};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType};
use serde_json::{Value, json};

/// The four classes as the shipped profiles have them, and the differentiated services code point of each.
const PROFILES: [(&str, &str, u8); 4] = [
    ("voice", "conversational", 46),
    ("streaming", "streaming", 34),
    ("web", "interactive", 18),
    ("sync", "background", 0),
];

fn asks_for(name: &str, profile: &str) -> JarBuilder {
    native(name, "true").attribute("MExE-QoS-Profile", profile)
}

fn begin(rig: &Rig, app: &str) -> Credentials {
    credentials(app, &rig.run(app))
}

/// Looks at the packets that arrive on the outside: the type of service of those that go to a port, and how many bytes
/// they carry.
struct Tap {
    socket: OwnedFd,
}

impl Tap {
    fn outside(world: &World) -> Self {
        let every = NonZeroU32::new(u32::from(0x0800_u16.to_be())).map(Protocol::from_raw);
        let open =
            || rustix::net::socket(AddressFamily::PACKET, SocketType::DGRAM, every).expect("root may listen");
        Self { socket: world.outside(open) }
    }

    /// The type of service of each packet so far that went to that port and carried something.
    fn seen(&self, port: u16) -> Vec<u8> {
        let mut seen = Vec::new();
        let mut packet = [0; 65536];
        while let Ok((length, _)) = rustix::net::recv(&self.socket, &mut packet[..], RecvFlags::DONTWAIT) {
            let packet = &packet[..length];
            let header = usize::from(packet[0] & 15) * 4;
            if packet.len() < header + 20 || packet[9] != 6 {
                continue;
            }
            let tcp = &packet[header..];
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            let carried = total - header - usize::from(tcp[12] >> 4) * 4;
            if u16::from_be_bytes([tcp[2], tcp[3]]) == port && carried > 0 {
                seen.push(packet[1]);
            }
        }
        seen
    }
}

#[test]
fn a_class_above_background_is_given_with_the_permission_and_marked_in_every_packet() {
    let name = "a_class_above_background_is_given_with_the_permission_and_marked_in_every_packet";
    let Some(world) = world::inside(name) else { return };
    let tap = Tap::outside(&world);
    let _origin = world.origin("93.184.215.14:80");
    let rig = Rig::start();
    for (profile, class, dscp) in PROFILES {
        let app = install(&rig, &asks_for(&format!("{profile}-app"), profile));
        assert_eq!(rig.json(["app", "show", &app])["qos_profile"], profile);
        let who = begin(&rig, &app);
        rig.grant(&app, "network.connect", "session");
        let target = "network.connect=93.184.215.14:80";
        for permitted in [false, true] {
            if permitted {
                rig.grant(&app, "network.qos", "session");
            }
            let given = if permitted { class } else { "background" };
            let marked = if permitted { dscp } else { 0 };
            let denied = !permitted && class != "background";
            for way in Way::ALL {
                tap.seen(80);
                assert_eq!(ask(&rig, way, &who, "93.184.215.14", 80), "hello");
                let seen = wait::until("the request's packets", || {
                    Some(tap.seen(80)).filter(|seen| !seen.is_empty())
                });
                // The lowest two bits are the kernel's own, for congestion.
                assert!(seen.iter().all(|tos| tos >> 2 == marked), "{profile} {way:?}: {seen:?}");
                let record = rig
                    .journal(["--app", &app, "--decision", "allow", "--action", "network.connect"])
                    .pop()
                    .unwrap();
                assert_eq!(record["class"], given, "{record}");
                let reason = record["detail"]["qos"].as_str();
                assert_eq!(reason, denied.then_some("qos-not-permitted"), "{record}");
            }
            let explained = rig.json(["explain", &app, target]);
            assert_eq!(explained["qos"]["class"], given, "{explained}");
            assert_eq!(explained["qos"]["reason"].as_str(), denied.then_some("qos-not-permitted"));
        }
    }
    // IPv6 has the same mark in another field; the kernel's own view of the open socket is the same for both.
    let six = world.origin(&format!("[{}]:80", world::OUTSIDE_V6));
    let who = begin(&rig, "voice-app");
    rig.grant("voice-app", "network.connect", "session");
    rig.grant("voice-app", "network.qos", "session");
    let tunnels =
        ["93.184.215.14", world::OUTSIDE_V6].map(|host| socks(rig.ports().socks, &who, host, 80).unwrap());
    let sockets = Output::of(Command::new("ss").args([
        "--tcp",
        "--numeric",
        "--no-header",
        "--tos",
        "state",
        "established",
        "dport",
        "=",
        ":80",
    ]));
    let marks: Vec<_> = sockets.stdout.lines().filter(|line| line.contains("0xb8")).collect();
    assert_eq!(marks.len(), 2, "{}", sockets.stdout);
    drop((tunnels, six));
}

#[test]
fn an_open_flow_with_a_class_is_cut_when_that_permission_goes() {
    let rig = Rig::start();
    let origin = Origin::start();
    let app = install(&rig, &asks_for("caller", "voice"));
    let who = begin(&rig, &app);
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    let qos = rig.grant(&app, "network.qos", "session");
    let mut tunnel = socks(rig.ports().socks, &who, "127.0.0.1", origin.address().port()).unwrap();
    assert_eq!(rig.json(["flows"])["items"][0]["class"], "conversational");
    assert_eq!(rig.metric("mexegate_flows_open{class=\"conversational\"}"), 1.0);
    rig.json(["revoke", &qos]);
    assert!(tunnel.read(&mut [0]).is_err(), "it is reset");
    let _again = socks(rig.ports().socks, &who, "127.0.0.1", origin.address().port()).unwrap();
    assert_eq!(rig.json(["flows"])["items"][0]["class"], "background", "a new one is background");
}

#[test]
fn a_single_permission_for_a_class_is_for_one_flow() {
    let rig = Rig::start();
    let origin = Origin::start();
    let app = install(&rig, &asks_for("caller", "voice"));
    let who = begin(&rig, &app);
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    rig.grant(&app, "network.qos", "single");
    let class = || {
        assert_eq!(ask(&rig, Way::Forward, &who, "127.0.0.1", origin.address().port()), "hello");
        let record =
            rig.journal(["--app", &app, "--decision", "allow", "--action", "network.connect"]).pop().unwrap();
        record["class"].as_str().unwrap().to_owned()
    };
    assert_eq!([class(), class()], ["conversational", "background"]);
}

#[test]
fn nobody_asks_for_a_class_but_the_signed_manifest_and_the_owners_rules() {
    let rig = Rig::builder().section("qos", "default_profile = \"background\"").start();
    let origin = Origin::start();
    // A profile that there is not is as if it were not asked for.
    let odd = install(&rig, &asks_for("odd", "warp-speed"));
    let odd_who = begin(&rig, &odd);
    rig.grant(&odd, "network.connect=127.0.0.1", "session");
    rig.grant(&odd, "network.qos", "session");
    assert_eq!(ask(&rig, Way::Socks, &odd_who, "127.0.0.1", origin.address().port()), "hello");
    let record =
        rig.journal(["--app", &odd, "--decision", "allow", "--action", "network.connect"]).pop().unwrap();
    assert_eq!((&record["class"], &record["detail"]), (&"background".into(), &serde_json::Value::Null));
    // An unsigned manifest asks for nothing.
    let unsigned = install_for(&rig, &asks_for("loud", "voice"), None::<SecurityDomain>);
    assert!(rig.json(["app", "show", &unsigned])["qos_profile"].is_null());
    // A rule by port asks for every app: SIP is voice, and still needs the permission.
    let explained = rig.json(["explain", &odd, "network.connect=93.184.215.14:5060"]);
    assert_eq!(explained["qos"]["class"], "conversational", "{explained}");
    rig.json(["revoke", "--app", &odd]);
    let explained = rig.json(["explain", &odd, "network.connect=93.184.215.14:5060"]);
    assert_eq!(
        (&explained["qos"]["class"], &explained["qos"]["reason"]),
        (&"background".into(), &"qos-not-permitted".into())
    );
}

/// Bytes a second and bytes at once of the profile `narrow`.
const RATE: u64 = 100_000;
const BURST: u64 = 20_000;
/// What is sent each way.
const AMOUNT: u64 = 150_000;

#[test]
fn no_flow_is_faster_than_its_profile() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"narrow\"\ndescription = \"for a test\"\nclass = \"background\"\nmax_bitrate_up = \"{0} kbit/s\"\n\
         max_bitrate_down = \"{0} kbit/s\"\nburst = {BURST}\n",
        RATE * 8 / 1000
    );
    rig::packages::write(&folder.path().join("narrow.toml"), text.as_bytes());
    let rig = Rig::builder().section("qos", &format!("profiles = \"{}\"", folder.path().display())).start();
    let app = install(&rig, &asks_for("narrow", "narrow"));
    let who = begin(&rig, &app);
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    // Three ways at once, down and up: each flow has its own measure, so all take as long as one.
    let least = Duration::from_millis((AMOUNT - BURST) * 1000 / RATE);
    let took: Vec<_> = std::thread::scope(|scope| {
        let pairs = Way::ALL.into_iter().flat_map(|way| [(way, false), (way, true)]);
        let flows: Vec<_> = pairs
            .map(|(way, up)| {
                let (rig, who) = (&rig, &who);
                scope.spawn(move || (way, up, transfer(rig, way, who, up)))
            })
            .collect();
        flows.into_iter().map(|flow| flow.join().unwrap()).collect()
    });
    for (way, up, took) in &took {
        // The receiver may have been woken late for its first byte.
        assert!(
            *took + Duration::from_millis(150) >= least,
            "{way:?} up {up}: {AMOUNT} bytes in {took:?}, no less than {least:?} is allowed"
        );
    }
    let longest = took.iter().map(|(_, _, took)| *took).max().unwrap();
    println!("{AMOUNT} bytes at {RATE} bytes/s after {BURST}: at least {least:?}, took {took:?}");
    assert!(longest < least * 5, "{longest:?}: the maximum is a maximum, not a trickle");
}

/// Moves [`AMOUNT`] bytes through a flow, up or down, and tells how long the receiver waited for them.
fn transfer(rig: &Rig, way: Way, who: &Credentials, up: bool) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        if way == Way::Forward {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
        }
        let began = Instant::now();
        let mut bytes = vec![b'x'; usize::try_from(AMOUNT).unwrap()];
        if up {
            stream.read_exact(&mut bytes).unwrap();
            let took = began.elapsed();
            if way == Way::Forward {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
            return took;
        }
        if way == Way::Forward {
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {AMOUNT}\r\n\r\n").as_bytes())
                .unwrap();
        }
        stream.write_all(&bytes).unwrap();
        Duration::ZERO
    });
    let bytes = vec![b'y'; usize::try_from(AMOUNT).unwrap()];
    let began = Instant::now();
    if way == Way::Forward {
        let mut http = Http::to(rig.ports().http);
        let method = if up { "POST" } else { "GET" };
        let length = if up { format!("Content-Length: {AMOUNT}\r\n") } else { String::new() };
        http.send(format!(
            "{method} http://{address}/ HTTP/1.1\r\nHost: {address}\r\nProxy-Authorization: {}\r\n{length}\r\n",
            basic(who)
        ));
        if up {
            http.send(&bytes);
        }
        let answer = http.answer().expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    } else {
        let mut tunnel = match way {
            Way::Socks => socks(rig.ports().socks, who, "127.0.0.1", address.port()).unwrap(),
            _ => rig::raw::open(rig.ports(), rig::raw::Door::Connect, who, address).unwrap(),
        };
        if up {
            tunnel.write_all(&bytes).unwrap();
        } else {
            tunnel.read_exact(&mut vec![0; bytes.len()]).unwrap();
        }
    }
    let here = began.elapsed();
    let there = server.join().unwrap();
    if up { there } else { here }
}

fn decode(arguments: &[&str]) -> Output {
    Output::of(Command::new(binary::mexegate()).args(["qos", "decode"]).args(arguments))
}

#[test]
fn an_element_is_shown_field_by_field_without_a_gate() {
    let hex = "1b931f7396fefe7403ffff00fa00fa00f6003e00";
    let shown = decode(&[hex]).ended(code::DONE).stdout;
    for line in [
        "6      traffic-class                       3     interactive",
        "7      max-sdu                             150   1500 octets",
        "19     max-bitrate-down-extended-2         246   10000 Mbit/s",
        "maximum uplink         510 Mbit/s",
        "maximum downlink       10 Gbit/s",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no `{line}` in\n{shown}");
    }
    // Upper case is as good, and codes that should not be there are told.
    let odd = decode(&["--json", "0B611F93FFFFFFFF40FFFF1F"]).ended(code::DONE).json;
    assert_eq!(odd["octets"], 12);
    let field = |name: &str| {
        let fields = odd["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).cloned().unwrap_or_else(|| panic!("no {name}"))
    };
    let sdu = json!({ "octet": 7, "name": "max-sdu", "code": 255, "meaning": "reserved, read as subscribed", "odd": true });
    assert_eq!(field("max-sdu"), sdu);
    assert_eq!(field("max-bitrate-up")["meaning"], "0 kbit/s");
    assert_eq!(odd["attributes"]["class"], "background");
    let findings: Vec<_> =
        odd["findings"].as_array().unwrap().iter().map(|finding| &finding["weight"]).collect();
    assert_eq!(findings, ["wrong", "ignored", "ignored"], "{odd}");
    // The short form has the classes of Release 97 only.
    let short = decode(&["--json", "23931f"]).ended(code::DONE).json;
    assert_eq!((&short["attributes"], &short["release97"]["delay"]), (&Value::Null, &json!(4)));
    // As many octets has only the element of LTE for more than 10 Gbit/s.
    let extended = decode(&["0203e89c400000000000"]).ended(code::DONE).stdout;
    for line in ["3      max-bitrate-unit         2      1 Mbit/s", "maximum downlink       40 Gbit/s"] {
        assert!(extended.lines().any(|shown| shown == line), "no `{line}` in\n{extended}");
    }
    let extended = decode(&["--json", "0203e89c400000000000"]).ended(code::DONE).json;
    assert_eq!((&extended["element"], &odd["element"]), (&json!("extended-qos"), &json!("qos")));
    let rates = json!({ "max_bitrate_up": "1 Gbit/s", "max_bitrate_down": "40 Gbit/s" });
    assert_eq!(extended["attributes"], rates, "{extended}");
}

#[test]
fn what_is_no_element_is_a_mistake_in_the_command_line() {
    let long = "0".repeat(42);
    for (hex, what) in [
        ("123", "3 digits are no whole octets"),
        ("0g", "`g` is no hexadecimal digit"),
        ("\u{e9}\u{1b}[31m", "is no hexadecimal digit"),
        ("", "0 octets are no quality of service element"),
        (
            "0c0b311f338c1f1f72341f1f01",
            "13 octets are no quality of service element: its value has 3, 11, 12, 14, 16, 18 or 20; give the value alone",
        ),
        (&*long, "42 digits are more than"),
    ] {
        let output = decode(&["--", hex]).ended(code::USAGE);
        assert!(output.stderr.contains(what), "{hex}: {}", output.stderr);
        assert_eq!((output.stderr.lines().count(), output.stdout.as_str()), (1, ""), "{hex}");
    }
}

#[test]
fn a_mistaken_profile_is_refused_with_its_place_and_an_odd_one_only_doubted() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        let head = "name = \"own\"\ndescription = \"d\"\nclass = \"streaming\"\n";
        packages::write(&folder.path().join("own.toml"), format!("{head}{text}").as_bytes());
    };
    let profiles = format!("profiles = \"{}\"", folder.path().display());
    let mut rig = Rig::builder().section("qos", &profiles).prepare();
    let config = rig.config_file().display().to_string();
    let check = |rig: &Rig, ends| rig.cli(["check-config", "--config", &config]).ended(ends);

    write("traffic_handling_priority = 1\n");
    let wrong = check(&rig, code::FAULT).stderr;
    assert!(
        wrong.contains("own.toml:4:29: `traffic_handling_priority` does nothing in class streaming"),
        "{wrong}"
    );
    write("sdu_error_ratio = \"1e-6\"\n");
    let odd = check(&rig, code::DONE);
    let doubt = "profile `own`: `sdu_error_ratio`: 1e-6 is not recommended for class streaming";
    assert_eq!(odd.stderr, format!("mexegate: {doubt}\n"));
    assert!(odd.stdout.contains("qos.profiles"), "{}", odd.stdout);
    rig.spawn();
    wait::until("the doubt in the log", || rig.log().contains(doubt).then_some(()));
}
