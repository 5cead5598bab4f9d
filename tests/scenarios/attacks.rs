//! Attacks on the questions (S22, S23): forged, replayed and late answers, foreign pages, oversized bodies, and an app that
//! writes what should not be shown as it is wherever it may write anything. See also own_user.rs for who may call what,
//! console.rs for the pages, and asking.rs for floods.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use mexe_forge::jar::JarBuilder;
use mexe_model::SecurityDomain;
use rig::{Control, Reply, Rig, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

struct Scene {
    rig: Arc<Rig>,
    control: Control,
    app: String,
    run: String,
    token: String,
}

impl Scene {
    fn start(app: impl FnOnce(&Rig) -> String) -> Self {
        let rig = Rig::builder().section("policy", "prompt_wait = \"20s\"").start();
        let app = app(&rig);
        let mut control = Control::of(&rig);
        let (run, who) = control.run(&app);
        Self { rig: Arc::new(rig), control, app, run, token: who.token }
    }

    fn usual() -> Self {
        Self::start(|rig| rig.app("third-party"))
    }

    /// A runtime asks for the run, in the background.
    fn asks(&self, target: &str) -> JoinHandle<Value> {
        let rig = Arc::clone(&self.rig);
        let body = json!({ "run": self.run, "action": "network.listen", "target": target, "ask": true });
        thread::spawn(move || Control::of(&rig).ask("POST", "/v1/decisions", Some(&body)).unwrap().json)
    }

    fn question(&mut self) -> Value {
        wait::until("the question", || {
            self.control.list("/v1/prompts").into_iter().find(|prompt| prompt["state"] == "open")
        })
    }

    /// An answer over the port where pages and apps can call, with these header fields.
    fn answers(&self, question: &Value, fields: &[&str], body: &str) -> Reply {
        let url = format!("http://{}{}", self.rig.ports().console, answer_path(question));
        let file = self.rig.folder().join("body");
        std::fs::write(&file, body).unwrap();
        let data = format!("@{}", file.display());
        let mut arguments = vec!["--request", "POST", "--data-binary", &data, &url];
        arguments.extend(fields.iter().flat_map(|field| ["--header", *field]));
        self.rig.curl(arguments)
    }

    fn user(&self) -> String {
        format!("Authorization: Bearer {}", self.rig.console_token())
    }
}

fn answer_path(question: &Value) -> String {
    format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap())
}

const YES: &str = r#"{"answer":"allow"}"#;

