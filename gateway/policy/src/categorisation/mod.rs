//! Where an action belongs that the security table does not have: rules, as data, from its name and what it declares to
//! a group. Says which rules fit; what the action's cells then are is computed in [`crate::table`], which adds the row.
//! Called when the gate starts, for the actions that the configuration adds.

mod load;

use std::collections::BTreeSet;
use std::sync::Arc;

use mexe_model::Action;
use serde::Serialize;

use crate::table::TableError;

/// The shipped rules, as text.
pub const SHIPPED: &str = include_str!("../../categorisation.toml");

/// What a new action says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub action: Action,
    /// Whether performing it may cost the user money.
    pub chargeable: bool,
    /// What it uses, in the words that the rules know ([`Categorisation::knows`]).
    pub uses: Vec<String>,
}

/// One rule: what fits it belongs to its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategorisationRule {
    /// Its name, as provenances show it.
    pub name: Arc<str>,
    /// The group.
    pub group: Arc<str>,
    /// False when nobody ever gets what it fits, wherever an administrator would place it.
    pub placeable: bool,
    chargeable: bool,
    words: BTreeSet<String>,
    prefixes: BTreeSet<String>,
    uses: BTreeSet<String>,
}

impl CategorisationRule {
    /// Whether the action belongs to the rule's group.
    pub fn fits(&self, declared: &Declared) -> bool {
        let mut words = declared.action.as_str().split(['.', '-']);
        *self.group == *declared.action.group()
            || (self.chargeable && declared.chargeable)
            || declared.uses.iter().any(|used| self.uses.contains(used))
            || words.any(|word| {
                self.words.contains(word) || self.prefixes.iter().any(|prefix| word.starts_with(prefix))
            })
    }
}

/// The rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Categorisation {
    rules: Vec<CategorisationRule>,
}

impl Categorisation {
    /// Reads rules.
    ///
    /// # Errors
    /// One mistake, with its line and column: text that is not TOML or no rules, a name that is there twice, a pattern
    /// that no action's name could have, a rule that fits nothing by itself.
    pub fn from_toml(text: &str) -> Result<Self, TableError> {
        load::load(text)
    }

    /// The rules that the project ships.
    ///
    /// # Errors
    /// Never, for the file in the source tree: a test loads it.
    pub fn shipped() -> Result<Self, TableError> {
        Self::from_toml(SHIPPED)
    }

    /// All rules, in the order of the file.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &CategorisationRule> {
        self.rules.iter()
    }

    /// The rules that fit, in the order of the file.
    pub fn fitting(&self, declared: &Declared) -> impl Iterator<Item = &CategorisationRule> {
        self.rules.iter().filter(|rule| rule.fits(declared))
    }

    /// Whether some rule asks for this use.
    pub fn knows(&self, used: &str) -> bool {
        self.rules.iter().any(|rule| rule.uses.contains(used))
    }

    /// Every use that some rule asks for, in alphabetical order.
    pub fn uses(&self) -> BTreeSet<&str> {
        self.rules.iter().flat_map(|rule| &rule.uses).map(String::as_str).collect()
    }
}

/// How an added action came to its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placing {
    /// Its group; none when no rule fits and nobody placed it, so that no domain gets it.
    pub group: Option<Arc<str>>,
    /// The rule that placed it, as `rule:NAME`; `administrator` where the administrator did; none where nobody did.
    pub by: Option<Arc<str>>,
    /// Every rule that fits it, in the order of the rules.
    pub fits: Vec<Arc<str>>,
}
