//! What the user does not want to be asked again. A question that was denied is not asked again in the runs that asked;
//! the third denial of the same wish within a day holds for every run, until the user wants to be asked again. The third of
//! an app and action, whatever the targets, silences both for a day: nothing new is asked, and nothing is taken away.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use mexe_model::{AppId, DenialId, Instant, RunId, WallTime};

use super::{Scope, Wish};

/// Denials of the same wish within [`A_DAY`] after which it is denied for every run, and of the same app and action after
/// which nothing new is asked.
const PATIENCE: usize = 3;
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Its id.
    pub id: DenialId,
    /// What was wished.
    pub wish: Wish,
    /// How far it reaches.
    pub scope: Scope,
    /// How long it holds.
    pub holds: Holds,
    /// What it does.
    pub effect: Effect,
    /// When it was given.
    pub denied_at: WallTime,
}

/// What a denial does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// What it covers is refused.
    #[default]
    Refused,
    /// The app asks nothing new for this action: what would be asked is refused, and kept as missed.
    NotAsked,
}

/// How long a denial holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Until the user wants to be asked again.
    Always,
    /// As long as these runs.
    Runs(BTreeSet<RunId>),
    /// Until then.
    Until(Instant),
}

/// What noting a denial led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The denial as it holds.
    pub denial: Denial,
    /// Whether it holds for every run only because it was the third in a day.
    pub by_patience: bool,
    /// That nothing new of this app and action is asked, if that is new.
    pub silence: Option<Denial>,
}

impl Denial {
    fn covers(&self, wish: &Wish, run: RunId, now: Instant) -> bool {
        let holds = match &self.holds {
            Holds::Always => true,
            Holds::Runs(runs) => runs.contains(&run),
            Holds::Until(end) => now < *end,
        };
        let reaches = || match self.scope {
            Scope::Any => true,
            Scope::Host => self.wish.subject.host().is_some_and(|host| wish.subject.host() == Some(host)),
            Scope::Target => self.wish.subject == wish.subject,
        };
        self.effect == Effect::Refused && holds && self.wish.action == wish.action && reaches()
    }
}

#[derive(Debug, Default)]
pub(super) struct Denials {
    next: u64,
    by_app: HashMap<AppId, Vec<Denial>>,
    /// When each wish was denied lately.
    recent: HashMap<Wish, Vec<WallTime>>,
}

impl Denials {
    pub(super) fn covers(&self, wish: &Wish, run: RunId, now: Instant) -> bool {
        self.by_app.get(&wish.app).is_some_and(|of_app| of_app.iter().any(|one| one.covers(wish, run, now)))
    }

    /// Whether the user is asked nothing new for such a wish.
    pub(super) fn silences(&self, wish: &Wish, now: Instant) -> bool {
        let silences = |one: &Denial| {
            one.effect == Effect::NotAsked
                && one.wish.action == wish.action
                && !matches!(one.holds, Holds::Until(end) if end <= now)
        };
        self.by_app.get(&wish.app).is_some_and(|of_app| of_app.iter().any(silences))
    }

    pub(super) fn note(
        &mut self,
        wish: Wish,
        scope: Scope,
        holds: Holds,
        now: Instant,
        at: WallTime,
    ) -> Noted {
        let is_fresh =
            |denied: &WallTime| u128::from(at.as_millis().abs_diff(denied.as_millis())) < A_DAY.as_millis();
        self.recent.retain(|_, times| {
            times.retain(is_fresh);
            !times.is_empty()
        });
        let times = self.recent.entry(wish.clone()).or_default();
        times.push(at);
        let by_patience = times.len() >= PATIENCE && holds != Holds::Always;
        let holds = if by_patience { Holds::Always } else { holds };
        let is_too_much = self.nos_like(&wish) >= PATIENCE && !self.silences(&wish, now);
        let silence = is_too_much.then(|| {
            let holds = Holds::Until(now.after(A_DAY));
            self.add(wish.clone(), Scope::Any, holds, Effect::NotAsked, at)
        });
        let denial = self.add(wish, scope, holds, Effect::Refused, at);
        Noted { denial, by_patience, silence }
    }

