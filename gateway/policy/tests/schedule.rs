//! Schedules: read strictly, written in one spelling, decided by hours and budget, and never wider than the table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    missing_docs,
    reason = "tests"
)]

use std::sync::Arc;
use std::time::Duration;

use mexe_model::{AppId, DomainName, GrantId, Groups, Instant, Permission, Reason, RunId, Trust, WallTime};
use mexe_policy::schedule::{Left, ScheduleDigest, Shut, Usage};
use mexe_policy::table::SHIPPED;
use mexe_policy::*;
use proptest::prelude::*;

const WEATHER: &str = r#"
name = "morning-weather"
app = "weather"
actions = ["network.connect"]
targets = ["*.example.org:443"]
until = "2027-01-31T00:00:00Z"

[[hours]]
days = ["mon", "tue", "wed", "thu", "fri"]
from = "06:00"
to = "22:00"

[budget]
bytes-per-day = 5000000
"#;

const THIRD_PARTY: Trust = Trust::ALL[2];

fn weather() -> Schedule {
    Schedule::from_toml(WEATHER).unwrap()
}

/// 2026-11-24 is a Tuesday.
fn tuesday(hour: u64, minute: u64) -> LocalTime {
    let midnight = 1_795_489_491 / 86_400 * 86_400;
    LocalTime { wall: WallTime::from_secs(midnight + hour * 3600 + minute * 60), offset: UtcOffset::UTC }
}

fn days(later: u64, at: LocalTime) -> LocalTime {
    LocalTime { wall: WallTime::from_millis(at.wall.as_millis() + later * 86_400_000), ..at }
}

#[test]
fn a_schedule_says_what_it_permits_in_a_sentence() {
    let table = SecurityTable::shipped().unwrap();
    let says = |text: &str| Schedule::from_toml(text).unwrap().sentences(&table);
    assert_eq!(
        says(WEATHER),
        ["weather may connect to *.example.org:443, Mon-Fri 06:00-22:00, up to 5 MB a day, until \
          2027-01-31T00:00:00Z"]
    );
    let text = r#"
        name = "a"
        app = "tv"
        actions = ["network.datagram", "network.connect", "user-data.read"]
        targets = ["example.net", "example.org", "192.0.2.0/24"]
        hours = [
            { days = ["sat", "mon", "wed"], from = "00:00", to = "24:00" },
            { days = ["fri"], from = "22:30", to = "24:00" },
        ]
        budget = { bytes = 1500001, events-per-day = 1, events = 20 }
    "#;
    let rest = "Mon, Wed and Sat all day and Fri 22:30-24:00, up to once a day, up to 1500001 bytes in all, up to 20 times \
                in all";
    let places = "192.0.2.0/24, example.net and example.org";
    assert_eq!(
        says(text),
        [
            format!("tv may connect to {places}, {rest}"),
            format!("tv may exchange datagrams with {places}, {rest}"),
            format!(
                "tv may perform user-data.read (reading what the user stored: phone book, messages, calendar, \
                 preferences, location), {rest}"
            ),
        ]
    );
}

