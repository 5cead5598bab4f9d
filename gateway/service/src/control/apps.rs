//! `/v1/apps`: judge, install, list, show, remove.

use std::io::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use mexe_model::{AppId, Reason, SecurityDomain};
use serde::Deserialize;

use super::extract::Asked;
use super::problem::Problem;
use super::{Items, items};
use crate::apps::{self, App, Offered, StoredEvidence};
use crate::gate::Gate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstallQuery {
    /// The file's name: its stem names a package that does not name itself.
    file: Option<String>,
    /// The app that the package must be an update of.
    update: Option<String>,
    /// Whether an older version may replace a newer one; all grants are dropped then.
    #[serde(default)]
    downgrade: bool,
    /// Whether it is only judged: what it is and where it would go is told, and nothing is changed.
    #[serde(default, rename = "dry-run")]
    dry_run: bool,
    /// The digest of the package that the user was shown; another one is not installed.
    digest: Option<String>,
    /// The domain that they were shown, or `untrusted`; likewise.
    domain: Option<String>,
}

/// The body is the package itself, streamed to disk, up to `limits.package`; or multipart/form-data with the parts
/// `package`, and `jad` or `signature`, and the fields `name` and `version`.
pub(super) async fn install(
    State(gate): State<Arc<Gate>>,
    Asked(query): Asked<InstallQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mut offered = match kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        true => take_apart(&gate, request).await?,
        false => Offered::package(receive(&gate, request.into_body().into_data_stream()).await?),
    };
    offered.file_name = query.file;
    offered.downgrade = query.downgrade;
    offered.update = match query.update {
        Some(id) => Some(find(&gate, &id)?.id.clone()),
        None => None,
    };
    offered.seen = query.digest;
    offered.agreed = query.domain.as_deref().map(domain).transpose()?;
    if query.dry_run {
        let (_, shown) = apps::look_at(&gate, &offered).await?;
        return Ok(Json(shown).into_response());
    }
    let app = apps::install(&gate, offered).await?;
    Ok((StatusCode::CREATED, Json(app.shown())).into_response())
}

fn domain(name: &str) -> Result<Option<SecurityDomain>, Problem> {
    match name {
        "untrusted" => Ok(None),
        name => name
            .parse()
            .map(Some)
            .map_err(|error| Problem::malformed(format!("domain: {error}, or untrusted"))),
    }
}

async fn take_apart(gate: &Arc<Gate>, request: Request) -> Result<Offered, Problem> {
    let broken = |what: String| Problem::malformed(format!("the multipart body is not as expected: {what}"));
    let mut parts = Multipart::from_request(request, &()).await.map_err(|error| broken(error.body_text()))?;
    let (mut package, mut evidence) = (None, StoredEvidence::Inside);
    let (mut name, mut version) = (None, None);
    while let Some(part) = parts.next_field().await.map_err(|error| broken(error.body_text()))? {
        match part.name().unwrap_or_default() {
            "package" if package.is_none() => {
                package = Some(receive(gate, part.map_err(axum::Error::new)).await?);
            }
            "jad" if evidence == StoredEvidence::Inside => {
                evidence = StoredEvidence::Descriptor(small(part).await?);
            }
            "signature" if evidence == StoredEvidence::Inside => {
                evidence = StoredEvidence::Detached(small(part).await?);
            }
            "name" => name = Some(text(part).await?),
            "version" => version = Some(text(part).await?),
            other => return Err(broken(format!("there is no part `{}` here", other.escape_debug()))),
        }
    }
    let package = package.ok_or_else(|| broken("there is no part `package`".to_owned()))?;
    Ok(Offered { evidence, name, version, ..Offered::package(package) })
}

/// A descriptor or signature is never larger, bytes.
const SMALL: usize = 4 << 20;

async fn small(mut part: Field<'_>) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let broken = |error: axum::extract::multipart::MultipartError| {
        Problem::malformed(format!("the multipart body broke off: {}", error.body_text()))
    };
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > SMALL {
            return Err(Problem::new(Reason::BodyTooLarge, "a descriptor or signature is larger than 4 MiB"));
        }
    }
    Ok(bytes)
}

async fn text(part: Field<'_>) -> Result<String, Problem> {
    String::from_utf8(small(part).await?).map_err(|_| Problem::malformed("name and version are UTF-8"))
}

async fn receive(
    gate: &Gate,
    chunks: impl Stream<Item = Result<Bytes, axum::Error>>,
) -> Result<tempfile::NamedTempFile, Problem> {
    let no_room = |error: std::io::Error| {
        Problem::new(
            Reason::JournalUnavailable,
            format!("the package cannot be stored: {error}; free some space"),
        )
    };
    let most = gate.config().limits.package;
    let mut file = apps::incoming_file(gate).map_err(no_room)?;
    let mut chunks = std::pin::pin!(chunks);
    let mut size = 0_u64;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::malformed(format!("the body broke off: {error}")))?;
        size += chunk.len() as u64;
        if size > most {
            let detail = format!("the package is larger than limits.package = {most} bytes");
            return Err(Problem::new(Reason::PackageTooLarge, detail));
        }
        file.write_all(&chunk).map_err(no_room)?;
    }
    Ok(file)
}

pub(super) async fn list(State(gate): State<Arc<Gate>>) -> Json<Items<serde_json::Value>> {
    items(gate.apps.list().iter().map(|app| app.shown()).collect())
}

pub(super) async fn show(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    let app = find(&gate, &id)?;
    let runs: Vec<_> = gate.runs.of(&app.id).iter().map(|run| run.id).collect();
    let mut shown = app.shown();
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("runs".to_owned(), serde_json::json!(runs));
    }
    Ok(Json(shown))
}

pub(super) async fn remove(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let app = find(&gate, &id)?;
    apps::remove(&gate, &app.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which app's, if not all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfApp {
    app: Option<String>,
}

impl OfApp {
    /// The id of the app that was named; it has to be installed.
    pub(super) fn app(&self, gate: &Gate) -> Result<Option<AppId>, Problem> {
        self.app.as_deref().map(|id| find(gate, id).map(|app| app.id.clone())).transpose()
    }
}

pub(super) fn find(gate: &Gate, id: &str) -> Result<Arc<App>, Problem> {
    let unknown = || Problem::new(Reason::AppUnknown, format!("no app `{id}` is installed"));
    let id: AppId = id.parse().map_err(|_| unknown())?;
    gate.apps.get(&id).ok_or_else(unknown)
}
