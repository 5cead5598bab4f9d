//! What a stream is to the arbiter: its band, its rates, its weight; and the table of all streams.

use std::collections::BTreeMap;

use mexe_model::{BitRate, Instant};

use super::bundle::{Bundle, Bundled};
use super::round::{Round, Seat};
use crate::TrafficClass;
use crate::bucket::{Bucket, PACKET, brings};
use crate::two_rate::{Rates, TwoRate};

/// Where a stream stands when chunks are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Band {
    /// Signalling of the interactive class: strict, up to its guaranteed bitrate.
    Signalling,
    /// Conversational: strict, up to its guaranteed bitrate.
    Conversational,
    /// Streaming, and what strict streams have above their guarantee.
    Streaming,
    /// Interactive with traffic handling priority 1.
    Interactive1,
    /// Interactive with traffic handling priority 2.
    Interactive2,
    /// Interactive with traffic handling priority 3.
    Interactive3,
    /// Background.
    Background,
}

impl Band {
    /// The band of a class. A traffic handling priority (1 to 3) and a signalling indication mean something for the
    /// interactive class only; without a priority it is the lowest.
    pub const fn of(class: TrafficClass, handling_priority: Option<u8>, is_signalling: bool) -> Self {
        match (class, handling_priority) {
            (TrafficClass::Conversational, _) => Self::Conversational,
            (TrafficClass::Streaming, _) => Self::Streaming,
            (TrafficClass::Background, _) => Self::Background,
            (TrafficClass::Interactive, _) if is_signalling => Self::Signalling,
            (TrafficClass::Interactive, Some(1)) => Self::Interactive1,
            (TrafficClass::Interactive, Some(2)) => Self::Interactive2,
            (TrafficClass::Interactive, _) => Self::Interactive3,
        }
    }

    /// Whether its guaranteed part goes before everything else.
    pub const fn is_strict(self) -> bool {
        matches!(self, Self::Signalling | Self::Conversational)
    }

    /// Which of the rounds it takes part in.
    pub(crate) const fn round(self) -> usize {
        match self {
            Self::Signalling | Self::Conversational | Self::Streaming => 0,
            Self::Interactive1 => 1,
            Self::Interactive2 => 2,
            Self::Interactive3 => 3,
            Self::Background => BACKGROUND,
        }
    }
}

/// The round of the background.
pub(crate) const BACKGROUND: usize = 4;

/// Streams of one app, which may have a maximum bitrate together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(pub u64);

/// What a stream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Its band.
    pub band: Band,
    /// Guaranteed bitrate, payload. A strict stream without one is strict up to a twentieth of the bearer, and up to its
    /// maximum.
    pub guaranteed: Option<BitRate>,
    /// Maximum bitrate, payload; `None` is no maximum of its own.
    pub maximum: Option<BitRate>,
    /// How many bytes may move at once after a pause, when it has a maximum; one packet at least.
    pub burst: u64,
    /// Whether it may begin with that: one that went on elsewhere until now has had no pause.
    pub is_rested: bool,
    /// Its share among the streams of its band; 0 counts as 1.
    pub weight: u16,
    /// The app's streams, where these have a maximum together.
    pub group: Option<Group>,
    /// Whose rates these are together with others, which have the same terms; `None` is its own.
    pub bundle: Option<Bundle>,
}

impl Terms {
    /// A stream of that band with no rates of its own.
    pub const fn new(band: Band) -> Self {
        Self {
            band,
            guaranteed: None,
            maximum: None,
            burst: 0,
            is_rested: true,
            weight: 1,
            group: None,
            bundle: None,
        }
    }
}

/// A stream of one arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    at: usize,
    /// Tells it from an earlier one in the same place.
    serial: u64,
}

