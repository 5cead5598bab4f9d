//! The shipped table keeps its promises; tables that break an invariant are refused by its own error, at its place.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mexe_model::{Permission, SecurityDomain, Trust};
use mexe_policy::table::{Provenance, SHIPPED, TableProblem, TargetKind};
use mexe_policy::{SecurityTable, TableError};

const GROUP: &str = "[[group]]\nname = \"network\"\nnumber = 6\ntitle = \"Network\"\n";

fn row(action: &str, cells: [&str; 4]) -> String {
    let mut text =
        format!("[[action]]\naction = \"{action}\"\ncovers = \"x\"\ntarget = \"none\"\nchargeable = false\n");
    for (column, cell) in Trust::ALL.iter().zip(cells) {
        text += &format!("{column} = {{ permission = \"{cell}\", provenance = \"recalled\" }}\n");
    }
    text
}

fn load(rows: &[(&str, [&str; 4])]) -> Result<SecurityTable, TableError> {
    let mut text = GROUP.to_owned();
    for (n, group) in ["core-software", "user-interface"].iter().enumerate() {
        text += &format!("[[group]]\nname = \"{group}\"\nnumber = {n}\ntitle = \"x\"\n");
    }
    rows.iter().for_each(|(action, cells)| text += &row(action, *cells));
    SecurityTable::from_toml(&text)
}

fn problem(action: &str, cells: [&str; 4]) -> TableProblem {
    load(&[(action, cells)]).unwrap_err().problem
}

