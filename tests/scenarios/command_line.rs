//! The contract of the command line: the shapes of its JSON, its exit codes, one line for what is wrong, and nothing
//! changed by what was refused. Each verb is called as a script would call it.

use std::fs;
use std::process::{Command, Stdio};

use rig::cli::code;
use rig::exact::{credentials, socks};
use rig::{Origin, Output, Rig, binary, wait};
use serde_json::{Value, json};

/// Asserts that an object has exactly these keys.
#[track_caller]
fn keys(value: &Value, expected: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let mut found: Vec<_> = object.keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Asserts that an object has at least these keys.
#[track_caller]
fn has(value: &Value, expected: &[&str]) {
    for key in expected {
        assert!(value.get(key).is_some(), "no `{key}` in {value}");
    }
}

#[track_caller]
fn items(value: &Value) -> &[Value] {
    keys(value, &["items"]);
    value["items"].as_array().expect("items is an array")
}

#[test]
fn every_verb_has_its_shape_of_json() {
    let rig = Rig::start();
    let origin = Origin::start();
    let package = rig.package("third-party");
    let roots = rig.roots().display().to_string();

    let verified = rig.json(["app", "verify", package.to_str().unwrap(), "--roots", &roots]);
    has(
        &verified,
        &["verdict", "domain", "reason", "signers", "digest", "name", "version", "expires", "root"],
    );
    assert_eq!((&verified["verdict"], &verified["domain"]), (&"verified".into(), &"third-party".into()));
    has(&verified["signers"][0], &["subject", "chain"]);
    // At a time at which nothing was valid yet.
    let at = ["app", "verify", package.to_str().unwrap(), "--roots", &roots, "--at", "2001-01-01T00:00:00Z"];
    let early = rig.cli(["--json"].iter().chain(&at)).ended(code::REFUSED);
    assert_eq!((early.text("verdict"), early.text("reason")), ("refused", "certificate-not-yet-valid"));

    let installed = rig.json(["app", "install", package.to_str().unwrap()]);
    has(&installed, &["id", "name", "version", "domain", "verdict", "state", "signers", "runtime"]);
    let app = installed["id"].as_str().unwrap();
    let shown = rig.json(["app", "show", app]);
    has(&shown, &["id", "name", "version", "domain", "verdict", "runs"]);
    assert_eq!(shown["id"], app);
    assert_eq!(items(&rig.json(["app", "list"])).len(), 1);

    let run = rig.json(["app", "start", app]);
    keys(&run, &["run", "token", "socks", "http"]);
    let who = credentials(app, &rig.run(app));
    let runs = rig.json(["runs"]);
    has(&items(&runs)[0], &["id", "app", "domain", "binding", "started_at", "process", "connections"]);

    let what = format!("network.connect={}", origin.address());
    let grant = rig.json(["grant", app, &what, "--permission", "session", "--for", "10m"]);
    has(&grant, &["id", "app", "action", "target", "permission", "granted_at"]);
    assert!(grant["id"].as_str().unwrap().starts_with("grant-"));
    let grants = rig.json(["grants", app]);
    assert_eq!(
        (&items(&grants)[0]["id"], &items(&grants)[0]["target"]),
        (&grant["id"], &json!(origin.address().to_string()))
    );
    let left = items(&grants)[0]["expires_in_seconds"].as_u64().expect("a number of seconds");
    assert!((590..=600).contains(&left), "{left}");

    let explained = rig.json(["explain", app, &what]);
    has(&explained, &["decision", "reason", "rule", "action", "qos"]);
    assert_eq!((&explained["decision"], &explained["reason"]), (&"allow".into(), &Value::Null));
    let refused = rig.json(["explain", app, "network.connect=10.0.0.1:80"]);
    assert_eq!((&refused["decision"], &refused["reason"]), (&"ask".into(), &"target-out-of-scope".into()));

    let tunnel = socks(rig.ports().socks, &who, "127.0.0.1", origin.address().port()).unwrap();
    let flows = rig.json(["flows"]);
    let flow = &items(&flows)[0];
    has(
        flow,
        &[
            "id",
            "run",
            "app",
            "domain",
            "target",
            "address",
            "class",
            "ingress",
            "grant",
            "bytes_up",
            "bytes_down",
        ],
    );
    keys(&rig.json(["flows", "end", flow["id"].as_str().unwrap()]), &["ended"]);
    drop(tunnel);

    has(&items(&rig.json(["roots", "list"]))[0], &["id", "kind", "domain", "state", "subject", "source"]);
    has(&items(&rig.json(["doctor"]))[0], &["check", "state", "says"]);
    let config = rig.config_file();
    let config = rig.json(["check-config", "--config", config.to_str().unwrap()]);
    has(&config["items"][0], &["key", "value", "from", "effective"]);

    let records = rig.journal([] as [&str; 0]);
    assert!(records.len() > 5);
    for record in &records {
        has(record, &["seq", "at", "kind", "hash"]);
        assert!(["decision", "flow-end", "change"].contains(&record["kind"].as_str().unwrap()), "{record}");
    }
    assert!(records.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()));
    assert_eq!(rig.json(["journal", "verify"])["verified"], true);

    has(&rig.json(["revoke", grant["id"].as_str().unwrap()]), &["revoked"]);
    assert!(items(&rig.json(["revoke", "--app", app])).is_empty());
    keys(&rig.json(["app", "stop", run["run"].as_str().unwrap()]), &["ended"]);
    keys(&rig.json(["app", "remove", app]), &["removed"]);
}