#[test]
fn mistakes_are_told_with_line_and_column() {
    for (from, to, told) in [
        ("morning-weather", "Morning", "line 2, column 8: `Morning` is no name of a schedule"),
        ("\"weather\"", "\"-weather\"", "line 3, column 7: "),
        ("[\"network.connect\"]", "[]", "line 4, column 11: the schedule lists no action"),
        ("network.connect", "network.*", "line 4, column 12: `network.*` is not an action"),
        ("*.example.org", "*.co.uk", "line 5, column 12: "),
        ("2027-01-31T", "2027-02-29T", "line 6, column 9: `2027-02-29T00:00:00Z` is no moment"),
        ("00:00:00Z", "24:00:00Z", "line 6, column 9: `2027-01-31T24:00:00Z` is no moment"),
        ("00:00:00Z", "00:00:00+01:00", "line 6, column 9: "),
        ("\"2027-01-31T00:00:00Z\"", "2027-01-31", "line 6, column 9: invalid type"),
        ("\"tue\"", "\"tuesday\"", "line 9, column 16: `tuesday` is no day"),
        ("06:00", "6:00", "line 10, column 8: `6:00` is no time of day"),
        ("06:00", "06:60", "line 10, column 8: `06:60` is no time of day"),
        ("22:00", "24:01", "line 11, column 6: `24:01` is no time of day"),
        ("22:00", "06:00", "line 11, column 6: `06:00` to `06:00` are no hours of one day"),
        ("22:00", "02:00", "line 11, column 6: `06:00` to `02:00` are no hours of one day"),
        (
            "[\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]",
            "[]",
            "line 9, column 8: the schedule has no hours",
        ),
        ("5000000", "0", "line 14, column 17: "),
        ("5000000", "-1", "line 14, column 17: "),
        ("bytes-per-day", "bytes-a-day", "line 14, column 1: unknown field `bytes-a-day`"),
        ("name = ", "nom = ", "line 2, column 1: unknown field `nom`"),
    ] {
        let text = WEATHER.replacen(from, to, 1);
        assert_ne!(text, WEATHER);
        let error = Schedule::from_toml(&text).unwrap_err().to_string();
        assert!(error.starts_with(told), "{from} as {to} gave {error}");
    }
    let no_hours = WEATHER.split("[[hours]]").next().unwrap();
    assert_eq!(
        Schedule::from_toml(no_hours).unwrap_err().to_string(),
        "line 1, column 1: the schedule has no hours; write a [[hours]] section with days, from and to"
    );
    let many = |what: &str, n: usize| (0..n).map(|n| format!("\"{what}{n}\"")).collect::<Vec<_>>().join(", ");
    for (from, to) in [
        ("\"*.example.org:443\"", many("example.org:4", 65)),
        ("\"network.connect\"", many("network.x", 17)),
        ("morning-weather", "a".repeat(16 << 10)),
    ] {
        let error = Schedule::from_toml(&WEATHER.replace(from, &to)).unwrap_err().to_string();
        assert!(error.contains("the schedule is too long"), "{error}");
    }
}

#[test]
fn the_digest_changes_with_the_meaning_and_with_nothing_else() {
    let schedule = weather();
    let same = WEATHER
        .replace("[\"mon\", \"tue\",", "[\"tue\", \"mon\", \"mon\",")
        .replace("\"*.example.org:443\"", "\"*.EXAMPLE.org:443\", \"*.example.org:443\"")
        + "# nothing\n";
    assert_eq!(Schedule::from_toml(&same).unwrap().digest(), schedule.digest());
    for (from, to) in [
        ("morning-weather", "evening-weather"),
        ("\"weather\"", "\"weather2\""),
        ("network.connect", "network.datagram"),
        ("*.example.org", "example.org"),
        (":443", ""),
        ("2027-01-31", "2027-02-01"),
        (", \"fri\"", ", \"fri\", \"sat\""),
        ("06:00", "05:59"),
        ("22:00", "22:01"),
        ("5000000", "5000001"),
        ("bytes-per-day", "bytes"),
        ("bytes-per-day", "events-per-day"),
        ("until = \"2027-01-31T00:00:00Z\"", ""),
    ] {
        let other = Schedule::from_toml(&WEATHER.replacen(from, to, 1)).unwrap();
        assert_ne!(other.digest(), schedule.digest(), "{from} as {to}");
    }
    let shown = schedule.digest().to_string();
    assert_eq!(shown.parse::<ScheduleDigest>().unwrap(), schedule.digest());
    for bad in ["", &shown[1..], &shown.to_uppercase(), &format!("{shown}0"), &format!("ä{}", &shown[2..])] {
        assert!(bad.parse::<ScheduleDigest>().is_err(), "{bad}");
    }
}

#[test]
fn it_permits_within_its_hours_and_budget_only() {
    let schedule = weather();
    let decide = |at, usage: Usage| schedule.decide(at, &usage, false);
    let fresh = Usage::default();
    assert_eq!(
        decide(tuesday(21, 59), fresh),
        Ok(Left { bytes: Some(5_000_000), events: None, time: Some(Duration::from_secs(60)) })
    );
    assert_eq!(decide(tuesday(5, 59), fresh), Err(Shut::OutsideHours));
    assert_eq!(decide(tuesday(22, 0), fresh), Err(Shut::OutsideHours));
    assert_eq!(decide(days(4, tuesday(12, 0)), fresh), Err(Shut::OutsideHours), "Saturday");
    let further_east = LocalTime { offset: UtcOffset::from_minutes(61).unwrap(), ..tuesday(21, 0) };
    assert_eq!(decide(further_east, fresh), Err(Shut::OutsideHours));
    assert_eq!(decide(days(70, tuesday(12, 0)), fresh), Err(Shut::Expired));
    assert_eq!(schedule.decide(tuesday(12, 0), &fresh, true), Err(Shut::Revoked));
    let mut usage = fresh;
    usage.add(tuesday(12, 0), 4_999_999, 1);
    assert_eq!(decide(tuesday(13, 0), usage).unwrap().bytes, Some(1));
    usage.add(tuesday(13, 0), 1, 1);
    assert_eq!(decide(tuesday(13, 0), usage), Err(Shut::BudgetUsedUp));
    assert_eq!(decide(days(1, tuesday(13, 0)), usage).unwrap().bytes, Some(5_000_000), "the next day");
    assert_eq!((usage.bytes, usage.events), (5_000_000, 2));
}

