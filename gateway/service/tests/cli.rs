//! The binary's offline verbs, as a shell sees them: what goes to which stream, and the exit code. Verbs against a running
//! gate are tested in crate mexe-tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use mexe_forge::demo::Demo;
use mexe_journal::{Journal, Options, Outcome, Record};
use mexe_model::{Reason, WallTime};
use serde_json::Value;

const AT: &str = "2026-11-24T03:04:51Z";
const AT_TIME: WallTime = WallTime::from_secs(1_795_489_491);

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }
}

fn mexegate(dir: &Path, args: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_mexegate"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("STATE_DIRECTORY", dir.join("state"))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder with a roots directory and a package for each domain, one unsigned, one with a byte changed.
fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::make(AT_TIME).unwrap();
    for branch in &demo.pki.branches {
        let folder = dir.path().join("roots").join(branch.domain.as_str());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("root.pem"), branch.root.pem()).unwrap();
    }
    fs::create_dir(dir.path().join("no-roots")).unwrap();
    for app in &demo.apps {
        fs::write(dir.path().join(format!("{}.jar", app.name)), &app.package).unwrap();
    }
    let mut changed = demo.apps[0].package.clone();
    changed.push(0);
    fs::write(dir.path().join("changed.jar"), changed).unwrap();
    dir
}

