//! The shipped files, every kind of mistake in a file, and who wins when several profiles want one stream.

use super::*;
use crate::attributes::PriorityLevel;

fn one(text: &str) -> Result<ProfileSet, ProfileError> {
    ProfileSet::from_files([("own.toml", text)])
}

fn own(more: &str) -> String {
    format!("name = \"own\"\ndescription = \"d\"\nclass = \"streaming\"\n{more}")
}

#[test]
fn every_shipped_file_is_in_the_set_under_its_own_name() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
    #[expect(clippy::disallowed_methods, reason = "the test compares the folder with what is compiled in")]
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, SHIPPED.map(|(file, _)| file.to_owned()));
    let set = ProfileSet::shipped();
    let names: Vec<_> = set.iter().map(|profile| format!("{}.toml", profile.name)).collect();
    assert_eq!(names, files);
}

#[test]
fn shipped_background_has_no_maximum_and_asks_for_nothing() {
    let set = ProfileSet::shipped();
    let background = set.background();
    assert_eq!(background.class, TrafficClass::Background);
    assert_eq!((background.max_bitrate_up, background.max_bitrate_down), (None, None));
    assert!(background.rules.is_empty());
    assert_eq!(set.select(None, Some("www.example"), 443, "background").name, background.name);
}

#[test]
fn every_class_has_a_shipped_profile() {
    let set = ProfileSet::shipped();
    for class in TrafficClass::ALL {
        assert!(set.iter().any(|profile| profile.class == class), "{class}");
    }
}

#[test]
fn the_manifest_goes_before_the_rules_and_the_rules_before_the_default() {
    let set = ProfileSet::shipped();
    let name = |signed, port| &*set.select(signed, None, port, "sync").name;
    assert_eq!(name(Some("video"), 5060), "video");
    assert_eq!(name(Some(" video "), 5060), "video");
    assert_eq!(name(None, 5060), "voice");
    assert_eq!(name(None, 9), "sync");
    assert_eq!(name(Some("no-such"), 5060), "voice");
    assert_eq!(name(Some("no-such"), 9), "sync");
    assert_eq!(&*set.select(None, None, 9, "no-such").name, "background");
}

#[test]
fn the_rule_that_says_most_wins_whatever_the_order_of_files() {
    let files = [
        ("a.toml", "a", "[[rule]]\ndomain = \"*.example\"\n"),
        ("b.toml", "b", "[[rule]]\ndomain = \"*.media.example\"\n"),
        ("c.toml", "c", "[[rule]]\ndomain = \"live.media.example\"\nport = 443\n"),
        ("d.toml", "d", "[[rule]]\nport = 443\n"),
    ]
    .map(|(file, name, rule)| (file, own(rule).replace("own", name)));
    let mut backwards = files.clone();
    backwards.reverse();
    for files in [files, backwards] {
        let set = ProfileSet::from_files(files).unwrap();
        let name = |host, port| set.select(None, host, port, "web").name.to_string();
        assert_eq!(name(Some("live.media.example"), 443), "c");
        assert_eq!(name(Some("live.media.example"), 80), "b");
        assert_eq!(name(Some("media.example"), 80), "a");
        assert_eq!(name(Some("example"), 443), "d");
        assert_eq!(name(None, 443), "d");
        assert_eq!(name(None, 80), "web");
    }
}

#[test]
fn own_files_replace_shipped_ones_and_win_their_rules() {
    let set = ProfileSet::from_files([
        ("background.toml", "name = 'background'\ndescription = 'd'\nclass = 'background'\nmax_bitrate_up = '1 Mbit/s'\nburst = 9000"),
        ("own.toml", &own("[[rule]]\nport = 5060\n")),
    ])
    .unwrap();
    assert_eq!(set.background().max_bitrate_up, BitRate::bits_per_second(1_000_000));
    assert_eq!(set.background().burst, 9000);
    assert_eq!(&*set.select(None, None, 5060, "background").name, "own");
    assert_eq!(&*set.select(None, None, 5061, "background").name, "voice");
}

