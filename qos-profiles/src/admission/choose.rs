//! Who gives way: the fewest that free enough in both directions, and of equally few those that are missed least. A
//! search in the order of who is missed least; the best that the rest could still free tells early where it leads nowhere.
//! With one short direction that foresight is exact, and the search never turns back.

use super::Held;

/// Somebody who may be displaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<K> {
    key: K,
    level: u8,
    up: u64,
    down: u64,
}

impl<K: Copy> From<&Held<K>> for Candidate<K> {
    fn from(held: &Held<K>) -> Self {
        let (up, down) = (held.guaranteed.up, held.guaranteed.down);
        Self { key: held.key, level: held.claim.level, up, down }
    }
}

/// What has to be freed, bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) up: u128,
    pub(super) down: u128,
}

impl Need {
    fn less<K>(self, freed: &Candidate<K>) -> Self {
        Self {
            up: self.up.saturating_sub(freed.up.into()),
            down: self.down.saturating_sub(freed.down.into()),
        }
    }

    pub(super) const fn is_met(self) -> bool {
        self.up == 0 && self.down == 0
    }
}

/// So many looks at a candidate are made before the search gives up: some milliseconds.
const WORK: u32 = 1 << 20;

/// The fewest candidates that free what is needed, whoever is missed least first; `None` when all together do not.
pub(super) fn fewest<K: Copy + Ord>(mut candidates: Vec<Candidate<K>>, need: Need) -> Option<Vec<K>> {
    candidates.retain(|one| (need.up > 0 && one.up > 0) || (need.down > 0 && one.down > 0));
    candidates.sort_by(|a, b| b.level.cmp(&a.level).then(b.key.cmp(&a.key)));
    if !candidates.iter().fold(need, Need::less).is_met() {
        return None;
    }
    let mut work = WORK;
    for count in 1..=candidates.len() {
        let mut chosen = Vec::with_capacity(count);
        match search(&candidates, need, count, &mut chosen, &mut work) {
            Found::Yes => return Some(chosen),
            Found::No => {}
            Found::TooMuchWork => return Some(one_by_one(&candidates, need)),
        }
    }
    None
}

enum Found {
    Yes,
    No,
    TooMuchWork,
}

/// Chooses exactly `count` of the candidates, the first ones that will do.
fn search<K: Copy>(
    candidates: &[Candidate<K>],
    need: Need,
    count: usize,
    chosen: &mut Vec<K>,
    work: &mut u32,
) -> Found {
    if count == 0 {
        return if need.is_met() { Found::Yes } else { Found::No };
    }
    let mut rest = candidates;
    while rest.len() >= count {
        let looks = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        match work.checked_sub(looks) {
            Some(left) => *work = left,
            None => return Found::TooMuchWork,
        }
        // The best that is left, counted for each direction by itself, is not enough: nothing further on is.
        if most(rest, count, |one| one.up) < need.up || most(rest, count, |one| one.down) < need.down {
            return Found::No;
        }
        let Some((first, others)) = rest.split_first() else { return Found::No };
        chosen.push(first.key);
        match search(others, need.less(first), count.saturating_sub(1), chosen, work) {
            Found::No => drop(chosen.pop()),
            found => return found,
        }
        rest = others;
    }
    Found::No
}

/// The most that `count` of them free in one direction.
fn most<K>(candidates: &[Candidate<K>], count: usize, freed: fn(&Candidate<K>) -> u64) -> u128 {
    let mut all: Vec<u64> = candidates.iter().map(freed).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.into_iter().take(count).map(u128::from).fold(0, u128::saturating_add)
}

/// One after the other until it is enough; then whoever turns out not to be needed stays, the most important first.
fn one_by_one<K: Copy>(candidates: &[Candidate<K>], need: Need) -> Vec<K> {
    let mut going: Vec<&Candidate<K>> = Vec::new();
    let mut left = need;
    for one in candidates {
        if left.is_met() {
            break;
        }
        left = left.less(one);
        going.push(one);
    }
    let mut at = going.len();
    while let Some(next) = at.checked_sub(1) {
        at = next;
        let others = going.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, one)| *one);
        if others.fold(need, |need, one| need.less(one)).is_met() {
            going.remove(at);
        }
    }
    going.into_iter().map(|one| one.key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(key: u32, up: u64, down: u64) -> Candidate<u32> {
        Candidate { key, level: 15, up, down }
    }

    #[test]
    fn a_search_that_takes_too_long_ends_with_a_set_that_will_do_and_that_none_can_be_left_out_of() {
        // Each frees the same in sum, so no set is foreseeably better than another.
        let candidates: Vec<_> =
            (0..200).map(|n| candidate(n, 1 << (n % 40), (1 << 40) - (1 << (n % 40)))).collect();
        let need = Need { up: 0x55_5555_5555, down: (1 << 40) * 40 };
        let found = fewest(candidates.clone(), need).unwrap();
        let freed = |without: Option<u32>| {
            let keys = found.iter().filter(|key| Some(**key) != without);
            keys.filter_map(|key| candidates.iter().find(|one| one.key == *key)).fold(need, Need::less)
        };
        assert!(freed(None).is_met());
        for key in &found {
            assert!(!freed(Some(*key)).is_met(), "{key} goes without need");
        }
    }

    #[test]
    fn a_thousand_in_one_direction_are_searched_exactly() {
        let candidates: Vec<_> = (0..1000).map(|n| candidate(n, u64::from(n) + 1, 0)).collect();
        let found = fewest(candidates, Need { up: 2_500, down: 0 }).unwrap();
        // Three are the fewest, and of all threes these were admitted last.
        assert_eq!(found, [999, 998, 997]);
    }

    #[test]
    fn greedy_leaves_nobody_out_that_is_needed_nor_takes_one_that_is_not() {
        let all = [candidate(3, 1, 0), candidate(2, 5, 0), candidate(1, 5, 5)];
        assert_eq!(one_by_one(&all, Need { up: 5, down: 5 }), [1]);
        assert_eq!(one_by_one(&all, Need { up: 6, down: 0 }), [3, 2]);
    }
}
