//! The choice among an operator's profiles: against examples, and against a slow search over random lists.

use proptest::prelude::*;

use super::*;

fn rate(text: &str) -> BitRate {
    text.parse().unwrap()
}

fn read(text: &str) -> NetworkProfile {
    toml::from_str(text).unwrap()
}

/// What operators offer by way of example (E: a delay that holds; S, M and L: rates), and one of the API's own.
fn offered() -> Vec<NetworkProfile> {
    let simple = |name: &str, min: u32, max: u32, more: &str| {
        read(&format!(
            "name = \"{name}\"\nstatus = \"ACTIVE\"\n{more}\n\
             targetMinUpstreamRate = {{ value = {min}, unit = \"kbps\" }}\n\
             targetMinDownstreamRate = {{ value = {min}, unit = \"kbps\" }}\n\
             maxUpstreamRate = {{ value = {max}, unit = \"Mbps\" }}\n\
             maxDownstreamRate = {{ value = {max}, unit = \"Mbps\" }}\n"
        ))
    };
    let delay = "packetDelayBudget = { value = 50, unit = \"Milliseconds\" }\npacketErrorLossRate = 3";
    vec![
        simple("QOS_L", 900, 20, ""),
        simple("QOS_M", 500, 8, ""),
        simple("QOS_S", 100, 4, ""),
        simple("QOS_E", 100, 1, delay),
        simple("QOS_E2", 500, 1, delay),
    ]
}

fn wished(class: TrafficClass, up: &str, down: &str) -> Attributes {
    let (up, down) = (Some(Rate::from(rate(up))), Some(Rate::from(rate(down))));
    Attributes {
        class: Some(class),
        max_bitrate_up: up,
        max_bitrate_down: down,
        guaranteed_bitrate_up: up,
        guaranteed_bitrate_down: down,
        ..Attributes::default()
    }
}

fn voice() -> Attributes {
    Attributes {
        transfer_delay: TransferDelay::new(130),
        ..wished(TrafficClass::Conversational, "64 kbit/s", "64 kbit/s")
    }
}

fn chosen(attributes: &Attributes, least: Option<&str>) -> Result<String, NoProfile> {
    let least = least.map(rate);
    let wish = Wish { attributes, least_up: least, least_down: least };
    choose(&offered(), &wish).map(|profile| profile.name.clone())
}

#[test]
fn the_least_profile_that_satisfies_is_chosen() {
    assert_eq!(chosen(&voice(), None), Ok("QOS_E".into()), "a delay that is promised");
    let loud = Attributes {
        transfer_delay: TransferDelay::new(130),
        ..wished(TrafficClass::Conversational, "200 kbit/s", "64 kbit/s")
    };
    assert_eq!(chosen(&loud, None), Ok("QOS_E2".into()));
    let video = wished(TrafficClass::Streaming, "400 kbit/s", "500 kbit/s");
    // E2 promises as much, and its most is less.
    assert_eq!(chosen(&video, None), Ok("QOS_E2".into()));
    let wide = Attributes { max_bitrate_down: Some(rate("2 Mbit/s").into()), ..video };
    assert_eq!(chosen(&wide, None), Ok("QOS_M".into()));
    let web = wished(TrafficClass::Interactive, "1 Mbit/s", "5 Mbit/s");
    assert_eq!(chosen(&web, None), Ok("QOS_M".into()), "nothing is guaranteed to it");
    assert_eq!(chosen(&Attributes::default(), None), Ok("QOS_E".into()));
}

#[test]
fn less_is_chosen_where_less_is_wanted_and_else_the_reason_is_named() {
    let video = wished(TrafficClass::Streaming, "2 Mbit/s", "2 Mbit/s");
    assert_eq!(chosen(&video, None), Ok("QOS_L".into()), "the most that there is");
    assert_eq!(chosen(&video, Some("900 kbit/s")), Ok("QOS_L".into()));
    assert_eq!(chosen(&video, Some("901 kbit/s")), Err(NoProfile::Rates));
    let quick = Attributes { transfer_delay: TransferDelay::new(49), ..voice() };
    assert_eq!(chosen(&quick, None), Err(NoProfile::Delay));
    let clean = Attributes { sdu_error_ratio: ErrorRatio::new(1, 4), ..voice() };
    assert_eq!(chosen(&clean, None), Err(NoProfile::Delay));
    let web = wished(TrafficClass::Interactive, "30 Mbit/s", "30 Mbit/s");
    assert_eq!(chosen(&web, Some("21 Mbit/s")), Err(NoProfile::Rates));
    assert_eq!(chosen(&web, Some("20 Mbit/s")), Ok("QOS_L".into()));
    let none = Wish { attributes: &voice(), least_up: None, least_down: None };
    let idle = NetworkProfile { is_active: false, ..offered()[3].clone() };
    assert_eq!(choose(&[idle], &none), Err(NoProfile::NoneActive));
    assert_eq!(choose(&[], &none), Err(NoProfile::NoneActive));
}

