//! `/v1/usage` and `/v1/thresholds`: what apps moved, and how much they may move without asking.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;
use mexe_journal::{Usage, UsageKey};
use mexe_model::{AppId, Reason};
use mexe_qos::{Period, Threshold, When};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Asked, Whole};
use super::problem::Problem;
use super::{Items, items, read_json};
use crate::accounting::{self, thresholds};
use crate::clock;
use crate::gate::Gate;

/// Which usage, and how it is added up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The first day, as in 2026-11-26; today when left out.
    since: Option<Date>,
    /// The last day; today when left out.
    until: Option<Date>,
    /// Only this app's, installed or not.
    app: Option<String>,
    /// What stays apart, separated by commas.
    by: Option<String>,
}

const PARTS: [&str; 5] = ["day", "app", "class", "bearer", ROAMING];

/// Added up unless it is asked for.
const ROAMING: &str = "roaming";

pub(super) async fn usage(
    State(gate): State<Arc<Gate>>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Items<Value>>, Problem> {
    let by = parts(wanted.by.as_deref())?;
    let today = clock::local().day();
    let first = wanted.since.map_or(today, accounting::day_of);
    let last = wanted.until.map_or(today, accounting::day_of);
    if first > last {
        return Err(Problem::malformed("`since` is after `until`"));
    }
    let unreadable = |error: mexe_journal::JournalError| {
        Problem::new(Reason::JournalUnavailable, format!("the usage cannot be read: {error}"))
    };
    let rows = accounting::usage(&gate, first, last).await.map_err(unreadable)?;
    let own = |key: &UsageKey| wanted.app.as_deref().is_none_or(|app| key.app.as_str() == app);
    let mut sums: BTreeMap<Vec<String>, Usage> = BTreeMap::new();
    for (key, usage) in rows.iter().filter(|(key, _)| own(key)) {
        sums.entry(by.iter().map(|part| named(key, part)).collect()).or_default().add(usage);
    }
    Ok(items(sums.into_iter().map(|(names, usage)| shown(&by, names, &usage)).collect()))
}

fn parts(by: Option<&str>) -> Result<Vec<&'static str>, Problem> {
    let Some(by) = by else {
        return Ok(PARTS.into_iter().filter(|part| *part != ROAMING).collect());
    };
    let known = |word: &str| PARTS.into_iter().find(|part| *part == word);
    let wrong =
        |word: &str| Problem::malformed(format!("`{word}` is none of day, app, class, bearer and roaming"));
    by.split(',').map(|word| known(word).ok_or_else(|| wrong(word))).collect()
}

fn named(key: &UsageKey, part: &str) -> String {
    match part {
        "day" => accounting::civil(key.day).map_or_else(|| key.day.to_string(), |date| date.to_string()),
        "app" => key.app.to_string(),
        "class" => key.class.to_string(),
        ROAMING => key.roaming.to_string(),
        _ => key.bearer.to_string(),
    }
}

fn shown(by: &[&str], names: Vec<String>, usage: &Usage) -> Value {
    let sums = json!({
        "bytes_up": usage.bytes_up,
        "bytes_down": usage.bytes_down,
        "dropped_up": usage.dropped_up,
        "dropped_down": usage.dropped_down,
        "flows": usage.flows,
        "flow_ms": usage.flow_ms,
    });
    let value = |part: &str, name: String| match part {
        ROAMING => Value::Bool(name == "true"),
        _ => Value::String(name),
    };
    let names = by.iter().zip(names).map(|(part, name)| ((*part).to_owned(), value(part, name)));
    names.chain(sums.as_object().cloned().unwrap_or_default()).collect::<serde_json::Map<_, _>>().into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewThreshold {
    app: Option<AppId>,
    bearer: Option<Arc<str>>,
    when: Option<When>,
    per: Period,
    bytes: Amount,
}

/// A number, or as a person writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Bytes(u64),
    Text(String),
}

pub(super) async fn thresholds(State(gate): State<Arc<Gate>>) -> Json<Items<Value>> {
    items(thresholds::shown(&gate))
}

pub(super) async fn set(State(gate): State<Arc<Gate>>, Whole(body): Whole) -> Result<Response, Problem> {
    let NewThreshold { app, bearer, when, per, bytes } = read_json(&body)?;
    let bytes = match bytes {
        Amount::Bytes(bytes) => bytes,
        Amount::Text(text) => accounting::amount(&text)
            .map_err(|help| Problem::malformed(format!("`{text}` is not a number of bytes: {help}")))?,
    };
    let bytes = NonZeroU64::new(bytes).ok_or_else(|| Problem::malformed("`bytes` is above 0"))?;
    let threshold = Threshold { app, bearer, when, per, bytes };
    let answer = thresholds::set(&gate, threshold).await?;
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub(super) async fn remove(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let number = id.parse().map_err(|_| Problem::not_found("threshold", &id))?;
    thresholds::remove(&gate, number).await?;
    Ok(StatusCode::NO_CONTENT)
}
