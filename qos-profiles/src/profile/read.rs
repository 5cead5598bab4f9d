//! Reads profile files: TOML, strict, every mistake with its line and column. Decides what a file may say and what cannot
//! be together in one: a profile with a field that does nothing is a mistake, not a wish. Called by `profile`.

use std::ops::Range;

use mexe_model::BitRate;
use toml::Spanned;

use super::{BACKGROUND, Profile, ProfileError};
use crate::attributes::{ErroneousSdus, MaxSdu, SourceStatistics, TransferDelay, Weight};
use crate::{Arp, ErrorRatio, Meter, Rule, Thp, TrafficClass};

/// What a file may say; anything else in it is a mistake.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    description: String,
    class: Spanned<TrafficClass>,
    max_bitrate_up: Option<BitRate>,
    max_bitrate_down: Option<BitRate>,
    burst: Option<Spanned<u64>>,
    guaranteed_bitrate_up: Option<Spanned<BitRate>>,
    guaranteed_bitrate_down: Option<Spanned<BitRate>>,
    traffic_handling_priority: Option<Spanned<Thp>>,
    transfer_delay: Option<Spanned<TransferDelay>>,
    max_sdu: Option<MaxSdu>,
    sdu_error_ratio: Option<Spanned<ErrorRatio>>,
    residual_ber: Option<Spanned<ErrorRatio>>,
    delivery_order: Option<bool>,
    erroneous_sdus: Option<ErroneousSdus>,
    arp: Option<Arp>,
    source_statistics: Option<Spanned<SourceStatistics>>,
    signalling: Option<Spanned<bool>>,
    #[serde(default, rename = "rule")]
    rules: Vec<Spanned<RawRule>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    domain: Option<String>,
    port: Option<u16>,
}

/// Reads files that stand side by side: no name and no rule may come twice among them.
pub(super) fn layer<N, T>(files: impl IntoIterator<Item = (N, T)>) -> Result<Vec<Profile>, ProfileError>
where
    N: AsRef<str>,
    T: AsRef<str>,
{
    let mut read: Vec<Profile> = Vec::new();
    for (file, text) in files {
        let (file, text) = (file.as_ref(), text.as_ref());
        let mistake = |span, what: String| ProfileError::new(file, text, span, what);
        let raw: Raw = toml::from_str(text)
            .map_err(|error| mistake(error.span().unwrap_or(0..0), error.message().replace('\n', ", ")))?;
        let name_span = raw.name.span();
        let rule_spans: Vec<_> = raw.rules.iter().map(Spanned::span).collect();
        let profile = check(raw).map_err(|(span, what)| mistake(span, what))?;
        if read.iter().any(|other| other.name == profile.name) {
            return Err(mistake(
                name_span,
                format!("another file has the name `{}`: choose one", profile.name),
            ));
        }
        for (at, (rule, span)) in profile.rules.iter().zip(rule_spans).enumerate() {
            let twice = profile.rules.iter().take(at).any(|other| other == rule);
            if twice {
                return Err(mistake(span, format!("the rule `{rule}` stands here twice: keep one")));
            }
            if let Some(other) = read.iter().find(|other| other.rules.contains(rule)) {
                let what = format!("the rule `{rule}` stands in profile `{}` too: keep one", other.name);
                return Err(mistake(span, what));
            }
        }
        read.push(profile);
    }
    Ok(read)
}

