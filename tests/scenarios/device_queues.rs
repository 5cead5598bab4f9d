//! Queues on a network device: the kernel's own `tc` says what the gate has put there, where packets go, and that nothing of
//! it is left when the gate stops. What somebody else has put there stays.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use rig::raw::{self, Credentials, Door};
use rig::streams::App;
use rig::{Control, Output, Rig, packages, wait};
use serde_json::{Value, json};

fn on_a_device(more: &str) -> Rig {
    let mut rig = Rig::builder().prepare();
    let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
    text += &format!("[[bearer]]\nname = \"air\"\nkind = \"linux\"\ndevice = \"device0\"\n{more}");
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    rig
}

const HTB: &str = "uplink = \"10 Mbit/s\"\nqueues = \"htb\"\n";

fn tc(line: &str) -> Value {
    let shown = Output::of(Command::new("tc").args(line.split(' '))).ended(0).stdout;
    serde_json::from_str(&shown).unwrap_or(Value::Null)
}

/// The number and the kind of the queues that the device begins with.
fn root() -> (String, String) {
    let queues = tc("-j qdisc show dev device0 root");
    let text = |key: &str| queues[0][key].as_str().unwrap_or_default().to_owned();
    (text("handle"), text("kind"))
}

/// What a class may carry, as `tc` writes it, and the packets that it has sent.
fn class(id: &str) -> (String, u64) {
    let mut command = Command::new("tc");
    let shown = Output::of(command.args("-s class show dev device0".split(' '))).ended(0).stdout;
    let of = shown.split_once(&format!("class htb {id} ")).unwrap_or_else(|| panic!("no {id}: {shown}")).1;
    let mut words = of.split_whitespace();
    let ceil = words.by_ref().skip_while(|word| *word != "ceil").nth(1).unwrap().to_owned();
    // Sent 3 bytes 4 pkt
    let sent = words.skip_while(|word| *word != "Sent").nth(3).unwrap();
    (ceil, sent.parse().unwrap())
}

fn queues(rig: &Rig) -> Value {
    Control::of(rig).list("/v1/bearers").remove(0)["queues"].clone()
}

#[test]
fn flows_go_through_the_queue_of_their_class_and_a_stop_leaves_none() {
    let Some(world) = rig::world::inside("flows_go_through_the_queue_of_their_class_and_a_stop_leaves_none")
    else {
        return;
    };
    let origin = world.origin("93.184.215.14:80");
    let before = root();
    let mut rig = on_a_device(HTB);
    wait::until("the queues", || (queues(&rig)["kind"] == "htb").then_some(()));
    assert_eq!(root(), ("6d65:".to_owned(), "htb".to_owned()));
    // A tenth more than the rate of payload.
    assert_eq!(class("6d65:10").0, "11Mbit");
    {
        let app = App::begin(&rig, "third-party");
        rig.grant(&app.id, "network.qos", "session");
        rig.grant(&app.id, "network.connect", "session");
        app.ask(json!({ "name": "call", "class": "conversational", "guaranteed_bitrate_up": "64 kbit/s" }));
        let named = Credentials { app: format!("{}+call", app.id), token: app.who.token.clone() };
        let target = "93.184.215.14:80".parse().unwrap();
        for (who, own, other) in [(&named, "6d65:10", "6d65:20"), (&app.who, "6d65:40", "6d65:30")] {
            let counted = (class(own).1, class(other).1);
            let mut flow = raw::open(rig.ports(), Door::Socks, who, target).unwrap();
            flow.write_all(b"GET /hello HTTP/1.1\r\n").unwrap();
            wait::until("its packets", || (class(own).1 > counted.0 + 1).then_some(()));
            assert_eq!(class(other).1, counted.1);
        }
    }
    // Another rate is taken up at the next look, and the queues stay.
    let text = std::fs::read_to_string(rig.config_file()).unwrap();
    packages::write(&rig.config_file(), text.replace("10 Mbit/s", "20 Mbit/s").as_bytes());
    rig.signal(rustix::process::Signal::HUP);
    let counted = class("6d65:10").1;
    wait::until("the new rate", || (class("6d65:10").0 == "22Mbit").then_some(()));
    assert!(class("6d65:10").1 >= counted, "they are the same queues");
    // Of a gate that is killed they stay, and the next one takes them over.
    rig.kill();
    assert_eq!(root().0, "6d65:");
    rig.start_again();
    wait::until("the queues", || (queues(&rig)["kind"] == "htb").then_some(()));
    assert!(rig.stop().success());
    assert_eq!(root(), before);
    drop(origin);
}

#[test]
fn what_somebody_else_has_put_there_stays_and_the_bearer_works_without() {
    let Some(world) =
        rig::world::inside("what_somebody_else_has_put_there_stays_and_the_bearer_works_without")
    else {
        return;
    };
    let origin = world.origin("93.184.215.14:80");
    tc("qdisc add dev device0 root handle 1: pfifo limit 77");
    let mut rig = on_a_device(HTB);
    wait::until("why there are none", || (queues(&rig)["why"] == "queues-of-others").then_some(()));
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect", "blanket");
    let reply = rig.curl(["-x", &rig.run(&app).http, "http://93.184.215.14/none"]);
    assert_eq!(reply.status, 404);
    assert!(rig.stop().success());
    assert_eq!(root(), ("1:".to_owned(), "pfifo".to_owned()));
    // Somebody makes room: from the next look on they are the gate's.
    rig.start_again();
    tc("qdisc del dev device0 root");
    wait::within(Duration::from_secs(15), || (queues(&rig)["kind"] == "htb").then_some(())).unwrap();
    drop(rig);
    drop(origin);
}

#[test]
fn without_a_rate_there_are_none_and_other_kinds_have_no_such_key() {
    let Some(_world) = rig::world::inside("without_a_rate_there_are_none_and_other_kinds_have_no_such_key")
    else {
        return;
    };
    let before = root();
    let rig = on_a_device("queues = \"htb\"\n");
    wait::until("why there are none", || (queues(&rig)["why"] == "no-rate").then_some(()));
    assert_eq!(root(), before);
    let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
    text = text.replace("kind = \"linux\"\ndevice = \"device0\"\n", "kind = \"static\"\n");
    packages::write(&rig.config_file(), text.as_bytes());
    let config = rig.config_file();
    let wrong = rig.cli(["check-config".as_ref(), "-c".as_ref(), config.as_os_str()]);
    assert_ne!(wrong.code, 0);
    assert!(wrong.stderr.contains("a bearer of kind static has no `queues`"), "{}", wrong.stderr);
}
