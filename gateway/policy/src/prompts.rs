//! Questions to the user: which wait, who waits for them, which nobody answered in time, and what the user does not want
//! to be asked again. One question for an app, an action and a target at a time, however many connections wish it; a
//! bounded number in all and of each app, and what does not fit is refused. A question that nobody answered is a
//! refusal, never a rule: it stays visible as missed and can be answered for the next time. So does what was not asked because
//! the app asks too much: the first by itself, the rest as a number beside it.
//!
//! Grants are not kept here: an answer that allows becomes one, and whoever waits is decided again.

mod denials;
mod pace;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mexe_model::{AppId, Endpoint, Host, Instant, Permission, PromptId, Reason, RunId, WallTime};

use self::denials::Denials;
pub use self::denials::{Denial, Effect, Holds, Noted};
use self::pace::Pace;
use crate::table::ActionId;

/// What an action would be done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The action has no target.
    Nothing,
    /// A host and port.
    Endpoint(Endpoint),
    /// A telephone number, canonical.
    Number(Arc<str>),
    /// Tones for a call, canonical.
    Tones(Arc<str>),
}

impl Subject {
    /// How far an answer may reach: from this very target to everything that the action can be done to.
    pub fn scopes(&self) -> &'static [Scope] {
        match self {
            Self::Endpoint(_) => &[Scope::Target, Scope::Host, Scope::Any],
            Self::Nothing | Self::Number(_) | Self::Tones(_) => &[Scope::Target],
        }
    }

    fn host(&self) -> Option<&Host> {
        match self {
            Self::Endpoint(endpoint) => Some(&endpoint.host),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Number(text) | Self::Tones(text) => f.write_str(text),
        }
    }
}

/// How far an answer reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// This very target.
    #[default]
    Target,
    /// The same host at any port.
    Host,
    /// Any target.
    Any,
}

/// What is wished: the same wish is one question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Who wishes.
    pub app: AppId,
    /// To do what.
    pub action: ActionId,
    /// To what.
    pub subject: Subject,
}

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody answered in time; an answer counts for the next time.
    Missed,
    /// Somebody waits.
    Open,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Its id.
    pub id: PromptId,
    /// What is wished.
    pub wish: Wish,
    /// The runs that have wished it, oldest first.
    pub runs: BTreeSet<RunId>,
    /// How many wait now.
    pub held: u32,
    /// Whether anybody waits.
    pub state: State,
    /// When it was asked first.
    pub asked_at: WallTime,
    /// The same on the device's own time line.
    pub asked: Instant,
    /// When the last of those who wait gives up.
    pub until: Instant,
    /// How many other wishes of the app were not asked since, because it asks too much.
    pub unasked: u64,
    /// Being answered now.
    answering: bool,
}

/// How many questions there may be, and how fast they may come.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open ones, in all.
    pub open: usize,
    /// Open ones of one app. As many missed ones of one app are kept.
    pub of_one_app: usize,
    /// New ones that an app may bring at once.
    pub at_once: u32,
    /// After how long it may bring one more.
    pub one_more_each: Duration,
}

/// What became of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A new question, or a missed one that is open again.
    Anew(PromptId),
    /// The same as others ask already.
    Joined(PromptId),
}

impl Asked {
    /// Which question it is.
    pub fn id(self) -> PromptId {
        match self {
            Self::Anew(id) | Self::Joined(id) => id,
        }
    }
}

/// Why the user is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAsked {
    /// [`Reason::PromptDenied`] or [`Reason::PromptQueueFull`].
    pub reason: Reason,
    /// The question that was put among the missed ones instead.
    pub missed: Option<PromptId>,
}

/// Why somebody waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It went away, or gave up.
    Unanswered,
    /// It was decided otherwise: a permission covers it, or its run is over.
    Settled,
}

/// What happened to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Others still wait for it.
    StaysOpen,
    /// Nobody waits any more: it is missed.
    Missed,
    /// It is gone.
    Closed,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// In which run.
    pub run: RunId,
    /// Now.
    pub now: Instant,
    /// Now, as people write it.
    pub at: WallTime,
    /// Until when it waits.
    pub until: Instant,
}

/// A denial as the user gave it.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// For how long: a single action or a session is for the runs that ask, blanket for ever.
    pub permission: Permission,
    /// Until when, instead.
    pub until: Option<Instant>,
    /// How far it reaches.
    pub scope: Scope,
}

/// Every question, and what is not asked again.
#[derive(Debug)]
pub struct Prompts {
    bounds: Bounds,
    next: u64,
    prompts: BTreeMap<PromptId, Prompt>,
    by_wish: HashMap<Wish, PromptId>,
    denials: Denials,
    pace: Pace,
    /// The missed question of each app beside which the wishes are counted that were not asked.
    set_aside: HashMap<AppId, PromptId>,
}

