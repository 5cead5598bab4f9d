//! The one call that a modem has for us, as a value: what was asked of it, what the modem said, and what is due next. No
//! port is touched here; [`super::driver`] does what is due.

use std::time::Duration;

use mexe_wire::telephone::Tones;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::listed::{Listed, Over, Said, Stage, said};
use super::{Answer, Ask, CallFault, DIALS_MAX, Dial, End, Errand, Pace, State, Voice};
use crate::at::{Command, Final, SIM_NOT_INSERTED, ToneForm};

/// A modem's calls: at most one, and who waits to dial.
#[derive(Debug)]
pub(crate) struct Calls {
    voice: Voice,
    dials: mpsc::Receiver<Errand>,
    /// The next one to carry out.
    pub(super) next: Option<Errand>,
    pub(super) live: Option<Live>,
    /// How this modem wants tones, once one was taken.
    pub(super) tone_form: Option<ToneForm>,
}

impl Default for Calls {
    fn default() -> Self {
        let (voice, dials) = mpsc::channel(DIALS_MAX);
        Self { voice: Voice { dials: voice }, dials, next: None, live: None, tone_form: None }
    }
}

/// A call.
#[derive(Debug)]
pub(super) struct Live {
    /// The line that dialled it: modems repeat it.
    command: String,
    asked: mpsc::Receiver<Ask>,
    states: watch::Sender<State>,
    /// Who dialled, until it is known whether the modem does.
    started: Option<oneshot::Sender<Answer>>,
    /// The modem has not answered ATD yet; whatever it is told now would end the call.
    pub(super) dialling: bool,
    begun: Instant,
    answered: bool,
    /// When to look at the list next.
    look: Instant,
    /// The modem's number for it, once it was listed.
    index: Option<u8>,
    /// The modem says that it is over, and the list was asked so often since.
    over: Option<(Over, u8)>,
    /// The answer to a refusal.
    refusal: Option<String>,
    /// How many looks in a row failed.
    failed: u8,
    /// How many looks in a row did not find it.
    missing: u8,
    /// Tones to send.
    pub(super) burst: Option<Burst>,
    pub(super) ending: Option<Ending>,
}

/// Tones on their way.
#[derive(Debug)]
pub(super) struct Burst {
    pub(super) tones: Tones,
    /// How many were sent.
    pub(super) sent: usize,
    /// The list said that they go into this call.
    checked: bool,
    pub(super) done: oneshot::Sender<Answer>,
}

/// The call is to end.
#[derive(Debug)]
pub(super) struct Ending {
    why: End,
    /// How often the modem was told, and the call was listed still.
    pub(super) tries: u8,
    /// It was told, and not looked at since.
    told: bool,
    /// When to tell it next.
    at: Instant,
    waiting: Vec<oneshot::Sender<Answer>>,
}

/// What is to be done for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Dial,
    End,
    Look,
    Tone,
}

impl Calls {
    pub(crate) fn voice(&self) -> Voice {
        self.voice.clone()
    }

    pub(crate) fn is_dialling(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.dialling)
    }

    /// Takes a line that the modem says on its own; false when it is not about a call of ours.
    pub(crate) fn heard(&mut self, line: &str) -> bool {
        let Some(live) = &mut self.live else { return false };
        if line == live.command {
            return true;
        }
        if live.dialling {
            match Final::read(line) {
                Some(Final::Done) => {
                    live.dialling = false;
                    live.started(Ok(()));
                    live.look_at_once();
                    return true;
                }
                Some(Final::Failed(number, answer)) => {
                    live.refusal = Some(answer);
                    live.is_over(Over::Refused(number));
                    // The watch on the card has to know as well.
                    return number != Some(SIM_NOT_INSERTED);
                }
                None => {}
            }
        }
        match said(line) {
            Some(Said::Over(over)) => live.is_over(over),
            Some(Said::News) => live.look_at_once(),
            None => return false,
        }
        true
    }

    /// Waits for somebody to want something. Dropping the future loses nothing.
    pub(super) async fn asked(&mut self) {
        let Self { dials, next, live, .. } = self;
        let ask = async {
            match live {
                Some(live) if live.listens() => (live.asked.recv().await, live),
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(dial) = dials.recv(), if next.is_none() => *next = Some(dial),
            (ask, live) = ask => live.take(ask),
        }
    }

    /// Takes what was asked already.
    pub(super) fn take_asked(&mut self) {
        if self.next.is_none() {
            self.next = self.dials.try_recv().ok();
        }
        let Some(live) = &mut self.live else { return };
        while live.listens() {
            match live.asked.try_recv() {
                Ok(ask) => live.take(Some(ask)),
                Err(mpsc::error::TryRecvError::Disconnected) => live.take(None),
                Err(mpsc::error::TryRecvError::Empty) => break,
            }
        }
    }

    /// What is to be done now, if anything.
    pub(super) fn step(&mut self, now: Instant, pace: &Pace) -> Option<Step> {
        if self.next.is_some() {
            return Some(Step::Dial);
        }
        self.live.as_mut()?.step(now, pace)
    }

    /// When something is to be done next.
    pub(super) fn due(&self, pace: &Pace) -> Option<Instant> {
        if self.next.is_some() {
            return Some(Instant::now());
        }
        self.live.as_ref().map(|live| live.due(pace))
    }

    /// The call that `dial` asks for is being dialled from now on.
    pub(super) fn begin(&mut self, dial: Dial, now: Instant) -> String {
        let Dial { number, asked, states, started } = dial;
        let command = Command::Dial(number).text();
        self.live = Some(Live {
            command: command.clone(),
            asked,
            states,
            started: Some(started),
            dialling: true,
            begun: now,
            answered: false,
            look: now,
            index: None,
            over: None,
            refusal: None,
            failed: 0,
            missing: 0,
            burst: None,
            ending: None,
        });
        command
    }

    /// What the list says now.
    pub(super) fn saw(&mut self, calls: &[Listed], now: Instant, pace: &Pace) {
        let Some(live) = &mut self.live else { return };
        if let Some(end) = live.saw(calls, now, pace)
            && let Some(live) = self.live.take()
        {
            live.ended(end);
        }
    }
}

