//! The pool of connections that have not said who they are (S5): small, so that they cannot take what belongs to apps.
//! When it is full and somebody new stands at the door, the one who has been silent longest is sent away: a handshake
//! takes milliseconds, so whoever fills the pool and says nothing keeps nobody else out. Called by the doors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Nobody is sent away sooner, however many wait: time enough for a handshake from another machine.
const GRACE: Duration = Duration::from_millis(250);

/// The pool.
#[derive(Clone, Debug)]
pub struct Strangers(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    places: Arc<Semaphore>,
    next: AtomicU64,
    /// Who is inside, in the order of coming.
    inside: Mutex<BTreeMap<u64, (Instant, CancellationToken)>>,
}

impl Strangers {
    /// A pool of so many places.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Pool {
            places: Arc::new(Semaphore::new(places)),
            next: AtomicU64::new(0),
            inside: Mutex::default(),
        }))
    }

    /// A place for somebody who stands at the door already. Waits for one; meanwhile the oldest are sent away, each when
    /// its time is up.
    pub async fn admit(&self) -> Option<Stranger> {
        let mut free = std::pin::pin!(Arc::clone(&self.0.places).acquire_owned());
        let place = loop {
            // Asked first: as long as there is a place nobody is sent away.
            let patience = self.0.oldest().map(|(came, _)| came + GRACE);
            tokio::select! {
                biased;
                place = free.as_mut() => break place.ok()?,
                () = sleep_until(patience.unwrap_or_else(|| Instant::now() + GRACE)) => self.0.send_oldest_away(),
            }
        };
        let (number, leave) = (self.0.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        self.0.inside().insert(number, (Instant::now(), leave.clone()));
        Some(Stranger { pool: Arc::clone(&self.0), number, leave, _place: place })
    }
}

impl Pool {
    fn inside(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (Instant, CancellationToken)>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn oldest(&self) -> Option<(Instant, u64)> {
        self.inside().first_key_value().map(|(number, (came, _))| (*came, *number))
    }

    fn send_oldest_away(&self) {
        let Some((came, number)) = self.oldest() else { return };
        if came.elapsed() >= GRACE
            && let Some((_, leave)) = self.inside().remove(&number)
        {
            leave.cancel();
        }
    }
}

/// A place in the pool; given back when dropped.
#[derive(Debug)]
pub struct Stranger {
    pool: Arc<Pool>,
    number: u64,
    leave: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Stranger {
    /// Is cancelled when the connection has to make room. Never after the place was given back.
    pub fn leave(&self) -> CancellationToken {
        self.leave.clone()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.pool.inside().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_when_its_time_is_up_and_not_sooner() {
        let pool = Strangers::new(2);
        let began = Instant::now();
        let oldest = pool.admit().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let second = pool.admit().await.unwrap();
        let admitted = tokio::spawn({
            let pool = pool.clone();
            async move { pool.admit().await.unwrap() }
        });
        oldest.leave().cancelled().await;
        assert!(began.elapsed() >= GRACE, "{:?}", began.elapsed());
        drop(oldest);
        let third = admitted.await.unwrap();
        assert!(!third.leave().is_cancelled());
        drop((second, third));
        assert!(pool.0.inside().is_empty());
    }

    #[tokio::test]
    async fn nobody_is_sent_away_while_nobody_waits_or_when_there_is_room_in_time() {
        let pool = Strangers::new(1);
        let first = pool.admit().await.unwrap();
        tokio::time::sleep(GRACE + Duration::from_millis(50)).await;
        assert!(!first.leave().is_cancelled(), "nobody waits");
        drop(first);
        let second = pool.admit().await.unwrap();
        let leave = second.leave();
        let admitted = tokio::spawn({
            let pool = pool.clone();
            async move { pool.admit().await.unwrap() }
        });
        tokio::task::yield_now().await;
        drop(second);
        admitted.await.unwrap();
        assert!(!leave.is_cancelled(), "it left by itself");
    }
}
