//! Each rule is shown a breach and has to name it: a rule that never complains proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::metadata::{Member, Workspace};
use crate::sources::Source;
use crate::{arrows, bans, root, sources};

fn workspace(arrows: &[(&str, &[&str])]) -> Workspace {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let members = arrows.iter().filter(|(name, _)| name.starts_with("mexe"));
    let member =
        |direct: &[&str]| Member { folder: PathBuf::new(), direct: set(direct), dev: BTreeSet::new() };
    Workspace {
        members: members.map(|(name, direct)| ((*name).to_owned(), member(direct))).collect(),
        normal: arrows
            .iter()
            .map(|(name, direct)| ((*name).to_owned(), set(direct)))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn one(breaches: Vec<String>, part: &str) {
    assert_eq!(breaches.len(), 1, "{breaches:?}");
    assert!(breaches[0].contains(part), "`{part}` is not in `{}`", breaches[0]);
}

fn file(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn an_engine_that_imports_another_is_named() {
    let engines = workspace(&[("mexe-certs", &["mexe-policy"]), ("mexe-policy", &[])]);
    one(arrows::members_point_down(&engines), "`mexe-certs` depends on `mexe-policy`");
}

#[test]
fn an_engine_that_imports_an_edge_and_an_edge_that_imports_the_service_are_named() {
    let upward = workspace(&[("mexe-policy", &["mexe-journal"]), ("mexe-journal", &[])]);
    one(arrows::members_point_down(&upward), "`mexe-policy` depends on `mexe-journal`");
    let upward = workspace(&[("mexe-relay", &["mexegate"]), ("mexegate", &[])]);
    one(arrows::members_point_down(&upward), "`mexe-relay` depends on `mexegate`");
}

#[test]
fn a_crate_without_a_place_is_named() {
    one(arrows::members_point_down(&workspace(&[("mexe-extra", &[])])), "`mexe-extra` has no place");
}

#[test]
fn io_three_steps_away_from_a_pure_crate_is_named_with_its_path() {
    let far = workspace(&[
        ("mexe-certs", &["a"]),
        ("mexe-console", &[]),
        ("mexe-inflate", &[]),
        ("mexe-model", &[]),
        ("mexe-policy", &[]),
        ("mexe-qos", &[]),
        ("mexe-wire", &[]),
        ("a", &["b"]),
        ("b", &["tokio"]),
    ]);
    one(arrows::pure_crates_reach_no_io(&far), "mexe-certs -> a -> b -> tokio");
}

#[test]
fn a_pure_crate_that_went_missing_is_named() {
    let gone = workspace(&[
        ("mexe-certs", &[]),
        ("mexe-console", &[]),
        ("mexe-inflate", &[]),
        ("mexe-model", &[]),
        ("mexe-policy", &[]),
        ("mexe-qos", &[]),
    ]);
    one(arrows::pure_crates_reach_no_io(&gone), "`mexe-wire` is not in the dependency graph");
}

#[test]
fn a_second_user_of_an_owned_crate_is_named() {
    one(
        arrows::owners_are_alone(&workspace(&[("mexe-wire", &["rustls-webpki"])])),
        "`mexe-wire` names `rustls-webpki`",
    );
    let mut dev = workspace(&[("mexe-certs", &[])]);
    dev.members.get_mut("mexe-certs").unwrap().dev.insert("rcgen".to_owned());
    one(arrows::owners_are_alone(&dev), "`mexe-certs` names `rcgen`");
    one(
        sources::only_the_owner_names(&[file("gateway/wire/src/lib.rs", "use webpki::Error;")]),
        "names `webpki::`",
    );
    one(sources::only_the_owner_names(&[file("certs/src/chain.rs", "rcgen::x()")]), "names `rcgen::`");
}

#[test]
fn a_ban_that_is_missing_or_commented_out_is_named() {
    let text = std::fs::read_to_string(root().join("gateway/policy/clippy.toml")).unwrap();
    let line = text.lines().find(|line| line.contains("\"std::env::var\"")).unwrap().to_owned();
    one(bans::complete("mexe-policy", &text.replace(&line, "")), "`std::env::var`");
    one(bans::complete("mexe-policy", &text.replace(&line, &format!("# {line}"))), "`std::env::var`");
    one(bans::complete("mexe-policy", "disallowed-methods = ["), "clippy.toml of `mexe-policy`");
}

#[test]
fn a_crate_without_the_workspace_lints_is_named() {
    one(bans::inherits_lints("mexe-wire", "[lints.rust]\nunsafe_code = \"deny\""), "`mexe-wire`");
    assert!(bans::inherits_lints("mexe-wire", "[lints]\nworkspace = true").is_empty());
}

#[test]
fn a_module_without_an_introduction_is_named() {
    for text in
        ["use std::fs;", "//!", "// not a doc", "#![allow(dead_code)]\nuse std::fs;", "", "\n//! late"]
    {
        one(sources::every_module_is_introduced(&[file("a.rs", text)]), "a.rs does not start");
    }
    for text in
        ["//! What it is for.\n", "#![allow(\n    dead_code, reason = \"tests\")]\n\n//! What it tests.\n"]
    {
        assert!(sources::every_module_is_introduced(&[file("a.rs", text)]).is_empty(), "{text}");
    }
}

#[test]
fn a_module_of_501_lines_is_named() {
    one(sources::no_module_is_too_long(&[file("a.rs", &"x\n".repeat(501))]), "a.rs has 501 lines");
    assert!(sources::no_module_is_too_long(&[file("a.rs", &"x\n".repeat(500))]).is_empty());
}
