//! Hours against a minute-by-minute count of the week, and clocks against the calendar.

use super::*;

fn at(secs: u64, offset: i16) -> LocalTime {
    LocalTime { wall: WallTime::from_secs(secs), offset: UtcOffset::from_minutes(offset).unwrap() }
}

fn part(day: Weekday, from: u16, to: u16) -> DayHours {
    DayHours { day, from, to }
}

#[test]
fn the_local_week_begins_on_monday() {
    // 2026-11-24 03:04:51 UTC is a Tuesday.
    let tuesday = 1_795_489_491;
    assert_eq!(at(tuesday, 0).minute_of_week(), DAY + 3 * 60 + 4);
    assert_eq!(at(tuesday, -4 * 60).minute_of_week(), 23 * 60 + 4, "Monday evening further west");
    assert_eq!(at(tuesday, 60).minute_of_week(), DAY + 4 * 60 + 4);
    assert_eq!(at(tuesday, -240).day() + 1, at(tuesday, 0).day());
    assert_eq!(at(0, 0).minute_of_week(), 3 * DAY, "a Thursday");
    assert_eq!(at(0, -1).minute_of_week(), 3 * DAY - 1);
    assert_eq!(at(0, -1).day(), -1);
}

#[test]
fn no_offset_is_beyond_eighteen_hours() {
    for (minutes, good) in [(1080, true), (-1080, true), (1081, false), (-1081, false), (i16::MIN, false)] {
        assert_eq!(UtcOffset::from_minutes(minutes).is_some(), good, "{minutes}");
    }
}

#[test]
fn a_clock_goes_on_from_its_reading_in_both_directions() {
    let minute = 60_000_000_000;
    let clock = LocalClock { at: Instant::from_nanos(10 * minute), says: at(6000, 0) };
    let read = |minutes: u64| clock.read(Instant::from_nanos(minutes * minute)).wall.as_secs();
    assert_eq!((read(10), read(11), read(9)), (6000, 6060, 5940));
    assert_eq!(
        clock.read(Instant::from_nanos(u64::MAX)).wall.as_millis(),
        6_000_000 + (u64::MAX - 10 * minute) / 1_000_000
    );
    let young = LocalClock { at: Instant::from_nanos(u64::MAX), says: at(1, 0) };
    assert_eq!(young.read(Instant::from_nanos(0)).wall.as_millis(), 0);
}

#[test]
fn hours_are_the_union_of_their_parts() {
    let parts = [
        part(Weekday::Sun, 23 * 60, DAY),
        part(Weekday::Mon, 0, 60),
        part(Weekday::Mon, 30, 90),
        part(Weekday::Wed, 600, 601),
        part(Weekday::Wed, 601, 602),
        part(Weekday::Fri, 0, DAY),
        part(Weekday::Sat, 0, 1),
    ];
    let hours = Hours::new(parts).unwrap();
    for minute in 0..WEEK {
        let inside = parts
            .iter()
            .any(|part| minute / DAY == part.day.index() && (part.from..part.to).contains(&(minute % DAY)));
        assert_eq!(hours.contains(minute), inside, "{minute}");
        let mut left = 0;
        while left < WEEK && hours.contains((minute + left) % WEEK) {
            left += 1;
        }
        assert_eq!(hours.minutes_left(minute), Some(left), "{minute}");
    }
    assert_eq!(Hours::new(hours.by_day()), Some(hours.clone()));
    assert_eq!(
        hours.by_day(),
        [
            part(Weekday::Mon, 0, 90),
            part(Weekday::Wed, 600, 602),
            part(Weekday::Fri, 0, DAY),
            part(Weekday::Sat, 0, 1),
            part(Weekday::Sun, 23 * 60, DAY),
        ]
    );
    let always = Hours::new(Weekday::ALL.map(|day| part(day, 0, DAY))).unwrap();
    assert!((0..WEEK).all(|minute| always.contains(minute) && always.minutes_left(minute).is_none()));
}

#[test]
fn hours_that_are_none_are_refused() {
    for parts in [
        vec![],
        vec![part(Weekday::Mon, 60, 60)],
        vec![part(Weekday::Mon, 61, 60)],
        vec![part(Weekday::Mon, 0, DAY + 1)],
        vec![part(Weekday::Mon, 0, 60), part(Weekday::Tue, u16::MAX, u16::MAX)],
    ] {
        assert_eq!(Hours::new(parts.clone()), None, "{parts:?}");
    }
}

#[test]
fn a_window_closes_with_its_hours_or_its_end_whichever_comes_first() {
    let hours = Arc::new(Hours::new([part(Weekday::Thu, 0, 60)]).unwrap());
    let window = |until| Window { hours: Arc::clone(&hours), until };
    let open = window(None);
    assert_eq!(
        (open.at(at(0, 0)), open.at(at(3599, 0)), open.at(at(3600, 0))),
        (Opening::Open, Opening::Open, Opening::Closed)
    );
    assert_eq!(open.open_for(at(30, 0)), Some(Duration::from_secs(3570)));
    assert_eq!(open.open_for(at(3600, 0)), Some(Duration::ZERO));
    let ends = window(Some(WallTime::from_secs(100)));
    assert_eq!((ends.at(at(99, 0)), ends.at(at(100, 0))), (Opening::Open, Opening::Over));
    assert_eq!(ends.open_for(at(30, 0)), Some(Duration::from_secs(70)));
    assert_eq!(ends.at(at(7200, 0)), Opening::Over, "over counts more than closed");
}
