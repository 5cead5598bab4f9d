//! `/v1/limits`: the most that apps may move a second.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mexe_model::{AppId, BitRate};
use serde::Deserialize;
use serde_json::Value;

use super::extract::Whole;
use super::problem::Problem;
use super::{Items, items, read_json};
use crate::gate::Gate;
use crate::qos::limits::{self, AppLimit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLimit {
    app: AppId,
    max_bitrate_up: Option<BitRate>,
    max_bitrate_down: Option<BitRate>,
}

pub(super) async fn list(State(gate): State<Arc<Gate>>) -> Json<Items<Value>> {
    items(limits::shown(&gate))
}

pub(super) async fn set(State(gate): State<Arc<Gate>>, Whole(body): Whole) -> Result<Response, Problem> {
    let NewLimit { app, max_bitrate_up, max_bitrate_down } = read_json(&body)?;
    let answer = limits::set(&gate, app, AppLimit { max_bitrate_up, max_bitrate_down }).await?;
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub(super) async fn remove(
    State(gate): State<Arc<Gate>>,
    Path(app): Path<String>,
) -> Result<StatusCode, Problem> {
    let named = app.parse().map_err(|_| Problem::not_found("limit", &app))?;
    limits::remove(&gate, &named).await?;
    Ok(StatusCode::NO_CONTENT)
}
