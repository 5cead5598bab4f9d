//! The root public keys of the device: which certificates may be roots, and which security domain each stands for. Made
//! from bytes that the caller read from wherever roots lie; asked by [`crate::verify`]. A root that may not be one is
//! named and left out, the others stay.

mod bare;
mod pem;
mod problem;
mod read_lists;

use std::cmp::Ordering;
use std::sync::Arc;

use mexe_model::{RootId, SecurityDomain, WallTime};

use crate::algorithm::sha256;
use crate::ccm::Configuration;
use crate::certificate::Certificate;
use crate::chain::End;
use crate::fingerprint::Fingerprint;
use crate::revocation::{self, LISTS_MAX, ListFacts, ListFault, ListProblem, RevocationList};
use crate::rules::Rules;

use pem::certificates;
pub use problem::{RootFault, RootProblem};
pub use read_lists::ReadLists;

/// Where a root public key comes from, in the words of TS 31.102.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RootKind {
    /// The operator root public key (ORPK).
    Operator,
    /// The manufacturer root public key (MRPK).
    Manufacturer,
    /// A third party root public key (TPRPK).
    ThirdParty,
    /// The administrator root public key (ARPK): vouches for the third party domain.
    Administrator,
}

impl RootKind {
    /// All four, in the order in which tables show them.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Manufacturer, Self::ThirdParty, Self::Administrator];

    /// The stable name, which is also that of its folder: `operator`, `manufacturer`, `third-party`, `administrator`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Manufacturer => "manufacturer",
            Self::ThirdParty => "third-party",
            Self::Administrator => "administrator",
        }
    }

    /// The domain that it vouches for.
    pub const fn domain(self) -> SecurityDomain {
        match self {
            Self::Operator => SecurityDomain::Operator,
            Self::Manufacturer => SecurityDomain::Manufacturer,
            Self::ThirdParty | Self::Administrator => SecurityDomain::ThirdParty,
        }
    }
}

/// Where a root public key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Provenance {
    /// In the roots directory, put there by whoever made or set up the device.
    #[default]
    Device,
    /// Added by the user while the gate ran.
    User,
    /// On the (U)SIM card.
    Usim,
}

impl Provenance {
    /// The stable name: `device`, `user`, `usim`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::User => "user",
            Self::Usim => "usim",
        }
    }
}

/// One root public key with its certificate.
#[derive(Debug, Clone)]
pub struct Root {
    id: RootId,
    kind: RootKind,
    provenance: Provenance,
    source: String,
    pub(crate) certificate: Certificate,
}

impl Root {
    /// The SHA-256 of its SubjectPublicKeyInfo.
    pub fn id(&self) -> &RootId {
        &self.id
    }

    /// Where it comes from.
    pub fn kind(&self) -> RootKind {
        self.kind
    }

    /// Where it was found.
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// The domain that it vouches for.
    pub fn domain(&self) -> SecurityDomain {
        self.kind.domain()
    }

    /// SHA-256 of the certificate: what a certificate configuration message enables it by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate.der)
    }

    /// SHA-256 of its key: what its id shows.
    pub fn key(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate.spki)
    }

    /// The subject (RFC 4514). May hold any characters.
    pub fn subject(&self) -> &str {
        &self.certificate.subject_text
    }

    /// The first moment of validity.
    pub fn not_before(&self) -> WallTime {
        self.certificate.not_before
    }

    /// The last second of validity.
    pub fn not_after(&self) -> WallTime {
        self.certificate.not_after
    }

    /// Whether `at` lies within its validity. A root that does not vouch now stays in the store: it is asked again at
    /// each judgement, also at earlier times.
    pub fn is_valid_at(&self, at: WallTime) -> bool {
        (self.not_before().as_secs()..=self.not_after().as_secs()).contains(&at.as_secs())
    }

    /// The file that it was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The certificate: DER, or the bytes of a WTLS certificate.
    pub fn der(&self) -> &[u8] {
        &self.certificate.der
    }

    /// What ends a chain in it.
    pub(crate) fn end(&self) -> End<'_> {
        let certificate = &self.certificate;
        if certificate.is_bare {
            End::Bare { subject: &certificate.subject, spki: &certificate.spki }
        } else {
            End::Certificate(&certificate.der)
        }
    }
}

