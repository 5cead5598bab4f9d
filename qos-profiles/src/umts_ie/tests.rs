//! The vectors that two other implementations agree on, every length, and every octet string.

use proptest::prelude::*;

use super::*;
use crate::attributes::{ErroneousSdus, ErrorRatio, MaxSdu, SourceStatistics, Thp, TransferDelay};
use crate::qci::ArpBorders;
use crate::release97::{DelayClass, MeanThroughputClass, PrecedenceClass, ReliabilityClass};
use crate::{Profile, ProfileSet, TrafficClass};

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn kbits(kbits: u64) -> Option<Rate> {
    Rate::bits_per_second(kbits * 1_000)
}

/// What is the same in all vectors.
fn vector(class: TrafficClass) -> Attributes {
    Attributes {
        class: Some(class),
        delivery_order: Some(false),
        max_sdu: MaxSdu::new(1500),
        sdu_error_ratio: ErrorRatio::new(1, 4),
        residual_ber: ErrorRatio::new(1, 5),
        erroneous_sdus: Some(ErroneousSdus::No),
        ..Attributes::default()
    }
}

fn rates(
    up: Option<Rate>,
    down: Option<Rate>,
    guaranteed: [Option<Rate>; 2],
    rest: Attributes,
) -> Attributes {
    let [guaranteed_bitrate_up, guaranteed_bitrate_down] = guaranteed;
    Attributes {
        max_bitrate_up: up,
        max_bitrate_down: down,
        guaranteed_bitrate_up,
        guaranteed_bitrate_down,
        ..rest
    }
}

