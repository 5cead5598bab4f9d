//! `/v1/limits`: the most that apps may move a second.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use mexe_model::AppId;
use serde_json::Value;

use super::extract::Whole;
use super::problem::Problem;
use super::{Items, items, read_json};
use crate::gate::Gate;
use crate::qos::limits;

pub(super) async fn list(State(gate): State<Arc<Gate>>) -> Json<Items<Value>> {
    items(limits::shown(&gate))
}

pub(super) async fn set(
    State(gate): State<Arc<Gate>>,
    Path(app): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    Ok(Json(limits::set(&gate, named(&app)?, read_json(&body)?).await?))
}

pub(super) async fn remove(
    State(gate): State<Arc<Gate>>,
    Path(app): Path<String>,
) -> Result<StatusCode, Problem> {
    limits::remove(&gate, &named(&app)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn named(app: &str) -> Result<AppId, Problem> {
    app.parse().map_err(|_| Problem::not_found("limit", app))
}
