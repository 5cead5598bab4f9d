//! Why a bearer gives nothing, or is down: closed sets, each with a stable name. The names are labels of a metric and stand
//! in answers and in the journal.

use mexe_model::Reason;

/// Why a negotiation came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationFault {
    /// The bearer cannot be used now.
    #[error("the bearer is down ({}): {}", .0.code, .0.says)]
    BearerDown(Why),
    /// The bearer does something that it must not be disturbed in, or the place for this is taken.
    #[error("the bearer is busy: {0}; try again")]
    Busy(String),
    /// It cannot be asked for on this bearer.
    #[error("the bearer cannot be asked for this: {0}")]
    NotSupported(String),
    /// The network does not give it.
    #[error("the network does not give it: {0}")]
    NotAccepted(String),
    /// The network would give less than the least that is wanted.
    #[error("the network gives less than the least that is wanted: {0}")]
    TooLittle(String),
    /// Whoever asks may not, by the network's word.
    #[error("the network does not permit it: {0}; see to the subscription")]
    NotPermitted(String),
    /// It failed for another reason, which the bearer names.
    #[error("the bearer failed: {0}")]
    Failed(String),
    /// The bearer's answer makes no sense.
    #[error("the bearer's answer makes no sense: {0}")]
    Nonsense(String),
    /// The bearer did not answer in time.
    #[error("the bearer did not answer in time: {0}")]
    Silent(String),
    /// There is no such session.
    #[error("there is no such session on this bearer")]
    NoSession,
}

impl NegotiationFault {
    /// Every name.
    pub const CODES: [&'static str; 10] = [
        "bearer-down",
        "busy",
        "failed",
        "no-session",
        "nonsense",
        "not-accepted",
        "not-permitted",
        "not-supported",
        "silent",
        "too-little",
    ];

    /// The stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BearerDown(_) => "bearer-down",
            Self::Busy(_) => "busy",
            Self::Failed(_) => "failed",
            Self::NoSession => "no-session",
            Self::Nonsense(_) => "nonsense",
            Self::NotAccepted(_) => "not-accepted",
            Self::NotPermitted(_) => "not-permitted",
            Self::NotSupported(_) => "not-supported",
            Self::Silent(_) => "silent",
            Self::TooLittle(_) => "too-little",
        }
    }

    /// The gate's own reason that stands for it where one is needed.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoSession => Reason::NotFound,
            Self::Silent(_) => Reason::UpstreamTimeout,
            _ => Reason::UpstreamUnreachable,
        }
    }
}

/// Why a bearer is down, or a session gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The stable name.
    pub code: &'static str,
    /// For a person, one line; what another machine says in it is shown as text only.
    pub says: String,
}

impl Why {
    /// That name, with a line that says more.
    pub fn new(code: &'static str, says: impl Into<String>) -> Self {
        Self { code, says: says.into() }
    }
}
