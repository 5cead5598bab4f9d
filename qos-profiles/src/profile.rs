//! QoS profiles: named sets of what a stream gets, read from TOML. Decides which profile a stream asks for: the one that
//! the app's signed manifest names, else the one with the rule that says most about the destination, else the default.
//! Whether the stream is given it is the policy's decision, not made here. Called at start, at reload, and once a flow.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use mexe_model::BitRate;
use toml::Spanned;

use crate::{Meter, Rule, TrafficClass};

/// What a stream gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name, as a signed manifest's `MExE-QoS-Profile` gives it: lower-case letters, digits and hyphens.
    pub name: Arc<str>,
    /// What it is for, in one line.
    pub description: String,
    /// The traffic class.
    pub class: TrafficClass,
    /// The most that a flow may send towards the network, payload bits; `None` is no maximum.
    pub max_bitrate_up: Option<BitRate>,
    /// The most that a flow may receive from the network, payload bits; `None` is no maximum.
    pub max_bitrate_down: Option<BitRate>,
    /// How many bytes may move at once after a pause, each way; 0 where no direction has a maximum.
    pub burst: u64,
    /// The destinations that it is meant for.
    pub rules: Vec<Rule>,
}

/// Every profile that can be asked for. Always has `background`.
#[derive(Clone, Debug)]
pub struct ProfileSet {
    profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    /// What says most comes first; no two are equal.
    rules: Vec<(Rule, Arc<Profile>)>,
    background: Arc<Profile>,
}

/// The profiles in `profiles/`, by file name.
const SHIPPED: [(&str, &str); 7] = [
    ("background.toml", include_str!("../profiles/background.toml")),
    ("messaging.toml", include_str!("../profiles/messaging.toml")),
    ("streaming.toml", include_str!("../profiles/streaming.toml")),
    ("sync.toml", include_str!("../profiles/sync.toml")),
    ("video.toml", include_str!("../profiles/video.toml")),
    ("voice.toml", include_str!("../profiles/voice.toml")),
    ("web.toml", include_str!("../profiles/web.toml")),
];

/// The profile that is always there, and of its own class.
const BACKGROUND: &str = "background";

impl ProfileSet {
    /// The shipped profiles.
    #[expect(clippy::expect_used, reason = "the files are compiled in, and a test loads each of them")]
    pub fn shipped() -> Self {
        Self::from_files(std::iter::empty::<(&str, &str)>()).expect("the shipped profiles are well-formed")
    }

    /// The shipped profiles and, over them, those of a folder, given as (file name, text). A file replaces the shipped
    /// profile of the same name; its rules come before shipped rules for the same destination.
    ///
    /// # Errors
    /// The first file that is not a profile, with line and column; two files with one name or one rule.
    pub fn from_files<N, T>(files: impl IntoIterator<Item = (N, T)>) -> Result<Self, ProfileError>
    where
        N: AsRef<str>,
        T: AsRef<str>,
    {
        let shipped = read_layer(SHIPPED)?;
        let own = read_layer(files)?;
        let mut profiles = BTreeMap::new();
        let mut rules = Vec::new();
        for layer in [own, shipped] {
            for profile in layer {
                if profiles.contains_key(&profile.name) {
                    continue;
                }
                let profile = Arc::new(profile);
                for rule in &profile.rules {
                    if !rules.iter().any(|(known, _)| known == rule) {
                        rules.push((rule.clone(), Arc::clone(&profile)));
                    }
                }
                profiles.insert(Arc::clone(&profile.name), profile);
            }
        }
        rules.sort_by_key(|(rule, _)| rule.precedence());
        match profiles.get(BACKGROUND).map(Arc::clone) {
            Some(background) => Ok(Self { profiles, rules, background }),
            None => {
                Err(ProfileError::new("profiles", "", 0..0, "no profile is named `background`: ship one"))
            }
        }
    }

    /// The profile of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(name)
    }

    /// Every profile, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }

    /// The profile that a stream asks for: what the signed manifest names; else what the rules say of the destination
    /// (`host` as normalised name, `None` when asked for by address); else the default. A name that no profile has is
    /// passed over; when the default has none either, it is `background`.
    pub fn select(
        &self,
        signed: Option<&str>,
        host: Option<&str>,
        port: u16,
        default: &str,
    ) -> &Arc<Profile> {
        let by_name = signed.and_then(|name| self.get(name.trim()));
        let by_rule =
            || self.rules.iter().find(|(rule, _)| rule.covers(host, port)).map(|(_, profile)| profile);
        by_name.or_else(by_rule).or_else(|| self.get(default)).unwrap_or(&self.background)
    }

    /// The profile of a stream that may not have what it asks for.
    pub fn background(&self) -> &Arc<Profile> {
        &self.background
    }
}

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
fn read_layer<N, T>(files: impl IntoIterator<Item = (N, T)>) -> Result<Vec<Profile>, ProfileError>
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
    Ok(Profile {
        name: name.into(),
        description: raw.description,
        class: raw.class.into_inner(),
        max_bitrate_up: raw.max_bitrate_up,
        max_bitrate_down: raw.max_bitrate_down,
        burst,
        rules,
    })
}

/// A file is not a profile. Shown as `FILE:LINE:COLUMN: what`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do, in one line.
    pub what: String,
    /// Where it is in the text, in bytes.
    pub span: Range<usize>,
}

impl ProfileError {
    fn new(file: &str, text: &str, span: Range<usize>, what: impl Into<String>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.into(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
            what: what.into(),
            span,
        }
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.what)
    }
}

impl std::error::Error for ProfileError {}

#[cfg(test)]
mod tests;
