//! Calls of apps through the gate, over a fake modem: number and tones as the user's own question shows them are what the
//! modem gets, singly for an untrusted app, and what ends the right ends the call (S20, S24).

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mexe_forge::usim::{Card, CardKind};
use rig::line::Progress;
use rig::{Control, FakeModem, Habits, Rig, packages, wait};
use serde_json::{Value, json};

struct Scene {
    rig: Arc<Rig>,
    control: Control,
    modem: FakeModem,
    run: String,
    token: String,
}

impl Scene {
    fn start(domain: &str) -> Self {
        let mut rig = Rig::builder().section("policy", "prompt_wait = \"20s\"").prepare();
        let modem = FakeModem::start(Some(&Card::new(CardKind::Usim)), Habits::default());
        let mut text = std::fs::read_to_string(rig.config_file()).unwrap();
        let port = modem.port().display();
        text.push_str(&format!("[[bearer]]\nname = \"mobile\"\nkind = \"modem\"\ndevice = \"{port}\"\n"));
        packages::write(&rig.config_file(), text.as_bytes());
        rig.start_again();
        let app = rig.app(domain);
        let mut control = Control::of(&rig);
        let (run, who) = control.run(&app);
        wait::until("the modem to be there", || {
            let answer =
                control.ask("POST", "/v1/calls", Some(&json!({ "run": run, "number": "112" }))).unwrap();
            assert_eq!(
                answer.json["reason"], "emergency-number",
                "an emergency number comes before all else"
            );
            let heard = modem.heard();
            heard.iter().any(|line| line.starts_with("AT+CIMI")).then_some(())
        });
        Self { rig: Arc::new(rig), control, modem, run, token: who.token }
    }

    /// The app's own request, in the background: status and answer.
    fn app_asks(&self, method: &str, path: &str, body: &Value) -> JoinHandle<(u16, Value)> {
        let (rig, method) = (Arc::clone(&self.rig), method.to_owned());
        let token = format!("Authorization: Bearer {}", self.token);
        let (url, body) = (format!("http://{}{path}", self.rig.ports().console), body.to_string());
        thread::spawn(move || {
            let reply = rig.curl(["-X", &method, "-H", &token, "-d", &body, &url]);
            (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
        })
    }

    fn question(&mut self) -> Value {
        wait::until("the question", || {
            self.control.list("/v1/prompts").into_iter().find(|p| p["state"] == "open")
        })
    }

    fn answer(&mut self, question: &Value, answer: Value) -> u16 {
        let path = format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap());
        self.control.ask("POST", &path, Some(&answer)).unwrap().status
    }

    fn dialled(&self) -> Vec<String> {
        self.modem.heard().into_iter().filter(|line| line.starts_with("ATD")).collect()
    }

    fn until_state(&mut self, state: &str) {
        wait::until(state, || {
            let calls = self.control.list("/v1/calls");
            calls.first().is_some_and(|call| call["state"] == state).then_some(())
        });
    }
}

#[test]
fn an_untrusted_app_calls_the_number_that_the_user_sees_once() {
    let mut scene = Scene::start("unsigned");
    let asked = scene.app_asks("POST", "/v1/calls", &json!({ "number": "+49 (30) 123-456" }));
    let question = scene.question();
    // The question shows what will be dialled, and the user cannot give more than once.
    assert_eq!((&question["action"], &question["target"]), (&json!("network.call"), &json!("+4930123456")));
    assert_eq!((&question["permissions"], &question["domain"]), (&json!(["single"]), &json!("untrusted")));
    assert_eq!((&question["signer"], &question["chargeable"]), (&Value::Null, &json!(true)));
    assert!(scene.dialled().is_empty(), "nothing is dialled before");
    assert_eq!(scene.answer(&question, json!({ "answer": "allow", "permission": "session" })), 403);
    assert_eq!(scene.answer(&question, json!({ "answer": "allow" })), 200);
    let (status, call) = asked.join().unwrap();
    assert_eq!((status, &call["number"]), (201, &json!("+4930123456")), "{call}");
    assert_eq!(scene.dialled(), ["ATD+4930123456;"]);
    scene.modem.progress(Progress::Answered);
    scene.until_state("active");

    // Tones: shown as they are sent, written down as a keyed hash only.
    let path = format!("/v1/calls/{}", call["id"].as_str().unwrap());
    let asked = scene.app_asks("POST", &format!("{path}/dtmf"), &json!({ "tones": "4711#" }));
    let question = scene.question();
    assert_eq!((&question["action"], &question["target"]), (&json!("network.dtmf"), &json!("4711#")));
    // What the user sees is what is sent: nothing else meanwhile.
    let (status, other) =
        scene.app_asks("POST", &format!("{path}/dtmf"), &json!({ "tones": "999" })).join().unwrap();
    assert_eq!((status, &other["reason"]), (403, &json!("call-not-active")), "{other}");
    assert_eq!(scene.answer(&question, json!({ "answer": "allow" })), 200);
    assert_eq!(asked.join().unwrap().0, 204);
    assert_eq!(scene.modem.tones(), "4711#");
    let database = std::fs::read(scene.rig.state_dir().join("mexegate.db")).unwrap();
    let text = serde_json::to_string(&scene.rig.journal::<&str>([])).unwrap();
    assert!(!text.contains("4711#") && !String::from_utf8_lossy(&database).contains("4711#"));
    assert!(text.contains("tones hmac-sha256:"), "{text}");

    // The next burst, and the next call, are asked for anew; the app hangs up itself.
    let asked = scene.app_asks("POST", &format!("{path}/dtmf"), &json!({ "tones": "1" }));
    let question = scene.question();
    assert_eq!(scene.answer(&question, json!({ "answer": "deny" })), 200);
    assert_eq!(asked.join().unwrap().1["reason"], "prompt-denied");
    assert_eq!(scene.app_asks("DELETE", &path, &json!({})).join().unwrap().0, 204);
    wait::until("the end of the call", || scene.control.list("/v1/calls").is_empty().then_some(()));
    let asked = scene.app_asks("POST", "/v1/calls", &json!({ "number": "+4930123456" }));
    let question = scene.question();
    scene.answer(&question, json!({ "answer": "deny" }));
    assert_eq!(asked.join().unwrap().1["reason"], "prompt-denied");
    assert_eq!(scene.dialled().len(), 1);
    let end = wait::until("the end in the journal", || scene.rig.journal(["--action", "call.end"]).pop());
    assert_eq!((&end["target"], &end["detail"]["end"]), (&json!("+4930123456"), &json!("hung-up")));
}

