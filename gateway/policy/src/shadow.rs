//! Shadow mode: what another table or other settings would have decided, beside the live policy and without effect. The
//! service decides live, hands the same facts to the [`Shadow`], and shows the counts; nothing opens or closes by it. The
//! shadow follows the live policy's grants, runs and clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mexe_model::{ActionGroup, Instant, Trust};
use serde::Serialize;

use crate::decision::{Decision, Facts, Rule};
use crate::grant::table_says_no;
use crate::policy::{Policy, Settings};
use crate::table::{ActionId, SecurityTable};

/// What the candidate would have done other than the live policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// Nothing.
    Same,
    /// It would have allowed.
    WouldAllow,
    /// It would have asked the user.
    WouldAsk,
    /// It would have refused.
    WouldRefuse,
}

impl Difference {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Same, Self::WouldAllow, Self::WouldAsk, Self::WouldRefuse];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::WouldAllow => "would-allow",
            Self::WouldAsk => "would-ask",
            Self::WouldRefuse => "would-refuse",
        }
    }
}

/// Compares the kinds of two decisions. By which grant one allows and for which reason one refuses makes no difference.
pub fn compare(live: &Decision, candidate: &Decision) -> Difference {
    match (live, candidate) {
        (Decision::Allow(_), Decision::Allow(_))
        | (Decision::Ask(_), Decision::Ask(_))
        | (Decision::Refuse(..), Decision::Refuse(..)) => Difference::Same,
        (_, Decision::Allow(_)) => Difference::WouldAllow,
        (_, Decision::Ask(_)) => Difference::WouldAsk,
        (_, Decision::Refuse(..)) => Difference::WouldRefuse,
    }
}

/// Columns, groups with one more for actions in none of them, kinds.
const COUNTERS: usize = Trust::ALL.len() * (ActionGroup::ALL.len() + 1) * Difference::ALL.len();

/// How often what was found. Counts on while it is read.
#[derive(Debug)]
pub struct Counts([AtomicU64; COUNTERS]);

/// One count that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The column.
    pub domain: Trust,
    /// The action's group in the live table; none for one that certificates cannot name.
    #[serde(serialize_with = "by_name")]
    pub group: Option<ActionGroup>,
    /// What was found.
    pub difference: Difference,
    /// How often.
    pub count: u64,
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn by_name<S: serde::Serializer>(group: &Option<ActionGroup>, serializer: S) -> Result<S::Ok, S::Error> {
    group.map(ActionGroup::as_str).serialize(serializer)
}

impl Default for Counts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counts {
    fn at(trust: Trust, group: Option<ActionGroup>, difference: Difference) -> usize {
        let column = Trust::ALL.iter().position(|column| *column == trust).unwrap_or(0);
        let group = group.map_or(0, |group| usize::from(group.number()));
        (column * (ActionGroup::ALL.len() + 1) + group) * Difference::ALL.len() + difference as usize
    }

    fn add(&self, trust: Trust, group: Option<ActionGroup>, difference: Difference) {
        if let Some(count) = self.0.get(Self::at(trust, group, difference)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every count that is not zero, by column, group and kind.
    pub fn found(&self) -> Vec<Count> {
        let mut found = Vec::new();
        for domain in Trust::ALL {
            for group in [None].into_iter().chain(ActionGroup::ALL.iter().copied().map(Some)) {
                for difference in Difference::ALL {
                    let count = self.0.get(Self::at(domain, group, difference));
                    let count = count.map_or(0, |count| count.load(Ordering::Relaxed));
                    if count > 0 {
                        found.push(Count { domain, group, difference, count });
                    }
                }
            }
        }
        found
    }
}

/// What a candidate changes.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// Another table; none for the live one.
    pub table: Option<Arc<SecurityTable>>,
    /// Other settings; none for the live ones.
    pub settings: Option<Settings>,
}

/// A candidate with the live policy's grants. Immutable but for its counts, which every value that [`Shadow::follow`]
/// makes shares.
#[derive(Clone, Debug)]
pub struct Shadow {
    candidate: Candidate,
    /// The live policy that it was made from, for what follows to be compared with.
    live: Policy,
    policy: Policy,
    /// The candidate's id of each live action, by the live id.
    actions: Arc<Vec<Option<ActionId>>>,
    counts: Arc<Counts>,
}

impl Shadow {
    /// The candidate beside the policy as it is now.
    pub fn new(candidate: Candidate, live: &Policy) -> Self {
        let actions = Arc::new(mapped(&candidate, live));
        let policy = live.seen_by(&candidate, &HashMap::new(), &actions);
        Self { candidate, live: live.clone(), policy, actions, counts: Arc::default() }
    }

    /// The same beside a newer policy. Only the apps whose grants changed cost anything; counts go on.
    pub fn follow(&self, live: &Policy) -> Self {
        if live.epoch() == self.live.epoch() {
            return self.clone();
        }
        let same_table = Arc::ptr_eq(live.table(), self.live.table());
        let actions =
            if same_table { Arc::clone(&self.actions) } else { Arc::new(mapped(&self.candidate, live)) };
        let known = if same_table { self.policy.unchanged(&self.live, live) } else { HashMap::new() };
        let policy = live.seen_by(&self.candidate, &known, &actions);
        let (candidate, counts) = (self.candidate.clone(), Arc::clone(&self.counts));
        Self { candidate, live: live.clone(), policy, actions, counts }
    }

    /// What the candidate says to a question to the live policy. Allocates nothing.
    pub fn decide(&self, now: Instant, facts: &Facts<'_>) -> Decision {
        let action = self.actions.get(usize::from(facts.action.0)).copied().flatten();
        match action {
            Some(action) => self.policy.decide(now, &Facts { action, ..*facts }),
            None => {
                let (action, trust) = (facts.action, facts.trust);
                let rule = Rule { action, trust, grant: None, near_miss: None };
                Decision::Refuse(table_says_no(trust), rule)
            }
        }
    }

    /// Decides as the candidate would, compares with what was decided live, and counts it. Allocates nothing.
    pub fn observe(&self, now: Instant, facts: &Facts<'_>, live: &Decision) -> Difference {
        let difference = compare(live, &self.decide(now, facts));
        let group = self.live.table().row(facts.action).and_then(|row| row.group);
        self.counts.add(facts.trust, group, difference);
        difference
    }

    /// How often what was found.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What the candidate changes.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }
}

fn mapped(candidate: &Candidate, live: &Policy) -> Vec<Option<ActionId>> {
    let table = candidate.table.as_ref().unwrap_or(live.table());
    live.table().rows().map(|row| table.action(row.action.as_str())).collect()
}
