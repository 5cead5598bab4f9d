//! What the operator answers: the operations of QualityOnDemand and QoS Profiles r3.2, and a server of tokens (OAuth 2.0
//! client credentials; the client is `gate`, its secret `s3cret`).

use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Answer, Question, no};
use super::read;
use super::state::{Event, Session, Stage, State};

const QOD: &str = "/quality-on-demand/v1";
const PROFILES: &str = "/qos-profiles/v1";

/// `^[a-zA-Z0-9-_:;.\/<>{}]{0,256}$`
pub(super) fn is_correlator(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_:;./<>{}".contains(&b);
    text.len() <= 256 && text.bytes().all(plain)
}

fn yes(status: u16, body: Value) -> Answer {
    Answer { status, body: Some(body), headers: Vec::new() }
}

pub(super) fn answer(state: &mut State, question: &Question, events: &mut Vec<Event>) -> Answer {
    let path = question.path.split('?').next().unwrap_or_default();
    if path == "/token" {
        return token(state, question);
    }
    let parts: Vec<&str> = match (path.strip_prefix(QOD), path.strip_prefix(PROFILES)) {
        (Some(rest), _) => std::iter::once("qod").chain(rest.split('/').skip(1)).collect(),
        (_, Some(rest)) => std::iter::once("profiles").chain(rest.split('/').skip(1)).collect(),
        _ => return no(404, "NOT_FOUND"),
    };
    let allowed = match parts[..] {
        ["qod", "sessions" | "retrieve-sessions"]
        | ["qod", "sessions", _, "extend"]
        | ["profiles", "retrieve-qos-profiles"] => "POST",
        ["qod", "sessions", _] => "GET, DELETE",
        ["profiles", "qos-profiles", _] => "GET",
        _ => return no(404, "NOT_FOUND"),
    };
    if !allowed.split(", ").any(|method| method == question.method) {
        let mut answer = no(405, "METHOD_NOT_ALLOWED");
        answer.headers.push(("Allow", allowed.to_owned()));
        return answer;
    }
    if !is_known(state, question) {
        return no(401, "UNAUTHENTICATED");
    }
    if question.header("x-correlator").is_some_and(|correlator| !is_correlator(correlator)) {
        return no(400, "INVALID_ARGUMENT");
    }
    let body = if question.method == "POST" {
        let kind = question.header("content-type").unwrap_or_default();
        let is_json =
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
        match serde_json::from_slice::<Value>(&question.body) {
            Ok(body) if is_json => body,
            _ => return no(400, "INVALID_ARGUMENT"),
        }
    } else {
        Value::Null
    };
    match (question.method.as_str(), &parts[..]) {
        ("POST", ["qod", "sessions"]) => create(state, body, events),
        ("POST", ["qod", "retrieve-sessions"]) => retrieve(state, &body),
        ("POST", ["qod", "sessions", id, _]) => extend(state, id, &body),
        ("GET", ["qod", "sessions", id]) => match state.sessions.get(*id) {
            Some(session) => yes(200, state.shown(session)),
            None => no(404, "NOT_FOUND"),
        },
        ("DELETE", ["qod", "sessions", id]) => delete(state, id, events),
        ("POST", _) => profiles(state, &body),
        (_, ["profiles", _, name]) => {
            if !read::is_name(name) {
                return no(400, "INVALID_ARGUMENT");
            }
            match state.habits.profiles.iter().find(|profile| profile["name"] == **name) {
                Some(profile) => yes(200, profile.clone()),
                None => no(404, "NOT_FOUND"),
            }
        }
        _ => no(404, "NOT_FOUND"),
    }
}

fn is_known(state: &State, question: &Question) -> bool {
    let Some(token) = question.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) else {
        return false;
    };
    let now = state.now();
    let is_given = state.tokens.get(token).is_some_and(|until| now < *until);
    !token.is_empty()
        && (state.habits.tokens.is_empty() || is_given || state.habits.tokens.iter().any(|t| t == token))
}

