//! What differentiated services code points are called, for whoever shows one: the service classes of RFC 4594, the lower
//! effort of RFC 8622, and the user priority that Wi-Fi gives each by RFC 8325. Data; decides nothing: which code point a
//! class has is in `mapping`. Called by whoever shows a stream.
//!
//! Everything in the table is recalled, not read from the RFCs, the pairs of number and name with more confidence than the
//! priorities of Wi-Fi. So nothing is decided by it; a number that is not in it is shown without a name.

/// A code point that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodePoint {
    /// 0 to 63.
    pub number: u8,
    /// The per-hop behaviour, as in `AF41`.
    pub name: &'static str,
    /// The service class that it is meant for.
    pub service: &'static str,
    /// The user priority of IEEE 802.11 that an access point or a station gives it, 0 to 7; `None` where that depends on
    /// whether the device belongs to the network.
    pub user_priority: Option<u8>,
}

const fn row(number: u8, name: &'static str, service: &'static str, user_priority: Option<u8>) -> CodePoint {
    CodePoint { number, name, service, user_priority }
}

/// All that have a name, by number. Recalled: RFC 4594 for all but 1 (RFC 8622) and 44 (RFC 5865).
pub const TABLE: [CodePoint; 23] = [
    row(0, "default", "standard", Some(0)),
    row(1, "LE", "lower effort", Some(1)),
    // What low priority had before it was told from default traffic by networks that know no LE.
    row(8, "CS1", "low-priority data", Some(1)),
    row(10, "AF11", "high-throughput data", Some(0)),
    row(12, "AF12", "high-throughput data", Some(0)),
    row(14, "AF13", "high-throughput data", Some(0)),
    row(16, "CS2", "operation and management", Some(0)),
    row(18, "AF21", "low-latency data", Some(3)),
    row(20, "AF22", "low-latency data", Some(3)),
    row(22, "AF23", "low-latency data", Some(3)),
    row(24, "CS3", "broadcast video", Some(4)),
    row(26, "AF31", "multimedia streaming", Some(4)),
    row(28, "AF32", "multimedia streaming", Some(4)),
    row(30, "AF33", "multimedia streaming", Some(4)),
    row(32, "CS4", "real-time interactive", Some(4)),
    row(34, "AF41", "multimedia conferencing", Some(4)),
    row(36, "AF42", "multimedia conferencing", Some(4)),
    row(38, "AF43", "multimedia conferencing", Some(4)),
    row(40, "CS5", "signalling", Some(5)),
    row(44, "VOICE-ADMIT", "telephony that was admitted", Some(6)),
    row(46, "EF", "telephony", Some(6)),
    row(48, "CS6", "network control", None),
    row(56, "CS7", "network control, reserved", None),
];

impl CodePoint {
    /// That one; `None` when the number has no name.
    pub fn of(number: u8) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.number == number)
    }
}

/// A code point as it is shown: the number, and its name where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Named {
    /// 0 to 63.
    pub number: u8,
    /// `EF` for 46.
    pub name: Option<&'static str>,
}

impl From<u8> for Named {
    fn from(number: u8) -> Self {
        Self { number, name: CodePoint::of(number).map(|row| row.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::dscp_of_qci;
    use crate::{Marking, Qci, TrafficClass};

    #[test]
    fn assured_forwarding_and_class_selectors_are_where_their_names_say() {
        assert!(TABLE.is_sorted_by(|a, b| a.number < b.number), "each once");
        for row in TABLE {
            let digits: Vec<u8> =
                row.name.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
            let number = match (row.name.get(..2), digits.as_slice()) {
                (Some("CS"), [class]) => 8 * class,
                (Some("AF"), [class, drop]) => 8 * class + 2 * drop,
                _ => continue,
            };
            assert_eq!(row.number, number, "{}", row.name);
        }
    }

    #[test]
    fn every_mark_of_the_gate_has_a_name_and_no_number_beyond_six_bits_has_one() {
        let names = TrafficClass::ALL.map(|class| Named::from(Marking::from(class).dscp).name);
        assert_eq!(names, [Some("EF"), Some("AF41"), Some("AF21"), Some("default")]);
        let of_qci =
            |number| Qci::new(number).and_then(dscp_of_qci).map(Named::from).and_then(|named| named.name);
        let names: Vec<_> = (1..=9).filter_map(of_qci).collect();
        assert_eq!(names, ["EF", "EF", "EF", "AF41", "AF31", "AF32", "AF21", "AF11", "default"]);
        assert!((64..=u8::MAX).all(|number| CodePoint::of(number).is_none()));
        assert_eq!(Named::from(2), Named { number: 2, name: None });
    }
}
