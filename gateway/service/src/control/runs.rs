//! `/v1/apps/ID/runs` and `/v1/runs`: begin, list, end. A measured run's program talks to the caller over the upgraded
//! connection, in frames.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mexe_model::{Reason, RunId};
use serde::Deserialize;

use super::problem::Problem;
use super::role::Caller;
use super::{Items, apps, items, read_json};
use crate::execute;
use crate::gate::Gate;
use crate::running::{self, ProcessWatch};
use crate::runs::Run;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginBody {
    /// The gate executes the package itself (binding `measured`).
    #[serde(default)]
    execute: bool,
    #[serde(default)]
    args: Vec<String>,
    /// The run ends with the calling process (binding `token`).
    #[serde(default)]
    hold: bool,
}

/// With `Upgrade: mexegate-run` the body's JSON comes base64-coded in the header `MExE-Run`, and the answer is 101.
pub(super) async fn begin(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    mut request: Request,
) -> Result<Response, Problem> {
    let app = apps::find(&gate, &id)?;
    let wanted: BeginBody = match in_header(request.headers())? {
        Some(wanted) => wanted,
        None => read_json(&read_body(&gate, std::mem::take(request.body_mut())).await?)?,
    };
    if wanted.execute {
        let upgrades = request.headers().get(header::UPGRADE).is_some_and(|value| value == execute::PROTOCOL);
        if !upgrades {
            let detail = format!("to execute, ask for the upgrade `{}`", execute::PROTOCOL);
            return Err(Problem::malformed(detail));
        }
        let watch = match &caller {
            Caller::User { pid: Some(pid) } => Some(ProcessWatch::open(*pid)?),
            _ => None,
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let (started, child) = running::execute(&gate, &app.id, wanted.args).await?;
        let gate_in_task = Arc::clone(&gate);
        gate.spawn(async move { execute::converse(gate_in_task, started.run, child, upgrade, watch).await });
        let switching = [(header::CONNECTION, "upgrade"), (header::UPGRADE, execute::PROTOCOL)];
        return Ok((StatusCode::SWITCHING_PROTOCOLS, switching).into_response());
    }
    let holder = match (wanted.hold, &caller) {
        (false, _) => None,
        (true, Caller::User { pid: Some(pid) }) => Some(*pid),
        (true, _) => return Err(Problem::malformed("only a process at the control socket can hold a run")),
    };
    let started = running::begin_by_token(&gate, &app.id, holder).await?;
    Ok((StatusCode::CREATED, Json(started.shown())).into_response())
}

fn in_header(headers: &HeaderMap) -> Result<Option<BeginBody>, Problem> {
    let Some(value) = headers.get("mexe-run") else { return Ok(None) };
    let json = STANDARD.decode(value.as_bytes()).map_err(|_| Problem::malformed("MExE-Run is not base64"))?;
    read_json(&json).map(Some)
}

async fn read_body(gate: &Gate, body: Body) -> Result<Bytes, Problem> {
    let most = usize::try_from(gate.config().limits.body).unwrap_or(usize::MAX);
    body::to_bytes(body, most).await.map_err(|_| {
        Problem::new(Reason::BodyTooLarge, format!("the body is larger than {most} bytes, or broke off"))
    })
}

pub(super) async fn list(State(gate): State<Arc<Gate>>) -> Json<Items<serde_json::Value>> {
    items(gate.runs.list().iter().map(|run| running::shown(run)).collect())
}

pub(super) async fn end(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let run: RunId = id.parse().map_err(|_| Problem::not_found("run", &id))?;
    if running::end(&gate, run, Reason::RunEnded).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("run", &id))
    }
}

/// The run that asks, or for which the user asks: this one, or the latest of this app. An app has no other than its own.
pub(super) fn whose(
    gate: &Gate,
    caller: &Caller,
    run: Option<&str>,
    app: Option<&str>,
) -> Result<Arc<Run>, Problem> {
    if let Caller::App(own) = caller {
        let id = own.id.to_string();
        let is_own = run.is_none_or(|run| run == id) && app.is_none_or(|app| app == own.app.as_str());
        return match is_own {
            true => Ok(Arc::clone(own)),
            false => Err(Problem::new(Reason::RoleMissing, "an app asks for its own run only")),
        };
    }
    match (run, app) {
        (Some(id), _) => {
            let run: RunId = id.parse().map_err(|_| Problem::not_found("run", id))?;
            gate.runs.get(run).ok_or_else(|| Problem::not_found("run", id))
        }
        (None, Some(app)) => {
            let app = apps::find(gate, app)?;
            let no_run =
                || Problem::new(Reason::RunEnded, format!("`{}` has no run: start it first", app.id));
            gate.runs.of(&app.id).pop().ok_or_else(no_run)
        }
        (None, None) => Err(Problem::malformed("say for which app or run")),
    }
}
