//! What can be wrong with a security table. Each broken invariant is its own problem and names the cell; the place is
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
    /// The table has no row: everything would be unknown.
    #[error("the table has no action; write [[action]] rows")]
    NoActions,
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
    /// Not TOML, or keys that a table does not have.
    #[error("{0}")]
    Toml(String),
    /// More rows than can be numbered.
    #[error("the table has more than 65535 actions")]
    TooManyActions,
    /// A row's group is not in the list of groups.
    #[error("`{0}` is in no group of the table; add a [[group]]")]
    UnknownGroup(String),
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
