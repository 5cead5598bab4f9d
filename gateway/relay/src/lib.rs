//! Moves bytes on a lease. A [`Lease`] is the permission to move the bytes of one flow; [`Leases`] knows every open one and
//! takes them back; [`relay::run`] moves the bytes between two sockets and cuts them when the lease is taken. Whether a
//! flow may exist is decided in `mexe-policy`, what it gets in `mexe-qos`; the service brings them together.
//!
//! ```
//! use mexe_model::{FlowId, GrantId, Instant, Reason, RunId};
//! use mexe_relay::{Key, LeaseKeys, Leases};
//!
//! let leases = Leases::new(|end| println!("{} moved {} bytes up", end.keys.flow, end.bytes_up));
//! let app = "weather".parse().unwrap();
//! let keys = LeaseKeys { flow: FlowId(1), run: RunId(1), app, grant: Some(GrantId(7)), qos_grant: None, root: None };
//! let lease = leases.open(keys, 41, Instant::from_nanos(0)); // decided under epoch 41, not yet connected
//! assert!(lease.still_valid(41));
//! assert_eq!(leases.revoke(&Key::Grant(GrantId(7)), Reason::PermissionRevoked).flows, 1);
//! assert_eq!(lease.cancel_reason(), Some(Reason::PermissionRevoked));
//! ```
#![expect(unexpected_cfgs, reason = "`loom` is set by RUSTFLAGS, and only to check the leases")]

#[cfg(not(loom))]
mod allowance;
#[cfg(not(loom))]
pub mod back_pressure;
mod cancel;
#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
mod copy;
#[cfg(not(loom))]
mod direction;
pub mod lease;
pub mod ledger;
#[cfg(not(loom))]
pub mod limit;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(not(loom))]
mod pacing;
#[cfg(not(loom))]
pub mod pipe;
#[cfg(not(loom))]
mod queue;
#[cfg(not(loom))]
pub mod relay;
#[cfg(not(loom))]
pub mod shaper;
#[cfg(not(loom))]
mod splice;

#[cfg(not(loom))]
pub use allowance::{Allowance, Taken};
pub use lease::{Lease, LeaseHandle};
pub use ledger::{Closed, Key, LeaseKeys, Leases, Revoked};
#[cfg(not(loom))]
pub use limit::{Limit, Room};
#[cfg(not(loom))]
pub use pipe::PipePool;
#[cfg(not(loom))]
pub use relay::{Early, End, Limits, Options, Outcome, Side, Strategy};
#[cfg(not(loom))]
pub use shaper::{Shaper, ShaperRemote, Shaping};
