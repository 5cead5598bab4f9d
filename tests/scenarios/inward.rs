//! No way inward (security rule S6): whatever a name resolves to, however an address is written, an app reaches the
//! device, its networks and the gate itself only by a grant that names the address, and the gate's own listeners by none.
//! No name is asked for before the permission.

use std::fs;
use std::process::Command;

use rig::exact::{Way, ask, credentials};
use rig::raw::Credentials;
use rig::{Origin, Output, Resolver, Rig, World, cli::code, world};

/// A server outside with a global address.
const PUBLIC: &str = "93.184.215.14";

/// Names of the rig's resolver: where each leads, and why that is nowhere.
const INWARD: &[(&str, &[&str])] = &[
    ("loopback.test", &["127.0.0.1"]),
    ("loopback-far.test", &["127.255.255.254"]),
    ("loopback6.test", &["::1"]),
    ("both-loopbacks.test", &["127.0.0.1", "::1"]),
    ("unspecified.test", &["0.0.0.0"]),
    ("unspecified6.test", &["::"]),
    ("this-network.test", &["0.1.2.3"]),
    ("ten.test", &["10.11.12.13"]),
    ("private172.test", &["172.16.0.1"]),
    ("private192.test", &["192.168.1.1"]),
    ("shared.test", &["100.64.0.1"]),
    ("link-local.test", &["169.254.1.1"]),
    ("metadata.test", &["169.254.169.254"]),
    ("metadata-alibaba.test", &["100.100.100.200"]),
    ("metadata-azure.test", &["168.63.129.16"]),
    ("metadata6.test", &["fd00:ec2::254"]),
    ("benchmark.test", &["198.18.0.1"]),
    ("documentation.test", &["192.0.2.1"]),
    ("multicast.test", &["224.0.0.1"]),
    ("multicast6.test", &["ff02::1"]),
    ("broadcast.test", &["255.255.255.255"]),
    ("reserved.test", &["240.0.0.1"]),
    ("six-to-four.test", &["2002:7f00:1::1"]),
    ("teredo.test", &["2001:0:7f00:1::1"]),
    ("unique-local.test", &["fd12:3456::1"]),
    ("link-local6.test", &["fe80::1"]),
    ("site-local.test", &["fec0::1"]),
    ("mapped-loopback.test", &["::ffff:127.0.0.1"]),
    ("mapped-public.test", &["::ffff:93.184.215.14"]),
    ("compatible.test", &["::127.0.0.1"]),
    ("nat64-loopback.test", &["64:ff9b::7f00:1"]),
    ("nat64-private.test", &["64:ff9b::a0b:c0d"]),
    ("nat64-public.test", &["64:ff9b::5db8:d70e"]),
    ("nat64-local.test", &["64:ff9b:1::a0b:c0d"]),
    ("reserved6.test", &["5f00::1"]),
    ("own.test", &["5.6.7.8"]),
    ("several-inward.test", &["10.11.12.13", "127.0.0.1", "fd12:3456::1"]),
];

/// Hosts that are numbers in some reader's eyes.
const NUMERIC: &[&str] = &[
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "127.0.0.1.5",
    "1.2.3.0x4",
    "example.0x7f",
    "example.127",
    "256.256.256.256",
];

/// Hosts that are no fully qualified names.
const NO_NAMES: &[&str] =
    &["intranet", "a..test", ".test", "-a.test", "a-.test", "xn--a.test", "exa_mple", "com"];

/// A world with a resolver that knows [`INWARD`], a gate in it, an app, and a server outside.
struct Inward {
    rig: Rig,
    resolver: Resolver,
    origin: Origin,
    app: String,
    who: Credentials,
}

fn inside(test: &str) -> Option<(World, Inward)> {
    let world = world::inside(test)?;
    // The device's own global address, there before the gate looks around.
    Output::of(Command::new("ip").args(["address", "add", "5.6.7.8/32", "dev", "device0"])).ended(0);
    let resolver = world.resolver();
    for (name, addresses) in INWARD {
        resolver.set(name, addresses);
    }
    resolver.set("public.test", &[PUBLIC]);
    let origin = world.origin(&format!("{PUBLIC}:80"));
    let rig = Rig::start();
    let app = rig.app("third-party");
    let who = credentials(&app, &rig.run(&app));
    Some((world, Inward { rig, resolver, origin, app, who }))
}

impl Inward {
    #[track_caller]
    fn ask(&self, way: Way, host: &str) -> String {
        ask(&self.rig, way, &self.who, host, 80)
    }

    fn grant(&self, target: &str) -> String {
        let what = if target.is_empty() {
            "network.connect".to_owned()
        } else {
            format!("network.connect={target}")
        };
        self.rig.grant(&self.app, &what, "session")
    }