fn token(state: &mut State, question: &Question) -> Answer {
    // `gate:s3cret`
    let is_client = question.header("authorization") == Some("Basic Z2F0ZTpzM2NyZXQ=");
    let body = String::from_utf8_lossy(&question.body);
    if !is_client || question.method != "POST" {
        return yes(401, json!({ "error": "invalid_client" }));
    }
    if !body.split('&').any(|pair| pair == "grant_type=client_credentials") {
        return yes(400, json!({ "error": "unsupported_grant_type" }));
    }
    let token = format!("token-{}", state.number());
    let lasts = state.habits.token_lasts;
    let until = state.now() + Duration::from_secs(lasts);
    state.tokens.insert(token.clone(), until);
    yes(200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": lasts }))
}

/// Whether the device is named by the token or by the question, and not by both.
fn named(state: &State, body: &Value, is_required: bool) -> Result<(), Answer> {
    match (state.habits.token_names_device, body.get("device").is_some()) {
        (true, true) => Err(no(422, "UNNECESSARY_IDENTIFIER")),
        (false, false) if is_required => Err(no(422, "MISSING_IDENTIFIER")),
        _ => Ok(()),
    }
}

fn limit(profile: &Value, key: &str) -> Option<u64> {
    let value = profile[key]["value"].as_u64()?;
    Some(match profile[key]["unit"].as_str()? {
        "Days" => value * 86_400,
        "Hours" => value * 3_600,
        "Minutes" => value * 60,
        "Seconds" => value,
        _ => 1,
    })
}

fn create(state: &mut State, body: Value, events: &mut Vec<Event>) -> Answer {
    let any = state.habits.takes_any;
    if !read::create(&body) || !(any || read::addresses(&body["applicationServer"])) {
        return no(400, "INVALID_ARGUMENT");
    }
    if body.get("sinkCredential").is_some_and(|credential| !read::access_token(credential)) {
        return no(400, "INVALID_CREDENTIAL");
    }
    if let Err(answer) = named(state, &body, true) {
        return answer;
    }
    let profiles = &state.habits.profiles;
    let named = profiles.iter().find(|profile| profile["name"] == body["qosProfile"]);
    let Some(profile) = named.or_else(|| profiles.first().filter(|_| any)) else {
        return no(400, "INVALID_ARGUMENT");
    };
    if profile["status"] != "ACTIVE" {
        return no(422, "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE");
    }
    let asked = body["duration"].as_u64().unwrap_or(0);
    let (least, most) = (limit(profile, "minDuration").unwrap_or(1), limit(profile, "maxDuration"));
    if asked < least || most.is_some_and(|most| asked > most) {
        return no(400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE");
    }
    // A session that the network ended is in the way until it is given back or forgotten.
    let same = |session: &&Session| {
        let keys = ["device", "applicationServer", "applicationServerPorts", "devicePorts"];
        let in_the_way = !matches!(session.stage, Stage::Over("DURATION_EXPIRED" | "DELETE_REQUESTED"));
        in_the_way && keys.iter().all(|key| session.asked.get(key) == body.get(key))
    };
    if state.sessions.values().find(same).is_some() {
        return no(409, "CONFLICT");
    }
    let id = state.number();
    let granted = state.habits.grants.and_then(|seconds| u64::try_from(seconds).ok());
    let since = state.now();
    let duration = granted.unwrap_or(asked);
    let session = Session { id: id.clone(), asked: body, stage: Stage::Requested, duration, since };
    state.sessions.insert(id.clone(), session);
    if state.habits.available_after == Some(Duration::ZERO) {
        let ends = state.habits.terminates;
        events.extend(match ends {
            true => state.over(&id, "NETWORK_TERMINATED", since),
            false => state.becomes(&id, Stage::Available, since),
        });
    }
    yes(201, state.shown(&state.sessions[&id]))
}

fn retrieve(state: &State, body: &Value) -> Answer {
    if !read::about_device(body) {
        return no(400, "INVALID_ARGUMENT");
    }
    if let Err(answer) = named(state, body, true) {
        return answer;
    }
    let of_it = state.sessions.values().filter(|session| session.asked.get("device") == body.get("device"));
    yes(200, of_it.map(|session| state.shown(session)).collect())
}

fn extend(state: &mut State, id: &str, body: &Value) -> Answer {
    if !read::extend(body) {
        return no(400, "INVALID_ARGUMENT");
    }
    let Some(session) = state.sessions.get(id) else { return no(404, "NOT_FOUND") };
    if session.stage != Stage::Available {
        return no(409, "QUALITY_ON_DEMAND.SESSION_EXTENSION_NOT_ALLOWED");
    }
    let profile = state.habits.profiles.iter().find(|profile| profile["name"] == session.asked["qosProfile"]);
    // Capped, and not refused.
    let most = profile.and_then(|profile| limit(profile, "maxDuration")).unwrap_or(i32::MAX as u64);
    let more = body["requestedAdditionalDuration"].as_u64().unwrap_or(0);
    let duration = session.duration.saturating_add(more).min(most).max(session.duration);
    if let Some(session) = state.sessions.get_mut(id) {
        session.duration = duration;
    }
    yes(200, state.shown(&state.sessions[id]))
}

fn delete(state: &mut State, id: &str, events: &mut Vec<Event>) -> Answer {
    let Some(session) = state.sessions.get(id) else { return no(404, "NOT_FOUND") };
    if session.stage == Stage::Available {
        let now = state.now();
        events.extend(state.over(id, "DELETE_REQUESTED", now));
    }
    state.sessions.remove(id);
    Answer { status: 204, body: None, headers: Vec::new() }
}

fn profiles(state: &State, body: &Value) -> Answer {
    if !read::about_profiles(body) {
        return no(400, "INVALID_ARGUMENT");
    }
    if let Err(answer) = named(state, body, false) {
        return answer;
    }
    let wanted = |profile: &&Value| {
        ["name", "status"].iter().all(|key| body.get(key).is_none_or(|wanted| profile[*key] == *wanted))
    };
    yes(200, state.habits.profiles.iter().filter(wanted).cloned().collect())
}
