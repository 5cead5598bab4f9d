//! Accounts: what each app moved, by traffic class, bearer and local day, on the own operator's network or roaming. Open
//! flows tell what came in since they told last, so every byte is counted once; every few seconds, and before anybody looks,
//! the sums go to the database. What a threshold allows is decided in [`thresholds`].

pub mod thresholds;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use mexe_journal::{JournalError, USAGE_DAYS, Unavailable, Usage, UsageKey};
use mexe_model::AppId;
use mexe_qos::{LocalDate, Tally, TrafficClass};

use self::thresholds::Thresholds;
use crate::bearer::Bearer;
use crate::clock;
use crate::gate::Gate;

/// How often what came in is written down: a power failure, or a gate that is killed, loses no more.
const FLUSH: Duration = Duration::from_secs(5);

/// The accounts of the gate.
#[derive(Debug, Default)]
pub struct Accounts {
    state: Mutex<State>,
    /// Sums go to the database one batch after the other.
    writing: tokio::sync::Mutex<()>,
    /// What the user set.
    pub thresholds: Thresholds,
}

#[derive(Debug, Default)]
struct State {
    /// Not in the database yet.
    pending: HashMap<UsageKey, Usage>,
    tally: Tally,
}

impl Accounts {
    /// Of a gate that starts: what was moved this month, and the thresholds as they were stored.
    pub fn new(earlier: Vec<(UsageKey, Usage)>, thresholds: Thresholds) -> Self {
        let mut tally = Tally::default();
        tally.turn_to(today());
        for (key, usage) in earlier {
            tally.add(date(key.day), &key.app, &key.bearer, key.roaming, moved(&usage));
        }
        let state = Mutex::new(State { pending: HashMap::new(), tally });
        Self { state, writing: tokio::sync::Mutex::default(), thresholds }
    }

    /// An app moved that over that bearer, now.
    pub fn add(&self, app: &AppId, class: TrafficClass, bearer: &Bearer, usage: Usage) {
        if usage == Usage::default() {
            return;
        }
        let (today, roaming) = (today(), bearer.is_roaming());
        let key = UsageKey {
            day: today.day,
            app: app.clone(),
            class: class.as_str().into(),
            bearer: Arc::clone(bearer.name()),
            roaming,
        };
        let mut state = self.locked();
        state.tally.turn_to(today);
        state.tally.add(today, app, bearer.name(), roaming, moved(&usage));
        state.pending.entry(key).or_default().add(&usage);
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tally as it is now.
    fn tally<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        let mut state = self.locked();
        state.tally.turn_to(today());
        look(&state.tally)
    }
}

fn moved(usage: &Usage) -> u64 {
    usage.bytes_up.saturating_add(usage.bytes_down)
}

/// The local date.
fn today() -> LocalDate {
    date(clock::local().day())
}

/// The first day of the present month.
pub fn first_of_month() -> i64 {
    let today = clock::local().day();
    civil(today).map_or(today, |date| today.saturating_sub(i64::from(date.day()) - 1))
}

fn date(day: i64) -> LocalDate {
    let month =
        civil(day).map_or(0, |date| (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1);
    LocalDate { day, month }
}

const EPOCH: Date = Date::constant(1970, 1, 1);

/// A day as people write it.
pub fn civil(day: i64) -> Option<Date> {
    let days = jiff::Span::new().try_days(day).ok()?;
    EPOCH.checked_add(days).ok()
}

/// The day that people write so.
pub fn day_of(date: Date) -> i64 {
    EPOCH.until(date).map_or(0, |span| i64::from(span.get_days()))
}

/// Writes down what came in, as long as the gate runs, and looks after the thresholds.
pub async fn keep(gate: Arc<Gate>) {
    let mut flushed = clock::now();
    loop {
        tokio::select! {
            () = gate.stopped() => return,
            () = tokio::time::sleep(thresholds::LOOK) => {}
        }
        if gate.accounts.thresholds.any() {
            gate.settle_flow_bytes();
            thresholds::look(&gate);
        }
        if clock::now().since(flushed) >= FLUSH {
            flushed = clock::now();
            if let Err(error) = flush(&gate).await {
                tracing::warn!(%error, "what apps moved could not be written down; it is tried again");
            }
        }
    }
}

/// Writes down what every flow has moved up to now.
///
/// # Errors
/// [`Unavailable`]: it stays counted, and is written down the next time.
pub async fn flush(gate: &Arc<Gate>) -> Result<(), Unavailable> {
    let gate = Arc::clone(gate);
    // In a task of its own: whoever asks may go away, and what was taken out must not go with him.
    let written = tokio::spawn(async move {
        let _writing = gate.accounts.writing.lock().await;
        gate.settle_flow_bytes();
        let pending = std::mem::take(&mut gate.accounts.locked().pending);
        if pending.is_empty() {
            return Ok(());
        }
        let rows: Vec<(UsageKey, Usage)> = pending.into_iter().collect();
        let written = gate.journal.account(rows.clone()).await;
        if written.is_err() {
            let mut state = gate.accounts.locked();
            rows.iter().for_each(|(key, usage)| state.pending.entry(key.clone()).or_default().add(usage));
        }
        written
    });
    // Only a runtime that ends takes the task away.
    written.await.unwrap_or(Ok(()))
}

/// What was moved on these days, the last one included. At most [`USAGE_DAYS`] are there.
///
/// # Errors
/// The journal's own.
pub async fn usage(gate: &Arc<Gate>, first: i64, last: i64) -> Result<Vec<(UsageKey, Usage)>, JournalError> {
    if let Err(error) = flush(gate).await {
        tracing::warn!(%error, "the latest of what apps moved is not in the answer");
    }
    let journal = gate.journal.clone();
    let first = first.max(last.saturating_sub(USAGE_DAYS));
    let path = gate.journal.path().to_owned();
    let read = tokio::task::spawn_blocking(move || journal.usage(first, last));
    read.await.unwrap_or(Err(JournalError::Missing { path }))
}

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// So many bytes, in the units that tariffs have.
///
/// # Errors
/// What to write instead.
pub fn amount(text: &str) -> Result<u64, String> {
    let read = || {
        let (number, unit) =
            UNITS.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
        let number: u64 = number.trim_end().parse().ok().filter(|number| *number > 0)?;
        number.checked_mul(*unit).filter(|bytes| *bytes <= 1 << 50)
    };
    read().ok_or_else(|| "write a whole number and B, kB, MB, GB, KiB, MiB or GiB, as in 50MB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_the_same() {
        for (text, day, month) in [
            ("1970-01-01", 0, 0),
            ("1969-12-31", -1, -1),
            ("2000-02-29", 11_016, 361),
            ("2026-11-26", 20_783, 682),
        ] {
            let written: Date = text.parse().unwrap();
            assert_eq!(day_of(written), day, "{text}");
            assert_eq!(civil(day), Some(written));
            assert_eq!(date(day), LocalDate { day, month });
        }
        assert_eq!(civil(i64::MAX), None);
    }

    #[test]
    fn an_amount_is_a_whole_number_and_a_unit() {
        for (text, bytes) in [("50MB", 50_000_000), ("50 MB", 50_000_000), ("1GiB", 1 << 30), ("7B", 7)] {
            assert_eq!(amount(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "0B", "50", "-1B", "1.5GB", "50mb", "9999999999GB", "18446744073709551615GiB"]
        {
            assert!(amount(text).is_err(), "{text}");
        }
    }
}
