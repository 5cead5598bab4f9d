//! The journal as its owner uses it: exported and compared with the table by sqlite3, read by Python's csv, cleared (also
//! by a gate that is killed meanwhile), and held against a checkpoint after an older copy was put back.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rig::{Control, Origin, Output, Rig, wait};
use serde_json::{Value, json};

/// A gate with some decisions of two apps, refused and allowed, and ends of flows.
struct Scene {
    rig: Rig,
    origin: Origin,
    app: String,
    other: String,
}

impl Scene {
    fn set() -> Self {
        let rig = Rig::start();
        let (app, other) = (rig.app("third-party"), rig.app("operator"));
        rig.grant(&app, "network.connect=127.0.0.1", "blanket");
        let scene = Self { rig, origin: Origin::start(), app, other };
        scene.use_network();
        scene
    }

    /// Each app begins a run and makes a request; the second one is refused.
    fn use_network(&self) {
        let before = self.rig.journal(["--kind", "flow-end"]).len();
        for app in [&self.app, &self.other] {
            let run = self.rig.run(app);
            self.rig.curl(["--proxytunnel", "--proxy", &run.http, &self.origin.url("/hello")]);
            self.rig.cli(["app", "stop", &run.run]).ended(0);
        }
        wait::until("the flow's end in the journal", || {
            (self.rig.journal(["--kind", "flow-end"]).len() > before).then_some(())
        });
    }

    fn database(&self) -> std::path::PathBuf {
        self.rig.state_dir().join("mexegate.db")
    }

    /// How many decisions and ends of flows are in the table.
    fn requests(&self) -> u64 {
        let sql = "SELECT count(*) AS n FROM records WHERE kind <> 'change' AND salt IS NOT NULL";
        sqlite(&self.database(), sql)[0]["n"].as_u64().unwrap()
    }

    fn verify(&self, checkpoint: &Path) -> Output {
        self.rig.cli(["--json", "journal", "verify", "--checkpoint", checkpoint.to_str().unwrap()])
    }
}

/// What sqlite3 answers, an object a row.
fn sqlite(database: &Path, sql: &str) -> Vec<Value> {
    let mut command = Command::new("sqlite3");
    let output = Output::of(command.arg("-readonly").arg("-json").arg(database).arg(sql)).ended(0);
    if output.stdout.trim().is_empty() { Vec::new() } else { serde_json::from_str(&output.stdout).unwrap() }
}