    fn revoke_all(&self) {
        self.rig.json(["revoke", "--app", &self.app]);
    }
}

#[test]
fn nothing_is_resolved_before_permission() {
    let Some((_world, at)) = inside("nothing_is_resolved_before_permission") else { return };
    // Without any grant, with one for another name, for another port, for an address and another port, and one that is
    // over: nothing leaves the device.
    for (target, reason) in [
        (None, "permission-missing"),
        (Some("other.test"), "target-out-of-scope"),
        (Some("*.public.test"), "target-out-of-scope"),
        (Some("public.test:443"), "target-out-of-scope"),
        (Some("10.0.0.0/8:443"), "target-out-of-scope"),
    ] {
        if let Some(target) = target {
            at.grant(target);
        }
        for way in Way::ALL {
            assert_eq!(at.ask(way, "public.test"), reason, "{target:?} {way:?}");
            assert_eq!(
                at.ask(way, "x7f3a9-stolen-data.public.test").as_str(),
                match target {
                    Some("*.public.test") => "name-unresolvable",
                    _ => reason,
                }
            );
        }
        if target == Some("*.public.test") {
            // This one could have been permitted, so it was asked for; the other was not.
            assert!(!at.resolver.questions().contains(&"public.test".to_owned()));
            assert!(at.resolver.questions().contains(&"x7f3a9-stolen-data.public.test".to_owned()));
        }
        at.revoke_all();
        if target.is_none() {
            assert_eq!(at.resolver.questions(), [""; 0]);
        }
    }
    assert!(!at.resolver.questions().contains(&"public.test".to_owned()), "{:?}", at.resolver.questions());
    assert_eq!(at.origin.connections(), 0);

    // With the permission it is asked for once in each family, without any search list, and reached.
    at.grant("public.test");
    let before = at.resolver.questions().len();
    assert_eq!(at.ask(Way::Connect, "public.test"), "hello");
    assert_eq!(at.resolver.questions()[before..], ["public.test", "public.test"]);
}

#[test]
fn no_name_leads_inward_whatever_it_resolves_to() {
    let Some((world, at)) = inside("no_name_leads_inward_whatever_it_resolves_to") else { return };
    // Servers where the names lead, so that a connection would be seen.
    let inner: Vec<Origin> = ["127.0.0.1:80", "[::1]:80", "5.6.7.8:80"]
        .iter()
        .map(|address| Origin::at(address.parse().unwrap()))
        .chain(["10.11.12.13:80", "169.254.169.254:80"].map(|address| world.origin(address)))
        .collect();
    // Any global address, and every name by itself or by a wildcard: none of these covers an address that is not global.
    for (n, (name, addresses)) in INWARD.iter().enumerate() {
        at.grant(["", name, "*.rest.test"][n % 2]);
        // Each name by one way, each way by a third of the names; all ways for the first few.
        let ways = if n < 6 { &Way::ALL[..] } else { &Way::ALL[n % 3..=n % 3] };
        for way in ways {
            let found = at.ask(*way, name);
            assert_eq!(found, "address-not-public", "{name} is {addresses:?}, {way:?}");
        }
        at.revoke_all();
    }
    at.resolver.set("deep.rest.test", &["10.11.12.13"]);
    at.grant("*.rest.test");
    assert_eq!(at.ask(Way::Forward, "deep.rest.test"), "address-not-public");
    // localhost and names below it are the loopback, and nobody is asked.
    at.grant("");
    at.grant("localhost");
    for name in ["localhost", "LOCALHOST", "localhost.", "metadata.localhost"] {
        for way in Way::ALL {
            assert_eq!(at.ask(way, name), "address-not-public", "{name}");
        }
    }
    assert!(!at.resolver.questions().iter().any(|question| question.contains("localhost")));
    for origin in &inner {
        assert_eq!(origin.connections(), 0, "{} was reached", origin.address());
    }
    assert_eq!(at.origin.connections(), 0);
}

#[test]
fn an_address_written_by_the_app_is_judged_like_any_other() {
    let Some((_world, at)) = inside("an_address_written_by_the_app_is_judged_like_any_other") else { return };
    at.grant("");
    for (n, (_, addresses)) in INWARD.iter().enumerate() {
        for address in *addresses {
            let way = Way::ALL[n % 3];
            assert_eq!(at.ask(way, address), "address-not-public", "{address} {way:?}");
        }
    }
    for way in Way::ALL {
        assert_eq!(at.ask(way, PUBLIC), "hello");
    }
    // A grant for a name is none for its address, and none for an address that is written as a name.
    at.revoke_all();
    at.grant("public.test");
    for way in Way::ALL {
        assert_eq!(at.ask(way, PUBLIC), "target-out-of-scope");
    }
    assert!(at.resolver.questions().is_empty());
}

