//! Event schedules: what the user signed off once, and is not asked for again. A schedule lies in the database as it was
//! signed; the policy holds the grants that it stands for, each with its hours, and `keeper` sees to it that they end
//! when the hours do. What is used of a budget is written down before it is used (`used`). What a schedule means is
//! `mexe-policy`'s.

mod keeper;
mod minute;
mod signed;
mod used;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mexe_journal::{Change, Journal, Record, StoredSchedule};
use mexe_model::{AppId, GrantId, Permission, Reason};
use mexe_policy::schedule::ScheduleDigest;
use mexe_policy::{Grant, Policy, Schedule};
use mexe_relay::{Key, Revoked};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub use keeper::{give_back, keep, settle};
use signed::Signed;
pub use used::Used;

use crate::apps::Apps;
use crate::clock;
use crate::gate::Gate;
use crate::grants::{unavailable, write_at_last};
use crate::refused::Refused;

/// An app has no more schedules than this: each may have hours of its own, and a decision looks at all of them.
const MOST_OF_AN_APP: usize = 32;

/// The schedules that are signed off.
#[derive(Debug, Default)]
pub struct Schedules {
    signed: ArcSwap<Listed>,
    /// A budget's allowance is nearly used up.
    low: Arc<Notify>,
}

#[derive(Clone, Debug, Default)]
struct Listed {
    by_name: BTreeMap<Arc<str>, Arc<Signed>>,
    by_grant: HashMap<GrantId, Arc<Signed>>,
}

impl Listed {
    fn put(&mut self, signed: Signed) {
        let signed = Arc::new(signed);
        self.by_grant.extend(signed.grants.iter().map(|grant| (*grant, Arc::clone(&signed))));
        self.by_name.insert(signed.schedule.name().into(), signed);
    }

    fn remove(&mut self, name: &str) -> Option<Arc<Signed>> {
        let gone = self.by_name.remove(name)?;
        self.by_grant.retain(|_, signed| !Arc::ptr_eq(signed, &gone));
        Some(gone)
    }
}

impl Schedules {
    /// The schedule that a grant belongs to.
    pub fn owner(&self, grant: GrantId) -> Option<Arc<str>> {
        self.signed.load().by_grant.get(&grant).map(|signed| signed.schedule.name().into())
    }

    fn all(&self) -> Vec<Arc<Signed>> {
        self.signed.load().by_name.values().cloned().collect()
    }

    fn of_app(&self, app: &AppId) -> Vec<Arc<Signed>> {
        self.all().into_iter().filter(|signed| signed.schedule.app() == app).collect()
    }

    /// Changes the list; only by whoever holds the right to change what lasts.
    fn change<T>(&self, change: impl FnOnce(&mut Listed) -> T) -> T {
        let mut listed = Listed::clone(&self.signed.load());
        let out = change(&mut listed);
        self.signed.store(Arc::new(listed));
        out
    }

    /// What strikes the schedules of an app from the database.
    pub fn struck(&self, app: &AppId) -> Vec<Change> {
        let name = |signed: Arc<Signed>| Change::RemoveSchedule(signed.schedule.name().to_owned());
        self.of_app(app).into_iter().map(name).collect()
    }

    /// Forgets the schedules of an app, whose grants are gone.
    pub fn forget(&self, app: &AppId) {
        let gone = self.of_app(app);
        if !gone.is_empty() {
            self.change(|listed| gone.iter().for_each(|signed| drop(listed.remove(signed.schedule.name()))));
        }
    }

    /// All of them, or those of one app, as the API shows them.
    pub fn shown(&self, gate: &Gate, app: Option<&AppId>) -> Vec<Value> {
        let policy = gate.policy();
        let suspect = gate.clock_holds().is_err();
        let of_app = |signed: &&Arc<Signed>| app.is_none_or(|app| signed.schedule.app() == app);
        self.all().iter().filter(of_app).map(|signed| signed.shown(policy.table(), suspect)).collect()
    }
}

/// What the user is asked to agree to.
pub struct Offer {
    /// The schedule, TOML.
    pub text: String,
    /// The digest that the user agreed to; without it nothing is signed off, only shown.
    pub digest: Option<String>,
}

