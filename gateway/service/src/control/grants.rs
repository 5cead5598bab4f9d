//! `/v1/grants`: give, list, revoke.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mexe_model::{GrantId, Permission};
use serde::Deserialize;

use super::apps::OfApp;
use super::extract::{Asked, Whole};
use super::problem::Problem;
use super::{Items, apps, items, read_json};
use crate::gate::Gate;
use crate::grants::{self, NewGrant};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GiveBody {
    app: String,
    action: String,
    target: Option<String>,
    permission: Permission,
    #[serde(rename = "for")]
    duration: Option<String>,
}

pub(super) async fn give(State(gate): State<Arc<Gate>>, Whole(body): Whole) -> Result<Response, Problem> {
    let body: GiveBody = read_json(&body)?;
    let app = apps::find(&gate, &body.app)?;
    let duration = match &body.duration {
        Some(text) => {
            Some(crate::config::parse_duration(text).map_err(|error| Problem::malformed(error.to_string()))?)
        }
        None => None,
    };
    let new = NewGrant {
        app: app.id.clone(),
        action: body.action,
        target: body.target,
        permission: body.permission,
        duration,
    };
    let given = grants::give(&gate, new).await?;
    Ok((StatusCode::CREATED, Json(given)).into_response())
}

pub(super) async fn list(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<OfApp>,
) -> Result<Json<Items<serde_json::Value>>, Problem> {
    let app = query.app(&gate)?;
    Ok(items(grants::list(&gate, app.as_ref())))
}

pub(super) async fn revoke(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let grant: GrantId = id.parse().map_err(|_| Problem::not_found("grant", &id))?;
    grants::revoke(&gate, grant).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn revoke_all_of_app(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<OfApp>,
) -> Result<Json<Items<GrantId>>, Problem> {
    let app = query.app(&gate)?;
    let app = app.ok_or_else(|| Problem::malformed("say which app: DELETE /v1/grants?app=ID"))?;
    Ok(items(grants::revoke_all_of_app(&gate, &app).await?))
}
