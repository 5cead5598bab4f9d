//! One profile rule: which destinations a profile is meant for, by name and by port. Decides whether a rule covers a
//! destination and which of two rules says more; reading the files is the business of `profile`.

use std::cmp::Reverse;
use std::fmt;

use mexe_model::DomainName;

/// A destination that a profile is meant for: a name, a port, or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    name: NamePattern,
    port: Option<u16>,
}

/// Ordered from the least to the most that it says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum NamePattern {
    Any,
    /// The names below this one, but not itself.
    Below(DomainName),
    Exactly(DomainName),
}

impl Rule {
    /// Reads a rule. `domain` is a name or `*.name`, in lower-case ASCII; the error says what is wrong with it.
    pub(crate) fn new(domain: Option<&str>, port: Option<u16>) -> Result<Self, String> {
        let name = match domain {
            None if port.is_none() => return Err("a rule needs a `domain`, a `port`, or both".into()),
            None => NamePattern::Any,
            Some(text) => {
                let (pattern, name): (fn(DomainName) -> NamePattern, _) = match text.strip_prefix("*.") {
                    Some(rest) => (NamePattern::Below, rest),
                    None => (NamePattern::Exactly, text),
                };
                let name = DomainName::from_ascii(name).ok_or_else(|| {
                    format!(
                        "`{}` is not a domain: write `name.example` or `*.name.example`, lower case",
                        short(text)
                    )
                })?;
                pattern(name)
            }
        };
        if port == Some(0) {
            return Err("port 0 is no destination: write 1 to 65535, or leave `port` out".into());
        }
        Ok(Self { name, port })
    }

    /// Whether the rule is meant for that host (`None`: asked for by address) and port. Names are compared as they are:
    /// the caller has normalised them.
    pub fn covers(&self, host: Option<&str>, port: u16) -> bool {
        let by_name = match (&self.name, host) {
            (NamePattern::Any, _) => true,
            (_, None) => false,
            (NamePattern::Below(parent), Some(host)) => host
                .strip_suffix(parent.as_str())
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            (NamePattern::Exactly(name), Some(host)) => name.as_str() == host,
        };
        by_name && self.port.is_none_or(|wanted| wanted == port)
    }

    /// Sorts the rule that says more before the one that says less: an exact name, then the longest `*.name`, then no
    /// name; with equal names, a port before none. Of two different rules that cover one destination, exactly one is
    /// first, so the order of files never matters.
    pub(crate) fn precedence(&self) -> impl Ord + use<> {
        let name = match &self.name {
            NamePattern::Any => (0, 0),
            NamePattern::Below(parent) => (1, parent.as_str().len()),
            NamePattern::Exactly(_) => (2, 0),
        };
        Reverse((name, self.port.is_some()))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            NamePattern::Any => f.write_str("*")?,
            NamePattern::Below(parent) => write!(f, "*.{parent}")?,
            NamePattern::Exactly(name) => write!(f, "{name}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(domain: &str, port: Option<u16>) -> Rule {
        Rule::new((!domain.is_empty()).then_some(domain), port).unwrap()
    }

    #[test]
    fn a_rule_covers_what_it_says_and_nothing_beside_it() {
        let exact = rule("media.example", None);
        assert!(exact.covers(Some("media.example"), 1));
        assert!(!exact.covers(Some("a.media.example"), 1));
        assert!(!exact.covers(None, 1));
        let below = rule("*.media.example", Some(443));
        assert!(below.covers(Some("a.media.example"), 443));
        assert!(below.covers(Some("a.b.media.example"), 443));
        assert!(!below.covers(Some("media.example"), 443));
        assert!(!below.covers(Some(".media.example"), 443));
        assert!(!below.covers(Some("xmedia.example"), 443));
        assert!(!below.covers(Some("a.media.example"), 80));
        let port = rule("", Some(5060));
        assert!(port.covers(None, 5060));
        assert!(port.covers(Some("any.example"), 5060));
        assert!(!port.covers(None, 5061));
    }

    #[test]
    fn what_says_more_comes_first() {
        let mut rules = [
            rule("", Some(443)),
            rule("*.example", None),
            rule("a.b.example", None),
            rule("*.b.example", Some(443)),
            rule("a.b.example", Some(443)),
            rule("*.b.example", None),
        ];
        rules.sort_by_key(Rule::precedence);
        let shown = rules.map(|rule| rule.to_string());
        let order =
            ["a.b.example:443", "a.b.example", "*.b.example:443", "*.b.example", "*.example", "*:443"];
        assert_eq!(shown, order);
    }

    #[test]
    fn what_cannot_cover_anything_is_refused() {
        for (domain, port) in
            [(None, None), (Some("*"), None), (Some("*.*.org"), None), (Some("A.org"), None), (None, Some(0))]
        {
            assert!(Rule::new(domain, port).is_err(), "{domain:?} {port:?}");
        }
    }
}
