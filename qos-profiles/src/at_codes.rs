//! The same attributes as TS 27.007 has them in AT commands: `+CGEQREQ`, `+CGEQMIN`, `+CGEQNEG` (Release 99), `+CGQREQ`
//! (Release 97) and `+CGEQOS` (LTE). Text of parameters in, values out, and back; the command itself and who answers is the
//! modem's business. **The numbers are not those of the element**: class 1 is streaming here and conversational there.
//!
//! Reading bears what the field sends: empty and missing parameters, blanks, lower-case ratios, a class of 4 in a minimum.
//! Writing is to the letter of the standard. Rates are in kbit/s: a maximum is rounded down to it, a guarantee up.

mod eps;

pub use eps::{may_be_asked, read_eps, write_eps};

use mexe_model::BitRate;

use crate::attributes::{ErroneousSdus, ErrorRatio, MaxSdu, SourceStatistics, Thp, TransferDelay};
use crate::release97::{
    DelayClass, MeanThroughputClass, PeakThroughputClass, PrecedenceClass, Release97, ReliabilityClass,
};
use crate::{Attributes, Rate, TrafficClass};

/// A parameter cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {position}, `{text}`, is no {what}")]
pub struct AtError {
    /// Which one, from 1 after the context's number.
    position: usize,
    text: String,
    what: &'static str,
}

/// The parameters of `+CGEQREQ` after the context's number. What the class ignores is left out. An `arp` has no place.
pub fn write_request(attributes: &Attributes) -> String {
    let a = attributes.effective();
    let rates = [
        (a.max_bitrate_up, Round::Down),
        (a.max_bitrate_down, Round::Down),
        (a.guaranteed_bitrate_up, Round::Up),
        (a.guaranteed_bitrate_down, Round::Up),
    ]
    .map(|(rate, round)| kbits(rate, round));
    let [max_up, max_down, guaranteed_up, guaranteed_down] = rates;
    format!(
        "{},{max_up},{max_down},{guaranteed_up},{guaranteed_down},{},{},\"{}\",\"{}\",{},{},{},{},{}",
        of_class(a.class),
        of_delivery_order(a.delivery_order),
        a.max_sdu.map_or(0, MaxSdu::get),
        of_ratio(a.sdu_error_ratio),
        of_ratio(a.residual_ber),
        of_erroneous_sdus(a.erroneous_sdus),
        a.transfer_delay.map_or(0, TransferDelay::get),
        a.traffic_handling_priority.map_or(0, Thp::get),
        u8::from(a.source_statistics == SourceStatistics::Speech),
        u8::from(a.signalling),
    )
}

/// The parameters of `+CGEQMIN` after the context's number: as [`write_request`], but there is no *subscribed*; what is
/// not said is left empty and not checked, and so is a signalling indication or a source that is not there.
pub fn write_minimum(attributes: &Attributes) -> String {
    let a = attributes.effective();
    let some = |text: Option<String>| text.unwrap_or_default();
    let rate = |rate: Option<Rate>, round| some(rate.map(|rate| kbits(Some(rate), round).to_string()));
    let ratio = |ratio: Option<ErrorRatio>| some(ratio.map(|ratio| format!("\"{}\"", of_ratio(Some(ratio)))));
    let parameters = [
        some(a.class.map(|class| of_class(Some(class)).to_string())),
        rate(a.max_bitrate_up, Round::Down),
        rate(a.max_bitrate_down, Round::Down),
        rate(a.guaranteed_bitrate_up, Round::Up),
        rate(a.guaranteed_bitrate_down, Round::Up),
        some(a.delivery_order.map(|order| of_delivery_order(Some(order)).to_string())),
        some(a.max_sdu.map(|size| size.get().to_string())),
        ratio(a.sdu_error_ratio),
        ratio(a.residual_ber),
        some(a.erroneous_sdus.map(|what| of_erroneous_sdus(Some(what)).to_string())),
        some(a.transfer_delay.map(|delay| delay.get().to_string())),
        some(a.traffic_handling_priority.map(|thp| thp.get().to_string())),
        some((a.source_statistics == SourceStatistics::Speech).then(|| "1".into())),
        some(a.signalling.then(|| "1".into())),
    ];
    parameters.join(",").trim_end_matches(',').to_owned()
}

