//! The network control API: how the gate asks a bearer for quality of service, one trait for every kind of bearer. A
//! [`Bearer`] is up or down, has a capacity in each direction, and carries sessions, each with the attributes that the
//! network gave it; what becomes of them is told as [`BearerEvent`]s. What to ask for, and for whom, is not decided here.
//!
//! Nothing waits for ever: every negotiation ends within [`DEADLINE`], with what was granted or with a named reason.

pub mod camara;
pub mod fault;
pub mod fixed;
mod keeper;
pub mod linux;
pub mod modem;
mod news;
mod report;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use mexe_model::{BitRate, WallTime};
use mexe_qos::Attributes;
use serde_json::{Value, json};

pub use self::fault::{NegotiationFault, Why};
pub use self::keeper::{Bearer, Bearers, bytes_per_second};
pub use self::news::keep;
pub use self::report::{Report, Session};

/// The longest that a negotiation may take, whatever the bearer does.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// What a bearer carries, in each direction; `None` is without a limit that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Towards the network.
    pub up: Option<BitRate>,
    /// Towards the device.
    pub down: Option<BitRate>,
}

impl Capacity {
    /// The lesser of both, in each direction.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        let least = |a: Option<BitRate>, b: Option<BitRate>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { up: least(self.up, other.up), down: least(self.down, other.down) }
    }
}

/// How a bearer is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Why it cannot be used, if it cannot.
    pub down: Option<Why>,
    /// What it carries while it is up.
    pub capacity: Capacity,
    /// Whether it is on another operator's network; `None` where nobody can tell.
    pub roaming: Option<bool>,
    /// Since when it is up, or down.
    pub since: WallTime,
}

impl Status {
    /// Whether it can be used.
    pub const fn is_up(&self) -> bool {
        self.down.is_none()
    }
}

/// Something happened to a bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerEvent {
    /// Its name.
    pub bearer: Arc<str>,
    /// What.
    pub what: What,
}

impl BearerEvent {
    /// As whoever watches is told.
    pub fn shown(&self) -> Value {
        let mut shown = json!({ "bearer": *self.bearer, "op": self.what.code() });
        let more = match &self.what {
            What::Capacity(capacity) | What::Found(capacity) => {
                json!({ "uplink": capacity.up, "downlink": capacity.down })
            }
            What::Lost(why) => json!({ "why": why.code }),
            What::Roaming(roaming) => json!({ "roaming": roaming }),
            What::Renegotiated(session, given) => json!({ "session": session.to_string(), "given": given }),
            What::SessionLost(session, why) => json!({ "session": session.to_string(), "why": why.code }),
        };
        if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
            shown.extend(more);
        }
        shown
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It carries more or less than before.
    Capacity(Capacity),
    /// It can be used no longer; its sessions are gone.
    Lost(Why),
    /// It can be used.
    Found(Capacity),
    /// It is on another operator's network from now on, or at home again; `None`: nobody can tell.
    Roaming(Option<bool>),
    /// The network gives that session something else than before.
    Renegotiated(SessionId, Box<Attributes>),
    /// The network ended that session.
    SessionLost(SessionId, Why),
}

impl What {
    /// The stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Capacity(_) => "capacity",
            Self::Found(_) => "found",
            Self::Lost(_) => "lost",
            Self::Roaming(_) => "roaming",
            Self::Renegotiated(..) => "renegotiated",
            Self::SessionLost(..) => "session-lost",
        }
    }
}

/// What a bearer keeps for somebody; its number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session-{}", self.0)
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is wished. What is `None` in it is as subscribed.
    pub wished: Attributes,
    /// Below these rates, nothing is wanted: the session is not begun.
    pub least: Capacity,
    /// Which packets it is for.
    pub packets: Packets,
}

/// Which packets a session is for: those with this mark, to and from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// The other end.
    pub remote: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// TCP is 6, UDP 17.
    pub protocol: Option<u8>,
    /// The differentiated services code point that the gate gives them.
    pub dscp: Option<u8>,
}

/// What a bearer gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The session that holds it.
    pub session: SessionId,
    /// What was given; what the bearer does not say is `None`.
    pub attributes: Attributes,
}

/// One kind of bearer's control. Whoever implements it keeps a [`Report`] of the bearer up to date, and drops what it was
/// doing when its future is dropped: then no session is left behind.
pub trait NetworkControl: Send + Sync {
    /// The queues that the gate has put on a device of this host's, as they are shown; `None` where it was not told to.
    fn queues(&self) -> Option<Value> {
        None
    }

    /// Whether it can be asked only for packets to and from an end that is known ([`Packets::remote`]).
    fn needs_remote(&self) -> bool {
        false
    }

    /// Asks for a session.
    fn negotiate<'a>(&'a self, request: &'a Request) -> Negotiating<'a, Granted>;

    /// Asks for something else for a session that there is; when it is refused, the session is as before.
    fn modify<'a>(&'a self, session: SessionId, request: &'a Request) -> Negotiating<'a, Attributes>;

    /// Gives a session back. One that is not there any more is no error.
    fn release(&self, session: SessionId) -> Negotiating<'_, ()>;
}

/// The answer, when it comes.
pub type Negotiating<'a, T> = BoxFuture<'a, Result<T, NegotiationFault>>;

#[cfg(test)]
mod tests;
