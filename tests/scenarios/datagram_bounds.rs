//! What holds datagrams back: questions to the user, single permissions, meters, and the bounds that keep a flood of them
//! from costing others anything.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rig::exact::credentials;
use rig::program::{install, native};
use rig::raw::{Credentials, No};
use rig::{Association, Builder, Control, Output, Peer, Rig, wait};
use serde_json::{Value, json};

fn dropped(rig: &Rig, reason: &str) -> f64 {
    rig.metric(&format!("mexegate_datagrams_dropped_total{{reason=\"{reason}\"}}"))
}

fn places(rig: &Rig) -> u64 {
    Control::of(rig).done("GET", "/v1/status", None).json["connections"]["open"].as_u64().unwrap()
}

/// A rig whose user is asked, and an app without permission.
struct Scene {
    rig: Arc<Rig>,
    control: Control,
    who: Credentials,
    run: String,
    peer: Peer,
}

impl Scene {
    fn start(builder: Builder) -> Self {
        let rig = builder.start();
        let app = rig.app("third-party");
        let mut control = Control::of(&rig);
        let (run, who) = control.run(&app);
        Self { rig: Arc::new(rig), control, who, run, peer: Peer::start() }
    }

    fn open(&self) -> Association {
        Association::open(self.rig.ports().socks, &self.who).unwrap()
    }

    fn question(&mut self) -> Value {
        wait::until("the question", || {
            self.control.list("/v1/prompts").into_iter().find(|prompt| prompt["state"] == "open")
        })
    }

    fn answer(&mut self, question: &Value, answer: &Value) {
        let path = format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap());
        self.control.done("POST", &path, Some(answer));
    }
}

fn asking() -> Builder {
    Rig::builder().section("policy", "prompt_wait = \"20s\"")
}

#[test]
fn the_first_eight_datagrams_wait_for_the_user_and_go_in_their_order() {
    let mut scene = Scene::start(asking());
    let association = scene.open();
    for n in 0..12_u8 {
        association.send(scene.peer.address(), &[n]);
    }
    let question = scene.question();
    assert_eq!(question["action"], "network.datagram");
    assert_eq!(question["target"], scene.peer.address().to_string());
    wait::until("four to be dropped", || (dropped(&scene.rig, "limit-rate") == 4.0).then_some(()));
    assert!(scene.peer.unread().is_empty(), "nothing goes before the answer");
    scene.answer(&question, &json!({ "answer": "allow", "permission": "session" }));
    for n in 0..8_u8 {
        assert_eq!(scene.peer.receive().1, [n]);
    }
    association.send(scene.peer.address(), b"after");
    assert_eq!(scene.peer.echo(), b"after");
    assert_eq!(association.receive().1, b"after");
    assert!(scene.peer.unread().is_empty());
}

#[test]
fn no_more_than_64_kilobytes_wait() {
    let mut scene = Scene::start(asking());
    let association = scene.open();
    for n in 0..3_u8 {
        association.send(scene.peer.address(), &vec![n; 30_000]);
    }
    let question = scene.question();
    wait::until("the third to be dropped", || (dropped(&scene.rig, "limit-rate") == 1.0).then_some(()));
    scene.answer(&question, &json!({ "answer": "allow", "permission": "session" }));
    assert_eq!([scene.peer.receive().1[0], scene.peer.receive().1[0]], [0, 1]);
    association.send(scene.peer.address(), b"after");
    assert_eq!(scene.peer.receive().1, b"after");
}

#[test]
fn a_no_or_the_end_of_the_app_drops_what_waited() {
    let mut scene = Scene::start(asking());
    let association = scene.open();
    for _ in 0..3 {
        association.send(scene.peer.address(), b"may I?");
    }
    let question = scene.question();
    scene.answer(&question, &json!({ "answer": "deny" }));
    wait::until("what waited to be dropped", || (dropped(&scene.rig, "prompt-denied") == 3.0).then_some(()));
    // Whoever goes waits no longer, and is not asked about any more.
    let other = Peer::start();
    association.send(other.address(), b"may I?");
    let question = scene.question();
    drop(association);
    wait::until("the question to be missed", || {
        scene.control.list("/v1/prompts").iter().all(|prompt| prompt["state"] == "missed").then_some(())
    });
    scene.answer(&question, &json!({ "answer": "allow", "permission": "session" }));
    // So is a run that ends.
    let association = scene.open();
    let third = Peer::start();
    association.send(third.address(), b"may I?");
    scene.question();
    scene.rig.json(["app", "stop", &scene.run]);
    wait::until("no question to be open", || {
        scene.control.list("/v1/prompts").iter().all(|prompt| prompt["state"] != "open").then_some(())
    });
    for peer in [&scene.peer, &other, &third] {
        assert!(peer.unread().is_empty());
    }
}

