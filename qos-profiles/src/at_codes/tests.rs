//! The table of both codings side by side, what the field sends, and the way there and back.

use proptest::prelude::*;

use super::*;
use crate::eps_ie::{ApnAmbr, EpsQos};
use crate::{Qci, UmtsQos};

fn kbit(kbits: u64) -> Option<Rate> {
    Rate::bits_per_second(kbits * 1_000)
}

fn voice() -> Attributes {
    Attributes {
        class: Some(TrafficClass::Conversational),
        max_bitrate_up: kbit(31),
        max_bitrate_down: kbit(64),
        guaranteed_bitrate_up: kbit(25),
        guaranteed_bitrate_down: kbit(32),
        delivery_order: Some(false),
        max_sdu: MaxSdu::new(1400),
        sdu_error_ratio: ErrorRatio::new(7, 3),
        residual_ber: ErrorRatio::new(1, 5),
        erroneous_sdus: Some(ErroneousSdus::No),
        transfer_delay: TransferDelay::new(130),
        source_statistics: SourceStatistics::Speech,
        ..Attributes::default()
    }
}

#[test]
fn trap_1_a_request_has_the_uplink_first_and_eps_the_downlink() {
    assert_eq!(write_request(&voice()), "0,31,64,25,32,0,1400,\"7E3\",\"1E5\",0,130,0,1,0");
    let eps = EpsQos {
        qci: Qci::new(1),
        max_bitrate_up: kbit(31),
        max_bitrate_down: kbit(64),
        guaranteed_bitrate_up: kbit(25),
        guaranteed_bitrate_down: kbit(32),
    };
    assert_eq!(write_eps(&eps), "1,32,25,64,31");
    assert_eq!(read_eps("1,32,25,64,31"), Ok((eps, None)));
    assert_eq!(write_eps(&EpsQos { qci: Qci::new(9), ..eps }), "9");
    assert_eq!(write_eps(&EpsQos { qci: None, ..eps }), "0");
}

#[test]
fn trap_2_the_codes_of_a_command_are_not_those_of_the_element() {
    let element = |attributes| UmtsQos { attributes: Some(attributes), ..UmtsQos::default() }.encode();
    let at = |attributes: &Attributes, position: usize| {
        write_request(attributes).split(',').nth(position).unwrap().parse::<u8>().unwrap()
    };
    let class = [None].into_iter().chain(TrafficClass::ALL.map(Some));
    let classes: Vec<_> = class
        .map(|class| Attributes { class, ..Attributes::default() })
        .map(|a| (at(&a, 0), element(a)[3] >> 5))
        .collect();
    assert_eq!(classes, [(4, 0), (0, 1), (1, 2), (2, 3), (3, 4)]);
    let orders = [None, Some(true), Some(false)]
        .map(|delivery_order| Attributes { delivery_order, ..Attributes::default() })
        .map(|a| (at(&a, 5), element(a)[3] >> 3 & 3));
    assert_eq!(orders, [(2, 0), (1, 1), (0, 2)]);
    let erroneous = [None, Some(ErroneousSdus::NoDetect), Some(ErroneousSdus::Yes), Some(ErroneousSdus::No)]
        .map(|erroneous_sdus| Attributes { erroneous_sdus, ..Attributes::default() })
        .map(|a| (at(&a, 9), element(a)[3] & 7));
    assert_eq!(erroneous, [(3, 0), (2, 1), (1, 2), (0, 3)]);
}

#[test]
fn what_is_not_said_is_subscribed_in_a_request_and_empty_in_a_minimum() {
    assert_eq!(write_request(&Attributes::default()), "4,0,0,0,0,2,0,\"0E0\",\"0E0\",3,0,0,0,0");
    assert_eq!(read_request(&write_request(&Attributes::default())), Ok(Attributes::default()));
    assert_eq!(write_minimum(&Attributes::default()), "");
    let some = Attributes {
        class: Some(TrafficClass::Interactive),
        max_bitrate_down: kbit(64),
        ..Attributes::default()
    };
    assert_eq!(write_minimum(&some), "2,,64");
    assert_eq!(write_minimum(&voice()), "0,31,64,25,32,0,1400,\"7E3\",\"1E5\",0,130,,1");
    assert_eq!(read_request(""), Ok(Attributes::default()));
}

