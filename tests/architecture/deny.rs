//! `deny.toml` is shown a breach of each of its rules and has to name it: cargo-deny judges workspaces of empty crates
//! that are called like the banned ones. Everything is local, so no network and no registry is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::root;

/// A workspace of empty crates.
struct Stubs {
    folder: TempDir,
}

/// What cargo-deny found to be an error: which rule, and everything that it says of it.
type Errors = BTreeMap<String, String>;

impl Stubs {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A crate with these lines in `[package]`, and under `[dependencies]`.
    fn krate(&self, name: &str, package: &str, dependencies: &str) {
        let folder = self.path(name);
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(folder.join("src/lib.rs"), "").unwrap();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n{package}\n\n[dependencies]\n{dependencies}"
        );
        std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    }

    /// A crate that is in order, and depends on these.
    fn plain<'a>(&self, name: &str, on: impl IntoIterator<Item = &'a str>) {
        let dependencies: String = on
            .into_iter()
            .map(|name| format!("{name} = {{ path = \"../{name}\", version = \"1\" }}\n"))
            .collect();
        self.krate(name, PRIVATE, &dependencies);
    }

    fn members(&self, members: &[&str]) {
        let manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n");
        std::fs::write(self.path("Cargo.toml"), manifest).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Whatever cargo keeps goes away with the workspace.
        command
            .current_dir(self.folder.path())
            .env("CARGO_HOME", self.path("cargo-home"))
            .env("PATH", path());
        command
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The errors of `cargo deny check RULES`, by what they are about.
    #[track_caller]
    fn errors(&self, rules: &str) -> Errors {
        let mut command = self.command("cargo-deny");
        command.args(["--offline", "--format", "json", "--config"]).arg(root().join("deny.toml"));
        let output = command.args(["check", rules]).output().expect("tests/run installs cargo-deny");
        let told = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<Value> = told
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("cargo-deny said: {told}")))
            .collect();
        assert!(lines.iter().any(|line| line["type"] == "summary"), "it came to an end: {told}");
        let errors: Errors = lines
            .iter()
            .map(|line| &line["fields"])
            .filter(|fields| fields["severity"] == "error")
            .map(|fields| {
                let krate = fields["graphs"][0]["Krate"]["name"].as_str().unwrap_or_default();
                let code = fields["code"].as_str().expect("an error has a code");
                (format!("{code} {krate}"), fields.to_string())
            })
            .collect();
        assert_eq!(output.status.success(), errors.is_empty(), "{told}");
        errors
    }
}

const PRIVATE: &str = "license = \"MIT\"\npublish = false";

/// Where `tests/run` keeps its tools comes last.
fn path() -> std::ffi::OsString {
    let tools = std::env::var_os("MEXEGATE_TOOLS").map_or_else(
        || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache");
            cache.unwrap_or_else(home).join("mexegate-tools")
        },
        PathBuf::from,
    );
    let known = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::env::split_paths(&known).chain([tools.join("bin")])).unwrap()
}

/// One ban of `deny.toml`.
struct Ban {
    krate: String,
    reason: String,
    /// Who may depend on it all the same.
    wrappers: Vec<String>,
}

