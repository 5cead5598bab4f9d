//! Security domains (TS 23.057) and the absence of one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the three security domains. There is no hierarchy between them: no `Ord` on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityDomain {
    /// Vouched for by the network operator's root public key.
    Operator,
    /// Vouched for by the device manufacturer's root public key.
    Manufacturer,
    /// Vouched for by a third party root that the administrator enabled.
    ThirdParty,
}

impl SecurityDomain {
    /// All three, in the order in which tables show them.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Manufacturer, Self::ThirdParty];

    /// The stable name, as the contract spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Manufacturer => "manufacturer",
            Self::ThirdParty => "third-party",
        }
    }
}

impl fmt::Display for SecurityDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SecurityDomain {
    type Err = UnknownDomain;

    fn from_str(text: &str) -> Result<Self, UnknownDomain> {
        Self::ALL.into_iter().find(|d| d.as_str() == text).ok_or(UnknownDomain)
    }
}

/// The text names no security domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a security domain: write operator, manufacturer or third-party")]
pub struct UnknownDomain;

/// What an app is to the security table: a member of a domain, or untrusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Verified into this domain.
    Domain(SecurityDomain),
    /// In no domain: unsigned, or signed by nobody the device knows.
    Untrusted,
}

impl Trust {
    /// The four columns of the security table.
    pub const ALL: [Self; 4] = [
        Self::Domain(SecurityDomain::Operator),
        Self::Domain(SecurityDomain::Manufacturer),
        Self::Domain(SecurityDomain::ThirdParty),
        Self::Untrusted,
    ];

    /// The stable name: the domain's, or `untrusted`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Domain(domain) => domain.as_str(),
            Self::Untrusted => "untrusted",
        }
    }

    /// The domain, when there is one.
    pub const fn domain(self) -> Option<SecurityDomain> {
        match self {
            Self::Domain(domain) => Some(domain),
            Self::Untrusted => None,
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Trust {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
