//! What streams can ask for: the profiles, their classes, how many flows use each class now, the streams that apps have
//! asked for, and the bearers that they are asked of.

use askama::Template;
use mexe_model::{AppId, BitRate, RunId, StreamId};
use serde::Deserialize;

use crate::foreign::{Foreign, Word};
use crate::words::Bytes;

/// One bearer.
#[derive(Clone, Debug, Deserialize)]
pub struct Bearer {
    /// Its name.
    pub name: Foreign,
    /// How it is controlled.
    pub kind: Word,
    /// `up` or `down`.
    pub state: Word,
    /// Why it is down; a modem's or a network's words may be in it.
    #[serde(default)]
    pub detail: Option<Foreign>,
    /// The most towards the network, when a limit is known.
    #[serde(default)]
    pub uplink: Option<BitRate>,
    /// The most towards the device, when a limit is known.
    #[serde(default)]
    pub downlink: Option<BitRate>,
    /// What it keeps for streams.
    #[serde(default)]
    pub sessions: Vec<Session>,
}

/// What a bearer keeps for a stream.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// Its number.
    pub id: Word,
    /// What the network gives.
    pub given: Given,
}

/// The parts of what the network gives that a person asks after.
#[derive(Clone, Debug, Deserialize)]
pub struct Given {
    /// The traffic class; none: as subscribed.
    #[serde(default)]
    pub class: Option<Word>,
    /// What is guaranteed towards the network, with its unit.
    #[serde(default)]
    pub guaranteed_bitrate_up: Option<Foreign>,
    /// What is guaranteed towards the device.
    #[serde(default)]
    pub guaranteed_bitrate_down: Option<Foreign>,
}

/// One traffic profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: Foreign,
    /// What it is for.
    pub description: Foreign,
    /// Its class.
    pub class: &'static str,
    /// The most that a flow may send, when there is a maximum.
    pub up: Option<BitRate>,
    /// The most that a flow may receive, when there is a maximum.
    pub down: Option<BitRate>,
    /// How much may move at once after a pause, bytes.
    pub burst: u64,
    /// The destinations that it is meant for.
    pub rules: Vec<Foreign>,
}

impl Profile {
    fn burst(&self) -> Bytes {
        Bytes(self.burst)
    }
}

/// One stream that an app asked for, as `/v1/streams` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Stream {
    id: StreamId,
    #[serde(default)]
    name: Foreign,
    app: AppId,
    run: RunId,
    #[serde(default)]
    profile: Foreign,
    class: Word,
    state: Word,
    #[serde(default)]
    reason: Foreign,
    attributes: Rates,
    #[serde(default)]
    flows: u64,
}

/// What of a stream's attributes the page shows.
#[derive(Clone, Debug, Deserialize)]
struct Rates {
    #[serde(default)]
    guaranteed_bitrate_up: Foreign,
    #[serde(default)]
    guaranteed_bitrate_down: Foreign,
    #[serde(default)]
    max_bitrate_up: Foreign,
    #[serde(default)]
    max_bitrate_down: Foreign,
}

struct Class {
    name: &'static str,
    says: &'static str,
    open: usize,
}

/// The page of profiles and classes.
#[derive(Template)]
#[template(path = "quality.html")]
pub struct Quality {
    bearers: Vec<Bearer>,
    classes: Vec<Class>,
    streams: Vec<Stream>,
    profiles: Vec<Profile>,
}

impl Quality {
    const CLASSES: [(&str, &str); 4] = [
        ("conversational", "Live both ways: voice and video calls. Least delay."),
        ("streaming", "Live one way: video and audio. A steady rate."),
        ("interactive", "Someone waits for an answer: web, messages."),
        ("background", "Nobody waits: mail, updates. What every flow gets without a permission for more."),
    ];

    /// Of these bearers, profiles and streams; `open` has the class of every open flow.
    pub fn of(bearers: Vec<Bearer>, profiles: Vec<Profile>, streams: Vec<Stream>, open: &[Word]) -> Self {
        let class = |(name, says)| {
            let open = open.iter().filter(|class| class.as_str() == name).count();
            Class { name, says, open }
        };
        Self { bearers, classes: Self::CLASSES.into_iter().map(class).collect(), streams, profiles }
    }
}
