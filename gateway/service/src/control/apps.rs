//! `/v1/apps`: install, list, show, remove.

use std::io::Write;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use mexe_model::{AppId, Reason};
use serde::Deserialize;

use super::extract::Asked;
use super::problem::Problem;
use super::{Items, items};
use crate::apps::{self, App};
use crate::gate::Gate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstallQuery {
    /// The file's name: its stem names a package that does not name itself.
    file: Option<String>,
}

/// The body is the package itself, streamed to disk, up to `limits.package`.
pub(super) async fn install(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<InstallQuery>,
    body: Body,
) -> Result<Response, Problem> {
    let package = receive(&gate, body).await?;
    let app = apps::install(&gate, package, query.file.as_deref()).await?;
    Ok((StatusCode::CREATED, Json(app.shown())).into_response())
}

async fn receive(gate: &Gate, body: Body) -> Result<tempfile::NamedTempFile, Problem> {
    let no_room = |error: std::io::Error| {
        Problem::new(
            Reason::JournalUnavailable,
            format!("the package cannot be stored: {error}; free some space"),
        )
    };
    let most = gate.config().limits.package;
    let mut file = apps::incoming_file(gate).map_err(no_room)?;
    let mut chunks = body.into_data_stream();
    let mut size = 0_u64;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::malformed(format!("the body broke off: {error}")))?;
        size += chunk.len() as u64;
        if size > most {
            let detail = format!("the package is larger than limits.package = {most} bytes");
            return Err(Problem::new(Reason::PackageTooLarge, detail));
        }
        file.write_all(&chunk).map_err(no_room)?;
    }
    Ok(file)
}

pub(super) async fn list(State(gate): State<Arc<Gate>>) -> Json<Items<serde_json::Value>> {
    items(gate.apps.list().iter().map(|app| app.shown()).collect())
}

pub(super) async fn show(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    let app = find(&gate, &id)?;
    let runs: Vec<_> = gate.runs.of(&app.id).iter().map(|run| run.id).collect();
    let mut shown = app.shown();
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("runs".to_owned(), serde_json::json!(runs));
    }
    Ok(Json(shown))
}

pub(super) async fn remove(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let app = find(&gate, &id)?;
    apps::remove(&gate, &app.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn find(gate: &Gate, id: &str) -> Result<Arc<App>, Problem> {
    let unknown = || Problem::new(Reason::AppUnknown, format!("no app `{id}` is installed"));
    let id: AppId = id.parse().map_err(|_| unknown())?;
    gate.apps.get(&id).ok_or_else(unknown)
}
