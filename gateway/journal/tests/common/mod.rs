//! What the tests of the journal share: a journal in a directory of its own, and records to put into it.

#![allow(dead_code, unreachable_pub, reason = "not every test file uses all of it")]

use std::future::Future;
use std::path::{Path, PathBuf};

use mexe_journal::{
    AppState, Change, Journal, Loaded, Options, Outcome, Record, StoredApp, StoredGrant, VerifyError,
    VerifyReport, verify,
};
use mexe_model::{AppId, GrantId, Permission, Reason, RunId, SecurityDomain, Trust, WallTime};

/// 2026-11-24T03:04:51Z.
pub const NOW: u64 = 1_795_489_491_000;

/// A journal in a directory that goes when this goes.
pub struct World {
    pub dir: tempfile::TempDir,
    pub options: Options,
}

impl World {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), options: Options::default() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("mexegate.db")
    }

    pub fn open(&self) -> (Journal, Loaded) {
        Journal::open(self.path(), self.options.clone()).unwrap()
    }

    pub fn verify(&self) -> Result<VerifyReport, VerifyError> {
        verify(self.path())
    }

    /// A closed journal with so many records, in several seals.
    pub fn with_records(count: u64) -> Self {
        let world = Self::new();
        for part in 0..2 {
            let (journal, _) = world.open();
            wait(async {
                for n in part * count / 2..(part + 1) * count / 2 {
                    journal.record(allowed(n)).await.unwrap();
                }
            });
            journal.close();
        }
        world
    }

    /// Runs SQL on the database behind the journal's back.
    pub fn sql(&self, sql: &str) {
        let conn = rusqlite::Connection::open(self.database()).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    pub fn number(&self, sql: &str) -> i64 {
        let conn = rusqlite::Connection::open(self.database()).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

/// Runs a future on a runtime of its own.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn app(id: &str) -> AppId {
    id.parse().unwrap()
}

pub fn at(millis: u64) -> WallTime {
    WallTime::from_millis(NOW + millis)
}

/// An allowed connection; `n` tells it from others.
pub fn allowed(n: u64) -> Record {
    Record {
        domain: Some(Trust::Domain(SecurityDomain::ThirdParty)),
        action: Some("network.connect".into()),
        decision: Some(Outcome::Allow),
        grant: Some(GrantId(1)),
        app: Some(app("weather")),
        run: Some(RunId(1)),
        target: Some(format!("host-{n}.example.org:443")),
        ..Record::decision(at(n))
    }
}

/// A refused connection.
pub fn refused(id: &str, target: &str, reason: Reason) -> Record {
    Record {
        domain: Some(Trust::Untrusted),
        action: Some("network.connect".into()),
        decision: Some(Outcome::Deny),
        reason: Some(reason),
        app: Some(app(id)),
        target: Some(target.to_owned()),
        ..Record::decision(at(0))
    }
}

pub fn stored_app(id: &str) -> StoredApp {
    StoredApp {
        id: app(id),
        name: "Weather".to_owned(),
        version: "1.2".to_owned(),
        domain: Trust::Domain(SecurityDomain::ThirdParty),
        digest: "ab".repeat(32),
        signer_key: Some("cd".repeat(32)),
        root: Some("ef".repeat(32).parse().unwrap()),
        qos_profile: None,
        facts: serde_json::json!({ "vendor": "Example" }),
        file: format!("apps/{id}.jar"),
        installed_at: at(0),
        state: AppState::Active,
    }
}

pub fn stored_grant(id: GrantId, of: &str) -> StoredGrant {
    StoredGrant {
        id,
        app: app(of),
        action: "network.connect".to_owned(),
        target: Some("*.example.org:443".to_owned()),
        permission: Permission::Blanket,
        granted_at: at(0),
        expires_at: None,
        deadline: None,
        runs: Vec::new(),
    }
}

pub fn install(id: &str) -> (Change, Record) {
    let record = Record { app: Some(app(id)), ..Record::change(at(0), "app.install") };
    (Change::PutApp(stored_app(id)), record)
}

pub fn change_record() -> Record {
    Record::change(at(0), "grant.change")
}