/// A grant that its stream has not taken yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) bytes: u64,
    pub(crate) colour: crate::two_rate::Colour,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) terms: Terms,
    pub(crate) meter: TwoRate,
    /// Whether its excess has a limit.
    pub(crate) is_limited: bool,
    /// The most that it is given at once, bytes.
    pub(crate) chunk: u64,
    /// What it waits for.
    pub(crate) wants: Option<u64>,
    pub(crate) given: Option<Given>,
    /// The colour of the last grant, for what comes back of it.
    pub(crate) last: Given,
    /// When that was; `None` before the first.
    pub(crate) last_at: Option<Instant>,
    /// When it is looked at again; timers for another time mean nothing.
    pub(crate) timer: Option<Instant>,
    /// In the round of its band, in that of its app, and in that of its bundle.
    pub(crate) seats: [Seat; 3],
    /// Its app has let it go ahead, and was charged.
    pub(crate) is_let_go: bool,
    pub(crate) is_in_green: bool,
    /// Its datagrams never wait.
    pub(crate) is_policed: bool,
}

impl Stream {
    pub(crate) fn weight(&self) -> i64 {
        i64::from(self.terms.weight.max(1))
    }
}

/// The rates of a stream on a bearer of this capacity, and whether its excess is limited.
pub(crate) fn rates(terms: &Terms, capacity: Option<BitRate>, chunk: u64, slack: u64) -> (Rates, bool) {
    let twentieth = capacity.and_then(|rate| BitRate::bits_per_second(rate.get() / 20));
    let own = match (terms.band.is_strict(), terms.guaranteed) {
        (_, Some(rate)) => Some(rate),
        (true, None) => match (twentieth, terms.maximum) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        },
        (false, None) => None,
    };
    // What is guaranteed must not run over while a chunk of somebody else is on its way.
    let least = own.map_or(0, |rate| brings(rate.get(), slack)).saturating_add(chunk.max(PACKET));
    match terms.maximum {
        Some(maximum) => {
            let mut rates = Rates::of_bearer(own, maximum, terms.burst, PACKET);
            if own.is_some() && terms.guaranteed.is_some() {
                rates.committed_burst = rates.committed_burst.max(least);
            }
            (rates, true)
        }
        None => (Rates { committed: own, committed_burst: least, ..Rates::default() }, false),
    }
}

/// What the streams of an app have together.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) bucket: Bucket,
    /// The most that one of them is granted at once, bytes.
    pub(crate) chunk: u64,
    pub(crate) round: Round,
}

/// All streams, found by their number.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    all: Vec<Option<(u64, Stream)>>,
    free: Vec<usize>,
    serial: u64,
    pub(crate) groups: BTreeMap<Group, App>,
    pub(crate) bundles: BTreeMap<Bundle, Bundled>,
}

impl Streams {
    pub(crate) fn add(&mut self, stream: Stream) -> StreamId {
        self.serial = self.serial.wrapping_add(1);
        let entry = Some((self.serial, stream));
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.all.push(None);
                self.all.len().saturating_sub(1)
            }
        };
        if let Some(place) = self.all.get_mut(at) {
            *place = entry;
        }
        StreamId { at, serial: self.serial }
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        let (serial, stream) = self.all.get(id.at)?.as_ref()?;
        (*serial == id.serial).then_some(stream)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let (serial, stream) = self.all.get_mut(id.at)?.as_mut()?;
        (*serial == id.serial).then_some(stream)
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        self.get(id)?;
        self.free.push(id.at);
        self.all.get_mut(id.at)?.take().map(|(_, stream)| stream)
    }

    pub(crate) fn ids(&self) -> Vec<StreamId> {
        let present = |(at, place): (usize, &Option<(u64, Stream)>)| {
            place.as_ref().map(|(serial, _)| StreamId { at, serial: *serial })
        };
        self.all.iter().enumerate().filter_map(present).collect()
    }

    pub(crate) fn seat(&mut self, id: StreamId, which: usize) -> Option<&mut Seat> {
        self.get_mut(id)?.seats.get_mut(which)
    }

    /// The maximum that the stream has together with others.
    pub(crate) fn group(&mut self, id: StreamId) -> Option<&mut App> {
        let group = self.get(id)?.terms.group?;
        self.groups.get_mut(&group)
    }
}
