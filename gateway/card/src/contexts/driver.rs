//! Does what is asked of contexts over the modem's port, one command at a time, between the commands for calls and card.

use mexe_wire::pdp::{Cause, Event};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc};

use super::{ContextFault, Contexts, ERRANDS_MAX, EVENTS_MAX, Errand, Patience};
use crate::at::{Command, Final};
use crate::{Fault, Modem};

/// What waits for a modem.
#[derive(Debug)]
pub(crate) struct Waiting {
    handle: Contexts,
    errands: mpsc::Receiver<Errand>,
    next: Option<Errand>,
}

impl Waiting {
    pub(crate) fn new(patience: &Patience) -> Self {
        let (send, errands) = mpsc::channel(ERRANDS_MAX);
        let events = broadcast::Sender::new(EVENTS_MAX);
        Self { handle: Contexts { errands: send, events, whole: patience.whole }, errands, next: None }
    }

    pub(crate) fn handle(&self) -> Contexts {
        self.handle.clone()
    }

    /// Takes a line that the modem says on its own; false when it is about something else.
    pub(crate) fn heard(&self, line: &str) -> bool {
        let Some(event) = Event::read(line) else { return false };
        // Nobody may be listening.
        let _ = self.handle.events.send(event);
        true
    }

    /// Waits for somebody to ask. Dropping the future loses nothing.
    pub(crate) async fn asked(&mut self) {
        if self.next.is_none() {
            self.next = self.errands.recv().await;
        }
    }

    fn take(&mut self) -> Option<Errand> {
        let mut next = self.next.take().or_else(|| self.errands.try_recv().ok());
        // Whoever asked may not wait for it any more.
        while next.as_ref().is_some_and(|errand| errand.done.is_closed()) {
            next = self.errands.try_recv().ok();
        }
        next
    }
}

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Modem<P> {
    /// Asks about contexts as long as this modem is used: asked something, or listened to.
    pub fn contexts(&self) -> Contexts {
        self.contexts.handle()
    }

    /// Does one thing that was asked of contexts; tells whether there was any.
    pub(crate) async fn serve_context(&mut self) -> Result<bool, Fault> {
        let Some(Errand { command, done }) = self.contexts.take() else { return Ok(false) };
        let name = command.name();
        let waits = command.asks_the_network();
        if self.is_dialling() || (waits && self.has_call()) {
            let _ = done.send(Err(ContextFault::ModemBusy { command: name }));
            return Ok(true);
        }
        let limit = if waits { self.timing.contexts.network } else { self.timing.answer };
        let answer = match self.ask_once(&Command::Context(command), limit).await {
            Ok((lines, Final::Done)) => Ok(lines),
            Ok((_, Final::Failed(number, answer))) => {
                let said = answer.split_once(':').map_or("", |(_, said)| said.trim());
                let cause = number.and_then(Cause::of).or_else(|| Cause::of_text(said));
                Err(ContextFault::Refused { command: name, answer, cause })
            }
            Err(Fault::ModemSilent { .. }) => Err(ContextFault::Silent { command: name }),
            Err(fault) => {
                let _ = done.send(Err(ContextFault::ModemGone));
                return Err(fault);
            }
        };
        let _ = done.send(answer);
        Ok(true)
    }
}
