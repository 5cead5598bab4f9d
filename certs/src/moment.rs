//! As of when a package is judged. Usually that is one time; an app that was installed while its certificates were valid
//! may be judged as of then, and even then nothing that has been revoked since vouches for it.

use mexe_model::WallTime;

/// As of when validity and revocation count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time that certificates and timestamping authorities must be valid at.
    pub valid_at: WallTime,
    /// The time as of which revocation lists are asked.
    pub revoked_by: WallTime,
}

impl From<WallTime> for Moment {
    fn from(at: WallTime) -> Self {
        Self { valid_at: at, revoked_by: at }
    }
}
