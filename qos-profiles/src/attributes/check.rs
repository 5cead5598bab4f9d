//! What is to be said about a set of attributes: what its class ignores, what cannot be asked for, what looks odd.
//! The rules that ignore or refuse are those of TS 24.008, 10.5.6.5. What is known only from the value ranges that
//! TS 23.107 recommends per class makes a doubt and never a refusal: a network negotiates such values into range.

use super::{Attributes, ErrorRatio, MaxSdu, Rate, SourceStatistics, Thp, TransferDelay};
use crate::TrafficClass::{Background, Conversational, Interactive, Streaming};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// The class has no such attribute: whatever it says is ignored.
    Ignored,
    /// It can be asked for, but no network has to give it.
    Doubtful,
    /// It cannot be asked for.
    Wrong,
}

/// Something to be said about one attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Finding {
    /// The attribute, by the name of its field.
    pub attribute: &'static str,
    /// How much it weighs.
    pub weight: Weight,
    /// What is the matter, in one line.
    pub what: String,
}

impl Attributes {
    /// The attributes without those that TS 24.008 has the receiver ignore: guaranteed bit rates, transfer delay and
    /// source statistics of interactive and background; traffic handling priority and signalling indication of all but
    /// interactive; the guaranteed bit rate of a direction whose maximum is 0. A subscribed class ignores nothing.
    #[must_use]
    pub fn effective(&self) -> Self {
        let mut left = *self;
        if !self.may_be_real_time() {
            (left.guaranteed_bitrate_up, left.guaranteed_bitrate_down) = (None, None);
            left.transfer_delay = None;
            left.source_statistics = SourceStatistics::Unknown;
        }
        if !matches!(self.class, None | Some(Interactive)) {
            left.traffic_handling_priority = None;
            left.signalling = false;
        }
        if self.max_bitrate_up == Some(Rate::Zero) {
            left.guaranteed_bitrate_up = None;
        }
        if self.max_bitrate_down == Some(Rate::Zero) {
            left.guaranteed_bitrate_down = None;
        }
        left
    }

    /// Everything that is to be said about these attributes, in the order of the fields. Empty when there is nothing.
    pub fn check(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        self.wrong(&mut found);
        self.ignored(&mut found);
        self.effective().doubtful(&mut found);
        found
    }

    /// Whether nothing forbids to ask for them.
    pub fn can_be_asked(&self) -> bool {
        self.check().iter().all(|finding| finding.weight < Weight::Wrong)
    }

    fn wrong(&self, found: &mut Vec<Finding>) {
        let mut say = |attribute, what: String| {
            found.push(Finding { attribute, weight: Weight::Wrong, what });
        };
        if self.max_bitrate_up == Some(Rate::Zero) && self.max_bitrate_down == Some(Rate::Zero) {
            say("max_bitrate_up", "0 kbit/s in both directions cannot be asked for: open one of them".into());
        }
        if let Some(ratio) = self.sdu_error_ratio.filter(|ratio| !ErrorRatio::OF_SDUS.contains(ratio)) {
            say("sdu_error_ratio", not_among(ratio, "an SDU error ratio", &ErrorRatio::OF_SDUS));
        }
        if let Some(ratio) = self.residual_ber.filter(|ratio| !ErrorRatio::RESIDUAL.contains(ratio)) {
            say("residual_ber", not_among(ratio, "a residual bit error ratio", &ErrorRatio::RESIDUAL));
        }
    }

