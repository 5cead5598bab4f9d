//! What the owner of the device decides about judging: whether old algorithms may reach the third party domain, and what an
//! outdated revocation list means. Part of the trust store, asked by [`crate::path`].

/// The owner's choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Whether SHA-1, RSA 1024 and WTLS certificates may vouch for the third party domain. They never vouch for another.
    pub legacy: bool,
    /// What it means when an issuer's revocation list is out of date.
    pub staleness: Staleness,
}

/// What it means when an issuer's revocation list is out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Staleness {
    /// What the issuer signed is refused, `revocation-stale`.
    #[default]
    Strict,
    /// The outdated list counts as far as it goes, and the voucher says that it is outdated.
    Warn,
}
