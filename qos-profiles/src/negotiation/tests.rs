//! Who has the last word, and what becomes of a request that is out of range.

use mexe_model::BitRate;
use proptest::prelude::*;

use super::*;
use crate::ProfileSet;

fn kbit(rate: u64) -> BitRate {
    BitRate::bits_per_second(rate * 1000).unwrap()
}

fn at(rate: u64) -> Option<Rate> {
    Some(Rate::At(kbit(rate)))
}

fn request(json: &str) -> Request {
    // TOML and JSON agree on what these tests write.
    toml::from_str(json).unwrap()
}

fn voice() -> std::sync::Arc<Profile> {
    std::sync::Arc::clone(ProfileSet::shipped().get("voice").unwrap())
}

fn word(granted: &Granted, attribute: &str) -> (Option<String>, Source, Option<Why>) {
    let given = granted.of(attribute).unwrap_or_else(|| panic!("{attribute} in {granted:?}"));
    (given.value.clone(), given.source, given.why)
}

#[test]
fn the_app_goes_before_the_profile_and_the_profile_before_the_class() {
    let asked = request("guaranteed_bitrate_up = \"20 kbit/s\"\nmax_bitrate_up = \"40 kbit/s\"");
    let granted = negotiate(&[], &asked, Some(&voice()));
    assert_eq!(word(&granted, "class"), (Some("conversational".into()), Source::Profile, None));
    assert_eq!(word(&granted, "guaranteed_bitrate_up"), (Some("20 kbit/s".into()), Source::App, None));
    assert_eq!(word(&granted, "guaranteed_bitrate_down"), (Some("31 kbit/s".into()), Source::Profile, None));
    let bare = negotiate(&[], &request("class = \"streaming\""), None);
    assert_eq!(word(&bare, "transfer_delay"), (Some("300 ms".into()), Source::Class, None));
    assert_eq!(word(&bare, "arp").1, Source::Class);
    assert_eq!(bare.of("max_bitrate_up"), None, "nobody says a maximum");
    let nothing = negotiate(&[], &Request::default(), None);
    assert_eq!(word(&nothing, "class"), (Some("background".into()), Source::Class, None));
}

#[test]
fn caps_have_the_last_word_and_the_tightest_is_named() {
    let caps = [
        (Source::User, Most { max_bitrate_up: at(50), ..Most::default() }),
        (Source::Operator, Most { priority_level: PriorityLevel::new(9), ..Most::default() }),
        (
            Source::Subscription,
            Most { max_bitrate_up: at(100), guaranteed_bitrate_down: at(10), ..Most::default() },
        ),
    ];
    let granted = negotiate(&caps, &request("max_bitrate_up = \"1 Mbit/s\""), Some(&voice()));
    let up = granted.of("max_bitrate_up").unwrap();
    assert_eq!((up.source, up.asked.as_deref(), up.why), (Source::User, Some("1 Mbit/s"), Some(Why::Capped)));
    assert_eq!(granted.attributes.max_bitrate_up, at(50));
    let down = (Some("10 kbit/s".into()), Source::Subscription, Some(Why::Capped));
    assert_eq!(word(&granted, "guaranteed_bitrate_down"), down);
    let arp = granted.attributes.arp.unwrap();
    assert_eq!((arp.level.get(), arp.pre_emption_capability), (9, true));
    assert_eq!(word(&granted, "arp").1, Source::Operator);
    // A maximum that nobody asked for is the cap.
    let granted = negotiate(&caps, &Request::default(), None);
    assert_eq!(word(&granted, "max_bitrate_up"), (Some("50 kbit/s".into()), Source::User, None));
}

#[test]
fn of_two_caps_that_say_the_same_the_first_source_is_named_whatever_their_order() {
    let most = Most { max_bitrate_up: at(50), ..Most::default() };
    for caps in
        [[(Source::User, most), (Source::Network, most)], [(Source::Network, most), (Source::User, most)]]
    {
        let granted = negotiate(&caps, &request("max_bitrate_up = \"1 Mbit/s\""), None);
        assert_eq!(word(&granted, "max_bitrate_up").1, Source::Network);
    }
}

#[test]
fn without_permission_the_class_is_background_and_what_it_has_not_falls_away() {
    let granted = negotiate(&[(Source::User, Most::BEST_EFFORT)], &Request::default(), Some(&voice()));
    assert_eq!(word(&granted, "class"), (Some("background".into()), Source::User, Some(Why::Capped)));
    assert_eq!(granted.of("class").unwrap().asked.as_deref(), Some("conversational"));
    for gone in ["guaranteed_bitrate_up", "transfer_delay", "source_statistics"] {
        assert_eq!(word(&granted, gone), (None, Source::User, Some(Why::NotInClass)), "{gone}");
    }
    assert_eq!(granted.attributes, granted.attributes.effective());
}

