//! One call at a time: what each of the arbiter's calls says and what it leaves behind.

use std::time::Duration;

use super::*;

fn none(_: StreamId) {}

/// A bearer of 10 Mbit/s whose bytes are used up, and who used them.
fn drained() -> (Arbiter, StreamId) {
    let mut arbiter = Arbiter::new(Some(rate(10_000_000)), Shares::default(), at(0));
    let bulk = arbiter.join(Terms::new(Band::Background), at(0));
    assert_eq!(arbiter.chunk(bulk), 2500);
    assert_eq!(arbiter.ask(bulk, 1 << 20, at(0), none), Some(2500));
    (arbiter, bulk)
}

#[test]
fn a_chunk_is_granted_at_once_and_the_next_when_the_rate_brought_it() {
    let (mut arbiter, bulk) = drained();
    assert_eq!(arbiter.ask(bulk, 1 << 20, at(0), none), None);
    assert_eq!(arbiter.next(), Some(at(2 * MILLI)));
    let mut granted = vec![];
    arbiter.serve(at(2 * MILLI - 1), |id| granted.push(id));
    assert_eq!(granted, []);
    arbiter.serve(at(2 * MILLI), |id| granted.push(id));
    assert_eq!(granted, [bulk]);
    assert_eq!(arbiter.ask(bulk, 1 << 20, at(2 * MILLI), none), Some(2500));
    assert_eq!(arbiter.next(), None);
}

#[test]
fn a_strict_stream_does_not_wait_for_a_chunk_of_another_class() {
    let (mut arbiter, bulk) = drained();
    let terms = Terms { guaranteed: Some(rate(100_000)), ..Terms::new(Band::Conversational) };
    let voice = arbiter.join(terms, at(0));
    assert_eq!(arbiter.ask(bulk, 1 << 20, at(0), none), None);
    assert_eq!(arbiter.ask(voice, 160, at(0), none), Some(160));
    // Bulk pays for it.
    arbiter.serve(at(2 * MILLI), |_| panic!("160 bytes are missing"));
    assert_eq!(arbiter.next(), Some(at(2 * MILLI + 128_000)));
}

#[test]
fn above_its_guarantee_a_strict_stream_waits_its_turn() {
    let (mut arbiter, _) = drained();
    let terms = Terms { guaranteed: Some(rate(8_000)), ..Terms::new(Band::Conversational) };
    let voice = arbiter.join(terms, at(0));
    let burst: u64 = (0..50).map_while(|_| arbiter.ask(voice, 160, at(0), none)).sum();
    assert!(burst <= 2_500, "the reserve of one chunk: {burst}");
    assert_eq!(arbiter.ask(voice, 160, at(0), none), None);
}

#[test]
fn what_did_not_move_is_there_for_others() {
    let (mut arbiter, bulk) = drained();
    let other = arbiter.join(Terms::new(Band::Background), at(0));
    assert_eq!(arbiter.ask(other, 900, at(0), none), None);
    arbiter.give_back(bulk, 1000, at(0));
    let mut granted = vec![];
    arbiter.serve(at(0), |id| granted.push(id));
    assert_eq!(granted, [other]);
    // No more comes back than was granted.
    arbiter.give_back(bulk, 1 << 40, at(0));
    arbiter.give_back(bulk, 1 << 40, at(0));
    assert_eq!(arbiter.ask(other, 1 << 20, at(0), none), Some(900));
    assert_eq!(arbiter.ask(other, 1 << 20, at(0), none), None);
}

