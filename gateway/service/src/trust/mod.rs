//! Whom the device trusts: everything that the trust store is made of ([`Sources`]), and what comes out ([`Trusted`]): the
//! store that packages are judged by, the state of every root, and who administers. Made at the start, at a reload, and
//! whenever a card, a message of the administrator or the user changes something ([`change`]); by `app verify` and
//! `doctor` from the directories alone.

pub mod change;
mod files;
pub mod lists;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use mexe_certs::administrator::{Acceptance, CardKey, Decision, DeviceKey, decide};
use mexe_certs::ccm::{self, CcmState, Freshness};
use mexe_certs::root_store::{Provenance, Root, RootFault, RootKind, RootProblem, TrustStore};
use mexe_certs::usim::WtlsCertificate;
use mexe_certs::{Fingerprint, ReadLists, Rules};
use mexe_journal::{StoredList, StoredRoot};
use mexe_model::{Reason, RootId, SecurityDomain, WallTime};
use serde_json::{Value, json};

use crate::config::{ConfigError, Guard};

pub use files::{FileProblem, Files, LARGEST_LIST, Operator};
pub use states::{CardFacts, Facts, InCharge, State};

/// Everything that a trust store is made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What lies on disk.
    pub files: Arc<Files>,
    /// Roots that were added while the gate ran, each with its certificate.
    pub added: Vec<StoredRoot>,
    /// Revocation lists that were taken in while the gate ran.
    pub lists: Vec<StoredList>,
    /// Roots that the user switched off: key, and whose it is.
    pub off: BTreeSet<(RootId, &'static str)>,
    /// The card in the device.
    pub card: Option<CardFacts>,
    /// What the card holds: whose roots, from which record, and what they are.
    pub card_roots: Vec<(RootKind, String, CardRoot)>,
    /// Keys that were accepted, each on a card.
    pub accepted: BTreeMap<(String, RootId), Acceptance>,
    /// What the messages of every administrator said so far.
    pub messages: CcmState,
    /// What the owner decided about judging.
    pub rules: Rules,
    /// The revocation lists of the store before.
    pub read_lists: ReadLists,
}

/// A root as it lies on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardRoot {
    /// An X.509 certificate, DER.
    X509(Vec<u8>),
    /// A WTLS certificate.
    Wtls(WtlsCertificate),
}

impl Sources {
    /// What the journal remembers of earlier changes; the directories and the card are not in it.
    pub fn remembered(stored: &mexe_journal::Loaded) -> Self {
        let off = |root: &StoredRoot| root.state == mexe_journal::RootState::Disabled;
        let switched_off = stored.roots.iter().filter(|root| off(root));
        let accepted = |(name, value): &(String, Value)| {
            let (iccid, key) = name.strip_prefix("accepted:")?.split_once(':')?;
            let by = serde_json::from_value(value.clone()).ok()?;
            Some(((iccid.to_owned(), key.parse().ok()?), by))
        };
        let messages = stored.trust.iter().find(|(name, _)| name == change::MESSAGES);
        Self {
            added: stored.roots.iter().filter(|root| root.certificate.is_some()).cloned().collect(),
            lists: stored.lists.clone(),
            off: switched_off.map(|root| (root.id.clone(), root.kind.as_str())).collect(),
            accepted: stored.trust.iter().filter_map(accepted).collect(),
            messages: messages
                .and_then(|(_, value)| serde_json::from_value(value.clone()).ok())
                .unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// The chain by which a root vouched for a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The root.
    pub root: RootId,
    /// SHA-256 of the certificates below it.
    pub certificates: Vec<Fingerprint>,
    /// SHA-256 of their keys.
    pub keys: Vec<Fingerprint>,
}

/// One root with its state.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The key.
    pub id: RootId,
    /// Whose it is.
    pub kind: RootKind,
    /// Where it was found.
    pub provenance: Provenance,
    /// Whether it vouches.
    pub state: State,
    /// The network that it is bound to.
    pub bound: Option<Operator>,
    fingerprint: Fingerprint,
    subject: String,
    source: String,
    not_before: WallTime,
    not_after: WallTime,
}

/// The trust store, and how it came about.
#[derive(Debug)]
pub struct Trusted {
    /// What a chain may end in.
    pub store: TrustStore,
    /// Every root, those that do not vouch as well.
    pub roots: Vec<Standing>,
    /// What vouches for nobody, and why.
    pub problems: Vec<FileProblem>,
    /// Who administers the third party domain.
    pub in_charge: InCharge,
    /// Why it is the one, and what the owner is to be asked.
    pub administrator: Decision,
    /// What it was made of.
    pub sources: Arc<Sources>,
}

impl Trusted {
    /// Made of the directories alone, as nothing else was ever changed; no directory is no roots.
    ///
    /// # Errors
    /// A directory cannot be read, or something in it is not guarded.
    pub fn load(
        roots: Option<&Path>,
        lists: Option<&Path>,
        rules: Rules,
        guard: &Guard,
        at: WallTime,
    ) -> Result<Self, ConfigError> {
        let files = Arc::new(Files::read(roots, lists, guard)?);
        Ok(Self::of(Sources { files, rules, ..Sources::default() }, at))
    }

