//! Whom the device trusts, what is revoked, and who may change that.

use askama::Template;
use mexe_model::WallTime;
use serde::Deserialize;

use crate::foreign::{Foreign, Word};
use crate::words::{Domain, counted};

/// One root, as `/v1/roots` shows it, or what was wrong with one.
#[derive(Clone, Debug, Deserialize)]
pub struct Root {
    id: Option<Word>,
    kind: Option<Foreign>,
    #[serde(default)]
    domain: Domain,
    state: Word,
    provenance: Option<Foreign>,
    subject: Option<Foreign>,
    not_after: Option<Foreign>,
    #[serde(default)]
    source: Foreign,
    problem: Option<Foreign>,
}

impl Root {
    fn called(&self) -> &Foreign {
        self.subject.as_ref().unwrap_or(&self.source)
    }

    fn is_of(&self, kind: &str) -> bool {
        self.kind.as_ref().is_some_and(|own| own.raw() == kind)
    }

    /// The manufacturer's and the administrator's are not the user's to switch.
    fn is_the_users(&self) -> bool {
        !self.is_of("manufacturer") && !self.is_of("administrator")
    }

    fn can_be_enabled(&self) -> bool {
        self.is_the_users() && matches!(self.state.as_str(), "disabled" | "not-enabled")
            || self.state.as_str() == "unaccepted"
    }

    /// Only what the user added.
    fn can_be_removed(&self) -> bool {
        let of_the_user = self.provenance.as_ref().is_some_and(|provenance| provenance.raw() == "user");
        self.is_the_users() && of_the_user
    }

    fn can_be_disabled(&self) -> bool {
        self.is_the_users() && self.state.as_str() == "enabled"
    }
}

/// One revocation list, as `/v1/lists` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct List {
    #[serde(default)]
    issuer: Foreign,
    #[serde(default)]
    number: Foreign,
    state: Word,
    #[serde(default)]
    this_update: Foreign,
    #[serde(default)]
    next_update: Foreign,
    #[serde(default)]
    entries: usize,
    #[serde(default)]
    source: Foreign,
}

impl List {
    /// What the user should know of its age.
    fn warns(&self) -> Option<&'static str> {
        match self.state.as_str() {
            "current" => None,
            "stale" => Some(
                "Its issuer should have sent a newer one. What it revoked stays revoked; under strict rules nothing else of \
                 that issuer counts either.",
            ),
            "future" => Some("It is from the future, and does not count yet."),
            _ => Some("It does not count."),
        }
    }
}

/// How large a file may be that the gate takes in, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Largest {
    /// A certificate.
    pub certificate: u64,
    /// A revocation list.
    pub list: u64,
    /// An administrator's message.
    pub message: u64,
}

/// Who administers the third party domain, as `/v1/administrator` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Administrator {
    administrator: Foreign,
    why: Option<Foreign>,
    device: Option<Foreign>,
    key: Option<Foreign>,
    #[serde(default)]
    overdue: bool,
    offered: Option<Offered>,
    configuration: Option<Configuration>,
}

/// What the administrator's messages have made so far.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Configuration {
    sequence: u64,
    next_update: Option<WallTime>,
    #[serde(default)]
    enabled: Vec<Foreign>,
    #[serde(default)]
    disabled: Vec<Foreign>,
}

#[derive(Clone, Debug, Deserialize)]
struct Offered {
    #[serde(default)]
    iccid: Foreign,
    #[serde(default)]
    key: Foreign,
}

impl Administrator {
    fn says(&self) -> &'static str {
        match self.administrator.raw() {
            "user" => "You administer the third party domain: you decide which third party roots count.",
            "card" => {
                "The holder of the key on the card administers the third party domain, by its messages."
            }
            _ => "The holder of the key on this device administers the third party domain, by its messages.",
        }
    }
}

/// The page of roots.
#[derive(Template)]
#[template(path = "roots.html")]
pub struct Roots {
    administrator: Administrator,
    roots: Vec<Root>,
    lists: Vec<List>,
    largest: Largest,
}

impl Roots {
    /// Of these roots and lists and that administrator.
    pub fn of(roots: Vec<Root>, lists: Vec<List>, administrator: Administrator, largest: Largest) -> Self {
        Self { administrator, roots, lists, largest }
    }
}
