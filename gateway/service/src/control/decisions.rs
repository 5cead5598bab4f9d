//! `/v1/decisions`: what would be decided, and why; nothing is used up by that. With `ask` it is decided: the user is asked
//! if need be, and for what the device's runtime carries out itself the answer is final. An app may ask for its own run
//! only, and the user only for what its signed manifest asks for (S25).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use mexe_model::{Endpoint, Host, Reason, Trust};
use mexe_policy::prompts::Subject;
use mexe_policy::table::TargetKind;
use mexe_policy::{Explanation, Facts, RunFacts, Target, explain, parse_host};
use mexe_qos::negotiation::{Request, negotiate};
use mexe_wire::RawHost;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::Whole;
use super::listen::CallerGone;
use super::problem::Problem;
use super::role::Caller;
use super::{apps, read_json, runs};
use crate::actions::{self, Wished};
use crate::calls;
use crate::clock;
use crate::gate::Gate;
use crate::qos;
use crate::runs::Run;

/// A target without a port is asked about with this one, and the answer says so.
const USUAL_PORT: u16 = 443;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    run: Option<String>,
    app: Option<String>,
    action: String,
    target: Option<String>,
    /// Whether to decide, and to ask the user if need be.
    #[serde(default)]
    ask: bool,
    /// The answer as `mexegate explain` shows it, traffic class included.
    #[serde(default)]
    explain: bool,
}

pub(super) async fn decide(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Extension(gone): Extension<CallerGone>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let question: Question = read_json(&body)?;
    let run = asked_run(&gate, &caller, &question)?;
    let app = match (&run, &question.app) {
        (Some(run), _) => apps::find(&gate, run.app.as_str())?,
        (None, Some(app)) => apps::find(&gate, app)?,
        (None, None) => return Err(Problem::malformed("say for which app or run")),
    };
    let policy = gate.policy();
    let Some(action) = policy.table().action(&question.action) else {
        let detail = format!("the security table has no action `{}`", question.action);
        return Err(Problem::new(Reason::ActionUnknown, detail));
    };
    let kind = policy.table().row(action).map_or(TargetKind::None, |row| row.target);
    let number = match &question.target {
        Some(text) if kind == TargetKind::Number => Some(calls::number(&question.action, text)?),
        _ => None,
    };
    let asked = match &question.target {
        Some(text) if kind != TargetKind::Number => Some(host_and_port(text)?),
        _ => None,
    };
    let target = match (&asked, &number) {
        (_, Some(number)) => Target::Number(number),
        (None, None) => Target::None,
        (Some((Host::Name(name), port)), None) => Target::Name { name, port: *port },
        (Some((Host::Address(address), port)), None) => Target::Address { address: *address, port: *port },
    };
    let facts = Facts {
        app: &app.id,
        trust: app.trust,
        groups: app.groups,
        legacy: app.legacy,
        suspended: app.suspended.is_some(),
        run: run.as_ref().map(|run| run.facts()).or_else(|| latest_run(&gate, &app.id)),
        action,
        target,
    };
    if question.ask {
        let Some(run) = &run else {
            return Err(Problem::malformed("the user is asked for a run: say which"));
        };
        drop(policy);
        if matches!(caller, Caller::App(_)) && !app.requested.contains(&question.action) {
            let detail = format!("the app's signed manifest does not ask for {}", question.action);
            return Err(Problem::new(Reason::PermissionMissing, detail));
        }
        // What the user reads in the question has to be all of it.
        if question.target.is_some() != (kind != TargetKind::None) {
            let detail = format!("{} is asked with its target, or without if it has none", question.action);
            return Err(Problem::malformed(detail));
        }
        if calls::ACTIONS.contains(&question.action.as_str()) {
            return Err(Problem::malformed("the gate makes calls itself: POST /v1/calls"));
        }
        let subject = match (&asked, &number) {
            (_, Some(number)) => Subject::Number(number.as_str().into()),
            (Some((host, port)), None) => Subject::Endpoint(Endpoint { host: host.clone(), port: *port }),
            (None, None) => Subject::Nothing,
        };
        // What the gate carries out itself is decided again when it does.
        let own = &gate.actions;
        let final_word = ![own.connect, own.datagram, own.qos, own.usage].contains(&action);
        let wished = Wished { run, action, target, subject, final_word, gone: &gone.0 };
        return for_good(&gate, &wished).await;
    }
    let explanation = explain(&policy, clock::now(), &facts);
    let quality =
        asked.as_ref().map(|(host, port)| quality(&gate, &facts, app.qos_profile.as_deref(), host, *port));
    Ok(Json(answer(&explanation, &question, asked.as_ref(), quality)))
}

