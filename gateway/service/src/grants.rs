//! What the user permits and takes back. A grant counts from the moment it is on disk; a revoke counts at once and is
//! acknowledged when it is on disk (S26).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mexe_journal::{Change, Deadline, Record, StoredGrant};
use mexe_model::{AppId, GrantId, Instant, Permission, PromptId, Reason};
use mexe_policy::table::TargetKind;
use mexe_policy::{Binding, Grant, GrantSpec, SecurityTable, TargetPattern};
use mexe_relay::{Key, Revoked};
use serde_json::{Value, json};

use crate::calls;
use crate::clock;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::schedules;

/// What the user wants to permit.
#[derive(Debug)]
pub struct NewGrant {
    /// To which app.
    pub app: AppId,
    /// Which action, `group.action`.
    pub action: String,
    /// On which target; none is any global address.
    pub target: Option<String>,
    /// For how long an answer holds.
    pub permission: Permission,
    /// For how long at most.
    pub duration: Option<Duration>,
}

/// Gives a permission, and answers with the grant as the API shows it.
///
/// # Errors
/// What the security table says no to, a target that is none, or [`Reason::JournalUnavailable`].
pub async fn give(gate: &Arc<Gate>, new: NewGrant) -> Result<Value, Refused> {
    give_for(gate, new, None).await
}

/// Gives a permission as the answer to a question.
///
/// # Errors
/// As [`give`].
pub async fn give_as_answer(gate: &Arc<Gate>, new: NewGrant, prompt: PromptId) -> Result<Value, Refused> {
    give_for(gate, new, Some(prompt)).await
}

/// What a permission for that action is limited to, from text.
///
/// # Errors
/// The text is no target of such an action.
pub fn target(action: &str, text: &str, table: &SecurityTable) -> Result<TargetPattern, Refused> {
    let malformed = |why: String| Refused::about(Reason::RequestMalformed, why);
    let row = table.action(action).and_then(|action| table.row(action));
    if row.is_some_and(|row| row.target == TargetKind::Number) {
        let number = calls::number(action, text)?;
        return TargetPattern::number(&number).ok_or_else(|| malformed("not a number".to_owned()));
    }
    text.parse().map_err(|error: mexe_policy::TargetError| malformed(error.to_string()))
}

async fn give_for(gate: &Arc<Gate>, new: NewGrant, prompt: Option<PromptId>) -> Result<Value, Refused> {
    let app = gate.apps.get(&new.app).ok_or(Reason::AppUnknown)?;
    let target: Option<TargetPattern> = match &new.target {
        None => None,
        Some(text) => Some(self::target(&new.action, text, gate.policy().table())?),
    };
    let changing = gate.change().await;
    let policy = gate.policy();
    let Some(action) = policy.table().action(&new.action) else {
        let detail = format!("the security table has no action `{}`", new.action);
        return Err(Refused::about(Reason::ActionUnknown, detail));
    };
    let (now, at) = (clock::now(), clock::wall());
    let spec = GrantSpec {
        id: gate.journal.next_grant_id(),
        app: app.id.clone(),
        action,
        target: target.clone(),
        permission: Some(new.permission),
        granted_at: at,
        expires: new.duration.map(|duration| now.after(duration)),
    };
    let grant = Grant::new(spec, app.standing(), policy.table()).map_err(|reason| {
        let most = policy.table().cell(action, app.trust).maximum;
        let most = most.map_or("no", Permission::as_str);
        let detail = format!("{} for {} apps is at most: {most}", new.action, app.trust);
        Refused::about(reason, detail)
    })?;
    let name = policy.table().row(action).map(|row| row.action.clone());
    let against = |name| policy.exclusions().against(&policy, now, &app.id, &name, new.permission);
    if let Some(held) = name.and_then(|name| against(name).into_iter().next()) {
        let detail =
            format!("the grant `{}` excludes a blanket one for {} ({})", held.grant, new.action, held.by);
        return Err(Refused::about(Reason::PermissionExcluded, detail));
    }
    drop(policy);
    let id = grant.id();
    // The policy binds a session grant to the app's live runs; what it made of it is what is written down.
    let candidate = gate.policy().with_grant(grant);
    let grant = candidate.grant(id).ok_or(Reason::NotFound)?;
    let duration_ms = new.duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
    let stored = StoredGrant {
        id,
        app: app.id.clone(),
        action: new.action.clone(),
        target: target.as_ref().map(ToString::to_string),
        permission: new.permission,
        granted_at: at,
        expires_at: duration_ms
            .map(|ms| mexe_model::WallTime::from_millis(at.as_millis().saturating_add(ms))),
        deadline: grant.expires().map(|at| Deadline { boot: clock::boot_id().to_owned(), at }),
        runs: match grant.binding() {
            Some(Binding::Runs(runs)) => runs.clone(),
            _ => Vec::new(),
        },
    };
    let view = shown(&grant_view(gate, grant));
    let record = Record {
        app: Some(app.id.clone()),
        domain: Some(app.trust),
        grant: Some(id),
        target: stored.target.clone(),
        detail: Some(shown(&json!({
            "action": new.action,
            "permission": new.permission,
            "for_ms": duration_ms,
            "prompt": prompt,
        }))),
        ..Record::change(at, "grant.give")
    };
    gate.journal.change(Change::PutGrant(stored), record).await.map_err(unavailable)?;
    changing.policy(|_| candidate.clone());
    Ok(view)
}

