//! What a traffic class looks like on the outside: the DSCP in each packet of the upstream socket, and the priority of
//! the socket in this device's own queues. Called when an upstream socket is made.
//!
//! The DSCP values are the per-hop behaviours that mobile operators usually give the four classes: EF, AF41, AF21 (an
//! interactive stream of middle priority) and best effort. Carriers often re-mark them; a packet filter of a dedicated
//! bearer can match them, so they are worth setting. No claim is made that any network honours them.

use crate::TrafficClass;

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
}
