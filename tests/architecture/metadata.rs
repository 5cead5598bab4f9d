//! What `cargo metadata` says, reduced to what the rules ask: the members, their direct dependencies by kind, and what
//! the normal dependencies of a package reach. Takes the lock file as it is and no network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One crate of the workspace.
pub struct Member {
    /// Where its manifest is.
    pub folder: PathBuf,
    /// Names of the packages that it depends on, in any kind but `dev`.
    pub direct: BTreeSet<String>,
    /// The same for `dev` dependencies.
    pub dev: BTreeSet<String>,
}

/// The workspace.
pub struct Workspace {
    /// By package name.
    pub members: BTreeMap<String, Member>,
    /// Package name to what it reaches in one step by a normal dependency. Versions are merged.
    pub normal: BTreeMap<String, BTreeSet<String>>,
}

/// Asks cargo, for the platform that this test runs on.
pub fn load(root: &Path) -> Workspace {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &platform])
        .current_dir(root)
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    read(&serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON"))
}

fn read(metadata: &Value) -> Workspace {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("a string in cargo's JSON").to_owned();
    let names: BTreeMap<String, String> =
        list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let own: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
    let mut members = BTreeMap::new();
    for package in list(&metadata["packages"]).iter().filter(|p| own.contains(p["id"].as_str().unwrap())) {
        let mut member = Member {
            folder: Path::new(&text(&package["manifest_path"])).parent().unwrap().to_owned(),
            direct: BTreeSet::new(),
            dev: BTreeSet::new(),
        };
        for dependency in list(&package["dependencies"]) {
            let kind = if dependency["kind"] == "dev" { &mut member.dev } else { &mut member.direct };
            kind.insert(text(&dependency["name"]));
        }
        members.insert(text(&package["name"]), member);
    }
    let mut normal: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let reached = normal.entry(names[node["id"].as_str().unwrap()].clone()).or_default();
        for dependency in list(&node["deps"]) {
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                reached.insert(names[dependency["pkg"].as_str().unwrap()].clone());
            }
        }
    }
    Workspace { members, normal }
}
