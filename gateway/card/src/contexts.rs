//! The modem's data contexts (`mexe_wire::pdp`), as a handle: [`Contexts`] asks, and hears what the modem says about them on
//! its own. What to ask for, and what an answer means, is decided above.
//!
//! The port has one owner, the [`crate::Modem`]; it takes what is asked here between its own commands (`driver`), after
//! what is due for a call: a call that has to end does not wait for a context. Whatever waits for the network is
//! therefore not begun while there is a call.

mod driver;

use std::time::Duration;

use mexe_wire::pdp::{Cause, Command, Event};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;

pub(crate) use self::driver::Waiting;

/// How long contexts may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the answer of a command that asks the network.
    pub network: Duration,
    /// For one command from the request to the answer, whatever else the modem does meanwhile.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // The device itself waits for 30 s before it asks the network once more (TS 24.008, T3380).
        Self { network: Duration::from_secs(30), whole: Duration::from_secs(60) }
    }
}

/// Why a command for contexts was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextFault {
    /// The modem dials, or has a call and would have to wait for the network.
    #[error("the modem has a call: `{command}` is not sent meanwhile")]
    ModemBusy {
        /// What was asked.
        command: String,
    },
    /// The port is gone, or nobody serves it.
    #[error("the modem is gone: connect it again")]
    ModemGone,
    /// The modem, or the network through it, said no.
    #[error("the modem answered `{answer}` to `{command}`")]
    Refused {
        /// What was asked.
        command: String,
        /// The final result.
        answer: String,
        /// Which error it is, when it is one that has to do with contexts.
        cause: Option<Cause>,
    },
    /// There was no answer in time.
    #[error("the modem did not answer `{command}` in time")]
    Silent {
        /// What was asked.
        command: String,
    },
}

/// Asks one modem about its contexts. Clones are the same modem.
#[derive(Debug, Clone)]
pub struct Contexts {
    errands: mpsc::Sender<Errand>,
    events: broadcast::Sender<Event>,
    whole: Duration,
}

impl Contexts {
    /// Sends a command and gives the lines that answer it. Dropping the future takes back what was not sent yet.
    ///
    /// # Errors
    /// The modem says no, has a call, does not answer within [`Patience::whole`], or is gone.
    pub async fn ask(&self, command: Command) -> Result<Vec<String>, ContextFault> {
        let name = command.name();
        let (done, answer) = oneshot::channel();
        let asked = async {
            let errand = Errand { command, done };
            self.errands.send(errand).await.map_err(|_| ContextFault::ModemGone)?;
            answer.await.unwrap_or(Err(ContextFault::ModemGone))
        };
        timeout(self.whole, asked).await.unwrap_or(Err(ContextFault::Silent { command: name }))
    }

    /// What the modem says about contexts from now on. Who is too slow misses some and is told so.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Completes when nobody serves the modem any more.
    pub async fn closed(&self) {
        self.errands.closed().await;
    }
}

#[derive(Debug)]
pub(crate) struct Errand {
    command: Command,
    done: oneshot::Sender<Result<Vec<String>, ContextFault>>,
}

/// Who asks while as many wait already waits as well.
const ERRANDS_MAX: usize = 8;
/// So many events a listener may lag behind.
const EVENTS_MAX: usize = 64;