/// All root public keys of the device.
#[derive(Debug, Clone, Default)]
pub struct TrustStore {
    roots: Vec<Root>,
    off: Vec<Root>,
    timestamping: Vec<Root>,
    lists: Vec<Arc<RevocationList>>,
    rules: Rules,
    administered: Option<(Fingerprint, Configuration)>,
}

impl TrustStore {
    /// Begins an empty store.
    pub fn builder() -> TrustStoreBuilder {
        TrustStoreBuilder::default()
    }

    /// All roots that may vouch, in the order in which they were added; those outside their validity too.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Roots that were switched off: they are known, and vouch for nobody.
    pub fn off(&self) -> &[Root] {
        &self.off
    }

    /// Switches off every root that is not to vouch, those that were off before as well.
    #[must_use]
    pub fn switched(mut self, vouches: impl Fn(&Root) -> bool) -> Self {
        let all = self.roots.drain(..).chain(self.off.drain(..));
        (self.roots, self.off) = all.partition(vouches);
        self
    }

    /// From now on the holder of that root key administers the third party domain: its chains vouch as far as its messages
    /// say.
    #[must_use]
    pub fn administered_by(mut self, key: Fingerprint, configuration: Configuration) -> Self {
        self.administered = Some((key, configuration));
        self
    }

    /// Who administers the third party domain, and what its messages said; `None` for the user.
    pub(crate) fn administered(&self) -> Option<(&Fingerprint, &Configuration)> {
        self.administered.as_ref().map(|(key, configuration)| (key, configuration))
    }

    /// The roots of timestamping authorities, in the order in which they were added. They vouch for times, never for
    /// packages.
    pub fn timestamping(&self) -> &[Root] {
        &self.timestamping
    }

    /// What is known of the revocation lists, in the order in which they were added. Of several by one issuer, the newest
    /// counts that the issuer's key signed and that was made before the time of the judgement.
    pub fn lists(&self) -> impl Iterator<Item = &ListFacts> {
        self.lists.iter().map(|list| &list.facts)
    }

    /// Its lists as they were read: another store that has some of them need not read those again.
    pub fn read_lists(&self) -> ReadLists {
        ReadLists(self.lists.clone())
    }

    /// The lists in the name of that issuer (DER), newest first. Nobody has asked yet whether the issuer signed them.
    pub(crate) fn lists_of(&self, issuer: &[u8]) -> Vec<&RevocationList> {
        let mut lists: Vec<_> =
            self.lists.iter().filter(|list| list.issuer == issuer).map(Arc::as_ref).collect();
        lists.sort_by(|a, b| match (a.is_newer_than(b), b.is_newer_than(a)) {
            (true, _) => Ordering::Less,
            (_, true) => Ordering::Greater,
            _ => Ordering::Equal,
        });
        lists
    }

    /// What the owner of the device decided about judging.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The root of that id. A key that has several certificates answers with the first.
    pub fn root(&self, id: &RootId) -> Option<&Root> {
        self.roots.iter().find(|root| root.id == *id)
    }
}

/// Collects roots.
#[derive(Debug, Default)]
pub struct TrustStoreBuilder {
    roots: Vec<Root>,
    timestamping: Vec<Root>,
    lists: Vec<Arc<RevocationList>>,
    /// Keys that two domains claim, with the file that claimed it first: off in both.
    claimed_twice: Vec<(RootId, String)>,
    rules: Rules,
    read_before: ReadLists,
}

