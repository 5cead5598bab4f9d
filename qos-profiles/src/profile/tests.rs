//! The shipped files, every kind of mistake in a file, and who wins when several profiles want one stream.

use super::*;

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
