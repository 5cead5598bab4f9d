//! Everything that decisions are made from, as one value: table, settings, surroundings, grants, live runs. Each change
//! gives a new value with a higher epoch; the old one stays as it was, so a reader never sees half a change. The service
//! keeps the current one in an `ArcSwap`. What is decided from it is in [`crate::decision`].

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use mexe_model::{AppId, GrantId, Instant, Permission, RunId};

use crate::exclusion::Exclusions;
use crate::grant::{Binding, Grant};
use crate::index::AppGrants;
use crate::owners::Owners;
use crate::shadow::Candidate;
use crate::surroundings::Surroundings;
use crate::table::{ActionId, SecurityTable};
use crate::window::LocalClock;

/// What runs by token may do (`policy.token_runs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenRuns {
    /// The same as measured runs.
    Allow,
    /// Nothing: every request is refused.
    Refuse,
    /// Use session and single permissions; blanket ones are as if absent.
    #[default]
    SessionOnly,
}

impl TokenRuns {
    /// The stable name, as the configuration spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
            Self::SessionOnly => "session-only",
        }
    }
}

/// What the user or administrator set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What runs by token may do.
    pub token_runs: TokenRuns,
}

/// The permission state of the device at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Policy(Arc<State>);

#[derive(Clone, Debug)]
struct State {
    table: Arc<SecurityTable>,
    settings: Settings,
    surroundings: Arc<Surroundings>,
    apps: HashMap<AppId, Arc<AppGrants>, RandomState>,
    /// Whose each grant is.
    owners: Owners,
    /// Live runs, and whose they are.
    runs: HashMap<RunId, AppId>,
    clock: Option<LocalClock>,
    exclusions: Arc<Exclusions>,
    epoch: u64,
}

impl State {
    /// Puts other grants in place of an app's.
    fn set_grants(&mut self, app: &AppId, grants: Vec<Arc<Grant>>) {
        let before = self.apps.get(app).map(|index| index.ids()).unwrap_or_default();
        let index = AppGrants::build(grants);
        let after = index.ids();
        self.owners.change(app, &before, &after);
        if after.is_empty() {
            self.apps.remove(app);
        } else {
            self.apps.insert(app.clone(), Arc::new(index));
        }
    }
}

impl Policy {
    /// A policy without grants or runs, at epoch 0. Made once at start; what changes later is changed from the present
    /// value, so that no two states share an epoch.
    pub fn new(table: Arc<SecurityTable>, settings: Settings, surroundings: Surroundings) -> Self {
        let surroundings = Arc::new(surroundings.prepared());
        Self(Arc::new(State {
            table,
            settings,
            surroundings,
            apps: HashMap::default(),
            owners: Owners::default(),
            runs: HashMap::new(),
            clock: None,
            exclusions: Arc::default(),
            epoch: 0,
        }))
    }

    // Questions

    /// The security table.
    pub fn table(&self) -> &Arc<SecurityTable> {
        &self.0.table
    }

    /// The settings.
    pub fn settings(&self) -> Settings {
        self.0.settings
    }

    /// The gate's listeners and the device's addresses.
    pub fn surroundings(&self) -> &Surroundings {
        &self.0.surroundings
    }

    /// Which blanket permissions one app does not hold together: for whoever gives grants, never for decisions.
    pub fn exclusions(&self) -> &Exclusions {
        &self.0.exclusions
    }

    /// By what the windows of grants are open; without it none is.
    pub fn clock(&self) -> Option<LocalClock> {
        self.0.clock
    }