/// Reads the parameters of `+CGEQREQ`, `+CGEQMIN` or an answer of `+CGEQNEG` after the context's number. What is empty or
/// missing is not said (subscribed). A number that has a unit and lies outside what bearers know is brought to the nearest
/// that is inside: what a modem answers is taken for what it means.
///
/// # Errors
/// The first parameter that is not of its kind, or one too many.
pub fn read_request(parameters: &str) -> Result<Attributes, AtError> {
    let mut fields = Fields::of(parameters);
    let attributes = Attributes {
        class: fields.next("traffic class", |text| read_class(text.parse().ok()?))?.flatten(),
        max_bitrate_up: fields.next("bit rate", read_rate)?.flatten(),
        max_bitrate_down: fields.next("bit rate", read_rate)?.flatten(),
        guaranteed_bitrate_up: fields.next("bit rate", read_rate)?.flatten(),
        guaranteed_bitrate_down: fields.next("bit rate", read_rate)?.flatten(),
        delivery_order: fields
            .next("delivery order", |text| match text {
                "0" => Some(Some(false)),
                "1" => Some(Some(true)),
                "2" => Some(None),
                _ => None,
            })?
            .flatten(),
        max_sdu: fields
            .next("SDU size", |text| {
                within(text, |octets| MaxSdu::new(octets.clamp(MaxSdu::MIN.get(), MaxSdu::MAX.get())))
            })?
            .flatten(),
        sdu_error_ratio: fields.next("error ratio", read_ratio)?.flatten(),
        residual_ber: fields.next("error ratio", read_ratio)?.flatten(),
        erroneous_sdus: fields
            .next("delivery of erroneous SDUs", |text| match text {
                "0" => Some(Some(ErroneousSdus::No)),
                "1" => Some(Some(ErroneousSdus::Yes)),
                "2" => Some(Some(ErroneousSdus::NoDetect)),
                "3" => Some(None),
                _ => None,
            })?
            .flatten(),
        transfer_delay: fields
            .next("transfer delay", |text| {
                within(text, |ms| {
                    TransferDelay::new(ms.clamp(TransferDelay::MIN.get(), TransferDelay::MAX.get()))
                })
            })?
            .flatten(),
        traffic_handling_priority: fields
            .next("traffic handling priority", |text| match text.parse().ok()? {
                0 => Some(None),
                thp => Thp::new(thp).map(Some),
            })?
            .flatten(),
        arp: None,
        source_statistics: fields
            .next("source statistics", |text| match text {
                "0" => Some(SourceStatistics::Unknown),
                "1" => Some(SourceStatistics::Speech),
                _ => None,
            })?
            .unwrap_or_default(),
        signalling: fields
            .next("signalling indication", |text| match text {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            })?
            .unwrap_or_default(),
    };
    fields.end()?;
    Ok(attributes)
}

/// The parameters of `+CGQREQ` after the context's number: precedence, delay, reliability, peak, mean.
pub fn write_release97(classes: &Release97) -> String {
    format!(
        "{},{},{},{},{}",
        classes.precedence.map_or(0, PrecedenceClass::get),
        classes.delay.map_or(0, DelayClass::get),
        classes.reliability.map_or(0, ReliabilityClass::get),
        classes.peak.map_or(0, PeakThroughputClass::get),
        classes.mean.map_or(0, MeanThroughputClass::get),
    )
}

/// Reads the parameters of `+CGQREQ` or `+CGQMIN` after the context's number.
///
/// # Errors
/// The first parameter that is not of its kind, or one too many.
pub fn read_release97(parameters: &str) -> Result<Release97, AtError> {
    fn class<T>(new: impl Fn(u8) -> Option<T>) -> impl Fn(&str) -> Option<Option<T>> {
        move |text| match text.parse().ok()? {
            0 => Some(None),
            class => new(class).map(Some),
        }
    }
    let mut fields = Fields::of(parameters);
    let classes = Release97 {
        precedence: fields.next("precedence class", class(PrecedenceClass::new))?.flatten(),
        delay: fields.next("delay class", class(DelayClass::new))?.flatten(),
        reliability: fields.next("reliability class", class(ReliabilityClass::new))?.flatten(),
        peak: fields.next("peak throughput class", class(PeakThroughputClass::new))?.flatten(),
        mean: fields.next("mean throughput class", class(MeanThroughputClass::new))?.flatten(),
    };
    fields.end()?;
    Ok(classes)
}

