//! The web console's pages: views in, HTML out, and the static files that they need. A view is read from what the API
//! answers, so that a page can show nothing that the API does not; whatever an app, a package or a server supplied is a
//! [`Foreign`] in it, which no page can show unescaped. Who may see a page, and what it is filled with, is the service's.
//!
//! ```
//! use mexe_console::{Grants, Template};
//!
//! let grant = r#"{"id":"grant-1","app":"weather","action":"network.connect","target":"<b>","permission":"session",
//!     "granted_at":"2026-01-31T12:00:00.000Z","runs":[]}"#;
//! let page = Grants::of(vec![serde_json::from_str(grant).unwrap()], Vec::new(), Vec::new()).render().unwrap();
//! assert!(page.contains("&#60;b&#62;"));
//! ```

mod apps;
pub mod asset;
mod flows;
mod foreign;
mod grants;
mod journal;
mod packages;
mod quality;
mod questions;
mod roots;
mod shadow;
mod shell;
#[cfg(test)]
mod tests;
mod timeline;
mod usage;
mod words;

pub use apps::{App, Apps, Run, Signer};
pub use askama::Template;
pub use flows::{Flow, Flows};
pub use foreign::{Foreign, Word};
pub use grants::{Grant, Grants, Schedule};
pub use journal::{Journal, Record, Verified};
pub use packages::{Judged, Package};
pub use quality::{Bearer, Given, Profile, Quality, Session, Stream};
pub use questions::{Denial, Question, Questions};
pub use roots::{Administrator, Largest, List, Root, Roots};
pub use shadow::{Candidate, Shadow};
pub use shell::shell;
pub use usage::{Limit, Settable, Sum, Threshold, Usage};
