//! Roots that are a name and a key alone: WTLS certificates of a card, under the legacy rules.

use mexe_model::{RootId, SecurityDomain, WallTime};

use super::{Provenance, RootFault, RootKind, RootProblem, TrustStoreBuilder};
use crate::certificate::Certificate;
use crate::usim::WtlsCertificate;

impl TrustStoreBuilder {
    /// Adds a WTLS certificate of the card as a root of the third party domain: the end of X.509 chains whose last
    /// certificate names its subject as the issuer.
    ///
    /// # Errors
    /// Why it does not vouch: the rules are not the legacy ones, it is the operator's or the manufacturer's, its subject
    /// is no X.509 name, its key is small, and everything that keeps other roots out.
    pub fn add_wtls(
        &mut self,
        kind: RootKind,
        source: &str,
        certificate: &WtlsCertificate,
        at: WallTime,
    ) -> Result<RootId, RootProblem> {
        self.admit_wtls(kind, source, certificate, at)
            .map_err(|fault| RootProblem { source: source.to_owned(), fault })
    }

    fn admit_wtls(
        &mut self,
        kind: RootKind,
        source: &str,
        certificate: &WtlsCertificate,
        at: WallTime,
    ) -> Result<RootId, RootFault> {
        if !self.rules.legacy || kind.domain() != SecurityDomain::ThirdParty {
            return Err(RootFault::WtlsNotAllowed);
        }
        let anchor = certificate.anchor().ok_or(RootFault::WtlsWithoutName)?;
        let root = Certificate::bare(&anchor, certificate.encoded());
        match &root.key {
            Err(unusable) => return Err(RootFault::KeyUnusable(unusable.what.clone())),
            Ok(key) if !key.is_large_enough_for_legacy() => {
                return Err(RootFault::KeyTooSmall(key.description()));
            }
            Ok(_) => {}
        }
        self.admit(Provenance::Usim, kind, source, root, at)
    }
}