#[test]
fn what_is_given_is_what_the_profile_says_and_never_more_than_was_wished() {
    let given = offered()[3].gives(&voice());
    assert_eq!(given.guaranteed_up(), Some(rate("64 kbit/s")));
    assert_eq!(given.transfer_delay, TransferDelay::new(50));
    assert_eq!(given.sdu_error_ratio, ErrorRatio::new(1, 3));
    let video = wished(TrafficClass::Streaming, "2 Mbit/s", "300 kbit/s");
    let given = offered()[1].gives(&video);
    assert_eq!(given.guaranteed_up(), Some(rate("500 kbit/s")));
    assert_eq!((given.guaranteed_down(), given.transfer_delay), (Some(rate("300 kbit/s")), None));
    let web = wished(TrafficClass::Interactive, "1 Mbit/s", "50 Mbit/s");
    let given = offered()[0].gives(&web);
    assert_eq!((given.max_down(), given.guaranteed_bitrate_down), (Some(rate("20 Mbit/s")), None));
}

#[test]
fn a_profile_that_is_named_for_a_class_is_taken_and_still_has_to_be_enough() {
    let attributes = voice();
    let wish =
        |least: Option<&str>| Wish { attributes: &attributes, least_up: least.map(rate), least_down: None };
    let profiles = offered();
    assert_eq!(named(&profiles, "QOS_S", &wish(None)).unwrap().name, "QOS_S", "whatever its delay");
    assert_eq!(named(&profiles, "QOS_S", &wish(Some("101 kbit/s"))), Err(NoProfile::Rates));
    assert_eq!(named(&profiles, "voice", &wish(None)), Err(NoProfile::Missing("voice".into())));
}

