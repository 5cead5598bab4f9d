//! The user in the loop: a request that nobody has permitted waits for his answer, and what he says is what happens. No
//! question is lost, none comes twice, and what ends a right ends the wait.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rig::exact::{Way, ask};
use rig::origin::Origin;
use rig::raw::Credentials;
use rig::{Builder, Control, Rig, wait};
use serde_json::{Value, json};

struct Scene {
    rig: Arc<Rig>,
    control: Control,
    origin: Origin,
}

fn usual() -> Builder {
    Rig::builder().section("policy", "prompt_wait = \"20s\"")
}

impl Scene {
    fn start(builder: Builder) -> Self {
        let rig = builder.start();
        Self { control: Control::of(&rig), rig: Arc::new(rig), origin: Origin::start() }
    }

    fn app(&mut self) -> (String, String, Credentials) {
        let app = self.rig.app("third-party");
        let (run, who) = self.control.run(&app);
        (app, run, who)
    }

    /// Asks for the origin's page in the background.
    fn ask(&self, way: Way, who: &Credentials) -> JoinHandle<String> {
        let (rig, who, port) = (Arc::clone(&self.rig), who.clone(), self.origin.address().port());
        thread::spawn(move || ask(&rig, way, &who, "127.0.0.1", port))
    }

    fn target(&self) -> String {
        self.origin.address().to_string()
    }

    /// The questions, when there are so many of which so many connections wait.
    fn questions(&mut self, count: usize, held: u64) -> Vec<Value> {
        wait::until(&format!("{count} questions, {held} held"), || {
            let open = self.open();
            let waiting: u64 = open.iter().map(|prompt| prompt["held"].as_u64().unwrap()).sum();
            (open.len() == count && waiting == held).then_some(open)
        })
    }

    fn open(&mut self) -> Vec<Value> {
        let listed = self.control.list("/v1/prompts");
        listed.into_iter().filter(|prompt| prompt["state"] == "open").collect()
    }

    fn missed(&mut self) -> Vec<Value> {
        let listed = self.control.list("/v1/prompts");
        listed.into_iter().filter(|prompt| prompt["state"] == "missed").collect()
    }

    fn answer(&mut self, prompt: &Value, answer: &Value) -> Value {
        let path = format!("/v1/prompts/{}/answer", prompt["id"].as_str().unwrap());
        self.control.done("POST", &path, Some(answer)).json
    }

    fn answer_fails(&mut self, prompt: &Value, answer: &Value) -> (u16, String) {
        let path = format!("/v1/prompts/{}/answer", prompt["id"].as_str().unwrap());
        let answer = self.control.ask("POST", &path, Some(answer)).unwrap();
        (answer.status, answer.json["reason"].as_str().unwrap_or_default().to_owned())
    }
}

fn said(asked: JoinHandle<String>) -> String {
    asked.join().expect("an answer")
}

#[test]
fn a_request_without_a_permission_waits_for_the_users_yes_at_each_door() {
    let mut scene = Scene::start(usual());
    for (times, way) in (1..).zip(Way::ALL) {
        let (app, run, who) = scene.app();
        let asked = scene.ask(way, &who);
        let question = scene.questions(1, 1).remove(0);
        assert_eq!(
            (&question["app"], &question["run"], &question["action"], &question["target"]),
            (&json!(app), &json!(run), &json!("network.connect"), &json!(scene.target()))
        );
        assert_eq!(question["domain"], "third-party");
        assert!(question["signer"].as_str().is_some_and(|signer| signer.contains("CN=")), "{question}");
        assert_eq!(question["permissions"], json!(["single", "session", "blanket"]));
        assert_eq!(question["default"], "session");
        let answered = scene.answer(&question, &json!({ "answer": "allow" }));
        assert_eq!(answered["grant"]["permission"], "session");
        assert_eq!(said(asked), "hello", "{way:?}");
        assert!(scene.control.list("/v1/prompts").is_empty());
        // And the next of the same kind asks nobody.
        assert_eq!(said(scene.ask(way, &who)), "hello");
        // What was asked, what was answered and what was opened stand in the journal, each once.
        let records = scene.rig.journal(["--app", &app]);
        let count = |key: &str, value: &str| records.iter().filter(|record| record[key] == value).count();
        assert_eq!((count("decision", "ask"), count("action", "grant.give")), (times, times), "{records:?}");
        scene.control.done("DELETE", &format!("/v1/apps/{app}"), None);
    }
    assert_eq!(scene.rig.metric("mexegate_prompts_total{answer=\"allow\"}"), 3.0);
    assert_eq!(scene.rig.metric("mexegate_prompts_open"), 0.0);
}

