//! From TOML to a [`SecurityTable`], or a mistake with its place. Here and nowhere else stand the invariants that
//! a replaced table has to keep too; they go by exact action names, so that an added row cannot slip past.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use mexe_model::{Action, Permission, SecurityDomain, Trust};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::{ActionId, Cell, Group, Provenance, Row, SecurityTable, TableError, TableProblem, TargetKind};

/// All that an untrusted app can ever be permitted, and the most of it.
const UNTRUSTED: [(&str, Permission); 4] = [
    ("network.call", Permission::SingleAction),
    ("network.dtmf", Permission::SingleAction),
    ("user-interface.display", Permission::Blanket),
    ("user-interface.input", Permission::Blanket),
];

/// The group that is the manufacturer's alone.
const CORE_SOFTWARE: &str = "core-software";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    #[serde(default, rename = "group")]
    groups: Vec<RawGroup>,
    #[serde(default, rename = "action")]
    actions: Vec<RawRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Spanned<String>,
    number: u8,
    title: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRow {
    action: Spanned<String>,
    covers: String,
    target: TargetKind,
    chargeable: bool,
    operator: RawCell,
    manufacturer: RawCell,
    third_party: RawCell,
    untrusted: RawCell,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCell {
    permission: Spanned<String>,
    provenance: Spanned<String>,
}

/// A problem and the bytes of the file that have it.
pub(crate) type Mistake = (Range<usize>, TableProblem);

/// Reads the form of a file.
pub(crate) fn read_toml<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().replace('\n', ", ");
        (error.span().unwrap_or(0..0), TableProblem::Toml(message))
    })
}

/// The mistake with its place in the file.
pub(crate) fn located(text: &str, (span, problem): Mistake) -> TableError {
    let (line, column) = line_and_column(text, span.start);
    TableError { line, column, problem }
}

/// Where a byte of a text stands, both from 1, the column in characters.
pub(crate) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or_default();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (before.split('\n').count(), column)
}

pub(super) fn load(text: &str) -> Result<SecurityTable, TableError> {
    read_toml::<RawTable>(text).and_then(check).map_err(|mistake| located(text, mistake))
}

fn check(raw: RawTable) -> Result<SecurityTable, Mistake> {
    let mut groups: Vec<Group> = Vec::with_capacity(raw.groups.len());
    for group in raw.groups {
        let span = group.name.span();
        let (name, number) = (group.name.into_inner(), group.number);
        if groups.iter().any(|g| *g.name == *name || g.number == number) {
            return Err((span, TableProblem::DuplicateGroup(name)));
        }
        groups.push(Group { name: name.into(), number, title: group.title.into() });
    }
    if raw.actions.is_empty() {
        return Err((0..0, TableProblem::NoActions));
    }
    let mut rows = Vec::with_capacity(raw.actions.len());
    let mut by_name = HashMap::with_capacity(raw.actions.len());
    for row in raw.actions {
        let span = row.action.span();
        let id = u16::try_from(rows.len())
            .map(ActionId)
            .map_err(|_| (span.clone(), TableProblem::TooManyActions))?;
        let row = check_row(id, row, &groups)?;
        if by_name.insert(Arc::from(row.action.as_str()), id).is_some() {
            return Err((span, TableProblem::DuplicateAction(row.action.to_string())));
        }
        rows.push(row);
    }
    Ok(SecurityTable { groups, rows, by_name })
}

