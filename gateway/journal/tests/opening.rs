//! Opening: what must not be opened is refused in one clear line, and stays as it was to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{World, allowed, wait};
use mexe_journal::{Filter, Journal, JournalError, Options, VerifyError, query, verify};

fn refused(dir: &Path) -> JournalError {
    let refused = Journal::open(dir, Options::default()).unwrap_err();
    let text = refused.to_string();
    assert!(!text.contains('\n') && !text.ends_with('.') && text.contains('`'), "{text}");
    refused
}

#[test]
fn a_new_state_directory_is_for_its_owner_only() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("a/b");
    let (journal, loaded) = Journal::open(&dir, Options::default()).unwrap();
    assert!(loaded.apps.is_empty() && loaded.grants.is_empty() && loaded.roots.is_empty());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
    drop(journal);
    assert!(!dir.join("mexegate.db-wal").exists(), "a journal that was closed is one file");
}

#[test]
fn garbage_and_other_databases_are_refused_and_left_alone() {
    let other = |path: &Path| {
        let conn = rusqlite::Connection::open(path).unwrap();
        conn.execute_batch("CREATE TABLE songs (title TEXT); PRAGMA application_id = 7").unwrap();
    };
    let same_size = |path: &Path| std::fs::write(path, vec![0x5a; 8192]).unwrap();
    let short = |path: &Path| std::fs::write(path, b"garbage").unwrap();
    let makers: [&dyn Fn(&Path); 3] = [&other, &same_size, &short];
    for make in makers {
        let world = World::new();
        make(&world.database());
        let before = std::fs::read(world.database()).unwrap();
        assert!(matches!(refused(world.path()), JournalError::NotADatabase { .. }));
        assert!(matches!(query(world.path(), &Filter::default()), Err(JournalError::NotADatabase { .. })));
        let unreadable = verify(world.path());
        assert!(matches!(unreadable, Err(VerifyError::Unreadable(JournalError::NotADatabase { .. }))));
        assert_eq!(std::fs::read(world.database()).unwrap(), before);
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let world = World::with_records(4);
    world.sql("PRAGMA user_version = 99");
    let before = std::fs::read(world.database()).unwrap();
    assert!(matches!(refused(world.path()), JournalError::Newer { found: 99, .. }));
    assert!(matches!(query(world.path(), &Filter::default()), Err(JournalError::Newer { found: 99, .. })));
    assert_eq!(std::fs::read(world.database()).unwrap(), before);
}

#[test]
fn a_second_gate_is_told_which_process_holds_the_state_directory() {
    let world = World::new();
    let (journal, _) = world.open();
    let text = refused(world.path()).to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    wait(journal.record(allowed(1))).unwrap();
    drop(journal);
    world.open();
}

#[test]
fn the_lock_goes_with_the_last_handle_only() {
    let world = World::new();
    let (journal, _) = world.open();
    let clone = journal.clone();
    drop(journal);
    assert!(matches!(refused(world.path()), JournalError::Locked { .. }));
    drop(clone);
    world.open();
}

#[test]
fn a_key_that_is_not_the_journals_is_refused() {
    let (world, other) = (World::with_records(4), World::with_records(4));
    let key = world.path().join("journal.key");
    let own = std::fs::read(&key).unwrap();
    std::fs::copy(other.path().join("journal.key"), &key).unwrap();
    assert!(matches!(refused(world.path()), JournalError::KeyForeign { .. }));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(refused(world.path()), JournalError::KeyForeign { .. }));
    std::fs::write(&key, &own).unwrap();
    let (_, loaded) = world.open();
    assert_eq!(loaded.head.seq, 4);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_and_can_still_be_read() {
    let world = World::with_records(4);
    let Some(_mounted) = read_only(world.path()) else {
        eprintln!(
            "not run: neither a read-only mount nor a directory without write permission can be had here"
        );
        return;
    };
    assert!(matches!(refused(world.path()), JournalError::Io { .. }));
    assert_eq!(query(world.path(), &Filter::default()).unwrap().len(), 4);
    assert_eq!(verify(world.path()).unwrap().records, 4);
}

/// Makes a directory read-only, also for root, until the answer is dropped.
fn read_only(dir: &Path) -> Option<impl Drop> {
    struct Undo(std::path::PathBuf, bool);
    impl Drop for Undo {
        fn drop(&mut self) {
            if self.1 {
                let _ = std::process::Command::new("umount").arg(&self.0).status();
            } else {
                std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(0o700)).unwrap();
            }
        }
    }
    if !rustix::process::geteuid().is_root() {
        // SQLite's lock file is there from before; only the directory is closed.
        std::fs::remove_file(dir.join("mexegate.lock")).unwrap();
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o500)).unwrap();
        return Some(Undo(dir.to_owned(), false));
    }
    let mount = |args: &[&str]| {
        std::process::Command::new("mount")
            .args(args)
            .arg(dir)
            .arg(dir)
            .status()
            .is_ok_and(|status| status.success())
    };
    if !mount(&["--bind"]) {
        return None;
    }
    let remounted = std::process::Command::new("mount").args(["-o", "remount,bind,ro"]).arg(dir).status();
    let undo = Undo(dir.to_owned(), true);
    remounted.is_ok_and(|status| status.success()).then_some(undo)
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let world = World::new();
    assert!(matches!(query(world.path(), &Filter::default()), Err(JournalError::Missing { .. })));
    assert!(matches!(verify(world.path()), Err(VerifyError::Unreadable(JournalError::Missing { .. }))));
    std::fs::write(world.path().join("file"), b"").unwrap();
    assert!(matches!(refused(&world.path().join("file/state")), JournalError::Io { .. }));
}

#[test]
fn a_damaged_page_is_told_and_not_opened() {
    let world = World::with_records(2000);
    let mut bytes = std::fs::read(world.database()).unwrap();
    // The first page of the schema stays whole; those after it are overwritten.
    for byte in bytes.iter_mut().skip(4096) {
        *byte = 0xff;
    }
    std::fs::write(world.database(), &bytes).unwrap();
    assert!(matches!(refused(world.path()), JournalError::Damaged { .. }));
    assert!(verify(world.path()).is_err());
}
