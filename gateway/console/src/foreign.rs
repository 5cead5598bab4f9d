//! Text that somebody else wrote. [`Foreign`] is the one door by which an app's, a package's or a server's text reaches a
//! page: what misleads a reader is shown as an escape, what is endless is cut, and the templates escape the rest for
//! HTML. [`Word`] is for what stands in addresses and class names: it holds nothing that could mean anything there.

use std::fmt;

use mexe_model::printable::printable;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Text from outside, safe to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign(String);

impl Foreign {
    /// The most that is shown, characters. A host name with its port fits whole, so that no end of one is ever hidden.
    pub const LONGEST: usize = 300;

    /// Takes in a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As it came, for comparing and parsing; never for showing.
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(Self::LONGEST) {
            None => printable(&self.0).fmt(f),
            Some((end, _)) => {
                let (shown, rest) = self.0.split_at(end);
                write!(f, "{}… ({} more characters)", printable(shown), rest.chars().count())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Foreign {
    /// Null is an empty text: that something has no name must not keep a page from being shown.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// A name that the gate made: letters, digits, dots, hyphens and underscores, not too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(String);

impl Word {
    const LONGEST: usize = 80;

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > Self::LONGEST || !text.bytes().all(plain) {
            return Err(D::Error::custom("a name of the gate's has letters, digits, `.`, `_` and `-` only"));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_end_is_cut_and_says_so() {
        let shown = Foreign::new("ä".repeat(1_000_000)).to_string();
        assert_eq!(shown, format!("{}… (999700 more characters)", "ä".repeat(300)));
    }

    #[test]
    fn the_longest_host_with_its_port_is_shown_to_the_end() {
        let target = format!("{}.evil.example:65535", "a.".repeat(120));
        assert_eq!(Foreign::new(target.clone()).to_string(), target);
    }

    #[test]
    fn a_word_can_mean_nothing_in_an_address_or_a_class() {
        let read = |text: &str| serde_json::from_value::<Word>(text.into()).is_ok();
        assert!(read("prompt-7") && read("third-party"));
        for text in ["", "a b", "a/b", "a\"b", "../x", "a?b", "a#b", "ä", &"x".repeat(81)] {
            assert!(!read(text), "{text}");
        }
    }
}