impl Live {
    fn listens(&self) -> bool {
        // Once it is to end, only who waits for that is heard; a handle that is gone has said all it can.
        self.ending.as_ref().is_none_or(|_| !self.asked.is_closed() || !self.asked.is_empty())
    }

    fn take(&mut self, ask: Option<Ask>) {
        match ask {
            Some(Ask::Tones(_, done)) if self.dialling || self.ending.is_some() => {
                let _ = done.send(Err(CallFault::NotActive));
            }
            Some(Ask::Tones(_, done)) if self.burst.is_some() => {
                let _ = done.send(Err(CallFault::TonesPending));
            }
            Some(Ask::Tones(tones, done)) => {
                self.burst = Some(Burst { tones, sent: 0, checked: false, done });
                self.look_at_once();
            }
            Some(Ask::HangUp(done)) => self.end(End::HungUp, Some(done)),
            None => {
                self.asked.close();
                self.end(End::HungUp, None);
            }
        }
    }

    /// The call is to end.
    pub(super) fn end(&mut self, why: End, waits: Option<oneshot::Sender<Answer>>) {
        if let Some(burst) = self.burst.take() {
            let _ = burst.done.send(Err(CallFault::Over(why)));
        }
        let at = Instant::now();
        let ending =
            self.ending.get_or_insert(Ending { why, tries: 0, told: false, at, waiting: Vec::new() });
        // Some word on it at once, also where the modem was told in vain before.
        ending.at = at;
        ending.waiting.extend(waits);
    }

    fn started(&mut self, answer: Answer) {
        if let Some(started) = self.started.take()
            && started.send(answer).is_err()
        {
            self.end(End::HungUp, None);
        }
    }

    fn is_over(&mut self, over: Over) {
        self.dialling = false;
        // What was said first is the cause: `BUSY` and then `NO CARRIER`.
        self.over.get_or_insert((over, 0));
        self.look_at_once();
    }

    pub(super) fn look_at_once(&mut self) {
        self.look = Instant::now();
    }

    fn step(&mut self, now: Instant, pace: &Pace) -> Option<Step> {
        if self.dialling && now >= after(self.begun, pace.refusal) {
            self.started(Ok(()));
        }
        if !self.answered && now >= after(self.begun, pace.ringing) && self.ending.is_none() {
            self.end(End::NotAnswered, None);
        }
        match &self.ending {
            Some(ending) if now >= ending.at => return Some(Step::End),
            _ if self.dialling => return None,
            _ => {}
        }
        if now >= self.look {
            return Some(Step::Look);
        }
        self.burst.as_ref().is_some_and(|burst| burst.checked).then_some(Step::Tone)
    }

    fn due(&self, pace: &Pace) -> Instant {
        let mut due = match &self.ending {
            Some(ending) => ending.at,
            None if !self.answered => after(self.begun, pace.ringing),
            None => self.look,
        };
        if self.dialling {
            if self.started.is_some() {
                due = due.min(after(self.begun, pace.refusal));
            }
            return due;
        }
        if self.burst.as_ref().is_some_and(|burst| burst.checked) {
            return Instant::now();
        }
        due.min(self.look)
    }

