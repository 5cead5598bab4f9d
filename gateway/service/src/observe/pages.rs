//! The pages that machines read: `/metrics`, `/healthz` (the process answers) and `/readyz` (it can take connections, or
//! says why not).

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::gate::Gate;

/// `/metrics` and the health pages.
pub fn metrics_router(gate: Arc<Gate>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(Arc::clone(&gate)).merge(health_router(gate))
}

/// `/healthz` and `/readyz` alone, for the console's port.
pub fn health_router(gate: Arc<Gate>) -> Router {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(gate)
}

async fn metrics(State(gate): State<Arc<Gate>>) -> Response {
    gate.settle_flow_bytes();
    gate.metrics.set_stock(&gate.stock());
    match gate.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(gate): State<Arc<Gate>>) -> Response {
    match gate.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