/// Decides, and asks the user if need be.
async fn for_good(gate: &Arc<Gate>, wished: &Wished<'_>) -> Result<Json<Value>, Problem> {
    match actions::decide(gate, wished).await {
        Ok(ticket) => Ok(Json(json!({
            "decision": "allow",
            "reason": null,
            "permission": ticket.permission,
            "explain": { "grant": ticket.grant },
        }))),
        Err(refused) if refused.reason == Reason::JournalUnavailable => Err(refused.into()),
        Err(refused) => Ok(Json(json!({
            "decision": "deny",
            "reason": refused.reason,
            "says": refused.reason.says(),
            "help": refused.reason.help(),
            "explain": {},
        }))),
    }
}

/// The run that the question is about. An app has no other than its own.
fn asked_run(gate: &Gate, caller: &Caller, question: &Question) -> Result<Option<Arc<Run>>, Problem> {
    let (run, app) = (question.run.as_deref(), question.app.as_deref());
    match caller {
        // Without a run of its own an app can be asked about as well.
        Caller::User { .. } if run.is_none() => Ok(None),
        _ => runs::whose(gate, caller, run, app).map(Some),
    }
}

fn latest_run(gate: &Gate, app: &mexe_model::AppId) -> Option<RunFacts> {
    gate.runs.of(app).last().map(|run| run.facts())
}

fn host_and_port(text: &str) -> Result<(Host, u16), Problem> {
    let target = mexe_wire::Target::parse(text, Some(USUAL_PORT))
        .map_err(|error| Problem::malformed(format!("the target is not host[:port]: {error}")))?;
    let host = match target.host {
        RawHost::Address(address) => Host::Address(address),
        RawHost::Name(name) => parse_host(&name)?,
    };
    Ok((host, target.port))
}

/// The traffic class that a flow there would get, and why not a better one.
fn quality(gate: &Gate, connect: &Facts<'_>, wanted: Option<&str>, host: &Host, port: u16) -> Value {
    let (profiles, config) = (gate.profiles(), gate.config());
    let name = match host {
        Host::Name(name) => Some(name.as_str()),
        Host::Address(_) => None,
    };
    let wanted = wanted.filter(|_| connect.trust != Trust::Untrusted);
    let profile = profiles.select(wanted, name, port, &config.qos.default_profile);
    let qos = Facts { action: gate.actions.qos, target: Target::None, ..*connect };
    let explanation = explain(&gate.policy(), clock::now(), &qos);
    let permitted = !profile.class.needs_permission() || explanation.decision == "allow";
    let given = if permitted { profile } else { profiles.background() };
    // What a stream of that profile would have, and who has the last word on each value.
    let caps = qos::caps(gate, connect.app, connect.trust, permitted);
    let granted = negotiate(&caps, &Request::default(), Some(profile));
    json!({
        "profile": given.name,
        "class": given.class,
        "wanted_profile": profile.name,
        "reason": (!permitted).then_some(Reason::QosNotPermitted),
        "provenance": granted.provenance,
    })
}

fn answer(
    explanation: &Explanation,
    question: &Question,
    asked: Option<&(Host, u16)>,
    quality: Option<Value>,
) -> Value {
    if !question.explain {
        return json!({
            "decision": explanation.decision,
            "reason": explanation.reason,
            "explain": { "rule": explanation.rule, "addresses": explanation.addresses, "grants": explanation.grants },
        });
    }
    json!({
        "decision": explanation.decision,
        "reason": explanation.reason,
        "says": explanation.reason.map(Reason::says),
        "help": explanation.reason.map(Reason::help),
        "action": question.action,
        "host": asked.map(|(host, _)| host.to_string()),
        "port": asked.map(|(_, port)| port),
        "rule": explanation.rule,
        "addresses": explanation.addresses,
        "grants": explanation.grants,
        "qos": quality,
    })
}
