//! The security table: for every action, what each domain and the untrusted may be permitted at most, and where that
//! cell comes from. Data, not code: the shipped file can be replaced; the invariants that no table may break are enforced
//! by the module `load`. Read by [`crate::grant`] at creation and by [`crate::decision`] at every decision.

mod added;
mod error;
mod load;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use mexe_model::{Action, ActionGroup, Groups, Permission, SecurityDomain, Trust};

use crate::categorisation::Placing;

pub use error::{TableError, TableProblem};
pub(crate) use load::{Mistake, line_and_column, located, read_toml};

/// The shipped table, as text.
pub const SHIPPED: &str = include_str!("../../security-table.toml");

/// The number of a row. Valid for the table that gave it; another table answers no for what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionId(pub(crate) u16);

/// One group of actions.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Group {
    /// The part of an action's name before the dot.
    pub name: Arc<str>,
    /// Its number in the project's reading of the standard.
    pub number: u8,
    /// Its title.
    pub title: Arc<str>,
}

/// What an action may be limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A host and port.
    Endpoint,
    /// Nothing: the permission is for the action as such.
    None,
    /// A telephone number; not taken in grants yet.
    Number,
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number in this table.
    pub id: ActionId,
    /// Its name.
    pub action: Action,
    /// Its group, where certificates can name it; `None` for a group that only this table has.
    pub group: Option<ActionGroup>,
    /// What it covers, in a sentence.
    pub covers: Arc<str>,
    /// What a grant for it may be limited to.
    pub target: TargetKind,
    /// Whether performing it may cost the user money.
    pub chargeable: bool,
    /// How it came to its group, when the configuration added it; `None` for a row that the table's author wrote.
    pub placing: Option<Arc<Placing>>,
    cells: [Cell; 4],
}

impl Row {
    /// Whether certificates that leave these groups leave this action. A group that no certificate can name is left only
    /// by those that restrict nothing.
    pub fn is_left_by(&self, groups: Groups) -> bool {
        self.group.map_or(groups == Groups::ALL, |group| groups.contains(group))
    }

    /// The cell of one column.
    pub fn cell(&self, trust: Trust) -> &Cell {
        let [operator, manufacturer, third_party, untrusted] = &self.cells;
        match trust {
            Trust::Domain(SecurityDomain::Operator) => operator,
            Trust::Domain(SecurityDomain::Manufacturer) => manufacturer,
            Trust::Domain(SecurityDomain::ThirdParty) => third_party,
            Trust::Untrusted => untrusted,
        }
    }
}

/// What one column of one row says. Shown as it is written: `blanket(session)` or `no`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The widest permission that the user may give; `None` is no, whatever the user wishes.
    pub maximum: Option<Permission>,
    /// The permission that is offered first; there is one exactly when there is a maximum.
    pub default: Option<Permission>,
    /// Where the cell comes from.
    pub provenance: Provenance,
}

impl Cell {
    const NO: Self = Self { maximum: None, default: None, provenance: Provenance::Decision(2) };
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.maximum.zip(self.default) {
            Some((maximum, default)) => write!(f, "{maximum}({default})"),
            None => f.write_str("no"),
        }
    }
}

/// Where a cell comes from. Written `seed:8.2.1`, `recalled`, `decision:2`, `read:22.057:11`; of an added action
/// `rule:network` or `administrator:network`, which no table may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The rows of the group that the administrator placed the action in.
    Administrator(Arc<str>),
    /// A decision of this project, by number (docs/permissions.md).
    Decision(u8),
    /// A document whose text was read, and the clause.
    Read(Arc<str>),
    /// Remembered from the standard, not read.
    Recalled,
    /// The rule that placed the action, by name, and the rows of its group.
    Rule(Arc<str>),
    /// The liaison statement that the project starts from, and the clause that it cites.
    Seed(Arc<str>),
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Administrator(group) => write!(f, "administrator:{group}"),
            Self::Decision(number) => write!(f, "decision:{number}"),
            Self::Read(clause) => write!(f, "read:{clause}"),
            Self::Recalled => f.write_str("recalled"),
            Self::Rule(name) => write!(f, "rule:{name}"),
            Self::Seed(clause) => write!(f, "seed:{clause}"),
        }
    }
}

impl serde::Serialize for Provenance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A security table that keeps the invariants.
#[derive(Clone, Debug)]
pub struct SecurityTable {
    groups: Vec<Group>,
    rows: Vec<Row>,
    by_name: HashMap<Arc<str>, ActionId>,
}

impl SecurityTable {
    /// Reads a table.
    ///
    /// # Errors
    /// One mistake, with its line and column, naming the row and cell: text that is not TOML or not a table,
    /// duplicates, wildcards, a default above its maximum, or a broken invariant (see [`TableProblem`]).
    pub fn from_toml(text: &str) -> Result<Self, TableError> {
        load::load(text)
    }

    /// The table that the project ships.
    ///
    /// # Errors
    /// Never, for the file in the source tree: a test loads it.
    pub fn shipped() -> Result<Self, TableError> {
        Self::from_toml(SHIPPED)
    }

    /// The action of that name, if the table has it.
    pub fn action(&self, name: &str) -> Option<ActionId> {
        self.by_name.get(name).copied()
    }

    /// The row of an action; `None` for an id of another table.
    pub fn row(&self, action: ActionId) -> Option<&Row> {
        self.rows.get(usize::from(action.0))
    }

    /// What the table says of an action and a column. An action that it does not have is no for everybody.
    pub fn cell(&self, action: ActionId, trust: Trust) -> &Cell {
        static NO: Cell = Cell::NO;
        self.row(action).map_or(&NO, |row| row.cell(trust))
    }

    /// Whether certificates that leave these groups leave the action; true for an action that the table does not have,
    /// because its cell is no already.
    pub fn is_left(&self, action: ActionId, groups: Groups) -> bool {
        self.row(action).is_none_or(|row| row.is_left_by(groups))
    }

    /// All rows, in the order of the file; then those that were added.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter()
    }

    /// All groups, in the order of the file: the closed set behind the metrics label.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.groups.iter()
    }
}