    fn ignored(&self, found: &mut Vec<Finding>) {
        let left = self.effective();
        let class = self.class.map_or("subscribed", |class| class.as_str());
        let mut say = |attribute, ignored: bool, why: String| {
            if ignored {
                found.push(Finding { attribute, weight: Weight::Ignored, what: why });
            }
        };
        let of_class = || format!("does nothing in class {class}");
        for (attribute, before, after, max) in [
            (
                "guaranteed_bitrate_up",
                self.guaranteed_bitrate_up,
                left.guaranteed_bitrate_up,
                self.max_bitrate_up,
            ),
            (
                "guaranteed_bitrate_down",
                self.guaranteed_bitrate_down,
                left.guaranteed_bitrate_down,
                self.max_bitrate_down,
            ),
        ] {
            let closed = self.may_be_real_time() && max == Some(Rate::Zero);
            let why = if closed {
                "does nothing in a direction whose maximum is 0 kbit/s".into()
            } else {
                of_class()
            };
            // That nothing is guaranteed can be said in every class.
            say(attribute, before != after && before != Some(Rate::Zero), why);
        }
        say("transfer_delay", self.transfer_delay != left.transfer_delay, of_class());
        say(
            "traffic_handling_priority",
            self.traffic_handling_priority != left.traffic_handling_priority,
            of_class(),
        );
        say("source_statistics", self.source_statistics != left.source_statistics, of_class());
        say("signalling", self.signalling != left.signalling, of_class());
    }

    /// Recommended ranges, and what does not fit together. Looks at effective attributes.
    fn doubtful(&self, found: &mut Vec<Finding>) {
        let mut say = |attribute, what: String| {
            found.push(Finding { attribute, weight: Weight::Doubtful, what });
        };
        for (attribute, guaranteed, max) in [
            ("guaranteed_bitrate_up", self.guaranteed_bitrate_up, self.max_bitrate_up),
            ("guaranteed_bitrate_down", self.guaranteed_bitrate_down, self.max_bitrate_down),
        ] {
            if let (Some(guaranteed), Some(max)) = (guaranteed, max)
                && guaranteed > max
            {
                say(attribute, format!("{guaranteed} is above the maximum of {max}"));
            }
        }
        if self.max_sdu.is_some_and(|size| size.get() > RECOMMENDED_SDU) {
            say("max_sdu", format!("above the recommended {RECOMMENDED_SDU} octets"));
        }
        let Some(class) = self.class else { return };
        let (ratios, bers, least_delay): (&[ErrorRatio], &[ErrorRatio], Option<u16>) = match class {
            Conversational => (&SER_CONVERSATIONAL, &BER_REAL_TIME, Some(80)),
            Streaming => (&SER_STREAMING, &BER_REAL_TIME, Some(250)),
            Interactive | Background => (&SER_OTHERS, &BER_OTHERS, None),
        };
        if let Some(ratio) = self.sdu_error_ratio.filter(|ratio| !ratios.contains(ratio)) {
            say("sdu_error_ratio", format!("{ratio} is not recommended for class {class}"));
        }
        if let Some(ratio) = self.residual_ber.filter(|ratio| !bers.contains(ratio)) {
            say("residual_ber", format!("{ratio} is not recommended for class {class}"));
        }
        if let (Some(delay), Some(least)) = (self.transfer_delay.map(TransferDelay::get), least_delay)
            && delay < least
        {
            say("transfer_delay", format!("{delay} ms is less than class {class} usually gets ({least} ms)"));
        }
        if self.signalling && self.traffic_handling_priority.is_some_and(|thp| thp != Thp::FIRST) {
            say("signalling", "means something with traffic handling priority 1 only".into());
        }
    }
}

fn not_among(ratio: ErrorRatio, what: &str, table: &[ErrorRatio]) -> String {
    let table: Vec<_> = table.iter().map(ToString::to_string).collect();
    format!("{ratio} is not {what}: choose one of {}", table.join(", "))
}

