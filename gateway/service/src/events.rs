//! What happens in the gate, told to whoever watches: the console's pages, `mexegate prompts --watch`, the desktop. Watchers
//! that are too slow miss events and are told so; nothing waits for them.

use mexe_model::{CallId, PromptId, Reason, RunId, StreamId};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::bearer::BearerEvent;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something happened to a bearer.
    Bearer(BearerEvent),
    /// A voice call is that far.
    Call(CallId, &'static str),
    /// Grants, runs, apps, roots or settings changed.
    Change,
    /// A question changed.
    Prompt(PromptId, Turn),
    /// A stream of that run changed.
    Stream(StreamId, RunId, Happened),
}

/// What happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is there.
    Admitted,
    /// It has something else now, because it was asked for or because the bearer changed.
    Changed,
    /// It goes on as best effort, for that reason.
    Degraded(Reason),
    /// It is gone.
    Released,
    /// It has again what it had lost.
    Restored,
}

impl Happened {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Changed => "changed",
            Self::Degraded(_) => "degraded",
            Self::Released => "released",
            Self::Restored => "restored",
        }
    }
}

/// What happened to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is answered, or was settled otherwise.
    Closed,
    /// Nobody answered in time.
    Missed,
    /// It waits for an answer.
    Open,
}

impl Turn {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Missed => "missed",
            Self::Open => "open",
        }
    }
}

impl Event {
    /// The kind of event, as the event stream names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bearer(_) => "bearer",
            Self::Call(..) => "call",
            Self::Change => "change",
            Self::Prompt(..) => "prompt",
            Self::Stream(..) => "stream-changed",
        }
    }

    /// The rest of it.
    pub fn data(&self) -> Value {
        match self {
            Self::Bearer(event) => event.shown(),
            Self::Call(id, state) => json!({ "id": id, "state": state }),
            Self::Change => json!({}),
            Self::Prompt(id, turn) => json!({ "op": turn.as_str(), "id": id }),
            Self::Stream(id, run, Happened::Degraded(reason)) => {
                json!({ "op": "degraded", "id": id, "run": run, "reason": reason })
            }
            Self::Stream(id, run, happened) => json!({ "op": happened.as_str(), "id": id, "run": run }),
        }
    }
}

/// Where events are told.
#[derive(Debug)]
pub struct Events(broadcast::Sender<Event>);

/// So many events a watcher may lag behind.
const BEHIND: usize = 256;

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Events {
    /// Tells it to whoever watches.
    pub fn tell(&self, event: Event) {
        // Nobody may be watching.
        let _ = self.0.send(event);
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