#[test]
fn a_question_that_nobody_answers_is_not_asked_for_each_datagram() {
    let mut scene = Scene::start(Rig::builder().section("policy", "prompt_wait = \"1s\""));
    let association = scene.open();
    association.send(scene.peer.address(), b"may I?");
    let question = scene.question();
    wait::until("it to be missed", || (dropped(&scene.rig, "prompt-timeout") == 1.0).then_some(()));
    association.send(scene.peer.address(), b"may I now?");
    wait::until("it to be dropped", || (dropped(&scene.rig, "prompt-timeout") == 2.0).then_some(()));
    // A late answer is good for the next.
    scene.answer(&question, &json!({ "answer": "allow", "permission": "session" }));
    association.send(scene.peer.address(), b"thank you");
    assert_eq!(scene.peer.receive().1, b"thank you");
}

#[test]
fn a_single_permission_is_for_one_flow() {
    let rig = Rig::builder().section("limits", "datagram_idle = \"1s\"").start();
    let peer = Peer::start();
    let app = rig.app("third-party");
    rig.grant(&app, "network.datagram=127.0.0.1", "single");
    let association = Association::open(rig.ports().socks, &credentials(&app, &rig.run(&app))).unwrap();
    for _ in 0..5 {
        association.send(peer.address(), b"one flow");
        assert_eq!(peer.echo(), b"one flow");
        association.receive();
    }
    let other = Peer::start();
    association.send(other.address(), b"another");
    wait::until("it to be refused", || (dropped(&rig, "permission-missing") == 1.0).then_some(()));
    // Quiet for a second, the flow is over, and with it what was permitted.
    let end = wait::until("the flow to end", || {
        rig.journal(["--app", &app]).into_iter().find(|record| record["kind"] == "flow-end")
    });
    assert_eq!((&end["reason"], &end["detail"]["datagrams_up"]), (&json!("idle-timeout"), &json!(5)));
    association.send(peer.address(), b"again");
    wait::until("it to be refused", || (dropped(&rig, "permission-missing") == 2.0).then_some(()));
    assert!(peer.unread().is_empty() && other.unread().is_empty());
}

#[test]
fn a_flood_of_destinations_is_bounded() {
    let rig = Rig::start();
    let peer = Peer::start();
    let app = rig.app("third-party");
    rig.grant(&app, "network.datagram=127.0.0.0/8", "session");
    let association = Association::open(rig.ports().socks, &credentials(&app, &rig.run(&app))).unwrap();
    association.send(peer.address(), b"first");
    assert_eq!(peer.echo(), b"first");
    for n in 0..400_u16 {
        let [high, low] = n.to_be_bytes();
        association.send(([127, 1, high, low], 9).into(), b"flood");
        if n % 40 == 0 {
            association.send(peer.address(), b"still here");
            assert_eq!(peer.receive().1, b"still here");
        }
    }
    wait::until("the rest to be dropped", || (dropped(&rig, "limit-connections") == 145.0).then_some(()));
    assert_eq!(rig.json(["flows"])["items"].as_array().unwrap().len(), 256);
    assert_eq!(places(&rig), 257, "each is a place, and so is the association");
    drop(association);
    wait::until("the places to be free", || (places(&rig) == 0).then_some(()));
}

#[test]
fn flows_take_the_places_of_their_run() {
    let rig = Rig::builder().section("limits", "connections_per_run = 3").start();
    let app = rig.app("third-party");
    rig.grant(&app, "network.datagram=127.0.0.1", "session");
    let who = credentials(&app, &rig.run(&app));
    let association = Association::open(rig.ports().socks, &who).unwrap();
    let peers = [Peer::start(), Peer::start(), Peer::start()];
    for peer in &peers[..2] {
        association.send(peer.address(), b"hello");
        assert_eq!(peer.echo(), b"hello");
    }
    association.send(peers[2].address(), b"hello");
    wait::until("the third to be refused", || (dropped(&rig, "limit-connections") == 1.0).then_some(()));
    assert!(peers[2].unread().is_empty());
    assert_eq!(Association::open(rig.ports().socks, &who).err(), Some(No::Socks(2)));
}

#[test]
fn the_gate_itself_and_many_at_once_are_never_reached() {
    let rig = Rig::start();
    let app = rig.app("third-party");
    let peer = Peer::start();
    for target in ["127.0.0.0/8", "0.0.0.0/8", "224.0.0.251", "255.255.255.255", "ff02::fb"] {
        rig.grant(&app, &format!("network.datagram={target}"), "session");
    }
    let who = credentials(&app, &rig.run(&app));
    let association = Association::open(rig.ports().socks, &who).unwrap();
    let neighbour = Association::open(rig.ports().socks, &who).unwrap();
    let inner = [&[0, 0, 0, 1, 127, 0, 0, 1][..], &peer.address().port().to_be_bytes(), b"x"].concat();
    let port = neighbour.relay.port();
    for own in [
        neighbour.relay,
        association.relay,
        ([0, 0, 0, 0], port).into(),
        rig.ports().socks,
        rig.ports().console,
    ] {
        association.send(own, &inner);
    }
    wait::until("the gate's own to be refused", || (dropped(&rig, "own-address") == 5.0).then_some(()));
    for many in ["224.0.0.251:5353", "255.255.255.255:9", "[ff02::fb]:5353"] {
        association.send(many.parse().unwrap(), b"x");
    }
    wait::until("the many to be refused", || (dropped(&rig, "address-not-public") == 3.0).then_some(()));
    assert!(peer.unread().is_empty() && rig.json(["flows"])["items"].as_array().unwrap().is_empty());
}

