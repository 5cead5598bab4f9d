//! Apps, grants and roots: what is changed is there after a restart, and what cannot be changed is refused alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{World, allowed, app, at, change_record, install, stored_app, stored_grant, wait};
use mexe_journal::{
    AppState, Change, Deadline, Kind, RootKind, RootState, StoredGrant, StoredRoot, StoredSchedule,
};
use mexe_model::{GrantId, Instant, Permission, Reason, RootId, RunId, Trust};

#[test]
fn what_was_changed_is_there_after_a_restart() {
    let world = World::new();
    let (journal, _) = world.open();
    let untrusted = mexe_journal::StoredApp {
        domain: Trust::Untrusted,
        signer_key: None,
        root: None,
        qos_profile: Some("voice".to_owned()),
        state: AppState::Suspended(Reason::CertificateExpired),
        ..stored_app("game")
    };
    let timed = StoredGrant {
        permission: Permission::Session,
        target: None,
        expires_at: Some(at(600_000)),
        deadline: Some(Deadline { boot: "b0".to_owned(), at: Instant::from_nanos(5_000) }),
        ..stored_grant(journal.next_grant_id(), "weather")
    };
    let root = StoredRoot {
        id: RootId::from_digest(&[7; 32]),
        kind: RootKind::ThirdParty,
        state: RootState::Disabled,
        source: "directory".to_owned(),
        subject: "CN=Example Root".to_owned(),
        certificate: Some(vec![1, 2, 3]),
        changed_at: at(1),
    };
    wait(async {
        let (change, record) = install("weather");
        assert_eq!(journal.change(change, record).await, Ok(1));
        journal.change(Change::PutApp(untrusted.clone()), change_record()).await.unwrap();
        journal.change(Change::PutGrant(timed.clone()), change_record()).await.unwrap();
        journal.change(Change::PutRoot(root.clone()), change_record()).await.unwrap();
        let bind = |run| Change::BindGrants { run: RunId(run), grants: vec![timed.id, GrantId(99)] };
        journal.change(bind(4), change_record()).await.unwrap();
        journal.change(bind(5), change_record()).await.unwrap();
    });
    drop(journal);
    let (_, loaded) = world.open();
    assert_eq!(loaded.apps, [untrusted, stored_app("weather")]);
    assert_eq!(loaded.grants, [StoredGrant { runs: vec![RunId(4), RunId(5)], ..timed }]);
    assert_eq!(loaded.roots, [root]);
    let kinds = world.number("SELECT count(*) FROM records WHERE kind = 'change'");
    assert_eq!(kinds, 6);
    assert_eq!(Kind::Change.as_str(), "change");
}

#[test]
fn schedules_keep_what_was_used_and_go_with_their_app() {
    let world = World::new();
    let (journal, _) = world.open();
    let morning = StoredSchedule {
        name: "morning".to_owned(),
        app: app("weather"),
        text: "name = \"morning\"".to_owned(),
        digest: "00".repeat(32),
        grants: vec![journal.next_grant_id(), journal.next_grant_id()],
        signed_off_at: at(5),
        usage: serde_json::json!({ "bytes": 0 }),
    };
    let evening = StoredSchedule { name: "evening".to_owned(), grants: Vec::new(), ..morning.clone() };
    let used = serde_json::json!({ "bytes": 17 });
    let use_of = |name: &str| Change::UseSchedule { name: name.to_owned(), usage: used.clone() };
    wait(async {
        let put = |schedule: &StoredSchedule| Change::PutSchedule(schedule.clone());
        assert!(journal.change(put(&morning), change_record()).await.is_err(), "no such app");
        let (change, record) = install("weather");
        journal.change(change, record).await.unwrap();
        journal.change(put(&morning), change_record()).await.unwrap();
        assert!(journal.change(put(&morning), change_record()).await.is_err(), "the name is taken");
        journal.change(put(&evening), change_record()).await.unwrap();
        journal.change(use_of("morning"), change_record()).await.unwrap();
        journal.change(Change::RemoveSchedule("evening".to_owned()), change_record()).await.unwrap();
        journal.change(Change::RemoveSchedule("evening".to_owned()), change_record()).await.unwrap();
        journal.change(use_of("evening"), change_record()).await.unwrap();
    });
    drop(journal);
    let (journal, loaded) = world.open();
    assert_eq!(loaded.schedules, [StoredSchedule { usage: used, ..morning.clone() }]);
    assert!(loaded.grants.is_empty());
    assert!(!morning.grants.contains(&journal.next_grant_id()), "its ids are never given again");
    wait(async {
        journal.change(Change::RemoveApp(app("weather")), change_record()).await.unwrap();
    });
    drop(journal);
    assert!(world.open().1.schedules.is_empty());
}

