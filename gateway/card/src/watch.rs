//! Watches the card in a modem: what comes, goes and changes, as events (security.md S18). The modem's own words are
//! heard where it has any, and it is asked from time to time, because many say nothing. A card that cannot be read any
//! more counts as gone: its keys must not outlive it.

use std::collections::VecDeque;
use std::time::Duration;

use mexe_certs::usim::Image;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use crate::source::{Source, read_image};
use crate::{Contexts, Fault, Modem, Voice};

/// What happened to the card, or at the modem.
#[derive(Debug)]
pub enum Event {
    /// A card is there, and was read.
    Inserted(Box<Image>),
    /// The card is gone, or can no longer be read: why.
    Removed(Fault),
    /// The same card holds something else. Another card is [`Event::Removed`] and then [`Event::Inserted`].
    Changed(Box<Image>),
    /// Somebody calls. It is the user's: nothing here answers.
    Ringing,
}

/// How to watch.
#[derive(Debug, Clone)]
pub struct Options {
    /// Between two questions after the card's number and subscriber.
    pub poll: Duration,
    /// After how many of them everything is read again: a card may change its files without a word (REFRESH).
    pub polls_between_readings: u32,
    /// For reading everything.
    pub reading: Duration,
    /// From one reading to the next that the modem's own words cause: a modem that keeps saying something is not kept
    /// reading.
    pub between_readings: Duration,
    /// How a line begins by which the modem says that the card is gone. Case does not count.
    pub removed: Vec<String>,
    /// How a line begins by which the modem says that something is new with the card: then everything is read again.
    pub changed: Vec<String>,
    /// A call that rings is told once, until it was still for so long.
    pub ringing: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let owned = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
        Self {
            poll: Duration::from_secs(5),
            polls_between_readings: 12,
            reading: Duration::from_secs(180),
            between_readings: Duration::from_secs(2),
            removed: owned(&[
                "+CPIN: NOT INSERTED",
                "+CPIN: NOT READY",
                "+CME ERROR: 10",
                "+QSIMSTAT: 1,0",
                "+SIM: NOT INSERTED",
                "+SIM: REMOVED",
                "+SIMCARD: NOT AVAILABLE",
                "^SIMST: 255",
            ]),
            changed: owned(&["+CPIN:", "+QSIMSTAT:", "+QUSIM:", "+REFRESH", "+SIM:", "+SIMCARD:", "^SIMST:"]),
            ringing: Duration::from_secs(15),
        }
    }
}

/// A modem whose card is watched.
#[derive(Debug)]
pub struct Watch<P> {
    modem: Modem<P>,
    options: Options,
    card: Option<Image>,
    trouble: Option<Fault>,
    /// What has been found out, but not told yet.
    ready: VecDeque<Result<Event, Fault>>,
    polls: u32,
    silences: u32,
    due: Due,
    last_reading: Option<Instant>,
    last_ring: Option<Instant>,
}

