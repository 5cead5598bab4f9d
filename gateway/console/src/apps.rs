//! Installed apps: who vouches for each, by which chain, what runs of it are there, and what it may do.

use askama::Template;
use mexe_model::{AppId, RunId};
use serde::Deserialize;

use crate::foreign::Foreign;
use crate::grants::Grant;
use crate::words::{Domain, counted, permission, reason};

/// One app, as `/v1/apps` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct App {
    /// Its id.
    pub id: AppId,
    #[serde(default)]
    name: Foreign,
    #[serde(default)]
    version: Foreign,
    #[serde(default)]
    domain: Domain,
    #[serde(default)]
    state: Foreign,
    reason: Option<Foreign>,
    #[serde(default)]
    digest: Foreign,
    #[serde(default)]
    format: Foreign,
    #[serde(default)]
    legacy: bool,
    restricted_to: Option<Vec<Foreign>>,
    qos_profile: Option<Foreign>,
    #[serde(default)]
    installed_at: Foreign,
    #[serde(default)]
    signers: Vec<Signer>,
    #[serde(default)]
    requested: Vec<Foreign>,
    stated_reason: Option<Foreign>,
}

/// Who signed it, with the chain.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Signer {
    #[serde(default)]
    pub(crate) subject: Foreign,
    #[serde(default)]
    digest: Foreign,
    #[serde(default)]
    signature: Foreign,
    #[serde(default)]
    chain: Vec<Certificate>,
}

/// One certificate of a chain.
#[derive(Clone, Debug, Default, Deserialize)]
struct Certificate {
    #[serde(default)]
    subject: Foreign,
    #[serde(default)]
    serial: Foreign,
    #[serde(default)]
    not_after: Foreign,
    #[serde(default)]
    sha256: Foreign,
}

/// One execution, as `/v1/runs` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    id: RunId,
    app: AppId,
    #[serde(default)]
    binding: Foreign,
    #[serde(default)]
    started_at: Foreign,
    process: Option<u32>,
    #[serde(default)]
    connections: usize,
}

/// One app with what runs of it and what it may do.
struct Card {
    app: App,
    runs: Vec<Run>,
    grants: Vec<Grant>,
}

impl Card {
    /// Names of signers that nobody vouches for are never shown.
    fn signers(&self) -> &[Signer] {
        if self.app.domain.is_vouched_for() { &self.app.signers } else { &[] }
    }

    fn is_suspended(&self) -> bool {
        self.app.state.raw() == "suspended"
    }

    /// Why nobody vouches for it.
    fn unvouched(&self) -> Option<&Foreign> {
        self.app.reason.as_ref().filter(|_| !self.is_suspended())
    }

    fn called(&self) -> Foreign {
        if self.app.name.is_empty() { Foreign::new(self.app.id.as_str()) } else { self.app.name.clone() }
    }
}

/// The page of apps.
#[derive(Template)]
#[template(path = "apps.html")]
pub struct Apps {
    cards: Vec<Card>,
    /// The largest package that is taken, bytes.
    most: u64,
}

impl Apps {
    /// Of these apps, each with its runs and grants; a package may have `most` bytes.
    pub fn of(apps: Vec<App>, runs: &[Run], grants: &[Grant], most: u64) -> Self {
        let card = |app: App| Card {
            runs: runs.iter().filter(|run| run.app == app.id).cloned().collect(),
            grants: grants.iter().filter(|grant| grant.app == app.id).cloned().collect(),
            app,
        };
        Self { cards: apps.into_iter().map(card).collect(), most }
    }
}
