//! Voice calls through the modem (ATD, +CLCC, +VTS, ATH and +CHUP of TS 27.007), as handles: [`Voice`] begins a call,
//! [`Call`] follows it, sends tones into it and ends it. One call at a time, out only: what comes in is the user's, and
//! nothing here has a word to answer it.
//!
//! The port has one owner, the [`crate::Modem`]; the handles ask it through channels, and it serves them before each of its
//! own commands (`driver`). Whether an app may call is decided above.

mod driver;
mod listed;
mod live;

use std::time::Duration;

use mexe_model::{CallId, Reason};
use mexe_wire::telephone::{Number, ServiceCode, Tones};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::live::Calls;

/// How calls are paced, and how long their steps may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks at the modem's list of calls.
    pub look: Duration,
    /// How soon a modem says that it will not dial. Some say yes only when the call is answered: one that has said nothing
    /// by then is dialling.
    pub refusal: Duration,
    /// How long a call that was dialled may be missing from the list.
    pub appear: Duration,
    /// How long it may ring.
    pub ringing: Duration,
    /// For sending one tone.
    pub tone: Duration,
    /// For ending a call when the watch ends ([`crate::Watch::stop`]).
    pub stop: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(1),
            refusal: Duration::from_secs(2),
            appear: Duration::from_secs(5),
            ringing: Duration::from_secs(120),
            tone: Duration::from_secs(5),
            stop: Duration::from_secs(5),
        }
    }
}

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The network is told.
    Dialling,
    /// It rings there.
    Alerting,
    /// It was answered.
    Active,
    /// It is held, by something else on the device.
    Held,
    /// It is over.
    Ended(End),
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// [`Call::hang_up`], or its [`Call`] was dropped.
    HungUp,
    /// The other side ended it, or the network did.
    HungUpThere,
    /// The other side is busy.
    Busy,
    /// Nobody answered in time.
    NotAnswered,
    /// No connection came about.
    NotConnected,
    /// The modem or the network would not dial: the number of the error, when there is one (TS 27.007, 9.2).
    Refused(Option<u16>),
    /// The modem no longer says what becomes of it, so it was ended.
    Lost,
    /// The gate stops, so it was ended.
    Stopped,
    /// The modem is gone, and with it every word on what became of the call.
    ModemGone,
}

impl End {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::HungUp => "hung-up",
            Self::HungUpThere => "hung-up-there",
            Self::Busy => "busy",
            Self::NotAnswered => "not-answered",
            Self::NotConnected => "not-connected",
            Self::Refused(_) => "refused",
            Self::Lost => "lost",
            Self::Stopped => "stopped",
            Self::ModemGone => "modem-gone",
        }
    }
}

/// Why a call was not begun, not ended, or took no tones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFault {
    /// There is a call already, of an app or of the user.
    #[error("the modem has a call already: end that one first")]
    LineBusy,
    /// This modem makes no calls.
    #[error("the modem makes no calls: it answered `{answer}` to `AT+CLCC`; use one with voice")]
    NoVoice {
        /// Its answer.
        answer: String,
    },
    /// The call is not answered, held, or not the only one: the tones would go astray.
    #[error("the call is not the one that is open: send tones when it was answered")]
    NotActive,
    /// The call is over.
    #[error("the call is over ({}): begin another", .0.code())]
    Over(End),
    /// Other tones are on their way.
    #[error("other tones are being sent: wait for their end")]
    TonesPending,
    /// The modem said no.
    #[error("the modem answered `{answer}` to `{command}`")]
    ModemRefused {
        /// What was asked, without number or tone.
        command: String,
        /// The final result.
        answer: String,
    },
    /// The modem did not answer in time.
    #[error("the modem did not answer `{command}` in time")]
    ModemSilent {
        /// What was asked, without number or tone.
        command: String,
    },
    /// The modem lists the call still, whatever it was told; it is told again until it obeys.
    #[error("the modem does not end the call; it is told again until it does")]
    NotHungUp,
    /// The modem is gone, or nobody serves it.
    #[error("the modem is gone: connect it again")]
    ModemGone,
}

impl CallFault {
    /// The reason that is written down.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::LineBusy => Reason::LineBusy,
            Self::NoVoice { .. } | Self::ModemGone => Reason::NoVoiceBearer,
            Self::NotActive | Self::Over(_) | Self::TonesPending => Reason::CallNotActive,
            Self::ModemRefused { .. } => Reason::UpstreamUnreachable,
            Self::ModemSilent { .. } | Self::NotHungUp => Reason::UpstreamTimeout,
        }
    }
}

/// Makes calls over one modem. Clones are the same line.
#[derive(Debug, Clone)]
pub struct Voice {
    dials: mpsc::Sender<Errand>,
}

