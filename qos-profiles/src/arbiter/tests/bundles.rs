//! Flows that have the rates of one stream together.

use super::*;

const ONE: Option<Bundle> = Some(Bundle(1));

fn share(moved: &[u64], bits: u64, nanos: u64) -> f64 {
    moved.iter().sum::<u64>() as f64 * 8.0 * 1e11 / (bits as f64 * nanos as f64)
}

#[test]
fn a_maximum_and_its_burst_hold_for_all_flows_together() {
    let mut world = World::new(100_000_000, 2 * MILLI);
    let terms =
        Terms { bundle: ONE, maximum: Some(rate(1_000_000)), burst: 16_000, ..Terms::new(Band::Streaming) };
    for write in [200, 1_400, 16_384, 1 << 20] {
        world.hungry(terms, write);
    }
    let other = world.hungry(Terms { bundle: Some(Bundle(2)), ..terms }, 16_384);
    world.run(SECOND);
    let moved = world.measure(20 * SECOND);
    for moved in [&moved[..other], &moved[other..]] {
        let kept = share(moved, 1_000_000, 20 * SECOND);
        assert!((99.0..100.5).contains(&kept), "{kept}");
    }
    assert!(jain(&moved[..other]) >= 0.98, "whatever they ask for at once: {moved:?}");
    let excess = world.excess(1_000_000, |n| n < other);
    assert!(excess <= 16_000 + 1_500, "{excess}");
}

#[test]
fn a_guarantee_is_kept_and_is_not_had_twice() {
    let kept_with = |flows: usize| {
        let mut world = World::new(10_000_000, 2 * MILLI);
        let terms =
            Terms { bundle: ONE, guaranteed: Some(rate(2_000_000)), ..Terms::new(Band::Conversational) };
        for n in 0..flows {
            world.hungry(terms, 16_384 >> n);
        }
        for n in 0..20_u64 {
            world.hungry(Terms::new(Band::Interactive1), 1_400 + 997 * n);
        }
        world.run(2 * SECOND);
        let moved = world.measure(10 * SECOND);
        (share(&moved[..flows], 2_000_000, 10 * SECOND), jain(&moved[..flows]))
    };
    let (alone, _) = kept_with(1);
    let (together, fair) = kept_with(6);
    assert!(alone >= 99.0 && together >= 99.0, "{alone} {together}");
    // Two thirds of what is not guaranteed are the share of their band.
    assert!(together <= 100.0 + 267.0 + 3.0, "{together}");
    assert!(fair >= 0.98, "{fair}");
}

#[test]
fn ten_flows_of_a_stream_have_no_more_of_the_bearer_than_one() {
    let mut world = World::new(20_000_000, 2 * MILLI);
    for _ in 0..10 {
        world.hungry(Terms { bundle: ONE, ..Terms::new(Band::Interactive2) }, 16_384);
    }
    world.hungry(Terms { bundle: Some(Bundle(2)), ..Terms::new(Band::Interactive2) }, 16_384);
    world.hungry(Terms::new(Band::Interactive2), 16_384);
    world.run(SECOND);
    let moved = world.measure(10 * SECOND);
    let streams = [moved[..10].iter().sum(), moved[10], moved[11]];
    assert!(jain(&streams) >= 0.98, "{streams:?}");
    assert!(share(&moved, 20_000_000, 10 * SECOND) > 98.0);
}

#[test]
fn a_flow_that_comes_again_finds_what_the_last_one_left() {
    let mut world = World::new(100_000_000, 0);
    let terms =
        Terms { bundle: ONE, maximum: Some(rate(800_000)), burst: 50_000, ..Terms::new(Band::Background) };
    for _ in 0..50 {
        let n = world.hungry(terms, 16_384);
        world.run(20 * MILLI);
        world.arbiter.leave(world.sources[n].id, at(world.now));
        world.sources[n].at = None;
    }
    let excess = world.excess(800_000, |_| true);
    assert!(excess <= 50_000 + 1_500, "{excess}");
    // After a pause there is a burst again, and nothing is kept of who is gone.
    world.now += 2 * SECOND;
    world.hungry(Terms { bundle: Some(Bundle(9)), ..terms }, 16_384);
    assert_eq!(world.arbiter.streams.bundles.len(), 1);
}

#[test]
fn other_rates_hold_for_all_flows_at_once_and_whoever_waits_goes_on() {
    let mut world = World::new(100_000_000, MILLI);
    let terms =
        |bits| Terms { bundle: ONE, maximum: Some(rate(bits)), burst: 5_000, ..Terms::new(Band::Streaming) };
    let flows = [world.hungry(terms(100_000), 16_384), world.hungry(terms(100_000), 16_384)];
    world.run(SECOND);
    for n in flows {
        let id = world.sources[n].id;
        world.arbiter.modify(id, Terms { is_rested: false, ..terms(4_000_000) }, at(world.now));
    }
    let kept = share(&world.measure(5 * SECOND), 4_000_000, 5 * SECOND);
    assert!((98.0..101.0).contains(&kept), "{kept}");
    // One of them leaves while it waits, and takes nobody's turn with it.
    world.arbiter.leave(world.sources[0].id, at(world.now));
    world.sources[0].at = None;
    let kept = share(&world.measure(5 * SECOND), 4_000_000, 5 * SECOND);
    assert!((98.0..101.0).contains(&kept), "{kept}");
}

#[test]
fn datagrams_and_chunks_of_one_stream_keep_to_its_maximum() {
    let mut world = World::new(100_000_000, 0);
    let terms =
        Terms { bundle: ONE, maximum: Some(rate(1_000_000)), burst: 5_000, ..Terms::new(Band::Interactive1) };
    world.hungry(terms, 16_384);
    let datagrams = world.arbiter.join(terms, at(world.now));
    let (mut passed, mut chunks) = (0, 0);
    // Twice what there is.
    for _ in 0..2_000 {
        chunks += world.measure(4 * MILLI)[0];
        let mut woken = vec![];
        let passes = world.arbiter.police(datagrams, 1_000, at(world.now), |id| woken.push(id));
        passed += if passes { 1_000 } else { 0 };
        world.wake(&woken);
    }
    let kept = share(&[passed, chunks], 1_000_000, 8 * SECOND);
    assert!((97.0..102.0).contains(&kept), "{kept}: {passed} {chunks}");
    assert!(jain(&[passed, chunks]) > 0.9, "{passed} {chunks}");
}
