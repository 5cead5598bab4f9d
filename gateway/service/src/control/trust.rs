//! `/v1/roots`, `/v1/administrator`, `/v1/lists`: whom the device trusts, and who may change that.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mexe_certs::RootKind;
use mexe_model::{Reason, RootId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Asked, Whole};
use super::problem::Problem;
use super::{Items, items, read_json};
use crate::gate::Gate;
use crate::trust::{InCharge, change};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddQuery {
    /// `third-party` unless said otherwise.
    kind: Option<String>,
    /// The file's name, for people.
    file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchBody {
    state: Wanted,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wanted {
    Disabled,
    Enabled,
}

pub(super) async fn roots(State(gate): State<Arc<Gate>>) -> Json<Items<Value>> {
    items(gate.trusted().shown())
}

/// The body is one certificate, PEM or DER.
pub(super) async fn add_root(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<AddQuery>,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let name = query.kind.as_deref().unwrap_or(RootKind::ThirdParty.as_str());
    let kind = RootKind::ALL.into_iter().find(|kind| kind.as_str() == name);
    let kind = kind.ok_or_else(|| Problem::malformed(format!("`{name}` is no kind of root")))?;
    let added = change::add(&gate, kind, query.file.as_deref().unwrap_or("api"), &body).await?;
    Ok((StatusCode::CREATED, Json(added)).into_response())
}

pub(super) async fn switch_root(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let wanted: SwitchBody = read_json(&body)?;
    let id = find(&gate, &id)?;
    Ok(Json(match wanted.state {
        Wanted::Enabled => change::enable(&gate, &id).await?,
        Wanted::Disabled => change::disable(&gate, &id).await?,
    }))
}

pub(super) async fn remove_root(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = find(&gate, &id)?;
    change::remove(&gate, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn administrator(State(gate): State<Arc<Gate>>) -> Json<Value> {
    Json(administrator_shown(&gate))
}

/// The body is the administrator's root certificate, PEM or DER.
pub(super) async fn set_administrator(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<AddQuery>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    change::set_administrator(&gate, query.file.as_deref().unwrap_or("api"), &body).await?;
    Ok(Json(administrator_shown(&gate)))
}

fn administrator_shown(gate: &Gate) -> Value {
    let trusted = gate.trusted();
    let offered = trusted
        .roots
        .iter()
        .find(|root| root.kind == RootKind::Administrator && root.state == crate::trust::State::Unaccepted);
    let offered = offered.map(crate::trust::Standing::shown);
    match &trusted.in_charge {
        InCharge::User => json!({ "administrator": "user", "offered": offered }),
        InCharge::Holder { key, configured } => {
            let root = trusted.roots.iter().find(|root| root.id == *key);
            json!({
                "administrator": root.map_or("device", |root| match root.provenance {
                    mexe_certs::Provenance::Usim => "usim",
                    mexe_certs::Provenance::Device | mexe_certs::Provenance::User => "device",
                }),
                "key": key,
                "root": root.map(crate::trust::Standing::shown),
                "enabled": configured.enabled.iter().map(|hash| crate::apps::hex(hash)).collect::<Vec<_>>(),
                "disabled": configured.disabled,
                "offered": offered,
            })
        }
    }
}

/// A root by its id, or by the beginning of it if that is one only.
fn find(gate: &Gate, id: &str) -> Result<RootId, Problem> {
    let trusted = gate.trusted();
    let mut found: Vec<&RootId> =
        trusted.roots.iter().map(|root| &root.id).filter(|known| known.as_str().starts_with(id)).collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [one] if id.len() >= SHORTEST => Ok((*one).clone()),
        [_, _, ..] => {
            Err(Problem::new(Reason::NotFound, format!("`{id}` is the beginning of several roots")))
        }
        _ => Err(Problem::not_found("root", id)),
    }
}

/// The fewest digits that a root may be named by.
const SHORTEST: usize = 8;