/// When to look next, and whether at everything.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    whole: bool,
}

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Watch<P> {
    /// Begins; the first event says what is there.
    pub fn new(modem: Modem<P>, options: Options) -> Self {
        Self {
            modem,
            options,
            card: None,
            trouble: None,
            ready: VecDeque::new(),
            polls: 0,
            silences: 0,
            due: Due { at: Instant::now(), whole: true },
            last_reading: None,
            last_ring: None,
        }
    }

    /// The card that is there, as last read.
    pub fn card(&self) -> Option<&Image> {
        self.card.as_ref()
    }

    /// Why no card can be read now, if it was found out while there was none: a card that waits for its PIN, say.
    pub fn trouble(&self) -> Option<&Fault> {
        self.trouble.as_ref()
    }

    /// Makes calls over this modem, as long as [`Watch::next`] is waited for.
    pub fn voice(&self) -> Voice {
        self.modem.voice()
    }

    /// Asks about the data contexts of this modem, as long as [`Watch::next`] is waited for.
    pub fn contexts(&self) -> Contexts {
        self.modem.contexts()
    }

    /// Ends what goes on: a call is told to end and given a few seconds for it ([`crate::calls::Pace::stop`]).
    pub async fn stop(mut self) {
        self.modem.end_call().await;
    }

    /// The modem back, for other work; open another watch afterwards.
    pub fn into_modem(self) -> Modem<P> {
        self.modem
    }

    /// The next event. Dropping the future loses none: what was begun is begun again.
    ///
    /// # Errors
    /// The port of the modem is gone for good. If a card was there, [`Event::Removed`] came before.
    pub async fn next(&mut self) -> Result<Event, Fault> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let found = match self.due {
                Due { at, .. } if Instant::now() < at => self.listen(at).await,
                // It cannot be asked now, but heard.
                _ if self.modem.is_dialling() => self.listen(self.next_poll()).await,
                Due { whole: true, .. } => self.read().await,
                Due { whole: false, .. } => self.poll().await,
            };
            if let Err(fault) = found {
                self.lost(fault);
            }
        }
    }

    /// Hears the modem until it is time to look.
    async fn listen(&mut self, until: Instant) -> Result<(), Fault> {
        let wait = until.saturating_duration_since(Instant::now());
        let Some(line) = self.modem.overhear(wait).await? else { return Ok(()) };
        let line = line.to_ascii_uppercase();
        if ["RING", "+CRING:", "+CLIP:"].iter().any(|begin| line.starts_with(begin)) {
            self.rings();
        }
        let says = |codes: &[String]| codes.iter().any(|code| line.starts_with(&code.to_ascii_uppercase()));
        let removed = says(&self.options.removed);
        if removed || says(&self.options.changed) {
            let earliest = self.last_reading.and_then(|last| last.checked_add(self.options.between_readings));
            self.due = Due { at: earliest.unwrap_or(until).min(until), whole: true };
        }
        if removed {
            // Counts at once; whether there is a card after all is asked afterwards.
            self.gone(Fault::CardGone);
        }
        Ok(())
    }

    fn rings(&mut self) {
        let now = Instant::now();
        let still =
            self.last_ring.is_none_or(|last| now.saturating_duration_since(last) > self.options.ringing);
        self.last_ring = Some(now);
        if still {
            self.ready.push_back(Ok(Event::Ringing));
        }
    }

    async fn read(&mut self) -> Result<(), Fault> {
        self.modem.forget_card();
        let read = timeout(self.options.reading, read_image(&mut self.modem)).await;
        self.last_reading = Some(Instant::now());
        let image = read.map_err(|_| Fault::ModemSilent { command: "AT+CRSM".to_owned() })??;
        self.silences = 0;
        self.trouble = None;
        self.polls = 0;
        let numbers = |card: &Image| (card.iccid.clone(), card.imsi.clone());
        if self.card.as_ref().is_some_and(|card| numbers(card) != numbers(&image)) {
            // Between two cards there is none: the old keys stop counting before the new ones are there.
            self.gone(Fault::CardChanged);
        }
        if self.card.as_ref() != Some(&image) {
            let event = match self.card.replace(image.clone()) {
                None => Event::Inserted(Box::new(image)),
                Some(_) => Event::Changed(Box::new(image)),
            };
            self.ready.push_back(Ok(event));
        }
        self.later();
        Ok(())
    }

    async fn poll(&mut self) -> Result<(), Fault> {
        self.polls = self.polls.saturating_add(1);
        let Some(card) = self.card.as_ref().filter(|_| self.polls < self.options.polls_between_readings)
        else {
            self.at_once();
            return Ok(());
        };
        let (kind, known) = (card.kind, (card.iccid.clone(), card.imsi.clone()));
        let found = (self.modem.iccid().await?, self.modem.imsi(kind).await?);
        self.silences = 0;
        if found == known {
            self.later();
        } else {
            self.gone(Fault::CardChanged);
            self.at_once();
        }
        Ok(())
    }

    fn later(&mut self) {
        self.due = Due { at: self.next_poll(), whole: self.card.is_none() };
    }

    fn next_poll(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.options.poll).unwrap_or(now)
    }

    fn at_once(&mut self) {
        self.due = Due { at: Instant::now(), whole: true };
    }

    fn gone(&mut self, why: Fault) {
        match self.card.take() {
            Some(_) => self.ready.push_back(Ok(Event::Removed(why))),
            None => self.trouble = Some(why),
        }
    }

    fn lost(&mut self, fault: Fault) {
        match fault {
            Fault::ModemGone(_) => {
                self.gone(Fault::CardGone);
                self.ready.push_back(Err(fault));
                self.later();
            }
            // What was begun is begun again when the call is through.
            Fault::ModemDials => {}
            // A modem may miss one question while it registers.
            Fault::ModemSilent { .. } | Fault::CardBusy if self.silences == 0 => {
                self.silences = 1;
                self.at_once();
            }
            fault => {
                self.gone(fault);
                self.later();
            }
        }
    }
}