fn deny_toml() -> toml::Table {
    std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

fn bans() -> Vec<Ban> {
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let deny = deny_toml()["bans"]["deny"].as_array().unwrap().clone();
    let ban = |ban: &toml::Value| Ban {
        krate: text(&ban["crate"]),
        reason: text(&ban["reason"]),
        wrappers: ban
            .get("wrappers")
            .map_or_else(Vec::new, |w| w.as_array().unwrap().iter().map(text).collect()),
    };
    deny.iter().map(ban).collect()
}

#[test]
fn every_ban_of_deny_toml_complains_with_its_reason_when_it_is_broken() {
    let bans = bans();
    assert!(bans.len() >= 10, "the list is read");
    let stubs = Stubs::new();
    bans.iter().for_each(|ban| stubs.plain(&ban.krate, []));
    // A pure crate, which is nobody's exception.
    stubs.plain("mexe-policy", bans.iter().map(|ban| ban.krate.as_str()));
    stubs.members(&["mexe-policy"]);
    let mut errors = stubs.errors("bans");
    for ban in &bans {
        assert!(!ban.wrappers.iter().any(|name| name == "mexe-policy"), "{}", ban.krate);
        let told = errors.remove(&format!("banned {}", ban.krate));
        let told = told.unwrap_or_else(|| panic!("the ban of `{}` never complains", ban.krate));
        assert!(told.contains(&ban.reason), "{told}");
    }
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn an_exception_of_a_ban_is_for_whom_it_names_and_for_nobody_else() {
    for ban in bans().iter().filter(|ban| !ban.wrappers.is_empty()) {
        let stubs = Stubs::new();
        let members: Vec<&str> = ban.wrappers.iter().map(String::as_str).collect();
        stubs.plain(&ban.krate, []);
        // Each of them is allowed, unless another ban is about it.
        members.iter().for_each(|name| stubs.plain(name, [ban.krate.as_str()]));
        stubs.members(&members);
        let errors = stubs.errors("bans");
        assert!(!errors.contains_key(&format!("banned {}", ban.krate)), "{errors:?}");
        // One more, and the same crates are an error.
        stubs.plain("mexe-wire", [ban.krate.as_str()]);
        stubs.members(&[&members[..], &["mexe-wire"]].concat());
        let errors = stubs.errors("bans");
        assert!(errors.contains_key(&format!("banned {}", ban.krate)), "{errors:?}");
    }
}

#[test]
fn a_dependency_of_any_version_is_named() {
    let stubs = Stubs::new();
    stubs.plain("other", []);
    stubs.krate("mexe-policy", PRIVATE, "other = { path = \"../other\" }");
    stubs.members(&["mexe-policy"]);
    assert_eq!(stubs.errors("bans"), Errors::new(), "inside the workspace that is in order");
    stubs.krate("mexe-policy", "license = \"MIT\"", "other = { path = \"../other\" }");
    assert_eq!(stubs.errors("bans").keys().collect::<Vec<_>>(), ["wildcard mexe-policy"]);
}

#[test]
fn a_licence_that_is_not_listed_is_named_and_every_listed_one_passes() {
    let listed = deny_toml()["licenses"]["allow"].as_array().unwrap().clone();
    let licences: Vec<&str> = listed.iter().map(|licence| licence.as_str().unwrap()).collect();
    let stubs = Stubs::new();
    let names: Vec<String> = (0..licences.len()).map(|number| format!("good-{number}")).collect();
    for (name, licence) in names.iter().zip(&licences) {
        stubs.krate(name, &format!("license = \"{licence}\""), "");
    }
    stubs.plain("mexe-policy", names.iter().map(String::as_str));
    stubs.members(&["mexe-policy"]);
    assert_eq!(stubs.errors("licenses"), Errors::new());
    for licence in ["GPL-3.0-only", "AGPL-3.0-or-later", "LGPL-2.1-only", "SSPL-1.0", "MIT AND GPL-2.0-only"]
    {
        stubs.krate("bad", &format!("license = \"{licence}\""), "");
        stubs.plain("mexe-policy", ["bad"]);
        assert_eq!(stubs.errors("licenses").keys().collect::<Vec<_>>(), ["rejected bad"], "{licence}");
    }
    stubs.krate("bad", "", "");
    assert_eq!(stubs.errors("licenses").keys().collect::<Vec<_>>(), ["unlicensed bad"]);
}

#[test]
fn a_dependency_from_a_repository_is_named() {
    let stubs = Stubs::new();
    stubs.krate("elsewhere", PRIVATE, "");
    let repository = stubs.path("elsewhere").display().to_string();
    let git = |arguments: &[&str]| {
        let who = ["-C", &repository, "-c", "user.name=a", "-c", "user.email=a@example.org"];
        stubs.run("git", &[&who[..], arguments].concat());
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--no-gpg-sign", "--message", "all"]);
    let dependency = format!("elsewhere = {{ git = \"file://{repository}\", version = \"1\" }}");
    stubs.krate("mexe-policy", PRIVATE, &dependency);
    stubs.members(&["mexe-policy"]);
    stubs.run("cargo", &["fetch", "--quiet"]);
    assert_eq!(stubs.errors("sources").keys().collect::<Vec<_>>(), ["source-not-allowed elsewhere"]);
}