#[test]
fn a_stream_that_leaves_in_the_middle_of_a_grant_loses_nothing_of_the_bearer() {
    let (mut arbiter, bulk) = drained();
    let other = arbiter.join(Terms::new(Band::Background), at(0));
    assert_eq!(arbiter.ask(bulk, 2500, at(0), none), None);
    assert_eq!(arbiter.ask(other, 2500, at(0), none), None);
    let mut granted = vec![];
    let later = at(2 * MILLI);
    arbiter.serve(later, |id| granted.push(id));
    assert_eq!(granted.len(), 1);
    let (first, second) = if granted == [bulk] { (bulk, other) } else { (other, bulk) };
    arbiter.leave(first, later);
    arbiter.serve(later, |id| granted.push(id));
    assert_eq!(granted, [first, second]);
    assert_eq!(arbiter.ask(first, 1, later, none), None, "it is gone");
    // Its place is another's; its number is nobody's.
    let third = arbiter.join(Terms::new(Band::Background), later);
    arbiter.give_back(first, 1 << 30, later);
    assert_ne!(third, first);
    assert_eq!(arbiter.ask(third, 1, later, none), None);
}

#[test]
fn without_a_limit_nothing_waits_and_a_limit_may_come_and_go() {
    let mut arbiter = Arbiter::new(None, Shares::default(), at(0));
    let id = arbiter.join(Terms::new(Band::Background), at(0));
    assert_eq!((arbiter.chunk(id), arbiter.burst()), (u64::MAX, None));
    for _ in 0..100 {
        assert_eq!(arbiter.ask(id, 1 << 30, at(0), none), Some(1 << 30));
    }
    arbiter.set_capacity(Some(rate(8_000)), at(0));
    assert_eq!(arbiter.chunk(id), 1500);
    assert_eq!(arbiter.ask(id, 1 << 30, at(0), none), None, "no new burst");
    arbiter.set_capacity(None, at(0));
    let mut granted = vec![];
    arbiter.serve(at(0), |id| granted.push(id));
    assert_eq!(granted, [id]);
    assert!(arbiter.ask(id, 1, at(0), none).is_some());
}

#[test]
fn a_datagram_passes_whole_or_not_at_all() {
    // Trap 11: what cannot ever be granted is refused, and never passed by mistake.
    let (mut arbiter, bulk) = drained();
    let flood = arbiter.join(Terms::new(Band::Background), at(0));
    assert!(!arbiter.police(flood, 1 << 30, at(0), none));
    assert!(arbiter.police(flood, 1200, at(0), none), "its first comes seldom");
    assert!(!arbiter.police(flood, 1200, at(0), none));
    let (mut passed, mut dropped) = (0, 0);
    let mut now = 0;
    assert_eq!(arbiter.ask(bulk, 2500, at(0), none), None);
    for _ in 0..20_000 {
        now += 100_000;
        arbiter.serve(at(now), none);
        let _ = arbiter.ask(bulk, 2500, at(now), none);
        if arbiter.police(flood, 1200, at(now), none) { passed += 1200 } else { dropped += 1200 }
    }
    // Ten times its share was offered; it has about half of the bearer, as a connection has.
    let share = f64::from(passed) / 2_500_000.0;
    assert!((0.4..0.6).contains(&share) && dropped > 0, "{share}");
}

#[test]
fn a_rare_datagram_passes_beside_a_full_bearer_and_a_kept_turn_runs_out() {
    let (mut arbiter, bulk) = drained();
    let lookup = arbiter.join(Terms::new(Band::Background), at(0));
    let mut now = 100 * MILLI;
    let _ = arbiter.ask(bulk, 2500, at(now), none);
    let _ = arbiter.ask(bulk, 2500, at(now), none);
    for _ in 0..20 {
        assert!(arbiter.police(lookup, 80, at(now), none));
        for _ in 0..100 {
            now += MILLI;
            arbiter.serve(at(now), none);
            let _ = arbiter.ask(bulk, 2500, at(now), none);
        }
    }
    // Nothing asks any more: all that was kept for datagrams has come back.
    arbiter.withdraw(bulk, at(now));
    arbiter.serve(at(now + 60 * MILLI), none);
    arbiter.serve(at(now + 120 * MILLI), none);
    assert_eq!(arbiter.next(), None);
}