#[test]
fn mistakes_are_named_with_line_and_column() {
    let cases = [
        (own("burts = 1\n"), (4, 1), "unknown field `burts`"),
        (own("class = \"streaming\"\n"), (4, 1), "duplicate key"),
        (own("max_bitrate_up = \"10 Mbit/s\"\n"), (1, 8), "needs a `burst`"),
        (own("max_bitrate_up = \"10Mbit\"\nburst = 9000\n"), (4, 18), "is not a bit rate"),
        (own("burst = 9000\n"), (4, 9), "without a maximum"),
        (own("max_bitrate_up = \"10 Mbit/s\"\nburst = 10\n"), (5, 9), "1500 to 1073741824"),
        (own("[[rule]]\ndomain = \"*\"\n"), (4, 1), "is not a domain"),
        (own("[[rule]]\n"), (4, 1), "needs a `domain`"),
        (own("[[rule]]\nport = 70000\n"), (5, 8), "70000"),
        (own("[[rule]]\nport = 1\n[[rule]]\nport = 1\n"), (6, 1), "stands here twice"),
        (own("").replace("streaming", "fast"), (3, 9), "unknown variant `fast`"),
        (own("").replace("own", "Own"), (1, 8), "1 to 32 lower-case"),
        (own("").replace("own", "background"), (3, 9), "without permission"),
        (
            own("max_bitrate_up = \"1 Mbit/s\"\nburst = 9000\nguaranteed_bitrate_up = \"2 Mbit/s\"\n"),
            (6, 25),
            "above the maximum",
        ),
        (own("guaranteed_bitrate_down = \"0 bit/s\"\n"), (4, 27), "is not a bit rate"),
        (own("traffic_handling_priority = 1\n"), (4, 29), "does nothing in class streaming: leave it out"),
        (own("traffic_handling_priority = 4\n"), (4, 29), "write 1 to 3"),
        (own("signalling = true\n"), (4, 14), "does nothing in class streaming"),
        (own("transfer_delay = 9\n"), (4, 18), "write 10 to 4000 ms"),
        (own("transfer_delay = 100\n").replace("streaming", "interactive"), (4, 18), "does nothing"),
        (
            own("source_statistics = \"speech\"\n").replace("streaming", "interactive"),
            (4, 21),
            "does nothing",
        ),
        (
            own("guaranteed_bitrate_up = \"1 bit/s\"\n").replace("streaming", "background"),
            (4, 25),
            "does nothing",
        ),
        (own("source_statistics = \"song\"\n"), (4, 21), "unknown variant `song`"),
        (own("max_sdu = 1521\n"), (4, 11), "write 10 to 1520 octets"),
        (own("max_sdu = -1\n"), (4, 11), "-1"),
        (own("sdu_error_ratio = \"2e-3\"\n"), (4, 19), "choose one of"),
        (own("sdu_error_ratio = 1e-3\n"), (4, 19), "invalid type"),
        (own("residual_ber = \"7e-3\"\n"), (4, 16), "choose one of"),
        (own("residual_ber = \"7\"\n"), (4, 16), "is not an error ratio"),
        (own("erroneous_sdus = \"maybe\"\n"), (4, 18), "unknown variant `maybe`"),
        (own("delivery_order = \"yes\"\n"), (4, 18), "invalid type"),
        (own("arp = { level = 16 }\n"), (4, 17), "write 1 to 15"),
        (own("arp = { pre_emption_capability = true }\n"), (4, 7), "missing field `level`"),
        (own("arp = { level = 1, rank = 2 }\n"), (4, 20), "unknown field `rank`"),
        ("class = ".into(), (1, 9), ""),
        (String::new(), (1, 1), "missing field `name`"),
    ];
    for (text, place, what) in cases {
        let error = one(&text).unwrap_err();
        assert_eq!((error.line, error.column), place, "{error}\n{text}");
        assert!(error.what.contains(what), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(error.to_string().starts_with("own.toml:"), "{error}");
    }
}

#[test]
fn two_files_cannot_share_a_name_or_a_rule() {
    let twice = ProfileSet::from_files([("a.toml", own("")), ("b.toml", own(""))]).unwrap_err();
    assert_eq!(twice.to_string(), "b.toml:1:8: another file has the name `own`: choose one");
    let rule = "[[rule]]\nport = 7\n";
    let files = [("a.toml", own(rule)), ("b.toml", own(rule).replace("own", "other"))];
    let error = ProfileSet::from_files(files).unwrap_err();
    assert_eq!(error.to_string(), "b.toml:4:1: the rule `*:7` stands in profile `own` too: keep one");
}

#[test]
fn every_field_of_a_file_reaches_the_attributes() {
    let text = own(concat!(
        "max_bitrate_up = '64 kbit/s'\nmax_bitrate_down = '384 kbit/s'\nburst = 9000\n",
        "guaranteed_bitrate_up = '32 kbit/s'\nguaranteed_bitrate_down = '128 kbit/s'\ntransfer_delay = 300\n",
        "max_sdu = 1500\nsdu_error_ratio = '1e-1'\nresidual_ber = '6e-8'\ndelivery_order = true\n",
        "erroneous_sdus = 'no-detect'\nsource_statistics = 'speech'\n",
        "arp = { level = 3, pre_emption_vulnerability = true }\n",
    ));
    let attributes = one(&text).unwrap().get("own").unwrap().attributes();
    let expected = Attributes {
        class: Some(TrafficClass::Streaming),
        max_bitrate_up: Rate::bits_per_second(64_000),
        max_bitrate_down: Rate::bits_per_second(384_000),
        guaranteed_bitrate_up: Rate::bits_per_second(32_000),
        guaranteed_bitrate_down: Rate::bits_per_second(128_000),
        delivery_order: Some(true),
        max_sdu: MaxSdu::new(1500),
        sdu_error_ratio: ErrorRatio::new(1, 1),
        residual_ber: ErrorRatio::new(6, 8),
        erroneous_sdus: Some(ErroneousSdus::NoDetect),
        transfer_delay: TransferDelay::new(300),
        traffic_handling_priority: None,
        arp: Some(Arp {
            level: PriorityLevel::new(3).unwrap(),
            pre_emption_capability: false,
            pre_emption_vulnerability: true,
        }),
        source_statistics: SourceStatistics::Speech,
        signalling: false,
    };
    assert_eq!(attributes, expected);
    let text = own("traffic_handling_priority = 1\nsignalling = true").replace("streaming", "interactive");
    let attributes = one(&text).unwrap().get("own").unwrap().attributes();
    assert_eq!((attributes.traffic_handling_priority, attributes.signalling), (Some(Thp::FIRST), true));
}

#[test]
fn nothing_is_to_be_said_about_a_shipped_profile() {
    assert_eq!(ProfileSet::shipped().doubts().collect::<Vec<_>>(), [] as [&str; 0]);
}

#[test]
fn a_profile_outside_the_recommended_ranges_is_taken_up_and_doubted() {
    let set = one(&own("sdu_error_ratio = \"1e-6\"\ntransfer_delay = 100\n")).unwrap();
    let doubts: Vec<_> = set.doubts().collect();
    assert_eq!(
        doubts,
        [
            "profile `own`: `sdu_error_ratio`: 1e-6 is not recommended for class streaming",
            "profile `own`: `transfer_delay`: 100 ms is less than class streaming usually gets (250 ms)",
        ]
    );
}

/// TS 26.114, annex E: what a standard itself makes of the attributes.
#[test]
fn the_examples_of_the_standard_are_profiles_without_a_doubt() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/annex-e");
    #[expect(clippy::disallowed_methods, reason = "the test reads its own fixtures")]
    let files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    assert_eq!(files.len(), 4);
    let set = ProfileSet::from_files(files).unwrap();
    for (name, up, guaranteed, delay) in [
        ("amr-12-2", Some(31_000), Some(31_000), Some(130)),
        ("amr-adaptive", Some(31_000), Some(25_000), Some(130)),
        ("h264-192", Some(208_000), Some(208_000), Some(170)),
        ("real-time-text", None, None, None),
    ] {
        let attributes = set.get(name).unwrap().attributes();
        assert_eq!(attributes.check(), [], "{name}");
        assert_eq!(attributes.max_up().map(BitRate::get), up, "{name}");
        assert_eq!(
            (attributes.max_up(), attributes.guaranteed_up()),
            (attributes.max_down(), attributes.guaranteed_down()),
            "{name}"
        );
        assert_eq!(attributes.guaranteed_down().map(BitRate::get), guaranteed, "{name}");
        assert_eq!(attributes.transfer_delay.map(TransferDelay::get), delay, "{name}");
        assert_eq!(attributes.max_sdu, MaxSdu::new(1400), "{name}");
    }
}

#[test]
fn every_field_is_explained_in_the_documentation() {
    let docs = include_str!("../../../docs/profiles.md");
    let error = one(&own("nonsense = 1\n")).unwrap_err().what;
    let (_, fields) = error.split_once("expected one of ").unwrap();
    let fields: Vec<_> = fields.split(", ").map(|field| field.trim_matches('`')).collect();
    assert_eq!(fields.len(), 19, "{error}");
    for field in fields {
        assert!(docs.contains(&format!("`{field}`")) || docs.contains(&format!("`[[{field}]]`")), "{field}");
    }
}
