//! What limits one direction of a flow: its own meter, or its place on a shared bearer. Decides nothing: it asks the one
//! or the other before each write, and settles what moved after it.

use std::task::Waker;

use mexe_model::Instant;
use mexe_qos::{Grant, Meter};

use crate::clock;
use crate::shaper::{Shaper, Sockets};

/// The most that a direction may move.
#[derive(Debug)]
pub enum Limit {
    /// So much for itself.
    Metered(Metered),
    /// Its share of a bearer.
    Shaped(Shaper),
}

/// A meter, and when it was asked last.
#[derive(Debug)]
pub struct Metered {
    meter: Meter,
    asked: Instant,
}

/// What may move now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Up to so many bytes; settle with [`Limit::settle`].
    Bytes(u64),
    /// None before this instant.
    NotBefore(Instant),
    /// None until the waker is woken.
    Woken,
}

impl From<Meter> for Limit {
    fn from(meter: Meter) -> Self {
        Self::Metered(Metered { meter, asked: Instant::default() })
    }
}

impl From<Shaper> for Limit {
    fn from(shaper: Shaper) -> Self {
        Self::Shaped(shaper)
    }
}

impl Limit {
    /// Asks to move up to so many bytes now.
    pub fn ask(&mut self, bytes: u64, waker: &Waker) -> Room {
        match self {
            Self::Metered(Metered { meter, asked }) => {
                *asked = clock::now();
                match meter.ask(*asked, bytes) {
                    Grant::Advance(granted) => Room::Bytes(granted),
                    Grant::WaitUntil(until) => Room::NotBefore(until),
                }
            }
            Self::Shaped(shaper) => shaper.ask(bytes, waker).map_or(Room::Woken, Room::Bytes),
        }
    }

    /// So many of the bytes that were granted have moved; the others are given back.
    pub fn settle(&mut self, granted: u64, moved: u64) {
        match self {
            // The write did not wait, so it is still the instant of the asking.
            Self::Metered(Metered { meter, asked }) => meter.refund(*asked, granted.saturating_sub(moved)),
            Self::Shaped(shaper) => shaper.settle(moved),
        }
    }

    /// Whether a datagram of so many bytes may pass: whole, and now or never.
    pub fn police(&mut self, bytes: u64, now: Instant) -> bool {
        match self {
            Self::Metered(Metered { meter, .. }) => match meter.ask(now, bytes) {
                Grant::Advance(granted) if granted == bytes => true,
                Grant::Advance(granted) => {
                    meter.refund(now, granted);
                    false
                }
                Grant::WaitUntil(_) => false,
            },
            Self::Shaped(shaper) => shaper.police(bytes),
        }
    }

    /// The most that is worth reading at once, bytes.
    pub fn quantum(&self) -> u64 {
        match self {
            Self::Metered(Metered { meter, .. }) => meter.quantum(),
            Self::Shaped(shaper) => shaper.chunk(),
        }
    }

    /// Whether the kernel is to hold the connection to what the bearer grants as well.
    pub(crate) fn is_paced(&self) -> bool {
        matches!(self, Self::Shaped(shaper) if shaper.sockets() == Sockets::Paced)
    }

    /// What a bearer grants at once, bytes; `None` for what does not stand on one, or has no limit there.
    pub(crate) fn bearer_chunk(&self) -> Option<u64> {
        match self {
            Self::Shaped(shaper) if shaper.sockets() != Sockets::Untouched => Some(shaper.chunk()),
            Self::Metered(_) | Self::Shaped(_) => None,
        }
    }
}
