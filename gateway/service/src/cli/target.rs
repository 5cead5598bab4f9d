//! `ACTION[=TARGET]` as the verbs `grant` and `explain` take it. Splits only: what a target may be is decided by the gate's
//! own parser, so that the command line and the gate can never disagree.

use std::str::FromStr;

use mexe_model::Action;

/// An action and what it is to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionTarget {
    /// The action.
    pub(super) action: Action,
    /// The target as it was written; `None` is any global address.
    pub(super) target: Option<String>,
}

impl FromStr for ActionTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (action, target) = match text.split_once('=') {
            Some((_, "")) => {
                return Err(format!("`{text}` has no target after the `=`: leave the `=` out for any"));
            }
            Some((action, target)) => (action, Some(target.to_owned())),
            None => (text, None),
        };
        Ok(Self { action: action.parse().map_err(|e: mexe_model::ActionError| e.to_string())?, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_divides() {
        let read = |text: &str| text.parse::<ActionTarget>().map(|t| (t.action.to_string(), t.target));
        assert_eq!(read("network.connect"), Ok(("network.connect".into(), None)));
        assert_eq!(
            read("network.connect=a.example:443"),
            Ok(("network.connect".into(), Some("a.example:443".into())))
        );
        assert_eq!(read("network.connect=[2001:db8::1]:80").unwrap().1.unwrap(), "[2001:db8::1]:80");
        assert_eq!(read("network.connect=a=b").unwrap().1.unwrap(), "a=b");
        for bad in ["", "=", "network.connect=", "network", "=a.example", "Network.Connect=a"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
