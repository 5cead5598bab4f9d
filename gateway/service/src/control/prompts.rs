//! `/v1/prompts`: the questions that wait for the user, and his answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use mexe_model::{DenialId, Permission, PromptId};
use mexe_policy::prompts::Scope;
use serde::Deserialize;
use serde_json::Value;

use super::extract::{Asked, Whole};
use super::problem::Problem;
use super::{Items, items, read_json};
use crate::gate::Gate;
use crate::prompts::{answer, shown};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Denials instead of questions.
    #[serde(default)]
    denied: bool,
}

pub(super) async fn list(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<Which>,
) -> Result<Json<Items<Value>>, Problem> {
    Ok(items(shown::list(&gate, query.denied)))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerBody {
    answer: Word,
    permission: Option<Permission>,
    #[serde(rename = "for")]
    duration: Option<String>,
    #[serde(default)]
    scope: Scope,
}

pub(super) async fn answer(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let prompt: PromptId = id.parse().map_err(|_| Problem::not_found("question", &id))?;
    let body: AnswerBody = read_json(&body)?;
    let duration = match &body.duration {
        Some(text) => {
            Some(crate::config::parse_duration(text).map_err(|error| Problem::malformed(error.to_string()))?)
        }
        None => None,
    };
    let said = answer::Answer {
        allow: matches!(body.answer, Word::Allow),
        permission: body.permission,
        duration,
        scope: body.scope,
    };
    Ok(Json(answer::answer(&gate, prompt, said).await?))
}

/// Takes a missed question off the list or, for a denial, has the user asked again.
pub(super) async fn forget(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if let Ok(denial) = id.parse::<DenialId>() {
        answer::rearm(&gate, denial).await?;
    } else {
        let prompt: PromptId = id.parse().map_err(|_| Problem::not_found("question", &id))?;
        answer::dismiss(&gate, prompt)?;
    }
    Ok(StatusCode::NO_CONTENT)
}
