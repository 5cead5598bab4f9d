//! The signed JARs that the packages of this machine happen to ship, signed by people we do not know with tools of their
//! time: what jarsigner verifies with every entry signed is never refused here for broken content. Where there is none, or no
//! jarsigner, the test says so and passes. `MEXEGATE_SIGNED_JARS` names another folder to look in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests that run outside tools"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mexe_certs::{Evidence, Limits, TrustStore};
use mexe_model::Reason;
use support::AT;

/// What is wrong with the package itself, whoever signed it.
const BROKEN: [Reason; 9] = [
    Reason::ContainerMalformed,
    Reason::DuplicateEntry,
    Reason::EntryChanged,
    Reason::EntryMissing,
    Reason::EntryUnsigned,
    Reason::ManifestMalformed,
    Reason::PackageTooLarge,
    Reason::SignatureMalformed,
    Reason::SignatureWrong,
];

/// Every `*.jar` below the folder; links are not followed.
fn jars(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
            jars(&path, found);
        } else if kind.is_ok_and(|k| k.is_file()) && path.extension().is_some_and(|e| e == "jar") {
            found.push(path);
        }
    }
}

/// Whether jarsigner verifies it and finds nothing that is not signed.
fn jarsigner_verifies(jar: &Path) -> Option<bool> {
    let mut command = Command::new("jarsigner");
    command
        .args(["-verify"])
        .arg(jar)
        .env("LC_ALL", "C")
        .env_remove("JAVA_TOOL_OPTIONS")
        .stdin(Stdio::null());
    let output = command.output().ok()?;
    let says = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(output.status.success() && says.contains("jar verified.") && !says.contains("unsigned entries"))
}

#[test]
fn what_jarsigner_verifies_is_never_refused_for_broken_content() {
    let folders = std::env::var_os("MEXEGATE_SIGNED_JARS")
        .map_or_else(|| ["/usr/lib", "/usr/share", "/opt"].map(PathBuf::from).to_vec(), |f| vec![f.into()]);
    let mut all = Vec::new();
    folders.iter().for_each(|folder| jars(folder, &mut all));
    let store = TrustStore::builder().build();
    let (mut judged, mut verified) = (0, 0);
    for jar in all {
        let Ok(bytes) = fs::read(&jar) else { continue };
        // An unsigned archive has no signature file in its central directory.
        if !bytes.windows(3).any(|w| w == b".SF") {
            continue;
        }
        let size = bytes.len() as u64;
        let reader = std::io::Cursor::new(&bytes);
        let verification = mexe_certs::verify(reader, size, Evidence::Inside, &store, AT, &Limits::default());
        let reason = verification.verdict.reason();
        if reason == Some(Reason::Unsigned) {
            continue;
        }
        judged += 1;
        let Some(theirs) = jarsigner_verifies(&jar) else {
            println!("skipped: no jarsigner");
            return;
        };
        verified += usize::from(theirs);
        println!("{}: {reason:?}, jarsigner: {theirs}", jar.display());
        let broken = reason.is_some_and(|reason| BROKEN.contains(&reason));
        assert!(!(theirs && broken), "{}: {:?}", jar.display(), verification.verdict);
    }
    println!("{judged} signed packages on this machine, jarsigner verifies {verified} of them");
}
