//! Bytes that several flows may still move between them: the part of a budget that is written down as used and was not
//! used yet. Asked before each write, as a meter is; who owns the budget is told in time to put more in. Decides nothing
//! about the budget itself, and keeps no flow waiting that has a part of it left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Shared by the flows of one budget.
#[derive(Debug)]
pub struct Allowance {
    left: AtomicU64,
    /// Less than this: more is wanted.
    low: u64,
    is_closed: AtomicBool,
    is_low: Arc<Notify>,
}

/// What may move now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes, at least one; what is not moved of them is given back.
    Bytes(u64),
    /// None yet.
    Later,
    /// None any more.
    Never,
}

impl Allowance {
    /// An empty one. `is_low` is told when a flow has found less than `low` in it.
    pub fn new(low: u64, is_low: Arc<Notify>) -> Self {
        Self { left: AtomicU64::new(0), low, is_closed: AtomicBool::new(false), is_low }
    }

    /// Takes up to so many bytes.
    pub fn take(&self, wanted: u64) -> Taken {
        let take = |left: u64| (left > 0).then(|| left - left.min(wanted));
        match self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take) {
            Ok(before) => {
                let taken = before.min(wanted);
                if before - taken < self.low {
                    self.is_low.notify_one();
                }
                Taken::Bytes(taken)
            }
            Err(_) if self.is_closed.load(Ordering::Acquire) => Taken::Never,
            Err(_) => {
                self.is_low.notify_one();
                Taken::Later
            }
        }
    }

    /// Gives back what was taken and not moved.
    pub fn give_back(&self, unused: u64) {
        self.left.fetch_add(unused, Ordering::AcqRel);
    }

    /// Puts more in.
    pub fn put(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::AcqRel);
    }

    /// What is left in it.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    /// Takes out all that is left.
    pub fn empty(&self) -> u64 {
        self.left.swap(0, Ordering::AcqRel)
    }

    /// Says that nothing more comes, or that something may. What is left can be used up all the same.
    pub fn close(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Ordering::Release);
    }

    /// Whether less is left than there should be.
    pub fn is_low(&self) -> bool {
        self.left() < self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(low: u64) -> Allowance {
        Allowance::new(low, Arc::default())
    }

    #[test]
    fn never_more_is_taken_than_was_put_in() {
        let allowance = empty(0);
        assert_eq!(allowance.take(1), Taken::Later);
        allowance.put(10);
        assert_eq!(allowance.take(7), Taken::Bytes(7));
        assert_eq!(allowance.take(7), Taken::Bytes(3));
        assert_eq!(allowance.take(7), Taken::Later);
        allowance.give_back(2);
        allowance.close(true);
        assert_eq!(allowance.take(7), Taken::Bytes(2), "what is left can be used up");
        assert_eq!(allowance.take(7), Taken::Never);
        allowance.close(false);
        allowance.put(5);
        assert_eq!((allowance.empty(), allowance.left()), (5, 0));
    }

    #[test]
    fn takers_that_race_share_it_exactly() {
        let allowance = empty(0);
        allowance.put(1_000_000);
        let take = || {
            let mut sum = 0;
            while let Taken::Bytes(n) = allowance.take(7) {
                allowance.give_back(n / 3);
                sum += n - n / 3;
            }
            sum
        };
        let sums: Vec<u64> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).collect()
        });
        assert_eq!(sums.iter().sum::<u64>() + allowance.left(), 1_000_000);
    }

    #[tokio::test]
    async fn the_owner_is_told_before_it_is_empty() {
        let bell = Arc::new(Notify::new());
        let allowance = Allowance::new(5, Arc::clone(&bell));
        allowance.put(10);
        allowance.take(5);
        let told = tokio::time::timeout(std::time::Duration::from_millis(20), bell.notified()).await;
        assert!(told.is_err() && !allowance.is_low());
        allowance.take(1);
        bell.notified().await;
        assert!(allowance.is_low());
    }
}
