//! Which crate of the workspace may depend on which, and what the pure ones may never reach. The floors are model (and inflate,
//! which knows nobody), then the engines (certs, qos, policy, wire), then the edges (card, relay, journal, console), then the
//! service.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::Workspace;

/// The crates that take bytes, events and a time in and give verdicts out.
pub const PURE: &[&str] =
    &["mexe-certs", "mexe-console", "mexe-inflate", "mexe-model", "mexe-policy", "mexe-qos", "mexe-wire"];

/// What none of them may reach through normal dependencies.
const IO: &[&str] = &[
    "async-std",
    "axum",
    "hyper",
    "mio",
    "pcsc",
    "quinn",
    "rusqlite",
    "rustix",
    "smol",
    "socket2",
    "tokio",
    "tokio-serial",
    "tokio-util",
];

/// Packages that exactly one member may name.
const OWNED: &[(&str, &str)] =
    &[("rcgen", "mexe-forge"), ("rusqlite", "mexe-journal"), ("rustls-webpki", "mexe-certs")];

/// Member and which members its code may use. The three engines (certs, qos, policy) never import each other.
fn plan() -> BTreeMap<&'static str, &'static [&'static str]> {
    const MODEL: &[&str] = &["mexe-model"];
    const ENGINES: &[&str] = &["mexe-model", "mexe-certs", "mexe-policy", "mexe-qos", "mexe-wire"];
    BTreeMap::from([
        ("mexe-model", &[] as &[&str]),
        ("mexe-inflate", &[]),
        ("mexe-certs", &["mexe-inflate", "mexe-model"]),
        ("mexe-policy", MODEL),
        ("mexe-qos", MODEL),
        ("mexe-wire", MODEL),
        ("mexe-forge", &["mexe-model", "mexe-certs"]),
        ("mexe-card", &["mexe-model", "mexe-certs", "mexe-wire"]),
        ("mexe-relay", ENGINES),
        ("mexe-journal", ENGINES),
        ("mexe-console", MODEL),
        (
            "mexegate",
            &[
                "mexe-model",
                "mexe-certs",
                "mexe-policy",
                "mexe-qos",
                "mexe-wire",
                "mexe-forge",
                "mexe-card",
                "mexe-relay",
                "mexe-journal",
                "mexe-console",
            ],
        ),
        ("mexe-tests", &["*"]),
    ])
}

/// Every direct dependency between members is in the plan, and every member is.
pub fn members_point_down(workspace: &Workspace) -> Vec<String> {
    let plan = plan();
    let mut breaches = Vec::new();
    for (name, member) in &workspace.members {
        let Some(allowed) = plan.get(name.as_str()) else {
            breaches.push(format!(
                "`{name}` has no place in the plan: give it one in tests/architecture/arrows.rs"
            ));
            continue;
        };
        for used in member.direct.iter().filter(|used| workspace.members.contains_key(*used)) {
            if !allowed.contains(&"*") && !allowed.contains(&used.as_str()) {
                breaches.push(format!("`{name}` depends on `{used}`, which stands above it or beside it"));
            }
        }
    }
    breaches
}

/// No normal dependency of a pure crate, however far, does I/O.
pub fn pure_crates_reach_no_io(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for krate in PURE {
        if !workspace.normal.contains_key(*krate) {
            breaches.push(format!("`{krate}` is not in the dependency graph: is it still called so?"));
        }
        let mut seen = BTreeSet::new();
        let mut paths = vec![vec![(*krate).to_owned()]];
        while let Some(path) = paths.pop() {
            for next in workspace.normal.get(path.last().unwrap()).into_iter().flatten() {
                if !seen.insert(next.clone()) {
                    continue;
                }
                let mut longer = path.clone();
                longer.push(next.clone());
                if IO.contains(&next.as_str()) {
                    breaches.push(format!("a pure crate reaches I/O: {}", longer.join(" -> ")));
                }
                paths.push(longer);
            }
        }
    }
    breaches
}

/// `webpki`, `rcgen` and `rusqlite` each stand in one manifest only, tests aside.
pub fn owners_are_alone(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for (package, owner) in OWNED {
        for (name, member) in &workspace.members {
            let named =
                member.direct.contains(*package) || (member.dev.contains(*package) && *package == "rcgen");
            if named && name != owner {
                breaches.push(format!("`{name}` names `{package}`, which only `{owner}` may"));
            }
        }
    }
    breaches
}
