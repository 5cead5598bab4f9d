//! Names of actions, `group.action`, as the security table lists them. Whether an action exists, and who may perform
//! it, is the table's business (crate `mexe-policy`); here is only what a name looks like.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of one action: a group and an action, lower-case words joined by hyphens, with one dot between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Action(Arc<str>);

impl Action {
    /// Opening a stream connection to a host and port.
    pub const NETWORK_CONNECT: &'static str = "network.connect";
    /// Exchanging datagrams with a host and port that the app contacts first.
    pub const NETWORK_DATAGRAM: &'static str = "network.datagram";
    /// Asking for a traffic class above background.
    pub const NETWORK_QOS: &'static str = "network.qos";
    /// Moving more than a usage threshold that the user set.
    pub const NETWORK_USAGE: &'static str = "network.usage";

    /// The whole name, `group.action`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group's name: what stands before the dot.
    pub fn group(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl FromStr for Action {
    type Err = ActionError;

    fn from_str(text: &str) -> Result<Self, ActionError> {
        let word = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        match text.split_once('.') {
            Some((group, action)) if text.len() <= 64 && word(group) && word(action) => Ok(Self(text.into())),
            _ => Err(ActionError { text: text.chars().take(64).collect() }),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Action {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not an action's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an action: write group.action in lower case, as in network.connect")]
pub struct ActionError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_two_lower_case_words_with_a_dot_between() {
        for good in ["network.connect", "user-data.read", "a.b2"] {
            assert_eq!(good.parse::<Action>().unwrap().as_str(), good);
        }
        for bad in
            ["", "network", "network.", ".connect", "a.b.c", "Network.connect", "a b.c", "-a.b", "a.b-"]
        {
            assert!(bad.parse::<Action>().is_err(), "{bad}");
        }
    }
}
