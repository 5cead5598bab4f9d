//! Extended rates: units, rounding, and both elements of a bearer read together.

use proptest::prelude::*;

use super::*;

const GIGA: u64 = 1_000_000_000;

fn gbits(gbits: u64) -> Option<Rate> {
    Rate::bits_per_second(gbits * GIGA)
}

#[test]
fn units_go_up_by_four_and_begin_anew_at_each_power_of_a_thousand() {
    let mega = 1_000_000;
    let first = [200_000, mega, 4 * mega, 16 * mega, 64 * mega, 256 * mega, GIGA, 4 * GIGA];
    for (code, bits) in (1..).zip(first) {
        assert_eq!(Unit::of(code).map(Unit::bits), Some(bits), "{code}");
    }
    assert_eq!(Unit::MOST.bits(), 256_000_000 * GIGA);
    assert_eq!((Unit::of(0), Unit::of(22), Unit::of(255)), (None, Some(Unit::MOST), Some(Unit::MOST)));
}

#[test]
fn a_bearer_of_more_than_ten_gigabits_needs_both_elements() {
    let qos = EpsQos { max_bitrate_up: gbits(1), max_bitrate_down: gbits(40), ..EpsQos::default() };
    let beside = ExtendedQos::beside(&qos).unwrap();
    // 40 Gbit/s are 40,000 times 1 Mbit/s; nothing is guaranteed.
    assert_eq!(beside.encode(), [2, 0x03, 0xe8, 0x9c, 0x40, 0, 0, 0, 0, 0]);
    let short = EpsQos::decode(&qos.encode()).unwrap();
    assert_eq!((short.max_bitrate_up, short.max_bitrate_down), (gbits(1), gbits(10)));
    assert_eq!(short.extended(&ExtendedQos::decode(&beside.encode()).unwrap()), qos);
    let slow = EpsQos { max_bitrate_down: gbits(10), ..EpsQos::default() };
    assert_eq!(ExtendedQos::beside(&slow), None);
}

#[test]
fn the_shorter_element_counts_wherever_it_can_say_the_rate() {
    let short = EpsQos { max_bitrate_up: gbits(2), max_bitrate_down: gbits(10), ..EpsQos::default() };
    let say = |up, down| ExtendedQos { max: Some(Pair { unit: Unit(7), up, down }), guaranteed: None };
    assert_eq!(short.extended(&say(50, 50)).max_bitrate_up, gbits(2));
    assert_eq!(short.extended(&say(50, 50)).max_bitrate_down, gbits(50));
    assert_eq!(short.extended(&say(50, 9)).max_bitrate_down, gbits(10));
    // What no rate can be is the highest that one can be.
    assert_eq!(short.extended(&say(50, u16::MAX)).max_bitrate_down, gbits(1_000));
}

#[test]
fn guarantees_are_rounded_up_maxima_down_and_nothing_to_zero() {
    let odd = Rate::bits_per_second(20 * GIGA + 1);
    let one = Rate::bits_per_second(1);
    let qos = EpsQos {
        qci: None,
        max_bitrate_up: odd,
        max_bitrate_down: one,
        guaranteed_bitrate_up: one,
        guaranteed_bitrate_down: odd,
    };
    let said = ExtendedQos::beside(&qos).unwrap();
    assert_eq!(said.max, Some(Pair { unit: Unit(2), up: 20_000, down: 1 }));
    assert_eq!(said.guaranteed, Some(Pair { unit: Unit(2), up: 1, down: 20_001 }));
}

#[test]
fn an_apn_ambr_of_more_than_it_can_say_needs_both_elements() {
    let ambr = ApnAmbr { up: gbits(1), down: gbits(300) };
    let beside = ExtendedAmbr::beside(&ambr).unwrap();
    // 18,750 times 16 Mbit/s, and nothing for the way up.
    assert_eq!(beside.encode(), [4, 0x49, 0x3e, 0, 0, 0]);
    let short = ApnAmbr::decode(&ambr.encode()).unwrap();
    assert_eq!(short.extended(&ExtendedAmbr::decode(&beside.encode()).unwrap()), ambr);
    assert_eq!(ExtendedAmbr::beside(&ApnAmbr { up: gbits(65), down: gbits(65) }), None);
    assert_eq!(ExtendedAmbr::decode(&[2, 1, 0, 1, 1, 0]), Ok(ExtendedAmbr::default()), "not used here");
}

#[test]
fn only_the_lengths_of_the_elements_are_read() {
    for length in 0..=20 {
        let value = vec![0xff; length];
        assert_eq!(ExtendedQos::decode(&value).is_ok(), length == 10);
        assert_eq!(ExtendedAmbr::decode(&value).is_ok(), length == 6);
    }
}

#[test]
fn fields_are_shown_with_what_they_mean() {
    let value = [2, 0x03, 0xe8, 0x9c, 0x40, 99, 0, 0, 0xff, 0xff];
    let shown = fields(&value).unwrap();
    let shown: Vec<_> = shown.iter().map(|f| (f.octet, f.name, f.code, f.meaning.as_str(), f.odd)).collect();
    assert_eq!(
        shown,
        [
            (3, "max-bitrate-unit", 2, "1 Mbit/s", false),
            (4, "max-bitrate-up", 1_000, "1 Gbit/s", false),
            (6, "max-bitrate-down", 40_000, "40 Gbit/s", false),
            (8, "guaranteed-bitrate-unit", 99, "not defined, read as 256 Pbit/s", true),
            (9, "guaranteed-bitrate-up", 0, "0 kbit/s", false),
            (11, "guaranteed-bitrate-down", 65_535, "16776960 Pbit/s", false),
        ]
    );
    assert_eq!(fields(&[0; 10]).unwrap()[1].meaning, "not used");
}

proptest! {
    #[test]
    fn what_was_read_is_written_to_be_read_again(value in prop::array::uniform10(any::<u8>())) {
        let read = ExtendedQos::decode(&value).unwrap();
        prop_assert_eq!(ExtendedQos::decode(&read.encode()), Ok(read));
        let read = ExtendedAmbr::decode(&value[..6]).unwrap();
        prop_assert_eq!(ExtendedAmbr::decode(&read.encode()), Ok(read));
    }

    #[test]
    fn a_rate_is_off_by_less_than_one_part_in_ten_thousand(bits in QOS_MOST + 1..=BitRate::MAX) {
        let qos = EpsQos {
            max_bitrate_down: Rate::bits_per_second(bits),
            guaranteed_bitrate_up: Rate::bits_per_second(bits),
            ..EpsQos::default()
        };
        let said = ExtendedQos::beside(&qos).unwrap();
        let read = EpsQos::decode(&qos.encode()).unwrap().extended(&said);
        let (most, least) = (read.max_bitrate_down.unwrap().get(), read.guaranteed_bitrate_up.unwrap().get());
        prop_assert!(most <= bits && bits - most < bits / 10_000, "{} {}", most, bits);
        prop_assert!(least >= bits && least - bits < bits / 10_000 || least == BitRate::MAX, "{} {}", least, bits);
    }
}
