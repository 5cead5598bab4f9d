//! Admission against an oracle that tries every set of streams.

use proptest::prelude::*;

use super::*;

fn held() -> impl Strategy<Value = Vec<Held<usize>>> {
    let one = (0..6_u64, 0..6_u64, 1..5_u8, any::<bool>(), any::<bool>());
    prop::collection::vec(one, 0..9).prop_map(|all| {
        let streams = all.into_iter().enumerate();
        streams
            .map(|(key, (up, down, level, may_displace, may_be_displaced))| Held {
                key,
                guaranteed: Rates { up, down },
                claim: Claim { level, may_displace, may_be_displaced },
            })
            .collect()
    })
}

fn reservable() -> impl Strategy<Value = Reservable> {
    let side = || prop::option::weighted(0.85, 0..20_u64);
    (side(), side()).prop_map(|(up, down)| Reservable { up, down })
}

fn claim() -> impl Strategy<Value = Claim> {
    (1..5_u8, any::<bool>(), any::<bool>()).prop_map(|(level, may_displace, may_be_displaced)| Claim {
        level,
        may_displace,
        may_be_displaced,
    })
}

/// Whether these together, and the request, fit in each direction that the request wants something of.
fn fits(reservable: Reservable, held: &[Held<usize>], gone: u32, wanted: Rates) -> bool {
    let stay = || held.iter().filter(|one| gone >> one.key & 1 == 0);
    let up: u64 = stay().map(|one| one.guaranteed.up).sum();
    let down: u64 = stay().map(|one| one.guaranteed.down).sum();
    let side = |most: Option<u64>, sum: u64, wanted: u64| {
        wanted == 0 || most.is_none_or(|most| sum + wanted <= most)
    };
    side(reservable.up, up, wanted.up) && side(reservable.down, down, wanted.down)
}

/// The keys of a set, whoever is missed least first.
fn keys(held: &[Held<usize>], set: u32) -> Vec<usize> {
    let mut going: Vec<_> = held.iter().filter(|one| set >> one.key & 1 == 1).collect();
    going.sort_by_key(|one| std::cmp::Reverse((one.claim.level, one.key)));
    going.iter().map(|one| one.key).collect()
}

/// Every set is tried; of those that will do the best is taken.
fn oracle(reservable: Reservable, held: &[Held<usize>], wanted: Rates, claim: Claim) -> Option<Vec<usize>> {
    let may_go = |set: u32| {
        held.iter()
            .filter(|one| set >> one.key & 1 == 1)
            .all(|one| claim.may_displace && one.claim.may_be_displaced && one.claim.level > claim.level)
    };
    let sets = (0..1_u32 << held.len()).filter(|set| may_go(*set) && fits(reservable, held, *set, wanted));
    let missed = |set: &u32| {
        let order: Vec<_> =
            keys(held, *set).iter().map(|key| std::cmp::Reverse((held[*key].claim.level, *key))).collect();
        (set.count_ones(), order)
    };
    sets.min_by_key(missed).map(|set| keys(held, set))
}

