//! Something that waits for the user: its place at the question, and a lease that ends the wait with its run, its app or
//! its root.

use std::sync::Arc;
use std::time::Duration;

use mexe_model::{FlowId, Reason};
use mexe_policy::Rule;
use mexe_policy::prompts::{Subject, Wish};
use mexe_relay::{Lease, LeaseKeys};
use tokio::sync::futures::Notified;

use super::Waiting;
use crate::clock;
use crate::gate::Gate;
use crate::runs::Run;

/// Who wishes what.
pub struct Wishing<'a> {
    /// In which run.
    pub run: &'a Arc<Run>,
    /// A number of its own, among flows.
    pub flow: FlowId,
    /// What an action would be done to.
    pub subject: Subject,
}

/// What waits, once it does.
#[derive(Default)]
pub struct Held(Option<(Waiting, Lease)>);

impl Held {
    /// Waits until the user, or anything else, may have given the question another answer: then decide again. `changed` was
    /// made before the last decision.
    ///
    /// # Errors
    /// Those of [`Waiting::wait`], or why nobody is asked.
    pub async fn wait(
        &mut self,
        gate: &Arc<Gate>,
        wishing: Wishing<'_>,
        rule: &Rule,
        changed: Notified<'_>,
    ) -> Result<(), Reason> {
        let Wishing { run, flow, subject } = wishing;
        if self.0.is_none() {
            let waiting = Waiting::begin(gate, run).ok_or_else(|| rule.reason_unanswered())?;
            let keys = LeaseKeys {
                flow,
                run: run.id,
                app: run.app.clone(),
                root: run.root.clone(),
                grant: None,
                qos_grant: None,
            };
            self.0 = Some((waiting, gate.leases.open_beside(keys, gate.policy().epoch(), clock::now())));
        }
        let Some((waiting, lease)) = &mut self.0 else { return Err(rule.reason_unanswered()) };
        let wish = Wish { app: run.app.clone(), action: rule.action, subject };
        waiting.wait(&wish, lease, changed).await
    }

    /// It was decided: it waits no longer. Tells for how long it has.
    pub fn settled(&mut self) -> Duration {
        let Some((waiting, _)) = &mut self.0 else { return Duration::ZERO };
        waiting.settled();
        waiting.waited()
    }
}
