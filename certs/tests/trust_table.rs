//! docs/trust.md: each test that it names exists, and each reason is one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests"
)]

use std::path::Path;

#[test]
fn every_test_of_the_table_exists_and_every_reason_is_one() {
    let table = include_str!("../../docs/trust.md");
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [sources(&crate_folder.join("src")), sources(&crate_folder.join("tests"))].concat();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| check")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        if cells[0].starts_with("---") {
            continue;
        }
        let [check, reason, source, test] = cells.as_slice() else { panic!("{row}") };
        assert!(!check.is_empty() && !source.is_empty(), "{row}");
        if let Some(code) = reason.strip_prefix('`').and_then(|rest| rest.split('`').next()) {
            assert!(code.parse::<mexe_model::Reason>().is_ok(), "{code} is no reason: {row}");
        }
        let name = test.trim_matches('`');
        assert!(
            sources.contains(&format!("#[test]\nfn {name}()"))
                || sources.contains(&format!("    fn {name}()")),
            "{name}"
        );
        rows += 1;
    }
    assert!(rows > 40, "only {rows} rows");
}

fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    all
}
