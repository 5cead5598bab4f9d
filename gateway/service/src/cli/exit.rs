//! How a verb ended, as the shell sees it. The four numbers are part of the contract; which refusal is which number is
//! decided here and nowhere else. Called from the verbs and from `main`.

use mexe_model::Reason;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked to: 0.
    Done,
    /// Something broke or is missing: 1.
    Fault,
    /// A program that the verb ran ended with this code.
    Program(u8),
    /// Policy or trust said no: 3.
    Refused,
    /// The command line asks for what cannot be: 2.
    Usage,
}

impl Exit {
    /// The number for the shell.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Fault => 1,
            Self::Program(code) => code,
            Self::Refused => 3,
            Self::Usage => 2,
        }
    }

    /// What a refusal of the gate is for the shell. Reasons of policy and trust are 3; a request that makes no sense
    /// is 2; a thing that is not there, or a gate that cannot serve now, is 1.
    pub fn of_refusal(reason: Option<Reason>, status: u16) -> Self {
        match reason {
            Some(Reason::ActionUnknown | Reason::RequestMalformed) => Self::Usage,
            Some(
                Reason::AppUnknown
                | Reason::BodyTooLarge
                | Reason::GateStopping
                | Reason::HandshakeTimeout
                | Reason::JournalUnavailable
                | Reason::NotFound
                | Reason::UpstreamRefused
                | Reason::UpstreamTimeout
                | Reason::UpstreamUnreachable,
            ) => Self::Fault,
            Some(_) => Self::Refused,
            None if status == 400 => Self::Usage,
            None if matches!(status, 401 | 403 | 409 | 422 | 451) => Self::Refused,
            None => Self::Fault,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_policy_and_trust_are_three_and_nothing_else_is() {
        for reason in
            [Reason::ForbiddenToDomain, Reason::EntryChanged, Reason::PeerIsARun, Reason::PackageTooLarge]
        {
            assert_eq!(Exit::of_refusal(Some(reason), 403).code(), 3, "{reason}");
        }
        assert_eq!(Exit::of_refusal(Some(Reason::ActionUnknown), 404).code(), 2);
        assert_eq!(Exit::of_refusal(Some(Reason::AppUnknown), 404).code(), 1);
        assert_eq!(Exit::of_refusal(Some(Reason::JournalUnavailable), 503).code(), 1);
        assert_eq!(Exit::of_refusal(None, 500).code(), 1);
        assert_eq!(Exit::of_refusal(None, 403).code(), 3);
    }
}