fn check(raw: Raw) -> Result<Profile, (Range<usize>, String)> {
    let spans = raw.spans();
    let name_span = raw.name.span();
    let name = raw.name.into_inner();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(plain) {
        return Err((name_span, "a profile's name is 1 to 32 lower-case letters, digits and hyphens".into()));
    }
    if name == BACKGROUND && *raw.class.get_ref() != TrafficClass::Background {
        let what =
            "the profile `background` is what a stream gets without permission: its class is background";
        return Err((raw.class.span(), what.into()));
    }
    let limited = raw.max_bitrate_up.is_some() || raw.max_bitrate_down.is_some();
    let burst = match &raw.burst {
        Some(burst) if !limited => {
            return Err((burst.span(), "`burst` does nothing without a maximum bitrate".into()));
        }
        Some(burst) if !(Meter::MIN_BURST..=Meter::MAX_BURST).contains(burst.get_ref()) => {
            let what = format!("`burst` is in bytes, {} to {}", Meter::MIN_BURST, Meter::MAX_BURST);
            return Err((burst.span(), what));
        }
        Some(burst) => *burst.get_ref(),
        None if limited => {
            return Err((name_span, "a maximum bitrate needs a `burst` in bytes beside it".into()));
        }
        None => 0,
    };
    let mut rules = Vec::with_capacity(raw.rules.len());
    for rule in raw.rules {
        let span = rule.span();
        let rule = rule.into_inner();
        rules.push(Rule::new(rule.domain.as_deref(), rule.port).map_err(|what| (span, what))?);
    }
    let profile = Profile {
        name: name.into(),
        description: raw.description,
        class: raw.class.into_inner(),
        max_bitrate_up: raw.max_bitrate_up,
        max_bitrate_down: raw.max_bitrate_down,
        burst,
        guaranteed_bitrate_up: raw.guaranteed_bitrate_up.map(Spanned::into_inner),
        guaranteed_bitrate_down: raw.guaranteed_bitrate_down.map(Spanned::into_inner),
        traffic_handling_priority: raw.traffic_handling_priority.map(Spanned::into_inner),
        transfer_delay: raw.transfer_delay.map(Spanned::into_inner),
        max_sdu: raw.max_sdu,
        sdu_error_ratio: raw.sdu_error_ratio.map(Spanned::into_inner),
        residual_ber: raw.residual_ber.map(Spanned::into_inner),
        delivery_order: raw.delivery_order,
        erroneous_sdus: raw.erroneous_sdus,
        arp: raw.arp,
        source_statistics: raw.source_statistics.map(Spanned::into_inner).unwrap_or_default(),
        signalling: raw.signalling.is_some_and(Spanned::into_inner),
        rules,
    };
    sound(&profile, &spans)?;
    Ok(profile)
}

/// Where the fields stand that can be mistaken together with others, by their names.
type Spans = [(&'static str, Option<Range<usize>>); 8];

impl Raw {
    fn spans(&self) -> Spans {
        fn of<T>(field: Option<&Spanned<T>>) -> Option<Range<usize>> {
            field.map(Spanned::span)
        }
        [
            ("guaranteed_bitrate_up", of(self.guaranteed_bitrate_up.as_ref())),
            ("guaranteed_bitrate_down", of(self.guaranteed_bitrate_down.as_ref())),
            ("traffic_handling_priority", of(self.traffic_handling_priority.as_ref())),
            ("transfer_delay", of(self.transfer_delay.as_ref())),
            ("sdu_error_ratio", of(self.sdu_error_ratio.as_ref())),
            ("residual_ber", of(self.residual_ber.as_ref())),
            ("source_statistics", of(self.source_statistics.as_ref())),
            ("signalling", of(self.signalling.as_ref())),
        ]
    }
}

/// Refuses what does nothing or cannot be: of the doubts about attributes only a guarantee above its own maximum, which
/// no meter could keep.
fn sound(profile: &Profile, spans: &Spans) -> Result<(), (Range<usize>, String)> {
    for finding in profile.attributes().check() {
        let impossible = finding.attribute.starts_with("guaranteed_") || finding.weight != Weight::Doubtful;
        let span =
            spans.iter().find(|(name, _)| *name == finding.attribute).and_then(|(_, span)| span.clone());
        if let Some(span) = span.filter(|_| impossible) {
            let what = match finding.weight {
                Weight::Ignored => format!("`{}` {}: leave it out", finding.attribute, finding.what),
                Weight::Doubtful => format!("`{}`: {}", finding.attribute, finding.what),
                Weight::Wrong => finding.what,
            };
            return Err((span, what));
        }
    }
    Ok(())
}
