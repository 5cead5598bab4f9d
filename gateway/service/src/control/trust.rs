//! `/v1/roots`, `/v1/administrator`, `/v1/lists`: whom the device trusts, and who may change that.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mexe_certs::RootKind;
use mexe_certs::ccm::CcmLimits;
use mexe_model::{Reason, RootId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Asked, Whole};
use super::problem::Problem;
use super::{Items, items, read_json};
use crate::gate::Gate;
use crate::trust::{InCharge, change, lists};

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

pub(super) async fn lists(State(gate): State<Arc<Gate>>) -> Json<Items<Value>> {
    items(gate.trusted().lists_shown(crate::clock::wall()))
}

/// The body is one revocation list in DER, or several in PEM.
pub(super) async fn add_list(State(gate): State<Arc<Gate>>, list: Body) -> Result<Response, Problem> {
    let most = usize::try_from(crate::trust::LARGEST_LIST).unwrap_or(usize::MAX);
    let list = axum::body::to_bytes(list, most).await;
    let list =
        list.map_err(|_| Problem::new(Reason::BodyTooLarge, "a revocation list has at most 32 MiB"))?;
    Ok((StatusCode::CREATED, items(lists::add(&gate, &list).await?)).into_response())
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

/// The body is a certificate configuration message (application/vnd.mexegate.ccm).
pub(super) async fn apply_message(
    State(gate): State<Arc<Gate>>,
    message: Body,
) -> Result<Json<Value>, Problem> {
    // Messages may be larger than other bodies; what is too large even for one is refused as malformed.
    let most = CcmLimits::default().message.saturating_add(1);
    let message = axum::body::to_bytes(message, most).await;
    let message = message.map_err(|_| Problem::new(Reason::CcmMalformed, "the message is too large"))?;
    Ok(Json(change::apply_message(&gate, &message).await?))
}

fn administrator_shown(gate: &Gate) -> Value {
    let trusted = gate.trusted();
    let decision = &trusted.administrator;
    let mut shown = json!({
        "administrator": decision.administrator.as_str(),
        "why": decision.why.as_str(),
        "device": gate.device,
        "offered": decision.question.as_ref().map(|question| {
            json!({ "iccid": question.iccid, "key": question.key, "in_place_of": question.in_place_of })
        }),
    });
    if let (InCharge::Holder { key, configured }, Some(fields)) = (&trusted.in_charge, shown.as_object_mut())
    {
        fields.insert("key".to_owned(), json!(key));
        fields.insert("configuration".to_owned(), json!(configured));
        fields.insert("overdue".to_owned(), json!(trusted.is_overdue(crate::clock::wall())));
    }
    shown
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
