//! What the user has permitted, and the form that permits more.

use askama::Template;
use mexe_model::{AppId, GrantId, Permission, RunId};
use serde::Deserialize;

use crate::apps::App;
use crate::foreign::Foreign;
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
}

impl Grant {
    /// Where to.
    pub(crate) fn to(&self) -> Foreign {
        self.target.clone().unwrap_or_else(|| Foreign::new("any public address"))
    }
}

/// The page of grants.
#[derive(Template)]
#[template(path = "grants.html")]
pub struct Grants {
    grants: Vec<Grant>,
    apps: Vec<App>,
}

impl Grants {
    /// Of these grants, with the apps that one can be given to.
    pub fn of(grants: Vec<Grant>, apps: Vec<App>) -> Self {
        Self { grants, apps }
    }
}
