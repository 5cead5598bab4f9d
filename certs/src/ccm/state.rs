//! What certificate configuration messages left behind: for every administrator's key that ever sent one, its highest number
//! and what it enabled and disabled. The service writes it into the journal as JSON, in one piece, and reads it at start.

use std::collections::{BTreeMap, BTreeSet};

use mexe_model::{Reason, WallTime};
use serde::{Deserialize, Serialize};

use super::content::{Ccm, Mode};
use crate::fingerprint::Fingerprint;
use crate::verdict::Refusal;

/// All administrators' keys that a message was applied of. Entries are never removed: a change of the administrator, and
/// back, must not open the way for old messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CcmState(BTreeMap<Fingerprint, Configuration>);

/// What one administrator's key configured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Configuration {
    /// The number of the last message that was applied; 0 before the first.
    pub sequence: u64,
    /// The digest of the last message; for a key that took over, of the one that handed over.
    pub digest: Option<Fingerprint>,
    /// When the next message is due; `None` before the first.
    pub next_update: Option<WallTime>,
    /// Enabled certificates, by hash.
    pub enabled: BTreeSet<Fingerprint>,
    /// Disabled keys, by hash. A key never comes back: its holder makes another.
    pub disabled: BTreeSet<Fingerprint>,
    /// The key that this one handed over to: it administers no more.
    pub successor: Option<Fingerprint>,
}

/// Whether the administrator's list is up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// The next message is not due yet.
    Current,
    /// No message was applied yet.
    NoMessage,
    /// The next message is overdue: somebody may be holding it back, so no new third party run begins.
    Overdue,
}

/// What the administrator says of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It may vouch.
    Enabled,
    /// A key in it is disabled, whatever else is enabled.
    KeyDisabled(Fingerprint),
    /// None of its certificates is enabled.
    NotEnabled,
}

impl CcmState {
    /// What was applied under that administrator's key.
    pub fn of(&self, arpk: &Fingerprint) -> Option<&Configuration> {
        self.0.get(arpk)
    }

    /// Whether the list of that administrator is up to date: the answer to who holds messages back.
    pub fn freshness(&self, arpk: &Fingerprint, at: WallTime) -> Freshness {
        match self.of(arpk).and_then(|configuration| configuration.next_update) {
            None => Freshness::NoMessage,
            Some(due) if at.as_secs() > due.as_secs() => Freshness::Overdue,
            Some(_) => Freshness::Current,
        }
    }

    /// What that administrator says of a chain, given the hashes of its certificates and of their keys, the root's too.
    /// One enabled certificate is enough, one disabled key is too many. A chain that ends in the administrator's own key is
    /// enabled by that.
    pub fn standing(
        &self,
        arpk: &Fingerprint,
        certificates: &[Fingerprint],
        keys: &[Fingerprint],
    ) -> Standing {
        self.of(arpk).unwrap_or(&Configuration::default()).standing(arpk, certificates, keys)
    }

    /// The key that administers in the place of this one, after all that was handed over.
    pub fn heir(&self, arpk: Fingerprint) -> Fingerprint {
        // A key that handed over never takes over again, so the way is no longer than the list.
        let next = |key: &Fingerprint| self.of(key).and_then(|configuration| configuration.successor);
        std::iter::successors(Some(arpk), next).take(self.0.len() + 1).last().unwrap_or(arpk)
    }

    /// With what holds after a message. A key that takes over inherits the lists, not the numbers: messages name the key
    /// that they are for, so none of the old ones fits it, and an attacker who used up the old key's numbers gains nothing.
    pub(super) fn with(
        &self,
        arpk: Fingerprint,
        after: Configuration,
        successor: Option<Fingerprint>,
    ) -> Self {
        let mut all = self.0.clone();
        if let Some(successor) = successor {
            let heir = all.entry(successor).or_default();
            heir.digest = after.digest;
            heir.next_update = after.next_update;
            heir.enabled = after.enabled.clone();
            // What it disabled itself, when it administered before, stays so.
            heir.disabled.extend(&after.disabled);
        }
        all.insert(arpk, after);
        Self(all)
    }
}

impl Configuration {
    /// What the administrator with that key says of a chain: as [`CcmState::standing`].
    pub fn standing(
        &self,
        arpk: &Fingerprint,
        certificates: &[Fingerprint],
        keys: &[Fingerprint],
    ) -> Standing {
        if let Some(key) = keys.iter().find(|key| self.disabled.contains(key)) {
            return Standing::KeyDisabled(*key);
        }
        let enabled = certificates.iter().any(|certificate| self.enabled.contains(certificate));
        if enabled || keys.contains(arpk) { Standing::Enabled } else { Standing::NotEnabled }
    }

    /// What holds after a message that counts.
    pub(super) fn after(
        mut self,
        ccm: &Ccm,
        arpk: Fingerprint,
        successor: Option<Fingerprint>,
        remembered_max: usize,
    ) -> Result<Self, Refusal> {
        let malformed = |detail: String| Err(Refusal::new(Reason::CcmMalformed, detail));
        match ccm.mode {
            Mode::Disable => self.disabled.extend(&ccm.entries),
            Mode::Enable => self.enabled.extend(&ccm.entries),
            Mode::ReplaceAll => self.enabled = ccm.entries.iter().copied().collect(),
        }
        // An administrator that shut itself out could not undo it.
        if self.disabled.contains(&arpk) || successor.is_some_and(|key| self.disabled.contains(&key)) {
            return malformed("it disables the administrator's own key".to_owned());
        }
        if self.enabled.len() > remembered_max || self.disabled.len() > remembered_max {
            return malformed(format!("more than {remembered_max} hashes would have to be remembered"));
        }
        self.sequence = ccm.sequence;
        self.digest = Some(ccm.digest);
        self.next_update = Some(ccm.next_update);
        self.successor = successor;
        Ok(self)
    }
}
