//! The signature engine: the bytes of a package, the device's roots and a time in, a trust verdict out.
//!
//! Pure: no file, clock, thread or network is touched here. [`verify`] reads the package once for its digest and once
//! for its entries, and says [`TrustVerdict::Verified`] only when every byte that a runtime would use is covered by
//! signers that all lead to roots of one security domain. `profile.md` beside the sources says which certificates and
//! signatures are accepted.
//!
//! Rooms, in the order in which a package meets them: `container` (one way to read the archive), `manifest`, `jar` (the
//! whole package is signed), `cms` (one signature block), `path` and `chain` (who vouches), `judge` (the verdict).

mod algorithm;
mod certificate;
mod chain;
mod cms;
mod container;
mod evidence;
mod jar;
mod judge;
mod key;
mod limits;
mod manifest;
mod package;
mod path;
pub mod root_store;
mod rules;
pub mod usim;
mod verdict;
pub mod version;

pub use evidence::{Evidence, Format};
pub use judge::{read_entry, verify};
pub use limits::Limits;
pub use package::{PackageFacts, Runtime};
pub use root_store::{Root, RootFault, RootKind, RootProblem, TrustStore, TrustStoreBuilder};
pub use rules::{Rules, Staleness};
pub use verdict::{
    CertificateFacts, Refusal, Revocation, SignerFacts, TrustVerdict, Untrusted, Verification, Voucher,
};
