//! Actions that the configuration adds to a table. Nobody writes their cells: the rules say where an action belongs, and
//! for each domain it gets the narrowest of what the rows there get. An untrusted app never gets an added action.

use std::sync::Arc;

use mexe_model::{Action, Permission, SecurityDomain, Trust};
use serde::Deserialize;
use toml::Spanned;

use super::load::keep_invariants;
use super::{ActionId, Cell, Mistake, Provenance, Row, SecurityTable, TableError, TableProblem, TargetKind};
use super::{located, read_toml};
use crate::categorisation::{Categorisation, CategorisationRule, Declared, Placing};

/// The groups of PIN, authentication and APDU actions: what is added to them nobody gets, whatever the rules and rows say.
const NEVER: [&str; 2] = ["security", "smart-card"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawActions {
    #[serde(default, rename = "new-action")]
    actions: Vec<RawAction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAction {
    action: Spanned<String>,
    covers: String,
    #[serde(default = "no_target")]
    target: TargetKind,
    chargeable: bool,
    #[serde(default)]
    uses: Vec<Spanned<String>>,
    /// Where the administrator places it.
    place: Option<Spanned<String>>,
}

fn no_target() -> TargetKind {
    TargetKind::None
}

/// What the four columns may be permitted: maximum and default.
type Columns = [Option<(Permission, Permission)>; 4];

impl SecurityTable {
    /// This table with the `[[new-action]]` sections of a file, placed by the rules. The actions that are here keep their
    /// ids.
    ///
    /// # Errors
    /// One mistake, with its line and column in that file: text that is not TOML or no actions, an action that is there
    /// already, a use that no rule knows, a place that is wider than the rules leave or that cannot be, or a broken
    /// invariant.
    pub fn with_actions(&self, text: &str, rules: &Categorisation) -> Result<Self, TableError> {
        read_toml::<RawActions>(text)
            .and_then(|raw| {
                raw.actions.into_iter().try_fold(self.clone(), |table, new| table.with(new, rules))
            })
            .map_err(|mistake| located(text, mistake))
    }

    fn with(mut self, new: RawAction, rules: &Categorisation) -> Result<Self, Mistake> {
        let span = new.action.span();
        let name = new.action.into_inner();
        if name.contains('*') {
            return Err((span, TableProblem::Wildcard(name)));
        }
        let action: Action =
            name.parse().map_err(|e| (span.clone(), TableProblem::ActionMalformed(format!("{e}"))))?;
        let id = u16::try_from(self.rows.len())
            .map(ActionId)
            .map_err(|_| (span.clone(), TableProblem::TooManyActions))?;
        if self.by_name.insert(action.as_str().into(), id).is_some() {
            return Err((span, TableProblem::DuplicateAction(name)));
        }
        let uses =
            new.uses.into_iter().map(|used| known_use(&name, used, rules)).collect::<Result<_, _>>()?;
        let declared = Declared { action: action.clone(), chargeable: new.chargeable, uses };
        let place = new.place.map(|place| (place.span(), place.into_inner()));
        let (placing, columns, provenance) = self.placed(&declared, place, rules)?;
        for (trust, column) in Trust::ALL.into_iter().zip(columns) {
            let Some((maximum, _)) = column else { continue };
            let group = placing.group.as_deref().unwrap_or_default();
            keep_invariants(&action, group, trust, maximum).map_err(|problem| (span.clone(), problem))?;
        }
        let cells = columns.map(|column| Cell {
            maximum: column.map(|(maximum, _)| maximum),
            default: column.map(|(_, default)| default),
            provenance: provenance.clone(),
        });
        let group = placing.group.as_deref().and_then(|group| group.parse().ok());
        self.rows.push(Row {
            id,
            action,
            group,
            covers: new.covers.into(),
            target: new.target,
            chargeable: new.chargeable,
            placing: Some(Arc::new(placing)),
            cells,
        });
        Ok(self)
    }

    /// Where the action goes, what it gets there, and where that comes from.
    fn placed(
        &self,
        declared: &Declared,
        place: Option<(std::ops::Range<usize>, String)>,
        rules: &Categorisation,
    ) -> Result<(Placing, Columns, Provenance), Mistake> {
        let name = || declared.action.to_string();
        let fitting: Vec<&CategorisationRule> = rules.fitting(declared).collect();
        let fits = fitting.iter().map(|rule| Arc::clone(&rule.name)).collect();
        let never = fitting.iter().copied().find(|rule| !rule.placeable);
        let Some((span, group)) = place else {
            // Of several the most restrictive; where two are equally so, the group with the lower number.
            let chosen = never.or_else(|| fitting.iter().copied().min_by_key(|rule| self.rank(&rule.group)));
            let Some(rule) = chosen else {
                return Ok((Placing { group: None, by: None, fits }, [None; 4], Provenance::Decision(4)));
            };
            let provenance = Provenance::Rule(Arc::clone(&rule.name));
            let by = Some(Arc::from(provenance.to_string()));
            let placing = Placing { group: Some(Arc::clone(&rule.group)), by, fits };
            return Ok((placing, self.left_by(&fitting), provenance));
        };
        if let Some(rule) = never {
            let problem = TableProblem::NeverPlaceable { action: name(), rule: rule.name.to_string() };
            return Err((span, problem));
        }
        if !self.groups.iter().any(|known| *known.name == *group) {
            return Err((span, TableProblem::UnknownPlace { action: name(), group }));
        }
        let columns = self.of_group(&group);
        if !fitting.is_empty() {
            let most = self.left_by(&fitting);
            let columns = Trust::ALL.into_iter().zip(columns.into_iter().zip(most));
            for (column, (placed, most)) in columns {
                let (placed, most) = (placed.map(|(m, _)| m), most.map(|(m, _)| m));
                if placed > most {
                    let most = most.map_or("no", Permission::as_str);
                    return Err((span, TableProblem::PlacedTooWide { action: name(), group, column, most }));
                }
            }
        }
        let by = Some(Arc::from("administrator"));
        let provenance = Provenance::Administrator(group.as_str().into());
        Ok((Placing { group: Some(group.into()), by, fits }, columns, provenance))
    }

    /// What all of the rules' groups leave.
    fn left_by(&self, rules: &[&CategorisationRule]) -> Columns {
        if rules.iter().any(|rule| !rule.placeable) {
            return [None; 4];
        }
        narrowest(rules.iter().map(|rule| self.of_group(&rule.group)))
    }

    /// The narrowest of the rows of a group that the table's author wrote: what was added is made from those.
    fn of_group(&self, group: &str) -> Columns {
        if NEVER.contains(&group) {
            return [None; 4];
        }
        let rows = self.rows.iter().filter(|row| row.placing.is_none() && row.action.group() == group);
        narrowest(rows.map(|row| {
            let of = |trust| row.cell(trust).maximum.zip(row.cell(trust).default);
            let domain = |domain| of(Trust::Domain(domain));
            // No untrusted app gets more than the actions that are named for it, and an added one is not.
            let untrusted = None;
            [
                domain(SecurityDomain::Operator),
                domain(SecurityDomain::Manufacturer),
                domain(SecurityDomain::ThirdParty),
                untrusted,
            ]
        }))
    }

    /// Smaller is more restrictive: how much the group gives in all columns together, then its number.
    fn rank(&self, group: &str) -> (usize, u8) {
        let width = |column: Option<(Permission, Permission)>| {
            column.map_or(0, |(maximum, _)| 1 + Permission::ALL.iter().filter(|p| **p < maximum).count())
        };
        let number = self.groups.iter().find(|known| *known.name == *group).map_or(0, |known| known.number);
        (self.of_group(group).into_iter().map(width).sum(), number)
    }
}

/// The narrowest, column by column; nothing at all when there is nothing to compare.
fn narrowest(all: impl Iterator<Item = Columns>) -> Columns {
    let narrower = |a: Option<(Permission, Permission)>, b: Option<(Permission, Permission)>| {
        a.zip(b).map(|((a, of_a), (b, of_b))| (a.min(b), of_a.min(of_b)))
    };
    all.reduce(|[a, b, c, d], [e, f, g, h]| [narrower(a, e), narrower(b, f), narrower(c, g), narrower(d, h)])
        .unwrap_or_default()
}

fn known_use(action: &str, used: Spanned<String>, rules: &Categorisation) -> Result<String, Mistake> {
    let (span, used) = (used.span(), used.into_inner());
    if rules.knows(&used) {
        return Ok(used);
    }
    let known = rules.uses().into_iter().collect::<Vec<_>>().join(", ");
    Err((span, TableProblem::UnknownUse { action: action.to_owned(), used, known }))
}
