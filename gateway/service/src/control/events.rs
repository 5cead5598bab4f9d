//! `/v1/events`: what happens, as server-sent events. `bearer` tells of bearers, `prompt` of questions, `change` of everything that lasts,
//! `open-connections` which apps hold connections now; `missed-events` says that the watcher was too slow and should look
//! at everything again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event as Sent, KeepAlive};
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::events::Event;
use crate::gate::Gate;

/// How often the open connections are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often something is said to a watcher that hears nothing, so that both sides learn of a broken connection.
const ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn watch(
    State(gate): State<Arc<Gate>>,
) -> Sse<impl Stream<Item = Result<Sent, Infallible>>> {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = Watching { heard: gate.events.watch(), look, holding: None, gate };
    let stream = futures_util::stream::unfold(watching, async |mut watching| {
        let sent = watching.next().await?;
        Some((Ok(sent), watching))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE))
}

struct Watching {
    gate: Arc<Gate>,
    heard: Receiver<Event>,
    look: Interval,
    /// What was last told of open connections.
    holding: Option<Value>,
}

impl Watching {
    async fn next(&mut self) -> Option<Sent> {
        loop {
            tokio::select! {
                () = self.gate.stopped() => return None,
                heard = self.heard.recv() => return match heard {
                    Ok(event) => Some(sent(event.name(), &event.data())),
                    Err(RecvError::Lagged(missed)) => Some(sent("missed-events", &json!({ "missed": missed }))),
                    Err(RecvError::Closed) => None,
                },
                _ = self.look.tick() => {
                    let now = open_connections(&self.gate);
                    if self.holding.as_ref() != Some(&now) {
                        let event = sent("open-connections", &now);
                        self.holding = Some(now);
                        return Some(event);
                    }
                }
            }
        }
    }
}

fn sent(name: &str, data: &Value) -> Sent {
    Sent::default().event(name).data(data.to_string())
}

/// Which apps hold connections now, and how many (TS 22.057: the user is told).
fn open_connections(gate: &Gate) -> Value {
    json!({ "apps": gate.flows.holders() })
}
