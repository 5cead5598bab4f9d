//! The most that an app may move a second, all its flows together, as the user set it. On each bearer the arbiter holds the
//! app's flows to it, whatever its streams were granted; what a stream is granted is capped by it too. It outlives the app,
//! so that installing it again is no way around it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mexe_journal::{Change, Loaded, Record};
use mexe_model::{AppId, BitRate, Reason};
use mexe_qos::arbiter::Group;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ends::negotiate_anew;
use crate::bearer::Bearers;
use crate::clock;
use crate::gate::Gate;
use crate::grants::unavailable;
use crate::refused::Refused;

/// What the database calls them.
const NAME: &str = "app-limits";

/// The most of one app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppLimit {
    /// Towards the network, payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bitrate_up: Option<BitRate>,
    /// From it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bitrate_down: Option<BitRate>,
}

/// Those of all apps.
#[derive(Debug, Default)]
pub struct AppLimits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    limits: BTreeMap<AppId, AppLimit>,
    /// What arbiters call the apps that had flows, or a limit.
    groups: HashMap<AppId, Group>,
}

impl AppLimits {
    /// As they were stored. What cannot be read was written by another version, and is said to be lost.
    pub fn stored(loaded: &Loaded) -> Self {
        let stored = loaded.trust.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.clone());
        let limits = stored.map(serde_json::from_value).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "the limits of apps cannot be read: set them anew");
            None
        });
        Self(Mutex::new(State { limits: limits.unwrap_or_default(), groups: HashMap::new() }))
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That app's; the default is none.
    pub fn of(&self, app: &AppId) -> AppLimit {
        self.locked().limits.get(app).copied().unwrap_or_default()
    }

    /// What arbiters call the app.
    pub fn group(&self, app: &AppId) -> Group {
        let State { groups, .. } = &mut *self.locked();
        if let Some(group) = groups.get(app) {
            return *group;
        }
        let group = Group(u64::try_from(groups.len()).unwrap_or(u64::MAX));
        groups.insert(app.clone(), group);
        group
    }

    /// Tells the bearers of a gate that starts.
    pub fn begin(&self, bearers: &Bearers) {
        let limits = self.locked().limits.clone();
        limits.iter().for_each(|(app, limit)| self.apply(bearers, app, *limit));
    }

    fn apply(&self, bearers: &Bearers, app: &AppId, limit: AppLimit) {
        let group = self.group(app);
        bearers.iter().for_each(|bearer| bearer.shaping().limit_app(group, limit));
    }
}

/// Every limit, as the API shows it.
pub fn shown(gate: &Gate) -> Vec<Value> {
    gate.app_limits.locked().limits.iter().map(|(app, limit)| one_shown(app, *limit)).collect()
}

fn one_shown(app: &AppId, limit: AppLimit) -> Value {
    json!({ "app": app, "max_bitrate_up": limit.max_bitrate_up, "max_bitrate_down": limit.max_bitrate_down })
}

/// Sets the limit of an app in place of the one that it had, for what is open as well.
///
/// # Errors
/// [`Reason::AppUnknown`], [`Reason::RequestMalformed`] for one that limits nothing, and [`Reason::JournalUnavailable`].
pub async fn set(gate: &Gate, app: AppId, limit: AppLimit) -> Result<Value, Refused> {
    let _changing = gate.change().await;
    if gate.apps.get(&app).is_none() {
        return Err(Refused::about(Reason::AppUnknown, format!("no app `{app}` is installed")));
    }
    if limit == AppLimit::default() {
        let detail = "a limit has `max_bitrate_up`, `max_bitrate_down` or both";
        return Err(Refused::about(Reason::RequestMalformed, detail));
    }
    let mut limits = gate.app_limits.locked().limits.clone();
    limits.insert(app.clone(), limit);
    store(gate, limits, &app, ("limit.set", limit)).await?;
    Ok(one_shown(&app, limit))
}

/// Takes the limit of an app away.
///
/// # Errors
/// [`Reason::NotFound`] and [`Reason::JournalUnavailable`].
pub async fn remove(gate: &Gate, app: &AppId) -> Result<(), Refused> {
    let _changing = gate.change().await;
    let mut limits = gate.app_limits.locked().limits.clone();
    if limits.remove(app).is_none() {
        return Err(Refused::about(Reason::NotFound, format!("app `{app}` has no limit")));
    }
    store(gate, limits, app, ("limit.remove", AppLimit::default())).await
}

async fn store(
    gate: &Gate,
    limits: BTreeMap<AppId, AppLimit>,
    app: &AppId,
    (action, limit): (&'static str, AppLimit),
) -> Result<(), Refused> {
    let value = serde_json::to_value(&limits).unwrap_or_default();
    let record = Record {
        app: Some(app.clone()),
        detail: Some(one_shown(app, limit)),
        ..Record::change(clock::wall(), action)
    };
    let change = Change::PutTrust { name: NAME.to_owned(), value };
    gate.journal.change(change, record).await.map_err(unavailable)?;
    gate.app_limits.locked().limits = limits;
    gate.app_limits.apply(&gate.bearers, app, limit);
    negotiate_anew(gate, "app-limit", Some(app));
    gate.events.tell(crate::events::Event::Change);
    Ok(())
}
