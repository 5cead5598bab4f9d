//! One negotiation on its way: takes the first wish for each attribute, puts the caps on it, and notes who had the last
//! word. The order of the steps is the order in which one value depends on another: class, maxima, guarantees, the rest.

use super::request::Adjusted;
use super::{Given, Granted, Most, Source, Why, default_of};
use crate::attributes::SourceStatistics;
use crate::{Arp, Attributes, Rate, TrafficClass};

pub(super) struct Draft {
    caps: Vec<(Source, Most)>,
    wishes: Vec<(Source, Attributes)>,
    adjusted: Vec<Adjusted>,
    granted: Attributes,
    provenance: Vec<Given>,
}

/// A value and who gives it.
#[derive(Clone, Copy)]
struct From<T>(T, Source);

impl Draft {
    /// `caps` in the order of their sources, `wishes` the first first.
    pub(super) fn new(
        caps: Vec<(Source, Most)>,
        wishes: Vec<(Source, Attributes)>,
        adjusted: Vec<Adjusted>,
    ) -> Self {
        Self { caps, wishes, adjusted, granted: Attributes::default(), provenance: Vec::new() }
    }

    pub(super) fn finish(mut self) -> Granted {
        let class = self.class();
        self.wishes.push((Source::Class, default_of(class)));
        let up = self.maximum("max_bitrate_up", |a| a.max_bitrate_up, |m| m.max_bitrate_up);
        let down = self.maximum("max_bitrate_down", |a| a.max_bitrate_down, |m| m.max_bitrate_down);
        (self.granted.max_bitrate_up, self.granted.max_bitrate_down) = (up, down);
        self.granted.guaranteed_bitrate_up = self.guarantee(
            "guaranteed_bitrate_up",
            up,
            |a| a.guaranteed_bitrate_up,
            |m| m.guaranteed_bitrate_up,
        );
        self.granted.guaranteed_bitrate_down = self.guarantee(
            "guaranteed_bitrate_down",
            down,
            |a| a.guaranteed_bitrate_down,
            |m| m.guaranteed_bitrate_down,
        );
        self.granted.delivery_order = self.as_wished("delivery_order", |a| a.delivery_order, yes_or_no);
        self.granted.max_sdu = self.as_wished("max_sdu", |a| a.max_sdu, |v| v.to_string());
        self.granted.sdu_error_ratio =
            self.as_wished("sdu_error_ratio", |a| a.sdu_error_ratio, |v| v.to_string());
        self.granted.residual_ber = self.as_wished("residual_ber", |a| a.residual_ber, |v| v.to_string());
        self.granted.erroneous_sdus =
            self.as_wished("erroneous_sdus", |a| a.erroneous_sdus, |v| v.as_str().to_owned());
        self.transfer_delay();
        self.granted.traffic_handling_priority = self.of_class(
            class == TrafficClass::Interactive,
            "traffic_handling_priority",
            |a| a.traffic_handling_priority,
            |v| v.to_string(),
        );
        self.arp();
        let speech = |a: &Attributes| Some(a.source_statistics).filter(|s| *s != SourceStatistics::Unknown);
        let real_time = self.granted.may_be_real_time();
        let speech = self.of_class(real_time, "source_statistics", speech, |v| v.as_str().to_owned());
        self.granted.source_statistics = speech.unwrap_or_default();
        let interactive = class == TrafficClass::Interactive;
        let signalling =
            self.of_class(interactive, "signalling", |a| Some(a.signalling).filter(|s| *s), yes_or_no);
        self.granted.signalling = signalling.unwrap_or_default();
        Granted { attributes: self.granted, provenance: self.provenance }
    }

    /// The first wish about an attribute.
    fn first<T>(&self, get: impl Fn(&Attributes) -> Option<T>) -> Option<From<T>> {
        self.wishes.iter().find_map(|(source, wish)| get(wish).map(|value| From(value, *source)))
    }

    /// Notes who had the last word. `asked` is what was wished for, where that was changed, and why.
    fn note(
        &mut self,
        attribute: &'static str,
        value: Option<String>,
        source: Source,
        asked: Option<(String, Why)>,
    ) {
        let adjusted = || {
            let adjusted = self.adjusted.iter().find(|adjusted| adjusted.attribute == attribute)?;
            (source == Source::App).then(|| (adjusted.asked.clone(), Why::OutOfRange))
        };
        let (asked, why) = asked.or_else(adjusted).unzip();
        self.provenance.push(Given { attribute, value, source, asked, why });
    }

    /// The best class that every cap lets through.
    fn class(&mut self) -> TrafficClass {
        let wish = self.first(|a| a.class).unwrap_or(From(TrafficClass::Background, Source::Class));
        let From(class, source) = self.capped(wish, |most| most.class, |cap, value| cap > value);
        let asked = (class != wish.0).then(|| (wish.0.to_string(), Why::Capped));
        self.granted.class = Some(class);
        self.note("class", Some(class.to_string()), source, asked);
        class
    }

