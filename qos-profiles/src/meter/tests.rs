//! The meter against a slow model that knows no bucket: it keeps every movement and looks through every interval.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn rate(bits: u64) -> BitRate {
    BitRate::bits_per_second(bits).unwrap()
}

/// "At most burst + rate x T in any interval of length T", word for word. All numbers are bits x 10^9.
struct Model {
    rate: i128,
    burst: i128,
    moved: Vec<(u64, i128)>,
}

impl Model {
    /// The most bytes that may still move at `now` so that no interval that ends at `now` holds too much.
    fn room(&self, now: u64) -> u64 {
        let mut room = self.burst;
        let mut since = 0;
        for (when, bytes) in self.moved.iter().rev() {
            since += bytes * 8 * i128::from(SECOND);
            room = room.min(self.burst + self.rate * i128::from(now - when) - since);
        }
        u64::try_from(room / (8 * i128::from(SECOND))).expect("an interval held too much")
    }
}

#[derive(Clone, Debug)]
struct Step {
    wait: u64,
    ask: u64,
    moves: u64,
    takes: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![Just(0), 0..1000_u64, 0..20 * SECOND / 1000, 0..3 * SECOND];
    let ask = prop_oneof![0..100_u64, 0..10_000_u64, Just(u64::from(u32::MAX))];
    let takes = prop_oneof![4 => Just(0), 1 => 0..SECOND / 100];
    let step = (wait, ask, 0..=100_u64, takes).prop_map(|(wait, ask, moves, takes)| Step {
        wait,
        ask,
        moves,
        takes,
    });
    prop::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn the_meter_grants_exactly_what_every_interval_allows(
        bits in prop_oneof![1..100_000_u64, 1..10_000_000_000_u64, Just(BitRate::MAX), Just(299_999_999)],
        burst in 1500..200_000_u64,
        steps in steps(),
    ) {
        let mut now = 7 * SECOND;
        let mut meter = Meter::new(rate(bits), burst, at(now));
        let mut model = Model {
            rate: i128::from(bits),
            burst: i128::from(burst) * 8 * i128::from(SECOND),
            moved: Vec::new(),
        };
        for Step { wait, ask, moves, takes } in steps {
            now += wait;
            let room = model.room(now);
            match meter.ask(at(now), ask) {
                Grant::Advance(k) => {
                    prop_assert_eq!(k, ask.min(room));
                    prop_assert!(k >= ask.min(meter.quantum()));
                    // The write may take time, and may move less than was granted; it moves when it ends.
                    now += takes;
                    let moved = k * moves / 100;
                    meter.refund(at(now), k - moved);
                    model.moved.push((now, i128::from(moved)));
                }
                Grant::WaitUntil(until) => {
                    let least = ask.min(meter.quantum());
                    prop_assert!(room < least);
                    // The instant is the first at which it is allowed: not one nanosecond late or early.
                    prop_assert!(model.room(until.as_nanos()) >= least);
                    prop_assert!(model.room(until.as_nanos() - 1) < least);
                    now = until.as_nanos();
                    prop_assert_eq!(meter.clone().ask(at(now), least), Grant::Advance(least));
                }
            }
        }
    }

    #[test]
    fn refunds_never_create_tokens(
        burst in 1500..100_000_u64,
        claims in prop::collection::vec((0..200_000_u64, 0..400_000_u64), 1..50),
    ) {
        // At 1 bit/s and with no time passing, all that ever moves is the burst, whatever is claimed back.
        let mut meter = Meter::new(rate(1), burst, at(0));
        let mut left = burst;
        for (ask, claim) in claims {
            if let Grant::Advance(k) = meter.ask(at(0), ask) {
                prop_assert!(k <= left);
                meter.refund(at(0), claim);
                meter.refund(at(0), claim);
                left -= k - claim.min(k);
            }
        }
    }

    #[test]
    fn the_long_run_has_no_error(bits in 1000..2_000_000_000_u64, burst in 1500..100_000_u64, ask in 1..70_000_u64) {
        let mut meter = Meter::new(rate(bits), burst, at(0));
        let (mut now, mut moved) = (at(0), 0_u128);
        for _ in 0..3000 {
            match meter.ask(now, ask) {
                Grant::Advance(k) => moved += u128::from(k),
                Grant::WaitUntil(until) => {
                    // A stream that is always hungry has had, at each wait, all but one quantum of what it was due.
                    let due = u128::from(burst) * BYTE + u128::from(now.as_nanos()) * u128::from(bits);
                    prop_assert!(moved * BYTE <= due);
                    prop_assert!(due - moved * BYTE < u128::from(meter.quantum()) * BYTE);
                    now = until;
                }
            }
        }
    }
}

#[test]
fn a_meter_starts_with_its_burst_and_then_keeps_the_rate() {
    let mut meter = Meter::new(rate(8_000_000), 10_000, at(0));
    assert_eq!(meter.quantum(), 2000);
    assert_eq!(meter.ask(at(0), 64_000), Grant::Advance(10_000));
    assert_eq!(meter.ask(at(0), 64_000), Grant::WaitUntil(at(2_000_000)));
    assert_eq!(meter.ask(at(1_999_999), 64_000), Grant::WaitUntil(at(2_000_000)));
    assert_eq!(meter.ask(at(2_000_000), 64_000), Grant::Advance(2000));
    assert_eq!(meter.ask(at(2_000_000), 1), Grant::WaitUntil(at(2_001_000)));
}

#[test]
fn nothing_is_asked_nothing_is_charged() {
    let mut meter = Meter::new(rate(1), 1500, at(0));
    assert_eq!(meter.ask(at(0), 1500), Grant::Advance(1500));
    assert_eq!(meter.ask(at(0), 0), Grant::Advance(0));
    assert_eq!(meter.ask(at(0), 1), Grant::WaitUntil(at(8 * SECOND)));
}

#[test]
fn a_clock_that_goes_back_earns_nothing() {
    let mut meter = Meter::new(rate(8000), 1500, at(10 * SECOND));
    assert_eq!(meter.ask(at(10 * SECOND), 1500), Grant::Advance(1500));
    meter.refund(at(SECOND), 0);
    assert_eq!(meter.ask(at(10 * SECOND), 1500), Grant::WaitUntil(at(10 * SECOND + 3 * SECOND / 2)));
}

#[test]
fn the_ends_of_the_scale_do_not_overflow() {
    let mut slow = Meter::new(rate(1), u64::MAX, at(0));
    assert_eq!(slow.burst(), Meter::MAX_BURST);
    assert_eq!(slow.ask(at(0), u64::MAX), Grant::Advance(Meter::MAX_BURST));
    slow.refund(at(0), 0);
    assert_eq!(slow.ask(at(u64::MAX), u64::MAX), Grant::Advance(Meter::MAX_BURST));
    let mut fast = Meter::new(rate(BitRate::MAX), 0, at(0));
    assert_eq!(fast.burst(), Meter::MIN_BURST);
    assert_eq!(fast.ask(at(u64::MAX), u64::MAX), Grant::Advance(1500));
    assert_eq!(fast.ask(at(u64::MAX), 1500), Grant::WaitUntil(at(u64::MAX)));
}

#[test]
fn a_spent_meter_has_nothing_to_begin_with() {
    let now = Instant::from_nanos(7);
    let rate = BitRate::bits_per_second(8_000_000).unwrap();
    let mut meter = Meter::new(rate, 50_000, now).spent();
    // The quantum, 2 ms of the rate.
    assert_eq!(meter.ask(now, 10_000), Grant::WaitUntil(Instant::from_nanos(7 + 2_000_000)));
}