/// The number of a class in AT commands; 4 is subscribed.
pub const fn of_class(class: Option<TrafficClass>) -> u8 {
    match class {
        Some(TrafficClass::Conversational) => 0,
        Some(TrafficClass::Streaming) => 1,
        Some(TrafficClass::Interactive) => 2,
        Some(TrafficClass::Background) => 3,
        None => 4,
    }
}

/// The class of a number in AT commands; the inner `None` is subscribed, the outer one no class.
pub const fn read_class(number: u8) -> Option<Option<TrafficClass>> {
    match number {
        0 => Some(Some(TrafficClass::Conversational)),
        1 => Some(Some(TrafficClass::Streaming)),
        2 => Some(Some(TrafficClass::Interactive)),
        3 => Some(Some(TrafficClass::Background)),
        4 => Some(None),
        _ => None,
    }
}

fn of_delivery_order(order: Option<bool>) -> u8 {
    order.map_or(2, u8::from)
}

fn of_erroneous_sdus(what: Option<ErroneousSdus>) -> u8 {
    match what {
        Some(ErroneousSdus::No) => 0,
        Some(ErroneousSdus::Yes) => 1,
        Some(ErroneousSdus::NoDetect) => 2,
        None => 3,
    }
}

/// `5E3` is 5 x 10^-3, `0E0` subscribed. Without quotes.
pub fn of_ratio(ratio: Option<ErrorRatio>) -> String {
    ratio.map_or("0E0".into(), |ratio| format!("{}E{}", ratio.mantissa(), ratio.exponent()))
}

/// The error ratio of a text such as `5E3` or `5e3`, without quotes; the inner `None` is subscribed.
pub fn read_ratio(text: &str) -> Option<Option<ErrorRatio>> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    match *text.as_bytes() {
        [b'0', b'E' | b'e', b'0'] => Some(None),
        [mantissa, b'E' | b'e', exponent] => ErrorRatio::new(digit(mantissa)?, digit(exponent)?).map(Some),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Round {
    Down,
    Up,
}

/// A rate in kbit/s, 0 for subscribed. A closed direction has no number of its own, and 0 would open it: it is 1 kbit/s.
fn kbits(rate: Option<Rate>, round: Round) -> u64 {
    rate.map_or(0, |rate| {
        let kbits = match round {
            Round::Down => rate.get() / 1_000,
            Round::Up => rate.get().div_ceil(1_000),
        };
        kbits.max(1)
    })
}

fn read_rate(text: &str) -> Option<Option<Rate>> {
    let kbits: u64 = text.parse().ok()?;
    Some(match kbits {
        0 => None,
        kbits => BitRate::bits_per_second(kbits.saturating_mul(1_000).min(BitRate::MAX)).map(Rate::At),
    })
}

/// A number where 0 is subscribed.
fn within<T>(text: &str, of: impl Fn(u16) -> Option<T>) -> Option<Option<T>> {
    let number: u32 = text.parse().ok()?;
    Some(if number == 0 { None } else { of(u16::try_from(number).unwrap_or(u16::MAX)) })
}

/// The parameters of a command, one after the other. No parameter of these commands has a comma inside its quotes.
struct Fields<'a> {
    rest: Option<&'a str>,
    position: usize,
}

impl<'a> Fields<'a> {
    fn of(parameters: &'a str) -> Self {
        Self { rest: Some(parameters), position: 0 }
    }

    /// The next parameter; `None` when it is empty or not there.
    fn next<T>(
        &mut self,
        what: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, AtError> {
        let Some(rest) = self.rest else { return Ok(None) };
        self.position += 1;
        let (field, rest) = rest.split_once(',').map_or((rest, None), |(field, rest)| (field, Some(rest)));
        self.rest = rest;
        let field = field.trim();
        let bare = field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field).trim();
        if bare.is_empty() {
            return Ok(None);
        }
        read(bare).map(Some).ok_or_else(|| self.error(field, what))
    }

    fn end(&mut self) -> Result<(), AtError> {
        self.next("parameter of this command", |_| None::<()>).map(|_| ())
    }

    fn error(&self, text: &str, what: &'static str) -> AtError {
        AtError { position: self.position, text: text.chars().take(40).collect(), what }
    }
}

#[cfg(test)]
mod tests;