    /// What the list says now; gives how the call ended if it did.
    fn saw(&mut self, calls: &[Listed], now: Instant, pace: &Pace) -> Option<End> {
        self.failed = 0;
        self.look = after(now, pace.look);
        let ours = |call: &&Listed| call.outgoing && self.index.is_none_or(|index| index == call.index);
        let Some(call) = calls.iter().find(ours) else {
            let cause = match (&self.ending, &self.over) {
                (Some(ending), _) => ending.why,
                (None, Some((over, _))) => over.end(self.answered),
                (None, None) if self.answered => End::HungUpThere,
                (None, None) => End::NotConnected,
            };
            // One that was never listed may be yet.
            let certain =
                self.index.is_some() || self.over.is_some() || now >= after(self.begun, pace.appear);
            if !certain {
                return None;
            }
            // A call that goes on and is forgotten here would be worse than one look more.
            self.missing = self.missing.saturating_add(1);
            if let Some(burst) = &mut self.burst {
                burst.checked = false;
            }
            self.look = after(now, SOON);
            return (self.missing >= MISSING_MAX).then_some(cause);
        };
        self.missing = 0;
        self.index = Some(call.index);
        let state = match call.stage {
            Stage::Active => State::Active,
            Stage::Held => State::Held,
            Stage::Alerting => State::Alerting,
            Stage::Dialling | Stage::Incoming => State::Dialling,
        };
        self.answered |= matches!(state, State::Active | State::Held);
        self.states.send_if_modified(|known| std::mem::replace(known, state.clone()) != state);
        if let Some((_, looks)) = &mut self.over {
            *looks = looks.saturating_add(1);
            self.look = after(now, SOON);
            // It was about something else: the call is there.
            if *looks >= LOOKS_MAX {
                self.over = None;
                self.started(Ok(()));
            }
        }
        if self.ending.is_some() {
            self.told_in_vain(now, pace);
        } else if let Some(mut burst) = self.burst.take() {
            // The tones go wherever the modem's open call leads: it must be this one, and it must stay so.
            let alone = calls.iter().filter(|call| call.stage == Stage::Active).count() == 1;
            if state == State::Active && alone && self.over.is_none() {
                burst.checked = true;
                self.burst = Some(burst);
            } else {
                let _ = burst.done.send(Err(CallFault::NotActive));
            }
        }
        None
    }

    /// The list could not be had.
    pub(super) fn saw_nothing(&mut self, now: Instant, pace: &Pace) {
        self.failed = self.failed.saturating_add(1);
        self.look = after(now, pace.look);
        if let Some(burst) = self.burst.take() {
            let _ = burst.done.send(Err(CallFault::NotActive));
        }
        if self.ending.is_some() {
            self.told_in_vain(now, pace);
        } else if self.failed >= FAILED_MAX {
            self.end(End::Lost, None);
        }
    }

    fn told_in_vain(&mut self, now: Instant, pace: &Pace) {
        let Some(ending) = &mut self.ending else { return };
        if !std::mem::take(&mut ending.told) {
            return;
        }
        ending.tries = ending.tries.saturating_add(1);
        ending.at = after(now, if ending.tries < TRIES_MAX { SOON } else { pace.look });
        if ending.tries >= TRIES_MAX {
            for waiting in ending.waiting.drain(..) {
                let _ = waiting.send(Err(CallFault::NotHungUp));
            }
        }
    }

    /// The modem was told to end it: the list says whether it does.
    pub(super) fn told_to_end(&mut self, now: Instant, pace: &Pace) {
        if let Some(ending) = &mut self.ending {
            ending.told = true;
            ending.at = after(now, pace.look.max(SOON));
        }
        self.look = now;
    }

    fn ended(mut self, end: End) {
        let started = match (end, self.refusal.take()) {
            (End::Refused(_), Some(answer)) => {
                Err(CallFault::ModemRefused { command: "ATD".to_owned(), answer })
            }
            _ => Ok(()),
        };
        self.states.send_replace(State::Ended(end));
        self.started(started);
        if let Some(burst) = self.burst.take() {
            let _ = burst.done.send(Err(CallFault::Over(end)));
        }
        for waiting in self.ending.take().into_iter().flat_map(|ending| ending.waiting) {
            let _ = waiting.send(Ok(()));
        }
    }
}

fn after(instant: Instant, time: Duration) -> Instant {
    instant.checked_add(time).unwrap_or(instant)
}

/// Before looking again where something must become of a call now.
const SOON: Duration = Duration::from_millis(100);
/// So many looks in a row show that what the modem said was not about this call.
const LOOKS_MAX: u8 = 10;
/// So many looks in a row that do not find a call are its end.
const MISSING_MAX: u8 = 2;
/// So many looks in a row that fail are a call that nobody watches.
const FAILED_MAX: u8 = 3;
/// A modem was told in every way, twice.
const TRIES_MAX: u8 = 4;
