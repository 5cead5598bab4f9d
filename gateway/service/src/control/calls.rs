//! `/v1/calls`: call, send tones, hang up. An app does so for its own run; the user for any.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mexe_model::CallId;
use serde::Deserialize;
use serde_json::Value;

use super::extract::Whole;
use super::listen::CallerGone;
use super::problem::Problem;
use super::role::Caller;
use super::{Items, items, read_json, runs};
use crate::calls::{self, Owner};
use crate::gate::Gate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dial {
    run: Option<String>,
    app: Option<String>,
    number: String,
}

pub(super) async fn begin(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Extension(gone): Extension<CallerGone>,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let dial: Dial = read_json(&body)?;
    let run = runs::whose(&gate, &caller, dial.run.as_deref(), dial.app.as_deref())?;
    let call = calls::begin(&gate, &run, &dial.number, &gone.0).await?;
    Ok((StatusCode::CREATED, Json(call)).into_response())
}

pub(super) async fn list(State(gate): State<Arc<Gate>>) -> Json<Items<Value>> {
    items(gate.calls.list())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Burst {
    tones: String,
}

pub(super) async fn tones(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Extension(gone): Extension<CallerGone>,
    Path(id): Path<String>,
    Whole(body): Whole,
) -> Result<StatusCode, Problem> {
    let call: CallId = id.parse().map_err(|_| Problem::not_found("call", &id))?;
    let burst: Burst = read_json(&body)?;
    calls::tones(&gate, call, owner(&caller), &burst.tones, &gone.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn hang_up(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let call: CallId = id.parse().map_err(|_| Problem::not_found("call", &id))?;
    calls::hang_up(&gate, call, owner(&caller)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn owner(caller: &Caller) -> Owner<'_> {
    match caller {
        Caller::App(run) => Owner::Run(run),
        _ => Owner::Anybody,
    }
}