/// What Python's csv makes of a text: an object a row.
fn python_csv(text: &str) -> Vec<Value> {
    let script = "import csv, io, json, sys\n\
                  text = io.TextIOWrapper(sys.stdin.buffer, encoding='utf-8', newline='')\n\
                  print(json.dumps(list(csv.DictReader(text, strict=True))))";
    let mut python = Command::new("python3");
    python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().expect("python3 is installed");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Puts the files of a journal elsewhere, or back.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["mexegate.db", "mexegate.db-wal", "mexegate.db-shm", "journal.key"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn what_is_exported_is_what_is_in_the_table() {
    let mut scene = Scene::set();
    let run = scene.rig.run(&scene.app);
    // A name that a spreadsheet would take for a formula, and one that has to be quoted.
    for target in ["-1.example.org:80", "a,b\".example.org:80"] {
        let url = format!("http://{target}/");
        scene.rig.curl(["--proxy", &run.socks, &url]);
    }
    assert!(scene.rig.stop().success());
    let table = sqlite(
        &scene.database(),
        "SELECT seq, strftime('%Y-%m-%dT%H:%M:%S', at / 1000, 'unixepoch') || printf('.%03dZ', at % 1000) AS at, kind, app, \
         'run-' || run AS run, 'flow-' || flow AS flow, domain, action, target, decision, reason, 'grant-' || grant_id AS \
         \"grant\", rule, binding, ingress, class, bytes_up, bytes_down, duration_ms, addresses, count, detail, \
         lower(hex(hash)) AS hash FROM records ORDER BY seq",
    );
    assert!(table.len() > 8 && table.iter().any(|row| row["kind"] == "flow-end"), "{table:?}");
    let lines = scene.rig.cli(["journal", "export"]).ended(0).lines();
    let file = scene.rig.state_dir().join("journal.csv");
    scene.rig.cli(["journal", "export", "--format", "csv", "--out", file.to_str().unwrap()]).ended(0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("\r\n") && !text.contains("\n\n"));
    let cells = python_csv(&text);
    assert_eq!((lines.len(), cells.len()), (table.len(), table.len()));
    for (row, (line, cell)) in table.iter().zip(lines.iter().zip(&cells)) {
        for (column, value) in row.as_object().unwrap() {
            let line_value = match column.as_str() {
                "addresses" => line[column].as_array().map_or(Value::Null, |all| {
                    all.iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>().join(" ").into()
                }),
                "detail" => line.get("detail").map_or(Value::Null, |detail| detail.to_string().into()),
                "count" => line.get("count").cloned().unwrap_or(1.into()),
                _ => line[column].clone(),
            };
            assert_eq!(line_value, *value, "{column} in {line}");
            let text = value.as_str().map_or_else(
                || if value.is_null() { String::new() } else { value.to_string() },
                str::to_owned,
            );
            let guarded = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
            let expected = if guarded { format!("'{text}") } else { text };
            assert_eq!(cell[column], expected.as_str(), "{column} in {cell}");
        }
        assert_eq!(line["says"], cell["says"]);
    }
    let end = lines.iter().find(|line| line["kind"] == "flow-end").unwrap();
    let said = end["says"].as_str().unwrap();
    let moved = format!("{} bytes up, {} bytes down", end["bytes_up"], end["bytes_down"]);
    assert!(said.contains(&scene.app) && said.contains(&moved), "{said}");
    let refused = lines.iter().find(|line| line["reason"] == "permission-missing").unwrap();
    let said = refused["says"].as_str().unwrap();
    assert!(said.contains("refused, permission-missing") && said.contains(refused["rule"].as_str().unwrap()));
}

#[test]
fn the_filters_of_command_line_and_api_give_the_same_records() {
    let scene = Scene::set();
    let first = scene.rig.journal::<&str>([]);
    let (early, late) = (first[1]["at"].as_str().unwrap(), first[first.len() - 2]["at"].as_str().unwrap());
    for filter in [
        vec![("app", scene.app.as_str())],
        vec![("app", scene.app.as_str()), ("kind", "flow-end")],
        vec![("since", early), ("until", late)],
        vec![("reason", "permission-missing")],
        vec![("domain", "operator"), ("decision", "deny")],
        vec![("after", "3"), ("limit", "2")],
        vec![("limit", "2")],
        vec![("action", "network.connect")],
        vec![("run", "run-1")],
    ] {
        let arguments: Vec<String> =
            filter.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]).collect();
        let query: Vec<String> = filter.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = query.join("&");
        let shown = scene.rig.journal(&arguments);
        assert!(!shown.is_empty() && (shown.len() < first.len()), "{query}");
        let list = scene.rig.api([] as [&str; 0], &format!("/v1/journal?{query}"));
        let list: Value = serde_json::from_str(&list.text()).unwrap();
        assert_eq!(list["items"], json!(shown), "{query}");
        let lines = scene.rig.api([] as [&str; 0], &format!("/v1/journal?{query}&format=jsonl"));
        let lines: Vec<Value> =
            lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, shown, "{query}");
        let csv = scene.rig.api([] as [&str; 0], &format!("/v1/journal?{query}&format=csv"));
        assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8; header=present");
        assert_eq!(csv.headers["x-content-type-options"], "nosniff");
        let exported = scene
            .rig
            .cli(["journal", "export", "--format", "csv"].map(str::to_owned).iter().chain(&arguments));
        assert_eq!(csv.text(), exported.stdout, "{query}");
        assert_eq!(python_csv(&exported.stdout).len(), shown.len(), "{query}");
    }
    for wrong in [
        "limit=0",
        "limit=10001",
        "after=-1",
        "kind=wish",
        "decision=maybe",
        "domain=nobody",
        "until=never",
        "run=7",
        "flow=x",
        "action=x",
        "app=A",
        "format=xml",
        "follow=2m",
        "follow=soon",
        "else=1",
        "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
    ] {
        let no = scene.rig.api([] as [&str; 0], &format!("/v1/journal?{wrong}"));
        assert_eq!((no.status, no.reason().as_deref()), (400, Some("request-malformed")), "{wrong}");
    }
    let swapped = ["journal", "--since", "1h", "--until", "2h"];
    assert_eq!(scene.rig.cli(swapped).code, 2);
}

