//! The words that all rooms of mexegate share: who (apps, runs, security domains), what (actions, targets), how much
//! (bit rates), when (instants), and why not (reasons). Types only: no decision is taken here, and nothing here reads a
//! clock, a file or a socket.

pub mod action;
pub mod domain;
pub mod group;
pub mod host;
pub mod id;
pub mod permission;
pub mod printable;
pub mod rate;
pub mod reason;
pub mod time;

pub use action::{Action, ActionError};
pub use domain::{SecurityDomain, Trust};
pub use group::{ActionGroup, Groups};
pub use host::{DomainName, Endpoint, Host};
pub use id::{AppId, CallId, DenialId, FlowId, GrantId, IdError, PromptId, RootId, RunId, StreamId};
pub use permission::Permission;
pub use rate::{BitRate, BitRateError};
pub use reason::Reason;
pub use time::{Instant, WallTime};
