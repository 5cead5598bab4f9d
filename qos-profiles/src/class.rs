//! The four traffic classes of 3GPP, ordered from the most to the least sensitive to delay. A class says what kind of
//! stream it is; rates are the profile's business, and the permission to be above background is the policy's.

use std::fmt;
use std::str::FromStr;

/// A traffic class. What divides the four is how much delay the stream bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficClass {
    /// Two-way and live, such as voice: little delay, and the time relation is kept.
    Conversational,
    /// One-way and live, such as video: the time relation is kept.
    Streaming,
    /// Request and response, such as the web: content is kept.
    Interactive,
    /// Nobody waits for it, such as mail in the background: content is kept.
    Background,
}

impl TrafficClass {
    /// Every class, the most sensitive to delay first.
    pub const ALL: [Self; 4] = [Self::Conversational, Self::Streaming, Self::Interactive, Self::Background];

    /// The stable name, as in files, metrics and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conversational => "conversational",
            Self::Streaming => "streaming",
            Self::Interactive => "interactive",
            Self::Background => "background",
        }
    }

    /// Whether the class is above background, so that it needs the `network.qos` permission.
    pub const fn needs_permission(self) -> bool {
        !matches!(self, Self::Background)
    }
}

impl fmt::Display for TrafficClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TrafficClass {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| UnknownClass { text: text.chars().take(40).collect() })
    }
}

/// The text names no traffic class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a traffic class: write conversational, streaming, interactive or background")]
pub struct UnknownClass {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_read_back_as_shown_and_nothing_else_is_one() {
        for class in TrafficClass::ALL {
            assert_eq!(class.to_string().parse::<TrafficClass>().unwrap(), class);
        }
        for bad in ["", "Background", "best-effort", "background "] {
            let error = bad.parse::<TrafficClass>().unwrap_err();
            assert!(error.to_string().contains("not a traffic class"), "{bad}");
        }
    }

    #[test]
    fn only_background_is_free() {
        let free: Vec<_> = TrafficClass::ALL.into_iter().filter(|class| !class.needs_permission()).collect();
        assert_eq!(free, [TrafficClass::Background]);
    }
}