#[test]
fn for_a_person_each_verb_says_it_in_words() {
    let rig = Rig::start();
    let app = rig.app("operator");
    for (verb, words) in [
        (&["app", "list"][..], "operator-app"),
        (&["app", "show", &app], "operator"),
        (&["runs"], "nothing runs"),
        (&["flows"], "no flows are open"),
        (&["grants"], "no permissions are given"),
        (&["roots", "list"], "demo operator root"),
        (&["explain", &app, "network.connect=127.0.0.1:80"], "permission-missing"),
        (&["journal"], "app.install"),
        (&["journal", "verify"], "the chain holds"),
        (&["doctor"], "CHECK"),
        (&["check-config"], "listen.socks"),
        (&["completions", "bash"], "mexegate"),
    ] {
        let said = rig.cli(verb).ended(code::DONE);
        assert!(said.stdout.contains(words), "{verb:?}: {}", said.stdout);
        assert!(said.json.is_null(), "{verb:?} speaks JSON unasked: {}", said.stdout);
    }
}

#[test]
fn exit_codes_tell_faults_mistakes_and_refusals_apart() {
    let rig = Rig::start();
    let app = rig.app("third-party");
    let unsigned = rig.app("unsigned");
    let file = rig.folder().join("bad.jar");
    fs::write(&file, "no archive").unwrap();
    let bad = file.to_str().unwrap();
    let before = rig.journal([] as [&str; 0]).len();
    for (exit, reason, verb) in [
        (code::FAULT, "app-unknown", &["app", "show", "nobody"][..]),
        (code::FAULT, "app-unknown", &["app", "remove", "nobody"]),
        (code::FAULT, "app-unknown", &["app", "start", "nobody"]),
        (code::FAULT, "app-unknown", &["app", "run", "nobody"]),
        (code::FAULT, "app-unknown", &["grants", "nobody"]),
        (code::FAULT, "app-unknown", &["revoke", "--app", "nobody"]),
        (code::FAULT, "app-unknown", &["explain", "nobody", "network.connect"]),
        (code::FAULT, "not-found", &["app", "stop", "run-999"]),
        (code::FAULT, "not-found", &["revoke", "grant-999"]),
        (code::FAULT, "not-found", &["flows", "end", "flow-999"]),
        (code::USAGE, "action-unknown", &["grant", &app, "network.teleport", "--permission", "single"]),
        (code::USAGE, "action-unknown", &["explain", &app, "network.teleport"]),
        (
            code::USAGE,
            "request-malformed",
            &["grant", &app, "network.connect=host", "--permission", "single"],
        ),
        (code::REFUSED, "untrusted-app", &["grant", &unsigned, "network.connect", "--permission", "single"]),
        (
            code::REFUSED,
            "permission-above-maximum",
            &["grant", &app, "network.qos", "--permission", "blanket"],
        ),
        (code::REFUSED, "container-malformed", &["app", "install", bad]),
    ] {
        let ended = rig.cli(["--json"].iter().chain(verb)).ended(exit);
        assert_eq!(ended.text("reason"), reason, "{verb:?}");
        has(&ended.json, &["reason", "detail", "status"]);
        let person = rig.cli(verb).ended(exit);
        assert!(person.stdout.is_empty(), "{verb:?}: {}", person.stdout);
        assert_eq!(person.stderr.lines().count(), 1, "{verb:?}: {}", person.stderr);
        assert!(person.stderr.starts_with("mexegate: "), "{verb:?}: {}", person.stderr);
    }
    // Mistakes in the line itself never reach the gate.
    for verb in [
        &[][..],
        &["frobnicate"],
        &["app"],
        &["app", "install"],
        &["app", "show"],
        &["app", "show", "Not An Id"],
        &["grant", &app],
        &["grant", &app, "network.connect"],
        &["grant", &app, "network.connect", "--permission", "eternal"],
        &["grant", &app, "connect", "--permission", "single"],
        &["grant", &app, "network.connect", "--permission", "single", "--for", "soon"],
        &["revoke"],
        &["revoke", "grant-1", "--app", &app],
        &["revoke", "17"],
        &["flows", "end", "17"],
        &["journal", "--reason", "because"],
        &["journal", "--since", "once"],
        &["app", "verify", bad, "--at", "noon"],
        &["completions", "tcl"],
        &["--jsn", "runs"],
    ] {
        let ended = rig.cli(verb).ended(code::USAGE);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{verb:?}: {}", ended.stdout);
    }
    // Nothing of all this was a change but the two installs that were refused.
    let records = rig.journal([] as [&str; 0]).split_off(before);
    assert!(
        records.iter().all(|record| record["action"] == "app.install" && record["decision"] == "deny"),
        "{records:?}"
    );
    assert_eq!(records.len(), 2);
    assert!(items(&rig.json(["grants"])).is_empty() && items(&rig.json(["runs"])).is_empty());
}

