//! Where the gate's binary is: beside the tests in the target folder, of the profile that they were built with. Built
//! once when it is missing, because a test of one package alone does not build the binary of another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of `mexegate`. `MEXEGATE_BIN` names another one to test.
///
/// # Panics
/// When it is missing and cannot be built.
pub fn mexegate() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("MEXEGATE_BIN") {
            return path.into();
        }
        let folder = profile_folder();
        let path = folder.join("mexegate");
        if !path.exists() {
            build(&folder);
        }
        assert!(path.exists(), "`{}` is missing: run cargo build -p mexegate", path.display());
        path
    })
}

/// `target/<profile>`: where this executable is, without the `deps` or `examples` that tests live in.
fn profile_folder() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let mut folder = own.parent().expect("an executable is in a folder");
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder = folder.parent().expect("deps is in a profile's folder");
    }
    folder.to_owned()
}

fn build(folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "mexegate", "--bin", "mexegate", "--profile", profile])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "cargo build -p mexegate failed");
}