#[test]
fn thirty_connections_are_one_question_and_a_single_yes_frees_one() {
    let mut scene = Scene::start(usual());
    let (_, _, who) = scene.app();
    let asked: Vec<_> = (0..30).map(|n| scene.ask(Way::ALL[n % 3], &who)).collect();
    let question = scene.questions(1, 30).remove(0);
    scene.answer(&question, &json!({ "answer": "allow", "permission": "single" }));
    // The others ask again, together.
    let again = scene.questions(1, 29).remove(0);
    assert_ne!(again["id"], question["id"]);
    wait::until("the one", || (asked.iter().filter(|one| one.is_finished()).count() == 1).then_some(()));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(asked.iter().filter(|one| one.is_finished()).count(), 1);
    scene.answer(&again, &json!({ "answer": "allow", "permission": "session", "scope": "host" }));
    assert!(asked.into_iter().map(said).all(|answer| answer == "hello"));
}

#[test]
fn a_no_is_not_asked_again_in_the_run_and_the_third_in_a_day_in_none() {
    let mut scene = Scene::start(usual());
    let (app, first, who) = scene.app();
    let asked = scene.ask(Way::Connect, &who);
    let question = scene.questions(1, 1).remove(0);
    let answered = scene.answer(&question, &json!({ "answer": "deny" }));
    assert_eq!(answered["for_every_run"], false);
    assert_eq!(said(asked), "prompt-denied");
    assert_eq!(said(scene.ask(Way::Socks, &who)), "prompt-denied");
    assert!(scene.control.list("/v1/prompts").is_empty());

    for last in [false, true] {
        let (_, who) = scene.control.run(&app);
        let asked = scene.ask(Way::Forward, &who);
        let question = scene.questions(1, 1).remove(0);
        let answered = scene.answer(&question, &json!({ "answer": "deny", "permission": "single" }));
        assert_eq!(answered["for_every_run"], last, "{answered}");
        assert_eq!(said(asked), "prompt-denied");
    }
    let (_, fourth) = scene.control.run(&app);
    assert_eq!(said(scene.ask(Way::Connect, &fourth)), "prompt-denied");
    scene.control.done("DELETE", &format!("/v1/runs/{first}"), None);

    // It outlives the gate, and ends when the user wants to be asked again.
    let rig = Arc::clone(&scene.rig);
    let denied = rig.json(["prompts", "--denied", "--json"])["items"].as_array().unwrap().clone();
    let kept: Vec<_> = denied.iter().filter(|denial| denial["holds"] == "always").collect();
    assert_eq!(kept.len(), 1, "{denied:?}");
    assert_eq!(rig.cli(["prompts", "--rearm", kept[0]["id"].as_str().unwrap()]).code, 0);
    let (_, fifth) = scene.control.run(&app);
    let asked = scene.ask(Way::Connect, &fifth);
    let question = scene.questions(1, 1).remove(0);
    // A permission given by hand answers as well.
    scene.control.grant(&app, "127.0.0.1", "session");
    assert_eq!(said(asked), "hello");
    assert_eq!(scene.answer_fails(&question, &json!({ "answer": "allow" })), (404, "not-found".to_owned()));
}

