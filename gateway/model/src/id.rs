//! Identities: what names an app, a run, a flow, a call, a grant, a root.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An installed package. Matches `[a-z0-9][a-z0-9._-]{0,62}`, because it is the user name on the proxies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(Arc<str>);

impl AppId {
    /// The longest id, bytes.
    pub const MAX: usize = 63;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes an id out of a free name: lower case, everything else becomes a hyphen. `None` when nothing is left.
    pub fn slug(name: &str) -> Option<Self> {
        let mut slug = String::new();
        for c in name.chars() {
            let c = c.to_ascii_lowercase();
            let kept = c.is_ascii_lowercase() || c.is_ascii_digit();
            if kept || (matches!(c, '.' | '_') && !slug.is_empty()) {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
            if slug.len() == Self::MAX {
                break;
            }
        }
        slug.trim_end_matches(['-', '.', '_']).parse().ok()
    }
}

impl FromStr for AppId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(plain);
        if first && text.len() <= Self::MAX && bytes.all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-')) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::new("an app id", text))
        }
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for AppId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for AppId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for AppId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or_else(|| IdError::new($what, text))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

numbered!(
    /// A question to the user; written `prompt-7`. Counted anew at each start of the gate, which forgets all questions.
    PromptId, "prompt-", "a question"
);

numbered!(
    /// Something that the user does not want to be asked again; written `denial-2`.
    DenialId, "denial-", "a denial"
);

numbered!(
    /// One execution of an app, from start to stop; written `run-17`. Never used again, also after a restart.
    RunId, "run-", "a run"
);
numbered!(
    /// One connection of an app through the gate; written `flow-17`.
    FlowId, "flow-", "a flow"
);
numbered!(
    /// One voice call of an app; written `call-17`.
    CallId, "call-", "a call"
);
numbered!(
    /// A stream of an app with its quality of service; written `stream-4`. Counted anew at each start of the gate.
    StreamId, "stream-", "a stream"
);
numbered!(
    /// One permission that the user gave; written `grant-17`.
    GrantId, "grant-", "a grant"
);

/// A root public key of the trust store: the lower-case hexadecimal SHA-256 of its SubjectPublicKeyInfo.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootId(Arc<str>);

impl RootId {
    /// Names a root by the SHA-256 of its SubjectPublicKeyInfo.
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        let mut text = String::with_capacity(64);
        for byte in digest {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        Self(text.into())
    }

    /// The 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RootId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(hex) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::new("a root (64 hexadecimal digits)", text))
        }
    }
}

impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for RootId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The text does not name what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct IdError {
    what: &'static str,
    text: String,
}

impl IdError {
    fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.chars().take(80).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids_are_what_a_proxy_user_name_may_be() {
        for good in ["a", "9", "weather", "a.b_c-d", &"a".repeat(63)] {
            assert_eq!(good.parse::<AppId>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "A", "a:b", "a b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<AppId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn slugs_are_ids_or_nothing() {
        let slug = |name: &str| AppId::slug(name).map(|id| id.to_string());
        assert_eq!(slug("Weather Now!"), Some("weather-now".into()));
        assert_eq!(slug("  Ünï code.v2 "), Some("n-code.v2".into()));
        assert_eq!(slug("???"), None);
        assert_eq!(slug(&"x".repeat(200)).unwrap().len(), 63);
    }

    #[test]
    fn numbered_ids_read_back() {
        assert_eq!("grant-12".parse::<GrantId>().unwrap(), GrantId(12));
        assert_eq!(RunId(7).to_string(), "run-7");
        for bad in ["12", "grant-", "grant-+1", "run-1", "grant-99999999999999999999999"] {
            assert!(bad.parse::<GrantId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_root_is_the_hash_of_its_key() {
        let id = RootId::from_digest(&[0xa5; 32]);
        assert_eq!(id.as_str(), "a5".repeat(32));
        assert_eq!(id.as_str().parse::<RootId>().unwrap(), id);
    }
}
