//! The signature engine: the bytes of a package, the device's roots and a time in, a trust verdict out.
//!
//! Pure: no file, clock, thread or network is touched here. [`verify`] reads the package once for its digest and once
//! for its entries; [`verify_in_parts`] lets the caller do both at the same time. Either says [`TrustVerdict::Verified`] only when every byte that a runtime would use is covered by
//! signers that all lead to roots of one security domain. `profile.md` beside the sources says which certificates and
//! signatures are accepted.
//!
//! Rooms, in the order in which a package meets them: `container` (one way to read the archive), `manifest`, `jar` (the
//! whole package is signed), `parts` (which work is independent), `cms` (one signature block) with `timestamp`, `path` and
//! `chain` (who vouches), `judge` (the verdict); `detached` and `jad` for the other formats.
//!
//! Beside the packages: [`mod@administrator`] (who controls the third party domain), [`ccm`] (what that one says), [`lineage`] and
//! [`rotation`] (which app a package is, and who may update it), [`TimeFloor`] (when it cannot be).

pub mod administrator;
mod algorithm;
pub mod ccm;
mod certificate;
mod chain;
mod cms;
mod container;
mod detached;
#[doc(hidden)]
pub mod door;
mod evidence;
mod fingerprint;
mod form;
mod jad;
mod jar;
mod judge;
mod key;
mod limits;
pub mod lineage;
mod manifest;
mod moment;
mod package;
mod parts;
mod path;
mod requested;
mod restriction;
mod revocation;
pub mod root_store;
pub mod rotation;
mod rules;
mod sealed;
mod stream;
mod time_floor;
mod timestamp;
pub mod usim;
mod verdict;
pub mod version;

pub use container::{Alone, Aside, HandOn, Make, Take};
pub use evidence::{Evidence, Format};
pub use fingerprint::{Fingerprint, NotAFingerprint};
pub use judge::{read_entry, verify};
pub use limits::{Limits, Work};
pub use moment::Moment;
pub use package::{PackageFacts, Runtime};
pub use parts::{Outcome, Part, Source, WholeDigest, verify_in_parts};
pub use requested::RequestedAction;
pub use revocation::{
    LIST_ENTRIES_MAX, LIST_SIZE_MAX, LISTS_MAX, ListFacts, ListFault, ListProblem, ListState,
};
pub use root_store::{
    Provenance, ReadLists, Root, RootFault, RootKind, RootProblem, TrustStore, TrustStoreBuilder,
};
pub use rules::{Rules, Staleness};
pub use time_floor::TimeFloor;
pub use verdict::{
    CertificateFacts, Refusal, Revocation, SignerFacts, Timestamp, TrustVerdict, Untrusted, Verification,
    Voucher,
};