    /// Counts the changes. A ticket of another epoch is not to be relied on: decide again.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// All grants, in no particular order; spent and expired ones too, until they are taken out.
    pub fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.0.apps.values().flat_map(|app| app.grants())
    }

    /// The grants of one app, by id.
    pub fn grants_of(&self, app: &AppId) -> &[Arc<Grant>] {
        self.index(app).map_or(&[], |index| index.grants())
    }

    /// One grant.
    pub fn grant(&self, id: GrantId) -> Option<&Arc<Grant>> {
        self.index(self.0.owners.of(id)?)?.grant(id)
    }

    /// When the next grant after `now` expires, and its flows must be cut.
    pub fn next_expiry(&self, now: Instant) -> Option<Instant> {
        self.grants().filter_map(|grant| grant.expires()).filter(|end| *end > now).min()
    }

    /// When the next window of a grant that is open now closes, as the clock stands, and its flows must be cut.
    pub fn next_closing(&self, now: Instant) -> Option<Instant> {
        let moment = self.0.clock?.read(now);
        let left = self.grants().filter_map(|grant| grant.window()?.open_for(moment));
        left.filter(|left| !left.is_zero()).min().map(|left| now.after(left))
    }

    pub(crate) fn index(&self, app: &AppId) -> Option<&AppGrants> {
        self.0.apps.get(app).map(Arc::as_ref)
    }

    // Events

    /// Uses a single permission, whoever of the holders of this or another policy value comes first: true for exactly
    /// one caller. False also for a grant that is not here any more. True for grants that are not single.
    pub fn spend(&self, id: GrantId) -> bool {
        self.grant(id).is_some_and(|grant| grant.spend())
    }

    /// With one more grant. A session grant is bound to the live runs of its app, else to its next one. A grant with an
    /// id that is there takes its place.
    pub fn with_grant(&self, grant: Grant) -> Self {
        self.with_grants([grant])
    }

    /// With more grants: one change, and one arranging for each app.
    pub fn with_grants(&self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.changed(|state| {
            let mut by_app: HashMap<AppId, Vec<Arc<Grant>>> = HashMap::new();
            for grant in grants {
                let app = grant.app().clone();
                let grant = match grant.binding() {
                    Some(Binding::Pending) => grant.bound_to(binding(&state.runs, &app)),
                    _ => grant,
                };
                let present =
                    || state.apps.get(&app).map(|index| index.grants().to_vec()).unwrap_or_default();
                by_app.entry(app.clone()).or_insert_with(present).push(Arc::new(grant));
            }
            for (app, grants) in by_app {
                state.set_grants(&app, grants);
            }
        })
    }

    /// Without that grant; the same policy when it is not there.
    pub fn without_grant(&self, id: GrantId) -> Self {
        self.without_grants(&[id])
    }

    /// Without those grants; the same policy when none is there.
    pub fn without_grants(&self, ids: &[GrantId]) -> Self {
        let mut by_app: HashMap<&AppId, Vec<GrantId>> = HashMap::new();
        for grant in ids.iter().filter_map(|id| self.grant(*id)) {
            by_app.entry(grant.app()).or_default().push(grant.id());
        }
        if by_app.is_empty() {
            return self.clone();
        }
        self.changed(|state| {
            for (app, mut gone) in by_app {
                gone.sort_unstable();
                let stays = |grant: &&Arc<Grant>| gone.binary_search(&grant.id()).is_err();
                let rest = self.grants_of(app).iter().filter(stays).cloned().collect();
                state.set_grants(app, rest);
            }
        })
    }

    /// After a run began: session grants that waited for the app's next run belong to this one.
    pub fn run_started(&self, app: &AppId, run: RunId) -> Self {
        self.changed(|state| {
            state.runs.insert(run, app.clone());
            let waiting = |grant: &Arc<Grant>| grant.binding() == Some(&Binding::Pending);
            if self.grants_of(app).iter().any(waiting) {
                let bind = |grant: &Arc<Grant>| {
                    if waiting(grant) {
                        Arc::new(grant.bound_to(Binding::Runs(vec![run])))
                    } else {
                        Arc::clone(grant)
                    }
                };
                state.set_grants(app, self.grants_of(app).iter().map(bind).collect());
            }
        })
    }

    /// After a run ended: session grants with no live run left are dropped, and named. The same policy when the run is
    /// not known.
    pub fn run_ended(&self, run: RunId) -> (Self, Vec<GrantId>) {
        let Some(app) = self.0.runs.get(&run) else { return (self.clone(), Vec::new()) };
        let mut dropped = Vec::new();
        let policy = self.changed(|state| {
            state.runs.remove(&run);
            let bound =
                |grant: &Grant| matches!(grant.binding(), Some(Binding::Runs(runs)) if runs.contains(&run));
            if !self.grants_of(app).iter().any(|grant| bound(grant)) {
                return;
            }
            let mut kept = Vec::new();
            for grant in self.grants_of(app) {
                match grant.binding() {
                    Some(Binding::Runs(runs)) if runs.contains(&run) => {
                        let left: Vec<RunId> = runs.iter().copied().filter(|r| *r != run).collect();
                        if left.is_empty() {
                            dropped.push(grant.id());
                        } else {
                            kept.push(Arc::new(grant.bound_to(Binding::Runs(left))));
                        }
                    }
                    _ => kept.push(Arc::clone(grant)),
                }
            }
            state.set_grants(app, kept);
        });
        (policy, dropped)
    }

    /// After an app was removed: without its grants, which are named, and its runs.
    pub fn app_removed(&self, app: &AppId) -> (Self, Vec<GrantId>) {
        let dropped = self.grants_of(app).iter().map(|grant| grant.id()).collect();
        let policy = self.changed(|state| {
            state.set_grants(app, Vec::new());
            state.runs.retain(|_, owner| owner != app);
        });
        (policy, dropped)
    }

    /// With other settings.
    pub fn with_settings(&self, settings: Settings) -> Self {
        self.changed(|state| state.settings = settings)
    }

    /// With other exclusions. Grants that are held already stay.
    pub fn with_exclusions(&self, exclusions: Exclusions) -> Self {
        self.changed(|state| state.exclusions = Arc::new(exclusions))
    }

    /// After the clock was read anew: it was set, local time changed, or, with `None`, it is not to be relied on.
    pub fn with_clock(&self, clock: Option<LocalClock>) -> Self {
        self.changed(|state| state.clock = clock)
    }

    /// With other surroundings.
    pub fn with_surroundings(&self, surroundings: Surroundings) -> Self {
        self.changed(|state| state.surroundings = Arc::new(surroundings.prepared()))
    }

    /// With another table. Grants follow their actions by name; those whose action is gone are dropped, and named. Grants
    /// wider than the new table allows stay, and are as if absent.
    pub fn with_table(&self, table: Arc<SecurityTable>) -> (Self, Vec<GrantId>) {
        let mut dropped = Vec::new();
        let policy = self.changed(|state| {
            for (app, index) in &self.0.apps {
                let mut kept = Vec::new();
                for grant in index.grants() {
                    let name = self.0.table.row(grant.action()).map(|row| row.action.as_str());
                    match name.and_then(|name| table.action(name)) {
                        Some(action) => kept.push(Arc::new(grant.for_action(action))),
                        None => dropped.push(grant.id()),
                    }
                }
                state.set_grants(app, kept);
            }
            state.table = table;
        });
        (policy, dropped)
    }

    /// This policy under a candidate's table and settings, at the same epoch. `known` has what apps' grants were made into
    /// before, `actions` the candidate's id for each of ours.
    pub(crate) fn seen_by(
        &self,
        candidate: &Candidate,
        known: &HashMap<AppId, Arc<AppGrants>>,
        actions: &[Option<ActionId>],
    ) -> Self {
        let mut state = State::clone(&self.0);
        state.settings = candidate.settings.unwrap_or(state.settings);
        let Some(table) = &candidate.table else { return Self(Arc::new(state)) };
        state.table = Arc::clone(table);
        let mapped = |grant: &Arc<Grant>| {
            let action = actions.get(usize::from(grant.action().0)).copied().flatten();
            action.map(|action| Arc::new(grant.for_action(action)))
        };
        for (app, index) in &mut state.apps {
            *index = match known.get(app) {
                Some(known) => Arc::clone(known),
                None => Arc::new(AppGrants::build(index.grants().iter().filter_map(mapped).collect())),
            };
        }
        Self(Arc::new(state))
    }

    /// Of this policy, made by [`Policy::seen_by`] from `before`, the apps that have the same grants in `after`.
    pub(crate) fn unchanged(&self, before: &Self, after: &Self) -> HashMap<AppId, Arc<AppGrants>> {
        let same = |app: &AppId| match (before.0.apps.get(app), after.0.apps.get(app)) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            _ => false,
        };
        let kept = self.0.apps.iter().filter(|(app, _)| same(app));
        kept.map(|(app, index)| (app.clone(), Arc::clone(index))).collect()
    }

    fn changed(&self, change: impl FnOnce(&mut State)) -> Self {
        let mut state = State::clone(&self.0);
        change(&mut state);
        state.epoch = state.epoch.saturating_add(1);
        Self(Arc::new(state))
    }

    /// The widest permission that an asker may use here: no wider than the cell, no blanket for a run by token unless the
    /// settings say so, and no blanket for an app whose verdict rests on legacy algorithms.
    pub(crate) fn ceiling(&self, maximum: Permission, by_token: bool, legacy: bool) -> Permission {
        let session_only = legacy || (by_token && self.0.settings.token_runs == TokenRuns::SessionOnly);
        if session_only { maximum.min(Permission::Session) } else { maximum }
    }
}

fn binding(runs: &HashMap<RunId, AppId>, app: &AppId) -> Binding {
    let mut live: Vec<RunId> = runs.iter().filter(|(_, owner)| *owner == app).map(|(run, _)| *run).collect();
    live.sort_unstable();
    if live.is_empty() { Binding::Pending } else { Binding::Runs(live) }
}