#[test]
fn a_denial_for_ever_and_one_for_a_time_outlive_the_gate() {
    let mut rig = usual().start();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app = rig.app("third-party");
    let mut control = Control::of(&rig);
    let (_, who) = control.run(&app);
    for (port, body) in [
        (origin.port(), json!({ "answer": "deny", "permission": "blanket", "scope": "host" })),
        (9, json!({ "answer": "deny", "for": "10m" })),
    ] {
        let host = if port == 9 { "127.0.0.2" } else { "127.0.0.1" };
        thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&rig, Way::Connect, &who, host, port));
            let prompts =
                wait::until("the question", || Some(control.list("/v1/prompts")).filter(|l| !l.is_empty()));
            let path = format!("/v1/prompts/{}/answer", prompts[0]["id"].as_str().unwrap());
            control.done("POST", &path, Some(&body));
            assert_eq!(asked.join().unwrap(), "prompt-denied");
        });
    }
    rig.kill();
    rig.start_again();
    let (_, who) = Control::of(&rig).run(&app);
    for (host, port) in [("127.0.0.1", 1), ("127.0.0.2", 9)] {
        assert_eq!(ask(&rig, Way::Connect, &who, host, port), "prompt-denied", "{host}");
    }
    let denials = Control::of(&rig).list("/v1/prompts?denied=true");
    assert_eq!(denials.len(), 2, "{denials:?}");
    assert!(
        denials.iter().any(|denial| denial["expires_in_seconds"].as_u64().is_some_and(|left| left <= 600))
    );
}

#[test]
fn an_unanswered_question_is_a_refusal_and_can_be_answered_for_the_next_time() {
    let mut scene = Scene::start(Rig::builder().section("policy", "prompt_wait = \"1s\""));
    let (_, _, who) = scene.app();
    for way in Way::ALL {
        assert_eq!(said(scene.ask(way, &who)), "prompt-timeout");
    }
    let missed = scene.missed();
    assert_eq!(missed.len(), 1, "the same question stays one: {missed:?}");
    assert!(scene.open().is_empty());
    scene.answer(&missed[0], &json!({ "answer": "allow" }));
    assert!(scene.control.list("/v1/prompts").is_empty());
    assert_eq!(said(scene.ask(Way::Connect, &who)), "hello");
    assert_eq!(scene.rig.metric("mexegate_prompts_total{answer=\"missed\"}"), 3.0);
    // It never became a rule.
    assert!(scene.control.list("/v1/prompts?denied=true").is_empty());
}

#[test]
fn what_ends_a_right_ends_the_wait_at_once() {
    let mut scene = Scene::start(usual());
    let (app, run, who) = scene.app();
    let held: Vec<_> = Way::ALL.into_iter().map(|way| scene.ask(way, &who)).collect();
    scene.questions(1, 3);
    scene.control.done("DELETE", &format!("/v1/runs/{run}"), None);
    for asked in held {
        assert_eq!(said(asked), "run-ended");
    }
    let (_, who) = scene.control.run(&app);
    let held = scene.ask(Way::Connect, &who);
    scene.questions(1, 1);
    scene.control.done("DELETE", &format!("/v1/apps/{app}"), None);
    assert_eq!(said(held), "app-removed");
    assert!(scene.control.list("/v1/prompts").is_empty(), "an app's questions go with it");
}

#[test]
fn a_full_queue_refuses_and_one_app_cannot_fill_it() {
    let mut scene = Scene::start(Rig::builder().section("policy", "prompt_wait = \"20s\"\nprompt_queue = 8"));
    let (rig, (_, _, noisy)) = (Arc::clone(&scene.rig), scene.app());
    let other = rig.app("operator");
    let (_, quiet) = scene.control.run(&other);
    // A quarter of the places is all that an app gets.
    let noisy_held: Vec<_> = (1..=2)
        .map(|port| {
            let (rig, who) = (Arc::clone(&rig), noisy.clone());
            thread::spawn(move || ask(&rig, Way::Connect, &who, "192.0.2.1", port))
        })
        .collect();
    scene.questions(2, 2);
    for port in 3..20 {
        assert_eq!(ask(&rig, Way::Connect, &noisy, "192.0.2.1", port), "prompt-queue-full");
    }
    let asked = scene.ask(Way::Connect, &quiet);
    let questions = scene.questions(3, 3);
    let of_quiet = questions.iter().find(|question| question["app"] == other.as_str()).unwrap().clone();
    scene.answer(&of_quiet, &json!({ "answer": "allow" }));
    assert_eq!(said(asked), "hello");
    for question in scene.questions(2, 2) {
        scene.answer(&question, &json!({ "answer": "deny", "scope": "any" }));
    }
    assert!(noisy_held.into_iter().map(said).all(|answer| answer == "prompt-denied"));
    assert_eq!(ask(&rig, Way::Connect, &noisy, "198.51.100.1", 7), "prompt-denied", "any target was meant");
}

