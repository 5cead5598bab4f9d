//! Blanket permissions that one app does not hold together: pairs of sets of actions, as data. Says which grants of an
//! app stand against one that is wanted; what comes of it, a refusal or a narrower permission, is the caller's business.
//! Asked by the service before it gives a grant, when the owner switched exclusions on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mexe_model::{Action, AppId, GrantId, Instant, Permission};
use serde::Deserialize;
use toml::Spanned;

use crate::grant::Grant;
use crate::policy::Policy;
use crate::table::{Mistake, TableError, TableProblem, located, read_toml};

/// The exclusions of MIDP 2.0, as text.
pub const MIDP: &str = include_str!("../exclusions-midp.toml");

/// Two sides: an app with a blanket permission for an action of one is given none for an action of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exclusion {
    name: Arc<str>,
    one: BTreeSet<Action>,
    other: BTreeSet<Action>,
}

/// All exclusions that hold; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions(Vec<Exclusion>);

/// What stands against a wanted grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// The exclusion's name.
    pub by: Arc<str>,
    /// The grant that the app holds.
    pub grant: GrantId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExclusions {
    #[serde(default, rename = "set")]
    sets: Vec<RawSet>,
    #[serde(default, rename = "exclusion")]
    exclusions: Vec<RawExclusion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    name: Spanned<String>,
    actions: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExclusion {
    name: Spanned<String>,
    one: Vec<Spanned<String>>,
    other: Vec<Spanned<String>>,
}

impl Exclusions {
    /// Reads exclusions.
    ///
    /// # Errors
    /// One mistake, with its line and column: text that is not TOML or no exclusions, a name that is there twice, an
    /// action that is none, a set that is not there.
    pub fn from_toml(text: &str) -> Result<Self, TableError> {
        read_toml::<RawExclusions>(text).and_then(check).map_err(|mistake| located(text, mistake))
    }

    /// Those of MIDP 2.0.
    ///
    /// # Errors
    /// Never, for the file in the source tree: a test loads it.
    pub fn midp() -> Result<Self, TableError> {
        Self::from_toml(MIDP)
    }

    /// Which of the app's grants that hold now exclude that permission for that action; none for a permission that is not
    /// blanket. A blanket grant that is wider than today's table stands against it all the same.
    pub fn against(
        &self,
        policy: &Policy,
        now: Instant,
        app: &AppId,
        action: &Action,
        permission: Permission,
    ) -> Vec<Excluded> {
        let mut found = Vec::new();
        if permission != Permission::Blanket {
            return found;
        }
        let holds = |grant: &&Arc<Grant>| grant.permission() == Permission::Blanket && !grant.is_expired(now);
        for grant in policy.grants_of(app).iter().filter(holds) {
            let Some(row) = policy.table().row(grant.action()) else { continue };
            let exclusion = self.0.iter().find(|exclusion| exclusion.parts(&row.action, action));
            found.extend(exclusion.map(|by| Excluded { by: Arc::clone(&by.name), grant: grant.id() }));
        }
        found
    }

    /// The permission that may be offered where the default would be this one: what would be excluded becomes one for
    /// the session.
    pub fn narrowed(
        &self,
        policy: &Policy,
        now: Instant,
        app: &AppId,
        action: &Action,
        permission: Permission,
    ) -> Permission {
        match self.against(policy, now, app, action, permission).is_empty() {
            true => permission,
            false => Permission::Session,
        }
    }
}

impl Exclusion {
    fn parts(&self, a: &Action, b: &Action) -> bool {
        (self.one.contains(a) && self.other.contains(b)) || (self.other.contains(a) && self.one.contains(b))
    }
}

fn check(raw: RawExclusions) -> Result<Exclusions, Mistake> {
    let mut sets: BTreeMap<String, BTreeSet<Action>> = BTreeMap::new();
    for set in raw.sets {
        let action = |text: Spanned<String>| {
            let parsed = text.get_ref().parse::<Action>();
            parsed.map_err(|e| (text.span(), TableProblem::ActionMalformed(format!("{e}"))))
        };
        let actions = set.actions.into_iter().map(action).collect::<Result<_, _>>()?;
        let (span, name) = (set.name.span(), set.name.into_inner());
        if sets.insert(name.clone(), actions).is_some() {
            return Err((span, TableProblem::DuplicateSet(name)));
        }
    }
    let side = |names: Vec<Spanned<String>>| {
        let mut actions = BTreeSet::new();
        for name in names {
            let unknown = || (name.span(), TableProblem::UnknownSet(name.get_ref().clone()));
            actions.extend(sets.get(name.get_ref()).ok_or_else(unknown)?.iter().cloned());
        }
        Ok(actions)
    };
    let mut exclusions: Vec<Exclusion> = Vec::new();
    for exclusion in raw.exclusions {
        let (span, name) = (exclusion.name.span(), exclusion.name.into_inner());
        if exclusions.iter().any(|other| *other.name == *name) {
            return Err((span, TableProblem::DuplicateSet(name)));
        }
        let (one, other) = (side(exclusion.one)?, side(exclusion.other)?);
        exclusions.push(Exclusion { name: name.into(), one, other });
    }
    Ok(Exclusions(exclusions))
}
