//! `/v1/fetches`: fetch a package, then install it or throw it away.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::extract::Whole;
use super::problem::Problem;
use super::read_json;
use crate::fetch;
use crate::gate::Gate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FetchBody {
    url: String,
}

pub(super) async fn fetch(State(gate): State<Arc<Gate>>, Whole(body): Whole) -> Result<Response, Problem> {
    let body: FetchBody = read_json(&body)?;
    let shown = fetch::fetch(&gate, &body.url).await?;
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub(super) async fn install(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let app = fetch::decide(&gate, number(&id)?, true).await?;
    Ok(Json(app.map_or(Value::Null, |app| app.shown())))
}

pub(super) async fn throw_away(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    fetch::decide(&gate, number(&id)?, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn number(id: &str) -> Result<u64, Problem> {
    id.parse().map_err(|_| Problem::not_found("fetched package", id))
}