/// Takes one grant back: its flows are cut at once.
///
/// # Errors
/// [`Reason::NotFound`]; [`Reason::JournalUnavailable`] when it could not be written down, though it holds until then.
pub async fn revoke(gate: &Arc<Gate>, id: GrantId) -> Result<(), Refused> {
    // What is open is cut before anything that can wait for the disk; what opens until the policy knows, after it.
    let at_once = gate.cut(&Key::Grant(id), Reason::PermissionRevoked);
    if let Some(schedule) = gate.schedules.owner(id) {
        // What was signed off as one is taken back as one.
        return schedules::revoke(gate, &schedule).await;
    }
    let changing = gate.change().await;
    let known = gate.policy().grant(id).is_some();
    if known {
        changing.policy(|policy| policy.without_grant(id));
    }
    // A single-action grant is gone once it is used; the flow that it opened is not.
    let cut = at_once + gate.cut(&Key::Grant(id), Reason::PermissionRevoked);
    if !known && cut.leases == 0 {
        return Err(Refused::about(Reason::NotFound, format!("there is no grant `{id}`")));
    }
    write_revoked(gate, vec![id], Vec::new(), None, cut).await
}

/// Takes every grant of an app back.
///
/// # Errors
/// As [`revoke`], but an app without grants is no error.
pub async fn revoke_all_of_app(gate: &Arc<Gate>, app: &AppId) -> Result<Vec<GrantId>, Refused> {
    let at_once = gate.cut(&Key::App(app.clone()), Reason::PermissionRevoked);
    let changing = gate.change().await;
    let ids: Vec<GrantId> = gate.policy().grants().filter(|g| g.app() == app).map(|g| g.id()).collect();
    changing.policy(|policy| policy.without_grants(&ids));
    let schedules = gate.schedules.struck(app);
    gate.schedules.forget(app);
    let cut = at_once + gate.cut(&Key::App(app.clone()), Reason::PermissionRevoked);
    if !ids.is_empty() || cut.leases > 0 {
        write_revoked(gate, ids.clone(), schedules, Some(app.clone()), cut).await?;
    }
    Ok(ids)
}

async fn write_revoked(
    gate: &Arc<Gate>,
    ids: Vec<GrantId>,
    mut others: Vec<Change>,
    app: Option<AppId>,
    cut: Revoked,
) -> Result<(), Refused> {
    let record = Record {
        app,
        grant: ids.first().copied(),
        reason: Some(Reason::PermissionRevoked),
        detail: Some(json!({ "grants": ids, "flows_cut": cut.flows })),
        ..Record::change(clock::wall(), "grant.revoke")
    };
    others.push(Change::RevokeGrants(ids));
    let change = Change::Several(others);
    match gate.journal.change(change.clone(), record.clone()).await {
        Ok(_) => Ok(()),
        Err(error) => {
            tokio::spawn(write_at_last(Arc::clone(gate), change, record));
            let detail = format!(
                "{error}; the permission is gone all the same, and that is written down when it can be"
            );
            Err(Refused::about(Reason::JournalUnavailable, detail))
        }
    }
}