impl TrustStoreBuilder {
    /// Adds the certificates in `bytes` (DER, or PEM with one or more of them), read from `source`. One answer for each
    /// certificate: its id, or why it does not vouch at the time `at`.
    ///
    /// A root that has expired, or is not valid yet, is named as a problem but kept, because validity is asked at each
    /// judgement. A key that two domains claim is off in both, unless one claim is a card's: that
    /// is nothing against a claim that is on the device.
    pub fn add(
        &mut self,
        kind: RootKind,
        source: &str,
        bytes: &[u8],
        at: WallTime,
    ) -> Vec<Result<RootId, RootProblem>> {
        self.add_from(Provenance::Device, kind, source, bytes, at)
    }

    /// As [`TrustStoreBuilder::add`], for roots that were found elsewhere than in the roots directory.
    pub fn add_from(
        &mut self,
        provenance: Provenance,
        kind: RootKind,
        source: &str,
        bytes: &[u8],
        at: WallTime,
    ) -> Vec<Result<RootId, RootProblem>> {
        let problem = |fault| RootProblem { source: source.to_owned(), fault };
        match certificates(bytes) {
            Ok(found) if found.is_empty() => vec![Err(problem(RootFault::NoCertificate))],
            Ok(found) => found
                .iter()
                .map(|der| self.add_one(provenance, kind, source, der, at).map_err(problem))
                .collect(),
            Err(fault) => vec![Err(problem(fault))],
        }
    }

    /// Adds the certificates in `bytes`, as [`Self::add`] does, as roots of timestamping authorities whose times count for
    /// what is signed in `domain`. One answer for each certificate. The same authority may serve several domains.
    pub fn add_timestamping(
        &mut self,
        domain: SecurityDomain,
        source: &str,
        bytes: &[u8],
        at: WallTime,
    ) -> Vec<Result<RootId, RootProblem>> {
        let kind = match domain {
            SecurityDomain::Operator => RootKind::Operator,
            SecurityDomain::Manufacturer => RootKind::Manufacturer,
            SecurityDomain::ThirdParty => RootKind::ThirdParty,
        };
        let problem = |fault| RootProblem { source: source.to_owned(), fault };
        let found = match certificates(bytes) {
            Ok(found) if found.is_empty() => return vec![Err(problem(RootFault::NoCertificate))],
            Ok(found) => found,
            Err(fault) => return vec![Err(problem(fault))],
        };
        let mut add = |der: &Vec<u8>| {
            let certificate =
                Certificate::read(der).map_err(|unusable| RootFault::Malformed(unusable.what))?;
            may_be_root(&certificate, false)?;
            let id = RootId::from_digest(&sha256(&certificate.spki));
            let root = Root {
                id: id.clone(),
                kind,
                provenance: Provenance::Device,
                source: source.to_owned(),
                certificate,
            };
            let valid = validity(&root, at);
            if !self.timestamping.iter().any(|other| other.kind == kind && other.der() == root.der()) {
                self.timestamping.push(root);
            }
            valid.map(|()| id)
        };
        found.iter().map(|der| add(der).map_err(problem)).collect()
    }

    /// Adds the revocation lists in `bytes` (DER, or PEM with one or more of them), read from `source`. One answer for each
    /// list: what is known of it, or why it does not count. A list whose issuer is not known yet is kept: it is asked for
    /// whatever that issuer issued, once its signature is seen to be right.
    pub fn add_list(&mut self, source: &str, bytes: &[u8]) -> Vec<Result<ListFacts, ListProblem>> {
        let problem = |fault| ListProblem { source: source.to_owned(), fault };
        let found = match revocation::lists(bytes) {
            Ok(found) => found,
            Err(fault) => return vec![Err(problem(fault))],
        };
        let mut add = |der: &Vec<u8>| {
            let list = match self.read_before.get(source, der) {
                Some(list) => list,
                None => Arc::new(RevocationList::read(source, der)?),
            };
            let facts = list.facts.clone();
            if !self.lists.iter().any(|other| other.facts.sha256 == facts.sha256) {
                if self.lists.len() >= LISTS_MAX {
                    return Err(ListFault::TooMany);
                }
                self.lists.push(list);
            }
            Ok(facts)
        };
        found.iter().map(|der| add(der).map_err(problem)).collect()
    }