    /// Made of these sources, as things stand at that time.
    pub fn of(mut sources: Sources, at: WallTime) -> Self {
        let mut problems = sources.files.problems.clone();
        let mut builder = TrustStore::builder();
        builder.read_before(std::mem::take(&mut sources.read_lists));
        builder.rules(sources.rules);
        let mut bound: BTreeMap<String, Operator> = BTreeMap::new();
        for file in &sources.files.roots {
            if let Some(operator) = &file.operator {
                bound.insert(file.file.clone(), operator.clone());
            }
            let added = builder.add(file.kind, &file.file, &file.bytes, at);
            problems.extend(added.into_iter().filter_map(Result::err).map(|p| of_root(&file.file, &p)));
        }
        for root in &sources.added {
            let (Some(der), Some(kind)) = (&root.certificate, kind_of(root.kind)) else { continue };
            let added = builder.add_from(Provenance::User, kind, &root.source, der, at);
            problems.extend(added.into_iter().filter_map(Result::err).map(|p| of_root(&root.source, &p)));
        }
        for (kind, source, root) in &sources.card_roots {
            let added = match root {
                CardRoot::X509(der) => builder.add_from(Provenance::Usim, *kind, source, der, at),
                CardRoot::Wtls(_) if !sources.rules.legacy => continue,
                CardRoot::Wtls(certificate) => vec![builder.add_wtls(*kind, source, certificate, at)],
            };
            problems.extend(added.into_iter().filter_map(Result::err).map(|p| of_root(source, &p)));
        }
        for (domain, file, bytes) in &sources.files.stamping {
            let added = builder.add_timestamping(*domain, file, bytes, at);
            problems.extend(added.into_iter().filter_map(Result::err).map(|p| of_root(file, &p)));
        }
        let files = sources.files.lists.iter().map(|(file, bytes)| (file.clone(), bytes.as_slice()));
        let taken_in = sources.lists.iter().map(|list| (list.name(), list.der.as_slice()));
        for (file, bytes) in files.chain(taken_in) {
            let added = builder.add_list(&file, bytes);
            let wrong = |p: mexe_certs::ListProblem| FileProblem {
                file: p.file().to_owned(),
                what: p.to_string(),
                kept: false,
            };
            problems.extend(added.into_iter().filter_map(Result::err).map(wrong));
        }
        let store = builder.build();
        sources.read_lists = store.read_lists();
        let administrator = administrator(&store, &sources, at);
        let in_charge = match administrator.administrator.key() {
            None => InCharge::User,
            Some(key) => {
                InCharge::Holder { key, configured: sources.messages.of(&key).cloned().unwrap_or_default() }
            }
        };
        let card = sources.card.as_ref();
        let on_this_card = |((iccid, key), _): (&(String, RootId), &Acceptance)| {
            card.is_some_and(|card| card.iccid == *iccid).then(|| key.clone())
        };
        let facts = Facts {
            in_charge: in_charge.clone(),
            card: sources.card.clone(),
            accepted: sources.accepted.iter().filter_map(on_this_card).collect(),
            off: sources.off.clone(),
        };
        let stand = |root: &Root| {
            let bound = bound.get(root.source()).filter(|_| root.provenance() == Provenance::Device);
            (states::state_of(root, bound, &facts, at), bound.cloned())
        };
        let roots: Vec<Standing> = store.roots().iter().map(|root| Standing::of(root, stand(root))).collect();
        let mut store = store.switched(|root| stand(root).0.vouches());
        if let InCharge::Holder { key, configured } = &in_charge {
            store = store.administered_by(*key, configured.clone());
        }
        Self { store, roots, problems, in_charge, administrator, sources: Arc::new(sources) }
    }