    /// Puts every cap on a value. `tighter` says whether the first narrows the second.
    fn capped<T: Copy>(
        &self,
        wish: From<T>,
        cap: impl Fn(&Most) -> Option<T>,
        tighter: impl Fn(T, T) -> bool,
    ) -> From<T> {
        let caps = self.caps.iter().filter_map(|(source, most)| cap(most).map(|value| From(value, *source)));
        caps.fold(wish, |held, cap| if tighter(cap.0, held.0) { cap } else { held })
    }

    /// A maximum: the wish, or the tightest cap, which also holds where nobody wishes for a maximum.
    fn maximum(
        &mut self,
        attribute: &'static str,
        get: impl Fn(&Attributes) -> Option<Rate>,
        cap: impl Fn(&Most) -> Option<Rate>,
    ) -> Option<Rate> {
        let wish = self.first(get);
        let first_cap =
            || self.caps.iter().find_map(|(source, most)| cap(most).map(|value| From(value, *source)));
        let From(rate, source) = self.capped(wish.or_else(first_cap)?, &cap, |cap, held| cap < held);
        let asked = wish.filter(|wish| wish.0 != rate).map(|wish| (wish.0.to_string(), Why::Capped));
        self.note(attribute, Some(rate.to_string()), source, asked);
        Some(rate)
    }

    /// A guarantee: only in a class that has one, and never above the maximum.
    fn guarantee(
        &mut self,
        attribute: &'static str,
        maximum: Option<Rate>,
        get: impl Fn(&Attributes) -> Option<Rate>,
        cap: impl Fn(&Most) -> Option<Rate>,
    ) -> Option<Rate> {
        let wish = self.first(get)?;
        if !self.granted.may_be_real_time() {
            self.fell_away(attribute, wish.0.to_string());
            return None;
        }
        let From(mut rate, mut source) = self.capped(wish, cap, |cap, held| cap < held);
        let mut why = Why::Capped;
        if let Some(maximum) = maximum.filter(|maximum| *maximum < rate) {
            let of_maximum = if attribute.ends_with("up") { "max_bitrate_up" } else { "max_bitrate_down" };
            let said_by = self.provenance.iter().find(|given| given.attribute == of_maximum);
            (rate, why) = (maximum, Why::AboveMaximum);
            source = said_by.map_or(source, |given| given.source);
        }
        let asked = (rate != wish.0).then(|| (wish.0.to_string(), why));
        self.note(attribute, Some(rate.to_string()), source, asked);
        Some(rate)
    }

    /// An attribute that nothing caps.
    fn as_wished<T: Copy>(
        &mut self,
        attribute: &'static str,
        get: impl Fn(&Attributes) -> Option<T>,
        shown: impl Fn(T) -> String,
    ) -> Option<T> {
        let From(value, source) = self.first(get)?;
        self.note(attribute, Some(shown(value)), source, None);
        Some(value)
    }

    /// An attribute that nothing caps and that only some classes have.
    fn of_class<T: Copy>(
        &mut self,
        has_it: bool,
        attribute: &'static str,
        get: impl Fn(&Attributes) -> Option<T>,
        shown: impl Fn(T) -> String,
    ) -> Option<T> {
        if has_it {
            return self.as_wished(attribute, get, shown);
        }
        let From(value, _) = self.first(get)?;
        self.fell_away(attribute, shown(value));
        None
    }

    fn transfer_delay(&mut self) {
        let Some(wish) = self.first(|a| a.transfer_delay) else { return };
        if !self.granted.may_be_real_time() {
            return self.fell_away("transfer_delay", wish.0.to_string());
        }
        // The shorter is the better, so a cap is the shortest that may be had.
        let From(delay, source) = self.capped(wish, |most| most.transfer_delay, |cap, held| cap > held);
        let asked = (delay != wish.0).then(|| (wish.0.to_string(), Why::Capped));
        self.granted.transfer_delay = Some(delay);
        self.note("transfer_delay", Some(delay.to_string()), source, asked);
    }

    fn arp(&mut self) {
        let Some(wish) = self.first(|a| a.arp) else { return };
        let level = From(wish.0.level, wish.1);
        let From(level, source) = self.capped(level, |most| most.priority_level, |cap, held| cap > held);
        let arp = Arp { level, ..wish.0 };
        let asked = (arp != wish.0).then(|| (shown_arp(wish.0), Why::Capped));
        self.granted.arp = Some(arp);
        self.note("arp", Some(shown_arp(arp)), source, asked);
    }

    /// The class that was granted has no such attribute. Whoever decided on the class decided on that.
    fn fell_away(&mut self, attribute: &'static str, asked: String) {
        let class = self.provenance.iter().find(|given| given.attribute == "class");
        let source = class.map_or(Source::Class, |given| given.source);
        self.note(attribute, None, source, Some((asked, Why::NotInClass)));
    }
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn shown_arp(arp: Arp) -> String {
    let capable = if arp.pre_emption_capability { "may displace" } else { "displaces nobody" };
    let vulnerable = if arp.pre_emption_vulnerability { "may be displaced" } else { "is not displaced" };
    format!("level {}, {capable}, {vulnerable}", arp.level)
}