#[test]
fn the_shipped_table_has_all_thirteen_groups_and_every_group_has_an_action() {
    let table = SecurityTable::shipped().unwrap();
    assert_eq!(table.groups().map(|g| g.number).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    for group in table.groups() {
        assert!(table.rows().any(|row| row.action.group() == &*group.name), "{}", group.name);
    }
    for row in table.rows() {
        assert_eq!(table.action(row.action.as_str()), Some(row.id));
        assert_eq!(table.row(row.id), Some(row));
    }
}

#[test]
fn the_shipped_table_gives_what_the_project_decided() {
    let table = SecurityTable::shipped().unwrap();
    for (action, cells) in [
        ("core-software.download", ["no", "session(single)", "no", "no"]),
        ("network.call", ["session(single)", "session(single)", "session(single)", "single(single)"]),
        ("network.connect", ["blanket(session)", "blanket(session)", "blanket(session)", "no"]),
        ("network.datagram", ["blanket(session)", "blanket(session)", "blanket(session)", "no"]),
        ("network.dtmf", ["session(single)", "session(single)", "session(single)", "single(single)"]),
        ("network.listen", ["session(single)", "session(single)", "session(single)", "no"]),
        ("network.qos", ["session(single)", "session(single)", "session(single)", "no"]),
        ("network.sms", ["session(single)", "session(single)", "session(single)", "no"]),
        ("network.supplementary-service", ["session(single)", "session(single)", "session(single)", "no"]),
        ("security.pin", ["no", "no", "no", "no"]),
        ("smart-card.apdu", ["no", "no", "no", "no"]),
        ("terminal-data.read", ["session(session)", "session(session)", "session(session)", "no"]),
        ("user-data.read", ["session(single)", "session(single)", "session(single)", "no"]),
        ("user-interface.display", ["session(session)"; 4]),
        ("user-interface.input", ["session(session)"; 4]),
        ("user-interface.microphone", ["session(single)", "session(single)", "session(single)", "no"]),
        ("user-interface.screenshot", ["no"; 4]),
    ] {
        let id = table.action(action).unwrap_or_else(|| panic!("{action}"));
        assert_eq!(Trust::ALL.map(|trust| table.cell(id, trust).to_string()), cells, "{action}");
    }
    let connect = table.row(table.action("network.connect").unwrap()).unwrap();
    assert!(connect.chargeable && connect.target == TargetKind::Endpoint);
    assert_eq!(table.action("network.everything"), None);
}

#[test]
fn an_untrusted_app_gets_exactly_four_actions() {
    let table = SecurityTable::shipped().unwrap();
    let yes = table.rows().filter(|row| row.cell(Trust::Untrusted).maximum.is_some());
    let yes: Vec<&str> = yes.map(|row| row.action.as_str()).collect();
    assert_eq!(yes, ["network.call", "network.dtmf", "user-interface.display", "user-interface.input"]);
}

#[test]
fn every_cell_says_where_it_comes_from_and_no_read_is_claimed() {
    let table = SecurityTable::shipped().unwrap();
    for row in table.rows() {
        for trust in Trust::ALL {
            let cell = row.cell(trust);
            assert_eq!(cell.maximum.is_some(), cell.default.is_some());
            assert!(
                !matches!(cell.provenance, Provenance::Read(_)),
                "the table's text was not read: {}",
                row.action
            );
        }
    }
}

#[test]
fn an_action_of_another_table_is_no_for_everybody() {
    let big = SecurityTable::shipped().unwrap();
    let small = load(&[("network.call", ["no"; 4])]).unwrap();
    let last = big.rows().last().unwrap().id;
    for trust in Trust::ALL {
        assert_eq!(small.cell(last, trust).maximum, None);
    }
}

#[test]
fn an_untrusted_app_never_gets_more_than_its_window_calls_and_tones() {
    for action in [
        "network.connect",
        "network.calls",
        "network.call-any",
        "network.sms",
        "user-interface.microphone",
        "user-interface.screenshot",
        "user-interface.display-all",
        "core-software.download",
    ] {
        let expected = TableProblem::UntrustedAction { action: action.to_owned() };
        assert_eq!(problem(action, ["no", "no", "no", "single(single)"]), expected);
    }
    for action in ["network.call", "network.dtmf"] {
        let expected = TableProblem::UntrustedAboveSingle { action: action.to_owned() };
        assert_eq!(problem(action, ["no", "no", "no", "session(single)"]), expected);
        assert_eq!(problem(action, ["no", "no", "no", "blanket(single)"]), expected);
        assert!(load(&[(action, ["no", "no", "no", "single(single)"])]).is_ok());
    }
    assert!(load(&[("user-interface.display", ["no", "no", "no", "session(session)"])]).is_ok());
}

#[test]
fn core_software_is_for_the_manufacturer_only() {
    for (cells, domain) in [
        (["single(single)", "no", "no", "no"], SecurityDomain::Operator),
        (["no", "no", "single(single)", "no"], SecurityDomain::ThirdParty),
    ] {
        let column = Trust::Domain(domain);
        let expected = TableProblem::CoreSoftware { action: "core-software.replace".to_owned(), column };
        assert_eq!(problem("core-software.replace", cells), expected);
    }
    assert!(load(&[("core-software.replace", ["no", "single(single)", "no", "no"])]).is_ok());
}

#[test]
fn every_yes_carries_a_permission_with_a_default_within_its_maximum() {
    let (action, column) = ("network.connect".to_owned(), Trust::Domain(SecurityDomain::ThirdParty));
    let with = |cell: &str| problem("network.connect", ["no", "no", cell, "no"]);
    for cell in ["yes", "blanket", "session", "single"] {
        assert_eq!(
            with(cell),
            TableProblem::YesWithoutPermission { action: action.clone(), column },
            "{cell}"
        );
    }
    for cell in [
        "",
        "No",
        "always",
        "blanket()",
        "blanket(session",
        "blanket(session))",
        "blanket(no)",
        "no(no)",
        "session (single)",
    ] {
        let expected = TableProblem::CellMalformed { action: action.clone(), column, cell: cell.to_owned() };
        assert_eq!(with(cell), expected, "{cell}");
    }
    let (maximum, default) = (Permission::SingleAction, Permission::Blanket);
    assert_eq!(
        with("single(blanket)"),
        TableProblem::DefaultAboveMaximum { action, column, maximum, default }
    );
}

#[test]
fn wildcards_and_duplicates_are_refused() {
    assert!(matches!(problem("network.*", ["no"; 4]), TableProblem::Wildcard(name) if name == "network.*"));
    assert!(matches!(problem("*", ["no"; 4]), TableProblem::Wildcard(_)));
    assert!(matches!(problem("network.connect", ["no", "no", "no", "*"]), TableProblem::Wildcard(_)));
    let twice = load(&[("network.call", ["no"; 4]), ("network.call", ["no"; 4])]).unwrap_err();
    assert_eq!(twice.problem, TableProblem::DuplicateAction("network.call".to_owned()));
    let groups = format!("{GROUP}{}{}", GROUP.replace("6", "7"), row("network.call", ["no"; 4]));
    let duplicate = SecurityTable::from_toml(&groups).unwrap_err();
    assert_eq!(duplicate.problem, TableProblem::DuplicateGroup("network".to_owned()));
    let numbers = format!("{GROUP}{}{}", GROUP.replace("network", "other"), row("network.call", ["no"; 4]));
    assert_eq!(
        SecurityTable::from_toml(&numbers).unwrap_err().problem,
        TableProblem::DuplicateGroup("other".into())
    );
}

#[test]
fn names_groups_and_provenance_are_checked() {
    assert!(matches!(problem("connect", ["no"; 4]), TableProblem::ActionMalformed(_)));
    assert!(matches!(problem("Network.connect", ["no"; 4]), TableProblem::ActionMalformed(_)));
    assert_eq!(problem("radio.tune", ["no"; 4]), TableProblem::UnknownGroup("radio.tune".to_owned()));
    for provenance in
        ["", "seed", "seed:", "read:", "decision:", "decision:x", "decision:300", "Recalled", "me"]
    {
        let text = format!("{GROUP}{}", row("network.call", ["no"; 4])).replacen("recalled", provenance, 1);
        let error = SecurityTable::from_toml(&text).unwrap_err();
        assert!(matches!(error.problem, TableProblem::ProvenanceMalformed { .. }), "{provenance}: {error}");
    }
    for provenance in ["seed:8.2.1", "read:23.057:6.3", "recalled", "decision:4"] {
        let text = format!("{GROUP}{}", row("network.call", ["no"; 4])).replacen("recalled", provenance, 1);
        let table = SecurityTable::from_toml(&text).unwrap();
        let cell = table.cell(table.action("network.call").unwrap(), Trust::ALL[0]);
        assert_eq!(cell.provenance.to_string(), provenance);
    }
}

#[test]
fn mistakes_are_shown_with_line_and_column() {
    let shown = |text: &str| SecurityTable::from_toml(text).unwrap_err().to_string();
    let good = format!("{GROUP}{}", row("network.connect", ["no", "no", "blanket(session)", "no"]));
    assert!(SecurityTable::from_toml(&good).is_ok());
    assert_eq!(
        shown(
            &good.replace(
                "untrusted = { permission = \"no\"",
                "untrusted = { permission = \"single(single)\""
            )
        ),
        "line 13, column 28: `network.connect`, column untrusted: an untrusted app never gets this; write `no`"
    );
    assert_eq!(shown(GROUP), "line 1, column 1: the table has no action; write [[action]] rows");
    for (wrong, place) in [
        (good.replace("chargeable = false", "chargeable = maybe"), "line 9, "),
        (good.replace("covers = \"x\"\n", ""), "line 5, column 1: missing field `covers`"),
        (good.replace("covers", "cover"), "line 7, column 1: unknown field `cover`"),
        (good.replace("untrusted = ", "unknown = "), "line 13, column 1: unknown field `unknown`"),
        (good.replace("\"none\"", "\"anything\""), "line 8, column 10: unknown variant `anything`"),
        (good.replacen("provenance", "from", 1), "line 10, column "),
        (good.replace("number = 6", "number = 256"), "line 3, "),
        (good.replace("[[group]]", "[[group"), "line 1, "),
        ("\u{feff}\0".to_owned(), "line 1, "),
    ] {
        let error = shown(&wrong);
        assert!(error.starts_with(place) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_shipped_file_is_what_is_compiled_in() {
    assert!(SHIPPED.starts_with("# The security table"));
}
