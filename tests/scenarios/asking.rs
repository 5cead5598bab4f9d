//! What a runtime or an app may ask the user for by itself, and how little a careless or hostile one gets by it (S22, S25).

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rig::raw::Credentials;
use rig::{Association, Builder, Control, Peer, Rig, wait};
use serde_json::{Value, json};

struct Scene {
    rig: Arc<Rig>,
    control: Control,
    run: String,
    who: Credentials,
}

impl Scene {
    fn start(builder: Builder) -> Self {
        let rig = builder.start();
        let app = rig.app("third-party");
        let mut control = Control::of(&rig);
        let (run, who) = control.run(&app);
        Self { rig: Arc::new(rig), control, run, who }
    }

    fn asks(&self, action: &str, target: Option<&str>) -> JoinHandle<Value> {
        let rig = Arc::clone(&self.rig);
        let body = json!({ "run": self.run, "action": action, "target": target, "ask": true });
        thread::spawn(move || Control::of(&rig).ask("POST", "/v1/decisions", Some(&body)).unwrap().json)
    }

    fn question(&mut self) -> Value {
        wait::until("the question", || {
            self.control.list("/v1/prompts").into_iter().find(|prompt| prompt["state"] == "open")
        })
    }

    fn answer(&mut self, question: &Value, answer: &Value) -> (u16, Value) {
        let path = format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap());
        let answer = self.control.ask("POST", &path, Some(answer)).unwrap();
        (answer.status, answer.json)
    }
}

fn usual() -> Builder {
    Rig::builder().section("policy", "prompt_wait = \"20s\"")
}

#[test]
fn a_single_yes_by_name_is_used_up_by_the_first_who_is_told_so() {
    let mut scene = Scene::start(usual());
    let single = json!({ "answer": "allow", "permission": "single" });
    for _ in 0..2 {
        let asked = scene.asks("network.listen", Some("a.example:53"));
        let question = scene.question();
        assert_eq!(question["target"], "a.example:53");
        assert_eq!(scene.answer(&question, &single).0, 200);
        assert_eq!(asked.join().unwrap()["decision"], "allow");
    }
    // For what the gate carries out itself nothing is used up: it decides again when it does.
    for (action, target) in [
        ("network.connect", Some("a.example:443")),
        ("network.datagram", Some("a.example:53")),
        ("network.qos", None),
        ("network.usage", None),
    ] {
        let asked = scene.asks(action, target);
        let question = scene.question();
        assert_eq!(scene.answer(&question, &single).0, 200);
        assert_eq!(asked.join().unwrap()["decision"], "allow");
        assert_eq!(scene.asks(action, target).join().unwrap()["decision"], "allow", "{action}");
    }
}

#[test]
fn a_single_yes_to_a_datagram_is_used_up_by_the_flow_and_by_nothing_before() {
    let mut scene = Scene::start(usual());
    let peer = Peer::start();
    let target = peer.address().to_string();
    let asked = scene.asks("network.datagram", Some(&target));
    let question = scene.question();
    let single = json!({ "answer": "allow", "permission": "single" });
    assert_eq!(scene.answer(&question, &single).0, 200);
    assert_eq!(asked.join().unwrap()["decision"], "allow");
    assert_eq!(scene.control.list("/v1/grants").len(), 1, "saying so used it up");
    let association = Association::open(scene.rig.ports().socks, &scene.who).unwrap();
    association.send(peer.address(), b"one");
    assert_eq!(peer.echo(), b"one");
    assert_eq!(association.receive().1, b"one");
    assert!(scene.control.list("/v1/grants").is_empty());
    let again = scene.asks("network.datagram", Some(&target));
    let question = scene.question();
    assert_eq!(scene.answer(&question, &json!({ "answer": "deny" })).0, 200);
    assert_eq!(again.join().unwrap()["decision"], "deny");
}

