//! Where each field stands in the quality of service information element: octet and bits (TS 24.008, 10.5.6.5). The
//! octets are numbered as the standard does: 1 is the identifier, 2 the length, the value begins with 3.
//!
//! The base octets of rates have the uplink first, the extensions the downlink.

/// A field of the element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Release 97.
    DelayClass,
    /// Release 97.
    ReliabilityClass,
    /// Release 97.
    PeakThroughput,
    /// Release 97.
    PrecedenceClass,
    /// Release 97.
    MeanThroughput,
    /// The traffic class.
    TrafficClass,
    /// Whether packets arrive in order.
    DeliveryOrder,
    /// What happens to broken packets.
    ErroneousSdus,
    /// The largest packet.
    MaxSdu,
    /// The maximum uplink.
    MaxUp,
    /// The maximum downlink.
    MaxDown,
    /// The residual bit error ratio.
    ResidualBer,
    /// The SDU error ratio.
    SduErrorRatio,
    /// The transfer delay.
    TransferDelay,
    /// The traffic handling priority.
    TrafficHandlingPriority,
    /// The guaranteed rate uplink.
    GuaranteedUp,
    /// The guaranteed rate downlink.
    GuaranteedDown,
    /// Whether it is signalling.
    Signalling,
    /// Whether it is speech.
    SourceStatistics,
    /// The first extension of the maximum downlink.
    MaxDownExt,
    /// The first extension of the guaranteed rate downlink.
    GuaranteedDownExt,
    /// The first extension of the maximum uplink.
    MaxUpExt,
    /// The first extension of the guaranteed rate uplink.
    GuaranteedUpExt,
    /// The second extension of the maximum downlink.
    MaxDownExt2,
    /// The second extension of the guaranteed rate downlink.
    GuaranteedDownExt2,
    /// The second extension of the maximum uplink.
    MaxUpExt2,
    /// The second extension of the guaranteed rate uplink.
    GuaranteedUpExt2,
}

use Part::{
    DelayClass, DeliveryOrder, ErroneousSdus, GuaranteedDown, GuaranteedDownExt, GuaranteedDownExt2,
    GuaranteedUp, GuaranteedUpExt, GuaranteedUpExt2, MaxDown, MaxDownExt, MaxDownExt2, MaxSdu, MaxUp,
    MaxUpExt, MaxUpExt2, MeanThroughput, PeakThroughput, PrecedenceClass, ReliabilityClass, ResidualBer,
    SduErrorRatio, Signalling, SourceStatistics, TrafficClass, TrafficHandlingPriority, TransferDelay,
};

