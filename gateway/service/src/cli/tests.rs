//! What the command line accepts, and what becomes of a refusal. Verbs against a running gate are tested in crate
//! mexe-tests.

use clap::{CommandFactory, Parser};
use serde_json::json;

use super::*;

fn parse(line: &str) -> Result<Line, clap::Error> {
    Line::try_parse_from(std::iter::once("mexegate").chain(line.split(' ')))
}

#[test]
fn the_tree_of_verbs_is_sound() {
    Line::command().debug_assert();
}

#[test]
fn every_verb_of_the_contract_parses() {
    for line in [
        "app verify a.jar",
        "app verify a.jar --roots d --at 2026-11-24T03:04:51Z",
        "app install a.jar",
        "app list",
        "app show weather",
        "app remove weather",
        "app run weather",
        "app run weather --json -x a b",
        "app start weather",
        "app start weather -- curl -v x",
        "app stop run-7",
        "grant weather network.connect=example.org:443 --permission session --for 10m",
        "grant weather network.qos --permission blanket",
        "grants",
        "grants weather",
        "revoke grant-7",
        "revoke --app weather",
        "explain weather network.connect=[2001:db8::1]:80",
        "prompts",
        "prompts --watch",
        "prompts --denied",
        "prompts --rearm denial-2",
        "prompts --dismiss prompt-2",
        "answer prompt-7 allow",
        "answer prompt-7 deny --permission blanket --for 10m --scope any",
        "call weather +491701234567",
        "calls",
        "dtmf call-2 12#",
        "hang-up call-2",
        "shadow load table.toml",
        "shadow load --token-runs refuse",
        "shadow show",
        "shadow drop",
        "bearers",
        "qos decode 23931f",
        "runs",
        "flows",
        "flows end flow-7",
        "roots list",
        "check-config",
        "check-config -c mexegate.toml",
        "completions bash",
        "demo",
        "demo --check --dir d --port-base 20000",
        "doctor",
        "doctor -c mexegate.toml",
        "journal",
        "journal --app weather --since 10m --reason permission-missing --kind decision --follow",
        "journal --decision deny --action network.connect --run run-1 --flow flow-1 --limit 5",
        "journal --domain third-party --until 2026-11-24T03:04:51Z --after 17 --limit 5",
        "journal --domain untrusted --until 1h",
        "journal verify",
        "journal verify --checkpoint journal.checkpoint",
        "journal checkpoint",
        "journal checkpoint --out journal.checkpoint",
        "journal export",
        "journal export --format csv --app weather --since 10m --out journal.csv",
        "journal clear --yes",
        "journal clear --app weather --before 30d",
        "serve",
        "serve -c mexegate.toml --state-dir d",
        "--json --state-dir d app list",
        "app list --json --state-dir d",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for line in [
        "",
        "app",
        "app show Weather",
        "app stop 7",
        "app install",
        "grant weather network.connect",
        "grant weather network.connect --permission always",
        "grant weather network.connect= --permission single",
        "grant weather network.connect --permission single --for 10",
        "answer prompt-7",
        "answer 7 allow",
        "answer prompt-7 maybe",
        "prompts --watch --denied",
        "revoke",
        "revoke 7",
        "revoke grant-7 --app weather",
        "flows end 7",
        "completions tcsh",
        "app verify",
        "app verify a.jar --at yesterday",
        "app verify a.jar --jad b.jad --signature c.p7s",
        "app verify a.jar --legacy",
        "app install a.jar --update Weather",
        "roots",
        "roots add a.pem --kind nobody",
        "administrator set",
        "ccm apply",
        "demo --port-base 65531",
        "journal --reason because",
        "journal --kind wish",
        "journal --since tomorrow",
        "journal --domain nobody",
        "journal --until never",
        "journal --limit 0",
        "journal --after -1",
        "journal export --format xml",
        "journal clear --app Weather",
        "journal clear --before soon",
        "journal checkpoint --app weather",
        "journal verify --app weather",
        "journal --app weather verify",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn what_follows_the_app_belongs_to_the_program() {
    let Verb::App(app::Verb::Run(args)) = parse("app run weather -v --state-dir x -- --json").unwrap().verb
    else {
        panic!("not a run");
    };
    let shown = format!("{args:?}");
    assert!(shown.contains(r#"["-v", "--state-dir", "x", "--", "--json"]"#), "{shown}");
}

#[test]
fn a_refusal_is_printed_with_the_fields_that_scripts_look_for() {
    let refused = Refused {
        status: 403,
        reason: Some(mexe_model::Reason::UntrustedApp),
        detail: "no\u{1b}[2J".into(),
        problem: json!({"reason": "untrusted-app", "title": "t"}),
    };
    let shown = problem(&refused);
    assert_eq!(shown["reason"], "untrusted-app");
    assert_eq!(shown["status"], 403);
    assert_eq!(shown["detail"], "no\u{1b}[2J");
    assert!(refused.to_string().starts_with("untrusted-app: no\\u{1b}[2J; "), "{refused}");
}

#[test]
fn a_gate_that_does_not_run_is_one_line_and_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let global = Global { state_dir: Some(dir.path().to_owned()), ..Global::default() };
    let Err(Stop::Fault(fault)) = runs::run(&runs::Args {}, &global) else { panic!("something answered") };
    let socket = dir.path().join("control.sock");
    assert_eq!(
        fault.to_string(),
        format!("no gate answers at `{}`; start it with `mexegate serve`", socket.display())
    );
    assert_eq!(fault.exit(), Exit::Fault);
}