#[test]
fn a_number_that_is_none_reaches_neither_the_user_nor_the_modem() {
    let mut scene = Scene::start("third-party");
    for (number, reason) in [
        // Whole codes are another action; this one would begin a call on its way.
        ("*31#03012345", "request-malformed"),
        ("*100", "request-malformed"),
        ("*100#;", "request-malformed"),
        ("22", "request-malformed"),
        ("0170;ATD112", "request-malformed"),
        ("0170\r\nATH", "request-malformed"),
        ("", "request-malformed"),
        ("+", "request-malformed"),
        ("112", "emergency-number"),
        ("+112", "emergency-number"),
        ("1 1 2", "emergency-number"),
        ("\u{0660}\u{0661}\u{0662}", "request-malformed"),
        ("123456789012345678901", "request-malformed"),
    ] {
        let (_, answer) = scene.app_asks("POST", "/v1/calls", &json!({ "number": number })).join().unwrap();
        assert_eq!(answer["reason"], reason, "{number:?}: {answer}");
    }
    assert!(scene.control.list("/v1/prompts").is_empty() && scene.dialled().is_empty());
}

#[test]
fn a_service_code_is_an_action_of_its_own_and_never_an_untrusted_apps() {
    let mut scene = Scene::start("unsigned");
    let (status, refused) =
        scene.app_asks("POST", "/v1/calls", &json!({ "number": "*100#" })).join().unwrap();
    assert_eq!((status, &refused["reason"]), (403, &json!("untrusted-app")), "{refused}");
    let record = scene.rig.journal(["--action", "network.supplementary-service"]).pop().unwrap();
    assert_eq!((&record["decision"], &record["target"]), (&json!("deny"), &json!("*100#")));
    assert!(scene.control.list("/v1/prompts").is_empty() && scene.modem.codes().is_empty());

    let mut scene = Scene::start("third-party");
    let app = scene.control.list("/v1/apps")[0]["id"].as_str().unwrap().to_owned();
    // Whoever may call any number may not do this.
    let wide = json!({ "app": app, "action": "network.call", "permission": "session" });
    scene.control.done("POST", "/v1/grants", Some(&wide));
    for (answer, sent) in [("deny", 0), ("allow", 1)] {
        let code = format!("*10{sent}#");
        let asked = scene.app_asks("POST", "/v1/calls", &json!({ "number": code }));
        let question = scene.question();
        let action = json!("network.supplementary-service");
        assert_eq!((&question["action"], &question["target"]), (&action, &json!(code)));
        assert_eq!((&question["default"], &question["chargeable"]), (&json!("single"), &json!(true)));
        assert_eq!(scene.answer(&question, json!({ "answer": answer })), 200);
        let (status, said) = asked.join().unwrap();
        assert_eq!(status, if sent == 1 { 201 } else { 403 }, "{said}");
        assert_eq!(scene.modem.codes().len(), sent);
    }
    // Once was once; and a permission for a code is for that code.
    let given = json!({ "app": app, "action": "network.supplementary-service", "target": "**21*+493012#",
        "permission": "session" });
    scene.control.done("POST", "/v1/grants", Some(&given));
    let told = scene.app_asks("POST", "/v1/calls", &json!({ "number": "**21*+49 30-12#" })).join().unwrap();
    assert_eq!((told.0, &told.1["state"]), (201, &json!("sent")), "{}", told.1);
    let asked = scene.app_asks("POST", "/v1/calls", &json!({ "number": "*101#" }));
    let question = scene.question();
    assert_eq!(scene.answer(&question, json!({ "answer": "deny" })), 200);
    assert_eq!(asked.join().unwrap().1["reason"], "prompt-denied");
    assert_eq!(scene.modem.codes(), ["*101#", "**21*+493012#"]);
    assert!(scene.dialled().is_empty(), "a code is never dialled");
}

