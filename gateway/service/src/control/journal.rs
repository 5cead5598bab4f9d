//! `/v1/journal`: what was decided, what ended, what was changed; as JSON, as JSON lines and as CSV, at once or when
//! something comes. Clearing it, and a checkpoint of it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use mexe_journal::{
    CSV_HEADING, Checkpoint, Clearing, Filter, Journal, JournalError, Page, Record, csv_line,
};
use mexe_model::{Reason, Trust, WallTime};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::Asked;
use super::problem::Problem;
use super::role::Caller;
use crate::clock;
use crate::gate::Gate;

/// Rows of one answer, unless the caller wants fewer or more.
const USUAL_LIMIT: u32 = 1000;
/// More than this are not given at once: ask again with `after`.
const LARGEST_LIMIT: u32 = 10_000;
/// Longer than this no request is held until something comes.
const LONGEST_FOLLOW: Duration = Duration::from_secs(60);
/// How often a request that is held looks whether there are new records.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalQuery {
    app: Option<String>,
    since: Option<String>,
    until: Option<String>,
    reason: Option<String>,
    kind: Option<String>,
    decision: Option<String>,
    domain: Option<String>,
    action: Option<String>,
    run: Option<String>,
    flow: Option<String>,
    after: Option<u64>,
    limit: Option<u32>,
    format: Option<String>,
    follow: Option<String>,
}

pub(super) async fn list(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<JournalQuery>,
) -> Result<Response, Problem> {
    let shape = Shape::of(query.format.as_deref())?;
    let filter = query.filter()?;
    let page = match &query.follow {
        None => read(&gate.journal, &filter).await?,
        Some(text) => follow(&gate, filter, text).await?,
    };
    Ok(shape.write(&page))
}

impl JournalQuery {
    fn filter(&self) -> Result<Filter, Problem> {
        let time = |text: &Option<String>, what| text.as_deref().map(|text| time(text, what)).transpose();
        let (since, until) = (time(&self.since, "since")?, time(&self.until, "until")?);
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(Problem::malformed("until is not later than since"));
        }
        let limit = self.limit.unwrap_or(USUAL_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            return Err(Problem::malformed(format!("limit is not from 1 to {LARGEST_LIMIT}")));
        }
        let action: Option<mexe_model::Action> = parsed(self.action.as_deref(), "action")?;
        Ok(Filter {
            app: parsed(self.app.as_deref(), "app")?,
            since,
            until,
            reason: parsed(self.reason.as_deref(), "reason")?,
            kind: parsed(self.kind.as_deref(), "kind")?,
            decision: parsed(self.decision.as_deref(), "decision")?,
            domain: self.domain.as_deref().map(domain).transpose()?,
            action: action.map(|action| action.to_string()),
            run: parsed(self.run.as_deref(), "run")?,
            flow: parsed(self.flow.as_deref(), "flow")?,
            after: self.after,
            limit: Some(limit),
        })
    }
}

/// How the records are written.
#[derive(Clone, Copy)]
enum Shape {
    Csv,
    Json,
    JsonLines,
}

impl Shape {
    fn of(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            Some("csv") => Ok(Self::Csv),
            None | Some("json") => Ok(Self::Json),
            Some("jsonl") => Ok(Self::JsonLines),
            Some(_) => Err(Problem::malformed("format is none of json, jsonl and csv")),
        }
    }

    fn write(self, page: &Page) -> Response {
        let (kind, body) = match self {
            Self::Json => {
                return Json(json!({ "items": page.rows, "next": page.next })).into_response();
            }
            Self::Csv => {
                let lines = page.rows.iter().map(csv_line);
                (
                    "text/csv; charset=utf-8; header=present",
                    CSV_HEADING.to_owned() + &lines.collect::<String>(),
                )
            }
            Self::JsonLines => {
                let lines = page.rows.iter().map(|row| format!("{}\n", json!(row)));
                ("application/jsonl", lines.collect::<String>())
            }
        };
        let fields = [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            // A browser keeps it as a file and never takes it for a page.
            (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        (fields, body).into_response()
    }
}

/// Holds the request until a record fits, the time is up, or the gate stops.
async fn follow(gate: &Gate, mut filter: Filter, text: &str) -> Result<Page, Problem> {
    let patience = crate::config::parse_duration(text)
        .map_err(|error| Problem::malformed(format!("follow: {error}")))?;
    if patience > LONGEST_FOLLOW {
        return Err(Problem::malformed("follow is longer than 60s"));
    }
    let until = tokio::time::Instant::now() + patience;
    let mut seen = gate.journal.health().records_total;
    let mut page = read(&gate.journal, &filter).await?;
    while page.rows.is_empty() {
        filter.after = Some(page.next);
        // Only a look at a number, until there is something to read.
        while gate.journal.health().records_total == seen {
            let wait = tokio::time::sleep(LOOK_AGAIN);
            tokio::select! {
                () = wait => {}
                () = gate.stopped() => return Ok(page),
            }
            if tokio::time::Instant::now() >= until {
                return Ok(page);
            }
        }
        seen = gate.journal.health().records_total;
        page = read(&gate.journal, &filter).await?;
    }
    Ok(page)
}

async fn read(journal: &Journal, filter: &Filter) -> Result<Page, Problem> {
    let (journal, filter) = (journal.clone(), filter.clone());
    blocking(move || journal.page(&filter)).await
}

async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, Problem> {
    let unreadable = |why: String| Problem::new(Reason::JournalUnavailable, why);
    let done = tokio::task::spawn_blocking(task).await;
    done.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))
}

pub(super) async fn checkpoint(State(gate): State<Arc<Gate>>) -> Result<Response, Problem> {
    let path = gate.journal.path().to_owned();
    let checkpoint = blocking(move || Checkpoint::of(&path)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], checkpoint.document()).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClearQuery {
    app: Option<String>,
    before: Option<String>,
}

pub(super) async fn clear(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Asked(query): Asked<ClearQuery>,
) -> Result<Json<Value>, Problem> {
    let before = query.before.as_deref().map(|text| time(text, "before")).transpose()?;
    let what = Clearing { app: parsed(query.app.as_deref(), "app")?, before };
    let pid = match caller {
        Caller::User { pid } => pid,
        _ => None,
    };
    let door = if pid.is_some() { "control-socket" } else { "console" };
    let at = clock::wall();
    let record = Record {
        detail: Some(json!({
            "by": "user",
            "door": door,
            "pid": pid,
            "app": what.app,
            "before": before.unwrap_or(at).to_string(),
        })),
        ..Record::change(at, "journal.clear")
    };
    let records = gate.journal.clear(what, record).await;
    let records = records.map_err(|error| Problem::new(Reason::JournalUnavailable, error.to_string()))?;
    Ok(Json(json!({ "records": records })))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: Option<&str>,
    what: &str,
) -> Result<Option<T>, Problem> {
    let parse = |text: &str| text.parse().map_err(|error| Problem::malformed(format!("{what}: {error}")));
    text.map(parse).transpose()
}

fn domain(text: &str) -> Result<Trust, Problem> {
    let known = Trust::ALL.into_iter().find(|domain| domain.as_str() == text);
    known.ok_or_else(|| {
        Problem::malformed("domain is none of operator, manufacturer, third-party and untrusted")
    })
}

fn time(text: &str, what: &str) -> Result<WallTime, Problem> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let millis = parsed.ok().and_then(|timestamp| u64::try_from(timestamp.as_millisecond()).ok());
    millis.map(WallTime::from_millis).ok_or_else(|| {
        Problem::malformed(format!("{what} is not an RFC 3339 time, as in 2026-01-31T12:00:00Z"))
    })
}
