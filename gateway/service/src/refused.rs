//! A refusal with what it is about: the reason's code for programs, one line for people.

use mexe_model::Reason;

use crate::control::problem::Problem;

/// Why an operation of the gate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refused {
    /// The stable reason.
    pub reason: Reason,
    /// What it is about, one line.
    pub detail: String,
}

impl Refused {
    /// A refusal about something in particular.
    pub fn about(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: reason.says().to_owned() }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(refused.reason, refused.detail)
    }
}