#[test]
fn what_is_out_of_range_is_brought_into_range_with_the_reason() {
    let asked = request(
        "class = \"conversational\"\ntransfer_delay = 1\nmax_sdu = 9223372036854775807\nsdu_error_ratio = \"3e-4\"\n\
         max_bitrate_up = \"10 kbit/s\"\nguaranteed_bitrate_up = \"20 kbit/s\"\n\
         [arp]\nlevel = 0\n",
    );
    let granted = negotiate(&[], &asked, None);
    assert_eq!(word(&granted, "transfer_delay"), (Some("10 ms".into()), Source::App, Some(Why::OutOfRange)));
    assert_eq!(granted.of("transfer_delay").unwrap().asked.as_deref(), Some("1 ms"));
    assert_eq!(word(&granted, "max_sdu").0.unwrap(), "1520 octets");
    assert_eq!(word(&granted, "sdu_error_ratio"), (Some("1e-4".into()), Source::App, Some(Why::OutOfRange)));
    let guaranteed = (Some("10 kbit/s".into()), Source::App, Some(Why::AboveMaximum));
    assert_eq!(word(&granted, "guaranteed_bitrate_up"), guaranteed);
    assert_eq!(granted.attributes.arp.unwrap().level.get(), 1);
    let strictest = negotiate(&[], &request("residual_ber = \"1e-9\""), None);
    assert_eq!(word(&strictest, "residual_ber").0.unwrap(), "6e-8");
}

#[test]
fn what_cannot_be_read_is_refused_by_the_reader() {
    for bad in [
        "warp = 9",
        "class = \"best\"",
        "max_bitrate_up = \"fast\"",
        "max_bitrate_up = \"0 kbit/s\"",
        "transfer_delay = -1",
        "sdu_error_ratio = \"0\"",
        "[arp]\nlevel = 3\nqueue = true",
    ] {
        assert!(toml::from_str::<Request>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_change_replaces_what_it_says_and_nothing_else() {
    let first = request("class = \"streaming\"\nmax_bitrate_up = \"10 kbit/s\"");
    let changed = first.changed_by(request("max_bitrate_up = \"20 kbit/s\""));
    assert_eq!(changed, request("class = \"streaming\"\nmax_bitrate_up = \"20 kbit/s\""));
}

fn rate() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(1..60_u64)
}

proptest! {
    #[test]
    fn whatever_is_asked_for_no_cap_is_exceeded_and_the_result_can_be_asked_of_a_bearer(
        (class, most_class) in (prop::option::of(0..4_usize), prop::option::of(0..4_usize)),
        (up, down, guaranteed_up, guaranteed_down) in (rate(), rate(), rate(), rate()),
        (most_up, most_guaranteed_up) in (rate(), rate()),
        (delay, thp, sdu) in (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>()),
        profile in prop::option::of(0..7_usize),
    ) {
        let class = class.map(|n| TrafficClass::ALL[n]);
        let most_class = most_class.map(|n| TrafficClass::ALL[n]);
        let asked = Request {
            class,
            max_bitrate_up: up.map(kbit),
            max_bitrate_down: down.map(kbit),
            guaranteed_bitrate_up: guaranteed_up.map(kbit),
            guaranteed_bitrate_down: guaranteed_down.map(kbit),
            transfer_delay: delay,
            traffic_handling_priority: thp,
            max_sdu: sdu,
            ..Request::default()
        };
        let set = ProfileSet::shipped();
        let profile = profile.and_then(|n| set.iter().nth(n));
        let most = Most {
            class: most_class,
            max_bitrate_up: most_up.and_then(at),
            guaranteed_bitrate_up: most_guaranteed_up.and_then(at),
            ..Most::default()
        };
        let granted = negotiate(&[(Source::Subscription, most)], &asked, profile.map(|profile| &**profile));
        let got = granted.attributes;
        prop_assert!(got.can_be_asked());
        prop_assert_eq!(got, got.effective());
        prop_assert!(most_class.is_none_or(|most| got.class.unwrap() >= most));
        prop_assert!(most.max_bitrate_up.is_none_or(|most| got.max_bitrate_up.unwrap() <= most));
        prop_assert!(most.guaranteed_bitrate_up.is_none_or(|most| got.guaranteed_bitrate_up.is_none_or(|g| g <= most)));
        for (guaranteed, max) in [
            (got.guaranteed_bitrate_up, got.max_bitrate_up),
            (got.guaranteed_bitrate_down, got.max_bitrate_down),
        ] {
            prop_assert!(guaranteed.is_none_or(|g| max.is_none_or(|max| g <= max)));
        }
        // What differs from the wish says why, and names each attribute once.
        let mut names: Vec<_> = granted.provenance.iter().map(|given| given.attribute).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), granted.provenance.len());
        prop_assert!(granted.provenance.iter().all(|given| given.asked.is_some() == given.why.is_some()));
    }
}
