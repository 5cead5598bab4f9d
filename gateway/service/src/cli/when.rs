//! Times and durations as people write them on the command line. Decides nothing about
//! what they are for.

use std::time::Duration;

use mexe_model::WallTime;

/// Reads an RFC 3339 time, as in `2026-11-24T03:04:51Z`.
///
/// # Errors
/// When it is not one, or lies before 1970.
pub(super) fn time(text: &str) -> Result<WallTime, String> {
    let mistake = || format!("`{text}` is not a time: write RFC 3339, as in 2026-11-24T03:04:51Z");
    let stamp: jiff::Timestamp = text.parse().map_err(|_| mistake())?;
    u64::try_from(stamp.as_millisecond()).map(WallTime::from_millis).map_err(|_| mistake())
}

/// Reads a point in the past: an RFC 3339 time, a date (its start, UTC), or how long ago, as in `10m`.
///
/// # Errors
/// When it is none of these.
pub(super) fn since(text: &str, now: WallTime) -> Result<WallTime, String> {
    if let Ok(ago) = duration(text) {
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        return Ok(WallTime::from_millis(now.as_millis().saturating_sub(ago)));
    }
    time(text).or_else(|_| time(&format!("{text}T00:00:00Z"))).map_err(|_| {
        format!("`{text}` is not a time: write 2026-11-24T03:04:51Z, a date, or how long ago, as in 10m")
    })
}

/// Keeps the user's spelling of a duration, which the gate reads by the same rule.
///
/// # Errors
/// Those of [`duration`].
pub(super) fn spelt_duration(text: &str) -> Result<String, String> {
    duration(text).map(|_| text.to_owned())
}

/// Reads a duration: a whole number and ms, s, m, h or d.
///
/// # Errors
/// When it is not one, or is zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let mistake =
        || format!("`{text}` is not a duration: write a whole number and ms, s, m, h or d, as in 10m");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(mistake)?;
    let (number, unit) = text.split_at_checked(unit_at).ok_or_else(mistake)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(mistake()),
    };
    let number: u64 = number.parse().map_err(|_| mistake())?;
    number.checked_mul(millis).filter(|n| *n > 0).map(Duration::from_millis).ok_or_else(mistake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        for bad in
            ["", "10", "m", "1.5h", "-1s", "0s", "10 m", "10w", "99999999999999999999d", "9999999999999999d"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time("2026-11-24T03:04:51Z").map(WallTime::as_secs), Ok(1_795_489_491));
        assert_eq!(time("2026-11-24T04:04:51.5+01:00").map(WallTime::as_millis), Ok(1_795_489_491_500));
        for bad in ["", "now", "2026-11-24", "1960-01-01T00:00:00Z", "24.11.2026"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn since_takes_a_time_a_date_or_an_age() {
        let now = WallTime::from_secs(1_795_489_491);
        assert_eq!(since("10m", now), Ok(WallTime::from_secs(1_795_488_891)));
        assert_eq!(since("2026-11-24", now), Ok(WallTime::from_secs(1_795_478_400)));
        assert_eq!(since("2026-11-24T03:04:51Z", now), Ok(now));
        assert!(since("yesterday", now).is_err());
        assert_eq!(since("90000d", now), Ok(WallTime::default()));
    }
}
