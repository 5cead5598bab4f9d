//! The permission engine: may this app, in this run, perform this action on this target, now? Values in, values out;
//! no clock, no socket, no file, no lock.
//!
//! - [`name`] and [`address`]: what an app typed, and what an address is.
//! - [`table`]: the security table, data with invariants that loading enforces.
//! - [`categorisation`]: where an action belongs that the table does not have.
//! - [`target`] and [`grant`]: what the user permitted.
//! - [`window`]: the hours that a grant is limited to, and the clock that they are read by.
//! - [`exclusion`]: blanket permissions that one app does not hold together.
//! - [`schedule`]: what the user agreed to once, with hours and a budget.
//! - [`policy`]: table, settings, surroundings and grants as one value that is replaced as a whole at each change.
//! - [`prompts`]: which questions wait for the user, and what is not asked again.
//! - [`decision`]: the question and its answer; [`mod@explain`]: the same answer with everything that led to it;
//!   [`shadow`]: the answer that another table would give.
//!
//! ```
//! use std::sync::Arc;
//! use mexe_model::{AppId, GrantId, Groups, Instant, Permission, RunId, SecurityDomain, Trust, WallTime};
//! use mexe_policy::decision::{Decision, Facts, RunBinding, RunFacts, Target};
//! use mexe_policy::grant::{Grant, GrantSpec};
//! use mexe_policy::policy::{Policy, Settings};
//! use mexe_policy::surroundings::Surroundings;
//! use mexe_policy::table::SecurityTable;
//!
//! let table = Arc::new(SecurityTable::shipped()?);
//! let connect = table.action("network.connect").ok_or("the shipped table has network.connect")?;
//! let app: AppId = "weather".parse()?;
//! let trust = Trust::Domain(SecurityDomain::ThirdParty);
//! let grant = Grant::new(
//!     GrantSpec {
//!         id: GrantId(1),
//!         app: app.clone(),
//!         action: connect,
//!         target: Some("*.example.org:443".parse()?),
//!         permission: Some(Permission::Blanket),
//!         granted_at: WallTime::from_secs(0),
//!         expires: None,
//!     },
//!     trust,
//!     &table,
//! )
//! .map_err(|refused| refused.says())?;
//! let policy = Policy::new(table, Settings::default(), Surroundings::default()).with_grant(grant);
//! let facts = Facts {
//!     app: &app,
//!     trust,
//!     groups: Groups::ALL,
//!     legacy: false,
//!     suspended: false,
//!     run: Some(RunFacts { id: RunId(1), binding: RunBinding::Measured, ended: false }),
//!     action: connect,
//!     target: Target::Address { address: "192.0.2.1".parse()?, port: 443 },
//! };
//! // A name grant never covers a request by address.
//! assert!(matches!(policy.decide(Instant::from_nanos(0), &facts), Decision::Ask(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod address;
pub mod categorisation;
mod coverage;
pub mod decision;
pub mod exclusion;
pub mod explain;
pub mod grant;
mod index;
pub mod name;
mod net;
mod owners;
pub mod policy;
pub mod prompts;
pub mod schedule;
pub mod shadow;
pub mod surroundings;
pub mod table;
pub mod target;
pub mod window;

pub use address::{AddressClass, classify};
pub use categorisation::Categorisation;
pub use decision::{AddressMask, Decision, Facts, Rule, RunBinding, RunFacts, Target, Ticket};
pub use exclusion::Exclusions;
pub use explain::{Explanation, explain};
pub use grant::{Binding, Grant, GrantSpec, Standing};
pub use name::parse_host;
pub use policy::{Policy, Settings, TokenRuns};
pub use prompts::{Prompt, Prompts};
pub use schedule::Schedule;
pub use shadow::Shadow;
pub use surroundings::Surroundings;
pub use table::{ActionId, Cell, SecurityTable, TableError};
pub use target::{TargetError, TargetPattern};
pub use window::{LocalClock, LocalTime, UtcOffset, Window};