#[test]
fn what_looks_like_a_number_is_never_resolved() {
    let Some((_world, at)) = inside("what_looks_like_a_number_is_never_resolved") else { return };
    at.grant("");
    at.grant("127.0.0.0/8");
    for host in NUMERIC.iter().chain(NO_NAMES) {
        // A resolver that would answer makes no difference.
        at.resolver.set(host, &[PUBLIC]);
        for way in Way::ALL {
            let found = at.ask(way, host);
            // HTTP's own grammar refuses some before they are judged as names.
            let expected = ["name-not-allowed", "request-malformed"];
            assert!(expected.contains(&found.as_str()), "{host} {way:?}: {found}");
            assert!(
                way == Way::Connect || way == Way::Forward || found == "name-not-allowed",
                "{host} {found}"
            );
        }
    }
    // Digits in other scripts are the same digits; SOCKS5 carries them as they are.
    for host in [
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "127.0.0.1\u{0}.public.test",
        "public.test\r\nHost: x",
        "a b.test",
    ] {
        let found = at.ask(Way::Socks, host);
        assert!(["name-not-allowed", "request-malformed"].contains(&found.as_str()), "{host:?}: {found}");
    }
    assert_eq!(at.resolver.questions(), [""; 0]);
    assert_eq!(at.origin.connections(), 0);
}

#[test]
fn a_name_is_one_name_in_every_spelling() {
    let Some((_world, at)) = inside("a_name_is_one_name_in_every_spelling") else { return };
    at.resolver.set("xn--bcher-kva.test", &[PUBLIC]);
    at.grant("bücher.test");
    for host in ["bücher.test", "BÜCHER.test", "xn--bcher-kva.test", "XN--BCHER-KVA.TEST.", "bücher。test"]
    {
        assert_eq!(at.ask(Way::Socks, host), "hello", "{host}");
    }
    assert!(
        at.resolver.questions().iter().all(|name| name == "xn--bcher-kva.test"),
        "{:?}",
        at.resolver.questions()
    );
    // Another name that looks alike is another name.
    assert_eq!(at.ask(Way::Socks, "bu\u{308}cher.test"), "hello", "composed by the rules of names");
    assert_eq!(at.ask(Way::Socks, "bucher.test"), "target-out-of-scope");
}

#[test]
fn the_hosts_file_is_judged_like_the_resolver() {
    let Some((_world, at)) = inside("the_hosts_file_is_judged_like_the_resolver") else { return };
    let hosts = at.rig.folder().join("hosts");
    let text = format!(
        "127.0.0.1 localhost\n10.11.12.13 printer.lan public.test\n{PUBLIC} mirror.lan\n::ffff:10.0.0.1 odd.lan\n"
    );
    fs::write(&hosts, text).unwrap();
    Output::of(Command::new("umount").arg("/etc/hosts")).ended(0);
    Output::of(Command::new("mount").arg("--bind").arg(&hosts).arg("/etc/hosts")).ended(0);
    at.grant("");
    for way in Way::ALL {
        assert_eq!(at.ask(way, "printer.lan"), "address-not-public");
        assert_eq!(at.ask(way, "odd.lan"), "address-not-public");
        assert_eq!(at.ask(way, "public.test"), "address-not-public", "the hosts file comes first");
        assert_eq!(at.ask(way, "mirror.lan"), "hello");
    }
    assert_eq!(at.resolver.questions(), [""; 0]);
}

#[test]
fn a_name_with_addresses_on_both_sides_leads_outward_only() {
    let Some((world, at)) = inside("a_name_with_addresses_on_both_sides_leads_outward_only") else { return };
    let private = world.origin("10.11.12.13:80");
    let metadata = world.origin("169.254.169.254:80");
    at.resolver.set("mixed.test", &["10.11.12.13", PUBLIC, "169.254.169.254"]);
    at.resolver.set("private-pair.test", &["10.11.12.13", "10.0.0.99"]);
    at.grant("mixed.test");
    for way in Way::ALL {
        assert_eq!(at.ask(way, "mixed.test"), "hello");
    }
    let record = at
        .rig
        .journal(["--app", &at.app, "--decision", "allow", "--action", "network.connect"])
        .pop()
        .unwrap();
    assert_eq!(
        record["addresses"],
        serde_json::json!([format!("{PUBLIC}:80")]),
        "exactly what was decided on"
    );
    assert_eq!((at.origin.connections(), private.connections(), metadata.connections()), (3, 0, 0));

    // A grant that names addresses covers a name only if all of them fit.
    at.revoke_all();
    at.grant("10.11.12.13");
    for way in Way::ALL {
        assert_eq!(at.ask(way, "mixed.test"), "target-out-of-scope");
        assert_eq!(at.ask(way, "private-pair.test"), "target-out-of-scope");
        assert_eq!(at.ask(way, "ten.test"), "hello", "it names the address");
        assert_eq!(at.ask(way, "10.11.12.13"), "hello");
        // IPv6 in which that address hides is not named by it.
        assert_eq!(at.ask(way, "::ffff:10.11.12.13"), "target-out-of-scope");
        assert_eq!(at.ask(way, "nat64-private.test"), "target-out-of-scope");
    }
    at.grant("::/0");
    for way in Way::ALL {
        assert_eq!(
            at.ask(way, "::ffff:10.11.12.13"),
            "target-out-of-scope",
            "::/0 does not name what hides in it"
        );
    }
    assert_eq!((private.connections(), metadata.connections()), (6, 0));
}

