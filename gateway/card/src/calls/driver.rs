//! Does what is due for a call over the modem's port, one command at a time, between the commands for the card. A modem that
//! answers ATD only when the call is answered takes every byte before that as a wish to stop: it is told nothing meanwhile,
//! but heard.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::listed::{self, Listed};
use super::live::Step;
use super::{CallFault, End, Errand};
use crate::at::{Command, Final, ToneForm};
use crate::{Fault, Modem};

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Modem<P> {
    /// The next line that the modem says on its own, or nothing when there is none for that long. Calls and contexts are
    /// served meanwhile.
    ///
    /// # Errors
    /// The port is gone.
    pub async fn overhear(&mut self, wait: Duration) -> Result<Option<String>, Fault> {
        let now = Instant::now();
        let until = now.checked_add(wait).unwrap_or(now);
        loop {
            // The card's news before the next step of a call.
            if let Some(line) = self.unsolicited.pop_front() {
                return Ok(Some(line));
            }
            if self.serve_call().await? || self.serve_context().await? {
                continue;
            }
            let due = self.calls.due(&self.timing.calls).map_or(until, |due| due.min(until));
            tokio::select! {
                line = self.link.line() => {
                    let line = line?;
                    self.keep(line);
                }
                () = self.calls.asked() => {}
                () = self.contexts.asked() => {}
                () = sleep_until(due) => if Instant::now() >= until {
                    return Ok(None);
                },
            }
        }
    }

    /// Whether the modem dials and would stop at any word.
    pub(crate) fn is_dialling(&self) -> bool {
        self.calls.is_dialling()
    }

    /// Whether there is a call of ours.
    pub(crate) fn has_call(&self) -> bool {
        self.calls.live.is_some()
    }

    /// Ends the call that there is, within the time that is given for it.
    pub(crate) async fn end_call(&mut self) {
        if let Some(live) = &mut self.calls.live {
            live.end(End::Stopped, None);
        }
        let now = Instant::now();
        let until = now.checked_add(self.timing.calls.stop).unwrap_or(now);
        let ended = async {
            while self.calls.live.is_some() {
                self.overhear(self.timing.calls.look).await?;
            }
            Ok::<(), Fault>(())
        };
        let _ = tokio::time::timeout_at(until, ended).await;
    }

    /// Does one thing that is due for a call; tells whether there was any.
    pub(crate) async fn serve_call(&mut self) -> Result<bool, Fault> {
        self.calls.take_asked();
        let Some(step) = self.calls.step(Instant::now(), &self.timing.calls) else { return Ok(false) };
        match step {
            Step::Dial => self.dial().await?,
            Step::End => self.tell_to_end().await?,
            Step::Look => match self.list().await? {
                Ok(calls) => self.calls.saw(&calls, Instant::now(), &self.timing.calls),
                Err(_) => {
                    if let Some(live) = &mut self.calls.live {
                        live.saw_nothing(Instant::now(), &self.timing.calls);
                    }
                }
            },
            Step::Tone => self.tone().await?,
        }
        Ok(true)
    }

    async fn dial(&mut self) -> Result<(), Fault> {
        let wanted = self.calls.next.as_ref().is_some_and(Errand::is_wanted);
        let free = if !wanted {
            Ok(())
        } else if self.calls.live.is_some() {
            Err(CallFault::LineBusy)
        } else {
            // The request stays where it is meanwhile: this future may be dropped and begin again.
            match self.list().await? {
                Ok(calls) if calls.is_empty() => Ok(()),
                Ok(_) => Err(CallFault::LineBusy),
                Err(CallFault::ModemRefused { answer, .. }) => Err(CallFault::NoVoice { answer }),
                Err(fault) => Err(fault),
            }
        };
        let Some(errand) = self.calls.next.take() else { return Ok(()) };
        match (free, errand) {
            (Ok(()), errand) if !errand.is_wanted() => Ok(()),
            (Ok(()), Errand::Call(dial)) => {
                let command = self.calls.begin(dial, Instant::now());
                self.link.send(&command).await
            }
            (Ok(()), Errand::Code { code, done }) => {
                let answer = self.ask_for_call(&Command::ServiceCode(code), self.timing.answer).await?;
                let _ = done.send(answer.map(drop));
                Ok(())
            }
            (Err(fault), errand) => {
                errand.refuse(fault);
                Ok(())
            }
        }
    }

    async fn tell_to_end(&mut self) -> Result<(), Fault> {
        let Some(live) = &mut self.calls.live else { return Ok(()) };
        if std::mem::take(&mut live.dialling) {
            // The byte that stops it; what the modem then says is waited out before the next command.
            self.unsettled = true;
            self.link.send("").await?;
        }
        let Some(live) = &mut self.calls.live else { return Ok(()) };
        let told = live.ending.as_ref().map_or(0, |ending| ending.tries);
        let command = if told.is_multiple_of(2) { Command::HangUp } else { Command::HangUpVoice };
        // Whatever it answers: the list says whether the call is over.
        let _ = self.ask_for_call(&command, self.timing.answer).await?;
        if let Some(live) = &mut self.calls.live {
            live.told_to_end(Instant::now(), &self.timing.calls);
        }
        Ok(())
    }

    async fn tone(&mut self) -> Result<(), Fault> {
        // Out of its place: if this future is dropped, nobody knows whether the tone was sent, and the rest is not.
        let Some(mut burst) = self.calls.live.as_mut().and_then(|live| live.burst.take()) else {
            return Ok(());
        };
        // Whoever wanted it may be permitted no longer.
        if burst.done.is_closed() {
            return Ok(());
        }
        let Some(tone) = burst.tones.iter().nth(burst.sent) else {
            let _ = burst.done.send(Ok(()));
            return Ok(());
        };
        let known = self.calls.tone_form.map(|form| vec![form]);
        let mut answer = Ok(());
        for form in known.unwrap_or_else(|| ToneForm::ALL.to_vec()) {
            let command = Command::Tone { tone, form };
            answer = self.ask_for_call(&command, self.timing.calls.tone).await?.map(drop);
            match answer {
                Ok(()) => {
                    self.calls.tone_form = Some(form);
                    break;
                }
                // Another form is tried only where this one certainly was not sent.
                Err(CallFault::ModemRefused { .. }) => {}
                Err(_) => break,
            }
        }
        burst.sent = burst.sent.saturating_add(1);
        match (answer, &mut self.calls.live) {
            (Ok(()), Some(live)) if burst.sent < burst.tones.as_str().len() => live.burst = Some(burst),
            (answer, _) => drop(burst.done.send(answer)),
        }
        Ok(())
    }

    /// The voice calls that the modem has.
    async fn list(&mut self) -> Result<Result<Vec<Listed>, CallFault>, Fault> {
        let answer = self.ask_for_call(&Command::CurrentCalls, self.timing.answer).await?;
        Ok(answer.map(|lines| lines.iter().filter_map(|line| listed::read(line)).collect()))
    }

    /// One command for a call. A card that is busy, or not there, is no matter of a call's.
    async fn ask_for_call(
        &mut self,
        command: &Command,
        limit: Duration,
    ) -> Result<Result<Vec<String>, CallFault>, Fault> {
        match self.ask_once(command, limit).await {
            Ok((lines, Final::Done)) => Ok(Ok(lines)),
            Ok((_, Final::Failed(_, answer))) => {
                Ok(Err(CallFault::ModemRefused { command: command.name(), answer }))
            }
            Err(Fault::ModemSilent { command }) => Ok(Err(CallFault::ModemSilent { command })),
            Err(fault) => Err(fault),
        }
    }
}
