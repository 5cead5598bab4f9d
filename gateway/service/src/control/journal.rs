//! `/v1/journal`: what was decided, what ended, what was changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mexe_journal::{Filter, Row};
use mexe_model::{Reason, WallTime};
use serde::Deserialize;

use super::extract::Asked;
use super::problem::Problem;
use super::{Items, items};
use crate::gate::Gate;

/// Rows of one answer, unless the caller wants fewer or more.
const USUAL_LIMIT: u32 = 1000;
/// More than this are not given at once: ask again with `after`.
const LARGEST_LIMIT: u32 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalQuery {
    app: Option<String>,
    since: Option<String>,
    reason: Option<String>,
    after: Option<u64>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<JournalQuery>,
) -> Result<Json<Items<Row>>, Problem> {
    let filter = Filter {
        app: parsed(query.app.as_deref(), "app")?,
        since: query.since.as_deref().map(time).transpose()?,
        reason: parsed(query.reason.as_deref(), "reason")?,
        after: query.after,
        limit: Some(query.limit.unwrap_or(USUAL_LIMIT).min(LARGEST_LIMIT)),
        ..Filter::default()
    };
    let journal = gate.journal.clone();
    let rows = tokio::task::spawn_blocking(move || journal.query(&filter)).await;
    let unreadable = |why: String| Problem::new(Reason::JournalUnavailable, why);
    rows.map_err(|error| unreadable(error.to_string()))?
        .map(items)
        .map_err(|error| unreadable(error.to_string()))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: Option<&str>,
    what: &str,
) -> Result<Option<T>, Problem> {
    let parse = |text: &str| text.parse().map_err(|error| Problem::malformed(format!("{what}: {error}")));
    text.map(parse).transpose()
}

fn time(text: &str) -> Result<WallTime, Problem> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let millis = parsed.ok().and_then(|timestamp| u64::try_from(timestamp.as_millisecond()).ok());
    millis
        .map(WallTime::from_millis)
        .ok_or_else(|| Problem::malformed("since is not an RFC 3339 time, as in 2026-01-31T12:00:00Z"))
}