#[test]
fn an_app_that_leaves_leaves_its_question_behind_as_missed() {
    let mut scene = Scene::start(usual());
    let (_, _, who) = scene.app();
    let target = scene.target();
    let socks = format!("socks5h://{}:{}@{}", who.app, who.token, scene.rig.ports().socks);
    let http = format!("http://{}:{}@{}", who.app, who.token, scene.rig.ports().http);
    for proxy in [socks, http] {
        let mut curl = std::process::Command::new("curl")
            .args(["--silent", "--proxytunnel", "--proxy", &proxy, &format!("http://{target}/hello")])
            .spawn()
            .unwrap();
        scene.questions(1, 1);
        curl.kill().unwrap();
        curl.wait().unwrap();
        wait::until("the question to be missed", || scene.open().is_empty().then_some(()));
        let missed = scene.missed();
        assert_eq!(missed.len(), 1);
        let id = missed[0]["id"].as_str().unwrap().to_owned();
        scene.control.done("DELETE", &format!("/v1/prompts/{id}"), None);
    }
}

#[test]
fn an_answer_counts_once_within_the_cell_and_from_the_user_only() {
    let mut scene = Scene::start(usual());
    let (_, _, who) = scene.app();
    let asked = scene.ask(Way::Connect, &who);
    let question = scene.questions(1, 1).remove(0);
    let path = format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap());
    let yes = json!({ "answer": "allow", "permission": "session" });
    // Neither an app nor a stranger answers, over the port where both can call.
    let body = yes.to_string();
    let with_token = format!("Authorization: Bearer {}", who.token);
    for (head, status) in [(&with_token[..], 403), ("X-Nothing: 1", 401)] {
        let reply = scene.rig.curl([
            "-X",
            "POST",
            "-H",
            head,
            "-d",
            &body,
            &format!("http://{}{path}", scene.rig.ports().console),
        ]);
        assert_eq!(reply.status, status, "{head}");
    }
    for wrong in [
        json!({ "answer": "maybe" }),
        json!({ "answer": "allow", "permission": "always" }),
        json!({ "answer": "allow", "for": "soon" }),
        json!({ "answer": "allow", "scope": "world" }),
        json!({ "answer": "allow", "grant": "network.call" }),
        json!({}),
    ] {
        assert_eq!(scene.answer_fails(&question, &wrong), (400, "request-malformed".to_owned()), "{wrong}");
    }
    assert_eq!(scene.open().len(), 1, "nothing of this was an answer");
    scene.answer(&question, &yes);
    assert_eq!(said(asked), "hello");
    for late in [yes, json!({ "answer": "deny" })] {
        assert_eq!(scene.answer_fails(&question, &late), (404, "not-found".to_owned()));
    }
    assert_eq!(scene.control.list("/v1/grants").len(), 1);
}

