//! What a pure crate's clippy.toml has to forbid, and that a crate takes the workspace's lints. Read as TOML, so that a
//! line that is commented out does not count.

use toml::{Table, Value};

const METHODS: &[&str] = &[
    "std::env::var",
    "std::env::var_os",
    "std::fs::File::create",
    "std::fs::File::open",
    "std::fs::read",
    "std::fs::read_dir",
    "std::fs::read_to_string",
    "std::fs::write",
    "std::process::Command::new",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
];

const TYPES: &[&str] = &[
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// The bans that are missing.
pub fn complete(krate: &str, clippy_toml: &str) -> Vec<String> {
    let table: Table = match clippy_toml.parse() {
        Ok(table) => table,
        Err(error) => return vec![format!("clippy.toml of `{krate}`: {error}")],
    };
    let mut breaches = Vec::new();
    for (key, wanted) in [("disallowed-methods", METHODS), ("disallowed-types", TYPES)] {
        let entries = table.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let banned = |path: &str| {
            entries.iter().any(|entry| entry.as_str().or_else(|| entry.get("path")?.as_str()) == Some(path))
        };
        breaches.extend(
            wanted
                .iter()
                .filter(|path| !banned(path))
                .map(|path| format!("clippy.toml of `{krate}` does not ban `{path}`")),
        );
    }
    breaches
}

/// Says so when the manifest does not take the workspace's lints.
pub fn inherits_lints(krate: &str, manifest: &str) -> Vec<String> {
    let inherits = manifest
        .parse::<Table>()
        .ok()
        .and_then(|table| table.get("lints")?.get("workspace")?.as_bool())
        .unwrap_or_default();
    if inherits {
        Vec::new()
    } else {
        vec![format!("Cargo.toml of `{krate}` has no `[lints] workspace = true`")]
    }
}
