//! A stream on a bearer that is an operator's API. A session there is for one server, so it is asked for when the first
//! flow of the stream is open, stays there as long as flows go there, and moves when they go only elsewhere.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};
use std::{io, thread};

use rig::raw::{self, Credentials, Door};
use rig::streams::App;
use rig::{Association, Operator, OperatorHabits, Peer, Rig, Trick, packages, wait};
use serde_json::{Value, json};

/// A gate on that operator's API, which is up.
fn on(operator: &Operator) -> Rig {
    let mut rig = Rig::builder().prepare();
    let secret = rig.folder().join("client-secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
    text += &format!(
        "[[bearer]]\nname = \"mobile\"\nkind = \"camara\"\nuplink = \"10 Mbit/s\"\ndownlink = \"10 Mbit/s\"\n\
         [bearer.camara]\nurl = \"{url}\"\ntoken_url = \"{url}/token\"\nclient_id = \"gate\"\n\
         client_secret_file = \"client-secret\"\nphone_number = \"+4930123456\"\npoll = \"1s\"\nduration = \"10m\"\n",
        url = operator.url(),
    );
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    wait::until("the operator's API to be up", || {
        (rig.json(["bearers"])["items"][0]["state"] == "up").then_some(())
    });
    rig
}

fn app(rig: &Rig) -> (App<'_>, Credentials) {
    let app = App::begin(rig, "third-party");
    rig.grant(&app.id, "network.qos", "session");
    rig.grant(&app.id, "network.connect=127.0.0.1", "session");
    rig.grant(&app.id, "network.datagram=127.0.0.1", "session");
    let named = Credentials { app: format!("{}+call", app.id), token: app.who.token.clone() };
    (app, named)
}

/// Within what QOS_E of the operator gives, which no other profile does so soon.
fn call() -> Value {
    json!({ "name": "call", "class": "conversational", "transfer_delay": 130,
            "guaranteed_bitrate_up": "64 kbit/s", "guaranteed_bitrate_down": "64 kbit/s" })
}

/// What the network says to the app's stream: how far it is, for which server, and why not.
fn network(app: &App<'_>) -> (Value, Value, Value) {
    let network = &app.own()[0]["network"];
    (network["state"].clone(), network["server"].clone(), network["why"].clone())
}

#[track_caller]
fn becomes(app: &App<'_>, state: &str, server: Option<SocketAddr>, why: Option<&str>) {
    let server = server.map(|server| server.to_string());
    let wanted = (json!(state), json!(server), json!(why));
    let mut last = None;
    let is_so = wait::within(Duration::from_secs(10), || {
        let now = network(app);
        let same = now == wanted;
        last = Some(now);
        same.then_some(())
    });
    assert!(is_so.is_some(), "{last:?} is not {wanted:?}");
}

/// Servers and ports of the sessions that the operator has.
fn covered(operator: &Operator) -> Vec<(Value, Value)> {
    let of = |asked: &Value| {
        (
            asked["applicationServer"]["ipv4Address"].clone(),
            asked["applicationServerPorts"]["ports"][0].clone(),
        )
    };
    operator.sessions().iter().map(|session| of(&session.asked)).collect()
}

/// A server that hangs up when its client does.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for taken in listener.incoming() {
            thread::spawn(move || io::copy(&mut taken.unwrap(), &mut io::sink()));
        }
    });
    address
}

fn open(rig: &Rig, who: &Credentials, to: SocketAddr) -> TcpStream {
    raw::open(rig.ports(), Door::Socks, who, to).unwrap()
}

/// The class of the newest open flow.
fn class(rig: &Rig) -> Value {
    rig.json(["flows"])["items"].as_array().unwrap().last().unwrap()["class"].clone()
}

