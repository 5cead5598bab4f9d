//! Shadow mode: a candidate says what it would have done, and does nothing.

use rig::exact::{Way, ask};
use rig::origin::Origin;
use rig::{Control, Rig, packages};
use serde_json::{Value, json};

fn counted(shown: &Value, difference: &str) -> u64 {
    let items = shown["items"].as_array().unwrap();
    let own = items.iter().filter(|item| item["difference"] == difference && item["group"] == "network");
    own.map(|item| item["count"].as_u64().unwrap()).sum()
}

#[test]
fn a_candidate_counts_what_it_would_do_and_does_nothing() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    let mut control = Control::of(&rig);
    control.grant(&app, "127.0.0.1", "blanket");
    let (_, who) = control.run(&app);
    let hello = |rig: &Rig| ask(rig, Way::Connect, &who, "127.0.0.1", origin.address().port());

    assert_eq!(rig.json(["shadow", "show"])["loaded"], false);
    let table = rig.folder().join("candidate.toml");
    let text = include_str!("../../gateway/policy/security-table.toml");
    let closed = text
        .replace("third-party = { permission = \"blanket(session)\"", "third-party = { permission = \"no\"");
    packages::write(&table, closed.as_bytes());
    let loaded = rig.json(["shadow", "load", table.to_str().unwrap()]);
    assert_eq!((&loaded["loaded"], &loaded["table"]), (&json!(true), &json!("candidate")));
    for _ in 0..3 {
        assert_eq!(hello(&rig), "hello", "a candidate has no effect");
    }
    let shown = rig.json(["shadow", "show"]);
    assert_eq!((counted(&shown, "would-refuse"), counted(&shown, "same")), (3, 0), "{shown}");

    // A candidate setting: a run by token without its blanket permission would have to ask.
    rig.json(["shadow", "load", "--token-runs", "session-only"]);
    assert_eq!(hello(&rig), "hello");
    // It follows what is granted after it was loaded.
    control.grant(&app, "127.0.0.1", "session");
    assert_eq!(hello(&rig), "hello");
    let dropped = rig.json(["shadow", "drop"]);
    assert_eq!((counted(&dropped, "would-ask"), counted(&dropped, "same")), (1, 1), "{dropped}");
    assert_eq!(control.ask("DELETE", "/v1/shadow", None).unwrap().status, 404);

    // What could not be a table is refused as one, and what was there stays.
    for body in [
        json!({}),
        json!({ "table": "[[action]]" }),
        json!({ "token_runs": "always" }),
        json!({ "profile": 1 }),
    ] {
        let answer = control.ask("PUT", "/v1/shadow", Some(&body)).unwrap();
        assert_eq!((answer.status, &answer.json["reason"]), (400, &json!("request-malformed")), "{body}");
    }
    assert_eq!(rig.json(["shadow", "show"])["loaded"], false);
}