impl Voice {
    /// Begins a call; it is over when its handle is dropped. `id` is the caller's. Dropping the future takes the request
    /// back, and ends the call if it was begun.
    ///
    /// Comes back when the modem dials: whether it rings or is busy there is told by [`Call::next_state`].
    ///
    /// # Errors
    /// There is a call already, the modem cannot or does not want to dial, or it is gone.
    pub async fn dial(&self, id: CallId, number: &Number) -> Result<Call, CallFault> {
        let (asks, asked) = mpsc::channel(ASKED_MAX);
        let (tells, states) = watch::channel(State::Dialling);
        let (answer, started) = oneshot::channel();
        let dial = Dial { number: number.clone(), asked, states: tells, started: answer };
        self.dials.send(Errand::Call(dial)).await.map_err(|_| CallFault::ModemGone)?;
        started.await.unwrap_or(Err(CallFault::ModemGone))?;
        Ok(Call { id, asks, states })
    }

    /// Sends a service code to the network (AT+CUSD); comes back when the modem has taken it. What the network answers is
    /// not told. Dropping the future takes back what the modem was not told yet.
    ///
    /// # Errors
    /// There is a call, the modem does not take the code, or it is gone.
    pub async fn request(&self, code: &ServiceCode) -> Result<(), CallFault> {
        let (done, answer) = oneshot::channel();
        let errand = Errand::Code { code: code.clone(), done };
        self.dials.send(errand).await.map_err(|_| CallFault::ModemGone)?;
        answer.await.unwrap_or(Err(CallFault::ModemGone))
    }

    /// Whether the modem is still there.
    pub fn is_open(&self) -> bool {
        !self.dials.is_closed()
    }
}

/// A call that was begun. Dropping it ends the call.
#[derive(Debug)]
pub struct Call {
    id: CallId,
    asks: mpsc::Sender<Ask>,
    states: watch::Receiver<State>,
}

impl Call {
    /// The caller's name for it.
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// How far it is now.
    pub fn state(&self) -> State {
        let state = self.states.borrow().clone();
        match state {
            State::Ended(_) => state,
            _ if self.states.has_changed().is_err() => State::Ended(End::ModemGone),
            _ => state,
        }
    }

    /// Waits until it is further than when this was last asked; the newest state counts, those in between may be left
    /// out. Begins after [`State::Dialling`]. An end is said again and again. Dropping the future loses nothing.
    pub async fn next_state(&mut self) -> State {
        let seen = self.states.borrow().clone();
        match self.states.changed().await {
            Ok(()) => self.states.borrow_and_update().clone(),
            Err(_) if matches!(seen, State::Ended(_)) => seen,
            Err(_) => State::Ended(End::ModemGone),
        }
    }

    /// Sends tones, one after the other; comes back when all are sent. Before the first, the modem's list must say that
    /// this call, and no other, is open. Dropping the future keeps back the tones that were not sent yet.
    ///
    /// # Errors
    /// The call is not open, the modem does not take a tone (those before were sent), or it is gone.
    pub async fn tones(&self, tones: &Tones) -> Result<(), CallFault> {
        let (done, answer) = oneshot::channel();
        self.ask(Ask::Tones(tones.clone(), done), answer).await
    }

    /// Ends the call, and comes back when the modem no longer lists it.
    ///
    /// # Errors
    /// The modem does not end it, or is gone. A call that is over is no error.
    pub async fn hang_up(&self) -> Result<(), CallFault> {
        let (done, answer) = oneshot::channel();
        match self.ask(Ask::HangUp(done), answer).await {
            Err(CallFault::Over(_)) => Ok(()),
            other => other,
        }
    }

    async fn ask(&self, ask: Ask, answer: oneshot::Receiver<Answer>) -> Answer {
        let over = || match self.state() {
            State::Ended(End::ModemGone) => CallFault::ModemGone,
            State::Ended(end) => CallFault::Over(end),
            _ => CallFault::ModemGone,
        };
        self.asks.send(ask).await.map_err(|_| over())?;
        answer.await.unwrap_or_else(|_| Err(over()))
    }
}

type Answer = Result<(), CallFault>;

/// What is asked of a modem that has no call.
#[derive(Debug)]
pub(crate) enum Errand {
    Call(Dial),
    Code { code: ServiceCode, done: oneshot::Sender<Answer> },
}

impl Errand {
    /// Whether anybody still waits for it.
    fn is_wanted(&self) -> bool {
        match self {
            Self::Call(dial) => !dial.started.is_closed(),
            Self::Code { done, .. } => !done.is_closed(),
        }
    }

    fn refuse(self, fault: CallFault) {
        let waits = match self {
            Self::Call(dial) => dial.started,
            Self::Code { done, .. } => done,
        };
        let _ = waits.send(Err(fault));
    }
}

/// A call to begin.
#[derive(Debug)]
pub(crate) struct Dial {
    number: Number,
    asked: mpsc::Receiver<Ask>,
    states: watch::Sender<State>,
    started: oneshot::Sender<Answer>,
}

/// What a call's handle wants.
#[derive(Debug)]
pub(crate) enum Ask {
    Tones(Tones, oneshot::Sender<Answer>),
    HangUp(oneshot::Sender<Answer>),
}

/// Who dials while as many wait already waits as well.
const DIALS_MAX: usize = 4;
/// Likewise for what the handle of one call wants.
const ASKED_MAX: usize = 4;