#[test]
fn a_stream_is_asked_for_where_its_first_flow_goes_and_follows_its_flows() {
    let operator = Operator::start(OperatorHabits::default());
    let rig = on(&operator);
    let (app, named) = app(&rig);
    let asked = Instant::now();
    let stream = app.ask(call());
    assert!(asked.elapsed() < Duration::from_secs(4), "nobody waits for what is not asked for");
    assert_eq!((&stream["state"], &stream["network"]["state"]), (&json!("admitted"), &json!("waiting")));
    assert_eq!(operator.count("POST /quality-on-demand"), 0);

    let (first, second) = (server(), server());
    let one = open(&rig, &named, first);
    becomes(&app, "given", Some(first), None);
    assert_eq!(covered(&operator), [(json!("127.0.0.1"), json!(first.port()))]);
    let network = app.own()[0]["network"].clone();
    assert_eq!(network["bearer"], "mobile");
    assert_eq!(network["given"]["guaranteed_bitrate_up"], "64 kbit/s");
    wait::until("the open flow to have it", || (class(&rig) == "conversational").then_some(()));

    // There is one for that server, and a second flow there needs no other; nor is one elsewhere asked for.
    let two = open(&rig, &named, first);
    let three = open(&rig, &named, second);
    assert_eq!(class(&rig), "conversational");
    drop(one);
    wait::until("the first to end", || (app.own()[0]["flows"] == 2).then_some(()));
    becomes(&app, "given", Some(first), None);
    assert_eq!(operator.count("POST /quality-on-demand"), 1);

    // Now all go elsewhere.
    drop(two);
    becomes(&app, "given", Some(second), None);
    wait::until("only one session", || {
        (covered(&operator) == [(json!("127.0.0.1"), json!(second.port()))]).then_some(())
    });
    wait::until("the open flow to have it", || (class(&rig) == "conversational").then_some(()));
    // Without a flow it stays, for the next.
    drop(three);
    wait::until("no flow", || (app.own()[0]["flows"] == 0).then_some(()));
    let _again = open(&rig, &named, second);
    becomes(&app, "given", Some(second), None);
    assert_eq!(operator.count("POST /quality-on-demand"), 2);

    let id = app.own()[0]["id"].as_str().unwrap().to_owned();
    rig.json(["qos", "release", &id]);
    wait::until("everything to be given back", || operator.sessions().is_empty().then_some(()));
}

#[test]
fn datagrams_are_flows_of_it_as_well_and_a_stop_gives_everything_back() {
    let operator = Operator::start(OperatorHabits::default());
    let mut rig = on(&operator);
    {
        let (app, named) = app(&rig);
        app.ask(call());
        let (association, peer) = (Association::open(rig.ports().socks, &named).unwrap(), Peer::start());
        association.send(peer.address(), b"hello");
        assert_eq!(peer.receive().1, b"hello");
        becomes(&app, "given", Some(peer.address()), None);
        assert_eq!(covered(&operator), [(json!("127.0.0.1"), json!(peer.address().port()))]);
        // The flow ended when its stream got something else, and the next datagram opens it anew.
        association.send(peer.address(), b"again");
        assert_eq!(peer.receive().1, b"again");
        wait::until("the class", || (class(&rig) == "conversational").then_some(()));
    }
    assert!(rig.stop().success());
    assert!(operator.sessions().is_empty());
}

#[test]
fn an_operator_that_refuses_leaves_best_effort_and_another_server_is_asked_for_anew() {
    let operator = Operator::start(OperatorHabits {
        tricks: vec![("POST /quality-on-demand", Trick::Status(403, "PERMISSION_DENIED"))],
        ..OperatorHabits::default()
    });
    let rig = on(&operator);
    let (app, named) = app(&rig);
    app.ask(call());
    let (first, second) = (server(), server());
    let one = open(&rig, &named, first);
    becomes(&app, "refused", Some(first), Some("not-permitted"));
    assert_eq!((class(&rig), &app.own()[0]["state"]), (json!("background"), &json!("degraded")));
    // The same is not asked for again.
    let two = open(&rig, &named, first);
    assert_eq!(operator.count("POST /quality-on-demand"), 1);
    operator.change(|habits| habits.tricks.clear());
    drop((one, two));
    wait::until("no flow", || (app.own()[0]["flows"] == 0).then_some(()));
    let _three = open(&rig, &named, second);
    becomes(&app, "given", Some(second), None);
    assert_eq!(app.own()[0]["state"], "admitted");
    wait::until("the open flow to have it", || (class(&rig) == "conversational").then_some(()));
}

/// Another profile than it was asked for.
fn lie(value: &mut Value) {
    value["qosProfile"] = "QOS_L".into();
}

#[test]
fn an_operator_that_lies_leaves_best_effort_and_no_session() {
    for trick in [Trick::Changed(lie), Trick::Body("{\"sessionId\":"), Trick::HangsUp] {
        let operator = Operator::start(OperatorHabits::default());
        let rig = on(&operator);
        let (app, named) = app(&rig);
        app.ask(call());
        operator.change(|habits| habits.tricks = vec![("POST /quality-on-demand", trick.clone())]);
        let first = server();
        let _one = open(&rig, &named, first);
        let why = if matches!(trick, Trick::HangsUp) { "failed" } else { "nonsense" };
        becomes(&app, "refused", Some(first), Some(why));
        assert_eq!((class(&rig), &app.own()[0]["state"]), (json!("background"), &json!("degraded")));
        // What it may have begun all the same is given back, as soon as it tells the truth.
        operator.change(|habits| habits.tricks.clear());
        wait::until("no session", || operator.sessions().is_empty().then_some(()));
        assert_eq!(rig.json(["flows"])["items"].as_array().unwrap().len(), 1, "the flow goes on");
    }
}