#[test]
fn what_the_user_would_not_see_whole_is_not_asked() {
    let mut scene = Scene::start(usual());
    for (action, target) in [
        ("network.connect", None),
        ("network.listen", None),
        ("user-data.read", Some("x.example")),
        ("network.sms", None),
        ("network.sms", Some("a.example")),
        ("network.call", Some("+4930123456")),
        ("network.dtmf", None),
    ] {
        let answer = scene.asks(action, target).join().unwrap();
        assert_eq!(answer["reason"], "request-malformed", "{action} {target:?}: {answer}");
    }
    assert!(scene.control.list("/v1/prompts").is_empty());
    let asked = scene.asks("network.sms", Some("+49 30 123456"));
    let question = scene.question();
    assert_eq!(question["target"], "+4930123456", "the number as it is meant");
    assert_eq!(scene.answer(&question, &json!({ "answer": "allow" })).0, 200);
    assert_eq!(asked.join().unwrap()["decision"], "allow");
}

#[test]
fn nothing_wider_is_offered_than_the_run_can_use() {
    let policy = "prompt_wait = \"20s\"\ntoken_runs = \"session-only\"";
    let mut scene = Scene::start(Rig::builder().section("policy", policy));
    let asked = scene.asks("network.datagram", Some("a.example:53"));
    let question = scene.question();
    assert_eq!(question["permissions"], json!(["single", "session"]));
    let (status, refused) = scene.answer(&question, &json!({ "answer": "allow", "permission": "blanket" }));
    assert_eq!((status, &refused["reason"]), (403, &json!("permission-above-maximum")));
    assert!(scene.control.list("/v1/grants").is_empty());
    assert_eq!(scene.answer(&question, &json!({ "answer": "allow", "permission": "session" })).0, 200);
    assert_eq!(asked.join().unwrap()["decision"], "allow");
}