    /// Lists that were read before need not be read again.
    pub fn read_before(&mut self, lists: ReadLists) {
        self.read_before = lists;
    }

    /// Judges by these rules from now on. Set them first: whether a root's key may be small depends on them.
    pub fn rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    fn add_one(
        &mut self,
        provenance: Provenance,
        kind: RootKind,
        source: &str,
        der: &[u8],
        at: WallTime,
    ) -> Result<RootId, RootFault> {
        let certificate = Certificate::read(der).map_err(|unusable| RootFault::Malformed(unusable.what))?;
        let legacy = self.rules.legacy && kind.domain() == SecurityDomain::ThirdParty;
        may_be_root(&certificate, legacy)?;
        self.admit(provenance, kind, source, certificate, at)
    }

    /// Takes in a root that may be one.
    fn admit(
        &mut self,
        provenance: Provenance,
        kind: RootKind,
        source: &str,
        certificate: Certificate,
        at: WallTime,
    ) -> Result<RootId, RootFault> {
        let id = RootId::from_digest(&sha256(&certificate.spki));
        if let Some((_, other)) = self.claimed_twice.iter().find(|(twice, _)| *twice == id) {
            return Err(RootFault::InTwoDomains { other: other.clone() });
        }
        let claims = |root: &&Root| root.id == id && root.domain() != kind.domain();
        // Whoever puts a card in takes no root out: a card's claim on another's key is nothing.
        if provenance == Provenance::Usim
            && let Some(other) = self.roots.iter().filter(claims).find(|r| r.provenance != Provenance::Usim)
        {
            return Err(RootFault::InTwoDomains { other: other.source.clone() });
        }
        if provenance != Provenance::Usim {
            let kind = kind.domain();
            let of_card = |r: &Root| r.provenance == Provenance::Usim && r.id == id && r.domain() != kind;
            self.roots.retain(|root| !of_card(root));
        }
        if let Some(other) = self.roots.iter().find(claims).map(|root| root.source.clone()) {
            self.roots.retain(|root| root.id != id);
            self.claimed_twice.push((id, other.clone()));
            return Err(RootFault::InTwoDomains { other });
        }
        let root = Root { id: id.clone(), kind, provenance, source: source.to_owned(), certificate };
        let valid = validity(&root, at);
        let same =
            |other: &Root| other.der() == root.der() && (other.kind, other.provenance) == (kind, provenance);
        if !self.roots.iter().any(same) {
            self.roots.push(root);
        }
        valid.map(|()| id)
    }

    /// The store of all roots that may be one.
    pub fn build(self) -> TrustStore {
        TrustStore {
            roots: self.roots,
            off: Vec::new(),
            timestamping: self.timestamping,
            lists: self.lists,
            rules: self.rules,
            administered: None,
        }
    }
}

fn validity(root: &Root, at: WallTime) -> Result<(), RootFault> {
    let (not_before, not_after) = (root.not_before(), root.not_after());
    if at.as_secs() < not_before.as_secs() {
        return Err(RootFault::NotYetValid { not_before });
    }
    if at.as_secs() > not_after.as_secs() {
        return Err(RootFault::Expired { not_after });
    }
    Ok(())
}

pub(crate) fn may_be_root(certificate: &Certificate, legacy: bool) -> Result<(), RootFault> {
    match &certificate.key {
        Err(unusable) => return Err(RootFault::KeyUnusable(unusable.what.clone())),
        Ok(key) if legacy && key.is_large_enough_for_legacy() => {}
        Ok(key) if !key.is_large_enough() => return Err(RootFault::KeyTooSmall(key.description())),
        Ok(_) => {}
    }
    if !certificate.is_ca() || !certificate.may_sign_certificates() {
        return Err(RootFault::NotAnAuthority);
    }
    // The signature of a root proves nothing, but a wrong one shows that the file was damaged.
    if certificate.is_self_issued() && certificate.scheme.is_ok() && !certificate.is_signed_by(certificate) {
        return Err(RootFault::Malformed("its own signature is wrong".to_owned()));
    }
    Ok(())
}
