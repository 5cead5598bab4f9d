//! From TOML to a [`Categorisation`], or a mistake with its place.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;

use super::{Categorisation, CategorisationRule};
use crate::table::{Mistake, TableError, TableProblem, located, read_toml};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    #[serde(default, rename = "rule")]
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Spanned<String>,
    group: Spanned<String>,
    #[serde(default = "yes")]
    placeable: bool,
    #[serde(default)]
    chargeable: bool,
    #[serde(default)]
    words: Vec<Spanned<String>>,
    #[serde(default)]
    prefixes: Vec<Spanned<String>>,
    #[serde(default)]
    uses: Vec<Spanned<String>>,
}

fn yes() -> bool {
    true
}

pub(super) fn load(text: &str) -> Result<Categorisation, TableError> {
    read_toml::<RawRules>(text).and_then(check).map_err(|mistake| located(text, mistake))
}

fn check(raw: RawRules) -> Result<Categorisation, Mistake> {
    let mut rules: Vec<CategorisationRule> = Vec::with_capacity(raw.rules.len());
    for rule in raw.rules {
        let span = rule.name.span();
        let name = rule.name.into_inner();
        if !is_name(&name) {
            return Err((span, TableProblem::RuleMalformed(name)));
        }
        if rules.iter().any(|other| *other.name == *name) {
            return Err((span, TableProblem::DuplicateRule(name)));
        }
        let is_word = |text: &str| is_name(text) && !text.contains('-');
        let (group_at, group) = (rule.group.span(), rule.group.into_inner());
        if !is_name(&group) {
            return Err((group_at, TableProblem::PatternMalformed { rule: name, pattern: group }));
        }
        let words = set(&name, rule.words, is_word)?;
        let prefixes = set(&name, rule.prefixes, is_word)?;
        let uses = set(&name, rule.uses, is_name)?;
        if words.is_empty() && prefixes.is_empty() && uses.is_empty() && !rule.chargeable {
            return Err((span, TableProblem::RuleEmpty(name)));
        }
        let (placeable, chargeable) = (rule.placeable, rule.chargeable);
        let (name, group) = (name.into(), group.into());
        rules.push(CategorisationRule { name, group, placeable, chargeable, words, prefixes, uses });
    }
    Ok(Categorisation { rules })
}

fn set(
    rule: &str,
    texts: Vec<Spanned<String>>,
    good: impl Fn(&str) -> bool,
) -> Result<BTreeSet<String>, Mistake> {
    let one = |text: Spanned<String>| {
        let (span, pattern) = (text.span(), text.into_inner());
        if good(&pattern) {
            Ok(pattern)
        } else {
            Err((span, TableProblem::PatternMalformed { rule: rule.to_owned(), pattern }))
        }
    };
    texts.into_iter().map(one).collect()
}

/// Lower-case words and digits joined by hyphens, as in the names of actions.
fn is_name(text: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 64 && text.split('-').all(word)
}