#[test]
fn a_package_is_verified_into_the_domain_of_its_root() {
    let dir = world();
    for domain in ["operator", "manufacturer", "third-party"] {
        let file = format!("{domain}-app.jar");
        let ended = mexegate(dir.path(), &["--json", "app", "verify", &file, "--roots", "roots", "--at", AT]);
        let verdict = ended.json();
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        assert_eq!((&verdict["verdict"], &verdict["domain"]), (&"verified".into(), &domain.into()));
        assert_eq!((&verdict["reason"], &verdict["name"]), (&Value::Null, &format!("{domain}-app").into()));
        assert_eq!(verdict["signers"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn the_verdict_is_printed_in_every_case_with_its_own_exit_code() {
    let dir = world();
    for (file, roots, at, code, verdict, reason) in [
        ("unsigned-app.jar", "roots", AT, 0, "untrusted", Reason::Unsigned),
        ("operator-app.jar", "no-roots", AT, 0, "untrusted", Reason::NoRoot),
        ("changed.jar", "roots", AT, 3, "refused", Reason::ContainerMalformed),
        ("operator-app.jar", "roots", "2046-01-01T00:00:00Z", 3, "refused", Reason::CertificateExpired),
        ("operator-app.jar", "roots", "2016-01-01T00:00:00Z", 3, "refused", Reason::CertificateNotYetValid),
    ] {
        let args = ["app", "verify", file, "--roots", roots, "--at", at];
        let ended = mexegate(dir.path(), &[&["--json"], &args[..]].concat());
        let shown = ended.json();
        assert_eq!(ended.code, code, "{file}: {}", ended.err);
        assert_eq!((&shown["verdict"], &shown["reason"]), (&verdict.into(), &reason.code().into()), "{file}");
        assert_eq!((&shown["domain"], &shown["signers"]), (&Value::Null, &serde_json::json!([])), "{file}");
        let told = mexegate(dir.path(), &args);
        assert!(
            told.code == code && told.out.contains(verdict) && told.out.contains(reason.code()),
            "{}",
            told.out
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_line_and_a_fault() {
    let dir = world();
    for file in ["nothing.jar", "roots"] {
        let ended = mexegate(dir.path(), &["app", "verify", file, "--roots", "roots"]);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{file}");
        assert!(ended.err.starts_with(&format!("mexegate: cannot read `{file}`: ")), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
    let ended = mexegate(dir.path(), &["app", "verify", "operator-app.jar", "--roots", "nowhere"]);
    assert_eq!((ended.code, ended.err.lines().count()), (1, 1), "{}", ended.err);
}

#[test]
fn a_bad_root_is_named_and_the_others_count() {
    let dir = world();
    fs::write(dir.path().join("roots/operator/broken.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let ended = mexegate(dir.path(), &["app", "verify", "operator-app.jar", "--roots", "roots", "--at", AT]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("verified"), "{}", ended.out);
    assert!(ended.err.contains("operator/broken.pem") && ended.err.lines().count() == 1, "{}", ended.err);
}

#[test]
fn a_mistake_in_the_configuration_shows_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gate.toml");
    fs::write(&file, "[listen]\nsocks = \"127.0.0.1:1080\"\nsock = 1\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    for verb in ["check-config", "serve"] {
        let ended = mexegate(dir.path(), &[verb, "-c", "gate.toml"]);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{}", ended.err);
        assert!(ended.err.starts_with("mexegate: gate.toml:3:1: "), "{}", ended.err);
        assert!(ended.err.contains("3 | sock = 1") && ended.err.contains('^'), "{}", ended.err);
    }
    fs::write(&file, "[listen]\nsocks = \"off\"\n").unwrap();
    let ended = mexegate(dir.path(), &["--json", "check-config", "-c", "gate.toml"]);
    let items = ended.json()["items"].as_array().unwrap().clone();
    let socks = items.iter().find(|item| item["key"] == "listen.socks").unwrap();
    assert_eq!((ended.code, &socks["from"], &socks["line"]), (0, &"file".into(), &2.into()));
}

#[test]
fn the_journal_is_read_with_no_gate_running() {
    let dir = tempfile::tempdir().unwrap();
    let ended = mexegate(dir.path(), &["journal"]);
    assert_eq!((ended.code, ended.err.lines().count()), (1, 1), "{}", ended.err);
    let state = dir.path().join("state");
    write_journal(&state);
    let ended =
        mexegate(dir.path(), &["--json", "journal", "--app", "weather", "--reason", "permission-missing"]);
    let records: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ended.code, records.len()), (0, 2), "{}", ended.err);
    assert_eq!(
        (&records[0]["at"], &records[0]["target"]),
        (&"2026-11-24T03:04:51.000Z".into(), &"a\u{202e}b".into())
    );
    assert!(!ended.out.contains('\u{202e}'));
    let last = mexegate(dir.path(), &["journal", "--limit", "1"]);
    assert!(last.out.contains("clock") && last.out.lines().count() == 1, "{}", last.out);
    let since = mexegate(dir.path(), &["journal", "--since", "2026-11-24T03:04:52Z"]);
    assert_eq!((since.code, since.out.lines().count()), (0, 2), "{}", since.out);
}

#[test]
fn a_journal_that_was_altered_does_not_verify() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    write_journal(&state);
    let ended = mexegate(dir.path(), &["--json", "journal", "verify"]);
    assert_eq!(
        (ended.code, &ended.json()["records"], &ended.json()["verified"]),
        (0, &3.into(), &true.into())
    );
    let database = state.join("mexegate.db");
    let bytes = fs::read(&database).unwrap();
    let at = bytes.windows(7).position(|window| window == b"weather").unwrap();
    let mut altered = bytes;
    altered[at] = b'W';
    fs::write(&database, altered).unwrap();
    let ended = mexegate(dir.path(), &["--json", "journal", "verify"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.out.is_empty() || ended.json()["verified"] == false, "{}", ended.out);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

fn write_journal(state: &Path) {
    let (journal, _) = Journal::open(state, Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (n, app) in [(0, "weather"), (1, "weather"), (2, "clock")] {
        let record = Record {
            app: Some(app.parse().unwrap()),
            action: Some("network.connect".into()),
            target: Some(if n == 0 { "a\u{202e}b".to_owned() } else { format!("host-{n}.example:443") }),
            decision: Some(Outcome::Deny),
            reason: Some(Reason::PermissionMissing),
            ..Record::decision(WallTime::from_secs(AT_TIME.as_secs() + n))
        };
        runtime.block_on(journal.record(record)).unwrap();
    }
    journal.close();
}

#[test]
fn no_gate_no_state_and_no_sense_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for args in
        [&["runs"][..], &["app", "list"], &["grant", "a", "network.connect", "--permission", "single"]]
    {
        let ended = mexegate(dir.path(), args);
        let socket = dir.path().join("state/control.sock");
        let line =
            format!("mexegate: no gate answers at `{}`; start it with `mexegate serve`\n", socket.display());
        assert_eq!((ended.code, ended.out.as_str(), ended.err), (1, "", line));
    }
    for args in [&[][..], &["no-such-verb"], &["grant", "a"], &["revoke"], &["app", "show", "Not An Id"]] {
        let ended = mexegate(dir.path(), args);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["grant", "--help"]] {
        let ended = mexegate(dir.path(), args);
        assert!(ended.code == 0 && ended.err.is_empty() && ended.out.contains("mexegate"), "{args:?}");
    }
}

#[test]
fn doctor_says_what_is_not_enforced_with_no_gate_running() {
    let dir = tempfile::tempdir().unwrap();
    let ended = mexegate(dir.path(), &["--json", "doctor"]);
    let rows = ended.json()["items"].as_array().unwrap().clone();
    let row = |check: &str| rows.iter().find(|row| row["check"] == check).unwrap();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!((&row("gate")["state"], &row("confinement")["state"]), (&"red".into(), &"missing".into()));
    assert_eq!(row("roots")["state"], "missing");
    assert!(mexegate(dir.path(), &["doctor"]).out.contains("advisory for programs that are not confined"));
}

#[test]
fn every_shell_gets_its_completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = mexegate(dir.path(), &["completions", shell]);
        assert!(ended.code == 0 && ended.out.contains("check-config"), "{shell}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    write_journal(&dir.path().join("state"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_mexegate"))
        .args(["journal", "--follow", "--state-dir", "state"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // Nobody can read the records that are there, so it ends by itself although it was to follow.
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_card_is_shown_record_by_record_with_what_is_wrong() {
    use mexe_forge::usim::{Card, Slot};
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::make(AT_TIME).unwrap();
    let mut card = Card::demo(&demo.pki).unwrap();
    card.add_record(Slot::ThirdParty, vec![0xFE; 4]);
    fs::create_dir(dir.path().join("card")).unwrap();
    for (name, text) in card.directory() {
        fs::write(dir.path().join("card").join(name), text).unwrap();
    }
    let ended = mexegate(dir.path(), &["usim", "read", "card", "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let shown = ended.json();
    assert_eq!((&shown["kind"], &shown["network"]), (&"usim".into(), &"001-01".into()));
    let states: Vec<_> = shown["items"].as_array().unwrap().iter().map(|item| &item["state"]).collect();
    assert_eq!(states, ["offered", "offered", "not-offered"]);
    assert_eq!(shown["items"][0]["kind"], "operator");
    assert_eq!(shown["items"][2]["problems"][0]["code"], "identifier-out-of-range");

    let people = mexegate(dir.path(), &["usim", "read", "card"]);
    assert!(
        people.out.contains("ORPK record 1") && people.out.contains("identifier-out-of-range"),
        "{}",
        people.out
    );
    let missing = mexegate(dir.path(), &["usim", "read", "nothing"]);
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("docs/usim.md"), "{}", missing.err);
}
