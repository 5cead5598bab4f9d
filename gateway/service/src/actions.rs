//! Actions that the device's runtime carries out itself: its phone book, its card, its display. The runtime asks here
//! before it does one, and what it is told is final: a single permission is used up by it, and it is written down.

use std::sync::Arc;

use mexe_journal::{Change, Outcome, Record};
use mexe_model::{Permission, Reason};
use mexe_policy::prompts::Subject;
use mexe_policy::{ActionId, Decision, Target, Ticket};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::gate::Gate;
use crate::grants;
use crate::prompts::{Held, Wishing};
use crate::refused::Refused;
use crate::runs::Run;
use crate::schedules::{self, Used};

/// What a run wishes to do.
pub struct Wished<'a> {
    /// Which run.
    pub run: &'a Arc<Run>,
    /// What.
    pub action: ActionId,
    /// To what.
    pub target: Target<'a>,
    /// The same, for the question.
    pub subject: Subject,
    /// Whether saying yes is doing it: not for what the gate carries out itself, which is decided there once more.
    pub final_word: bool,
    /// Cancelled when whoever asked has gone: then the user need not answer.
    pub gone: &'a CancellationToken,
}

impl Wished<'_> {
    /// Whether this permission is used up by a yes. By a name as well, which is not resolved here.
    fn uses_up(&self, ticket: &Ticket) -> bool {
        self.final_word && ticket.permission == Permission::SingleAction
    }
}

/// Decides, asking the user if need be.
///
/// # Errors
/// Every reason of the policy and of the questions, and [`Reason::JournalUnavailable`].
pub async fn decide(gate: &Arc<Gate>, wished: &Wished<'_>) -> Result<Ticket, Refused> {
    let (decided, mut used) = match settle(gate, wished).await {
        Ok((ticket, used)) => (Ok(ticket), used),
        Err(reason) => (Err(reason), Used::default()),
    };
    let record = Record {
        decision: Some(if decided.is_ok() { Outcome::Allow } else { Outcome::Deny }),
        reason: decided.as_ref().err().copied(),
        grant: decided.as_ref().ok().map(|ticket| ticket.grant),
        target: gate.prompts.written(&wished.subject),
        ..record_of(gate, wished.run, wished.action)
    };
    let group = gate.policy().table().row(wished.action).map(|row| row.action.group().to_owned());
    let group = group.unwrap_or_else(|| "unknown".to_owned());
    gate.metrics.decided(wished.run.trust, &group, decided.is_ok(), decided.as_ref().err().copied());
    let mut changes: Vec<Change> = used.changes().collect();
    if let Ok(ticket) = decided.as_ref()
        && wished.uses_up(ticket)
    {
        changes.push(Change::SpendGrant(ticket.grant));
    }
    // The use of a single-action grant, or of a budget, is on disk before anything happens (S26).
    let written = match changes.is_empty() {
        true => gate.journal.record(record).await,
        false => gate.journal.change(Change::Several(changes), record).await,
    };
    if written.is_ok() {
        used.is_written();
    }
    match (decided, written) {
        (Ok(ticket), Ok(_)) => Ok(ticket),
        (Ok(_), Err(error)) => Err(grants::unavailable(error)),
        (Err(reason), _) => Err(reason.into()),
    }
}

/// What the journal says of every decision about an action of a run.
pub fn record_of(gate: &Gate, run: &Run, action: ActionId) -> Record {
    let policy = gate.policy();
    let row = policy.table().row(action);
    let cell = policy.table().cell(action, run.trust);
    Record {
        domain: Some(run.trust),
        action: row.map(|row| row.action.to_string().into()),
        rule: row.map(|row| format!("{} {cell} ({})", row.action, cell.provenance).into()),
        binding: Some(run.binding.as_str().into()),
        app: Some(run.app.clone()),
        run: Some(run.id),
        ..Record::decision(clock::wall())
    }
}

async fn settle(gate: &Arc<Gate>, wished: &Wished<'_>) -> Result<(Ticket, Used), Reason> {
    let run = wished.run;
    let flow = gate.next_flow();
    let mut held = Held::default();
    let mut place = None;
    loop {
        // Before deciding: what changes from here on is not overlooked.
        let changed = gate.prompts.changed.notified();
        let facts = run.wants(wished.action, wished.target);
        let now = clock::now();
        let decision = gate.policy().decide(now, &facts);
        gate.beside.observe(now, &facts, &decision);
        match decision {
            Decision::Allow(ticket) => {
                // One performance, one winner: who comes second decides again, without this grant.
                if wished.uses_up(&ticket) && !gate.policy().spend(ticket.grant) {
                    continue;
                }
                let used = match wished.final_word {
                    true => gate.schedules.perform(ticket.grant, None).await,
                    false => Ok(Used::default()),
                };
                let Ok(used) = used else {
                    schedules::settle(gate).await;
                    continue;
                };
                held.settled();
                return Ok((ticket, used));
            }
            Decision::Ask(rule) => {
                // What waits is counted like a connection: nobody piles up without end what waits.
                if place.is_none() {
                    place = Some(gate.permits.flow(run)?);
                }
                let wishing = Wishing { run, flow, subject: wished.subject.clone() };
                tokio::select! {
                    biased;
                    waited = held.wait(gate, wishing, &rule, changed) => waited?,
                    () = wished.gone.cancelled() => return Err(Reason::PromptTimeout),
                }
            }
            Decision::Refuse(reason, _) => {
                held.settled();
                return Err(reason);
            }
        }
    }
}
