//! Where new actions go, what they get there, and what the administrator can and cannot make of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::sync::Arc;

use mexe_model::{Groups, Instant, Trust};
use mexe_policy::table::{Row, TableProblem};
use mexe_policy::*;

fn shipped() -> (SecurityTable, Categorisation) {
    (SecurityTable::shipped().unwrap(), Categorisation::shipped().unwrap())
}

fn section(action: &str, more: &str) -> String {
    format!("[[new-action]]\naction = \"{action}\"\ncovers = \"x\"\nchargeable = false\n{more}\n")
}

fn add(action: &str, more: &str) -> Result<(SecurityTable, Row), TableError> {
    let (table, rules) = shipped();
    let table = table.with_actions(&section(action, more), &rules)?;
    let row = table.row(table.action(action).unwrap()).unwrap().clone();
    Ok((table, row))
}

fn problem(action: &str, more: &str) -> TableProblem {
    add(action, more).unwrap_err().problem
}

fn cells(row: &Row) -> [String; 4] {
    Trust::ALL.map(|trust| row.cell(trust).to_string())
}

#[test]
fn a_new_action_is_placed_by_its_name_and_what_it_declares() {
    for (action, more, group, rule) in [
        ("mobile.mms-send", "", "network", "network"),
        ("network.anything", "", "network", "network"),
        ("voice.httpproxy", "", "network", "network"),
        ("weather.refresh", "uses = [\"network\"]", "network", "network"),
        ("contacts.list", "", "user-data", "user-data"),
        ("x.calendars", "", "user-data", "user-data"),
        ("x.thing", "uses = [\"location\"]", "user-data", "user-data"),
        ("bus.i2c", "uses = [\"peripheral\"]", "peripheral", "peripheral"),
        ("x.camera", "", "user-interface", "user-interface"),
        ("store.uninstall", "", "life-cycle", "executables"),
        ("x.keys", "", "mexe-security", "certificates-and-keys"),
        ("id.imsi", "", "network-property", "network-property"),
        ("system.reboot", "", "device-core", "device-core"),
        ("system.firmware-update", "", "core-software", "core-software"),
        ("x.battery", "", "terminal-data", "terminal-data"),
        ("x.intent", "", "application", "other-applications"),
    ] {
        let (_, row) = add(action, more).unwrap();
        let placing = row.placing.as_deref().unwrap();
        assert_eq!(placing.group.as_deref(), Some(group), "{action}");
        assert_eq!(placing.by.as_deref(), Some(format!("rule:{rule}").as_str()), "{action}");
        assert_eq!(row.group.map(|group| group.as_str()), Some(group), "{action}");
        for trust in Trust::ALL {
            assert_eq!(row.cell(trust).provenance.to_string(), format!("rule:{rule}"), "{action}");
        }
    }
    let chargeable = "[[new-action]]\naction = \"x.tip\"\ncovers = \"x\"\nchargeable = true\n";
    let (table, rules) = shipped();
    let table = table.with_actions(chargeable, &rules).unwrap();
    let row = table.row(table.action("x.tip").unwrap()).unwrap();
    assert_eq!(row.placing.as_deref().unwrap().group.as_deref(), Some("network"));
}

#[test]
fn it_gets_the_narrowest_of_the_rows_of_its_group() {
    // network.connect is blanket(session), most others session(single): the narrowest counts.
    let (_, row) = add("mobile.mms-send", "").unwrap();
    assert_eq!(cells(&row), ["session(single)", "session(single)", "session(single)", "no"]);
    let (_, row) = add("id.imsi", "").unwrap();
    assert_eq!(cells(&row), ["session(single)", "no", "no", "no"]);
    let (_, row) = add("system.firmware-update", "").unwrap();
    assert_eq!(cells(&row), ["no", "session(single)", "no", "no"]);
    // The group has a row that is no for everybody.
    let (_, row) = add("x.camera", "").unwrap();
    assert_eq!(cells(&row), ["no"; 4]);
}

#[test]
fn of_several_groups_the_most_restrictive_has_it_and_none_is_exceeded() {
    // network and user-data give the same; the lower number has it.
    let (_, row) = add("backup.upload-contacts", "").unwrap();
    assert_eq!(row.placing.as_deref().unwrap().group.as_deref(), Some("network"));
    assert_eq!(
        row.placing.as_deref().unwrap().fits.iter().map(|rule| &**rule).collect::<Vec<_>>(),
        ["network", "user-data"]
    );
    // network-property leaves the operator alone, core-software the manufacturer: together nobody.
    let (_, row) = add("operator.firmware-fetch", "").unwrap();
    assert_eq!(cells(&row), ["no"; 4]);
    let (_, row) = add("network.imsi-send", "").unwrap();
    assert_eq!(row.placing.as_deref().unwrap().group.as_deref(), Some("network-property"));
    assert_eq!(cells(&row), ["session(single)", "no", "no", "no"]);
}

