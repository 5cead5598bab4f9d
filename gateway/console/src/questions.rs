//! What the gate wants to know from its user. A question cannot be forged: what the app says stands in quotes and is
//! called its own words, the user's phrase stands in each, and who signed is said only of an app that verified. That
//! nobody is hurried into an answer is the script's part (`static/questions.js`).

use askama::Template;
use mexe_model::{AppId, Permission, RunId};
use serde::Deserialize;

use crate::foreign::{Foreign, Word};
use crate::words::{Domain, Seconds, counted, permission};

/// One question, as `/v1/prompts` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    id: Word,
    #[serde(default)]
    state: State,
    app: AppId,
    #[serde(default)]
    name: Foreign,
    run: Option<RunId>,
    #[serde(default)]
    action: Foreign,
    #[serde(default)]
    covers: Foreign,
    #[serde(default)]
    target: Foreign,
    #[serde(default)]
    domain: Domain,
    signer: Option<Foreign>,
    binding: Option<Foreign>,
    #[serde(default)]
    legacy: bool,
    #[serde(default)]
    chargeable: bool,
    stated_reason: Option<Foreign>,
    resembles: Option<Foreign>,
    #[serde(default)]
    held: usize,
    #[serde(default)]
    unasked: usize,
    #[serde(default)]
    asked_at: Foreign,
    expires_in_seconds: Option<Seconds>,
    #[serde(default)]
    permissions: Vec<Permission>,
    default: Option<Permission>,
    #[serde(default)]
    scopes: Vec<Scope>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Missed,
    #[default]
    Open,
}

/// How far an answer reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Scope {
    Any,
    Host,
    Target,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Host => "host",
            Self::Target => "target",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Any => "Any address",
            Self::Host => "This host, any port",
            Self::Target => "This target only",
        }
    }
}

impl Question {
    /// Who signed; never of an app that nobody vouches for.
    fn signed_by(&self) -> Option<&Foreign> {
        self.signer.as_ref().filter(|_| self.domain.is_vouched_for())
    }

    fn called(&self) -> &str {
        if self.name.is_empty() { self.app.as_str() } else { self.name.raw() }
    }

    fn title(&self) -> Foreign {
        Foreign::new(self.called())
    }

    fn what(&self) -> &Foreign {
        if self.covers.is_empty() { &self.action } else { &self.covers }
    }

    fn is_default(&self, permission: &Permission) -> bool {
        self.default.as_ref() == Some(permission)
    }

    fn is_from_token(&self) -> bool {
        self.binding.as_ref().is_some_and(|binding| binding.raw() == "token")
    }
}

/// One answer of no that still holds, as `/v1/prompts?denied=true` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Denial {
    id: Word,
    app: AppId,
    #[serde(default)]
    action: Foreign,
    target: Option<Foreign>,
    scope: Scope,
    #[serde(default)]
    effect: Foreign,
    #[serde(default)]
    holds: Foreign,
    expires_in_seconds: Option<Seconds>,
}

impl Denial {
    fn to(&self) -> Foreign {
        if self.effect.raw() == "not-asked" {
            return Foreign::new("anything new: it is kept under Missed");
        }
        match (&self.target, self.scope) {
            (Some(target), Scope::Host) => Foreign::new(format!("{}, any port", target.raw())),
            (Some(target), _) => target.clone(),
            (None, _) => Foreign::new("anywhere"),
        }
    }

    fn how_long(&self) -> String {
        match (self.expires_in_seconds, self.holds.raw()) {
            (Some(left), _) => format!("for {left} more"),
            (None, "always") => "until you say so".to_owned(),
            (None, _) => "while it runs".to_owned(),
        }
    }
}

/// The page of questions.
#[derive(Template)]
#[template(path = "questions.html")]
pub struct Questions {
    phrase: Option<Foreign>,
    open: Vec<Question>,
    missed: Vec<Question>,
    denials: Vec<Denial>,
}

impl Questions {
    /// Of these questions and denials, with the phrase that the user chose.
    pub fn of(questions: Vec<Question>, denials: Vec<Denial>, phrase: Option<Foreign>) -> Self {
        let (open, missed) = questions.into_iter().partition(|question| question.state == State::Open);
        Self { phrase: phrase.filter(|phrase| !phrase.is_empty()), open, missed, denials }
    }
}