#[test]
fn a_clock_that_is_set_back_and_forth_gives_no_day_twice() {
    let schedule = weather();
    let mut usage = Usage::default();
    usage.add(tuesday(12, 0), 5_000_000, 1);
    let monday = LocalTime {
        wall: WallTime::from_millis(tuesday(12, 0).wall.as_millis() - 86_400_000),
        ..tuesday(0, 0)
    };
    assert_eq!(schedule.decide(monday, &usage, false), Err(Shut::BudgetUsedUp));
    usage.add(monday, 1, 0);
    assert_eq!(usage.bytes_of_day, 5_000_001);
    assert_eq!(schedule.decide(tuesday(12, 0), &usage, false), Err(Shut::BudgetUsedUp));
}

#[test]
fn the_smaller_budget_counts() {
    let text = WEATHER
        .replace("bytes-per-day = 5000000", "bytes-per-day = 10\nbytes = 15\nevents = 2\nevents-per-day = 1");
    let schedule = Schedule::from_toml(&text).unwrap();
    let mut usage = Usage::default();
    usage.add(tuesday(12, 0), 9, 0);
    let left = schedule.decide(tuesday(12, 0), &usage, false).unwrap();
    assert_eq!((left.bytes, left.events), (Some(1), Some(1)));
    let left = schedule.decide(days(1, tuesday(12, 0)), &usage, false).unwrap();
    assert_eq!((left.bytes, left.events), (Some(6), Some(1)));
    usage.add(tuesday(12, 0), 0, 1);
    assert_eq!(schedule.decide(tuesday(12, 0), &usage, false), Err(Shut::BudgetUsedUp));
    usage.add(days(1, tuesday(12, 0)), 0, 1);
    assert_eq!(
        schedule.decide(days(2, tuesday(12, 0)), &usage, false),
        Err(Shut::BudgetUsedUp),
        "twice in all"
    );
}

fn grants(text: &str, standing: impl Into<Standing>, table: &SecurityTable) -> Result<Vec<Grant>, Reason> {
    let mut id = 0;
    let next = || {
        id += 1;
        GrantId(id)
    };
    Schedule::from_toml(text).unwrap().grants(next, WallTime::from_secs(0), standing, table)
}

#[test]
fn a_schedule_never_gives_more_than_the_table() {
    let table = SecurityTable::shipped().unwrap();
    for row in table.rows() {
        for trust in Trust::ALL {
            let targets = match row.target {
                table::TargetKind::Endpoint => "targets = [\"*.example.org:443\"]",
                table::TargetKind::Number => "targets = [\"+493012345\"]",
                table::TargetKind::None => "",
            };
            let text = WEATHER
                .replace("network.connect", row.action.as_str())
                .replace("targets = [\"*.example.org:443\"]", targets);
            let made = grants(&text, trust, &table).map(|grants| grants.len());
            let expected = match row.cell(trust).maximum {
                Some(Permission::Blanket) => Ok(1),
                Some(_) => Err(Reason::PermissionAboveMaximum),
                None if trust == Trust::Untrusted => Err(Reason::UntrustedApp),
                None => Err(Reason::ForbiddenToDomain),
            };
            assert_eq!(made, expected, "{} {trust}", row.action);
        }
    }
    let legacy = Standing { trust: THIRD_PARTY, groups: Groups::ALL, legacy: true };
    assert_eq!(grants(WEATHER, legacy, &table).map(|g| g.len()), Err(Reason::PermissionAboveMaximum));
    let restricted = Standing { trust: THIRD_PARTY, groups: Groups::NONE, legacy: false };
    assert_eq!(grants(WEATHER, restricted, &table).map(|g| g.len()), Err(Reason::RestrictedByCertificate));
    let unknown = WEATHER.replace("network.connect", "network.unheard-of");
    assert_eq!(grants(&unknown, THIRD_PARTY, &table).map(|g| g.len()), Err(Reason::ActionUnknown));
}

