//! Why the policy does not say yes, as far as it makes a difference for a flow.

use mexe_model::Reason;
use mexe_policy::Rule;

/// Why not, as far as the policy alone can tell.
pub(super) enum No {
    /// Nobody has permitted it, and nobody has forbidden it.
    Unanswered(Rule),
    /// It is not to be.
    Refused(Reason),
}

impl No {
    /// Why not, when nobody is asked.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Unanswered(rule) => rule.reason_unanswered(),
            Self::Refused(reason) => *reason,
        }
    }
}

impl From<Reason> for No {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}