#[test]
fn without_a_gate_the_verbs_say_so_in_one_line() {
    let rig = Rig::builder().prepare();
    for verb in [
        &["app", "list"][..],
        &["grants"],
        &["runs"],
        &["flows"],
        &["grant", "a", "network.connect", "--permission", "single"],
    ] {
        let ended = rig.cli(verb).ended(code::FAULT);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("no gate answers") && ended.stderr.contains("mexegate serve"),
            "{}",
            ended.stderr
        );
    }
    rig.cli(["doctor"]).ended(code::DONE);
    // What needs no gate works: the verdict on a package, the completions.
    let package = rig.package("manufacturer");
    let roots = rig.roots().display().to_string();
    let verified = rig.json(["app", "verify", package.to_str().unwrap(), "--roots", &roots]);
    assert_eq!(verified["domain"], "manufacturer");
    // A package that is not there is a fault, not a refusal.
    rig.cli(["app", "verify", "/nonexistent.jar", "--roots", &roots]).ended(code::FAULT);
    rig.cli(["app", "verify", roots.as_str(), "--roots", &roots]).ended(code::FAULT);
    rig.cli(["app", "verify", package.to_str().unwrap(), "--roots", "/nonexistent"]).ended(code::FAULT);
    assert!(fs::read_dir(rig.state_dir()).unwrap().next().is_none(), "looking leaves nothing behind");
}

#[test]
fn a_journal_can_be_followed_and_filtered() {
    let rig = Rig::start();
    let mut command = rig.command();
    command.args(["--json", "journal", "--follow"]).stdout(Stdio::piped());
    let mut follower = command.spawn().unwrap();
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect", "session");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follower.stdout.take().unwrap()));
    let mut seen = Vec::new();
    while seen.last() != Some(&"grant.give".to_owned()) {
        let record: Value = serde_json::from_str(&lines.next().expect("a line").expect("a line")).unwrap();
        seen.push(record["action"].as_str().unwrap_or_default().to_owned());
    }
    follower.kill().and_then(|()| follower.wait()).unwrap();
    assert!(seen.contains(&"app.install".to_owned()), "{seen:?}");
    let run = rig.run(&app);
    let who = credentials(&app, &run);
    assert_eq!(socks(rig.ports().socks, &who, "10.0.0.1", 80).unwrap_err(), 2);
    wait::until("the refusal", || rig.journal(["--reason", "address-not-public"]).pop());
    assert!(rig.journal(["--app", "other"]).is_empty());
    assert_eq!(rig.journal(["--kind", "decision"]).len(), 1);
    assert!(rig.journal(["--since", "2099-01-01"]).is_empty());
    assert_eq!(rig.journal(["--since", "1h"]).len(), rig.journal([] as [&str; 0]).len());
    assert_eq!(rig.journal(["--run", &run.run]).len(), 2);
    assert_eq!(rig.journal(["--limit", "2"]).len(), 2);
}