/// Rates are 1 000-based (trap 6), and units are the API's.
#[test]
fn rates_and_times_are_read_in_every_unit() {
    let of = |value: u32, unit: &str| {
        let text = format!(
            "name = \"abc\"\nstatus = \"DEPRECATED\"\nmaxUpstreamRate = {{ value = {value}, unit = \"{unit}\" }}"
        );
        read(&text).max_up.map(BitRate::get)
    };
    assert_eq!(of(8, "bps"), Some(8));
    assert_eq!(of(1024, "kbps"), Some(1_024_000));
    assert_eq!(of(3, "Mbps"), Some(3_000_000));
    assert_eq!(of(2, "Gbps"), Some(2_000_000_000));
    assert_eq!(of(1024, "Tbps"), Some(BitRate::MAX));
    assert_eq!(of(0, "Mbps"), None, "a promise of nothing");
    let period = |value: u32, unit: &str| {
        read(&format!(
            "name = \"abc\"\nstatus = \"ACTIVE\"\nmaxDuration = {{ value = {value}, unit = \"{unit}\" }}"
        ))
        .max_duration
        .unwrap()
    };
    assert_eq!(period(2, "Days"), Duration::from_secs(172_800));
    assert_eq!(period(5, "Nanoseconds"), Duration::from_nanos(5));
    assert_eq!(period(7, "Hours") + period(1, "Minutes"), Duration::from_secs(25_260));
    let empty = read("name = \"abc\"\nstatus = \"INACTIVE\"\nmaxUpstreamRate = {}");
    assert_eq!((empty.max_up, empty.is_active), (None, false));
    for bad in [
        "name = \"a/b\"\nstatus = \"ACTIVE\"",
        "name = \"ab\"\nstatus = \"ACTIVE\"",
        "name = \"abc\"\nstatus = \"MAYBE\"",
        "name = \"abc\"\nstatus = \"ACTIVE\"\npriority = 0",
        "name = \"abc\"\nstatus = \"ACTIVE\"\npacketErrorLossRate = 11",
        "name = \"abc\"\nstatus = \"ACTIVE\"\nmaxUpstreamRate = { value = -1, unit = \"bps\" }",
        "name = \"abc\"\nstatus = \"ACTIVE\"\nmaxUpstreamRate = { value = 1, unit = \"MB/s\" }",
    ] {
        assert!(toml::from_str::<NetworkProfile>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_session_is_as_long_as_the_profile_allows() {
    let of = |min: Option<u64>, max: Option<u64>, wished: u64| {
        let [min, max] = [min, max].map(|limit| limit.map(Duration::from_millis));
        let profile = NetworkProfile { min_duration: min, max_duration: max, ..offered()[0].clone() };
        profile.duration(Duration::from_secs(wished))
    };
    assert_eq!(of(None, None, 3600), Some(3600));
    assert_eq!(of(None, Some(50_000_000), 86_400), Some(50_000));
    assert_eq!(of(Some(86_400_000), None, 3600), Some(86_400));
    assert_eq!(of(Some(1_500), Some(2_999), 1), Some(2), "up for the shortest, down for the longest");
    assert_eq!(of(Some(3_000), Some(2_000), 1), None);
    assert_eq!(of(None, Some(999), 1), None, "none is as short as that");
    assert_eq!(of(None, None, u64::MAX), Some(i32::MAX as u32));
    assert_eq!(of(None, None, 0), Some(1));
}

fn profile() -> impl Strategy<Value = NetworkProfile> {
    let rate = || proptest::option::of((1_u64..6).prop_map(|n| BitRate::bits_per_second(n * 1000).unwrap()));
    let delay = proptest::option::of((1_u64..4).prop_map(|n| Duration::from_millis(n * 50)));
    (0_u8..4, rate(), rate(), rate(), rate(), delay, proptest::option::of(1_u8..4), 0_u8..9).prop_map(
        |(status, min_up, min_down, max_up, max_down, delay, loss, name)| NetworkProfile {
            name: format!("profile-{name}"),
            is_active: status > 0,
            target_min_up: min_up,
            target_min_down: min_down,
            max_up,
            max_down,
            min_duration: None,
            max_duration: None,
            priority: None,
            delay,
            loss,
        },
    )
}

proptest! {
    /// Whatever the list: what is chosen satisfies, nothing that costs less does, and what is refused is not there.
    #[test]
    fn the_choice_is_that_of_a_slow_search(
        profiles in proptest::collection::vec(profile(), 0..7),
        up in 1_u64..6,
        down in 1_u64..6,
        delay in proptest::option::of(1_u16..4),
        least in proptest::option::of(1_u64..6),
    ) {
        let bits = |n: u64| BitRate::bits_per_second(n * 1000).unwrap();
        let attributes = Attributes {
            class: Some(TrafficClass::Streaming),
            guaranteed_bitrate_up: Some(bits(up).into()),
            guaranteed_bitrate_down: Some(bits(down).into()),
            transfer_delay: delay.and_then(|n| TransferDelay::new(n * 50)),
            ..Attributes::default()
        };
        let least = least.map(bits);
        let wish = Wish { attributes: &attributes, least_up: least, least_down: least };
        let quick = |p: &NetworkProfile| {
            p.is_active && delay.is_none_or(|n| p.delay.is_some_and(|d| d.as_millis() <= u128::from(n) * 50))
        };
        let at_least = |p: &NetworkProfile, up: u64, down: u64| {
            p.target_min_up.map_or(0, BitRate::get) >= up && p.target_min_down.map_or(0, BitRate::get) >= down
        };
        let floor = least.map_or(1, BitRate::get);
        let whole = |p: &NetworkProfile| {
            quick(p) && at_least(p, floor, floor) && at_least(p, up * 1000, down * 1000)
        };
        let some = |p: &NetworkProfile| quick(p) && at_least(p, floor, floor);
        let promised = |p: &NetworkProfile| {
            p.target_min_up.map_or(0, BitRate::get) + p.target_min_down.map_or(0, BitRate::get)
        };
        match choose(&profiles, &wish) {
            Ok(found) if profiles.iter().any(whole) => {
                prop_assert!(whole(found));
                let cheapest = profiles.iter().filter(|p| whole(p)).map(promised).min();
                prop_assert_eq!(Some(promised(found)), cheapest);
            }
            Ok(found) => prop_assert!(some(found)),
            Err(_) => prop_assert!(!profiles.iter().any(some)),
        }
    }
}
