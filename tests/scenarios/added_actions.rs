//! What the owner's configuration makes of the table: actions that are added, and blanket permissions that exclude each
//! other.

use std::fs;

use rig::cli::code;
use rig::{Rig, packages};

const ACTIONS: &str = "[[new-action]]\naction = \"message.mms-send\"\ncovers = \"sending a picture message\"\n\
    chargeable = true\n[[new-action]]\naction = \"x.thing\"\ncovers = \"x\"\nchargeable = false\n";

#[test]
fn an_added_action_is_permitted_within_what_its_rule_leaves_and_explained_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("actions.toml");
    packages::write(&file, ACTIONS.as_bytes());
    let rig = Rig::builder().section("policy", &format!("actions = \"{}\"", file.display())).start();
    let app = rig.app("third-party");
    let told = rig.json(["explain", &app, "message.mms-send"]);
    let rule = &told["rule"];
    assert_eq!(
        (&rule["cell"], &rule["provenance"]),
        (&"session(single)".into(), &"rule:network".into()),
        "{told}"
    );
    assert_eq!(
        (&rule["placing"]["group"], &rule["placing"]["by"]),
        (&"network".into(), &"rule:network".into())
    );
    rig.grant(&app, "message.mms-send", "session");
    let wide = rig.cli(["--json", "grant", &app, "message.mms-send", "--permission", "blanket"]);
    assert_eq!(wide.ended(code::REFUSED).text("reason"), "permission-above-maximum");
    let none = rig.cli(["--json", "grant", &app, "x.thing", "--permission", "single"]);
    assert_eq!(none.ended(code::REFUSED).text("reason"), "forbidden-to-domain");
    assert_eq!(rig.json(["explain", &app, "x.thing"])["rule"]["provenance"], "decision:4");
}

#[test]
fn a_wrong_file_of_actions_or_exclusions_is_told_with_its_place() {
    for (key, text, what) in [
        (
            "actions",
            "[[new-action]]\naction = \"network.connect\"\ncovers = \"x\"\nchargeable = true\n",
            "line 2",
        ),
        ("actions", "not toml", "line 1"),
        ("exclusions", "[[exclusion]]\nname = \"x\"\none = [\"a\"]\nother = []\n", "line 3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.toml");
        packages::write(&file, text.as_bytes());
        let mut rig = Rig::builder().section("policy", &format!("{key} = \"{}\"", file.display())).prepare();
        let config = rig.config_file().display().to_string();
        let checked = rig.cli(["check-config", "--config", &config]).ended(code::FAULT);
        assert!(checked.stderr.contains("data.toml") && checked.stderr.contains(what), "{}", checked.stderr);
        rig.spawn();
        assert!(!rig.ended().success(), "{key}");
        assert!(rig.log().contains("data.toml") && rig.log().contains(what), "{}", rig.log());
    }
}

#[test]
fn blanket_permissions_that_exclude_each_other_are_not_given_together() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.toml");
    let shipped =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/policy/security-table.toml"));
    let wide =
        shipped.unwrap().replace("permission = \"session(single)\"", "permission = \"blanket(single)\"");
    packages::write(&table, wide.as_bytes());
    let lines = format!("security_table = \"{}\"\n", table.display());
    let start = |more: &str| Rig::builder().section("policy", &format!("{lines}{more}")).start();

    let rig = start("exclusions = \"midp\"");
    let (app, other) = (rig.app("third-party"), rig.app("operator"));
    let connect = rig.grant(&app, "network.connect", "blanket");
    let wanted = ["--json", "grant", &app, "user-data.read", "--permission", "blanket"];
    let refused = rig.cli(wanted).ended(code::REFUSED);
    assert_eq!(refused.text("reason"), "permission-excluded");
    rig.grant(&app, "user-data.read", "session");
    rig.grant(&other, "user-data.read", "blanket");
    rig.json(["revoke", &connect]);
    rig.grant(&app, "user-data.read", "blanket");

    let rig = start("");
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect", "blanket");
    rig.grant(&app, "user-data.read", "blanket");
}
