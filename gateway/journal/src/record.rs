//! One journal record: what was decided or what ended, for whom, and why. Callers fill a [`Record`]; everything that
//! is hashed, stored and shown is made from it. The fields stand in two groups: public ones, which the hash chain
//! covers directly, and personal ones, which it covers by a salted commitment so that they can be erased.

use std::borrow::Cow;
use std::net::SocketAddr;

use mexe_model::{AppId, FlowId, GrantId, Reason, RunId, Trust, WallTime};

/// A short text that is nearly always known at compile time.
pub type Word = Cow<'static, str>;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable word, as the contract spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownWord> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or_else(|| $crate::UnknownWord::new(text))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a record tells of.
    Kind {
        /// Something that lasts was changed: an app, a grant, a root, a run's beginning or end.
        Change = "change",
        /// A request was decided.
        Decision = "decision",
        /// A flow ended; carries what it moved.
        FlowEnd = "flow-end",
    }
}

words! {
    /// How a request was decided.
    Outcome {
        /// It may happen.
        Allow = "allow",
        /// The user has to be asked.
        Ask = "ask",
        /// It may not happen; the record has a reason.
        Deny = "deny",
    }
}

/// The text is none of the words that may stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not one of the journal's words")]
pub struct UnknownWord {
    text: String,
}

impl UnknownWord {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.chars().take(64).collect() }
    }
}

/// One record, as a caller hands it over. Fields that do not apply stay empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it tells of.
    pub kind: Kind,
    /// When it happened.
    pub at: WallTime,

    /// Public: the connection.
    pub flow: Option<FlowId>,
    /// Public: what the app was to the security table.
    pub domain: Option<Trust>,
    /// Public: `group.action`; for changes what was done, as in `app.install`.
    pub action: Option<Word>,
    /// Public: how it was decided.
    pub decision: Option<Outcome>,
    /// Public: why it was refused or ended.
    pub reason: Option<Reason>,
    /// Public: the permission that covered it.
    pub grant: Option<GrantId>,
    /// Public: the rule that decided, with its provenance.
    pub rule: Option<Word>,
    /// Public: how the run is bound to its package (`measured`, `token`).
    pub binding: Option<Word>,
    /// Public: where the request came in (`socks`, `http`).
    pub ingress: Option<Word>,
    /// Public: the traffic class.
    pub class: Option<Word>,
    /// Public: bytes from the app to the network.
    pub bytes_up: Option<u64>,
    /// Public: bytes from the network to the app.
    pub bytes_down: Option<u64>,
    /// Public: how long the flow lived, milliseconds.
    pub duration_ms: Option<u64>,
    /// Public: for how many equal events this record stands, at least 1.
    pub count: u32,

    /// Personal: the app.
    pub app: Option<AppId>,
    /// Personal: the app's execution.
    pub run: Option<RunId>,
    /// Personal: where the request wanted to go.
    pub target: Option<String>,
    /// Personal: the addresses that were connected to, or that were refused.
    pub addresses: Vec<SocketAddr>,
    /// Personal: anything else, as JSON.
    pub detail: Option<serde_json::Value>,
}

impl Record {
    /// A record of that kind with nothing else in it, standing for one event.
    pub const fn new(kind: Kind, at: WallTime) -> Self {
        Self {
            kind,
            at,
            flow: None,
            domain: None,
            action: None,
            decision: None,
            reason: None,
            grant: None,
            rule: None,
            binding: None,
            ingress: None,
            class: None,
            bytes_up: None,
            bytes_down: None,
            duration_ms: None,
            count: 1,
            app: None,
            run: None,
            target: None,
            addresses: Vec::new(),
            detail: None,
        }
    }

    /// An empty decision.
    pub const fn decision(at: WallTime) -> Self {
        Self::new(Kind::Decision, at)
    }

    /// An empty end of a flow.
    pub const fn flow_end(at: WallTime) -> Self {
        Self::new(Kind::FlowEnd, at)
    }

    /// A change, named by what was done.
    pub fn change(at: WallTime, action: impl Into<Word>) -> Self {
        Self { action: Some(action.into()), ..Self::new(Kind::Change, at) }
    }

    /// Whether it says no to a request, or that the user is asked about one; only those are ever counted together (see
    /// [`crate::coalesce`]).
    pub fn is_repeatable(&self) -> bool {
        self.kind == Kind::Decision && matches!(self.decision, Some(Outcome::Ask | Outcome::Deny))
    }
}
