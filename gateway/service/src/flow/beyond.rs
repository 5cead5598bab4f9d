//! What a flow needs when its app has reached a usage threshold.

use mexe_model::{GrantId, Reason};
use mexe_policy::prompts::Subject;
use mexe_policy::{ActionId, Rule, Target};
use serde_json::{Value, json};

use super::no::No;
use super::quality::Quality;
use super::{Asked, decide};
use crate::accounting::thresholds;
use crate::bearer::Bearer;
use crate::gate::Gate;

/// The right to move more than a threshold, where one is reached.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beyond {
    pub(super) grant: Option<GrantId>,
    single: bool,
}

impl Beyond {
    /// The grant that this flow uses up.
    pub(super) fn spends(&self) -> Option<GrantId> {
        self.grant.filter(|_| self.single)
    }

    /// What the journal says of the flow besides.
    pub(super) fn detail(&self, quality: &Quality) -> Option<Value> {
        let Some(grant) = self.grant else { return quality.detail() };
        let mut detail = quality.detail().unwrap_or_else(|| json!({}));
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("usage_grant".to_owned(), json!(grant));
        }
        Some(detail)
    }

    /// Uses it up, unless another has: then decide again.
    pub(super) fn is_won(&self, gate: &Gate) -> bool {
        self.spends().is_none_or(|grant| gate.policy().spend(grant))
    }
}

/// Whether the app may open one more flow over that bearer.
pub(super) fn beyond(gate: &Gate, asked: &Asked, bearer: &Bearer) -> Result<Beyond, No> {
    if !thresholds::is_reached(gate, &asked.run.app, bearer) {
        return Ok(Beyond::default());
    }
    match decide(gate, asked, gate.actions.usage, Target::None) {
        Ok(ticket) => Ok(Beyond { grant: Some(ticket.grant), single: ticket.single }),
        Err(No::Refused(_)) => Err(Reason::UsageThreshold.into()),
        Err(unanswered) => Err(unanswered),
    }
}

/// What the user is asked about.
pub(super) fn subject(gate: &Gate, asked: &Asked, action: ActionId) -> Subject {
    match action == gate.actions.usage {
        true => Subject::Nothing,
        false => Subject::Endpoint(asked.endpoint.clone()),
    }
}

/// Why not, where nobody is asked.
pub(super) fn unasked(gate: &Gate, rule: &Rule, reason: Reason) -> Reason {
    let is_threshold = rule.action == gate.actions.usage && reason == rule.reason_unanswered();
    if is_threshold { Reason::UsageThreshold } else { reason }
}
