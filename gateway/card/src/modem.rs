//! The modem that carries the bearer, on any port of bytes: one command at a time, its answer told from echo and from
//! what the modem says on its own. Files are read with AT+CRSM where the modem knows paths, else with AT+CSIM.
//!
//! What a modem says on its own is kept for [`crate::Watch`]. A command that was given up leaves the modem's late answer
//! on the line; it is waited out before the next one. Voice calls share the port ([`crate::calls`]): what is due for one
//! comes before every command for the card. Data contexts ([`crate::contexts`]) come next.

use std::collections::VecDeque;
use std::time::Duration;

use mexe_certs::usim::{CardKind, File, Part, Unread};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use crate::apdu::{Apdu, Commands, Exchange, meaning};
use crate::at::{
    self, Access, Command, Final, SIM_BUSY, SIM_FAILURE, SIM_NOT_INSERTED, SIM_PIN_REQUIRED,
    SIM_PIN2_REQUIRED, SIM_PUK_REQUIRED, SIM_PUK2_REQUIRED,
};
use crate::calls::{Calls, Pace, Voice};
use crate::contexts::{Patience, Waiting};
use crate::link::Link;
use crate::{Fault, Source, fcp};

/// How long to wait for a modem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For the answer to one command.
    pub answer: Duration,
    /// How long a line has to be still before a command after one that was given up.
    pub quiet: Duration,
    /// Between two tries when the card is busy.
    pub busy: Duration,
    /// How many tries a busy card gets.
    pub tries: u32,
    /// For voice calls.
    pub calls: Pace,
    /// For data contexts.
    pub contexts: Patience,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            quiet: Duration::from_millis(300),
            busy: Duration::from_millis(500),
            tries: 10,
            calls: Pace::default(),
            contexts: Patience::default(),
        }
    }
}

