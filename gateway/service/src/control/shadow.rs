//! `/v1/shadow`: a candidate table or setting beside the live policy.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mexe_policy::policy::TokenRuns;
use serde::Deserialize;
use serde_json::Value;

use super::extract::Whole;
use super::problem::Problem;
use super::read_json;
use crate::gate::Gate;
use crate::shadow;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadBody {
    /// A whole security table, TOML.
    table: Option<String>,
    token_runs: Option<TokenRuns>,
}

pub(super) async fn load(State(gate): State<Arc<Gate>>, Whole(body): Whole) -> Result<Json<Value>, Problem> {
    let body: LoadBody = read_json(&body)?;
    Ok(Json(shadow::load(&gate, body.table.as_deref(), body.token_runs).await?))
}

pub(super) async fn show(State(gate): State<Arc<Gate>>) -> Json<Value> {
    Json(gate.beside.shown())
}

pub(super) async fn drop_candidate(State(gate): State<Arc<Gate>>) -> Result<Json<Value>, Problem> {
    Ok(Json(shadow::drop_candidate(&gate).await?))
}
