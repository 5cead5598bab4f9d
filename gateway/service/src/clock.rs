//! The device's clocks. [`now`] is for deadlines and counts suspended time; [`wall`] is for what is written down and for
//! certificates.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mexe_model::WallTime;
use mexe_policy::{LocalTime, UtcOffset};
pub use mexe_relay::clock::now;

/// The wall clock.
pub fn wall() -> WallTime {
    // A clock before 1970 is 1970: every certificate is not yet valid then.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Names this boot of the device: instants of another boot mean nothing here.
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    })
}

/// How far local time is ahead of UTC at that moment, by the device's time zone (`TZ`, else /etc/localtime). Without one,
/// and beyond what any place has, local time is UTC. A change of the zone is seen within five minutes.
pub fn utc_offset(at: WallTime) -> UtcOffset {
    let moment = i64::try_from(at.as_millis()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let seconds = moment.map_or(0, |moment| TimeZone::system().to_offset(moment).seconds());
    i16::try_from(seconds.div_euclid(60)).ok().and_then(UtcOffset::from_minutes).unwrap_or_default()
}

/// The local time.
pub fn local() -> LocalTime {
    let wall = wall();
    LocalTime { wall, offset: utc_offset(wall) }
}