/// A modem.
#[derive(Debug)]
pub struct Modem<P> {
    pub(crate) link: Link<P>,
    pub(crate) timing: Timing,
    /// What the modem said on its own. Full: the oldest is forgotten; a card event among them is found by asking.
    pub(crate) unsolicited: VecDeque<String>,
    /// A command was given up, so that its answer may still come.
    pub(crate) unsettled: bool,
    way: Way,
    pub(crate) calls: Calls,
    pub(crate) contexts: Waiting,
}

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// AT+CRSM; whether the modem knows paths will show.
    Restricted,
    /// AT+CSIM.
    Generic(Option<CardKind>),
}

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Modem<P> {
    /// Takes a port and makes the modem ready: no echo, errors as numbers.
    ///
    /// # Errors
    /// The modem does not answer, or the port is gone.
    pub async fn open(port: P, timing: Timing) -> Result<Self, Fault> {
        let mut modem = Self {
            link: Link::new(port),
            timing,
            unsolicited: VecDeque::new(),
            // Whoever had the port before may have left half a conversation.
            unsettled: true,
            way: Way::Restricted,
            calls: Calls::default(),
            contexts: Waiting::new(&timing.contexts),
        };
        // Not every modem knows them, and none of them is needed.
        for command in [Command::EchoOff, Command::NumericErrors] {
            match modem.ask(&command).await {
                Ok(_) | Err(Fault::ModemRefused { .. }) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(modem)
    }

    /// Forgets how the last card was read: the next one may be of another kind.
    pub(crate) fn forget_card(&mut self) {
        self.way = Way::Restricted;
    }

    /// Makes calls over this modem as long as it is used: asked something, or listened to.
    pub fn voice(&self) -> Voice {
        self.calls.voice()
    }

    /// Sends a command and gives the lines that answer it. A card that is busy is asked again.
    ///
    /// # Errors
    /// The modem or its card says no, does not answer, dials, or is gone.
    pub async fn ask(&mut self, command: &Command) -> Result<Vec<String>, Fault> {
        for _ in 0..self.timing.tries {
            while self.serve_call().await? {}
            // One at a time: whoever asks again and again keeps neither calls nor card waiting.
            self.serve_context().await?;
            while self.serve_call().await? {}
            if self.is_dialling() {
                return Err(Fault::ModemDials);
            }
            match self.ask_once(command, self.timing.answer).await? {
                (lines, Final::Done) => return Ok(lines),
                (_, Final::Failed(number, answer)) => match number {
                    Some(SIM_BUSY) => sleep(self.timing.busy).await,
                    Some(SIM_NOT_INSERTED | SIM_FAILURE) => return Err(Fault::CardGone),
                    Some(SIM_PIN_REQUIRED | SIM_PUK_REQUIRED | SIM_PIN2_REQUIRED | SIM_PUK2_REQUIRED) => {
                        return Err(Fault::CardLocked);
                    }
                    _ => return Err(Fault::ModemRefused { command: command.name(), answer }),
                },
            }
        }
        Err(Fault::CardBusy)
    }

    pub(crate) async fn ask_once(
        &mut self,
        command: &Command,
        limit: Duration,
    ) -> Result<(Vec<String>, Final), Fault> {
        let silent = |command: &Command| Fault::ModemSilent { command: command.name() };
        if self.unsettled {
            self.settle().await?;
        }
        // Until the final result is here; also when this future is dropped in the middle.
        self.unsettled = true;
        let answered = timeout(limit, self.converse(command)).await;
        let answered = answered.map_err(|_| silent(command))??;
        self.unsettled = false;
        Ok(answered)
    }

    /// Waits until the line is still and the modem answers to its name. What it says then may be the late end of what was
    /// given up, with its own name's after it: so the line has to be still once more.
    async fn settle(&mut self) -> Result<(), Fault> {
        self.until_still().await;
        self.link.forget();
        let answered = timeout(self.timing.answer, self.converse(&Command::Attention)).await;
        let (_, _) = answered.map_err(|_| Fault::ModemSilent { command: Command::Attention.text() })??;
        self.until_still().await;
        Ok(())
    }

    async fn until_still(&mut self) {
        let Timing { answer, quiet, .. } = self.timing;
        let still = async {
            while let Ok(Ok(line)) = timeout(quiet, self.link.line()).await {
                self.keep(line);
            }
        };
        // A modem that never falls still is asked all the same.
        let _ = timeout(answer, still).await;
    }

    async fn converse(&mut self, command: &Command) -> Result<(Vec<String>, Final), Fault> {
        let text = command.text();
        self.link.send(&text).await?;
        let mut answers = Vec::new();
        loop {
            let line = self.link.line().await?;
            if line == text {
                // The echo of a modem that was not told yet to leave it.
            } else if let Some(end) = Final::read(&line) {
                return Ok((answers, end));
            } else if command.is_answer(&line) && answers.len() < command.answers_max() {
                answers.push(line);
            } else {
                self.keep(line);
            }
        }
    }

    pub(crate) fn keep(&mut self, line: String) {
        let dialled = self.calls.is_dialling();
        if self.calls.heard(&line) {
            // It may have been the answer to ATD, or about another call, and then the answer is to come.
            self.unsettled |= dialled && !self.calls.is_dialling() && Final::read(&line).is_none();
            return;
        }
        if self.contexts.heard(&line) {
            return;
        }
        if self.unsolicited.len() >= UNSOLICITED_MAX {
            self.unsolicited.pop_front();
        }
        self.unsolicited.push_back(line);
    }

    /// The only answer to a command, as `read` makes sense of it.
    async fn answer<T>(&mut self, command: Command, read: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
        let lines = self.ask(&command).await?;
        lines
            .first()
            .and_then(|line| read(line))
            .ok_or_else(|| Fault::ModemMalformed { command: command.name() })
    }

    async fn access(&mut self, access: Access, path: &[u16]) -> Result<(u16, Vec<u8>), Fault> {
        self.answer(Command::Restricted { access, path: path.to_vec() }, at::restricted_answer).await
    }

    /// Reads a file with AT+CRSM.
    async fn read_restricted(&mut self, path: &[u16], part: Part) -> Result<File, Fault> {
        let (mut status, mut answer) = self.access(Access::GetResponse { length: 0 }, path).await?;
        // Some want to be told the length: that which the card names, else that of a GSM SIM's answer.
        if let [0x6C | 0x67, sw2] = status.to_be_bytes() {
            let length = if sw2 == 0 { 15 } else { sw2 };
            (status, answer) = self.access(Access::GetResponse { length }, path).await?;
        }
        if let Some(unread) = meaning(status, "get response")? {
            return Ok(File::Unread(unread));
        }
        let Some(facts) = fcp::read(&answer) else { return Ok(File::Unread(Unread::Misshapen)) };
        match (part, facts.records) {
            _ if facts.deactivated => Ok(File::Unread(Unread::Deactivated)),
            (Part::First(length), None) => self.first_restricted(path, length.min(facts.size)).await,
            (Part::Records, Some(records)) => self.records_restricted(path, records).await,
            _ => Ok(File::Unread(Unread::Misshapen)),
        }
    }

    async fn first_restricted(&mut self, path: &[u16], length: usize) -> Result<File, Fault> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let piece = length.saturating_sub(bytes.len()).min(PIECE_MAX);
            let (Ok(offset @ 0..=0x7FFF), Ok(piece)) = (u16::try_from(bytes.len()), u8::try_from(piece))
            else {
                break;
            };
            let (status, data) = self.access(Access::ReadBinary { offset, length: piece }, path).await?;
            if let Some(unread) = meaning(status, "read binary")? {
                return Ok(File::Unread(unread));
            }
            if data.is_empty() || data.len() > usize::from(piece) {
                return Err(Fault::CardMalformed { what: "read binary" });
            }
            bytes.extend(data);
        }
        Ok(File::Bytes(bytes))
    }

    async fn records_restricted(&mut self, path: &[u16], records: fcp::Records) -> Result<File, Fault> {
        let mut all = Vec::new();
        for number in 1..=records.count {
            let access = Access::ReadRecord { number, length: records.length };
            let (status, data) = self.access(access, path).await?;
            if let Some(unread) = meaning(status, "read record")? {
                return Ok(File::Unread(unread));
            }
            if data.len() != usize::from(records.length) {
                return Err(Fault::CardMalformed { what: "read record" });
            }
            all.push(data);
        }
        Ok(File::Records(all))
    }

    /// Reads a file with AT+CSIM.
    async fn read_generic(&mut self, path: &[u16], part: Part) -> Result<File, Fault> {
        let known = match self.way {
            Way::Generic(kind) => kind,
            Way::Restricted => None,
        };
        let mut commands = match known {
            Some(kind) => Commands::with_kind(&mut *self, kind),
            None => Commands::join(&mut *self).await?,
        };
        let file = commands.read(path, part).await?;
        let kind = commands.kind();
        self.way = Way::Generic(Some(kind));
        Ok(file)
    }
}

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Exchange for &mut Modem<P> {
    async fn exchange(&mut self, apdu: &Apdu, kind: CardKind) -> Result<Vec<u8>, Fault> {
        self.answer(Command::Generic { apdu: apdu.clone(), kind }, at::generic_answer).await
    }
}

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Source for Modem<P> {
    async fn read(&mut self, path: &[u16], part: Part) -> Result<File, Fault> {
        if matches!(self.way, Way::Generic(_)) {
            return self.read_generic(path, part).await;
        }
        match self.read_restricted(path, part).await {
            // A modem that does not know paths looks somewhere else, or says no: ask the card before believing it.
            Ok(File::Unread(Unread::Absent)) if path.len() > 1 => match self.read_generic(path, part).await {
                Ok(File::Unread(Unread::Absent)) | Err(Fault::ModemRefused { .. }) => {
                    self.way = Way::Restricted;
                    Ok(File::Unread(Unread::Absent))
                }
                other => other,
            },
            Err(Fault::ModemRefused { .. }) => self.read_generic(path, part).await,
            other => other,
        }
    }

    /// The identity that the modem is registered with.
    async fn imsi(&mut self, _kind: CardKind) -> Result<String, Fault> {
        self.answer(Command::Imsi, |line| Some(digits_of(line)).filter(|digits| !digits.is_empty())).await
    }

    async fn iccid(&mut self) -> Result<String, Fault> {
        let bytes = self.bytes(&[0x2FE2], 10).await?;
        if !bytes.is_empty() {
            return Ok(mexe_certs::usim::iccid_of_file(&bytes));
        }
        self.answer(Command::CardNumber, |line| Some(digits_of(line)).filter(|digits| !digits.is_empty()))
            .await
    }
}

/// The digits of `+CCID: "89..F"` or of a bare number.
fn digits_of(line: &str) -> String {
    let value = line.rsplit(':').next().unwrap_or_default().trim().trim_matches('"');
    value.chars().take_while(char::is_ascii_digit).collect()
}

/// A modem says few things on its own between two looks.
const UNSOLICITED_MAX: usize = 64;
/// Some modems do not take 256.
const PIECE_MAX: usize = 255;
