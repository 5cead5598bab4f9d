//! Apps made of a test's own program: a shell script as a native package, or Java source as a JAR, signed for a domain
//! and installed.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use mexe_forge::jar::JarBuilder;
use mexe_model::SecurityDomain;

use crate::Rig;
use crate::cli::Output;

/// The domain of every app made here.
pub const DOMAIN: SecurityDomain = SecurityDomain::ThirdParty;

/// A native package of that name whose program is the script; [`install`] it, or add attributes first.
pub fn native(name: &str, script: &str) -> JarBuilder {
    JarBuilder::new()
        .attribute("MExE-Name", name)
        .attribute("MExE-Version", "1.0")
        .attribute("MExE-Runtime", "native")
        .attribute("MExE-Executable", "bin/app.sh")
        .entry("bin/app.sh", format!("#!/bin/sh\n{script}\n"))
}

/// A JAR of that name with the class `Main`, compiled from source.
///
/// # Panics
/// When there is no JDK, or the source is wrong.
pub fn jar(rig: &Rig, name: &str, source: &str) -> JarBuilder {
    let folder = rig.folder().join(format!("java-{name}"));
    fs::create_dir(&folder).expect("the rig's folder can be written");
    let file = folder.join("Main.java");
    fs::write(&file, source).expect("the rig's folder can be written");
    Output::of(Command::new("javac").arg("-d").arg(&folder).arg(&file)).ended(0);
    let mut jar = JarBuilder::new()
        .attribute("MExE-Name", name)
        .attribute("MExE-Version", "1.0")
        .attribute("Main-Class", "Main");
    for entry in fs::read_dir(&folder).expect("a folder of ours").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "class") {
            let name = path.file_name().and_then(OsStr::to_str).expect("a class has a plain name");
            jar = jar.entry(name, fs::read(&path).expect("a class that was just compiled"));
        }
    }
    jar
}

/// Signs a package for [`DOMAIN`], installs it, and gives the app's id.
///
/// # Panics
/// When the gate refuses it.
#[track_caller]
pub fn install(rig: &Rig, package: &JarBuilder) -> String {
    install_for(rig, package, Some(DOMAIN))
}

/// As [`install`], for another domain or none.
///
/// # Panics
/// When the gate refuses it.
#[track_caller]
pub fn install_for(rig: &Rig, package: &JarBuilder, domain: Option<SecurityDomain>) -> String {
    let file = rig.packages().sign("own", package, domain);
    install_file(rig, &file)
}

/// Installs a package file and gives the app's id.
///
/// # Panics
/// When the gate refuses it.
#[track_caller]
pub fn install_file(rig: &Rig, file: &Path) -> String {
    let installed = rig.json([OsStr::new("app"), OsStr::new("install"), file.as_os_str()]);
    installed["id"].as_str().expect("an installed app has an id").to_owned()
}

/// Runs a verb with that on its standard input.
///
/// # Panics
/// When it cannot be started.
pub fn with_input<A: AsRef<OsStr>>(rig: &Rig, arguments: impl IntoIterator<Item = A>, input: &str) -> Output {
    let mut command = rig.command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the gate's binary can be started");
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    // A program that does not read its input is not the writer's fault.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("our own child");
    Output::from(output)
}