/// Shows what a schedule would permit, or signs it off. One of the same name is replaced; what the app used of that one is
/// not given again.
///
/// # Errors
/// [`Reason::RequestMalformed`]: it is no schedule, or not the one of that digest. What the security table says no to,
/// [`Reason::PermissionExcluded`], [`Reason::AppUnknown`], [`Reason::JournalUnavailable`].
pub async fn sign(gate: &Arc<Gate>, offer: Offer) -> Result<Value, Refused> {
    let malformed = |what: String| Refused::about(Reason::RequestMalformed, what);
    let schedule = Schedule::from_toml(&offer.text).map_err(|error| malformed(error.to_string()))?;
    let digest = schedule.digest();
    let app = gate.apps.get(schedule.app()).ok_or_else(|| {
        Refused::about(Reason::AppUnknown, format!("no app `{}` is installed", schedule.app()))
    })?;
    let changing = gate.change().await;
    let at = clock::wall();
    let policy = gate.policy();
    let grants =
        schedule.grants(|| gate.journal.next_grant_id(), at, app.standing(), policy.table()).map_err(
            |reason| Refused::about(reason, format!("{}: {}", schedule.name(), not_to_be_had(reason))),
        )?;
    for grant in &grants {
        not_excluded(&policy, grant, &schedule)?;
    }
    let others = gate.schedules.of_app(&app.id);
    if others.iter().filter(|other| other.schedule.name() != schedule.name()).count() >= MOST_OF_AN_APP {
        return Err(malformed(format!("the app has {MOST_OF_AN_APP} schedules, and may have no more")));
    }
    let sentences = schedule.sentences(policy.table());
    drop(policy);
    let Some(agreed) = offer.digest else {
        return Ok(json!({
            "name": schedule.name(),
            "app": schedule.app(),
            "digest": digest.to_string(),
            "sentences": sentences,
            "signed_off": false,
        }));
    };
    if agreed.parse::<ScheduleDigest>() != Ok(digest) {
        return Err(malformed(format!("the user agreed to another schedule: this one's digest is {digest}")));
    }
    let before = gate.schedules.signed.load().by_name.get(schedule.name()).cloned();
    let usage = match &before {
        Some(before) if before.schedule.app() == schedule.app() => before.usage(),
        _ => Default::default(),
    };
    let ids: Vec<GrantId> = grants.iter().map(Grant::id).collect();
    let stored = StoredSchedule {
        name: schedule.name().to_owned(),
        app: app.id.clone(),
        text: schedule.canonical(),
        digest: digest.to_string(),
        grants: ids.clone(),
        signed_off_at: at,
        usage: json!(usage),
    };
    let record = Record {
        app: Some(app.id.clone()),
        domain: Some(app.trust),
        grant: ids.first().copied(),
        detail: Some(json!({
            "schedule": schedule.name(),
            "digest": digest.to_string(),
            "permits": sentences,
            "grants": ids,
        })),
        ..Record::change(at, "schedule.sign")
    };
    let changes = vec![Change::RemoveSchedule(stored.name.clone()), Change::PutSchedule(stored)];
    gate.journal.change(Change::Several(changes), record).await.map_err(unavailable)?;
    let replaced = before.map(|before| before.grants.clone()).unwrap_or_default();
    let signed = Signed::new(schedule, ids, at, usage, Arc::clone(&gate.schedules.low));
    let shown = signed.shown(gate.policy().table(), gate.clock_holds().is_err());
    gate.schedules.change(|listed| {
        listed.remove(signed.schedule.name());
        listed.put(signed);
    });
    changing.policy(|policy| policy.without_grants(&replaced).with_grants(grants.clone()));
    for grant in &replaced {
        gate.cut(&Key::Grant(*grant), Reason::PermissionRevoked);
    }
    // The hours count from now on, not from when the keeper comes to it.
    keeper::take_up(gate, &changing).await;
    Ok(shown)
}

fn not_to_be_had(reason: Reason) -> &'static str {
    match reason {
        Reason::RequestMalformed => {
            "every action that has targets needs one in the list, and every target an action that takes it"
        }
        Reason::PermissionAboveMaximum => {
            "a schedule permits without asking, and the security table wants the user to be asked for one of its actions"
        }
        other => other.says(),
    }
}

fn not_excluded(policy: &Policy, grant: &Grant, schedule: &Schedule) -> Result<(), Refused> {
    let Some(row) = policy.table().row(grant.action()) else { return Ok(()) };
    let held =
        policy.exclusions().against(policy, clock::now(), schedule.app(), &row.action, Permission::Blanket);
    match held.into_iter().next() {
        None => Ok(()),
        Some(held) => {
            let detail =
                format!("the grant `{}` excludes a blanket one for {} ({})", held.grant, row.action, held.by);
            Err(Refused::about(Reason::PermissionExcluded, detail))
        }
    }
}