#[test]
fn a_change_changes_the_session_and_what_the_network_ends_is_told() {
    let mut habits = OperatorHabits::default();
    habits.profiles[1]["packetDelayBudget"] = json!({ "value": 250, "unit": "Milliseconds" });
    habits.profiles[1]["packetErrorLossRate"] = 3.into();
    let operator = Operator::start(habits);
    let rig = on(&operator);
    let (app, named) = app(&rig);
    let id = app.ask(call())["id"].as_str().unwrap().to_owned();
    let first = server();
    let _one = open(&rig, &named, first);
    becomes(&app, "given", Some(first), None);
    wait::until("the open flow to have it", || (class(&rig) == "conversational").then_some(()));
    let has = |profile: &str| {
        let sessions = operator.sessions();
        (sessions.len() == 1 && sessions[0].asked["qosProfile"] == profile).then_some(())
    };
    assert!(has("QOS_E").is_some());
    let change = |body: Value| app.api("PATCH", &format!("/v1/streams/{id}"), &body);
    // Within the same profile: the network has nothing to do.
    let (status, changed) = change(json!({ "guaranteed_bitrate_up": "32 kbit/s" }));
    assert_eq!((status, &changed["attributes"]["guaranteed_bitrate_up"]), (200, &json!("32 kbit/s")));
    becomes(&app, "given", Some(first), None);
    assert!(has("QOS_E").is_some());
    // What needs another profile has another session, and the open flow its class.
    let streaming = json!({ "class": "streaming", "transfer_delay": 300,
                            "guaranteed_bitrate_up": "150 kbit/s", "guaranteed_bitrate_down": "150 kbit/s" });
    assert_eq!(change(streaming).0, 200);
    wait::until("another profile", || {
        (has("QOS_E").is_none() && operator.sessions().len() == 1).then_some(())
    });
    becomes(&app, "given", Some(first), None);
    wait::until("the open flow to have it", || (class(&rig) == "streaming").then_some(()));
    // It has to be given back for that, and the operator gives nothing any more: then there is none.
    operator.change(|habits| {
        habits.tricks = vec![("POST /quality-on-demand", Trick::Status(403, "PERMISSION_DENIED"))];
    });
    let mut again = call();
    again.as_object_mut().unwrap().remove("name");
    assert_eq!(change(again).0, 200);
    becomes(&app, "refused", Some(first), Some("not-restored"));
    assert_eq!(ended(&app), (json!("degraded"), json!("qos-not-granted")));
    wait::until("the open flow to lose it", || (class(&rig) == "background").then_some(()));
    // Whoever changes it asks again.
    operator.change(|habits| habits.tricks.clear());
    assert_eq!(change(json!({ "guaranteed_bitrate_up": "48 kbit/s" })).0, 200);
    becomes(&app, "given", Some(first), None);
    wait::until("the open flow to have it", || (class(&rig) == "conversational").then_some(()));

    operator.terminate();
    wait::until("the end of it", || {
        (ended(&app) == (json!("degraded"), json!("qos-not-granted"))).then_some(())
    });
    wait::until("the open flow to lose it", || (class(&rig) == "background").then_some(()));
    assert_eq!(rig.json(["flows"])["items"].as_array().unwrap().len(), 1, "the flow goes on");
}

/// How the app's stream is, and why.
fn ended(app: &App<'_>) -> (Value, Value) {
    let stream = app.own().pop().unwrap();
    (stream["state"].clone(), stream["reason"].clone())
}

#[test]
fn an_operator_that_does_not_answer_holds_up_no_flow_and_one_that_goes_away_cuts_none() {
    let operator = Operator::start(OperatorHabits { available_after: None, ..OperatorHabits::default() });
    let rig = on(&operator);
    let (app, named) = app(&rig);
    app.ask(call());
    let first = server();
    let _one = open(&rig, &named, first);
    assert_eq!(class(&rig), "background", "until the session is available");
    becomes(&app, "asking", Some(first), None);
    operator.change(|habits| habits.available_after = Some(Duration::ZERO));
    drop(operator);
    let lost = wait::within(Duration::from_secs(60), || {
        (app.own()[0]["state"] == "degraded").then(|| app.own()[0]["network"]["why"].clone())
    });
    assert!(lost.is_some(), "{:?}", network(&app));
    // The network is still there: only the operator's word is not.
    let _two = open(&rig, &named, first);
    assert_eq!(rig.json(["flows"])["items"].as_array().unwrap().len(), 2);
    assert!(rig.journal(["--kind", "flow-end", "--reason", "bearer-lost"]).is_empty());
}
