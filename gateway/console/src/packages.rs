//! A package that was just judged: what it is, who vouches for it and what it asks for. Either it was fetched and waits for the
//! user's word, or it came as a file, and is installed after that word.

use askama::Template;
use serde::Deserialize;

use crate::apps::Signer;
use crate::foreign::Foreign;
use crate::words::{Domain, reason};

/// A package and its verdict, as `POST /v1/fetches` and `POST /v1/apps` show it.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    #[serde(default)]
    id: Id,
    #[serde(default)]
    name: Foreign,
    #[serde(default)]
    version: Foreign,
    #[serde(default)]
    domain: Domain,
    reason: Option<Foreign>,
    #[serde(default)]
    legacy: bool,
    restricted_to: Option<Vec<Foreign>>,
    qos_profile: Option<Foreign>,
    stated_reason: Option<Foreign>,
    #[serde(default)]
    requested: Vec<Foreign>,
    #[serde(default)]
    digest: Foreign,
    #[serde(default)]
    signers: Vec<Signer>,
    /// Where it was fetched from.
    url: Option<Foreign>,
    file: Option<Foreign>,
    /// The id that it would go by, while it is not installed.
    installs_as: Option<Foreign>,
    /// The version that it would replace.
    replaces: Option<Foreign>,
    keeps_grants: Option<bool>,
}

/// A number while it waits; the app's id once it is installed.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Waiting(u64),
    Installed(Foreign),
}

impl Default for Id {
    fn default() -> Self {
        Self::Installed(Foreign::default())
    }
}

impl Package {
    fn waiting(&self) -> Option<u64> {
        match self.id {
            Id::Waiting(number) => Some(number),
            Id::Installed(_) => None,
        }
    }

    /// Judged, and nothing more: the user may still want it.
    fn is_only_judged(&self) -> bool {
        self.installs_as.is_some() && self.waiting().is_none()
    }

    fn drops_grants(&self) -> bool {
        self.keeps_grants == Some(false)
    }

    fn called(&self) -> Foreign {
        let id = match &self.id {
            Id::Installed(id) => id.clone(),
            Id::Waiting(_) => self.file.clone().unwrap_or_default(),
        };
        [self.name.clone(), id]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_else(|| Foreign::new("It"))
    }

    /// Names of signers that nobody vouches for are never shown.
    fn signers(&self) -> &[Signer] {
        if self.domain.is_vouched_for() { &self.signers } else { &[] }
    }
}

/// What is shown of it.
#[derive(Template)]
#[template(path = "package.html")]
pub struct Judged {
    package: Package,
}

impl Judged {
    /// Of that package.
    pub fn of(package: Package) -> Self {
        Self { package }
    }
}
