//! The parameters of `+CGEQOS` and `+CGEQOSRDP`: a QCI and rates in kbit/s, **the downlink first**. Devices print zeros and
//! fields that the standard leaves out, and leave out what it has; both are read.

use super::{AtError, Fields, Round, kbits, read_rate};
use crate::eps_ie::{ApnAmbr, EpsQos};
use crate::{Qci, Rate};

/// The parameters of `+CGEQOS` after the context's number. Rates only where the QCI guarantees one, or may.
pub fn write_eps(qos: &EpsQos) -> String {
    let qci = qos.qci.map_or(0, Qci::get);
    if qos.qci.is_none_or(|qci| qci.guarantees() == Some(false)) {
        return qci.to_string();
    }
    let rate = |rate: Option<Rate>, round| kbits(rate, round).to_string();
    format!(
        "{qci},{},{},{},{}",
        rate(qos.guaranteed_bitrate_down, Round::Up),
        rate(qos.guaranteed_bitrate_up, Round::Up),
        rate(qos.max_bitrate_down, Round::Down),
        rate(qos.max_bitrate_up, Round::Down),
    )
}

/// Whether `+CGEQOS` may ask for that QCI: the others (65 to 67, 69, 70 and what nobody describes) answer with
/// `+CME ERROR: 181`. 10 may be asked for over satellites only.
pub const fn may_be_asked(qci: Qci) -> bool {
    matches!(qci.get(), 1..=10 | 71..=76 | 79 | 80 | 82..=85 | 128..=254)
}

/// Reads the parameters of `+CGEQOS` or an answer of `+CGEQOSRDP` after the context's number: the bearer's, and what all
/// bearers without a guarantee may carry together, where it is said. A rate of 0 is not said.
///
/// # Errors
/// The first parameter that is not of its kind, or one too many.
pub fn read_eps(parameters: &str) -> Result<(EpsQos, Option<ApnAmbr>), AtError> {
    let mut fields = Fields::of(parameters);
    let qci = fields.next("QCI", |text| match text.parse().ok()? {
        0 => Some(None),
        qci => Qci::new(qci).map(Some),
    })?;
    let mut rate = || fields.next("bit rate", read_rate).map(Option::flatten);
    let qos = EpsQos {
        qci: qci.flatten(),
        guaranteed_bitrate_down: rate()?,
        guaranteed_bitrate_up: rate()?,
        max_bitrate_down: rate()?,
        max_bitrate_up: rate()?,
    };
    let ambr = ApnAmbr { down: rate()?, up: rate()? };
    fields.end()?;
    Ok((qos, (ambr.down.is_some() || ambr.up.is_some()).then_some(ambr)))
}