    /// The domain of every root, and its state.
    pub fn counted(&self) -> Vec<(SecurityDomain, State)> {
        self.roots.iter().map(|root| (root.kind.domain(), root.state)).collect()
    }

    /// Why an app that this chain vouched for may not run; `None` when neither its root nor the administrator is in the way.
    pub fn in_the_way(&self, chain: &Chain, domain: SecurityDomain) -> Option<Reason> {
        let of_domain = |root: &&Standing| root.id == chain.root && root.kind.domain() == domain;
        let mut roots = self.roots.iter().filter(of_domain).peekable();
        if roots.peek().is_none() {
            // A card that was taken out took its roots along; any other root was taken away.
            let of_a_card = self.sources.accepted.keys().any(|(_, key)| *key == chain.root);
            return Some(if of_a_card { Reason::RootInvalid } else { Reason::NoRoot });
        }
        // A key that is there twice vouches as long as one of its certificates does.
        let mut why = None;
        for root in roots {
            let of_root = match root.state {
                State::NotEnabled => None,
                state => state.suspends(),
            };
            why = Some(of_root.or_else(|| self.administrator_in_the_way(chain, root))?);
        }
        why
    }

    /// What the administrator of the third party domain has against a chain to that root.
    fn administrator_in_the_way(&self, chain: &Chain, root: &Standing) -> Option<Reason> {
        let InCharge::Holder { key, configured } = &self.in_charge else { return None };
        if root.kind.domain() != SecurityDomain::ThirdParty {
            return None;
        }
        let certificates = [chain.certificates.as_slice(), &[root.fingerprint]].concat();
        let keys: Vec<_> = chain.keys.iter().copied().chain(root.id.as_str().parse().ok()).collect();
        match configured.standing(key, &certificates, &keys) {
            ccm::Standing::Enabled => None,
            ccm::Standing::KeyDisabled(_) | ccm::Standing::NotEnabled => Some(Reason::RootDisabled),
        }
    }

    /// Every revocation list, as the API shows them.
    pub fn lists_shown(&self, at: WallTime) -> Vec<Value> {
        let lists = self.store.lists().map(|list| {
            json!({
                "issuer": list.issuer,
                "number": list.number,
                "state": list.state_at(at).as_str(),
                "this_update": list.this_update.to_string(),
                "next_update": list.next_update.to_string(),
                "entries": list.entries,
                "source": list.source,
            })
        });
        lists.collect()
    }

    /// Whether the administrator's next message is overdue, so that no new third party run may begin.
    pub fn is_overdue(&self, at: WallTime) -> bool {
        match &self.in_charge {
            InCharge::User => false,
            InCharge::Holder { key, .. } => self.sources.messages.freshness(key, at) == Freshness::Overdue,
        }
    }