#[test]
fn what_no_rule_fits_nobody_gets_until_the_administrator_places_it() {
    let (table, row) = add("x.thing", "").unwrap();
    assert_eq!(cells(&row), ["no"; 4]);
    assert_eq!((row.group, row.placing.as_deref().unwrap().group.clone()), (None, None));
    assert_eq!(row.cell(Trust::ALL[0]).provenance.to_string(), "decision:4");
    assert!(!row.is_left_by(Groups::NONE) && table.action("x.thing").is_some());
    let (_, row) = add("x.thing", "place = \"peripheral\"").unwrap();
    assert_eq!(cells(&row), ["session(single)", "session(single)", "session(single)", "no"]);
    assert_eq!(row.cell(Trust::ALL[0]).provenance.to_string(), "administrator:peripheral");
    assert_eq!(row.placing.as_deref().unwrap().by.as_deref(), Some("administrator"));
    assert_eq!(row.group.map(|group| group.as_str()), Some("peripheral"));
}

#[test]
fn the_administrator_places_no_wider_than_the_rules_leave() {
    // Fits network-property, which leaves the manufacturer and third parties nothing.
    let wide = problem("id.imsi", "place = \"network\"");
    let expected = TableProblem::PlacedTooWide {
        action: "id.imsi".to_owned(),
        group: "network".to_owned(),
        column: Trust::ALL[1],
        most: "no",
    };
    assert_eq!(wide, expected);
    assert!(add("contacts.list", "place = \"peripheral\"").is_ok(), "as wide is no wider");
    assert!(add("contacts.list", "place = \"mexe-security\"").is_ok());
    let nowhere = problem("x.thing", "place = \"elsewhere\"");
    assert!(matches!(nowhere, TableProblem::UnknownPlace { .. }), "{nowhere}");
}

#[test]
fn pin_authentication_and_apdu_actions_are_placed_nowhere() {
    for (action, more) in [
        ("x.pin", ""),
        ("phone.chv2-verify", ""),
        ("card.puk-enter", ""),
        ("network.pin-send", ""),
        ("x.aka", ""),
        ("network.authenticate", ""),
        ("x.ciphering-run", ""),
        ("card.apdu", ""),
        ("x.usim-read", ""),
        ("x.thing", "uses = [\"pin\"]"),
        ("x.thing", "uses = [\"network\", \"network-authentication\"]"),
        ("x.thing", "uses = [\"smart-card\"]"),
        ("security.anything", ""),
        ("smart-card.anything", ""),
    ] {
        let (_, row) = add(action, more).unwrap();
        assert_eq!(cells(&row), ["no"; 4], "{action} {more}");
        let placed = problem(action, &format!("{more}\nplace = \"terminal-data\""));
        assert!(matches!(placed, TableProblem::NeverPlaceable { .. }), "{action}: {placed}");
    }
}

/// Whatever rules and rows say: the code itself gives nobody an action in those two groups.
#[test]
fn careless_rules_open_neither_pin_nor_card() {
    let rules = "[[rule]]\nname = \"careless\"\ngroup = \"security\"\nuses = [\"pin\"]\n";
    let rules = Categorisation::from_toml(rules).unwrap();
    let table = mexe_policy::table::SHIPPED.replace(
        "permission = \"no\", provenance = \"decision:2\"",
        "permission = \"session(single)\", provenance = \"decision:1\"",
    );
    let table = SecurityTable::from_toml(&table).unwrap();
    for more in ["uses = [\"pin\"]", "place = \"security\"", "place = \"smart-card\""] {
        let table = table.with_actions(&section("x.thing", more), &rules).unwrap();
        assert_eq!(cells(table.row(table.action("x.thing").unwrap()).unwrap()), ["no"; 4], "{more}");
    }
}

/// A table may give the untrusted a window; an action that is added to its group is not that window.
#[test]
fn an_added_action_is_never_for_the_untrusted() {
    let text = "[[group]]\nname = \"user-interface\"\nnumber = 13\ntitle = \"x\"\n\
        [[action]]\naction = \"user-interface.display\"\ncovers = \"x\"\ntarget = \"none\"\nchargeable = false\n\
        operator = { permission = \"blanket(session)\", provenance = \"decision:1\" }\n\
        manufacturer = { permission = \"blanket(session)\", provenance = \"decision:1\" }\n\
        third-party = { permission = \"blanket(session)\", provenance = \"decision:1\" }\n\
        untrusted = { permission = \"blanket(session)\", provenance = \"decision:1\" }\n";
    let table = SecurityTable::from_toml(text).unwrap();
    let rules = Categorisation::shipped().unwrap();
    for more in ["uses = [\"display\"]", "place = \"user-interface\""] {
        let table = table.with_actions(&section("x.hologram", more), &rules).unwrap();
        let row = table.row(table.action("x.hologram").unwrap()).unwrap();
        assert_eq!(cells(row), ["blanket(session)", "blanket(session)", "blanket(session)", "no"], "{more}");
    }
}

