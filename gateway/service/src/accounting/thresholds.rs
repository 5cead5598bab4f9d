//! Usage thresholds that the user set: beyond one, an app needs his permission (`network.usage`) to move anything more. A
//! new flow is asked about when it opens; what is open when a threshold is reached is cut, unless it is permitted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mexe_journal::{Change, Loaded, Record};
use mexe_model::{AppId, Reason};
use mexe_policy::{Decision, Target};
use mexe_qos::Threshold;
use mexe_relay::Key;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bearer::Bearer;
use crate::clock;
use crate::flows::Entry;
use crate::gate::Gate;
use crate::grants::unavailable;
use crate::refused::Refused;

/// How often it is looked whether one is reached: what moves meanwhile is moved.
pub const LOOK: Duration = Duration::from_millis(500);

/// There are never more.
const MOST: usize = 256;

/// What the database calls them.
const NAME: &str = "usage-thresholds";

/// One, with its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Numbered {
    /// Its number, never used again.
    pub id: u64,
    /// What was set.
    #[serde(flatten)]
    pub threshold: Threshold,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Set {
    next: u64,
    thresholds: Vec<Numbered>,
}

/// Those that are set.
#[derive(Debug, Default)]
pub struct Thresholds(Mutex<Set>);

impl Thresholds {
    /// As they were stored. What cannot be read was written by another version, and is said to be lost.
    pub fn stored(loaded: &Loaded) -> Self {
        let stored = loaded.trust.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.clone());
        let set = stored.map(serde_json::from_value).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "the usage thresholds cannot be read: set them anew");
            None
        });
        Self(Mutex::new(set.unwrap_or_default()))
    }

    fn locked(&self) -> MutexGuard<'_, Set> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.locked().thresholds.is_empty()
    }
}

/// Every threshold, as the API shows it.
pub fn shown(gate: &Gate) -> Vec<Value> {
    let all = gate.accounts.thresholds.locked().thresholds.clone();
    all.iter().map(|one| one_shown(gate, one)).collect()
}

fn one_shown(gate: &Gate, one: &Numbered) -> Value {
    let moved = gate.accounts.tally(|tally| tally.moved(&one.threshold));
    let mut shown = json!(one);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("moved".to_owned(), json!(moved));
        shown.insert("reached".to_owned(), json!(moved >= one.threshold.bytes.get()));
    }
    shown
}

/// Sets one more.
///
/// # Errors
/// [`Reason::AppUnknown`], [`Reason::RequestMalformed`] for a bearer that is not there or too many, and
/// [`Reason::JournalUnavailable`].
pub async fn set(gate: &Gate, threshold: Threshold) -> Result<Value, Refused> {
    let _changing = gate.change().await;
    if let Some(app) = threshold.app.as_ref().filter(|app| gate.apps.get(app).is_none()) {
        return Err(Refused::about(Reason::AppUnknown, format!("no app `{app}` is installed")));
    }
    let mut set = gate.accounts.thresholds.locked().clone();
    if set.thresholds.len() >= MOST {
        let detail = format!("there are {MOST} thresholds already: remove one");
        return Err(Refused::about(Reason::RequestMalformed, detail));
    }
    set.next = set.next.saturating_add(1);
    let one = Numbered { id: set.next, threshold };
    set.thresholds.push(one.clone());
    store(gate, set, "threshold.set", &one).await?;
    Ok(one_shown(gate, &one))
}

/// Removes one.
///
/// # Errors
/// [`Reason::NotFound`] and [`Reason::JournalUnavailable`].
pub async fn remove(gate: &Gate, id: u64) -> Result<(), Refused> {
    let _changing = gate.change().await;
    let mut set = gate.accounts.thresholds.locked().clone();
    let Some(at) = set.thresholds.iter().position(|one| one.id == id) else {
        return Err(Refused::about(Reason::NotFound, format!("there is no threshold `{id}`")));
    };
    let one = set.thresholds.remove(at);
    store(gate, set, "threshold.remove", &one).await
}

async fn store(gate: &Gate, set: Set, action: &'static str, one: &Numbered) -> Result<(), Refused> {
    let value = serde_json::to_value(&set).unwrap_or_default();
    let record = Record {
        app: one.threshold.app.clone(),
        detail: Some(json!(one)),
        ..Record::change(clock::wall(), action)
    };
    let change = Change::PutTrust { name: NAME.to_owned(), value };
    gate.journal.change(change, record).await.map_err(unavailable)?;
    *gate.accounts.thresholds.locked() = set;
    gate.events.tell(crate::events::Event::Change);
    Ok(())
}

/// Whether this app may move nothing more over that bearer without being permitted to.
pub fn is_reached(gate: &Gate, app: &AppId, bearer: &Bearer) -> bool {
    let concerned = |one: &&Numbered| one.threshold.concerns(app, bearer.name(), bearer.is_roaming());
    let all = gate.accounts.thresholds.locked();
    let mut concerned = all.thresholds.iter().filter(concerned).peekable();
    concerned.peek().is_some()
        && gate.accounts.tally(|tally| concerned.any(|one| tally.has_reached(&one.threshold)))
}

/// Cuts what is open beyond a threshold and not permitted to be.
pub fn look(gate: &Arc<Gate>) {
    for entry in gate.flows.all() {
        if is_reached(gate, &entry.app, &entry.bearer)
            && !may_go_on(gate, &entry)
            && gate.cut(&Key::Flow(entry.id), Reason::UsageThreshold).flows > 0
        {
            tracing::info!(flow = %entry.id, app = %entry.app, "a usage threshold is reached");
        }
    }
}

fn may_go_on(gate: &Gate, entry: &Entry) -> bool {
    let Some(run) = gate.runs.get(entry.run) else { return false };
    let (now, facts) = (clock::now(), run.wants(gate.actions.usage, Target::None));
    let policy = gate.policy();
    match entry.beyond {
        Some(grant) => policy.still_covers(now, &facts, grant).is_ok(),
        // A single permission is for a flow that is to be opened.
        None => matches!(policy.decide(now, &facts), Decision::Allow(ticket) if !ticket.single),
    }
}
