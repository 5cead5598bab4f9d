//! Random worlds: whatever streams come, go and change, the envelope holds and nothing is stuck.

use super::*;

fn terms() -> impl Strategy<Value = Terms> {
    let band = prop_oneof![
        Just(Band::Signalling),
        Just(Band::Conversational),
        Just(Band::Streaming),
        Just(Band::Interactive1),
        Just(Band::Interactive2),
        Just(Band::Interactive3),
        Just(Band::Background)
    ];
    let bits = || prop::option::of(8_000..5_000_000_u64);
    (band, bits(), bits(), 0..6_000_u64, 0..4_u16, prop::bool::ANY, 0..4_u64).prop_map(
        |(band, guaranteed, maximum, burst, weight, in_group, bundle)| Terms {
            is_rested: weight % 2 == 0,
            band,
            guaranteed: guaranteed.map(rate),
            maximum: maximum.map(rate),
            burst,
            weight,
            group: in_group.then_some(Group(1)),
            bundle: (bundle < 2).then_some(Bundle(bundle)),
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Run(u64),
    Join(Terms, u64),
    Modify(usize, Terms),
    Leave(usize),
    Withhold(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..200 * MILLI).prop_map(Step::Run),
        2 => (terms(), 1..100_000_u64).prop_map(|(terms, write)| Step::Join(terms, write)),
        1 => (0..20_usize, terms()).prop_map(|(n, terms)| Step::Modify(n, terms)),
        1 => (0..20_usize).prop_map(Step::Leave),
        1 => (0..20_usize, 0..5_000_u64).prop_map(|(n, bytes)| Step::Withhold(n, bytes)),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_window_holds_more_than_rate_and_burst_and_none_is_stuck(
        bits in 64_000..20_000_000_u64,
        late in 0..8 * MILLI,
        steps in steps(),
    ) {
        let mut world = World::new(bits, late);
        world.arbiter.set_group(Group(1), Some(rate(2_000_000)), 5_000, at(world.now));
        for step in steps {
            match step {
                Step::Run(nanos) => world.run(nanos),
                Step::Join(terms, write) if world.sources.len() < 20 => {
                    world.hungry(terms, write);
                }
                Step::Join(..) => {}
                Step::Modify(n, terms) => {
                    if let Some(source) = world.sources.get(n) {
                        world.arbiter.modify(source.id, terms, at(world.now));
                    }
                }
                Step::Leave(n) => {
                    if n < world.sources.len() {
                        world.arbiter.leave(world.sources[n].id, at(world.now));
                        world.sources[n].at = None;
                    }
                }
                // As a socket does that takes nothing: not even the last chunk, at the instant of its grant.
                Step::Withhold(n, bytes) => {
                    if let Some(source) = world.sources.get(n)
                        && let Some(entry) = world.log.last_mut()
                        && (entry.0, entry.1) == (world.now, n)
                    {
                        let unused = bytes.min(entry.2);
                        entry.2 -= unused;
                        world.arbiter.give_back(source.id, unused, at(world.now));
                    }
                }
            }
        }
        let excess = world.excess(bits, |_| true);
        let burst = i128::from(world.arbiter.burst().unwrap());
        prop_assert!(excess <= burst, "{} above rate x T, burst {}", excess, burst);
        // Whoever is still there moves something within half a minute, and all of the bearer is used.
        let live: Vec<usize> = (0..world.sources.len())
            .filter(|n| world.arbiter.streams.get(world.sources[*n].id).is_some())
            .collect();
        let moved = world.measure(60 * SECOND);
        let terms = |n: &usize| world.arbiter.streams.get(world.sources[*n].id).unwrap().terms;
        let promised = |n: &usize| match terms(n) {
            Terms { guaranteed: Some(rate), .. } => rate.get(),
            Terms { band, .. } if band.is_strict() => bits / 20,
            _ => 0,
        };
        // Where more is promised than there is, a turn can take longer than this looks.
        if live.iter().map(promised).sum::<u64>() < bits * 9 / 10 {
            for n in &live {
                prop_assert!(moved[*n] > 0, "{} starves: {:?} {:?}", n, terms(n), moved);
            }
        }
        let is_open = |n: &usize| {
            let terms = terms(n);
            terms.maximum.is_none() && terms.group.is_none() && terms.bundle.is_none() && world.sources[*n].write > 1500
        };
        if live.iter().any(is_open) {
            let used = moved.iter().sum::<u64>() as f64 * 8.0 / (bits as f64 * 60.0);
            prop_assert!(used > 0.98, "{} of the bearer is used", used);
        }
    }
}

#[test]
fn the_same_world_runs_the_same_way_twice() {
    let run = || {
        let mut world = World::new(3_000_000, 2 * MILLI);
        for n in 0..7_u64 {
            world.hungry(Terms::new(Band::Interactive1), 500 + 1000 * n);
        }
        world.run(3 * SECOND);
        (world.sources.iter().map(|source| source.moved).collect::<Vec<_>>(), world.log.len())
    };
    assert_eq!(run(), run());
}
