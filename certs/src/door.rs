//! A door for tests by others (x509-limbo, NIST PKITS), whose certificates are for hosts or for nothing in particular: the
//! path layer as packages meet it, with another purpose. No part of the gate comes through here.

use mexe_model::{Reason, WallTime};

use crate::certificate::Certificate;
use crate::chain::{self, Purpose};
use crate::path::{self, Budget, Terms};
use crate::root_store::TrustStore;
use crate::verdict::{Refusal, Revocation};

/// What a certificate must be for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The extended key usage: the value of the object identifier, DER. `None` asks for none.
    pub purpose: Option<&'static [u8]>,
    /// The host's name or address. `None` asks for none.
    pub name: Option<&'a str>,
}

/// Judges the chain from `leaf` over `others` to a root of the store.
///
/// # Errors
/// Why no path holds.
pub fn judge(
    leaf: &[u8],
    others: &[Vec<u8>],
    store: &TrustStore,
    at: WallTime,
    wanted: Wanted<'_>,
) -> Result<Revocation, Refusal> {
    let read = |der: &[u8]| Certificate::read(der).map_err(|error| Refusal::new(error.reason, error.what));
    let signer = read(leaf)?;
    // One that cannot be read is no step of any path.
    let certificates: Vec<_> = others.iter().filter_map(|der| read(der).ok()).collect();
    let mut budget = Budget::default();
    let paths = path::of_store(&signer, &certificates, store, &mut budget)?;
    let terms = Terms {
        purpose: Purpose::Other(wanted.purpose),
        weakness: None,
        at,
        stamped_at: None,
        legacy: false,
        store,
        revoked_by: at,
    };
    let mut first = None;
    for path in &paths {
        match path::judge(path, &terms, &mut budget) {
            Ok(_) if wanted.name.is_some_and(|name| !chain::is_for(leaf, name)) => {
                return Err(Refusal::new(Reason::UsageNotCodeSigning, "it is for another name"));
            }
            Ok(holds) => return Ok(holds.revocation),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    Err(first.unwrap_or_else(|| Refusal::new(Reason::NoRoot, "it leads to no root")))
}