    /// Every root and every problem, as the API and the command line list them.
    pub fn shown(&self) -> Vec<Value> {
        let problems = self.problems.iter().filter(|problem| !problem.kept).map(|problem| {
            json!({"id": null, "state": "unusable", "source": problem.file, "problem": problem.what})
        });
        self.roots.iter().map(Standing::shown).chain(problems).collect()
    }
}

impl Standing {
    fn of(root: &Root, (state, bound): (State, Option<Operator>)) -> Self {
        Self {
            id: root.id().clone(),
            kind: root.kind(),
            provenance: root.provenance(),
            state,
            bound,
            fingerprint: root.fingerprint(),
            subject: root.subject().to_owned(),
            source: root.source().to_owned(),
            not_before: root.not_before(),
            not_after: root.not_after(),
        }
    }

    /// As the API shows it.
    pub fn shown(&self) -> Value {
        let mut shown = json!({
            "id": self.id,
            "kind": self.kind.as_str(),
            "domain": self.kind.domain(),
            "state": self.state.as_str(),
            "provenance": self.provenance.as_str(),
            "subject": self.subject,
            "not_before": self.not_before.to_string(),
            "not_after": self.not_after.to_string(),
            "certificate": self.fingerprint,
            "source": self.source,
        });
        let mut add = |name: &str, value: Value| {
            if let Some(fields) = shown.as_object_mut() {
                fields.insert(name.to_owned(), value);
            }
        };
        if self.kind == RootKind::Operator && self.provenance != Provenance::Usim {
            let unbound = || json!("unbound");
            add("binding", self.bound.as_ref().map_or_else(unbound, |operator| json!(operator)));
        }
        if self.state != State::Enabled {
            add("problem", json!(self.state.says()));
        }
        shown
    }
}

/// The source of a root certificate that came in a message of the administrator's.
const HANDED_OVER: &str = "ccm";

/// Who administers, decided anew from what lies on the device and on the card.
fn administrator(store: &TrustStore, sources: &Sources, at: WallTime) -> Decision {
    let administrators = || store.roots().iter().filter(|root| root.kind() == RootKind::Administrator);
    // The first key that somebody put here, with the one that administers for it now. A key that came by a message is
    // nobody's choice: it stands for the one that it took over from, and for nothing when that one is gone.
    let of = |usim: bool| {
        let put_here = administrators()
            .filter(|root| (root.provenance() == Provenance::Usim) == usim)
            .filter(|root| root.provenance() != Provenance::User || root.source() != HANDED_OVER);
        let mut in_force = put_here.filter_map(|first| {
            // A key that handed over administers through its successor, once that one's certificate is here.
            let heir = sources.messages.heir(first.key());
            let successor = administrators().find(|root| root.key() == heir && root.key() != first.key());
            let now = successor.unwrap_or(first);
            now.is_valid_at(at).then(|| (first, now.key()))
        });
        in_force.next()
    };
    let device = of(false)
        .map(|(first, key)| DeviceKey { key, owner_designated: first.provenance() == Provenance::User });
    let card = of(true).zip(sources.card.as_ref()).map(|((first, key), card)| CardKey {
        key,
        iccid: card.iccid.clone(),
        present: true,
        acceptance: sources.accepted.get(&(card.iccid.clone(), first.id().clone())).copied(),
    });
    decide(&mexe_certs::administrator::Facts { device, card })
}

fn of_root(file: &str, problem: &RootProblem) -> FileProblem {
    let kept = matches!(problem.fault(), RootFault::Expired { .. } | RootFault::NotYetValid { .. });
    FileProblem { file: file.to_owned(), what: problem.to_string(), kept }
}

/// The journal keeps the same words in a type of its own.
fn kind_of(stored: mexe_journal::RootKind) -> Option<RootKind> {
    RootKind::ALL.into_iter().find(|kind| kind.as_str() == stored.as_str())
}

/// As the journal has it.
fn stored_kind(kind: RootKind) -> mexe_journal::RootKind {
    match kind {
        RootKind::Administrator => mexe_journal::RootKind::Administrator,
        RootKind::Manufacturer => mexe_journal::RootKind::Manufacturer,
        RootKind::Operator => mexe_journal::RootKind::Operator,
        RootKind::ThirdParty => mexe_journal::RootKind::ThirdParty,
    }
}

#[cfg(test)]
mod tests;
