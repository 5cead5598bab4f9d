//! `/v1/schedules`: show, sign off, list, revoke.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::apps::OfApp;
use super::extract::{Asked, Whole};
use super::problem::Problem;
use super::{Items, items, read_json};
use crate::gate::Gate;
use crate::schedules::{self, Offer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignBody {
    /// The schedule, TOML.
    text: String,
    /// The digest of what the user agreed to; without it the schedule is only shown.
    digest: Option<String>,
}

pub(super) async fn sign(State(gate): State<Arc<Gate>>, Whole(body): Whole) -> Result<Response, Problem> {
    let SignBody { text, digest } = read_json(&body)?;
    let status = if digest.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let answer = schedules::sign(&gate, Offer { text, digest }).await?;
    Ok((status, Json(answer)).into_response())
}

pub(super) async fn list(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<OfApp>,
) -> Result<Json<Items<serde_json::Value>>, Problem> {
    let app = query.app(&gate)?;
    Ok(items(gate.schedules.shown(&gate, app.as_ref())))
}

pub(super) async fn revoke(
    State(gate): State<Arc<Gate>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    schedules::revoke(&gate, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