/// Every set that fits is tried; the one that keeps the most important is taken.
fn retained(reservable: Reservable, held: &[Held<usize>]) -> Vec<usize> {
    let mut order: Vec<_> = held.iter().collect();
    order.sort_by_key(|one| (one.claim.may_be_displaced, one.claim.level, one.key));
    let fit = |gone: u32| {
        let stay = || held.iter().filter(|one| gone >> one.key & 1 == 0);
        reservable.up.is_none_or(|most| stay().map(|one| one.guaranteed.up).sum::<u64>() <= most)
            && reservable.down.is_none_or(|most| stay().map(|one| one.guaranteed.down).sum::<u64>() <= most)
    };
    let kept = |gone: &u32| order.iter().map(|one| gone >> one.key & 1 == 0).collect::<Vec<bool>>();
    let best = (0..1_u32 << held.len()).filter(|gone| fit(*gone)).max_by_key(kept).unwrap();
    order.iter().rev().map(|one| one.key).filter(|key| best >> key & 1 == 1).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn admission_is_what_trying_every_set_gives(
        reservable in reservable(),
        held in held(),
        (up, down) in (0..8_u64, 0..8_u64),
        claim in claim(),
    ) {
        let wanted = Rates { up, down };
        let expected = oracle(reservable, &held, wanted, claim);
        match admit(reservable, &held, wanted, claim) {
            Admission::Admitted(displaced) => prop_assert_eq!(Some(displaced), expected),
            Admission::Refused(missing) => {
                prop_assert_eq!(None, expected);
                prop_assert!(missing != Rates::default());
            }
        }
        prop_assert_eq!(admit(reservable, &held, Rates::default(), claim), Admission::Admitted(Vec::new()));
    }

    #[test]
    fn readmission_keeps_what_trying_every_set_keeps(reservable in reservable(), held in held()) {
        prop_assert_eq!(readmit(reservable, &held), retained(reservable, &held));
    }

    #[test]
    fn after_an_admission_all_guarantees_fit_again(
        reservable in reservable(),
        held in held(),
        (up, down) in (1..8_u64, 1..8_u64),
        claim in claim(),
    ) {
        let wanted = Rates { up, down };
        let lost = readmit(reservable, &held);
        let held: Vec<_> = held.into_iter().filter(|one| !lost.contains(&one.key)).collect();
        if let Admission::Admitted(displaced) = admit(reservable, &held, wanted, claim) {
            let mut after: Vec<_> = held.into_iter().filter(|one| !displaced.contains(&one.key)).collect();
            after.push(Held { key: usize::MAX, guaranteed: wanted, claim });
            prop_assert_eq!(readmit(reservable, &after), Vec::<usize>::new());
        }
    }
}

fn one(key: usize, up: u64, level: u8) -> Held<usize> {
    let claim = Claim { level, may_displace: false, may_be_displaced: true };
    Held { key, guaranteed: Rates { up, down: 0 }, claim }
}

const STRONG: Claim = Claim { level: 2, may_displace: true, may_be_displaced: false };

fn up(most: u64) -> Reservable {
    Reservable { up: Some(most), down: None }
}

#[test]
fn nobody_gives_way_to_an_equal_or_when_it_would_not_suffice() {
    let wanted = Rates { up: 60, down: 0 };
    let same = [one(0, 50, 2), one(1, 50, 1)];
    assert_eq!(admit(up(100), &same, wanted, STRONG), Admission::Refused(Rates { up: 60, down: 0 }));
    let too_little = [one(0, 50, 2), one(1, 50, 9)];
    assert_eq!(admit(up(100), &too_little, wanted, STRONG), Admission::Refused(Rates { up: 60, down: 0 }));
    let mut safe = one(1, 60, 9);
    safe.claim.may_be_displaced = false;
    assert_eq!(admit(up(100), &[safe], wanted, STRONG), Admission::Refused(Rates { up: 20, down: 0 }));
    let weak = Claim { may_displace: false, ..STRONG };
    assert_eq!(admit(up(100), &[one(1, 60, 9)], wanted, weak), Admission::Refused(Rates { up: 20, down: 0 }));
}

#[test]
fn the_fewest_go_then_the_least_important_then_the_latest() {
    let wanted = Rates { up: 40, down: 0 };
    // One of the middle spares two of the lowest.
    let held = [one(0, 20, 9), one(1, 20, 9), one(2, 40, 5)];
    assert_eq!(admit(up(80), &held, wanted, STRONG), Admission::Admitted(vec![2]));
    let held = [one(0, 40, 9), one(1, 40, 5)];
    assert_eq!(admit(up(80), &held, wanted, STRONG), Admission::Admitted(vec![0]));
    let held = [one(0, 40, 9), one(1, 40, 9)];
    assert_eq!(admit(up(80), &held, wanted, STRONG), Admission::Admitted(vec![1]));
}

#[test]
fn huge_guarantees_do_not_wrap_around() {
    let all = u64::MAX;
    let held = [one(0, all, 9), one(1, all, 9)];
    let wanted = Rates { up: all, down: 0 };
    assert_eq!(admit(up(all), &held, wanted, STRONG), Admission::Admitted(vec![1, 0]));
}

#[test]
fn the_reservable_share_is_exact_and_never_more_than_all() {
    let share = |percent| Reservable::of(Some(u64::MAX), Some(1_001), percent);
    assert_eq!(share(100), Reservable { up: Some(u64::MAX), down: Some(1_001) });
    assert_eq!(share(255), share(100));
    assert_eq!(share(80).down, Some(800));
    assert_eq!(share(0), Reservable { up: Some(0), down: Some(0) });
}