/// How long after a failure a revoke is written down again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// What was taken back must not be there again after a restart because the disk was full when it happened.
pub async fn write_at_last(gate: Arc<Gate>, change: Change, record: Record) {
    loop {
        tokio::select! {
            () = gate.stopped() => break,
            () = tokio::time::sleep(WRITE_AGAIN) => {}
        }
        if gate.journal.change(change.clone(), record.clone()).await.is_ok() {
            return;
        }
    }
    if let Err(error) = gate.journal.change(change, record).await {
        tracing::error!(%error, "a revoke could not be written down: the next start brings the permission back");
    }
}

/// An expired grant stays known for this long, so that a refusal can say that it expired rather than that there is none.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// A single action that was used stays known for this long, for a flow that is still connecting under it.
const USED_UP: Duration = Duration::from_secs(60);

/// Ends grants whose time has come, as long as the gate runs.
pub async fn expire(gate: Arc<Gate>) {
    let mut told: HashSet<GrantId> = HashSet::new();
    let mut used: HashMap<GrantId, Instant> = HashMap::new();
    loop {
        let changed = gate.grants_changed.notified();
        let now = clock::now();
        let (mut ended, mut forgotten, mut next) = (Vec::new(), Vec::new(), now.after(USED_UP));
        for grant in gate.policy().grants() {
            if grant.is_spent() && now.since(*used.entry(grant.id()).or_insert(now)) >= USED_UP {
                forgotten.push(grant.id());
                continue;
            }
            let Some(at) = grant.expires() else { continue };
            if at > now {
                next = next.min(at);
            } else if now.since(at) >= REMEMBERED {
                forgotten.push(grant.id());
            } else if told.insert(grant.id()) {
                ended.push(grant.id());
            }
        }
        // What the policy says of an expired grant is no already; its flows are what is left.
        for id in &ended {
            gate.cut(&Key::Grant(*id), Reason::PermissionExpired);
        }
        if !ended.is_empty() {
            strike(&gate, ended).await;
        }
        // Also those that went another way: revoked, or with their run or app.
        let policy = gate.policy();
        told.retain(|id| policy.grant(*id).is_some());
        used.retain(|id, _| policy.grant(*id).is_some());
        drop(policy);
        if !forgotten.is_empty() {
            gate.change().await.policy(|policy| policy.without_grants(&forgotten));
        }
        tokio::select! {
            () = gate.stopped() => return,
            () = changed => {}
            () = tokio::time::sleep(next.since(clock::now())) => {}
        }
    }
}

async fn strike(gate: &Gate, ended: Vec<GrantId>) {
    let record = Record {
        reason: Some(Reason::PermissionExpired),
        grant: ended.first().copied(),
        detail: Some(json!({ "grants": ended })),
        ..Record::change(clock::wall(), "grant.expire")
    };
    if let Err(error) = gate.journal.change(Change::RevokeGrants(ended), record).await {
        tracing::warn!(%error, "an expired grant could not be struck from the database; it stays expired");
    }
}

/// Every live grant, of one app or of all, as the API shows them.
pub fn list(gate: &Gate, app: Option<&AppId>) -> Vec<Value> {
    let policy = gate.policy();
    let now = clock::now();
    let live = |grant: &&Arc<Grant>| !grant.is_expired(now) && !grant.is_spent();
    let of_app = |grant: &&Arc<Grant>| app.is_none_or(|app| grant.app() == app);
    let mut grants: Vec<_> = policy.grants().filter(live).filter(of_app).collect();
    grants.sort_by_key(|grant| grant.id());
    grants.into_iter().map(|grant| shown(&grant_view(gate, grant))).collect()
}

fn grant_view(gate: &Gate, grant: &Grant) -> Value {
    let policy = gate.policy();
    let left = grant.expires().map(|at| at.since(clock::now()).as_secs());
    json!({
        "id": grant.id(),
        "app": grant.app(),
        "action": policy.table().row(grant.action()).map(|row| &row.action),
        "target": grant.target().map(ToString::to_string),
        "permission": grant.permission(),
        "granted_at": grant.granted_at().to_string(),
        "schedule": gate.schedules.owner(grant.id()),
        "expires_in_seconds": left,
        "runs": match grant.binding() {
            Some(Binding::Runs(runs)) => json!(runs),
            Some(Binding::Pending) => json!([]),
            None => Value::Null,
        },
    })
}

/// Leaves out what does not apply.
fn shown(view: &Value) -> Value {
    match view {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// What could not be written down did not happen.
pub fn unavailable(error: mexe_journal::Unavailable) -> Refused {
    Refused::about(Reason::JournalUnavailable, error.to_string())
}