#[test]
fn who_follows_gets_what_is_added_and_an_empty_list_when_nothing_is() {
    let scene = Scene::set();
    let mut control = Control::of(&scene.rig);
    let next = control.done("GET", "/v1/journal?limit=1", None).json["next"].as_u64().unwrap();
    let follow = format!("/v1/journal?kind=change&after={next}&follow=");
    let waited = control.done("GET", &format!("{follow}300ms"), None);
    assert_eq!(waited.json["items"], json!([]));
    assert!(waited.answered.duration_since(waited.sent).as_millis() >= 300);
    let (path, mut waiting) = (format!("{follow}30s"), Control::of(&scene.rig));
    let thread = std::thread::spawn(move || waiting.done("GET", &path, None).json);
    control.grant(&scene.app, "10.0.0.1", "blanket");
    let got = thread.join().unwrap();
    assert_eq!(got["items"][0]["action"], "grant.give", "{got}");
    assert!(got["next"].as_u64() > Some(next));
}

#[test]
fn an_older_copy_that_was_put_back_is_behind_the_checkpoint() {
    let mut scene = Scene::set();
    assert!(scene.rig.stop().success());
    let (state, older) = (scene.rig.state_dir(), scene.rig.state_dir().with_file_name("older"));
    copy(&state, &older);
    scene.rig.start_again();
    scene.use_network();
    let file = state.with_file_name("journal.checkpoint");
    // Sealed within a second; what is not is not in it.
    let last = scene.rig.journal(["--limit", "1"])[0]["seq"].as_u64().unwrap();
    wait::until("a checkpoint over the last record", || {
        let told = scene.rig.json(["journal", "checkpoint", "--out", file.to_str().unwrap()]);
        (told["seq"].as_u64() >= Some(last)).then_some(())
    });
    let by_api = scene.rig.api([] as [&str; 0], "/v1/journal/checkpoint");
    assert_eq!(by_api.text(), fs::read_to_string(&file).unwrap());
    let fits = scene.verify(&file).ended(0);
    assert_eq!(
        (&fits.json["checkpoint"]["found"], &fits.json["rollback"]),
        (&"seal".into(), &"not behind the checkpoint".into())
    );
    let alone = scene.rig.json(["journal", "verify"]);
    assert!(alone["rollback"].as_str().unwrap().starts_with("not detectable"), "{alone}");

    assert!(scene.rig.stop().success());
    copy(&older, &state);
    let alone = scene.rig.json(["journal", "verify"]);
    assert_eq!(alone["verified"], true, "without a checkpoint nothing tells it");
    let found = scene.verify(&file);
    assert_eq!((found.code, &found.json["checkpoint"]), (1, &"rolled-back".into()), "{}", found.stderr);
    assert!(found.stderr.contains("rolled back behind the checkpoint"), "{}", found.stderr);
    // The checkpoint that shows it is not written over.
    let over = scene.rig.cli(["journal", "checkpoint", "--out", file.to_str().unwrap()]);
    assert_eq!(over.code, 1, "{}", over.stdout);
    assert_eq!(by_api.text(), fs::read_to_string(&file).unwrap());
    // The copy goes on past the checkpoint, and is cleared: that hides nothing.
    scene.rig.start_again();
    wait::until("the copy to be farther on than the checkpoint", || {
        scene.use_network();
        let at = scene.rig.json(["journal", "checkpoint"]);
        let taken: Value = serde_json::from_str(&by_api.text()).unwrap();
        (at["seal"].as_u64() > taken["seal"].as_u64() && at["seq"].as_u64() > taken["seq"].as_u64())
            .then_some(())
    });
    scene.rig.cli(["journal", "clear", "--yes"]).ended(0);
    let found = scene.verify(&file);
    assert_eq!((found.code, &found.json["checkpoint"]), (1, &"rewritten".into()), "{}", found.stderr);
    let other = Rig::start();
    let path = file.to_str().unwrap();
    let found = other.cli(["--json", "journal", "verify", "--checkpoint", path]);
    assert_eq!((found.code, &found.json["checkpoint"]), (1, &"another-journal".into()), "{}", found.stderr);
}

