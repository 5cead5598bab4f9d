//! Which roots may vouch now: the rules of who controls which root, as a pure function of what is known. A root that may
//! not is switched off in the store, and its state says why. Called whenever anything of it changes: files, cards,
//! messages of the administrator, the user's switches.
//!
//! The manufacturer's roots are fixed. The operator's are bound to a home network, or to the device where no network is
//! named. The third party domain is the administrator's: while that is the user, its roots count; while it is somebody
//! else, only those that a certificate configuration message enabled. The user may always switch off what is not the
//! manufacturer's.

use std::collections::BTreeSet;

use mexe_certs::Fingerprint;
use mexe_certs::ccm::Configuration;
use mexe_certs::root_store::{Provenance, Root, RootKind};
use mexe_model::{Reason, RootId, WallTime};

use super::files::Operator;

/// Whether a root vouches, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Enabled,
    /// The administrator has not enabled it.
    NotEnabled,
    /// The user, or the administrator, switched it off.
    Disabled,
    /// Its card is not in the device, or it belongs to another operator's card.
    Invalid,
    /// It is on the card, and the device's owner has not accepted it.
    Unaccepted,
    /// The administrator's root of somebody who is not the administrator now.
    NotInCharge,
    /// Its validity has ended.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
}

impl State {
    /// The stable name, as the API and the metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::NotEnabled => "not-enabled",
            Self::Invalid => "invalid",
            Self::Unaccepted => "unaccepted",
            Self::NotInCharge => "not-in-charge",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
        }
    }

    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Disabled,
        Self::Enabled,
        Self::Expired,
        Self::Invalid,
        Self::NotEnabled,
        Self::NotInCharge,
        Self::NotYetValid,
        Self::Unaccepted,
    ];

    /// Whether the root stays in the store; validity is asked again at each judgement, and so is what the administrator
    /// enabled: another certificate of a chain may be, where its root is not.
    pub const fn vouches(self) -> bool {
        matches!(self, Self::Enabled | Self::Expired | Self::NotYetValid | Self::NotEnabled)
    }

    /// Why an app that such a root vouched for may not run; `None` when the root is not in the way.
    pub const fn suspends(self) -> Option<Reason> {
        match self {
            Self::Enabled | Self::Expired | Self::NotYetValid => None,
            Self::Disabled | Self::NotEnabled => Some(Reason::RootDisabled),
            Self::Invalid | Self::Unaccepted | Self::NotInCharge => Some(Reason::RootInvalid),
        }
    }

    /// What the state means and what to do, one line.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Enabled => "it vouches for its domain",
            Self::Disabled => "it was disabled",
            Self::NotEnabled => "the administrator has not enabled it by a certificate configuration message",
            Self::Invalid => "the card or home network that it belongs to is not in the device",
            Self::Unaccepted => {
                "the owner has not accepted this card's key: `mexegate roots enable` accepts it"
            }
            Self::NotInCharge => "its holder is not the administrator of this device now",
            Self::Expired => "its validity has ended",
            Self::NotYetValid => "its validity has not begun",
        }
    }
}

/// The card, as far as roots depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardFacts {
    /// Its number.
    pub iccid: String,
    /// The home network of its subscription: country code and network code.
    pub network: Option<String>,
    /// The service provider's name.
    pub spn: Option<String>,
    /// Group identifier level 1, lower-case hexadecimal.
    pub gid1: Option<String>,
    /// SHA-256 of the subscription's number: another one on the same card is another card. The number itself is nobody's
    /// business.
    pub subscription: Option<Fingerprint>,
}

impl CardFacts {
    /// Whether everything that the binding names is on the card.
    pub fn fits(&self, operator: &Operator) -> bool {
        self.network.as_deref() == Some(operator.network.as_str())
            && operator.spn.as_ref().is_none_or(|spn| self.spn.as_ref() == Some(spn))
            && operator.gid1.as_ref().is_none_or(|gid1| {
                self.gid1.as_ref().is_some_and(|of_card| of_card.eq_ignore_ascii_case(gid1))
            })
    }
}

/// Who administers the third party domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InCharge {
    /// The user.
    #[default]
    User,
    /// Whoever holds that root key.
    Holder {
        /// The key.
        key: Fingerprint,
        /// What its messages said so far.
        configured: Configuration,
    },
}

/// Everything that the states depend on, besides the roots themselves.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Who administers.
    pub in_charge: InCharge,
    /// The card in the device.
    pub card: Option<CardFacts>,
    /// Keys that the owner accepted on this card.
    pub accepted: BTreeSet<RootId>,
    /// What the user switched off.
    pub off: BTreeSet<(RootId, &'static str)>,
}

/// The state of a root, which is bound to that operator if to any.
pub(super) fn state_of(root: &Root, bound: Option<&Operator>, facts: &Facts, at: WallTime) -> State {
    let kind = root.kind();
    if kind != RootKind::Manufacturer && facts.off.contains(&(root.id().clone(), kind.as_str())) {
        return State::Disabled;
    }
    if root.provenance() == Provenance::Usim {
        if facts.card.is_none() {
            return State::Invalid;
        }
        if !facts.accepted.contains(root.id()) {
            return State::Unaccepted;
        }
    }
    if let Some(operator) = bound
        && !facts.card.as_ref().is_some_and(|card| card.fits(operator))
    {
        return State::Invalid;
    }
    match (kind, &facts.in_charge) {
        (RootKind::Administrator, InCharge::Holder { key, .. }) if *key == root.key() => {}
        (RootKind::Administrator, _) => return State::NotInCharge,
        (RootKind::ThirdParty, InCharge::Holder { configured, .. }) => {
            if configured.disabled.contains(&root.key()) {
                return State::Disabled;
            }
            if !configured.enabled.contains(&root.fingerprint()) {
                return State::NotEnabled;
            }
        }
        (RootKind::ThirdParty, InCharge::User) | (RootKind::Operator | RootKind::Manufacturer, _) => {}
    }
    if at < root.not_before() {
        State::NotYetValid
    } else if root.is_valid_at(at) {
        State::Enabled
    } else {
        State::Expired
    }
}

#[cfg(test)]
mod tests;