// The recommended ranges per class (TS 23.107, 6.4.4, from memory of it: doubts only).
const RECOMMENDED_SDU: u16 = 1502;
const _: () = assert!(RECOMMENDED_SDU <= MaxSdu::MAX.get());
const SER_CONVERSATIONAL: [ErrorRatio; 5] = [
    ErrorRatio::of(1, 2),
    ErrorRatio::of(7, 3),
    ErrorRatio::of(1, 3),
    ErrorRatio::of(1, 4),
    ErrorRatio::of(1, 5),
];
const SER_STREAMING: [ErrorRatio; 6] = [
    ErrorRatio::of(1, 1),
    ErrorRatio::of(1, 2),
    ErrorRatio::of(7, 3),
    ErrorRatio::of(1, 3),
    ErrorRatio::of(1, 4),
    ErrorRatio::of(1, 5),
];
const SER_OTHERS: [ErrorRatio; 3] = [ErrorRatio::of(1, 3), ErrorRatio::of(1, 4), ErrorRatio::of(1, 6)];
const BER_REAL_TIME: [ErrorRatio; 7] = [
    ErrorRatio::of(5, 2),
    ErrorRatio::of(1, 2),
    ErrorRatio::of(5, 3),
    ErrorRatio::of(1, 3),
    ErrorRatio::of(1, 4),
    ErrorRatio::of(1, 5),
    ErrorRatio::of(1, 6),
];
const BER_OTHERS: [ErrorRatio; 3] = [ErrorRatio::of(4, 3), ErrorRatio::of(1, 5), ErrorRatio::of(6, 8)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrafficClass;

    fn full(class: TrafficClass) -> Attributes {
        Attributes {
            class: Some(class),
            guaranteed_bitrate_up: Rate::bits_per_second(64_000),
            guaranteed_bitrate_down: Rate::bits_per_second(64_000),
            transfer_delay: TransferDelay::new(300),
            traffic_handling_priority: Some(Thp::FIRST),
            source_statistics: SourceStatistics::Speech,
            signalling: true,
            ..Attributes::default()
        }
    }

    #[test]
    fn each_class_ignores_what_the_standard_says_and_nothing_else() {
        let names = |class| -> Vec<_> {
            let found = full(class).check();
            found.iter().filter(|finding| finding.weight == Weight::Ignored).map(|f| f.attribute).collect()
        };
        for class in [Conversational, Streaming] {
            assert_eq!(names(class), ["traffic_handling_priority", "signalling"]);
        }
        let rates = ["guaranteed_bitrate_up", "guaranteed_bitrate_down", "transfer_delay"];
        assert_eq!(names(Interactive), [rates.as_slice(), &["source_statistics"]].concat());
        let all = ["traffic_handling_priority", "source_statistics", "signalling"];
        assert_eq!(names(Background), [rates, all].concat());
        assert_eq!(Attributes { class: None, ..full(Background) }.check(), []);
    }

    #[test]
    fn a_closed_direction_guarantees_nothing() {
        let closed = Attributes { max_bitrate_up: Some(Rate::Zero), ..full(Streaming) };
        assert_eq!(closed.guaranteed_up(), None);
        assert!(closed.guaranteed_down().is_some());
        assert!(closed.can_be_asked());
        let nothing = Attributes {
            guaranteed_bitrate_up: Some(Rate::Zero),
            class: Some(Interactive),
            ..Attributes::default()
        };
        assert_eq!(nothing.check(), []);
        let both = Attributes { max_bitrate_down: Some(Rate::Zero), ..closed };
        assert!(!both.can_be_asked());
    }

    #[test]
    fn what_is_only_recommended_is_doubted_and_never_refused() {
        let odd = Attributes {
            class: Some(Conversational),
            max_bitrate_up: Rate::bits_per_second(1_000),
            guaranteed_bitrate_up: Rate::bits_per_second(2_000),
            max_sdu: MaxSdu::new(1520),
            sdu_error_ratio: ErrorRatio::new(1, 1),
            residual_ber: ErrorRatio::new(6, 8),
            transfer_delay: TransferDelay::new(10),
            ..Attributes::default()
        };
        let found = odd.check();
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.iter().all(|finding| finding.weight == Weight::Doubtful), "{found:?}");
        assert!(odd.can_be_asked());
    }

    #[test]
    fn a_ratio_that_cannot_be_coded_is_wrong_and_the_table_is_shown() {
        let found = Attributes { sdu_error_ratio: ErrorRatio::new(2, 3), ..Attributes::default() }.check();
        assert_eq!(found.first().map(|f| f.weight), Some(Weight::Wrong));
        assert!(
            found[0].what.ends_with("choose one of 1e-6, 1e-5, 1e-4, 1e-3, 7e-3, 1e-2, 1e-1"),
            "{found:?}"
        );
    }
}