/// A field, its octet, the number of its lowest bit from 0, how many bits it has, and its name.
type Place = (Part, u8, u8, u8, &'static str);

#[rustfmt::skip]
const PLACES: [Place; 27] = [
    (DelayClass, 3, 3, 3, "delay-class"),
    (ReliabilityClass, 3, 0, 3, "reliability-class"),
    (PeakThroughput, 4, 4, 4, "peak-throughput"),
    (PrecedenceClass, 4, 0, 3, "precedence-class"),
    (MeanThroughput, 5, 0, 5, "mean-throughput"),
    (TrafficClass, 6, 5, 3, "traffic-class"),
    (DeliveryOrder, 6, 3, 2, "delivery-order"),
    (ErroneousSdus, 6, 0, 3, "erroneous-sdus"),
    (MaxSdu, 7, 0, 8, "max-sdu"),
    (MaxUp, 8, 0, 8, "max-bitrate-up"),
    (MaxDown, 9, 0, 8, "max-bitrate-down"),
    (ResidualBer, 10, 4, 4, "residual-ber"),
    (SduErrorRatio, 10, 0, 4, "sdu-error-ratio"),
    (TransferDelay, 11, 2, 6, "transfer-delay"),
    (TrafficHandlingPriority, 11, 0, 2, "traffic-handling-priority"),
    (GuaranteedUp, 12, 0, 8, "guaranteed-bitrate-up"),
    (GuaranteedDown, 13, 0, 8, "guaranteed-bitrate-down"),
    (Signalling, 14, 4, 1, "signalling"),
    (SourceStatistics, 14, 0, 4, "source-statistics"),
    (MaxDownExt, 15, 0, 8, "max-bitrate-down-extended"),
    (GuaranteedDownExt, 16, 0, 8, "guaranteed-bitrate-down-extended"),
    (MaxUpExt, 17, 0, 8, "max-bitrate-up-extended"),
    (GuaranteedUpExt, 18, 0, 8, "guaranteed-bitrate-up-extended"),
    (MaxDownExt2, 19, 0, 8, "max-bitrate-down-extended-2"),
    (GuaranteedDownExt2, 20, 0, 8, "guaranteed-bitrate-down-extended-2"),
    (MaxUpExt2, 21, 0, 8, "max-bitrate-up-extended-2"),
    (GuaranteedUpExt2, 22, 0, 8, "guaranteed-bitrate-up-extended-2"),
];

impl Part {
    /// Every field, as they stand.
    pub fn all() -> impl Iterator<Item = Self> {
        PLACES.into_iter().map(|place| place.0)
    }

    /// The stable name, as in answers.
    pub fn name(self) -> &'static str {
        self.place().4
    }

    /// The octet, as the standard counts it: 3 to 22.
    pub fn octet(self) -> u8 {
        self.place().1
    }

    /// The code in an element's value; `None` when the value ends before.
    pub fn code(self, value: &[u8]) -> Option<u8> {
        let (_, octet, low, bits, _) = self.place();
        value.get(usize::from(octet - FIRST)).map(|octet| (octet >> low) & mask(bits))
    }

    /// Puts a code into an element's value, if the value is long enough.
    pub(super) fn put(self, value: &mut [u8], code: u8) {
        let (_, octet, low, bits, _) = self.place();
        if let Some(octet) = value.get_mut(usize::from(octet - FIRST)) {
            *octet = (*octet & !(mask(bits) << low)) | ((code & mask(bits)) << low);
        }
    }

    fn place(self) -> Place {
        // INVARIANT: every field has its row; a test goes through all. The first row stands for none.
        PLACES.into_iter().find(|place| place.0 == self).unwrap_or(PLACES[0])
    }
}

/// The octet with which the value begins.
const FIRST: u8 = 3;

/// So many bits from the lowest.
fn mask(bits: u8) -> u8 {
    u8::MAX.checked_shr(u32::from(8_u8.saturating_sub(bits))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_fields_share_a_bit_and_what_is_put_is_read() {
        let mut used = [0_u8; 20];
        for part in Part::all() {
            assert_eq!(part.place().0, part);
            let mut value = [0_u8; 20];
            part.put(&mut value, 0xff);
            for (sum, octet) in used.iter_mut().zip(value) {
                assert_eq!(*sum & octet, 0, "{part:?}");
                *sum |= octet;
            }
            for code in 0..=part.code(&[0xff; 20]).unwrap() {
                let mut value = [0xa5; 20];
                part.put(&mut value, code);
                assert_eq!(part.code(&value), Some(code), "{part:?}");
            }
        }
        // The spare bits: two in octet 3, one in 4, three in 5 and three in 14.
        let spare: Vec<_> = used.iter().map(|octet| !octet).filter(|spare| *spare != 0).collect();
        assert_eq!(spare, [0xc0, 0x08, 0xe0, 0xe0]);
        assert_eq!(Part::MaxSdu.code(&[0; 4]), None);
    }

    #[test]
    fn trap_1_base_octets_have_the_uplink_first_and_extensions_the_downlink() {
        for (up, down) in [(MaxUp, MaxDown), (GuaranteedUp, GuaranteedDown)] {
            assert_eq!(up.octet() + 1, down.octet());
        }
        for (down, up) in [
            (MaxDownExt, MaxUpExt),
            (GuaranteedDownExt, GuaranteedUpExt),
            (MaxDownExt2, MaxUpExt2),
            (GuaranteedDownExt2, GuaranteedUpExt2),
        ] {
            assert_eq!(down.octet() + 2, up.octet());
        }
    }
}
