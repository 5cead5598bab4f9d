//! The user answers. Yes becomes a permission, no more than the security table allows and no further than he says; no
//! becomes a denial. Of two answers to the same question the first counts.

use std::sync::Arc;
use std::time::Duration;

use mexe_journal::Record;
use mexe_model::{DenialId, Permission, PromptId, Reason};
use mexe_policy::RunBinding;
use mexe_policy::policy::TokenRuns;
use mexe_policy::prompts::{Holds, Noted, Prompt, Refusal, Scope, Subject};
use serde_json::{Value, json};

use super::kept;
use crate::clock;
use crate::events::{Event, Turn};
use crate::gate::Gate;
use crate::grants::{self, NewGrant};
use crate::observe::metrics::PromptResult;
use crate::refused::Refused;

/// What the user says.
#[derive(Debug)]
pub struct Answer {
    /// Whether it may be done.
    pub allow: bool,
    /// For how long; none is what the security table offers first, or this run for a no.
    pub permission: Option<Permission>,
    /// Until when at most.
    pub duration: Option<Duration>,
    /// How far it reaches.
    pub scope: Scope,
}

/// Carries an answer out, and says what it led to as the API shows it.
///
/// # Errors
/// [`Reason::NotFound`] for a question that is gone or answered; those of giving a permission;
/// [`Reason::JournalUnavailable`].
pub async fn answer(gate: &Arc<Gate>, id: PromptId, answer: Answer) -> Result<Value, Refused> {
    let gone = |reason| Refused::about(reason, format!("`{id}` waits for no answer any more"));
    let prompt = gate.prompts.lock().answering(id).map_err(gone)?;
    let done =
        if answer.allow { allow(gate, &prompt, &answer).await } else { deny(gate, &prompt, &answer).await };
    let result = if answer.allow { PromptResult::Allow } else { PromptResult::Deny };
    match done {
        Ok(shown) => {
            gate.prompts.lock().answered(id);
            gate.metrics.prompt_ended(result, Some(clock::now().since(prompt.asked)));
            gate.prompts.changed.notify_waiters();
            gate.events.tell(Event::Prompt(id, Turn::Closed));
            Ok(shown)
        }
        Err(refused) => {
            gate.prompts.lock().not_answered(id);
            Err(refused)
        }
    }
}

async fn allow(gate: &Arc<Gate>, prompt: &Prompt, answer: &Answer) -> Result<Value, Refused> {
    let app = gate.apps.get(&prompt.wish.app).ok_or(Reason::AppUnknown)?;
    let policy = gate.policy();
    let row = policy.table().row(prompt.wish.action).ok_or(Reason::ActionUnknown)?;
    let (_, default) = app.standing().offer(prompt.wish.action, policy.table())?;
    let action = row.action.to_string();
    let permission = answer.permission.unwrap_or(default);
    let most = widest(gate, prompt, policy.settings().token_runs);
    drop(policy);
    if permission > most {
        let detail = format!("a run by token uses no more than: {most}");
        return Err(Refused::about(Reason::PermissionAboveMaximum, detail));
    }
    let mut duration = answer.duration;
    if matches!(prompt.wish.subject, Subject::Tones(_)) && permission == Permission::SingleAction {
        // For the burst that waits, and no other: what it does not use at once is gone.
        duration = Some(duration.map_or(AT_ONCE, |duration| duration.min(AT_ONCE)));
    }
    let new = NewGrant {
        app: app.id.clone(),
        action,
        target: target(&prompt.wish.subject, answer.scope)?,
        permission,
        duration,
    };
    let grant = grants::give_as_answer(gate, new, prompt.id).await?;
    Ok(json!({ "answer": "allow", "grant": grant }))
}

/// How long a permission for tones waits to be used.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The widest permission that the runs which ask can use: a wider one would leave the question as it is.
pub(super) fn widest(gate: &Gate, prompt: &Prompt, token_runs: TokenRuns) -> Permission {
    let runs = prompt.runs.iter().filter_map(|id| gate.runs.get(*id));
    let mut bindings = runs.map(|run| run.binding).peekable();
    let only_tokens = bindings.peek().is_some() && bindings.all(|binding| binding == RunBinding::Token);
    match token_runs == TokenRuns::SessionOnly && only_tokens {
        true => Permission::Session,
        false => Permission::Blanket,
    }
}