    fn add(&mut self, wish: Wish, scope: Scope, holds: Holds, effect: Effect, at: WallTime) -> Denial {
        let id = DenialId(self.next.saturating_add(1));
        self.next = id.0;
        let denial = Denial { id, wish, scope, holds, effect, denied_at: at };
        let of_app = self.by_app.entry(denial.wish.app.clone()).or_default();
        // What the new one says as well need not stand twice.
        of_app.retain(|old| {
            (&old.wish, old.scope, old.effect) != (&denial.wish, scope, effect)
                || !is_within(&old.holds, &denial.holds)
        });
        // One for runs that are over holds for nobody; it counted all the same.
        if !matches!(&denial.holds, Holds::Runs(runs) if runs.is_empty()) {
            of_app.push(denial.clone());
        }
        denial
    }

    /// How often the user said no lately, to whatever target.
    fn nos_like(&self, wish: &Wish) -> usize {
        let alike = self.recent.iter().filter(|(other, _)| is_alike(other, wish));
        alike.map(|(_, times)| times.len()).sum()
    }

    pub(super) fn list(&self, now: Instant) -> Vec<Denial> {
        let mut all: Vec<Denial> = self.by_app.values().flatten().cloned().collect();
        all.retain(|one| !matches!(one.holds, Holds::Until(end) if end <= now));
        all.sort_by_key(|one| one.id);
        all
    }

    pub(super) fn restore(&mut self, denials: Vec<Denial>) {
        for denial in denials {
            self.next = self.next.max(denial.id.0);
            self.by_app.entry(denial.wish.app.clone()).or_default().push(denial);
        }
    }

    pub(super) fn remove(&mut self, id: DenialId) -> Option<Denial> {
        let found = self.by_app.values().flatten().find(|one| one.id == id)?.clone();
        // He wants to be asked again, and not to have the next no count as the fourth.
        match found.effect {
            Effect::Refused => drop(self.recent.remove(&found.wish)),
            Effect::NotAsked => self.recent.retain(|wish, _| !is_alike(wish, &found.wish)),
        }
        let nos = self.nos_like(&found.wish);
        // Nor to be left without questions for the sake of a no that he has taken back.
        let is_moot = |one: &Denial| {
            nos < PATIENCE && one.effect == Effect::NotAsked && is_alike(&one.wish, &found.wish)
        };
        self.retain(|one| one.id != id && !is_moot(one));
        Some(found)
    }

    pub(super) fn run_ended(&mut self, run: RunId) {
        for of_app in self.by_app.values_mut() {
            for one in &mut *of_app {
                if let Holds::Runs(runs) = &mut one.holds {
                    runs.remove(&run);
                }
            }
        }
        self.retain(|one| !matches!(&one.holds, Holds::Runs(runs) if runs.is_empty()));
    }

    pub(super) fn app_removed(&mut self, app: &AppId) -> bool {
        self.recent.retain(|wish, _| wish.app != *app);
        let gone = self.by_app.remove(app).unwrap_or_default();
        gone.iter().any(|one| !matches!(one.holds, Holds::Runs(_)))
    }

    fn retain(&mut self, keep: impl Fn(&Denial) -> bool) {
        self.by_app.retain(|_, of_app| {
            of_app.retain(&keep);
            !of_app.is_empty()
        });
    }
}

/// Whether two wishes differ in their target at most.
fn is_alike(one: &Wish, other: &Wish) -> bool {
    one.app == other.app && one.action == other.action
}

/// Whether whoever `inner` holds for, `outer` holds for as well, and as long.
fn is_within(inner: &Holds, outer: &Holds) -> bool {
    match (inner, outer) {
        (_, Holds::Always) => true,
        (Holds::Until(inner), Holds::Until(outer)) => inner <= outer,
        (Holds::Runs(inner), Holds::Runs(outer)) => inner.is_subset(outer),
        _ => false,
    }
}
