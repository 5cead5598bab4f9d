//! docs/permissions.md shows the table, the rules and the exclusions as the data files have them. `MEXE_BLESS=1` writes
//! what is missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::fmt::Write as _;

use mexe_model::Trust;
use mexe_policy::{Categorisation, SecurityTable};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/permissions.md");

/// One line an action: its cells, and where those of the domains and that of the untrusted come from.
fn table() -> String {
    let table = SecurityTable::shipped().unwrap();
    let mut text = "| action | operator | manufacturer | third party | untrusted | from |\n\
        | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for group in table.groups() {
        writeln!(text, "| **{}. {}** | | | | | |", group.number, group.title).unwrap();
        for row in table.rows().filter(|row| row.action.group() == &*group.name) {
            let cells = Trust::ALL.map(|trust| row.cell(trust).to_string()).join(" | ");
            let from = Trust::ALL.map(|trust| row.cell(trust).provenance.to_string());
            let (untrusted, domains) = from.split_last().unwrap();
            let mut domains = domains.to_vec();
            domains.dedup();
            let cost = if row.chargeable { " €" } else { "" };
            writeln!(text, "| `{}`{cost} | {cells} | {}; {untrusted} |", row.action, domains.join(", "))
                .unwrap();
        }
    }
    text
}

/// One line a rule.
fn rules() -> String {
    let mut text = "| rule | group | placeable |\n| --- | --- | --- |\n".to_owned();
    for rule in Categorisation::shipped().unwrap().rules() {
        let placeable = if rule.placeable { "yes" } else { "never" };
        writeln!(text, "| `{}` | `{}` | {placeable} |", rule.name, rule.group).unwrap();
    }
    text
}

/// The page with what stands between a part's marks replaced.
fn with_part(page: &str, part: &str, text: &str) -> String {
    let (begin, end) =
        (format!("<!-- {part}: made from the data -->\n"), format!("<!-- end of {part} -->\n"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{text}{end}{after}")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the page is a file, and whether to write it is asked of the environment"
)]
fn the_page_shows_the_data() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let made = with_part(&with_part(&page, "table", &table()), "rules", &rules());
    if std::env::var("MEXE_BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(PAGE, &made).unwrap();
    } else {
        assert!(page == made, "docs/permissions.md is not what the data says: run with MEXE_BLESS=1");
    }
}
