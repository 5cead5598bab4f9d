//! What can be wrong with a security table, the rules that place actions, and the actions that are added. Each broken invariant is its own problem and names the cell; the place is
//! given where the file has one. Shown by `check-config` and at start, which then refuses to go on.

use mexe_model::{Permission, Trust};

/// Why a table was not taken, and where in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct TableError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: TableProblem,
}

/// What is wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableProblem {
    /// A row's name is not `group.action`.
    #[error("{0}")]
    ActionMalformed(String),
    /// A cell is neither `no` nor `maximum(default)`.
    #[error(
        "`{action}`, column {column}: `{cell}` is no cell; write `no` or `maximum(default)`, as in `blanket(session)`"
    )]
    CellMalformed {
        /// The row.
        action: String,
        /// The column.
        column: Trust,
        /// What stands there.
        cell: String,
    },
    /// Core software belongs to the manufacturer's domain alone.
    #[error("`{action}`, column {column}: core software is for the manufacturer only; write `no`")]
    CoreSoftware {
        /// The row.
        action: String,
        /// The column.
        column: Trust,
    },
    /// The default is wider than the maximum.
    #[error("`{action}`, column {column}: the default `{default}` is wider than the maximum `{maximum}`")]
    DefaultAboveMaximum {
        /// The row.
        action: String,
        /// The column.
        column: Trust,
        /// The maximum.
        maximum: Permission,
        /// The default.
        default: Permission,
    },
    /// Two rows have the same name.
    #[error("`{0}` is in the table twice; keep one row")]
    DuplicateAction(String),
    /// Two groups have the same name or number.
    #[error("the group `{0}` is in the table twice, by its name or number; keep one")]
    DuplicateGroup(String),
    /// Two rules have the same name.
    #[error("the rule `{0}` is there twice; keep one")]
    DuplicateRule(String),
    /// Two sets of actions, or two exclusions, have the same name.
    #[error("`{0}` is there twice; give each its own name")]
    DuplicateSet(String),
    /// A PIN, authentication or APDU action is placed somewhere.
    #[error(
        "`{action}`: the rule `{rule}` fits it, and what that fits can be placed nowhere; remove `place`"
    )]
    NeverPlaceable {
        /// The action.
        action: String,
        /// The rule.
        rule: String,
    },
    /// The table has no row: everything would be unknown.
    #[error("the table has no action; write [[action]] rows")]
    NoActions,
    /// A pattern of a rule could fit no action.
    #[error("the rule `{rule}`: no action's name or use is like `{pattern}`; write lower-case words")]
    PatternMalformed {
        /// The rule.
        rule: String,
        /// The pattern.
        pattern: String,
    },
    /// The administrator's place gives more than the rules leave.
    #[error(
        "`{action}`, column {column}: the group `{group}` gives more than the rules leave, which is `{most}`"
    )]
    PlacedTooWide {
        /// The action.
        action: String,
        /// The group.
        group: String,
        /// The column.
        column: Trust,
        /// What the rules leave.
        most: &'static str,
    },
    /// A cell does not say where it comes from.
    #[error(
        "`{action}`, column {column}: `{provenance}` is no provenance; write `seed:CLAUSE`, `read:CLAUSE`, `recalled` or \
         `decision:NUMBER`"
    )]
    ProvenanceMalformed {
        /// The row.
        action: String,
        /// The column.
        column: Trust,
        /// What stands there.
        provenance: String,
    },
    /// A rule that fits nothing by itself.
    #[error("the rule `{0}` fits nothing; give it words, prefixes, uses or `chargeable = true`")]
    RuleEmpty(String),
    /// A rule's name is no name.
    #[error("`{0}` is no name of a rule; write lower-case words joined by hyphens")]
    RuleMalformed(String),
    /// Not TOML, or keys that a table does not have.
    #[error("{0}")]
    Toml(String),
    /// More rows than can be numbered.
    #[error("the table has more than 65535 actions")]
    TooManyActions,
    /// A row's group is not in the list of groups.
    #[error("`{0}` is in no group of the table; add a [[group]]")]
    UnknownGroup(String),
    /// An action is placed in a group that the table does not have.
    #[error("`{action}`: the table has no group `{group}`; place it in one that it has")]
    UnknownPlace {
        /// The action.
        action: String,
        /// The group.
        group: String,
    },
    /// An exclusion names a set of actions that is not there.
    #[error("there is no set `{0}`; add a [[set]]")]
    UnknownSet(String),
    /// An action declares a use that no rule asks for.
    #[error("`{action}`: no rule knows the use `{used}`; write one of {known}")]
    UnknownUse {
        /// The action.
        action: String,
        /// What stands there.
        used: String,
        /// The uses that the rules ask for.
        known: String,
    },
    /// Untrusted apps get calls and tones one at a time.
    #[error(
        "`{action}`, column untrusted: calls and tones are permitted singly only; write `single(single)`"
    )]
    UntrustedAboveSingle {
        /// The row.
        action: String,
    },
    /// Untrusted apps get the display and input of their own window, calls and tones; nothing else.
    #[error("`{action}`, column untrusted: an untrusted app never gets this; write `no`")]
    UntrustedAction {
        /// The row.
        action: String,
    },
    /// A name or cell stands for more than one action.
    #[error("`{0}`: the table knows no wildcards; write one row per action")]
    Wildcard(String),
    /// A yes that does not say how long the user's permission holds.
    #[error("`{action}`, column {column}: a yes needs the user's permission; write `maximum(default)`")]
    YesWithoutPermission {
        /// The row.
        action: String,
        /// The column.
        column: Trust,
    },
}
