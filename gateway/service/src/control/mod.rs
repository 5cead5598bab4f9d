//! The API (JSON over HTTP/1.1): the same routes on the control socket and on the console's port. Handlers are thin: they
//! read the request, call the gate, and write the answer. Who may call what is [`role`]'s.

mod apps;
mod calls;
pub mod console;
mod decisions;
pub mod door;
mod events;
mod extract;
mod fetches;
mod grants;
mod journal;
mod limits;
pub mod listen;
pub mod problem;
mod prompts;
pub mod role;
mod runs;
mod schedules;
mod shadow;
mod state;
mod streams;
mod trust;
mod usage;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use mexe_model::Reason;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gate::Gate;
use problem::Problem;

/// A security table is never larger, bytes.
const LARGEST_TABLE: usize = 1 << 20;

/// Every route of the API behind the role table. Whoever serves it adds the [`role::Caller`] to each request first.
pub fn router(gate: Arc<Gate>) -> Router {
    let body = usize::try_from(gate.config().limits.body).unwrap_or(usize::MAX);
    Router::new()
        .route("/v1/openapi.json", get(openapi))
        .route("/v1/status", get(state::status))
        .route("/v1/apps", get(apps::list).post(apps::install).layer(DefaultBodyLimit::disable()))
        .route("/v1/fetches", post(fetches::fetch))
        .route("/v1/fetches/{id}", delete(fetches::throw_away))
        .route("/v1/fetches/{id}/install", post(fetches::install))
        .route("/v1/apps/{id}", get(apps::show).delete(apps::remove))
        .route("/v1/apps/{id}/runs", post(runs::begin))
        .route("/v1/runs", get(runs::list))
        .route("/v1/runs/{id}", delete(runs::end))
        .route("/v1/flows", get(state::flows))
        .route("/v1/flows/{id}", delete(state::end_flow))
        .route("/v1/grants", get(grants::list).post(grants::give).delete(grants::revoke_all_of_app))
        .route("/v1/grants/{id}", delete(grants::revoke))
        .route("/v1/schedules", get(schedules::list).post(schedules::sign))
        .route("/v1/schedules/{name}", delete(schedules::revoke))
        .route(
            "/v1/shadow",
            get(shadow::show)
                .put(shadow::load)
                .delete(shadow::drop_candidate)
                .layer(DefaultBodyLimit::max(LARGEST_TABLE)),
        )
        .route("/v1/bearers", get(state::bearers))
        .route("/v1/calls", get(calls::list).post(calls::begin))
        .route("/v1/calls/{id}", delete(calls::hang_up))
        .route("/v1/calls/{id}/dtmf", post(calls::tones))
        .route("/v1/streams", get(streams::list).post(streams::request))
        .route("/v1/streams/{id}", patch(streams::modify).delete(streams::release))
        .route("/v1/prompts", get(prompts::list))
        .route("/v1/prompts/{id}", delete(prompts::forget))
        .route("/v1/prompts/{id}/answer", post(prompts::answer))
        .route("/v1/events", get(events::watch))
        .route("/v1/decisions", post(decisions::decide))
        .route("/v1/roots", get(trust::roots).post(trust::add_root))
        .route("/v1/roots/{id}", patch(trust::switch_root).delete(trust::remove_root))
        .route("/v1/lists", get(trust::lists).post(trust::add_list).layer(DefaultBodyLimit::disable()))
        .route("/v1/ccm", post(trust::apply_message).layer(DefaultBodyLimit::disable()))
        .route("/v1/administrator", get(trust::administrator).put(trust::set_administrator))
        .route("/v1/limits", get(limits::list).post(limits::set))
        .route("/v1/limits/{app}", delete(limits::remove))
        .route("/v1/usage", get(usage::usage))
        .route("/v1/thresholds", get(usage::thresholds).post(usage::set))
        .route("/v1/thresholds/{id}", delete(usage::remove))
        .route("/v1/journal", get(journal::list).delete(journal::clear))
        .route("/v1/journal/checkpoint", get(journal::checkpoint))
        .fallback(|| async { Problem::new(Reason::NotFound, "there is no such route; see /v1/openapi.json") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Reason::NotFound, "this route has no such method; see /v1/openapi.json")
        })
        .layer(DefaultBodyLimit::max(body))
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), listen::to_its_end))
        .layer(middleware::from_fn(listen::only_admitted))
        .with_state(gate)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}

/// A list, as every list of the API is shaped.
#[derive(Debug, Serialize)]
pub struct Items<T> {
    /// What is in it.
    pub items: Vec<T>,
}

fn items<T: Serialize>(items: Vec<T>) -> Json<Items<T>> {
    Json(Items { items })
}

/// Reads a JSON body strictly, whatever its content type says; an empty body is an empty object.
fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Problem::malformed(format!("the body is not as expected: {error}")))
}

#[cfg(test)]
mod tests {
    use super::role::ROUTES;

    #[test]
    fn the_api_document_lists_exactly_the_routes() {
        let document: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let mut listed = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                listed.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut routes: Vec<_> =
            ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        listed.sort();
        routes.sort();
        assert_eq!(listed, routes);
    }
}
