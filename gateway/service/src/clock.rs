//! The device's clocks. [`now`] is for deadlines and counts suspended time; [`wall`] is for what is written down and for
//! certificates.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use mexe_model::WallTime;
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