#[test]
fn the_first_datagram_of_a_new_flow_passes_beside_a_full_bearer_and_not_that_of_one_that_went_on_elsewhere() {
    let (mut arbiter, bulk) = drained();
    let mut now = 0;
    for is_rested in [true, false].repeat(10) {
        for _ in 0..100 {
            now += MILLI;
            arbiter.serve(at(now), none);
            let _ = arbiter.ask(bulk, 2500, at(now), none);
        }
        assert_eq!(arbiter.ask(bulk, 2500, at(now), none), None, "the bearer is full");
        let lookup = arbiter.join(Terms { is_rested, ..Terms::new(Band::Background) }, at(now));
        assert_eq!(arbiter.police(lookup, 80, at(now), none), is_rested);
        arbiter.leave(lookup, at(now));
    }
    // However many begin at once, all of them together have the share of what comes seldom.
    let many = (0..1_000).map(|_| arbiter.join(Terms::new(Band::Background), at(now))).collect::<Vec<_>>();
    let passed = many.iter().filter(|id| arbiter.police(**id, 80, at(now), none)).count();
    assert!((1..100).contains(&passed), "{passed}");
}

#[test]
fn terms_change_while_a_stream_waits() {
    let (mut arbiter, bulk) = drained();
    assert_eq!(arbiter.ask(bulk, 2500, at(0), none), None);
    let terms = Terms { guaranteed: Some(rate(1_000_000)), ..Terms::new(Band::Conversational) };
    let mut now = 0;
    arbiter.modify(bulk, terms, at(now));
    let mut granted = vec![];
    while granted.is_empty() && now < 40 * MILLI {
        now += 10_000;
        arbiter.serve(at(now), |id| granted.push(id));
    }
    assert_eq!(granted, [bulk]);
    assert!(now <= 20 * MILLI, "its guarantee begins when it is given: {now}");
    let maximum = Some(rate(80_000));
    arbiter.modify(bulk, Terms { maximum, ..Terms::new(Band::Background) }, at(now));
    assert_eq!(arbiter.ask(bulk, 2500, at(now), none), Some(2500));
    assert_eq!(arbiter.ask(bulk, 2500, at(now), none), None);
    let begun = now;
    while granted.len() < 2 && now < SECOND {
        now += 10_000;
        arbiter.serve(at(now), |id| granted.push(id));
    }
    assert!((148..152).contains(&((now - begun) / MILLI)), "1500 bytes at 80 kbit/s: {now} {begun}");
}

#[test]
fn a_band_is_named_by_class_priority_and_signalling() {
    use crate::TrafficClass as Class;
    assert_eq!(Band::of(Class::Conversational, Some(2), true), Band::Conversational);
    assert_eq!(Band::of(Class::Interactive, None, false), Band::Interactive3);
    assert_eq!(Band::of(Class::Interactive, Some(1), false), Band::Interactive1);
    assert_eq!(Band::of(Class::Interactive, Some(1), true), Band::Signalling);
    assert_eq!(Band::of(Class::Background, Some(1), true), Band::Background);
}

#[test]
fn a_stream_that_went_on_elsewhere_begins_without_a_burst() {
    let (rate, now) = (BitRate::bits_per_second(8_000_000).unwrap(), Instant::from_nanos(SECOND));
    let mut arbiter = Arbiter::new(BitRate::bits_per_second(80_000_000), Shares::default(), now);
    let terms = Terms { maximum: Some(rate), burst: 50_000, ..Terms::new(Band::Background) };
    let rested = arbiter.join(terms, now);
    let tired = arbiter.join(Terms { is_rested: false, ..terms }, now);
    assert!(arbiter.ask(rested, 1500, now, none).is_some());
    assert_eq!(arbiter.ask(tired, 1500, now, none), None);
    // 1,500 bytes at a million a second.
    let later = now.after(Duration::from_micros(1500));
    arbiter.serve(later, none);
    assert_eq!(arbiter.ask(tired, 1500, later, none), Some(1500));
}
