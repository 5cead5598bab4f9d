//! What a traffic class looks like on the outside: the DSCP in each packet of the upstream socket, and the priority of
//! the socket in this device's own queues. Called when an upstream socket is made.
//!
//! The DSCP values are the per-hop behaviours that mobile operators usually give the four classes: EF, AF41, AF21 (an
//! interactive stream of middle priority) and best effort. Carriers often re-mark them; a packet filter of a dedicated
//! bearer can match them, so they are worth setting. No claim is made that any network honours them.

use crate::{Qci, TrafficClass};

/// How the packets and the socket of a stream are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marking {
    /// The differentiated services code point, 0 to 63.
    pub dscp: u8,
    /// The value for `SO_PRIORITY`, 0 to 6: above 6 the kernel asks for a capability.
    ///
    /// Set it **after** `IP_TOS`, because setting `IP_TOS` overwrites it.
    pub priority: u32,
}

impl Marking {
    /// The value for `IP_TOS` and `IPV6_TCLASS`: the DSCP in the upper six bits, the two ECN bits left to the kernel.
    pub const fn tos(self) -> u8 {
        self.dscp << 2
    }
}

impl From<TrafficClass> for Marking {
    fn from(class: TrafficClass) -> Self {
        match class {
            // EF; the first band of the default queue.
            TrafficClass::Conversational => Self { dscp: 46, priority: 6 },
            // AF41.
            TrafficClass::Streaming => Self { dscp: 34, priority: 5 },
            // AF21.
            TrafficClass::Interactive => Self { dscp: 18, priority: 4 },
            // Best effort, and the priority of every program that asks for nothing: background is not put below those.
            TrafficClass::Background => Self { dscp: 0, priority: 0 },
        }
    }
}

/// The DSCP of a QCI of 1 to 9, as mobile operators agreed among themselves (GSMA IR.34); `None` for other numbers. Finer
/// than the class: signalling and the three priorities of interactive differ. For packet filters; docs/qos-coding.md says
/// what is known of the table.
pub const fn dscp_of_qci(qci: Qci) -> Option<u8> {
    match qci.get() {
        // EF.
        1..=3 => Some(46),
        // AF41.
        4 => Some(34),
        // AF31.
        5 => Some(26),
        // AF32.
        6 => Some(28),
        // AF21.
        7 => Some(18),
        // AF11.
        8 => Some(10),
        9 => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_leave_the_ecn_bits_alone_and_need_no_capability() {
        let tos = TrafficClass::ALL.map(|class| Marking::from(class).tos());
        assert_eq!(tos, [0xb8, 0x88, 0x48, 0x00]);
        assert!(tos.iter().all(|tos| tos & 0b11 == 0));
        assert!(TrafficClass::ALL.into_iter().all(|class| Marking::from(class).priority <= 6));
    }

    #[test]
    fn a_class_more_sensitive_to_delay_has_the_higher_priority() {
        let priorities = TrafficClass::ALL.map(|class| Marking::from(class).priority);
        assert!(priorities.windows(2).all(|pair| pair[0] > pair[1]), "{priorities:?}");
    }

    #[test]
    fn a_qci_and_its_class_are_marked_alike_except_among_interactive_streams() {
        for number in 1..=9 {
            let qci = Qci::new(number).unwrap();
            let class = qci.attributes().and_then(|attributes| attributes.class).unwrap();
            let dscp = dscp_of_qci(qci).unwrap();
            if class == TrafficClass::Interactive {
                assert!((10..=28).contains(&dscp), "{number}");
            } else {
                assert_eq!(dscp, Marking::from(class).dscp, "{number}");
            }
        }
        assert_eq!(Qci::new(10).and_then(dscp_of_qci), None);
    }
}