#[test]
fn what_was_taken_back_used_or_removed_stays_so() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        for id in ["weather", "game"] {
            let (change, record) = install(id);
            journal.change(change, record).await.unwrap();
        }
        for of in ["weather", "weather", "weather", "game"] {
            let grant = stored_grant(journal.next_grant_id(), of);
            journal.change(Change::PutGrant(grant), change_record()).await.unwrap();
        }
        let revoke = Change::RevokeGrants(vec![GrantId(1), GrantId(77)]);
        journal.change(revoke, change_record()).await.unwrap();
        journal.change(Change::SpendGrant(GrantId(2)), change_record()).await.unwrap();
        // Removing an app takes its grants along; replacing one does not.
        journal.change(Change::RemoveApp(app("game")), change_record()).await.unwrap();
        let (change, record) = install("weather");
        journal.change(change, record).await.unwrap();
        let suspend = Change::SetAppState(app("weather"), AppState::Suspended(Reason::CertificateExpired));
        journal.change(suspend, change_record()).await.unwrap();
    });
    drop(journal);
    let (journal, loaded) = world.open();
    assert_eq!(loaded.apps.iter().map(|app| app.id.as_str()).collect::<Vec<_>>(), ["weather"]);
    assert_eq!(loaded.apps[0].state, AppState::Suspended(Reason::CertificateExpired));
    assert_eq!(loaded.grants.iter().map(|grant| grant.id).collect::<Vec<_>>(), [GrantId(3)]);
    // Ids of grants that are gone are not given again.
    assert_eq!(journal.next_grant_id(), GrantId(5));
}

#[test]
fn a_change_that_does_not_fit_is_refused_and_leaves_nothing_behind() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        let (change, record) = install("weather");
        journal.change(change, record).await.unwrap();
        let grant = stored_grant(journal.next_grant_id(), "weather");
        journal.change(Change::PutGrant(grant.clone()), change_record()).await.unwrap();
        journal.change(Change::SpendGrant(grant.id), change_record()).await.unwrap();
        let again = stored_grant(GrantId(50), "weather");
        let several = Change::Several(vec![Change::PutGrant(again), Change::SpendGrant(grant.id)]);
        for (change, why) in [
            (Change::PutGrant(stored_grant(GrantId(60), "nobody")), "FOREIGN KEY"),
            (Change::PutGrant(grant.clone()), "UNIQUE"),
            (Change::SpendGrant(grant.id), "grant-1 is not there to be used"),
            (Change::SpendGrant(GrantId(61)), "grant-61 is not there to be used"),
            (Change::SetAppState(app("nobody"), AppState::Active), "no app `nobody` is installed"),
            (several, "grant-1 is not there to be used"),
        ] {
            let refused = journal.change(change, change_record()).await.unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        assert!(journal.health().available);
    });
    drop(journal);
    let (_, loaded) = world.open();
    assert_eq!((loaded.grants.len(), loaded.head.seq), (0, 3));
    assert_eq!(world.verify().unwrap().records, 3);
}

#[test]
fn a_refused_change_does_not_take_others_of_the_same_commit_with_it() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        let mut waiting = Vec::new();
        for n in 0..200_u64 {
            let journal = journal.clone();
            waiting.push(tokio::spawn(async move {
                match n % 4 {
                    0 => journal.record(allowed(n)).await,
                    1 => journal.change(Change::SpendGrant(GrantId(n)), change_record()).await,
                    2 => {
                        journal.change(Change::PutApp(stored_app(&format!("app{n}"))), change_record()).await
                    }
                    _ => journal.change(Change::RevokeGrants(vec![]), change_record()).await,
                }
            }));
        }
        for (n, task) in waiting.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().is_ok(), n % 4 != 1, "{n}");
        }
    });
    drop(journal);
    let (_, loaded) = world.open();
    assert_eq!((loaded.apps.len(), loaded.head.seq), (50, 150));
}

#[test]
fn of_many_who_use_the_same_single_grant_exactly_one_may() {
    let world = World::new();
    let (journal, _) = world.open();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let used = runtime.block_on(async {
        let (change, record) = install("weather");
        journal.change(change, record).await.unwrap();
        let grant = stored_grant(journal.next_grant_id(), "weather");
        journal.change(Change::PutGrant(grant.clone()), change_record()).await.unwrap();
        let mut tasks = Vec::new();
        for _ in 0..32 {
            let journal = journal.clone();
            tasks.push(tokio::spawn(async move {
                journal.change(Change::SpendGrant(GrantId(1)), allowed(1)).await
            }));
        }
        let mut used = 0;
        for task in tasks {
            used += u32::from(task.await.unwrap().is_ok());
        }
        used
    });
    assert_eq!(used, 1);
}

#[test]
fn a_stored_word_that_no_gate_writes_is_told_and_nothing_is_opened() {
    let world = World::with_records(2);
    world.sql(
        "INSERT INTO apps (id, name, version, domain, digest, facts, file, installed_at) \
         VALUES ('weather', '', '', 'king', '', '{}', '', 0)",
    );
    let refused = mexe_journal::Journal::open(world.path(), world.options.clone()).unwrap_err().to_string();
    assert!(refused.contains("is damaged: `king` is not one of the journal's words"), "{refused}");
}
