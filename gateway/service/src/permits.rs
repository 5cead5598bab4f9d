//! How many connections there may be: in all, of one app, of one run, and before anybody has said who they are (S5). Plain
//! counters; a permit counts as long as it lives. One app cannot take the places of the others, and strangers who have
//! not authenticated have their own small pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mexe_model::Reason;

use crate::runs::Run;
use crate::strangers::{Stranger, Strangers};

/// Files that are not connections: journal, listeners, control connections, packages, the relay's pipes.
const OTHER_FILES: usize = 512;

/// The limits and the counters.
#[derive(Debug)]
pub struct Permits {
    all: Arc<AtomicUsize>,
    most: usize,
    most_of_an_app: usize,
    most_of_a_run: AtomicUsize,
    strangers: Strangers,
}

impl Permits {
    /// Limits for a process that may open `files` files: each flow holds two. `connections` caps the flows further.
    pub fn new(files: u64, connections: Option<usize>, of_a_run: usize) -> Self {
        let files = usize::try_from(files).unwrap_or(usize::MAX / 4);
        let strangers = (files / 128).clamp(16, 128);
        let room = (files.saturating_sub(OTHER_FILES.min(files / 4) + strangers) / 2).max(1);
        let most = connections.unwrap_or(room).min(room);
        Self {
            all: Arc::default(),
            most,
            // The twentieth that no single app can take.
            most_of_an_app: most - most / 20,
            most_of_a_run: AtomicUsize::new(of_a_run),
            strangers: Strangers::new(strangers),
        }
    }

    /// Flows that may be open at once.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Flows open now.
    pub fn open(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// Changes the limit of one run; those open stay open.
    pub fn set_most_of_a_run(&self, most: usize) {
        self.most_of_a_run.store(most, Ordering::Relaxed);
    }

    /// A place for a connection that has not said who it is. Waits for one.
    pub async fn stranger(&self) -> Option<Stranger> {
        self.strangers.admit().await
    }

    /// A place for one flow of `run`.
    ///
    /// # Errors
    /// [`Reason::LimitRate`] or [`Reason::LimitConnections`]; nothing is held then.
    pub fn flow(&self, run: &Arc<Run>) -> Result<Place, Reason> {
        if !run.within_rate() {
            return Err(Reason::LimitRate);
        }
        let mut place = Place { run: Arc::clone(run), all: Arc::clone(&self.all), held: 0 };
        let of_a_run = self.most_of_a_run.load(Ordering::Relaxed);
        for (counter, most) in
            [(&*self.all, self.most), (&*run.open_in_app, self.most_of_an_app), (&run.open, of_a_run)]
        {
            let taken = counter.fetch_add(1, Ordering::AcqRel);
            place.held += 1;
            if taken >= most {
                return Err(Reason::LimitConnections);
            }
        }
        Ok(place)
    }
}

/// One flow's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    run: Arc<Run>,
    all: Arc<AtomicUsize>,
    /// How many of the three counters this place is counted in: all of them, unless one said no.
    held: usize,
}

impl Place {
    /// Whether the place is that run's.
    pub fn is_of(&self, run: &Run) -> bool {
        self.run.id == run.id
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for counter in [&*self.all, &*self.run.open_in_app, &self.run.open].into_iter().take(self.held) {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use mexe_model::{Instant, Trust, WallTime};
    use mexe_policy::RunBinding;

    use super::*;
    use crate::runs::{NewRun, Runs};

    fn run(runs: &Runs, app: &str, rate: Option<u32>) -> Arc<Run> {
        let new = NewRun {
            app: app.parse().unwrap(),
            trust: Trust::Untrusted,
            qos_profile: None,
            root: None,
            groups: mexe_model::Groups::ALL,
            legacy: false,
            binding: RunBinding::Token,
            process: None,
            rate: rate.and_then(NonZeroU32::new),
        };
        runs.begin(new, Instant::from_nanos(0), WallTime::from_secs(0)).unwrap().0
    }

    #[test]
    fn a_run_an_app_and_the_gate_each_have_their_limit() {
        let runs = Runs::new(1);
        let permits = Permits::new(20_000, Some(40), 30);
        let (a1, a2, b) = (run(&runs, "a", None), run(&runs, "a", None), run(&runs, "b", None));
        let mut held: Vec<_> = (0..30).map(|_| permits.flow(&a1).unwrap()).collect();
        assert_eq!(permits.flow(&a1).unwrap_err(), Reason::LimitConnections);
        held.extend((0..8).map(|_| permits.flow(&a2).unwrap()));
        assert_eq!(permits.flow(&a2).unwrap_err(), Reason::LimitConnections, "38 of 40 for one app");
        held.extend((0..2).map(|_| permits.flow(&b).unwrap()));
        assert_eq!(permits.flow(&b).unwrap_err(), Reason::LimitConnections);
        assert_eq!(permits.open(), 40);
        drop(held);
        assert_eq!((permits.open(), a1.open.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(a1.open_in_app.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn twenty_thousand_files_are_room_for_nine_thousand_flows_of_one_app() {
        let permits = Permits::new(20_000, None, 4096);
        assert!(permits.most_of_an_app >= 9_100, "{permits:?}");
    }

    #[test]
    fn the_rate_of_new_connections_is_kept() {
        let runs = Runs::new(1);
        let permits = Permits::new(20_000, None, 4096);
        let run = run(&runs, "a", Some(3));
        for _ in 0..3 {
            permits.flow(&run).unwrap();
        }
        assert_eq!(permits.flow(&run).unwrap_err(), Reason::LimitRate);
        assert_eq!(permits.open(), 0);
    }
}
