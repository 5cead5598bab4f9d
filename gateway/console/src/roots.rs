//! Whom the device trusts, and who may change that.

use askama::Template;
use serde::Deserialize;

use crate::foreign::{Foreign, Word};
use crate::words::Domain;

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

    fn can_be_disabled(&self) -> bool {
        self.is_the_users() && self.state.as_str() == "enabled"
    }
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
}

impl Roots {
    /// Of these roots and that administrator.
    pub fn of(roots: Vec<Root>, administrator: Administrator) -> Self {
        Self { administrator, roots }
    }
}