#[test]
fn what_is_cleared_is_gone_and_the_chain_and_the_checkpoint_hold() {
    let scene = Scene::set();
    let file = scene.rig.state_dir().with_file_name("journal.checkpoint");
    scene.rig.cli(["journal", "checkpoint", "--out", file.to_str().unwrap()]).ended(0);
    let nobody = scene.rig.cli(["journal", "clear"]);
    assert!(nobody.code == 2 && nobody.stderr.contains("--yes"), "{}", nobody.stderr);
    let changes = scene.rig.journal(["--kind", "change"]).len();
    let of_app = scene.rig.journal(["--app", &scene.app]);
    let requests = of_app.iter().filter(|record| record["kind"] != "change").count() as u64;
    let all = scene.requests();
    assert!(requests >= 2 && all > requests);

    let cleared = scene.rig.json(["journal", "clear", "--app", &scene.app, "--yes"]);
    assert_eq!(cleared["records"], requests);
    assert_eq!(scene.requests(), all - requests);
    let left = scene.rig.journal(["--app", &scene.app]);
    assert!(left.iter().all(|record| record["kind"] == "change"), "{left:?}");
    let told = scene.rig.journal(["--limit", "1"]).pop().unwrap();
    assert_eq!((&told["action"], &told["count"]), (&"journal.erase".into(), &requests.into()), "{told}");
    assert_eq!((&told["detail"]["by"], &told["detail"]["app"]), (&"user".into(), &scene.app.as_str().into()));
    assert_eq!(told["detail"]["door"], "control-socket");

    let mut control = Control::of(&scene.rig);
    let early = control.done("DELETE", "/v1/journal?before=2026-01-01T00:00:00Z", None);
    assert_eq!(early.json["records"], 0);
    let cleared = scene.rig.api(["-X", "DELETE"], "/v1/journal");
    let cleared: Value = serde_json::from_str(&cleared.text()).unwrap();
    assert_eq!(cleared["records"], all, "those that were erased go, too");
    let left = scene.rig.journal::<&str>([]);
    assert!(left.iter().all(|record| record["kind"] == "change"));
    assert_eq!(left.len(), changes + 2);
    let told = left.last().unwrap();
    assert_eq!(
        (&told["action"], &told["detail"]["door"]),
        (&"journal.clear".into(), &"console".into()),
        "{told}"
    );
    assert_eq!(
        sqlite(&scene.database(), "SELECT 1 FROM records WHERE kind <> 'change'"),
        Vec::<Value>::new()
    );
    let verified = scene.verify(&file).ended(0);
    assert_eq!(verified.json["pruned"], all);
    for wrong in ["before=once", "app=A", "reason=run-ended"] {
        let no = scene.rig.api(["-X", "DELETE"], &format!("/v1/journal?{wrong}"));
        assert_eq!((no.status, no.reason().as_deref()), (400, Some("request-malformed")), "{wrong}");
    }
}

#[test]
fn a_gate_that_is_killed_while_it_clears_goes_on_with_it() {
    let mut scene = Scene::set();
    let file = scene.rig.state_dir().with_file_name("journal.checkpoint");
    for round in 0..6 {
        scene.use_network();
        scene.rig.cli(["journal", "checkpoint", "--out", file.to_str().unwrap()]).ended(0);
        let before = scene.requests();
        let mut clear = scene.rig.command().args(["journal", "clear", "--yes"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(round * 12));
        scene.rig.kill();
        let acknowledged = clear.wait().unwrap().success();
        let verified = scene.verify(&file).ended(0);
        let told = scene.rig.journal(["--kind", "decision"]).len();
        scene.rig.start_again();
        let cleared = verified.json["pruned"].as_u64() > Some(0) && told == 0;
        assert!(cleared || !acknowledged, "round {round}: it was acknowledged, and is not there");
        if cleared {
            wait::until("the rest to be taken out", || (scene.requests() == 0).then_some(()));
        } else {
            assert_eq!(scene.requests(), before, "round {round}");
        }
        scene.verify(&file).ended(0);
    }
}
