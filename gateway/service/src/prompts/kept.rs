//! Denials that outlive the runs that they were given in lie in the database, as one value beside the roots.

use mexe_journal::{Change, Record, Unavailable};
use mexe_model::{DenialId, Endpoint, Instant, WallTime};
use mexe_policy::SecurityTable;
use mexe_policy::prompts::{Denial, Effect, Holds, Scope, Subject, Wish};
use serde_json::{Value, json};

use crate::clock;
use crate::gate::Gate;

/// The name of the value.
pub const NAME: &str = "prompts.denials";

/// Writes the denials down as they are now, with the record that tells why.
pub(super) async fn write(gate: &Gate, record: Record) -> Result<(), Unavailable> {
    // One at a time, so that no older state overwrites a newer one.
    let _changing = gate.change().await;
    let now = clock::now();
    let policy = gate.policy();
    let kept: Vec<Value> = {
        let denials = gate.prompts.lock().denials(now);
        denials.iter().filter_map(|denial| stored(denial, policy.table(), now)).collect()
    };
    drop(policy);
    let value = if kept.is_empty() { Value::Null } else { kept.into() };
    gate.journal.change(Change::PutTrust { name: NAME.to_owned(), value }, record).await.map(|_| ())
}

fn stored(denial: &Denial, table: &SecurityTable, now: Instant) -> Option<Value> {
    let ends_at = match &denial.holds {
        Holds::Always => None,
        Holds::Until(end) => {
            let left = u64::try_from(end.since(now).as_millis()).unwrap_or(u64::MAX);
            Some(clock::wall().as_millis().saturating_add(left))
        }
        Holds::Runs(_) => return None,
    };
    let (kind, subject) = match &denial.wish.subject {
        Subject::Nothing => ("nothing", String::new()),
        Subject::Endpoint(endpoint) => ("endpoint", endpoint.to_string()),
        Subject::Number(number) => ("number", number.to_string()),
        // A PIN may be among them. That nothing is asked is about any tones.
        Subject::Tones(_) if denial.effect == Effect::NotAsked => ("nothing", String::new()),
        Subject::Tones(_) => return None,
    };
    Some(json!({
        "id": denial.id,
        "app": denial.wish.app,
        "action": table.row(denial.wish.action)?.action,
        "kind": kind,
        "subject": subject,
        "scope": denial.scope,
        "effect": denial.effect,
        "denied_at_ms": denial.denied_at.as_millis(),
        "ends_at_ms": ends_at,
    }))
}

/// The denials that were kept. What the security table does not know any more is left out.
pub fn restore(value: &Value, table: &SecurityTable, now: Instant, at: WallTime) -> Vec<Denial> {
    let listed = value.as_array().map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter_map(|one| read(one, table, now, at)).collect()
}

fn read(one: &Value, table: &SecurityTable, now: Instant, at: WallTime) -> Option<Denial> {
    let text = |name: &str| one.get(name)?.as_str();
    let subject = match (text("kind")?, text("subject")?) {
        ("nothing", _) => Subject::Nothing,
        ("endpoint", text) => Subject::Endpoint(endpoint(text)?),
        ("number", text) => Subject::Number(text.into()),
        _ => return None,
    };
    let holds = match one.get("ends_at_ms").and_then(Value::as_u64) {
        None => Holds::Always,
        Some(end) => {
            Holds::Until(now.after(std::time::Duration::from_millis(end.checked_sub(at.as_millis())?)))
        }
    };
    let id: DenialId = text("id")?.parse().ok()?;
    let scope: Scope = serde_json::from_value(one.get("scope")?.clone()).ok()?;
    let effect = one.get("effect").cloned().map(serde_json::from_value).transpose().ok()?.unwrap_or_default();
    let wish = Wish { app: text("app")?.parse().ok()?, action: table.action(text("action")?)?, subject };
    Some(Denial {
        id,
        wish,
        scope,
        holds,
        effect,
        denied_at: WallTime::from_millis(one.get("denied_at_ms")?.as_u64()?),
    })
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let target = mexe_wire::Target::parse(text, None).ok()?;
    let host = match target.host {
        mexe_wire::RawHost::Address(address) => mexe_model::Host::Address(address),
        mexe_wire::RawHost::Name(name) => mexe_policy::parse_host(&name).ok()?,
    };
    Some(Endpoint { host, port: target.port })
}