/// One that was added first does not widen or narrow the next.
#[test]
fn an_added_action_counts_for_no_other() {
    let (table, rules) = shipped();
    let text = section("network.imsi-send", "") + &section("x.mms", "");
    let table = table.with_actions(&text, &rules).unwrap();
    let row = table.row(table.action("x.mms").unwrap()).unwrap();
    assert_eq!(cells(row), ["session(single)", "session(single)", "session(single)", "no"]);
    // Ids of the table that was added to stay.
    let before = SecurityTable::shipped().unwrap();
    assert!(before.rows().all(|row| table.row(row.id).map(|r| &r.action) == Some(&row.action)));
}

#[test]
fn mistakes_in_added_actions_are_told_with_their_place() {
    for (text, told) in [
        (section("network.connect", ""), "line 2, column 10: `network.connect` is in the table twice"),
        (section("x.y", "") + &section("x.y", ""), "line 7, column 10: `x.y` is in the table twice"),
        (section("network.*", ""), "line 2, column 10: `network.*`: the table knows no wildcards"),
        (section("network", ""), "line 2, column 10: `network` is not an action"),
        (
            section("x.y", "uses = [\"network\", \"magic\"]"),
            "line 5, column 20: `x.y`: no rule knows the use `magic`",
        ),
        (section("x.y", "place = \"nowhere\""), "line 5, column 9: `x.y`: the table has no group `nowhere`"),
        (section("x.pin", "place = \"network\""), "line 5, column 9: `x.pin`: the rule `pin` fits it"),
        (section("x.y", "operator = \"blanket(session)\""), "line 5, column 1: unknown field `operator`"),
        ("[[new-action]]\naction = \"x.y\"\n".to_owned(), "line 1, column 1: missing field `covers`"),
        ("[[action]]\n".to_owned(), "line 1, column 3: unknown field `action`"),
    ] {
        let (table, rules) = shipped();
        let error = table.with_actions(&text, &rules).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn mistakes_in_rules_are_told_with_their_place() {
    let rule = |name: &str, more: &str| format!("[[rule]]\nname = \"{name}\"\ngroup = \"network\"\n{more}\n");
    for (text, told) in [
        (
            rule("a", "words = [\"x\"]") + &rule("a", "words = [\"y\"]"),
            "line 6, column 8: the rule `a` is there twice",
        ),
        (rule("A b", "words = [\"x\"]"), "line 2, column 8: `A b` is no name of a rule"),
        (rule("a", ""), "line 2, column 8: the rule `a` fits nothing"),
        (
            rule("a", "words = [\"x\", \"*\"]"),
            "line 4, column 15: the rule `a`: no action's name or use is like `*`",
        ),
        (
            rule("a", "words = [\"x-y\"]"),
            "line 4, column 10: the rule `a`: no action's name or use is like `x-y`",
        ),
        (
            rule("a", "prefixes = [\"\"]"),
            "line 4, column 13: the rule `a`: no action's name or use is like ``",
        ),
        (rule("a", "word = [\"x\"]"), "line 4, column 1: unknown field `word`"),
    ] {
        let error = Categorisation::from_toml(&text).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn the_shipped_rules_know_every_group_and_place_the_shipped_actions_where_they_are_or_narrower() {
    let (table, rules) = shipped();
    for group in table.groups() {
        assert!(rules.rules().any(|rule| *rule.group == *group.name), "no rule for {}", group.name);
    }
    for rule in rules.rules() {
        assert!(table.groups().any(|group| *group.name == *rule.group), "{}", rule.name);
        let never = matches!(&*rule.group, "security" | "smart-card");
        assert_eq!(rule.placeable, !never, "{}", rule.name);
    }
    // Were a row of the table not there, the rules would give its action no more than the row does, or its group's least.
    for row in table.rows() {
        let declared = mexe_policy::categorisation::Declared {
            action: row.action.clone(),
            chargeable: row.chargeable,
            uses: Vec::new(),
        };
        assert!(rules.fitting(&declared).any(|rule| *rule.group == *row.action.group()), "{}", row.action);
    }
}

#[test]
fn explain_shows_the_rule_that_placed_the_action() {
    let (table, row) = add("backup.upload-contacts", "").unwrap();
    let policy = Policy::new(Arc::new(table), Settings::default(), Surroundings::default());
    let app = "app".parse().unwrap();
    let facts = |action| Facts {
        app: &app,
        trust: Trust::ALL[2],
        groups: Groups::ALL,
        legacy: false,
        suspended: false,
        run: None,
        action,
        target: Target::None,
    };
    let told = explain(&policy, Instant::from_nanos(0), &facts(row.id)).rule;
    assert_eq!(told.provenance.to_string(), "rule:network");
    assert_eq!(told.placing.as_ref(), row.placing.as_deref());
    let own = policy.table().action("network.connect").unwrap();
    assert_eq!(explain(&policy, Instant::from_nanos(0), &facts(own)).rule.placing, None);
}
