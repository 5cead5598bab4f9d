//! The user in the loop: connections wait here for his answer, and his answer becomes a permission or a denial. What a
//! question is, and which may be asked, is mexe-policy's; here are the lock, the waiting, the journal and the answers.

pub mod answer;
mod held;
mod kept;
pub mod shown;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use mexe_journal::{Outcome, Record};
use mexe_model::{AppId, Instant, PromptId, Reason, RunId};
use mexe_policy::prompts::{Asked, Asker, Bounds, Fate, Left, Prompts, Subject, Wish};
use mexe_relay::Lease;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::sleep_until;

use crate::actions;
use crate::clock;
use crate::events::{Event, Turn};
use crate::gate::Gate;
use crate::observe::metrics::PromptResult;
use crate::runs::Run;

pub use held::{Held, Wishing};
pub use kept::{NAME as KEPT, restore};

/// Every question, behind its lock.
#[derive(Debug)]
pub struct Desk {
    prompts: Mutex<Prompts>,
    /// Tones may be a PIN: they are written down under this key's hash, which ends with the gate.
    tones_key: Option<hmac::Key>,
    /// Told when a decision may have another answer than before.
    pub changed: Notify,
}

impl Desk {
    /// With so many places for questions.
    pub fn new(open: usize) -> Self {
        Self {
            prompts: Mutex::new(Prompts::new(Bounds::of(open))),
            tones_key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            changed: Notify::new(),
        }
    }

    /// What the journal calls it.
    pub fn written(&self, subject: &Subject) -> Option<String> {
        match subject {
            Subject::Nothing => None,
            Subject::Tones(tones) => {
                // Without a key that nobody can guess, a hash would give them away.
                let Some(key) = &self.tones_key else { return Some("tones".to_owned()) };
                let hash = hmac::sign(key, tones.as_bytes());
                let short = hash.as_ref().get(..8).unwrap_or_default();
                Some(format!("tones hmac-sha256:{}", crate::apps::hex(short)))
            }
            Subject::Endpoint(_) | Subject::Number(_) => Some(subject.to_string()),
        }
    }

    /// The questions, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, Prompts> {
        self.prompts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another number of places.
    pub fn set_places(&self, open: usize) {
        self.lock().set_bounds(Bounds::of(open));
    }
}

/// Somebody's place at a question; given up when dropped.
struct Place {
    gate: Arc<Gate>,
    id: PromptId,
    wish: Wish,
    how: Left,
}

impl Drop for Place {
    fn drop(&mut self) {
        let fate = self.gate.prompts.lock().leave(self.id, self.how);
        let turn = match fate {
            Fate::StaysOpen => return,
            Fate::Missed => Turn::Missed,
            Fate::Closed => Turn::Closed,
        };
        if turn == Turn::Missed {
            self.gate.metrics.prompt_ended(PromptResult::Missed, None);
        }
        self.gate.events.tell(Event::Prompt(self.id, turn));
    }
}

/// One request that waits for the user, from its first question to the end of its patience.
pub struct Waiting {
    gate: Arc<Gate>,
    run: Arc<Run>,
    since: Instant,
    until: Instant,
    place: Option<Place>,
}

impl Waiting {
    /// Begins; `None` when the user is not to be asked.
    pub fn begin(gate: &Arc<Gate>, run: &Arc<Run>) -> Option<Self> {
        let patience = gate.config().policy.prompt_wait;
        let since = clock::now();
        (!patience.is_zero()).then(|| Self {
            gate: Arc::clone(gate),
            run: Arc::clone(run),
            since,
            until: since.after(patience),
            place: None,
        })
    }

    /// Waits until the decision may have another answer: then decide again. `changed` was made before the last decision, so
    /// that nothing between the two is overlooked. The lease ends the wait with the run, the app or its root.
    ///
    /// # Errors
    /// [`Reason::PromptDenied`], [`Reason::PromptQueueFull`], [`Reason::PromptTimeout`], or why the lease was cut.
    pub async fn wait(
        &mut self,
        wish: &Wish,
        lease: &mut Lease,
        changed: Notified<'_>,
    ) -> Result<(), Reason> {
        self.take_place(wish)?;
        tokio::select! {
            biased;
            reason = lease.cancelled() => {
                self.settled();
                Err(reason)
            }
            () = changed => Ok(()),
            () = self.gate.stopped() => Err(Reason::GateStopping),
            () = sleep_until(mexe_relay::clock::deadline(self.until)) => {
                self.place = None;
                Err(Reason::PromptTimeout)
            }
        }
    }

    fn take_place(&mut self, wish: &Wish) -> Result<(), Reason> {
        let gate = Arc::clone(&self.gate);
        let mut prompts = gate.prompts.lock();
        let stays = |place: &Place| place.wish == *wish && prompts.is_open(place.id);
        if self.place.as_ref().is_some_and(stays) {
            return Ok(());
        }
        let (now, at) = (clock::now(), clock::wall());
        let asker = Asker { run: self.run.id, now, at, until: self.until };
        let asked = prompts.ask(wish, asker);
        drop(prompts);
        // Only now: giving the old place up takes the lock as well.
        self.settled();
        let asked = asked.map_err(|no| {
            if no.reason == Reason::PromptQueueFull {
                gate.metrics.prompt_ended(PromptResult::QueueFull, None);
            }
            if let Some(id) = no.missed {
                gate.events.tell(Event::Prompt(id, Turn::Missed));
            }
            no.reason
        })?;
        self.place = Some(Place {
            gate: Arc::clone(&gate),
            id: asked.id(),
            wish: wish.clone(),
            how: Left::Unanswered,
        });
        if let Asked::Anew(id) = asked {
            gate.journal.note(self.record_of(wish));
            gate.events.tell(Event::Prompt(id, Turn::Open));
        }
        Ok(())
    }

    fn record_of(&self, wish: &Wish) -> Record {
        Record {
            decision: Some(Outcome::Ask),
            target: self.gate.prompts.written(&wish.subject),
            ..actions::record_of(&self.gate, &self.run, wish.action)
        }
    }

    /// It was decided: no answer is waited for any more.
    pub fn settled(&mut self) {
        if let Some(mut place) = self.place.take() {
            place.how = Left::Settled;
        }
    }

    /// For how long it has waited.
    pub fn waited(&self) -> std::time::Duration {
        clock::now().since(self.since)
    }
}

/// A run is over: what was denied for it alone is forgotten.
pub fn run_ended(gate: &Gate, run: RunId) {
    gate.prompts.lock().run_ended(run);
}

/// An app was removed, with its questions and denials.
pub async fn app_removed(gate: &Gate, app: &AppId) {
    let kept = gate.prompts.lock().app_removed(app);
    gate.events.tell(Event::Change);
    if kept && let Err(error) = kept::write(gate, Record::change(clock::wall(), "prompt.forget")).await {
        tracing::warn!(%error, %app, "the denials of a removed app could not be struck from the database");
    }
}