#[test]
fn a_flow_is_marked_with_its_class_and_held_to_its_rate_datagram_by_datagram() {
    let folder = tempfile::tempdir().unwrap();
    let profile = "name = \"narrow\"\ndescription = \"for a test\"\nclass = \"conversational\"\n\
                   max_bitrate_up = \"80 kbit/s\"\nmax_bitrate_down = \"80 kbit/s\"\nburst = 4000\n";
    rig::packages::write(&folder.path().join("narrow.toml"), profile.as_bytes());
    let rig = Rig::builder().section("qos", &format!("profiles = \"{}\"", folder.path().display())).start();
    let app = install(&rig, &native("narrow", "true").attribute("MExE-QoS-Profile", "narrow"));
    rig.grant(&app, "network.datagram=127.0.0.1", "session");
    rig.grant(&app, "network.qos", "session");
    let peer = Peer::start();
    let association = Association::open(rig.ports().socks, &credentials(&app, &rig.run(&app))).unwrap();
    // The burst is 4,000 bytes, and a second brings 10,000.
    let began = std::time::Instant::now();
    association.send(peer.address(), b"x");
    let (gate, _) = peer.receive();
    for n in 0..40_u8 {
        association.send(peer.address(), &vec![n; 1000]);
    }
    let policed = |way: &str, verdict: &str| {
        let labels = format!("{{class=\"conversational\",direction=\"{way}\",verdict=\"{verdict}\"}}");
        rig.metric(&format!("mexegate_policed_bytes_total{labels}"))
    };
    let all = wait::until("all to be dealt with", || {
        let (sent, not) = (policed("up", "conforming"), policed("up", "dropped"));
        (sent + not == 40_001.0).then_some((sent, not))
    });
    let most = 4000.0 + 10_000.0 * began.elapsed().as_secs_f64();
    assert!(all.0 <= most && all.0 >= 3001.0 && all.1 >= 1000.0, "{all:?} of at most {most}");
    assert_eq!(peer.receive().1, vec![0; 1000], "the first go, whole");
    assert!(peer.unread().iter().all(|datagram| datagram.len() == 1000));
    let sockets = Output::of(
        Command::new("ss")
            .args(["--udp", "--numeric", "--no-header", "--tos", "dport", "="])
            .arg(format!(":{}", peer.address().port())),
    );
    assert!(sockets.stdout.contains("0xb8"), "expedited forwarding: {}", sockets.stdout);
    // The same downwards.
    for _ in 0..40 {
        peer.socket.send_to(&[1; 1000], gate).unwrap();
    }
    wait::until("some to be dropped", || (policed("down", "dropped") >= 1000.0).then_some(()));
    // A datagram that is larger than the burst never fits.
    std::thread::sleep(Duration::from_millis(500));
    let before = policed("up", "dropped");
    association.send(peer.address(), &[9; 5000]);
    wait::until("it to be dropped", || (policed("up", "dropped") == before + 5000.0).then_some(()));
}

/// A rate limit that does not say of which layer is off by a few hundredths. Ours are of payload: headers do not count.
#[test]
fn trap_13_a_rate_is_of_payload() {
    let folder = tempfile::tempdir().unwrap();
    let profile = "name = \"exact\"\ndescription = \"for a test\"\nclass = \"background\"\n\
                   max_bitrate_up = \"100 bit/s\"\nburst = 4000\n";
    rig::packages::write(&folder.path().join("exact.toml"), profile.as_bytes());
    let rig = Rig::builder().section("qos", &format!("profiles = \"{}\"", folder.path().display())).start();
    let app = install(&rig, &native("exact", "true").attribute("MExE-QoS-Profile", "exact"));
    rig.grant(&app, "network.datagram=127.0.0.1", "session");
    let peer = Peer::start();
    let association = Association::open(rig.ports().socks, &credentials(&app, &rig.run(&app))).unwrap();
    // With 28 bytes of headers each, the fourth would have to wait for nine seconds.
    for n in 0..5_u8 {
        association.send(peer.address(), &[n; 1000]);
    }
    let policed = |verdict: &str| {
        let labels = format!("{{class=\"background\",direction=\"up\",verdict=\"{verdict}\"}}");
        rig.metric(&format!("mexegate_policed_bytes_total{labels}"))
    };
    wait::until("all to be dealt with", || {
        (policed("conforming") + policed("dropped") == 5000.0).then_some(())
    });
    assert_eq!((policed("conforming"), policed("dropped")), (4000.0, 1000.0));
}
