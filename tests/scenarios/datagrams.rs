//! Datagrams through the gate (SOCKS5 UDP ASSOCIATE): who may send, where to, what comes back, and that it ends when the
//! right to it does (S6, S10). The cases that clients and servers get wrong are here one by one.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rig::exact::credentials;
use rig::raw::{Credentials, No};
use rig::{Association, Control, Peer, Rig, wait, world};
use serde_json::{Value, json};

/// An app that may exchange datagrams with servers on this host.
fn permitted(rig: &Rig) -> (String, Credentials) {
    let app = rig.app("third-party");
    rig.grant(&app, "network.datagram=127.0.0.1", "session");
    let who = credentials(&app, &rig.run(&app));
    (app, who)
}

/// One datagram there and back: whatever was sent before it through the same association has been dealt with.
#[track_caller]
fn fence(association: &Association, peer: &Peer) {
    association.send(peer.address(), b"fence");
    assert_eq!(peer.echo(), b"fence");
    assert_eq!(association.receive(), (peer.address(), b"fence".to_vec()));
}

fn flow_end(rig: &Rig, app: &str, target: SocketAddr) -> Value {
    wait::until("the end of the flow in the journal", || {
        let records = rig.journal(["--app", app]);
        records.into_iter().find(|r| r["kind"] == "flow-end" && r["target"] == target.to_string())
    })
}

fn places(rig: &Rig) -> u64 {
    Control::of(rig).done("GET", "/v1/status", None).json["connections"]["open"].as_u64().unwrap()
}