#[test]
fn the_api_answers_every_mistake_with_a_reason() {
    let rig = Rig::start();
    let app = rig.app("third-party");
    for (method, path, body, status, reason) in [
        ("POST", "/v1/grants", "not json", 400, "request-malformed"),
        ("POST", "/v1/grants", "{}", 400, "request-malformed"),
        ("POST", "/v1/grants", "[]", 400, "request-malformed"),
        (
            "POST",
            "/v1/grants",
            "{\"app\":\"third-party-app\",\"action\":\"network.connect\",\"permission\":\"session\",\"extra\":1}",
            400,
            "request-malformed",
        ),
        (
            "POST",
            "/v1/grants",
            "{\"app\":\"third-party-app\",\"action\":\"network.connect\",\"permission\":\"session\",\"for\":\"1 moon\"}",
            400,
            "request-malformed",
        ),
        (
            "POST",
            "/v1/grants",
            "{\"app\":\"x\",\"action\":\"network.connect\",\"permission\":\"session\"}",
            404,
            "app-unknown",
        ),
        ("POST", "/v1/decisions", "{\"action\":\"network.connect\"}", 400, "request-malformed"),
        (
            "POST",
            "/v1/decisions",
            "{\"app\":\"third-party-app\",\"action\":\"network.connect\",\"target\":\"127.1:80\"}",
            400,
            "name-not-allowed",
        ),
        ("POST", "/v1/decisions", "{\"run\":\"run-99\",\"action\":\"network.connect\"}", 404, "not-found"),
        ("GET", "/v1/grants?apps=x", "", 400, "request-malformed"),
        ("GET", "/v1/grants?app=x", "", 404, "app-unknown"),
        ("DELETE", "/v1/grants", "", 400, "request-malformed"),
        ("DELETE", "/v1/grants/17", "", 404, "not-found"),
        ("GET", "/v1/journal?limit=many", "", 400, "request-malformed"),
        ("GET", "/v1/journal?reason=because", "", 400, "request-malformed"),
        ("GET", "/v1/journal?since=once", "", 400, "request-malformed"),
        ("GET", "/v1/apps/nobody", "", 404, "app-unknown"),
        ("GET", "/v1/apps/..%2f..%2fetc%2fpasswd", "", 404, "app-unknown"),
        ("DELETE", "/v1/runs/run-99", "", 404, "not-found"),
        ("DELETE", "/v1/flows/flow-99", "", 404, "not-found"),
        ("GET", "/v1/nothing", "", 404, "not-found"),
        ("PUT", "/v1/apps", "", 404, "not-found"),
        ("POST", "/v1/apps/third-party-app/runs", "{\"execute\":true}", 400, "request-malformed"),
        ("POST", "/v1/apps/third-party-app/runs", "{\"hold\":true}", 400, "request-malformed"),
        ("POST", "/v1/apps", "no package", 403, "container-malformed"),
    ] {
        let reply = rig.api(["--request", method, "--data-binary", body], path);
        assert_eq!(
            (reply.status, reply.reason().as_deref()),
            (status, Some(reason)),
            "{method} {path} {body}: {}",
            reply.text()
        );
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{method} {path}");
        let problem: Value = serde_json::from_slice(&reply.body).unwrap();
        has(&problem, &["type", "title", "status", "detail", "reason"]);
    }
    assert!(items(&rig.json(["grants"])).is_empty() && items(&rig.json(["runs"])).is_empty());
    assert_eq!(rig.json(["app", "show", &app])["id"], app);
}

#[test]
fn output_for_a_pipe_that_closes_and_for_no_terminal_is_plain() {
    let rig = Rig::start();
    rig.app("operator");
    let line = format!(
        "{} --state-dir {} journal | head -n 1; echo ${{PIPESTATUS[0]}}",
        binary::mexegate().display(),
        rig.state_dir().display()
    );
    let piped = Output::of(Command::new("bash").args(["-c", &line])).ended(0);
    assert!(piped.stdout.ends_with("\n0\n"), "{}", piped.stdout);
    for verb in [&["app", "list"][..], &["journal"], &["doctor"], &["app", "show", "nobody"]] {
        let output = rig.cli(verb);
        assert!(
            !output.stdout.contains('\u{1b}') && !output.stderr.contains('\u{1b}'),
            "{verb:?} has colours in a pipe"
        );
    }
}