#[test]
fn nobody_but_the_user_answers_whatever_he_calls_himself() {
    let mut scene = Scene::usual();
    let other = scene.rig.app("operator");
    let (_, foreign) = scene.control.run(&other);
    let asked = scene.asks("a.example:53");
    let question = scene.question();
    let user = scene.user();
    let (own, foreign) =
        [&scene.token, &foreign.token].map(|token| format!("Authorization: Bearer {token}")).into();
    let cookie = format!("Cookie: token={}", scene.rig.console_token());
    for (fields, status) in [
        (vec![], 401),
        (vec!["Authorization: Bearer 00"], 401),
        (vec!["Authorization: Basic dXNlcjp4"], 401),
        (vec![cookie.as_str()], 401),
        (vec![own.as_str()], 403),
        (vec![foreign.as_str()], 403),
        // A page of another site, with the token that it cannot have; and a name that was made to lead here.
        (vec![&*user, "Origin: http://evil.example"], 421),
        (vec![&*user, "Origin: null"], 421),
        (vec![&*user, "Host: evil.example"], 421),
        (vec!["Origin: http://evil.example", "Content-Type: text/plain"], 421),
        // The app's own first, and another's behind it.
        (vec![&*own, &*user], 403),
    ] {
        let reply = scene.answers(&question, &fields, YES);
        assert!(reply.status == status, "{fields:?}: {} {}", reply.status, reply.text());
    }
    assert_eq!(scene.question()["id"], question["id"], "it waits as before");
    assert!(scene.control.list("/v1/grants").is_empty());
    let good = scene.answers(&question, &[&user], r#"{"answer":"deny"}"#);
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(asked.join().unwrap()["reason"], "prompt-denied");
}

#[test]
fn an_answer_that_is_replayed_or_late_changes_nothing() {
    let mut scene = Scene::usual();
    let user = scene.user();
    let single = r#"{"answer":"allow","permission":"single"}"#;
    let asked = scene.asks("a.example:53");
    let first = scene.question();
    assert_eq!(scene.answers(&first, &[&user], single).status, 200);
    assert_eq!(asked.join().unwrap()["decision"], "allow");
    // The same wish again is another question: the old answer is nothing to it.
    let asked = scene.asks("a.example:53");
    let second = scene.question();
    assert_ne!(first["id"], second["id"]);
    let late = scene.answers(&first, &[&user], single);
    assert_eq!((late.status, late.reason().as_deref()), (404, Some("not-found")));
    assert!(!asked.is_finished());
    // Its run ends, and the question with it: what comes then is for the next time at most, and never a session.
    scene.control.done("DELETE", &format!("/v1/runs/{}", scene.run), None);
    assert_eq!(asked.join().unwrap()["reason"], "run-ended");
    let dead = scene.answers(&second, &[&user], YES);
    assert_eq!((dead.status, dead.reason().as_deref()), (404, Some("not-found")), "{}", dead.text());
    assert!(scene.control.list("/v1/grants").is_empty());

    // A gate that was started again knows no question of before, nor the token that answered it.
    scene.run = scene.control.run(&scene.app).0;
    let asked = scene.asks("b.example:53");
    let lost = scene.question();
    scene.rig.signal(Signal::KILL);
    assert!(asked.join().is_err(), "its connection broke");
    let rig = Arc::get_mut(&mut scene.rig).unwrap();
    rig.kill();
    rig.start_again();
    assert_eq!(scene.answers(&lost, &[&user], YES).status, 401);
    let user = scene.user();
    assert_eq!(scene.answers(&lost, &[&user], YES).status, 404);
    assert!(Control::of(&scene.rig).list("/v1/grants").is_empty());
}

#[test]
fn a_root_or_an_app_that_goes_ends_what_waits_and_its_question() {
    let mut scene = Scene::usual();
    let roots = scene.rig.json(["roots", "list"]);
    let root =
        roots["items"].as_array().unwrap().iter().find(|root| root["domain"] == "third-party").unwrap();
    let root = root["id"].as_str().unwrap().to_owned();
    let asked = scene.asks("a.example:53");
    let question = scene.question();
    scene.rig.json(["roots", "disable", &root]);
    assert_eq!(asked.join().unwrap()["reason"], "app-suspended");
    let user = scene.user();
    let refused = scene.answers(&question, &[&user], YES);
    assert!([403, 404].contains(&refused.status), "{}", refused.text());
    assert!(scene.control.list("/v1/grants").is_empty(), "a suspended app is given nothing");
    // Who comes back has to ask anew.
    scene.rig.json(["roots", "enable", &root]);
    scene.run = scene.control.run(&scene.app).0;
    let asked = scene.asks("a.example:53");
    scene.question();
    scene.control.done("DELETE", &format!("/v1/apps/{}", scene.app), None);
    assert_eq!(asked.join().unwrap()["reason"], "app-removed");
    assert!(scene.control.list("/v1/prompts").is_empty());
}

#[test]
fn bodies_of_ten_megabytes_are_refused_and_answer_nothing() {
    let mut scene = Scene::usual();
    let asked = scene.asks("a.example:53");
    let question = scene.question();
    let user = scene.user();
    let large = "x".repeat(10_000_000);
    let nested = "[".repeat(10_000_000);
    for body in [
        format!("{{\"answer\":\"allow\",\"for\":\"{large}\"}}"),
        format!("{YES}{}", " ".repeat(10_000_000)),
        nested,
    ] {
        let reply = scene.answers(&question, &[&user], &body);
        assert_eq!((reply.status, reply.reason().as_deref()), (413, Some("body-too-large")));
    }
    // Deep, and small enough to be read.
    let deep = format!("{{\"answer\":{}", "[".repeat(40_000));
    assert_eq!(scene.answers(&question, &[&user], &deep).status, 400);
    let before = scene.rig.rss();
    assert!(before < 400 << 20, "{before} bytes of memory");
    assert_eq!(scene.question()["id"], question["id"]);
    assert_eq!(scene.answers(&question, &[&user], r#"{"answer":"deny"}"#).status, 200);
    assert_eq!(asked.join().unwrap()["reason"], "prompt-denied");
}

/// What a hostile maker writes: markup, an end of text, the terminal's commands, a text that runs backwards, an end of line.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\u{202e}gpj\u{2066}\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{85}\u{2028}&amp;`$(id)`";

/// No byte that a terminal obeys, no character that turns text around.
#[track_caller]
fn is_safe_to_read(what: &str, text: &str) {
    let obeyed = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    let at = text.find(obeyed);
    assert!(at.is_none(), "{what}: {:?}", &text[at.unwrap_or(0)..]);
}

#[test]
fn what_an_app_calls_itself_is_shown_escaped_wherever_it_is_shown() {
    let mut scene = Scene::start(|rig| {
        let package = JarBuilder::new()
            .attribute("MExE-Name", HOSTILE)
            .attribute("MExE-Version", "1.0")
            .attribute("MExE-Reason", HOSTILE)
            .entry("a.txt", "a");
        let file = rig.packages().sign("hostile", &package, Some(SecurityDomain::ThirdParty));
        rig.json(["app", "install", file.to_str().unwrap()])["id"].as_str().unwrap().to_owned()
    });
    let mut watch = scene.rig.command();
    watch.args(["prompts", "--watch"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watch = watch.spawn().unwrap();
    let mut watched = BufReader::new(watch.stdout.take().unwrap()).lines();
    let asked = scene.asks("a.example:53");
    let question = scene.question();
    assert!(question["name"].as_str().is_some_and(|name| name.contains("<img")), "{question}");
    assert!(question["stated_reason"].as_str().is_some_and(|why| why.contains('\u{202e}')));
    // In the terminal.
    let mut shown = String::new();
    while !shown.contains("offers") {
        shown += &watched.next().expect("the question is shown").unwrap();
        shown.push('\n');
    }
    watch.kill().and_then(|()| watch.wait()).unwrap();
    assert!(shown.contains("(the app's words)") && shown.contains("\\u{202e}"), "{shown}");
    is_safe_to_read("prompts --watch", &shown);
    let id = question["id"].as_str().unwrap().to_owned();
    let answered = scene.rig.cli(["answer", &id, "deny"]);
    assert_eq!(asked.join().unwrap()["reason"], "prompt-denied");
    let app = scene.app.clone();
    for verb in [
        &["app", "list"][..],
        &["app", "show", &app],
        &["prompts"],
        &["prompts", "--denied"],
        &["runs"],
        &["journal"],
        &["journal", "export"],
        &["explain", &app, "network.connect"],
    ] {
        let output = scene.rig.cli(verb);
        assert!(output.code == 0 && !output.stdout.is_empty(), "{verb:?}: {}", output.stderr);
        is_safe_to_read(&verb.join(" "), &(output.stdout + &output.stderr));
    }
    // For other programs CSV is as it is, and on a terminal not even that.
    let gate = rig::binary::mexegate();
    let export = format!(
        "{} --state-dir {} journal export --format csv",
        gate.display(),
        scene.rig.state_dir().display()
    );
    let script =
        Command::new("script").args(["-qec", &export, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8(script.stdout).unwrap().replace('\r', "");
    assert!(script.status.success() && shown.contains("\\u{202e}"), "{shown}");
    is_safe_to_read("journal export", &shown);
    is_safe_to_read("answer", &answered.stdout);
    is_safe_to_read("the log", &scene.rig.log());
    // On the console's pages, while the next question is open.
    let asked = scene.asks("b.example:53");
    scene.question();
    let user = scene.user();
    for page in ["questions", "apps", "journal", "flows", "grants"] {
        let url = format!("http://{}/console/{page}", scene.rig.ports().console);
        let reply = scene.rig.curl(["--header", &*user, &*url]);
        assert_eq!(reply.status, 200, "{page}");
        let text = reply.text();
        assert!(!text.contains("<img") && !text.contains("&amp;`"), "{page} has the app's own markup");
        is_safe_to_read(page, &text.replace(['\t', '\r'], " "));
        let quotes = ["questions", "apps"].contains(&page);
        assert_eq!(quotes, text.contains("The app’s own words"), "{page}");
    }
    scene.control.done("DELETE", &format!("/v1/runs/{}", scene.run), None);
    asked.join().unwrap();
}

#[test]
fn targets_that_are_no_names_reach_no_page_and_no_terminal() {
    let mut scene = Scene::usual();
    for target in [
        "<b>x</b>:53",
        "a\u{202e}b.example:53",
        "a\u{1b}[2J.example:53",
        "a\nb.example:53",
        "a b:53",
        "\u{0}:1",
    ] {
        let answer = scene.asks(target).join().unwrap();
        let reason = answer["reason"].as_str().unwrap_or_default();
        assert!(["request-malformed", "name-not-allowed"].contains(&reason), "{target:?}: {answer}");
        is_safe_to_read("the answer", answer["detail"].as_str().unwrap_or_default());
    }
    // A name in another script is asked as what is resolved, not as what it looks like.
    let asked = scene.asks("\u{430}pple.example:53");
    let question = scene.question();
    assert_eq!(question["target"], "xn--pple-43d.example:53");
    scene.control.done("DELETE", &format!("/v1/runs/{}", scene.run), None);
    asked.join().unwrap();
    assert!(scene.control.list("/v1/prompts").iter().all(|prompt| prompt["state"] != "open"));
}
