//! What a runtime or an app may ask the user for by itself, and how little a careless or hostile one gets by it (S22, S25).

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rig::{Builder, Control, Rig, wait};
use serde_json::{Value, json};

struct Scene {
    rig: Arc<Rig>,
    control: Control,
    run: String,
}

impl Scene {
    fn start(builder: Builder) -> Self {
        let rig = builder.start();
        let app = rig.app("third-party");
        let mut control = Control::of(&rig);
        let (run, _) = control.run(&app);
        Self { rig: Arc::new(rig), control, run }
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
        let asked = scene.asks("network.datagram", Some("a.example:53"));
        let question = scene.question();
        assert_eq!(question["target"], "a.example:53");
        assert_eq!(scene.answer(&question, &single).0, 200);
        assert_eq!(asked.join().unwrap()["decision"], "allow");
    }
    // For what the gate opens itself nothing is used up: it decides again when it does.
    let asked = scene.asks("network.connect", Some("a.example:443"));
    let question = scene.question();
    assert_eq!(scene.answer(&question, &single).0, 200);
    assert_eq!(asked.join().unwrap()["decision"], "allow");
    assert_eq!(scene.asks("network.connect", Some("a.example:443")).join().unwrap()["decision"], "allow");
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