/// What a permission for it is limited to, as text.
fn target(subject: &Subject, scope: Scope) -> Result<Option<String>, Refused> {
    if !subject.scopes().contains(&scope) {
        return Err(Refused::about(
            Reason::RequestMalformed,
            "an answer to this question reaches no further",
        ));
    }
    Ok(match (subject, scope) {
        (_, Scope::Any) | (Subject::Nothing | Subject::Tones(_), _) => None,
        (Subject::Endpoint(endpoint), Scope::Host) => Some(endpoint.host.to_string()),
        (Subject::Endpoint(_) | Subject::Number(_), _) => Some(subject.to_string()),
    })
}

async fn deny(gate: &Arc<Gate>, prompt: &Prompt, answer: &Answer) -> Result<Value, Refused> {
    let (now, at) = (clock::now(), clock::wall());
    let refusal = Refusal {
        permission: answer.permission.unwrap_or(Permission::Session),
        until: answer.duration.map(|duration| now.after(duration)),
        scope: answer.scope,
    };
    // Checked like a yes: what cannot be meant is not noted down.
    target(&prompt.wish.subject, answer.scope)?;
    let live: Vec<_> = gate.runs.of(&prompt.wish.app).iter().map(|run| run.id).collect();
    let noted = gate.prompts.lock().denied(prompt.id, refusal, &live, now, at)?;
    // It counts from here on, whatever the disk says.
    gate.prompts.changed.notify_waiters();
    let record = record_of(gate, &noted, prompt.id);
    if let Err(error) = kept::write(gate, record).await {
        tracing::warn!(%error, denial = %noted.denial.id, "a denial could not be written down; it holds until the gate ends");
    }
    Ok(json!({
        "answer": "deny",
        "denial": super::shown::denial(gate, &noted.denial),
        "for_every_run": noted.denial.holds == Holds::Always,
        "silence": noted.silence.as_ref().map(|silence| super::shown::denial(gate, silence)),
    }))
}

fn record_of(gate: &Gate, noted: &Noted, id: PromptId) -> Record {
    let denial = &noted.denial;
    let mut shown = super::shown::denial(gate, denial);
    let target = gate.prompts.written(&denial.wish.subject);
    if let (Some(Value::String(text)), Some(target)) = (shown.get_mut("target"), &target) {
        text.clone_from(target);
    }
    Record {
        app: Some(denial.wish.app.clone()),
        domain: gate.apps.get(&denial.wish.app).map(|app| app.trust),
        reason: Some(Reason::PromptDenied),
        target,
        detail: Some(json!({
            "prompt": id,
            "denial": shown,
            "third_in_a_day": noted.by_patience,
            "silence": noted.silence.as_ref().map(|silence| silence.id),
        })),
        ..Record::change(clock::wall(), "prompt.deny")
    }
}

/// The user wants to be asked again.
///
/// # Errors
/// [`Reason::NotFound`].
pub async fn rearm(gate: &Gate, id: DenialId) -> Result<(), Refused> {
    let none = |reason| Refused::about(reason, format!("there is no `{id}`"));
    let denial = gate.prompts.lock().rearm(id).map_err(none)?;
    gate.events.tell(Event::Change);
    let record = Record {
        app: Some(denial.wish.app.clone()),
        detail: Some(json!({ "denial": id })),
        ..Record::change(clock::wall(), "prompt.rearm")
    };
    kept::write(gate, record).await.map_err(grants::unavailable)
}

/// Takes a missed question off the list.
///
/// # Errors
/// [`Reason::NotFound`]: also for one that somebody waits for.
pub fn dismiss(gate: &Gate, id: PromptId) -> Result<(), Refused> {
    let none = |reason| Refused::about(reason, format!("there is no missed question `{id}`"));
    gate.prompts.lock().dismiss(id).map_err(none)?;
    gate.events.tell(Event::Prompt(id, Turn::Closed));
    Ok(())
}
