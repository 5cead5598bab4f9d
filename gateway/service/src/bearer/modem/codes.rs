//! Attributes as the parameters of a modem's profiles and back; the codes themselves are crate mexe-qos's. A modem does not
//! say everything that it was asked for: what is the device's own word (source, signalling) or the subscription's (ARP) is as
//! it was wished.

use mexe_qos::at_codes::{read_eps, read_request, write_eps, write_minimum, write_request};
use mexe_qos::eps_ie::EpsQos;
use mexe_qos::{Attributes, Qci, Rate, TrafficClass};
use mexe_wire::pdp::Parameters;

use crate::bearer::{Capacity, NegotiationFault};

/// True for the classes that a first context may not ask for where the device can use LTE (TS 24.008, 6.1.3).
pub(super) const fn is_real_time(wished: &Attributes) -> bool {
    matches!(wished.class, Some(TrafficClass::Conversational | TrafficClass::Streaming))
}

/// The UMTS profile that asks for these attributes.
pub(super) fn umts(wished: &Attributes) -> Result<Parameters, NegotiationFault> {
    parameters(write_request(wished))
}

/// The least that is taken: the class as it is asked for, and the rates.
pub(super) fn umts_least(wished: &Attributes, least: Capacity) -> Result<Parameters, NegotiationFault> {
    let (up, down) = (least.up.map(Rate::from), least.down.map(Rate::from));
    let real_time = is_real_time(wished);
    let guaranteed = |rate: Option<Rate>| rate.filter(|_| real_time);
    parameters(write_minimum(&Attributes {
        class: wished.class,
        max_bitrate_up: up,
        max_bitrate_down: down,
        guaranteed_bitrate_up: guaranteed(up),
        guaranteed_bitrate_down: guaranteed(down),
        ..Attributes::default()
    }))
}

/// What a UMTS profile gives.
pub(super) fn of_umts(given: &str, wished: &Attributes) -> Option<Attributes> {
    let given = read_request(given).ok()?;
    let (arp, source_statistics, signalling) = (wished.arp, wished.source_statistics, wished.signalling);
    Some(Attributes { arp, source_statistics, signalling, ..given }.effective())
}

/// The EPS profile that asks for these attributes; a class as subscribed is for the network to choose.
pub(super) fn eps(wished: &Attributes) -> Result<Parameters, NegotiationFault> {
    let wished = wished.effective();
    parameters(write_eps(&EpsQos {
        qci: wished.class.map(|_| Qci::of(&wished)),
        max_bitrate_up: wished.max_bitrate_up,
        max_bitrate_down: wished.max_bitrate_down,
        guaranteed_bitrate_up: wished.guaranteed_bitrate_up,
        guaranteed_bitrate_down: wished.guaranteed_bitrate_down,
    }))
}

/// What an EPS profile gives: what the class identifier stands for, and its rates. What a bearer that guarantees nothing may
/// use is told for all of the access point together.
pub(super) fn of_eps(given: &str, wished: &Attributes) -> Option<Attributes> {
    let (given, aggregate) = read_eps(given).ok()?;
    let guarantees = given.qci.is_some_and(|qci| qci.guarantees() == Some(true));
    let (max_bitrate_up, max_bitrate_down) = match (guarantees, aggregate) {
        (false, Some(aggregate)) => (aggregate.up, aggregate.down),
        _ => (given.max_bitrate_up, given.max_bitrate_down),
    };
    let given = Attributes {
        max_bitrate_up,
        max_bitrate_down,
        guaranteed_bitrate_up: given.guaranteed_bitrate_up,
        guaranteed_bitrate_down: given.guaranteed_bitrate_down,
        arp: wished.arp,
        ..given.qci.and_then(Qci::attributes).unwrap_or_default()
    };
    Some(given.effective())
}

fn parameters(text: String) -> Result<Parameters, NegotiationFault> {
    let odd = || NegotiationFault::NotSupported("its attributes have no form that modems know".into());
    Parameters::new(text).ok_or_else(odd)
}