#[test]
fn a_runtime_asks_for_what_it_does_itself_and_a_single_yes_is_for_once() {
    let mut scene = Scene::start(usual());
    let (_, run, who) = scene.app();
    let ask = |action: &str| {
        let (rig, body) = (Arc::clone(&scene.rig), json!({ "run": run, "action": action, "ask": true }));
        thread::spawn(move || Control::of(&rig).done("POST", "/v1/decisions", Some(&body)).json)
    };
    let asked = ask("user-data.read");
    let question = wait::until("the question", || scene.control.list("/v1/prompts").pop());
    assert_eq!((&question["action"], &question["target"]), (&json!("user-data.read"), &json!("")));
    assert_eq!(
        (&question["permissions"], &question["scopes"]),
        (&json!(["single", "session"]), &json!(["target"]))
    );
    let answer = json!({ "answer": "allow", "permission": "single" });
    assert_eq!(
        scene
            .control
            .ask(
                "POST",
                &format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap()),
                Some(&json!({ "answer": "allow", "scope": "any" }))
            )
            .unwrap()
            .status,
        400
    );
    let path = format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap());
    scene.control.done("POST", &path, Some(&answer));
    let decided = asked.join().unwrap();
    assert_eq!(
        (&decided["decision"], &decided["permission"]),
        (&json!("allow"), &json!("single")),
        "{decided}"
    );

    // It was for once; and a blanket permission is more than the table has.
    let asked = ask("user-data.read");
    let question = wait::until("the question", || scene.control.list("/v1/prompts").pop());
    let path = format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap());
    let wide = json!({ "answer": "allow", "permission": "blanket" });
    let refused = scene.control.ask("POST", &path, Some(&wide)).unwrap();
    assert_eq!((refused.status, &refused.json["reason"]), (403, &json!("permission-above-maximum")));
    scene.control.done("POST", &path, Some(&json!({ "answer": "deny" })));
    let decided = asked.join().unwrap();
    assert_eq!((&decided["decision"], &decided["reason"]), (&json!("deny"), &json!("prompt-denied")));

    // What the table denies is not asked, and an app asks only for what its signed manifest asks for (S25).
    let never = ask("smart-card.apdu").join().unwrap();
    assert_eq!((&never["decision"], &never["reason"]), (&json!("deny"), &json!("forbidden-to-domain")));
    let body = json!({ "action": "user-data.read", "ask": true }).to_string();
    let token = format!("Authorization: Bearer {}", who.token);
    let url = format!("http://{}/v1/decisions", scene.rig.ports().console);
    let reply = scene.rig.curl(["-X", "POST", "-H", &token, "-d", &body, &url]);
    assert_eq!((reply.status, reply.reason().as_deref()), (403, Some("permission-missing")));
    assert!(scene.control.list("/v1/prompts").is_empty());
    let records = scene.rig.journal(["--action", "user-data.read"]);
    let outcomes: Vec<_> = records.iter().filter_map(|record| record["decision"].as_str()).collect();
    assert_eq!(outcomes, ["ask", "allow", "ask", "deny"]);
}

#[test]
fn questions_are_answered_in_a_terminal_and_never_faster_than_they_can_be_read() {
    use std::io::{BufRead, BufReader, Write};
    let phrase = "prompt_wait = \"20s\"\nprompt_phrase = \"the heron stands in the rain\"";
    let mut scene = Scene::start(Rig::builder().section("policy", phrase));
    let (app, _, who) = scene.app();
    let mut watch = scene.rig.command();
    watch
        .args(["prompts", "--watch"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let (mut keys, mut lines) =
        (watch.stdin.take().unwrap(), BufReader::new(watch.stdout.take().unwrap()).lines());
    assert_eq!(lines.next().unwrap().unwrap(), "your phrase: the heron stands in the rain");
    let mut until = |wanted: &str| {
        lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains(wanted))
            .unwrap_or_else(|| panic!("no {wanted}"))
    };
    let asked = scene.ask(Way::Connect, &who);
    assert!(until("wants network.connect").contains(&app));
    until("offers");
    writeln!(keys, "a").unwrap();
    until("too fast");
    thread::sleep(Duration::from_millis(800));
    writeln!(keys, "a single").unwrap();
    assert_eq!(said(asked), "hello");
    until("a single");
    let asked = scene.ask(Way::Connect, &who);
    until("offers");
    writeln!(keys, "d").unwrap();
    assert_eq!(said(asked), "prompt-denied", "no counts at once");
    writeln!(keys, "q").unwrap();
    assert!(watch.wait().unwrap().success());
}
