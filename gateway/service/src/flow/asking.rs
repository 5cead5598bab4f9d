//! A request that nobody has permitted and nobody has forbidden: it waits for the user, and is decided again.

use std::sync::Arc;
use std::time::Duration;

use mexe_model::Reason;
use mexe_policy::Rule;
use mexe_policy::prompts::{Subject, Wish};
use mexe_relay::{Lease, LeaseKeys};
use tokio::sync::futures::Notified;

use super::Asked;
use crate::gate::Gate;
use crate::prompts::Waiting;

/// Why not, as far as the policy alone can tell.
pub(super) enum No {
    /// Nobody has permitted it, and nobody has forbidden it.
    Unanswered(Rule),
    /// It is not to be.
    Refused(Reason),
}

impl No {
    /// Why not, when nobody is asked.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Unanswered(rule) => rule.reason_unanswered(),
            Self::Refused(reason) => *reason,
        }
    }
}

impl From<Reason> for No {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// A request that waits for the user: its place at the question, and the lease that ends the wait with its run.
pub(super) struct Held {
    waiting: Waiting,
    lease: Lease,
}

impl Held {
    /// It was decided: it waits no longer. Tells for how long it has.
    pub(super) fn settled(held: &mut Option<Self>) -> Duration {
        let Some(held) = held else { return Duration::ZERO };
        held.waiting.settled();
        held.waiting.waited()
    }
}

/// Waits until the user, or anything else, may have given the question another answer.
pub(super) async fn ask_the_user(
    gate: &Arc<Gate>,
    asked: &Asked,
    rule: &Rule,
    held: &mut Option<Held>,
    changed: Notified<'_>,
) -> Result<(), Reason> {
    if held.is_none() {
        let waiting = Waiting::begin(gate, &asked.run).ok_or_else(|| rule.reason_unanswered())?;
        let keys = LeaseKeys {
            flow: asked.flow,
            run: asked.run.id,
            app: asked.run.app.clone(),
            root: asked.run.root.clone(),
            grant: None,
            qos_grant: None,
        };
        *held = Some(Held { waiting, lease: gate.leases.open(keys, gate.policy().epoch(), asked.began) });
    }
    let Some(Held { waiting, lease }) = held else { return Err(rule.reason_unanswered()) };
    let subject = Subject::Endpoint(asked.endpoint.clone());
    let wish = Wish { app: asked.run.app.clone(), action: rule.action, subject };
    waiting.wait(&wish, lease, changed).await
}