#[test]
fn who_hangs_up_waits_no_longer_and_uses_nothing_up() {
    let mut scene = Scene::start(usual());
    let curl = |body: &Value| -> Child {
        let token = std::fs::read_to_string(scene.rig.state_dir().join("console.token")).unwrap();
        Command::new("curl")
            .args(["--silent", "-X", "POST", "-H", &format!("Authorization: Bearer {}", token.trim()), "-d"])
            .arg(body.to_string())
            .arg(format!("http://{}/v1/decisions", scene.rig.ports().console))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let body = json!({ "run": scene.run, "action": "user-data.read", "ask": true });
    let mut gone = curl(&body);
    let question = scene.question();
    gone.kill().unwrap();
    gone.wait().unwrap();
    wait::until("the question to be missed", || {
        scene.control.list("/v1/prompts").iter().all(|prompt| prompt["state"] == "missed").then_some(())
    });
    // Who asks again gets the yes.
    let asked = scene.asks("user-data.read", None);
    let again = scene.question();
    assert_eq!(again["id"], question["id"]);
    assert_eq!(scene.answer(&again, &json!({ "answer": "allow", "permission": "single" })).0, 200);
    assert_eq!(asked.join().unwrap()["decision"], "allow");
}

#[test]
fn what_waits_for_the_user_is_counted_as_a_connection() {
    let limits = usual().section("limits", "connections_per_run = 3");
    let mut scene = Scene::start(limits);
    let held: Vec<_> = (0..3).map(|_| scene.asks("user-data.read", None)).collect();
    wait::until("three to wait", || {
        let prompts = scene.control.list("/v1/prompts");
        prompts.first().is_some_and(|prompt| prompt["held"] == 3).then_some(())
    });
    let fourth = scene.asks("user-data.read", None).join().unwrap();
    assert_eq!((&fourth["decision"], &fourth["reason"]), (&json!("deny"), &json!("limit-connections")));
    let question = scene.question();
    scene.answer(&question, &json!({ "answer": "deny" }));
    for one in held {
        assert_eq!(one.join().unwrap()["reason"], "prompt-denied");
    }
}

#[test]
fn the_third_no_silences_an_app_and_takes_nothing_away() {
    let mut scene = Scene::start(usual());
    let app = scene.control.list("/v1/apps")[0]["id"].as_str().unwrap().to_owned();
    let datagram = |scene: &Scene, host: &str| scene.asks("network.datagram", Some(&format!("{host}:53")));
    let asked = datagram(&scene, "given.example");
    let question = scene.question();
    assert_eq!(scene.answer(&question, &json!({ "answer": "allow", "permission": "blanket" })).0, 200);
    assert_eq!(asked.join().unwrap()["decision"], "allow");
    for (n, host) in ["a.example", "b.example", "c.example"].into_iter().enumerate() {
        let asked = datagram(&scene, host);
        let question = scene.question();
        let answered = scene.answer(&question, &json!({ "answer": "deny" })).1;
        assert_eq!(answered["silence"]["effect"], if n == 2 { json!("not-asked") } else { Value::Null });
        assert_eq!(asked.join().unwrap()["reason"], "prompt-denied");
    }
    // In every run, also after the gate was started again: nothing new is asked, what would be is kept.
    let rig = Arc::get_mut(&mut scene.rig).unwrap();
    rig.kill();
    rig.start_again();
    scene.control = Control::of(&scene.rig);
    scene.run = scene.control.run(&app).0;
    assert_eq!(datagram(&scene, "d.example").join().unwrap()["reason"], "prompt-denied");
    let missed = scene.control.list("/v1/prompts");
    assert_eq!((missed.len(), &missed[0]["state"]), (1, &json!("missed")), "{missed:?}");
    assert_eq!(missed[0]["target"], "d.example:53");
    assert_eq!(scene.answer(&missed[0], &json!({ "answer": "allow", "permission": "session" })).0, 200);
    for host in ["given.example", "d.example"] {
        assert_eq!(datagram(&scene, host).join().unwrap()["decision"], "allow", "{host}");
    }
    // Other actions are asked as ever, and this one again when the user wants it.
    let asked = scene.asks("user-data.read", None);
    let question = scene.question();
    assert_eq!(scene.answer(&question, &json!({ "answer": "deny" })).0, 200);
    asked.join().unwrap();
    let denials = scene.control.list("/v1/prompts?denied=true");
    let silence = denials.iter().find(|denial| denial["effect"] == "not-asked").unwrap();
    assert!(silence["expires_in_seconds"].as_u64().is_some_and(|left| (86_000..=86_400).contains(&left)));
    scene.control.done("DELETE", &format!("/v1/prompts/{}", silence["id"].as_str().unwrap()), None);
    let asked = datagram(&scene, "e.example");
    let question = scene.question();
    assert_eq!(scene.answer(&question, &json!({ "answer": "allow" })).0, 200);
    assert_eq!(asked.join().unwrap()["decision"], "allow");
}

#[test]
fn an_app_that_floods_the_user_is_refused_and_seen_once() {
    let mut scene = Scene::start(usual());
    let held: Vec<_> =
        (0..12).map(|n| scene.asks("network.datagram", Some(&format!("h{n}.example:53")))).collect();
    let listed = wait::until("all twelve", || {
        let listed = scene.control.list("/v1/prompts");
        let unasked: u64 = listed.iter().map(|prompt| prompt["unasked"].as_u64().unwrap()).sum();
        (listed.len() == 9 && unasked == 3).then_some(listed)
    });
    let open = |prompt: &&Value| prompt["state"] == "open";
    assert_eq!(listed.iter().filter(open).count(), 8);
    wait::until("four to be refused", || {
        (held.iter().filter(|one| one.is_finished()).count() == 4).then_some(())
    });
    assert_eq!(scene.rig.metric("mexegate_prompts_total{answer=\"queue-full\"}"), 4.0);
    scene.control.done("DELETE", &format!("/v1/runs/{}", scene.run), None);
    let mut reasons: Vec<_> = held.into_iter().map(|one| one.join().unwrap()["reason"].to_string()).collect();
    reasons.sort();
    reasons.dedup();
    assert_eq!(reasons, ["\"prompt-queue-full\"", "\"run-ended\""]);
}