fn dropped(rig: &Rig, reason: &str) -> f64 {
    rig.metric(&format!("mexegate_datagrams_dropped_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_flow_is_decided_listed_counted_and_journalled_like_any_other() {
    let rig = Rig::start();
    let peer = Peer::start();
    let (app, who) = permitted(&rig);
    let association = Association::open(rig.ports().socks, &who).unwrap();
    assert_eq!(association.relay.ip(), rig.ports().socks.ip(), "where the control connection came in");
    assert_ne!(association.relay.port(), 0);
    for n in 0..3_u8 {
        association.send(peer.address(), &[n; 100]);
        assert_eq!(peer.echo(), vec![n; 100]);
        assert_eq!(association.receive(), (peer.address(), vec![n; 100]));
    }
    // Empty ones are datagrams as well.
    association.send(peer.address(), b"");
    assert_eq!(peer.echo(), b"");
    assert_eq!(association.receive(), (peer.address(), vec![]));
    let flows = rig.json(["flows"]);
    let [flow] = flows["items"].as_array().unwrap().as_slice() else { panic!("one flow: {flows}") };
    assert_eq!(flow["ingress"], "socks5-udp", "{flow}");
    assert_eq!(flow["target"], peer.address().to_string());
    assert_eq!((&flow["bytes_up"], &flow["bytes_down"]), (&json!(300), &json!(300)));
    let labels = "{domain=\"third-party\",class=\"background\",ingress=\"socks5-udp\"}";
    assert_eq!(rig.metric(&format!("mexegate_flows_open{labels}")), 1.0);
    drop(association);
    let end = flow_end(&rig, &app, peer.address());
    assert_eq!((&end["bytes_up"], &end["bytes_down"]), (&json!(300), &json!(300)), "{end}");
    assert_eq!(end["detail"], json!({ "datagrams_up": 4, "datagrams_down": 4 }));
    assert_eq!(rig.metric(&format!("mexegate_flows_open{labels}")), 0.0);
    let allowed = rig.journal(["--app", &app, "--decision", "allow", "--action", "network.datagram"]);
    let [allowed] = allowed.as_slice() else { panic!("one decision: {allowed:?}") };
    assert_eq!((&allowed["action"], &allowed["ingress"]), (&json!("network.datagram"), &json!("socks5-udp")));
    assert_eq!(allowed["addresses"], json!([peer.address().to_string()]));
    let total = "{domain=\"third-party\",ingress=\"socks5-udp\",result=\"closed\"}";
    assert_eq!(rig.metric(&format!("mexegate_flows_total{total}")), 1.0);
}

#[test]
fn without_permission_not_one_packet_leaves() {
    let rig = Rig::start();
    let (peer, other) = (Peer::start(), Peer::start());
    let app = rig.app("third-party");
    rig.grant(&app, &format!("network.datagram={}", other.address()), "session");
    // A permission for connections is none for datagrams.
    rig.grant(&app, &format!("network.connect={}", peer.address()), "session");
    let who = credentials(&app, &rig.run(&app));
    let association = Association::open(rig.ports().socks, &who).unwrap();
    for n in 0..50_u8 {
        association.send(peer.address(), &[n]);
    }
    fence(&association, &other);
    // Those that came while it was decided had no room to wait.
    wait::until("all to be dropped", || {
        (dropped(&rig, "target-out-of-scope") + dropped(&rig, "limit-rate") == 50.0).then_some(())
    });
    assert!(peer.unread().is_empty());
    let refused = rig.journal(["--app", &app, "--decision", "deny"]);
    let [refused] = refused.as_slice() else { panic!("one record for all: {refused:?}") };
    assert_eq!(refused["target"], peer.address().to_string());
    assert_eq!(
        (&refused["action"], &refused["reason"]),
        (&json!("network.datagram"), &json!("target-out-of-scope"))
    );
    // Permission given, the next one goes at once.
    rig.grant(&app, &format!("network.datagram={}", peer.address()), "session");
    association.send(peer.address(), b"now");
    assert_eq!(peer.echo(), b"now");
    assert_eq!(association.receive().1, b"now");
}

#[test]
fn who_may_never_send_gets_no_association() {
    let rig = Rig::start();
    let app = rig.app("unsigned");
    let who = credentials(&app, &rig.run(&app));
    assert_eq!(Association::open(rig.ports().socks, &who).err(), Some(No::Socks(2)));
    let refused = rig.journal(["--app", &app, "--decision", "deny"]);
    assert_eq!(
        (&refused[0]["reason"], &refused[0]["ingress"]),
        (&json!("untrusted-app"), &json!("socks5-udp"))
    );
    let wrong = Credentials { app, token: "0".repeat(64) };
    assert_eq!(Association::open(rig.ports().socks, &wrong).err(), Some(No::Socks(0xff)));
}

#[test]
fn no_name_is_looked_up_before_permission_and_answers_come_from_the_address() {
    let name = "no_name_is_looked_up_before_permission_and_answers_come_from_the_address";
    let Some(world) = world::inside(name) else { return };
    let resolver = world.resolver();
    resolver.set("time.host.example", &["93.184.215.14"]);
    resolver.set("inward.host.example", &["10.11.12.13"]);
    let (peer, inward) = world.outside(|| (Peer::at("93.184.215.14:123"), Peer::at("10.11.12.13:123")));
    let rig = Rig::start();
    let app = rig.app("third-party");
    let who = credentials(&app, &rig.run(&app));
    let association = Association::open(rig.ports().socks, &who).unwrap();
    association.send_to_name("time.host.example", 123, b"early");
    wait::until("the refusal", || (dropped(&rig, "permission-missing") == 1.0).then_some(()));
    assert_eq!(resolver.questions(), [""; 0], "a question is a leak");
    rig.grant(&app, "network.datagram=*.host.example:123", "session");
    for (spelling, text) in [("time.host.example", b"one"), ("TIME.Host.example", b"two")] {
        association.send_to_name(spelling, 123, text);
        assert_eq!(peer.echo(), text);
        assert_eq!(association.receive(), (peer.address(), text.to_vec()));
    }
    assert_eq!(rig.json(["flows"])["items"].as_array().unwrap().len(), 1, "one flow for one name");
    assert_eq!(rig.json(["flows"])["items"][0]["target"], "time.host.example:123");
    association.send_to_name("inward.host.example", 123, b"inward");
    wait::until("the refusal", || (dropped(&rig, "address-not-public") == 1.0).then_some(()));
    association.send_to_name("127.1", 123, b"numeric");
    association.send_to_name("a\0b", 123, b"not a name");
    wait::until("the refusals", || (dropped(&rig, "name-not-allowed") >= 1.0).then_some(()));
    assert!(inward.unread().is_empty());
    // IPv6 outside, over the same association on IPv4.
    let six = world.outside(|| Peer::at(&format!("[{}]:123", world::OUTSIDE_V6)));
    rig.grant(&app, "network.datagram", "session");
    association.send(six.address(), b"six");
    assert_eq!(six.echo(), b"six");
    assert_eq!(association.receive(), (six.address(), b"six".to_vec()));
}

#[test]
fn an_association_over_ipv6_reaches_ipv4_and_its_own_family() {
    let rig = Rig::builder().prepare();
    let port = rig.ports().socks.port();
    let text = std::fs::read_to_string(rig.config_file()).unwrap();
    let text = text.replace(&format!("127.0.0.1:{port}"), &format!("[::]:{port}"));
    std::fs::write(rig.config_file(), text.replace("[listen]", "[listen]\ninsecure = true")).unwrap();
    let mut rig = rig;
    rig.start_again();
    let (four, six) = (Peer::start(), Peer::at("[::1]:0"));
    let (app, who) = permitted(&rig);
    rig.grant(&app, "network.datagram=[::1]", "session");
    for door in ["[::1]", "127.0.0.1"] {
        let door: SocketAddr = format!("{door}:{port}").parse().unwrap();
        let association = Association::open(door, &who).unwrap();
        assert_eq!(association.relay.ip(), door.ip());
        for peer in [&four, &six] {
            association.send(peer.address(), b"hello");
            assert_eq!(peer.echo(), b"hello");
            assert_eq!(association.receive(), (peer.address(), b"hello".to_vec()));
        }
    }
}

#[test]
fn only_the_apps_socket_is_listened_to() {
    let rig = Rig::start();
    let peer = Peer::start();
    let (_, who) = permitted(&rig);
    let association = Association::open(rig.ports().socks, &who).unwrap();
    fence(&association, &peer);
    let stranger = Peer::start();
    let hello = [&[0, 0, 0, 1, 127, 0, 0, 1][..], &peer.address().port().to_be_bytes(), b"stranger"].concat();
    stranger.socket.send_to(&hello, association.relay).unwrap();
    fence(&association, &peer);
    assert!(peer.unread().is_empty() && stranger.unread().is_empty());
    // With the port said beforehand, not even the first datagram may come from elsewhere.
    let own = Peer::start();
    let (control, relay) = Association::ask(rig.ports().socks, &who, own.address()).unwrap();
    stranger.socket.send_to(&hello, relay).unwrap();
    wait::until("the stranger to be dropped", || (dropped(&rig, "credentials-missing") == 1.0).then_some(()));
    let named = Association { control, relay, socket: own.socket };
    fence(&named, &peer);
    assert!(peer.unread().is_empty());
    assert!(!rig.journal(["--reason", "credentials-missing"]).is_empty());
    // Another address of this host is another sender.
    let elsewhere = Association::open(rig.ports().socks, &who).unwrap();
    Peer::at("127.0.0.2:0").socket.send_to(&hello, elsewhere.relay).unwrap();
    wait::until("it to be dropped", || (dropped(&rig, "credentials-missing") == 2.0).then_some(()));
    fence(&elsewhere, &peer);
}

#[test]
fn another_users_socket_is_not_the_apps_even_if_it_is_first() {
    if !rustix::process::geteuid().is_root() {
        println!("only root can be another user: not judged");
        return;
    }
    const SEND: &str = "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        s.sendto(bytes.fromhex(sys.argv[2]), ('127.0.0.1', int(sys.argv[1])))\nsys.stdin.read()";
    let rig = Rig::start();
    let peer = Peer::start();
    let (_, who) = permitted(&rig);
    let association = Association::open(rig.ports().socks, &who).unwrap();
    let port = peer.address().port();
    let mut other = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "/usr/bin/python3", "-c", SEND])
        .args([association.relay.port().to_string(), format!("000000017f000001{port:04x}61")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait::until("it to be dropped", || (dropped(&rig, "credentials-missing") == 1.0).then_some(()));
    fence(&association, &peer);
    assert!(peer.unread().is_empty());
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
}

/// Sends the same datagram again and again from that port, 0 for any, as long as the test holds it.
fn sends_by_another_process(association: SocketAddr, to: SocketAddr, from: u16) -> Child {
    const SEND: &str = "import select, socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        s.bind(('127.0.0.1', int(sys.argv[3])))\nwhile not select.select([sys.stdin], [], [], 0.05)[0]:\n  \
        try: s.sendto(bytes.fromhex(sys.argv[2]), ('127.0.0.1', int(sys.argv[1])))\n  except OSError: pass\n";
    let port = to.port();
    Command::new("/usr/bin/python3")
        .args(["-c", SEND, &association.port().to_string(), &format!("000000017f000001{port:04x}61")])
        .arg(from.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn another_process_of_the_same_user_is_not_the_app_even_if_it_is_first() {
    let rig = Rig::start();
    let peer = Peer::start();
    let (_, who) = permitted(&rig);
    let association = Association::open(rig.ports().socks, &who).unwrap();
    let mut other = sends_by_another_process(association.relay, peer.address(), 0);
    wait::until("it to be dropped", || (dropped(&rig, "credentials-missing") >= 3.0).then_some(()));
    fence(&association, &peer);
    assert!(peer.unread().is_empty());
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
}

#[test]
fn a_port_that_the_app_gave_up_speaks_for_it_no_longer() {
    let rig = Rig::start();
    let peer = Peer::start();
    let (app, who) = permitted(&rig);
    // A port that no other test is given when it is free.
    let ports = rig::ports::Ports::take();
    let own = Peer::at(&format!("127.0.0.1:{}", ports.http.port()));
    let (control, relay) = Association::ask(rig.ports().socks, &who, own.address()).unwrap();
    let association = Association { control, relay, socket: own.socket };
    fence(&association, &peer);
    let Association { mut control, relay, socket } = association;
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    // Another socket of its own is as good.
    let socket = Peer::at(&format!("127.0.0.1:{port}")).socket;
    let association = Association { control: control.try_clone().unwrap(), relay, socket };
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_millis(1200) {
        fence(&association, &peer);
    }
    drop(association.socket);
    let mut other = sends_by_another_process(relay, peer.address(), port);
    // The association ends, before an answer goes to who took the port.
    assert!(matches!(control.read(&mut [0]), Ok(0)), "the association outlives its app's port");
    assert_eq!(flow_end(&rig, &app, peer.address())["reason"], Value::Null);
    peer.unread();
    assert!(dropped(&rig, "credentials-missing") >= 1.0);
    assert_eq!(rig.journal(["--reason", "credentials-missing"]).len(), 1);
    assert!(rig.json(["flows"])["items"].as_array().unwrap().is_empty());
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    assert!(peer.unread().is_empty());
}

#[test]
fn answers_come_from_where_was_sent_to_and_from_nowhere_else() {
    let rig = Rig::start();
    let (peer, stranger) = (Peer::start(), Peer::start());
    let (_, who) = permitted(&rig);
    let association = Association::open(rig.ports().socks, &who).unwrap();
    association.send(peer.address(), b"hello");
    let (gate, _) = peer.receive();
    stranger.socket.send_to(b"not asked", gate).unwrap();
    peer.socket.send_to(b"asked", gate).unwrap();
    assert_eq!(association.receive(), (peer.address(), b"asked".to_vec()));
    fence(&association, &peer);
    assert!(association.is_quiet());
}

#[test]
fn fragments_and_nonsense_are_dropped_and_counted() {
    let rig = Rig::start();
    let peer = Peer::start();
    let (_, who) = permitted(&rig);
    let association = Association::open(rig.ports().socks, &who).unwrap();
    let port = peer.address().port().to_be_bytes();
    let good = [&[0, 0, 0, 1, 127, 0, 0, 1][..], &port, b"x"].concat();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for bad in [with(2, 1), with(2, 0x81)] {
        association.send_bytes(&bad);
    }
    for bad in [vec![], vec![0; 3], with(0, 1), with(1, 1), with(3, 9), good[..9].to_vec(), vec![0; 65_000]] {
        association.send_bytes(&bad);
    }
    association.send(([127, 0, 0, 1], 0).into(), b"port 0");
    fence(&association, &peer);
    assert!(peer.unread().is_empty());
    assert_eq!((dropped(&rig, "command-unsupported"), dropped(&rig, "request-malformed")), (2.0, 8.0));
    assert_eq!(rig.journal(["--reason", "command-unsupported"]).len(), 1);
    // The largest that there can be arrives whole or not at all.
    association.send(peer.address(), &vec![7; 65_507 - 10]);
    assert_eq!(peer.echo().len(), 65_497);
    assert_eq!(association.receive().1.len(), 65_497);
    association.send(peer.address(), b"and on");
    assert_eq!(peer.echo(), b"and on");
}

#[test]
fn the_end_of_the_control_connection_is_the_end_of_the_association() {
    let rig = Rig::start();
    let peer = Peer::start();
    let (app, who) = permitted(&rig);
    let mut association = Association::open(rig.ports().socks, &who).unwrap();
    // What is said on the connection meanwhile means nothing.
    association.control.write_all(&[0; 5000]).unwrap();
    fence(&association, &peer);
    let socket = association.socket.try_clone().unwrap();
    let relay = association.relay;
    drop(association);
    assert_eq!(flow_end(&rig, &app, peer.address())["reason"], Value::Null);
    wait::until("the gate's socket to go", || {
        socket.connect(relay).ok()?;
        let _ = socket.send(b"anybody?");
        socket.send(b"anybody?").err()
    });
    assert!(peer.unread().is_empty());
    wait::until("the places to be free", || (places(&rig) == 0).then_some(()));
}

#[test]
fn of_what_a_revoke_ends_only_flows_are_counted_as_flows() {
    let rig = Rig::builder().section("policy", "prompt_wait = \"30s\"").start();
    let peers = [Peer::start(), Peer::start()];
    let (app, who) = permitted(&rig);
    let association = Association::open(rig.ports().socks, &who).unwrap();
    for peer in &peers {
        fence(&association, peer);
    }
    // Nothing went through this one, and this datagram waits for the user.
    let _idle = Association::open(rig.ports().socks, &who).unwrap();
    association.send("127.0.0.2:9".parse().unwrap(), b"?");
    wait::until("the question", || {
        rig.json(["prompts"])["items"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    });
    rig.json(["revoke", "--app", &app]);
    for peer in &peers {
        assert_eq!(flow_end(&rig, &app, peer.address())["reason"], "permission-revoked");
    }
    let records = rig.journal(["--app", &app]);
    let told = records.iter().find(|record| record["detail"]["flows_cut"].is_u64()).unwrap();
    assert_eq!(told["detail"]["flows_cut"], 2, "{told}");
    assert_eq!(rig.metric("mexegate_flow_cut_total{reason=\"permission-revoked\"}"), 2.0);
    assert_eq!(rig.metric("mexegate_flow_cut_seconds_count"), 2.0);
}

#[test]
fn what_ends_a_right_ends_its_flows_at_once() {
    let rig = Rig::start();
    let (peer, other) = (Peer::start(), Peer::start());
    let app = rig.app("third-party");
    let grant = rig.grant(&app, &format!("network.datagram={}", peer.address()), "session");
    rig.grant(&app, &format!("network.datagram={}", other.address()), "session");
    let run = rig.run(&app);
    let mut association = Association::open(rig.ports().socks, &credentials(&app, &run)).unwrap();
    fence(&association, &other);
    association.send(peer.address(), b"before");
    let (gate, _) = peer.receive();
    rig.json(["revoke", &grant]);
    // From here on nothing goes, either way.
    for n in 0..100_u8 {
        association.send(peer.address(), &[n]);
        peer.socket.send_to(&[n], gate).unwrap_or_default();
    }
    fence(&association, &other);
    assert!(peer.unread().is_empty() && association.is_quiet());
    assert_eq!(flow_end(&rig, &app, peer.address())["reason"], "permission-revoked");
    assert_eq!(rig.metric("mexegate_flow_cut_total{reason=\"permission-revoked\"}"), 1.0);
    // One flow is ended by hand, and the next datagram is decided on again.
    let flow = rig.json(["flows"])["items"][0]["id"].as_str().unwrap().to_owned();
    Control::of(&rig).done("DELETE", &format!("/v1/flows/{flow}"), None);
    wait::until("it to be gone", || {
        rig.json(["flows"])["items"].as_array().unwrap().is_empty().then_some(())
    });
    fence(&association, &other);
    // The run ends, and with it everything.
    rig.json(["app", "stop", &run.run]);
    assert!(matches!(association.control.read(&mut [0]), Ok(0) | Err(_)));
    assert!(rig.json(["flows"])["items"].as_array().unwrap().is_empty());
    assert_eq!(
        Association::open(rig.ports().socks, &credentials(&app, &run)).err(),
        Some(No::Socks(0xff)),
        "its token is worth nothing"
    );
}
