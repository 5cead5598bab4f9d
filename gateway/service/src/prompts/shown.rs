//! Questions and denials as the API shows them. The app's own words stand in fields of their own, and whoever shows them
//! marks them as the app's.

use mexe_policy::prompts::{Denial, Holds, Prompt, Scope, State};
use serde_json::{Value, json};

use super::answer::widest;
use crate::apps::App;
use crate::clock;
use crate::gate::Gate;

/// One question.
pub fn prompt(gate: &Gate, prompt: &Prompt) -> Value {
    let policy = gate.policy();
    let now = clock::now();
    let app = gate.apps.get(&prompt.wish.app);
    let row = policy.table().row(prompt.wish.action);
    let offer = app.as_ref().and_then(|app| app.standing().offer(prompt.wish.action, policy.table()).ok());
    let run = prompt.runs.last();
    let binding = run.and_then(|id| gate.runs.get(*id)).map(|run| run.binding.as_str());
    let target = prompt.wish.subject.to_string();
    let widest = widest(gate, prompt, policy.settings().token_runs);
    json!({
        "id": prompt.id,
        "state": prompt.state,
        "app": prompt.wish.app,
        "name": app.as_ref().map(|app| &app.name),
        "run": run,
        "action": row.map(|row| &row.action),
        "covers": row.map(|row| &row.covers),
        "target": target,
        "domain": app.as_ref().map_or("untrusted", |app| app.trust.as_str()),
        "signer": app.as_ref().and_then(|app| signer(app)),
        "binding": binding,
        "legacy": app.as_ref().is_some_and(|app| app.legacy),
        "chargeable": row.is_some_and(|row| row.chargeable),
        "stated_reason": app.as_ref().and_then(|app| app.stated_reason.clone()),
        "resembles": app.as_ref().and_then(|app| gate.apps.resembled(&app.id)),
        "held": prompt.held,
        "unasked": prompt.unasked,
        "asked_at": prompt.asked_at.to_string(),
        "expires_in_seconds": (prompt.state == State::Open).then(|| prompt.until.since(now).as_secs()),
        "permissions": mexe_model::Permission::ALL
            .into_iter()
            .filter(|permission| offer.is_some_and(|(maximum, _)| *permission <= maximum.min(widest)))
            .collect::<Vec<_>>(),
        "default": offer.map(|(_, default)| default),
        "scopes": prompt.wish.subject.scopes(),
    })
}

/// Who signed, when a root of this device vouches for it: what nobody vouches for is not shown as a name.
fn signer(app: &App) -> Option<String> {
    app.trust.domain()?;
    let first = app.signers.as_array()?.first()?;
    Some(first.get("chain")?.as_array()?.first()?.get("subject")?.as_str()?.to_owned())
}

/// One denial.
pub fn denial(gate: &Gate, denial: &Denial) -> Value {
    let policy = gate.policy();
    let (holds, seconds, runs) = match &denial.holds {
        Holds::Always => ("always", None, None),
        Holds::Runs(runs) => ("runs", None, Some(runs)),
        Holds::Until(end) => ("until", Some(end.since(clock::now()).as_secs()), None),
    };
    let target = denial.wish.subject.to_string();
    json!({
        "id": denial.id,
        "app": denial.wish.app,
        "action": policy.table().row(denial.wish.action).map(|row| &row.action),
        "target": (denial.scope != Scope::Any && !target.is_empty()).then_some(target),
        "scope": denial.scope,
        "effect": denial.effect,
        "holds": holds,
        "expires_in_seconds": seconds,
        "runs": runs,
        "denied_at": denial.denied_at.to_string(),
    })
}

/// Every question and, if wanted, every denial.
pub fn list(gate: &Gate, denied: bool) -> Vec<Value> {
    let prompts = gate.prompts.lock();
    if denied {
        let denials = prompts.denials(clock::now());
        drop(prompts);
        return denials.iter().map(|one| denial(gate, one)).collect();
    }
    let listed = prompts.list();
    drop(prompts);
    listed.iter().map(|one| prompt(gate, one)).collect()
}
