//! What pages call things: domains, permissions, sizes and times in words that the user knows. Codes stay codes; they are
//! shown beside the words where somebody may want to look one up.

use std::borrow::Borrow;
use std::fmt;

use mexe_model::{Permission, Reason, SecurityDomain};
use serde::{Deserialize, Deserializer};

/// The security domain of an app, or the absence of one; anything that is no domain is untrusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Domain(Option<SecurityDomain>);

impl Domain {
    /// For class names.
    pub(crate) fn code(self) -> &'static str {
        self.0.map_or("untrusted", SecurityDomain::as_str)
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Some(SecurityDomain::Operator) => "Operator",
            Some(SecurityDomain::Manufacturer) => "Manufacturer",
            Some(SecurityDomain::ThirdParty) => "Third party",
            None => "Untrusted",
        }
    }

    /// Whether somebody vouches for the app.
    pub(crate) fn is_vouched_for(self) -> bool {
        self.0.is_some()
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(Self(text.and_then(|text| text.parse().ok())))
    }
}

/// How long a permission holds.
pub(crate) fn permission(permission: &Permission) -> &'static str {
    match permission {
        Permission::SingleAction => "Just this once",
        Permission::Session => "While it runs",
        Permission::Blanket => "Always",
    }
}

/// What a reason's code means; nothing for a code that is none.
pub(crate) fn reason(code: &str) -> &'static str {
    code.parse::<Reason>().map_or("", Reason::says)
}

/// A number of bytes, to three digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] =
            [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
        let Some((unit, scale)) = UNITS.into_iter().find(|(_, scale)| self.0 >= *scale) else {
            return write!(f, "{} B", self.0);
        };
        let (whole, tenth) = (self.0 / scale, self.0 % scale / (scale / 10));
        if whole >= 100 { write!(f, "{whole} {unit}") } else { write!(f, "{whole}.{tenth} {unit}") }
    }
}

/// A number of seconds, to the two largest units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Seconds(pub(crate) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes, seconds) =
            (self.0 / 86_400, self.0 / 3_600 % 24, self.0 / 60 % 60, self.0 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, minutes) => write!(f, "{minutes} min {seconds} s"),
            (0, hours, minutes) => write!(f, "{hours} h {minutes} min"),
            (days, hours, _) => write!(f, "{days} d {hours} h"),
        }
    }
}

/// "1 flow", "2 flows".
pub(crate) fn counted(count: impl Borrow<usize>, one: &str) -> String {
    let count = *count.borrow();
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes =
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (123_456, "123 kB"), (9_999_999, "9.9 MB")];
        for (bytes, shown) in sizes {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
        for (seconds, shown) in [(7, "7 s"), (61, "1 min 1 s"), (3_700, "1 h 1 min"), (180_000, "2 d 2 h")] {
            assert_eq!(Seconds(seconds).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_domain_is_untrusted() {
        for json in ["null", "\"untrusted\"", "\"<b>\"", "\"Operator\""] {
            let domain: Domain = serde_json::from_str(json).unwrap();
            assert_eq!((domain.code(), domain.is_vouched_for()), ("untrusted", false), "{json}");
        }
        let domain: Domain = serde_json::from_str("\"third-party\"").unwrap();
        assert_eq!(domain.name(), "Third party");
    }
}