#[test]
fn what_the_field_sends_is_read() {
    let dialer = read_request("4,64,640,64,640").unwrap();
    assert_eq!((dialer.class, dialer.max_bitrate_down), (None, kbit(640)));
    let vendor = read_request("2,64,64,0,0,0,1500,\"0E0\",\"0E0\",,0,0").unwrap();
    assert_eq!((vendor.class, vendor.max_sdu), (Some(TrafficClass::Interactive), MaxSdu::new(1500)));
    assert_eq!((vendor.guaranteed_bitrate_up, vendor.erroneous_sdus), (None, None));
    let lower = read_request(" 3 , 0,0,0,0, 2,0 ,\"1e4\", 6e8").unwrap();
    assert_eq!((lower.sdu_error_ratio, lower.residual_ber), (ErrorRatio::new(1, 4), ErrorRatio::new(6, 8)));
    assert_eq!(read_eps("5,0,0,0,0"), Ok((EpsQos { qci: Qci::new(5), ..EpsQos::default() }, None)));
    let (nine, ambr) = read_eps("9,0,0,0,0,300000,100000").unwrap();
    assert_eq!((nine.qci, nine.max_bitrate_up), (Qci::new(9), None));
    assert_eq!(ambr, Some(ApnAmbr { down: kbit(300_000), up: kbit(100_000) }));
    // A delay and a size that no bearer has are brought to the nearest that one has.
    let far = read_request("0,,,,,,9000,,,,99999").unwrap();
    assert_eq!((far.max_sdu, far.transfer_delay), (Some(MaxSdu::MAX), Some(TransferDelay::MAX)));
}

#[test]
fn what_is_not_of_its_kind_is_named_with_its_place() {
    for (text, error) in [
        ("5", "parameter 1, `5`, is no traffic class"),
        ("0,fast", "parameter 2, `fast`, is no bit rate"),
        ("0,-1", "parameter 2, `-1`, is no bit rate"),
        ("0,1,2,3,4,9", "parameter 6, `9`, is no delivery order"),
        ("0,1,2,3,4,0,1,\"12E3\"", "parameter 8, `\"12E3\"`, is no error ratio"),
        ("0,1,2,3,4,0,1,\"0E3\"", "parameter 8, `\"0E3\"`, is no error ratio"),
        ("0,1,2,3,4,0,1,,,4", "parameter 10, `4`, is no delivery of erroneous SDUs"),
        ("0,1,2,3,4,0,1,,,0,0,4", "parameter 12, `4`, is no traffic handling priority"),
        ("0,1,2,3,4,0,1,,,0,0,0,2", "parameter 13, `2`, is no source statistics"),
        ("0,1,2,3,4,0,1,,,0,0,0,0,2", "parameter 14, `2`, is no signalling indication"),
        ("0,1,2,3,4,0,1,,,0,0,0,0,0,0", "parameter 15, `0`, is no parameter of this command"),
    ] {
        assert_eq!(read_request(text).unwrap_err().to_string(), error);
    }
    assert!(read_eps("255").is_err());
    assert!(read_release97("1,2,3,4,19").is_err());
}

#[test]
fn the_qcis_of_public_safety_cannot_be_asked_for() {
    let all = (1..=254).filter_map(Qci::new);
    let refused: Vec<_> = all.filter(|qci| !may_be_asked(*qci)).map(Qci::get).collect();
    for qci in [65, 66, 67, 69, 70, 86, 127] {
        assert!(refused.contains(&qci), "{qci}");
    }
    assert_eq!(refused.len(), 254 - (10 + 6 + 2 + 4 + 127));
}

#[test]
fn release_97_has_the_precedence_first() {
    let classes = read_release97("1,2,3,4,31").unwrap();
    assert_eq!(classes.precedence, PrecedenceClass::new(1));
    assert_eq!(classes.mean, Some(MeanThroughputClass::BEST_EFFORT));
    assert_eq!(write_release97(&classes), "1,2,3,4,31");
    assert_eq!(read_release97("0,0,0,0,0"), Ok(Release97::default()));
}

#[test]
fn a_closed_direction_does_not_become_the_subscriptions_rate() {
    let closed =
        Attributes { max_bitrate_up: Some(Rate::Zero), max_bitrate_down: kbit(64), ..Attributes::default() };
    assert!(write_request(&closed).starts_with("4,1,64,"));
    let odd = Attributes {
        max_bitrate_up: Rate::bits_per_second(1_999),
        guaranteed_bitrate_up: Rate::bits_per_second(1_001),
        ..Attributes::default()
    };
    assert!(write_request(&odd).starts_with("4,1,0,2,0,"));
}

proptest! {
    #[test]
    fn what_an_element_says_can_be_said_by_a_command(value in prop::collection::vec(any::<u8>(), 20)) {
        let attributes = UmtsQos::decode(&value).unwrap().attributes.unwrap().effective();
        let closed = [attributes.max_bitrate_up, attributes.max_bitrate_down, attributes.guaranteed_bitrate_up, attributes.guaranteed_bitrate_down];
        if !closed.contains(&Some(Rate::Zero)) {
            prop_assert_eq!(read_request(&write_request(&attributes)), Ok(attributes));
            prop_assert_eq!(read_request(&write_minimum(&attributes)), Ok(attributes));
        }
    }

    #[test]
    fn nothing_that_a_modem_answers_panics(text in "[0-9eE\", ,.a-z-]{0,60}") {
        let _ = (read_request(&text), read_eps(&text), read_release97(&text));
    }
}