fn check_row(id: ActionId, row: RawRow, groups: &[Group]) -> Result<Row, Mistake> {
    let span = row.action.span();
    let name = row.action.into_inner();
    if name.contains('*') {
        return Err((span, TableProblem::Wildcard(name)));
    }
    let action: Action =
        name.parse().map_err(|e| (span.clone(), TableProblem::ActionMalformed(format!("{e}"))))?;
    if !groups.iter().any(|g| *g.name == *action.group()) {
        return Err((span, TableProblem::UnknownGroup(name)));
    }
    let column = |trust: Trust, raw: RawCell| check_cell(&action, trust, raw);
    let cells = [
        column(Trust::Domain(SecurityDomain::Operator), row.operator)?,
        column(Trust::Domain(SecurityDomain::Manufacturer), row.manufacturer)?,
        column(Trust::Domain(SecurityDomain::ThirdParty), row.third_party)?,
        column(Trust::Untrusted, row.untrusted)?,
    ];
    let (target, chargeable) = (row.target, row.chargeable);
    let group = action.group().parse().ok();
    let (covers, placing) = (row.covers.into(), None);
    Ok(Row { id, action, group, covers, target, chargeable, placing, cells })
}

fn check_cell(action: &Action, column: Trust, raw: RawCell) -> Result<Cell, Mistake> {
    let span = raw.permission.span();
    let name = || action.to_string();
    let (maximum, default) = match raw.permission.get_ref().as_str() {
        "no" => (None, None),
        text => {
            let (maximum, default) =
                read_cell(action, column, text).map_err(|problem| (span.clone(), problem))?;
            (Some(maximum), Some(default))
        }
    };
    if let Some(maximum) = maximum {
        keep_invariants(action, action.group(), column, maximum).map_err(|problem| (span, problem))?;
    }
    let provenance = read_provenance(raw.provenance.get_ref()).ok_or_else(|| {
        let provenance = raw.provenance.get_ref().clone();
        (raw.provenance.span(), TableProblem::ProvenanceMalformed { action: name(), column, provenance })
    })?;
    Ok(Cell { maximum, default, provenance })
}

/// Reads `maximum(default)`.
fn read_cell(action: &Action, column: Trust, text: &str) -> Result<(Permission, Permission), TableProblem> {
    let name = || action.to_string();
    if text.contains('*') {
        return Err(TableProblem::Wildcard(format!("{action}, column {column}: {text}")));
    }
    if text == "yes" || text.parse::<Permission>().is_ok() {
        return Err(TableProblem::YesWithoutPermission { action: name(), column });
    }
    let parts = text.strip_suffix(')').and_then(|t| t.split_once('('));
    let read = |part: &str| part.parse::<Permission>().ok();
    let Some((maximum, default)) = parts.and_then(|(maximum, default)| read(maximum).zip(read(default)))
    else {
        return Err(TableProblem::CellMalformed { action: name(), column, cell: text.to_owned() });
    };
    if default > maximum {
        return Err(TableProblem::DefaultAboveMaximum { action: name(), column, maximum, default });
    }
    Ok((maximum, default))
}

/// What no table may say, whoever wrote it. The group is the one that an added action was placed in; its name's own counts
/// all the same.
pub(super) fn keep_invariants(
    action: &Action,
    group: &str,
    column: Trust,
    maximum: Permission,
) -> Result<(), TableProblem> {
    if column == Trust::Untrusted {
        let most = UNTRUSTED.iter().find(|(name, _)| *name == action.as_str());
        let &(_, most) = most.ok_or_else(|| TableProblem::UntrustedAction { action: action.to_string() })?;
        if maximum > most {
            return Err(TableProblem::UntrustedAboveSingle { action: action.to_string() });
        }
    }
    let is_core = group == CORE_SOFTWARE || action.group() == CORE_SOFTWARE;
    if is_core && column != Trust::Domain(SecurityDomain::Manufacturer) {
        return Err(TableProblem::CoreSoftware { action: action.to_string(), column });
    }
    Ok(())
}

fn read_provenance(text: &str) -> Option<Provenance> {
    let clause = |c: &str| !c.is_empty() && c.len() <= 80 && !c.chars().any(char::is_control);
    match text.split_once(':') {
        Some(("decision", number)) => number.parse().ok().map(Provenance::Decision),
        Some(("read", c)) if clause(c) => Some(Provenance::Read(c.into())),
        Some(("seed", c)) if clause(c) => Some(Provenance::Seed(c.into())),
        None if text == "recalled" => Some(Provenance::Recalled),
        _ => None,
    }
}
