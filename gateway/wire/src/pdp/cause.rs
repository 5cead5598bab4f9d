//! The errors of TS 27.007 (9.2) that a request for a context can end in, each with a stable name. The number is what the
//! modem says after `+CME ERROR:`; not every cause of the network has one.

/// Why a modem or the network did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cause(u16);

impl Cause {
    /// By the number of the error; `None` when it is none of those that have to do with contexts.
    pub fn of(number: u16) -> Option<Self> {
        NAMES.iter().any(|(known, ..)| *known == number).then_some(Self(number))
    }

    /// By the text that modems say with AT+CMEE=2. Case does not count.
    pub fn of_text(text: &str) -> Option<Self> {
        let known =
            |(number, _, said): &(u16, &str, &str)| text.eq_ignore_ascii_case(said).then_some(*number);
        NAMES.iter().find_map(known).map(Self)
    }

    /// Every one of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(number, ..)| Self(*number))
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The stable name.
    pub fn code(self) -> &'static str {
        NAMES.iter().find(|(number, ..)| *number == self.0).map_or("unspecified", |(_, code, _)| code)
    }

    /// Whether it is the network's word that such a quality is not to be had. On UMTS the cause for it (37, QoS not
    /// accepted) has no number, so that the two that say nothing stand for it when a context was to be activated.
    pub const fn means_no_such_quality(self) -> bool {
        matches!(self.0, 126 | 131 | 132 | 133 | 137 | 148 | 181 | 219 | 222)
    }

    /// Whether the modem does not know the command, or not now.
    pub const fn means_not_supported(self) -> bool {
        matches!(self.0, 4)
    }
}

/// Number, name, and the modem's words for it.
const NAMES: &[(u16, &str, &str)] = &[
    (3, "operation-not-allowed", "operation not allowed"),
    (4, "operation-not-supported", "operation not supported"),
    (50, "parameters-incorrect", "incorrect parameters"),
    (53, "not-attached", "not attached to network"),
    (59, "data-unexpected", "unexpected data"),
    (61, "data-missing", "expected data missing"),
    (126, "resources-insufficient", "insufficient resources"),
    (127, "apn-unknown", "missing or unknown APN"),
    (128, "pdp-type-unknown", "unknown PDP address or PDP type"),
    (129, "authentication-failed", "user authentication failed"),
    (130, "rejected-by-gateway", "activation rejected by GGSN, serving GW or PDN GW"),
    (131, "rejected", "activation rejected, unspecified"),
    (132, "option-not-supported", "service option not supported"),
    (133, "option-not-subscribed", "requested service option not subscribed"),
    (134, "temporarily-out-of-order", "service option temporarily out of order"),
    (137, "qos-not-accepted", "EPS QoS not accepted"),
    (141, "tft-semantic-error", "semantic error in the TFT operation"),
    (142, "tft-syntax-error", "syntactical error in the TFT operation"),
    (143, "context-unknown", "unknown PDP context"),
    (144, "filter-semantic-error", "semantic errors in packet filter(s)"),
    (145, "filter-syntax-error", "syntactical errors in packet filter(s)"),
    (146, "context-without-filter", "PDP context without TFT already activated"),
    (148, "unspecified", "unspecified GPRS error"),
    (149, "pdp-authentication-failed", "PDP authentication failure"),
    (150, "class-invalid", "invalid mobile class"),
    (171, "last-disconnection-not-allowed", "last PDN disconnection not allowed"),
    (178, "contexts-too-many", "maximum number of PDP contexts reached"),
    (179, "apn-not-supported-here", "requested APN not supported in current RAT and PLMN combination"),
    (180, "control-mode-violated", "bearer control mode violation"),
    (181, "qci-not-supported", "unsupported QCI value"),
    (219, "user-plane-resources-insufficient", "insufficient user-plane resources for the PDU session"),
    (222, "integrity-rate-too-low", "integrity protection maximum data rate not supported"),
    (223, "qos-operation-semantic-error", "semantic error in the QoS operation"),
    (224, "qos-operation-syntax-error", "syntactical error in the QoS operation"),
];