#[test]
fn where_to_is_always_listed() {
    let wide = SHIPPED.replace("permission = \"session(single)\"", "permission = \"blanket(single)\"");
    let table = SecurityTable::from_toml(&wide).unwrap();
    let nowhere = WEATHER.replace("targets = [\"*.example.org:443\"]", "");
    assert_eq!(grants(&nowhere, THIRD_PARTY, &table).map(|g| g.len()), Err(Reason::RequestMalformed));
    let no_target = WEATHER.replace("network.connect", "user-data.read");
    assert_eq!(grants(&no_target, THIRD_PARTY, &table).map(|g| g.len()), Err(Reason::RequestMalformed));
    let both = WEATHER
        .replace("\"network.connect\"", "\"network.connect\", \"network.datagram\", \"user-data.read\"");
    let both = both.replace(":443\"]", ":443\", \"example.net\"]");
    let made = grants(&both, THIRD_PARTY, &table).unwrap();
    assert_eq!(made.len(), 5);
    assert!(made.iter().all(|grant| grant.window() == Some(weather().window())));
}

#[test]
fn calls_are_listed_by_their_numbers() {
    let wide = SHIPPED.replace("permission = \"session(single)\"", "permission = \"blanket(single)\"");
    let table = SecurityTable::from_toml(&wide).unwrap();
    let calls = WEATHER
        .replace("[\"network.connect\"]", "[\"network.connect\", \"network.call\"]")
        .replace(":443\"]", ":443\", \"+493012345\"]");
    let made = grants(&calls, THIRD_PARTY, &table).unwrap();
    let pairs: Vec<_> = made
        .iter()
        .map(|grant| {
            (table.row(grant.action()).unwrap().action.to_string(), grant.target().unwrap().to_string())
        })
        .collect();
    let pair = |action: &str, target: &str| (action.to_owned(), target.to_owned());
    assert_eq!(pairs, [pair("network.call", "+493012345"), pair("network.connect", "*.example.org:443")]);
    let says = Schedule::from_toml(&calls).unwrap().sentences(&table);
    assert!(says[0].starts_with("weather may call +493012345, "), "{says:?}");
    assert!(says[1].starts_with("weather may connect to *.example.org:443, "), "{says:?}");
    // A number for nobody, and a call to whomever.
    for text in
        [WEATHER.replace(":443\"]", ":443\", \"112\"]"), WEATHER.replace("network.connect", "network.call")]
    {
        assert_eq!(grants(&text, THIRD_PARTY, &table).map(|g| g.len()), Err(Reason::RequestMalformed));
    }
    let schedule = Schedule::from_toml(&calls).unwrap();
    assert_eq!(Schedule::from_toml(&schedule.canonical()).unwrap(), schedule);
}

#[test]
fn grants_within_a_window_are_never_session_or_single() {
    let table = SecurityTable::shipped().unwrap();
    for permission in Permission::ALL {
        let spec = GrantSpec {
            id: GrantId(1),
            app: "weather".parse().unwrap(),
            action: table.action("network.connect").unwrap(),
            target: None,
            permission: Some(permission),
            granted_at: WallTime::from_secs(0),
            expires: None,
        };
        let made = Grant::new(spec, THIRD_PARTY, &table).unwrap().within(weather().window().clone());
        let expected =
            if permission == Permission::Blanket { Ok(()) } else { Err(Reason::PermissionAboveMaximum) };
        assert_eq!(made.map(|_| ()), expected, "{permission}");
    }
}

