//! What the user has permitted, and the form that permits more.

use askama::Template;
use mexe_model::{AppId, GrantId, Permission, RunId};
use serde::Deserialize;

use crate::apps::App;
use crate::foreign::{Foreign, Word};
use crate::words::{Seconds, permission};

/// One grant, as `/v1/grants` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Grant {
    pub(crate) id: GrantId,
    pub(crate) app: AppId,
    pub(crate) action: Option<Foreign>,
    target: Option<Foreign>,
    pub(crate) permission: Permission,
    #[serde(default)]
    granted_at: Foreign,
    expires_in_seconds: Option<Seconds>,
    runs: Option<Vec<RunId>>,
    /// The schedule that it is a part of.
    schedule: Option<Foreign>,
}

impl Grant {
    /// Where to.
    pub(crate) fn to(&self) -> Foreign {
        self.target.clone().unwrap_or_else(|| Foreign::new("any public address"))
    }
}

/// One event schedule, as `/v1/schedules` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Schedule {
    name: Word,
    app: AppId,
    sentences: Vec<Foreign>,
    state: Word,
    #[serde(default)]
    signed_off_at: Foreign,
    left: Option<Left>,
}

/// What is left of a schedule; none is no limit.
#[derive(Clone, Debug, Deserialize)]
struct Left {
    bytes: Option<u64>,
    events: Option<u64>,
    seconds: Option<Seconds>,
}

/// The page of grants.
#[derive(Template)]
#[template(path = "grants.html")]
pub struct Grants {
    grants: Vec<Grant>,
    schedules: Vec<Schedule>,
    apps: Vec<App>,
}

impl Grants {
    /// Of these grants and schedules, with the apps that one can be given to.
    pub fn of(grants: Vec<Grant>, schedules: Vec<Schedule>, apps: Vec<App>) -> Self {
        Self { grants, schedules, apps }
    }
}