fn vectors() -> [(&'static str, Attributes); 7] {
    use TrafficClass::{Background, Conversational, Interactive, Streaming};
    let same = |up, down, rest| rates(up, down, [up, down], rest);
    let nothing = [Some(Rate::Zero); 2];
    let thp = |thp| Attributes { traffic_handling_priority: Some(thp), ..vector(Interactive) };
    let conversational = Attributes {
        max_sdu: MaxSdu::new(1400),
        sdu_error_ratio: ErrorRatio::new(7, 3),
        transfer_delay: TransferDelay::new(130),
        source_statistics: SourceStatistics::Speech,
        ..vector(Conversational)
    };
    [
        ("0b311f338c1f1f72341f1f01", same(kbits(31), kbits(31), conversational)),
        (
            "0b611f338c52527240525200",
            same(
                kbits(208),
                kbits(208),
                Attributes {
                    transfer_delay: TransferDelay::new(200),
                    source_statistics: SourceStatistics::Unknown,
                    ..conversational
                },
            ),
        ),
        (
            "0b621f539640687548406800",
            same(
                kbits(64),
                kbits(384),
                Attributes {
                    transfer_delay: TransferDelay::new(300),
                    sdu_error_ratio: ErrorRatio::new(1, 5),
                    ..vector(Streaming)
                },
            ),
        ),
        (
            "0b911f7396fefe7401ffff109e006c00",
            rates(kbits(50_000), kbits(100_000), nothing, Attributes { signalling: true, ..thp(Thp::FIRST) }),
        ),
        ("23931f939600007400000000", vector(Background)),
        (
            "1b931f7396fefe7403ffff00fa00c5006f00",
            rates(kbits(150_000), kbits(1_000_000), nothing, thp(Thp::THIRD)),
        ),
        (
            "1b931f7396fefe7403ffff00fa00fa00f6003e00",
            rates(kbits(510_000), kbits(10_000_000), nothing, thp(Thp::THIRD)),
        ),
    ]
}

#[test]
fn the_vectors_are_read_and_written_as_agreed() {
    for (hex, attributes) in vectors() {
        let value = bytes(hex);
        let read = UmtsQos::decode(&value).unwrap();
        assert_eq!(read.attributes, Some(attributes), "{hex}");
        assert_eq!(read.encode(), value, "{hex}");
        assert_eq!(read.release97.mean, Some(MeanThroughputClass::BEST_EFFORT));
        assert!(attributes.can_be_asked(), "{hex}");
    }
    let first = UmtsQos::decode(&bytes(vectors()[0].0)).unwrap().release97;
    assert_eq!(first.delay, DelayClass::new(1));
    assert_eq!(first.reliability, ReliabilityClass::new(3));
    assert_eq!(first.peak.map(|peak| peak.octets_per_second()), Some(4_000));
    assert_eq!(first.precedence, PrecedenceClass::new(1));
}

#[test]
fn trap_1_only_the_downlink_is_extended_by_the_first_extension_octet() {
    let up = rates(kbits(8_700), None, [None; 2], Attributes::default());
    let down = rates(None, kbits(8_700), [None; 2], Attributes::default());
    let of = |attributes| UmtsQos { attributes: Some(attributes), ..UmtsQos::default() }.encode();
    assert_eq!(of(up)[5..], bytes("fe00000000000000000100")[..]);
    assert_eq!(of(down)[5..], bytes("00fe00000000000100")[..]);
}

#[test]
fn every_length_is_read_and_no_other() {
    for length in 0..=40 {
        let value = vec![0xff; length];
        let known = Length::ALL.iter().any(|known| known.octets() == length);
        assert_eq!(UmtsQos::decode(&value).is_ok(), known, "{length}");
        match fields(&value) {
            Ok(fields) => {
                let expected = Part::all().filter(|part| usize::from(part.octet()) < length + 3).count();
                assert_eq!(fields.len(), expected);
            }
            Err(error) => assert_eq!(error, DecodeError::Length(length)),
        }
    }
    assert_eq!(UmtsQos::decode(&[0x23, 0x93, 0x1f]).unwrap().attributes, None);
    let text = DecodeError::Length(13).to_string();
    assert!(text.starts_with("13 octets") && text.ends_with("3, 11, 12, 14, 16, 18 or 20"), "{text}");
}

#[test]
fn a_length_without_room_for_a_rate_says_the_most_that_it_can() {
    let (_, attributes) = vectors()[6];
    let qos = UmtsQos { attributes: Some(attributes), ..UmtsQos::default() };
    for (length, up, down) in [
        (Length::Release99, kbits(8_640), kbits(8_640)),
        (Length::WithSignalling, kbits(8_640), kbits(8_640)),
        (Length::ExtendedDown, kbits(8_640), kbits(256_000)),
        (Length::ExtendedUp, kbits(256_000), kbits(256_000)),
        (Length::ExtendedTwiceDown, kbits(256_000), kbits(10_000_000)),
        (Length::ExtendedTwiceUp, kbits(510_000), kbits(10_000_000)),
    ] {
        let value = qos.encode_as(length);
        assert_eq!(value.len(), length.octets());
        let read = UmtsQos::decode(&value).unwrap().attributes.unwrap();
        assert_eq!((read.max_bitrate_up, read.max_bitrate_down), (up, down), "{length:?}");
        assert_eq!(read.class, attributes.class);
    }
    assert_eq!(qos.encode_as(Length::Release97), [0, 0, 0]);
}

#[test]
fn every_shipped_profile_says_what_it_asks_for() {
    for profile in ProfileSet::shipped().iter().map(|profile| Profile::attributes(profile)) {
        let release97 = Release97::of(&profile, ArpBorders::default());
        let value = UmtsQos { release97, attributes: Some(profile) }.encode();
        let read = UmtsQos::decode(&value).unwrap();
        assert_eq!(read.release97, release97);
        // Rates go to the next step, all else is as it was.
        let read = read.attributes.unwrap();
        assert!(read.max_bitrate_up <= profile.max_bitrate_up);
        assert!(read.max_bitrate_down <= profile.max_bitrate_down);
        assert!(read.guaranteed_bitrate_up >= profile.guaranteed_bitrate_up);
        assert!(read.guaranteed_bitrate_down >= profile.guaranteed_bitrate_down);
        let guaranteed = [read.guaranteed_bitrate_up, read.guaranteed_bitrate_down];
        let expected = rates(read.max_bitrate_up, read.max_bitrate_down, guaranteed, profile);
        assert_eq!(read, Attributes { arp: None, ..expected });
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_what_was_read_is_written_to_be_read_again(value in prop::collection::vec(any::<u8>(), 0..=24)) {
        let Ok(read) = UmtsQos::decode(&value) else { return Ok(()) };
        prop_assert!(fields(&value).is_ok());
        let length = Length::ALL.into_iter().find(|length| length.octets() == value.len()).unwrap();
        let again = UmtsQos::decode(&read.encode_as(length)).unwrap();
        prop_assert_eq!(again, read);
        if read.attributes.is_some() {
            prop_assert_eq!(UmtsQos::decode(&read.encode()).unwrap(), read);
        }
    }

    #[test]
    fn defined_codes_come_back_as_they_were(value in prop::collection::vec(any::<u8>(), 20)) {
        // The octets again, when no code was odd and no spare bit set, and rates were said in the one way there is.
        let read = UmtsQos::decode(&value).unwrap();
        let written = read.encode_as(Length::ExtendedTwiceUp);
        for (before, after) in fields(&value).unwrap().iter().zip(fields(&written).unwrap()) {
            if !before.odd && !before.name.contains("bitrate") {
                prop_assert_eq!(before, &after);
            }
            prop_assert!(!after.odd);
        }
    }
}