#[test]
fn an_answer_that_changes_is_judged_anew_each_time() {
    let Some((world, at)) = inside("an_answer_that_changes_is_judged_anew_each_time") else { return };
    let private = world.origin("10.11.12.13:80");
    at.grant("rebound.test");
    for way in Way::ALL {
        for (addresses, found) in
            [(PUBLIC, "hello"), ("10.11.12.13", "address-not-public"), (PUBLIC, "hello")]
        {
            at.resolver.set("rebound.test", &[addresses]);
            assert_eq!(at.ask(way, "rebound.test"), found, "{way:?}");
        }
    }
    // One look-up a connection, two families: nothing is asked again between decision and connect.
    assert_eq!(at.resolver.questions().len(), 3 * 3 * 2);
    assert_eq!((at.origin.connections(), private.connections()), (6, 0));
}

#[test]
fn the_gates_own_listeners_are_never_reached_through_it() {
    let Some((_world, at)) = inside("the_gates_own_listeners_are_never_reached_through_it") else { return };
    for target in
        ["127.0.0.0/8", "::1", "0.0.0.0", "::", "::ffff:0:0/96", "64:ff9b::/96", "5.6.7.8", "localhost", ""]
    {
        at.grant(target);
    }
    let ports = at.rig.ports();
    for (n, listener) in [ports.socks, ports.http, ports.console, ports.metrics].iter().enumerate() {
        let hosts = [
            "127.0.0.1",
            "0.0.0.0",
            "::ffff:127.0.0.1",
            "::",
            "loopback.test",
            "unspecified.test",
            "mapped-loopback.test",
        ];
        for host in hosts {
            for way in &Way::ALL[n % 3..=n % 3] {
                let found = ask(&at.rig, *way, &at.who, host, listener.port());
                assert_eq!(found, "own-address", "{host}:{} {way:?}", listener.port());
            }
        }
    }
    // A server of the user's beside it is reached, by those who may.
    let beside = Origin::at("127.0.0.1:0".parse().unwrap());
    for way in Way::ALL {
        assert_eq!(ask(&at.rig, way, &at.who, "127.0.0.1", beside.address().port()), "hello");
        assert_eq!(ask(&at.rig, way, &at.who, "loopback.test", beside.address().port()), "hello");
    }
}

#[test]
fn a_name_without_an_address_and_roads_that_end_each_have_their_reason() {
    let Some((_world, at)) = inside("a_name_without_an_address_and_roads_that_end_each_have_their_reason")
    else {
        return;
    };
    at.grant("");
    Output::of(Command::new("ip").args(["route", "add", "unreachable", "9.9.9.0/24"])).ended(0);
    for way in Way::ALL {
        assert_eq!(at.ask(way, "nowhere.test"), "name-unresolvable");
        assert_eq!(at.ask(way, "9.9.9.9"), "upstream-unreachable");
        assert_eq!(ask(&at.rig, way, &at.who, PUBLIC, 81), "upstream-refused");
    }
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    let Some(_world) = world::inside("a_server_that_is_silent_is_given_up") else { return };
    let rig = Rig::builder().section("limits", "connect = \"400ms\"").start();
    let app = rig.app("third-party");
    let who = credentials(&app, &rig.run(&app));
    rig.grant(&app, "network.connect", "session");
    // An address behind the router that nobody has.
    for way in Way::ALL {
        assert_eq!(ask(&rig, way, &who, "11.12.13.14", 80), "upstream-timeout");
    }
}

#[test]
fn a_wildcard_covers_no_public_suffix() {
    let rig = Rig::start();
    let app = rig.app("third-party");
    for target in ["*.com", "*.co.uk", "*.github.io", "*.test", "*"] {
        let what = format!("network.connect={target}");
        let refused = rig.cli(["--json", "grant", &app, &what, "--permission", "session"]).ended(code::USAGE);
        assert_eq!(refused.text("reason"), "request-malformed", "{target}");
    }
    rig.grant(&app, "network.connect=*.example.co.uk", "session");
}