#[test]
fn a_burst_of_tones_ends_with_the_permission_for_tones_and_the_call_goes_on() {
    const BURST: &str = "1234567890*#ABCD1234567890*#ABCD";
    let mut scene = Scene::start("third-party");
    scene.modem.change(|habits| habits.calls.tone = Duration::from_millis(180));
    let app = scene.control.list("/v1/apps")[0]["id"].as_str().unwrap().to_owned();
    let grant = |scene: &mut Scene, action: &str| {
        let wish = json!({ "app": app, "action": action, "permission": "session" });
        scene.control.done("POST", "/v1/grants", Some(&wish)).json["id"].as_str().unwrap().to_owned()
    };
    grant(&mut scene, "network.call");
    let tones = grant(&mut scene, "network.dtmf");
    let begin = json!({ "run": scene.run, "number": "+49301" });
    let call = scene.control.done("POST", "/v1/calls", Some(&begin)).json;
    scene.modem.progress(Progress::Answered);
    scene.until_state("active");
    let path = format!("/v1/calls/{}/dtmf", call["id"].as_str().unwrap());
    let asked = scene.app_asks("POST", &path, &json!({ "tones": BURST }));
    wait::until("some tones", || (scene.modem.tones().len() >= 3).then_some(()));
    scene.control.done("DELETE", &format!("/v1/grants/{tones}"), None);
    let (status, refused) = asked.join().unwrap();
    assert_eq!((status, &refused["reason"]), (403, &json!("permission-revoked")), "{refused}");
    let sent = scene.modem.tones().len();
    thread::sleep(Duration::from_millis(600));
    assert!(scene.modem.tones().len() <= sent + 1, "the one on its way and no other");
    assert!(sent < BURST.len());
    assert_eq!(scene.control.list("/v1/calls")[0]["state"], "active");

    // A yes for these tones is used when they begin: that they last longer than it takes nothing from it.
    let before = scene.modem.tones().len();
    let asked = scene.app_asks("POST", &path, &json!({ "tones": BURST }));
    let question = scene.question();
    assert_eq!(scene.answer(&question, json!({ "answer": "allow", "permission": "single" })), 200);
    assert_eq!(asked.join().unwrap().0, 204);
    assert_eq!(scene.modem.tones().get(before..), Some(BURST));
}

#[test]
fn what_ends_the_right_to_call_ends_the_call() {
    let mut scene = Scene::start("third-party");
    let app = scene.control.list("/v1/apps")[0]["id"].as_str().unwrap().to_owned();
    // A permission for this number, and one for any: the first by name, the second in this run.
    let grant = |scene: &mut Scene, target: Value| {
        let wish = json!({ "app": app, "action": "network.call", "target": target, "permission": "session" });
        scene.control.done("POST", "/v1/grants", Some(&wish)).json["id"].as_str().unwrap().to_owned()
    };
    let first = grant(&mut scene, json!("+49 30 1"));
    let begin = json!({ "run": scene.run, "number": "+49301" });
    scene.control.done("POST", "/v1/calls", Some(&begin));
    scene.modem.progress(Progress::Answered);
    scene.until_state("active");
    // One line, one call.
    grant(&mut scene, Value::Null);
    let busy = scene
        .control
        .ask("POST", "/v1/calls", Some(&json!({ "run": scene.run, "number": "+49302" })))
        .unwrap();
    assert_eq!(busy.json["reason"], "line-busy", "{}", busy.json);
    scene.control.done("DELETE", &format!("/v1/grants/{first}"), None);
    wait::until("the call to be over", || scene.control.list("/v1/calls").is_empty().then_some(()));
    assert_eq!(scene.modem.calls(), 0);
    wait::until("the end in the journal", || {
        let ends = scene.rig.journal(["--action", "call.end"]);
        ends.iter()
            .any(|end| end["target"] == "+49301" && end["reason"] == "permission-revoked")
            .then_some(())
    });

    scene.control.done("POST", "/v1/calls", Some(&begin));
    scene.modem.progress(Progress::Answered);
    scene.until_state("active");
    scene.control.done("DELETE", &format!("/v1/runs/{}", scene.run), None);
    wait::until("the call to be over", || scene.control.list("/v1/calls").is_empty().then_some(()));
    assert_eq!(scene.modem.calls(), 0);
}

#[test]
fn without_a_modem_there_is_no_voice_bearer_and_nobody_is_asked() {
    let rig = Rig::builder().section("policy", "prompt_wait = \"20s\"").start();
    let app = rig.app("third-party");
    let mut control = Control::of(&rig);
    control.run(&app);
    let call = rig.cli(["call", &app, "+4930123456"]);
    assert_eq!(call.code, 3);
    assert!(call.stderr.contains("no-voice-bearer"), "{}", call.stderr);
    assert!(control.list("/v1/prompts").is_empty());
}