/// Takes a schedule back: its flows are cut at once.
///
/// # Errors
/// [`Reason::NotFound`]; [`Reason::JournalUnavailable`] when it could not be written down, though it holds until then.
pub async fn revoke(gate: &Arc<Gate>, name: &str) -> Result<(), Refused> {
    let none = || Refused::about(Reason::NotFound, format!("there is no schedule `{name}`"));
    let known = gate.schedules.signed.load().by_name.get(name).cloned().ok_or_else(none)?;
    let cut = |known: &Signed| -> Revoked {
        known.grants.iter().map(|grant| gate.cut(&Key::Grant(*grant), Reason::PermissionRevoked)).sum()
    };
    // What is open is cut before anything that can wait for the disk; what opens until the policy knows, after it.
    let at_once = cut(&known);
    let changing = gate.change().await;
    let gone = gate.schedules.change(|listed| listed.remove(name)).ok_or_else(none)?;
    changing.policy(|policy| policy.without_grants(&gone.grants));
    let cut = at_once + cut(&gone);
    let record = Record {
        app: Some(gone.schedule.app().clone()),
        grant: gone.grants.first().copied(),
        reason: Some(Reason::PermissionRevoked),
        detail: Some(json!({ "schedule": name, "grants": gone.grants, "flows_cut": cut.flows })),
        ..Record::change(clock::wall(), "schedule.revoke")
    };
    let change = Change::RemoveSchedule(name.to_owned());
    match gate.journal.change(change.clone(), record.clone()).await {
        Ok(_) => Ok(()),
        Err(error) => {
            tokio::spawn(write_at_last(Arc::clone(gate), change, record));
            let detail = format!(
                "{error}; the schedule is gone all the same, and that is written down when it can be"
            );
            Err(Refused::about(Reason::JournalUnavailable, detail))
        }
    }
}

/// Takes up the schedules that still count, when the gate starts: not those of apps that are gone, nor those that are not
/// what was signed, nor those that today's table forbids.
pub async fn load(
    policy: Policy,
    stored: Vec<StoredSchedule>,
    apps: &Apps,
    journal: &Journal,
) -> (Policy, Schedules) {
    let schedules = Schedules::default();
    let (mut listed, mut grants) = (Listed::default(), Vec::new());
    for stored in stored {
        match taken_up(&policy, &stored, apps) {
            Ok((schedule, made)) => {
                let usage = serde_json::from_value(stored.usage).unwrap_or_default();
                let low = Arc::clone(&schedules.low);
                listed.put(Signed::new(schedule, stored.grants, stored.signed_off_at, usage, low));
                grants.extend(made);
            }
            Err(why) => {
                tracing::warn!(schedule = stored.name, why, "a schedule does not count any more");
                let record = Record {
                    app: Some(stored.app),
                    detail: Some(json!({ "schedule": stored.name, "why": why })),
                    ..Record::change(clock::wall(), "schedule.lapse")
                };
                if let Err(error) = journal.change(Change::RemoveSchedule(stored.name), record).await {
                    tracing::warn!(%error, "it could not be struck from the database; it does not count");
                }
            }
        }
    }
    schedules.signed.store(Arc::new(listed));
    (policy.with_grants(grants), schedules)
}

fn taken_up(
    policy: &Policy,
    stored: &StoredSchedule,
    apps: &Apps,
) -> Result<(Schedule, Vec<Grant>), &'static str> {
    let schedule = Schedule::from_toml(&stored.text).map_err(|_| "it cannot be read")?;
    let is_signed = stored.digest.parse() == Ok(schedule.digest());
    if !is_signed || schedule.name() != stored.name || *schedule.app() != stored.app {
        return Err("it is not what was signed off");
    }
    let usage: Result<mexe_policy::schedule::Usage, _> = serde_json::from_value(stored.usage.clone());
    usage.map_err(|_| "what was used of it is not known")?;
    let app = apps.get(&stored.app).ok_or("its app is gone")?;
    let mut ids = stored.grants.iter().copied();
    let mut missing = false;
    let next = || {
        ids.next().unwrap_or_else(|| {
            missing = true;
            GrantId(u64::MAX)
        })
    };
    let made = schedule
        .grants(next, stored.signed_off_at, app.standing(), policy.table())
        .map_err(|reason| reason.says())?;
    if missing || made.len() != stored.grants.len() {
        return Err("the security table means something else by it now");
    }
    Ok((schedule, made))
}