/// What the engine makes of it: the hours count, the clock's jumps count, and a plain grant is used first.
#[test]
fn the_engine_keeps_the_hours() {
    let table = Arc::new(SecurityTable::shipped().unwrap());
    let app: AppId = "weather".parse().unwrap();
    let name = DomainName::from_ascii("api.example.org").unwrap();
    let facts = |binding| Facts {
        app: &app,
        trust: THIRD_PARTY,
        groups: Groups::ALL,
        legacy: false,
        suspended: false,
        run: Some(RunFacts { id: RunId(1), binding, ended: false }),
        action: table.action("network.connect").unwrap(),
        target: Target::Name { name: &name, port: 443 },
    };
    let measured = facts(RunBinding::Measured);
    let policy = Policy::new(Arc::clone(&table), Settings::default(), Surroundings::default());
    let policy = policy.with_grants(grants(WEATHER, THIRD_PARTY, &table).unwrap());
    let minute = |n: u64| Instant::from_nanos(n * 60_000_000_000);
    let asks = |policy: &Policy, now, reason| {
        let Decision::Ask(rule) = policy.decide(now, &measured) else { panic!() };
        assert_eq!(rule.reason_unanswered(), reason);
        assert!(!explain(policy, now, &measured).grants[0].covers);
    };
    let allows = |policy: &Policy, now| match policy.decide(now, &measured) {
        Decision::Allow(ticket) => ticket.grant,
        other => panic!("{other:?}"),
    };
    // No clock: no hours.
    asks(&policy, minute(0), Reason::PermissionMissing);
    assert_eq!(policy.next_closing(minute(0)), None);
    let says = |says| Some(LocalClock { at: minute(0), says });
    let open = policy.with_clock(says(tuesday(21, 0)));
    assert!(open.epoch() > policy.epoch());
    assert_eq!(allows(&open, minute(59)), GrantId(1));
    asks(&open, minute(60), Reason::OutsideHours);
    assert_eq!(open.next_closing(minute(10)), Some(minute(60)));
    assert_eq!(open.next_closing(minute(60)), None);
    assert_eq!(explain(&open, minute(60), &measured).grants[0].says, "it holds at other hours");
    // A run by token uses no blanket permission, of whatever kind.
    assert!(matches!(open.decide(minute(0), &facts(RunBinding::Token)), Decision::Ask(_)));
    // The clock is set: to the night, beyond the end, and is not to be relied on.
    asks(&open.with_clock(says(tuesday(3, 0))), minute(0), Reason::OutsideHours);
    asks(&open.with_clock(says(days(70, tuesday(12, 0)))), minute(0), Reason::PermissionExpired);
    asks(&open.with_clock(None), minute(0), Reason::PermissionMissing);
    // Without budget it covers nothing, until there is some again.
    let grant = open.grant(GrantId(1)).unwrap();
    let used_up = open.with_grant(grant.used_up());
    asks(&used_up, minute(0), Reason::BudgetUsedUp);
    assert_eq!(allows(&used_up.with_grant(grant.replenished()), minute(0)), GrantId(1));
    // A plain grant spares the schedule's budget.
    let spec = GrantSpec {
        id: GrantId(9),
        app: app.clone(),
        action: measured.action,
        target: Some("*.example.org".parse().unwrap()),
        permission: Some(Permission::Blanket),
        granted_at: WallTime::from_secs(0),
        expires: Some(minute(30)),
    };
    let both = open.with_grant(Grant::new(spec, THIRD_PARTY, &table).unwrap());
    assert_eq!((allows(&both, minute(29)), allows(&both, minute(30))), (GrantId(9), GrantId(1)));
}

proptest! {
    #[test]
    fn the_canonical_text_reads_back(
        days in proptest::collection::vec((0usize..7, 0u16..1440, 1u16..=1440), 1..6),
        until in proptest::option::of(0u64..253_402_300_800),
        budget in proptest::array::uniform4(proptest::option::of(1u64..i64::MAX as u64)),
        targets in proptest::sample::subsequence(vec!["example.org", "*.example.net:443", "[::1]:80", "10.0.0.0/8"], 0..=4),
    ) {
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let mut text = format!("name = \"a-1\"\napp = \"b.c\"\nactions = [\"x.z\", \"x.y\"]\ntargets = {targets:?}\n");
        if let Some(until) = until {
            let at = WallTime::from_secs(until).to_string().replace(".000Z", "Z");
            text += &format!("until = \"{at}\"\n");
        }
        for (day, from, length) in days {
            let to = (from + length).min(1440);
            text += &format!(
                "[[hours]]\ndays = [\"{}\"]\nfrom = \"{:02}:{:02}\"\nto = \"{:02}:{:02}\"\n",
                names[day], from / 60, from % 60, to / 60, to % 60
            );
        }
        text += "[budget]\n";
        for (key, limit) in ["bytes", "bytes-per-day", "events", "events-per-day"].iter().zip(budget) {
            text += &limit.map(|limit| format!("{key} = {limit}\n")).unwrap_or_default();
        }
        let schedule = Schedule::from_toml(&text).unwrap();
        prop_assert_eq!(schedule.window().until, until.map(WallTime::from_secs));
        let canonical = schedule.canonical();
        let again = Schedule::from_toml(&canonical).unwrap();
        prop_assert_eq!(&again, &schedule);
        prop_assert_eq!(again.canonical(), canonical);
    }
}
