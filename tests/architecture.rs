//! The house keeps its plan: which crate may know which, what the pure crates may never reach, who alone may name
//! `webpki` and `rcgen`, and how a module file looks. The rules are functions over plain facts (`architecture/`), so
//! that each is also shown a breach and has to find it; the facts come from `cargo metadata` and the files of the tree.

#[path = "architecture/arrows.rs"]
mod arrows;
#[path = "architecture/bans.rs"]
mod bans;
#[path = "architecture/breaches.rs"]
mod breaches;
#[path = "architecture/deny.rs"]
mod deny;
#[path = "architecture/metadata.rs"]
mod metadata;
#[path = "architecture/sources.rs"]
mod sources;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn none(breaches: Vec<String>) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn the_arrows_between_the_crates_point_one_way() {
    none(arrows::members_point_down(&metadata::load(&root())));
}

#[test]
fn nothing_that_does_io_is_in_reach_of_a_pure_crate() {
    none(arrows::pure_crates_reach_no_io(&metadata::load(&root())));
}

#[test]
fn webpki_and_rcgen_have_one_owner_each() {
    none(arrows::owners_are_alone(&metadata::load(&root())));
    none(sources::only_the_owner_names(&sources::read(&root())));
}

#[test]
fn every_pure_crate_bans_clocks_files_locks_and_sockets() {
    for krate in arrows::PURE {
        let folder = metadata::load(&root())
            .members
            .get(*krate)
            .expect("the crate is in the workspace")
            .folder
            .clone();
        let text =
            std::fs::read_to_string(folder.join("clippy.toml")).expect("a pure crate has its clippy.toml");
        none(bans::complete(krate, &text));
    }
}

#[test]
fn every_shipped_crate_keeps_the_workspace_lints() {
    let members = metadata::load(&root()).members;
    for (name, member) in members.iter().filter(|(name, _)| *name != "mexe-tests") {
        let text = std::fs::read_to_string(member.folder.join("Cargo.toml")).unwrap();
        none(bans::inherits_lints(name, &text));
    }
}

#[test]
fn every_module_says_what_it_is_for_and_stays_short() {
    let files = sources::read(&root());
    assert!(files.len() > 20, "the walk over the tree finds its files");
    none(sources::every_module_is_introduced(&files));
    none(sources::no_module_is_too_long(&files));
}
