//! QoS profiles: named sets of what a stream gets, read from TOML. Decides which profile a stream asks for: the one that
//! the app's signed manifest names, else the one with the rule that says most about the destination, else the default.
//! Whether the stream is given it is the policy's decision, not made here. Called at start, at reload, and once a flow.
//! The files themselves are read in `read`; docs/profiles.md explains them field by field.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use mexe_model::BitRate;

use crate::attributes::{ErroneousSdus, Finding, MaxSdu, SourceStatistics, TransferDelay};
use crate::{Arp, Attributes, ErrorRatio, Rate, Rule, Thp, TrafficClass};

mod read;

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
    /// What is kept free for a flow towards the network; only in a conversational or streaming profile.
    pub guaranteed_bitrate_up: Option<BitRate>,
    /// What is kept free for a flow from the network; only in a conversational or streaming profile.
    pub guaranteed_bitrate_down: Option<BitRate>,
    /// Which of several interactive flows goes first; only in an interactive profile.
    pub traffic_handling_priority: Option<Thp>,
    /// The delay that the flow bears; only in a conversational or streaming profile.
    pub transfer_delay: Option<TransferDelay>,
    /// The largest packet that it sends.
    pub max_sdu: Option<MaxSdu>,
    /// How many packets may be lost.
    pub sdu_error_ratio: Option<ErrorRatio>,
    /// How many bits may be wrong in what arrives.
    pub residual_ber: Option<ErrorRatio>,
    /// Whether packets are to arrive in order.
    pub delivery_order: Option<bool>,
    /// What is to happen to broken packets.
    pub erroneous_sdus: Option<ErroneousSdus>,
    /// Who gets in when there is no room for all.
    pub arp: Option<Arp>,
    /// Whether it is speech; only in a conversational or streaming profile.
    pub source_statistics: SourceStatistics,
    /// Whether it is signalling; only in an interactive profile.
    pub signalling: bool,
    /// The destinations that it is meant for.
    pub rules: Vec<Rule>,
}

impl Profile {
    /// What is asked of a bearer for a stream of this profile. What the profile does not say is left to the
    /// subscription.
    pub fn attributes(&self) -> Attributes {
        Attributes {
            class: Some(self.class),
            max_bitrate_up: self.max_bitrate_up.map(Rate::At),
            max_bitrate_down: self.max_bitrate_down.map(Rate::At),
            guaranteed_bitrate_up: self.guaranteed_bitrate_up.map(Rate::At),
            guaranteed_bitrate_down: self.guaranteed_bitrate_down.map(Rate::At),
            delivery_order: self.delivery_order,
            max_sdu: self.max_sdu,
            sdu_error_ratio: self.sdu_error_ratio,
            residual_ber: self.residual_ber,
            erroneous_sdus: self.erroneous_sdus,
            transfer_delay: self.transfer_delay,
            traffic_handling_priority: self.traffic_handling_priority,
            arp: self.arp,
            source_statistics: self.source_statistics,
            signalling: self.signalling,
        }
    }
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
        let shipped = read::layer(SHIPPED)?;
        let own = read::layer(files)?;
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

    /// What profiles ask for that no network has to give, one line each: outside the ranges that are recommended for their
    /// class. A profile is taken up all the same; networks negotiate such values into range.
    pub fn doubts(&self) -> impl Iterator<Item = String> {
        self.iter().flat_map(|profile| {
            let about = move |finding: Finding| {
                format!("profile `{}`: `{}`: {}", profile.name, finding.attribute, finding.what)
            };
            profile.attributes().check().into_iter().map(about)
        })
    }

    /// The profile of a stream that may not have what it asks for.
    pub fn background(&self) -> &Arc<Profile> {
        &self.background
    }
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