impl Prompts {
    /// None yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next: 1,
            prompts: BTreeMap::new(),
            by_wish: HashMap::new(),
            denials: Denials::default(),
            pace: Pace::default(),
            set_aside: HashMap::new(),
        }
    }

    /// Other bounds; what is there stays.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Somebody begins to wait for the answer to that wish.
    ///
    /// # Errors
    /// [`Reason::PromptDenied`]: the user does not want to be asked. [`Reason::PromptQueueFull`]: the app asks too much, or
    /// all do.
    pub fn ask(&mut self, wish: &Wish, asker: Asker) -> Result<Asked, NotAsked> {
        if self.denials.covers(wish, asker.run, asker.now) {
            return Err(NotAsked { reason: Reason::PromptDenied, missed: None });
        }
        let known = self.by_wish.get(wish).and_then(|id| self.prompts.get_mut(id));
        if let Some(prompt) = known.filter(|prompt| prompt.state == State::Open) {
            prompt.held = prompt.held.saturating_add(1);
            prompt.runs.insert(asker.run);
            prompt.until = prompt.until.max(asker.until);
            return Ok(Asked::Joined(prompt.id));
        }
        if self.denials.silences(wish, asker.now) {
            return Err(self.not_asked(wish, asker, Reason::PromptDenied));
        }
        if self.is_full(&wish.app) || !self.pace.take(&wish.app, asker.now, &self.bounds) {
            return Err(self.not_asked(wish, asker, Reason::PromptQueueFull));
        }
        let id = match self.by_wish.get(wish).and_then(|id| self.prompts.get_mut(id)) {
            Some(missed) => {
                (missed.state, missed.held, missed.until) = (State::Open, 1, asker.until);
                missed.runs.insert(asker.run);
                missed.id
            }
            None => self.begin(wish, asker, State::Open),
        };
        Ok(Asked::Anew(id))
    }

    fn is_full(&self, app: &AppId) -> bool {
        let open = self.prompts.values().filter(|prompt| prompt.state == State::Open);
        let (all, own) = open.fold((0_usize, 0_usize), |(all, own), prompt| {
            (all + 1, own + usize::from(prompt.wish.app == *app))
        });
        all >= self.bounds.open || own >= self.bounds.of_one_app
    }

    /// Keeps a wish that is not asked among the missed questions: those of an app that the user has silenced as they come,
    /// as long as it does not flood him with them; else the first, and the others as a number.
    fn not_asked(&mut self, wish: &Wish, asker: Asker, reason: Reason) -> NotAsked {
        let nothing = NotAsked { reason, missed: None };
        if let Some(known) = self.by_wish.get(wish).and_then(|id| self.prompts.get_mut(id)) {
            known.runs.insert(asker.run);
            return nothing;
        }
        let by_itself = reason == Reason::PromptDenied && self.pace.take(&wish.app, asker.now, &self.bounds);
        let beside = self.set_aside.get(&wish.app).and_then(|id| self.prompts.get_mut(id));
        if let Some(beside) = beside.filter(|_| !by_itself) {
            beside.unasked = beside.unasked.saturating_add(1);
            return nothing;
        }
        // Nobody answers tones for the next time.
        if matches!(wish.subject, Subject::Tones(_)) {
            return nothing;
        }
        let id = self.begin(wish, asker, State::Missed);
        if !by_itself {
            self.set_aside.insert(wish.app.clone(), id);
        }
        self.forget_oldest_missed(&wish.app);
        NotAsked { reason, missed: Some(id) }
    }

    fn begin(&mut self, wish: &Wish, asker: Asker, state: State) -> PromptId {
        let id = PromptId(self.next);
        self.next = self.next.saturating_add(1);
        let prompt = Prompt {
            id,
            wish: wish.clone(),
            runs: BTreeSet::from([asker.run]),
            held: u32::from(state == State::Open),
            state,
            asked_at: asker.at,
            asked: asker.now,
            until: asker.until,
            unasked: 0,
            answering: false,
        };
        self.prompts.insert(id, prompt);
        self.by_wish.insert(wish.clone(), id);
        id
    }

    /// Somebody waits no longer.
    pub fn leave(&mut self, id: PromptId, how: Left) -> Fate {
        let Some(prompt) = self.prompts.get_mut(&id) else { return Fate::Closed };
        prompt.held = prompt.held.saturating_sub(1);
        if prompt.held > 0 {
            return Fate::StaysOpen;
        }
        // Tones are for a call that may be another by then: nobody answers them for the next time.
        if how == Left::Settled || matches!(prompt.wish.subject, Subject::Tones(_)) {
            // The answer that is being given settled it: whoever waited may be here before it is called answered.
            match prompt.answering && how == Left::Settled {
                true => self.answered(id),
                false => drop(self.close(id)),
            }
            return Fate::Closed;
        }
        prompt.state = State::Missed;
        let app = prompt.wish.app.clone();
        self.forget_oldest_missed(&app);
        Fate::Missed
    }

    fn forget_oldest_missed(&mut self, app: &AppId) {
        let of_app = |prompt: &&Prompt| prompt.state == State::Missed && prompt.wish.app == *app;
        let missed = || self.prompts.values().filter(of_app);
        if missed().count() > self.bounds.of_one_app
            && let Some(oldest) = missed().find(|prompt| !prompt.answering).map(|prompt| prompt.id)
        {
            self.close(oldest);
        }
    }

    fn close(&mut self, id: PromptId) -> Option<Prompt> {
        let prompt = self.prompts.remove(&id)?;
        self.by_wish.remove(&prompt.wish);
        Some(prompt)
    }

    /// Whether that question still waits to be answered.
    pub fn is_open(&self, id: PromptId) -> bool {
        self.prompts.get(&id).is_some_and(|prompt| prompt.state == State::Open)
    }

    /// Takes up an answer: of several at the same time, one. Followed by [`Prompts::answered`], or by
    /// [`Prompts::not_answered`] when the answer could not be carried out.
    ///
    /// # Errors
    /// [`Reason::NotFound`]: the question is gone, or is being answered.
    pub fn answering(&mut self, id: PromptId) -> Result<Prompt, Reason> {
        let prompt = self.prompts.get_mut(&id).ok_or(Reason::NotFound)?;
        if std::mem::replace(&mut prompt.answering, true) {
            return Err(Reason::NotFound);
        }
        Ok(prompt.clone())
    }

    /// The answer could not be carried out: the question stands as before.
    pub fn not_answered(&mut self, id: PromptId) {
        if let Some(prompt) = self.prompts.get_mut(&id) {
            prompt.answering = false;
        }
    }

    /// The question is answered, and gone. Whoever waited is decided again. One that the user said yes to was none too many.
    pub fn answered(&mut self, id: PromptId) {
        if let Some(prompt) = self.close(id) {
            self.pace.give_back(&prompt.wish.app, &self.bounds);
        }
    }

    /// The question is answered with no. `live` are the app's runs. The denial is to be kept if it outlives them.
    ///
    /// # Errors
    /// [`Reason::NotFound`]: the question is gone.
    pub fn denied(
        &mut self,
        id: PromptId,
        no: Refusal,
        live: &[RunId],
        now: Instant,
        at: WallTime,
    ) -> Result<Noted, Reason> {
        let prompt = self.close(id).ok_or(Reason::NotFound)?;
        let holds = match (no.until, no.permission) {
            (Some(until), _) => Holds::Until(until),
            (None, Permission::Blanket) => Holds::Always,
            (None, Permission::Session | Permission::SingleAction) => {
                Holds::Runs(live.iter().copied().collect())
            }
        };
        Ok(self.denials.note(prompt.wish, no.scope, holds, now, at))
    }

    /// Takes a missed question off the list without an answer.
    ///
    /// # Errors
    /// [`Reason::NotFound`]: it is gone, being answered, or somebody waits for it.
    pub fn dismiss(&mut self, id: PromptId) -> Result<(), Reason> {
        let missed = |prompt: &Prompt| prompt.state == State::Missed && !prompt.answering;
        if !self.prompts.get(&id).is_some_and(missed) {
            return Err(Reason::NotFound);
        }
        self.close(id);
        Ok(())
    }

    /// Every question, open ones first, each kind oldest first.
    pub fn list(&self) -> Vec<Prompt> {
        let mut all: Vec<Prompt> = self.prompts.values().cloned().collect();
        all.sort_by_key(|prompt| (prompt.state == State::Missed, prompt.id));
        all
    }

    /// How many wait for an answer.
    pub fn open(&self) -> usize {
        self.prompts.values().filter(|prompt| prompt.state == State::Open).count()
    }

    /// What is not asked again, oldest first.
    pub fn denials(&self, now: Instant) -> Vec<Denial> {
        self.denials.list(now)
    }

    /// Puts back what was kept of an earlier time.
    pub fn restore(&mut self, denials: Vec<Denial>) {
        self.denials.restore(denials);
    }

    /// The user wants to be asked again.
    ///
    /// # Errors
    /// [`Reason::NotFound`].
    pub fn rearm(&mut self, id: mexe_model::DenialId) -> Result<Denial, Reason> {
        self.denials.remove(id).ok_or(Reason::NotFound)
    }

    /// A run is over: what was denied for it alone is forgotten. Its missed questions stay.
    pub fn run_ended(&mut self, run: RunId) {
        self.denials.run_ended(run);
    }

    /// An app is gone, with its questions and denials. True when some of these were kept.
    pub fn app_removed(&mut self, app: &AppId) -> bool {
        self.prompts.retain(|_, prompt| prompt.wish.app != *app);
        self.by_wish.retain(|wish, _| wish.app != *app);
        self.set_aside.remove(app);
        self.pace.app_removed(app);
        self.denials.app_removed(app)
    }
}
