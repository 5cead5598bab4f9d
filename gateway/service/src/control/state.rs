//! What is: status, flows, bearers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use mexe_model::{FlowId, Reason};

use super::problem::Problem;
use super::{Items, items};
use crate::gate::Gate;

pub(super) async fn status(State(gate): State<Arc<Gate>>) -> Json<serde_json::Value> {
    Json(gate.status())
}

pub(super) async fn flows(State(gate): State<Arc<Gate>>) -> Json<Items<serde_json::Value>> {
    items(gate.flows.list())
}

pub(super) async fn bearers(State(gate): State<Arc<Gate>>) -> Json<Items<serde_json::Value>> {
    items(gate.bearers.list())
}

/// Ends one flow at once.
pub(super) async fn end_flow(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let flow: FlowId = id.parse().map_err(|_| Problem::not_found("flow", &id))?;
    if gate.cut(&mexe_relay::Key::Flow(flow), Reason::PermissionRevoked).leases == 0 {
        return Err(Problem::not_found("flow", &id));
    }
    Ok(StatusCode::NO_CONTENT)
}
