//! Who is not to be asked for until when. A flow whose session the network ended is not asked for again at once, and a server
//! that has had enough is left alone. Values in, values out: the time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// What is blocked, each until its time.
#[derive(Debug)]
pub(super) struct Backoff<K>(BTreeMap<K, (Instant, &'static str)>);

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Backoff<K> {
    /// Blocks it for so long from now on, for that reason; a shorter block takes the place of a longer one.
    pub(super) fn block(&mut self, key: K, now: Instant, lasts: Duration, why: &'static str) {
        self.0.retain(|_, (until, _)| now < *until);
        while self.0.len() >= MOST {
            let Some(first) = self.0.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone())
            else {
                break;
            };
            self.0.remove(&first);
        }
        self.0.insert(key, (now + lasts, why));
    }

    /// For how much longer it is blocked, and why.
    pub(super) fn blocked(&self, key: &K, now: Instant) -> Option<(Duration, &'static str)> {
        let (until, why) = self.0.get(key)?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some((left, *why))
    }
}

/// More are not remembered: the one whose time is over first is forgotten.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_ends_by_itself_and_there_are_never_more_than_can_be_kept() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::default();
        backoff.block(0, now, second * 360, "network-terminated");
        assert_eq!(backoff.blocked(&0, now + second), Some((second * 359, "network-terminated")));
        assert_eq!(backoff.blocked(&0, now + second * 360), None);
        assert_eq!(backoff.blocked(&1, now), None);
        backoff.block(0, now, second * 30, "network-terminated");
        assert_eq!(backoff.blocked(&0, now + second * 31), None, "it could be given back");
        for key in 0..2000_u32 {
            backoff.block(key, now, second * (key + 1), "conflict");
        }
        assert_eq!(backoff.0.len(), MOST);
        assert!(backoff.blocked(&0, now).is_none() && backoff.blocked(&1999, now).is_some());
    }
}
