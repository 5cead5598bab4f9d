//! `/v1/streams`: ask for a stream with a quality of service, change it, release it, and be told what becomes of it. An app
//! does so for its own run, and sees no other; the user for any.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use mexe_model::{RunId, StreamId, Trust};
use mexe_qos::negotiation::Request;
use serde_json::{Map, Value};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::extract::Whole;
use super::listen::CallerGone;
use super::problem::Problem;
use super::role::Caller;
use super::{items, read_json, runs};
use crate::events::Event;
use crate::gate::Gate;
use crate::qos::ask::{self, Ask};
use crate::qos::{self, Owner};

/// How often something is said to a watcher that hears nothing.
const ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn list(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    let wants_events = headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| accept.split([',', ';']).any(|a| a.trim() == "text/event-stream"))
    });
    match wants_events {
        true => watch(gate, owner(&caller)).into_response(),
        false => items(gate.streams.list(owner(&caller), &gate.flows)).into_response(),
    }
}

/// What becomes of the owner's streams, as it happens.
fn watch(gate: Arc<Gate>, owner: Owner) -> impl IntoResponse {
    let watching = Watching { heard: gate.events.watch(), gate, owner };
    let stream = futures_util::stream::unfold(watching, async |mut watching| {
        let sent = watching.next().await?;
        Some((Ok::<_, Infallible>(sent), watching))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE))
}

struct Watching {
    gate: Arc<Gate>,
    owner: Owner,
    heard: Receiver<Event>,
}

impl Watching {
    async fn next(&mut self) -> Option<Sent> {
        loop {
            let event = tokio::select! {
                () = self.gate.stopped() => return None,
                () = gone(&self.gate, self.owner) => return None,
                event = self.heard.recv() => event,
            };
            return match event {
                Ok(event @ Event::Stream(_, run, _)) if is_of(self.owner, run) => {
                    Some(Sent::default().event(event.name()).data(event.data().to_string()))
                }
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => Some(Sent::default().event("missed-events").data("{}")),
                Err(RecvError::Closed) => None,
            };
        }
    }
}

fn is_of(owner: Owner, run: RunId) -> bool {
    match owner {
        Owner::Run(own) => own == run,
        Owner::Anybody => true,
    }
}

/// Completes when the watching run is over.
async fn gone(gate: &Gate, owner: Owner) {
    match owner {
        Owner::Run(run) => gate.run_ended(run).await,
        Owner::Anybody => std::future::pending().await,
    }
}

pub(super) async fn request(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Extension(gone): Extension<CallerGone>,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let mut said: Map<String, Value> = read_json(&body)?;
    let (run, app) = (take(&mut said, "run")?, take(&mut said, "app")?);
    let run = runs::whose(&gate, &caller, run.as_deref(), app.as_deref())?;
    let name = take(&mut said, "name")?;
    let mut ask = Ask { name, ..read(&gate, said)? };
    // What the signed manifest asks for stands in where the request names no profile; an unsigned one asks for nothing.
    let signed = run.qos_profile.as_deref().filter(|_| run.trust != Trust::Untrusted);
    ask.profile = ask.profile.or_else(|| signed.and_then(|name| gate.profiles().get(name).cloned()));
    let stream = ask::request(&gate, &run, ask, &gone.0).await?;
    Ok((StatusCode::CREATED, Json(stream)).into_response())
}

pub(super) async fn modify(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Extension(gone): Extension<CallerGone>,
    Path(id): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let stream: StreamId = id.parse().map_err(|_| Problem::not_found("stream", &id))?;
    let change = read(&gate, read_json(&body)?)?;
    Ok(Json(ask::modify(&gate, stream, owner(&caller), change, &gone.0).await?))
}

pub(super) async fn release(
    State(gate): State<Arc<Gate>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let stream: StreamId = id.parse().map_err(|_| Problem::not_found("stream", &id))?;
    ask::release(&gate, stream, owner(&caller))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The profile and the attributes; whatever else is said is a mistake.
fn read(gate: &Gate, mut said: Map<String, Value>) -> Result<Ask, Problem> {
    let profile = match take(&mut said, "profile")? {
        Some(name) => Some(qos::profile_of(gate, &name)?),
        None => None,
    };
    let request: Request = serde_json::from_value(Value::Object(said))
        .map_err(|error| Problem::malformed(format!("the stream is not as expected: {error}")))?;
    Ok(Ask { name: None, profile, request })
}

fn take(said: &mut Map<String, Value>, field: &str) -> Result<Option<String>, Problem> {
    match said.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Problem::malformed(format!("`{field}` is a text"))),
    }
}

fn owner(caller: &Caller) -> Owner {
    match caller {
        Caller::App(run) => Owner::Run(run.id),
        _ => Owner::Anybody,
    }
}
