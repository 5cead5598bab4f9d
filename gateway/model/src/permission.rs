//! The three user permission types of TS 23.057.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How long one answer of the user holds. Ordered from narrow to wide, so that a cell's maximum can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Permission {
    /// One performance of the action; asked again next time.
    #[serde(rename = "single")]
    SingleAction,
    /// For one run of the app; gone when that run ends.
    #[serde(rename = "session")]
    Session,
    /// Whenever the app runs, until revoked.
    #[serde(rename = "blanket")]
    Blanket,
}

impl Permission {
    /// All three, narrow to wide.
    pub const ALL: [Self; 3] = [Self::SingleAction, Self::Session, Self::Blanket];

    /// The stable name, as the contract spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleAction => "single",
            Self::Session => "session",
            Self::Blanket => "blanket",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or(UnknownPermission)
    }
}

/// The text names no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a permission: write single, session or blanket")]
pub struct UnknownPermission;
