//! Who controls the third party domain: the user, the holder of an administrator root public key (ARPK) on the device, or
//! the holder of the one on the card. Decides from what is known about both, and says which question is open for the owner;
//! reads no card and asks nobody. Called at start and at every card event, and shown by `mexegate administrator show`.
//!
//! A card is anybody's to make, so its key counts only after somebody who may say so has accepted it, and only while the
//! card is in. What was accepted is the pair of card and key: another key on the same card is a new question.

use crate::fingerprint::Fingerprint;

/// What the decision is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The ARPK that is stored on the device and may be used (enabled, within its validity).
    pub device: Option<DeviceKey>,
    /// The ARPK of the card that carries the bearer, or carried it last.
    pub card: Option<CardKey>,
}

/// The ARPK on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceKey {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: Fingerprint,
    /// Whether the owner named its holder as the administrator, or it came with the device.
    pub owner_designated: bool,
}

/// The ARPK on the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardKey {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: Fingerprint,
    /// The card's number (ICCID).
    pub iccid: String,
    /// Whether the card is in, and the bearer registered with it.
    pub present: bool,
    /// The latest acceptance of exactly this pair of card and key.
    pub acceptance: Option<Acceptance>,
}

/// Somebody accepted the card's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Acceptance {
    /// Who.
    pub by: Who,
    /// The ARPK that was on the device then: the acceptance put the card's key in its place. `None`: there was none.
    pub in_place_of: Option<Fingerprint>,
}

/// Who accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The owner of the device.
    Owner,
    /// The holder of the ARPK on the device, by a signed message.
    Holder,
}

/// Who administers the third party domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Administrator {
    /// The holder of the card's key, while the card is in.
    Card(Fingerprint),
    /// The holder of the device's key.
    Device(Fingerprint),
    /// The user.
    User,
}

impl Administrator {
    /// The stable name: `card`, `device`, `user`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Card(_) => "card",
            Self::Device(_) => "device",
            Self::User => "user",
        }
    }

    /// The key of a remote administrator, whose messages count; `None` for the user.
    pub const fn key(self) -> Option<Fingerprint> {
        match self {
            Self::Card(key) | Self::Device(key) => Some(key),
            Self::User => None,
        }
    }
}

/// Why it is the one who is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The card's key was accepted in place of the one on the device.
    AcceptedInItsPlace,
    /// The card's key was accepted, and the device has none.
    AcceptedOnCard,
    /// The device's own key stays in charge: the card's was not accepted.
    DeviceKeyStays,
    /// There is no key anywhere.
    NoKey,
    /// The card has a key that the owner has not accepted, and the device has none.
    NotAccepted,
    /// Only the device has a key, or the card that has one is not in.
    OnlyOnDevice,
    /// Card and device have the same key.
    SameKey,
}

impl Why {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AcceptedInItsPlace => "accepted-in-its-place",
            Self::AcceptedOnCard => "accepted-on-card",
            Self::DeviceKeyStays => "device-key-stays",
            Self::NoKey => "no-key",
            Self::NotAccepted => "not-accepted",
            Self::OnlyOnDevice => "only-on-device",
            Self::SameKey => "same-key",
        }
    }
}

/// A choice that is to be offered now, before any other about the third party domain: the operator has the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The card.
    pub iccid: String,
    /// Its key.
    pub key: Fingerprint,
    /// The device's key whose holder may answer as well as the owner, and in whose place the card's key would be.
    pub in_place_of: Option<Fingerprint>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Who administers.
    pub administrator: Administrator,
    /// Why.
    pub why: Why,
    /// What is to be asked.
    pub question: Option<Question>,
}

/// Decides who administers.
///
/// - A card that is out counts for nothing.
/// - An owner's acceptance counts against a key that came with the device, whenever it was given. Against a key whose
///   holder the owner designated, only an acceptance in place of that very key counts: a designation that came after it
///   is the owner's later word.
/// - The holder's acceptance counts only in place of the holder's own key, while that is the one on the device.
pub fn decide(facts: &Facts) -> Decision {
    let decided = |administrator, why| Decision { administrator, why, question: None };
    let card = facts.card.as_ref().filter(|card| card.present);
    match (card, facts.device) {
        (None, None) => decided(Administrator::User, Why::NoKey),
        (None, Some(device)) => decided(Administrator::Device(device.key), Why::OnlyOnDevice),
        (Some(card), Some(device)) if card.key == device.key => {
            decided(Administrator::Device(device.key), Why::SameKey)
        }
        (Some(card), None) if card.acceptance.is_some_and(|a| a.by == Who::Owner) => {
            decided(Administrator::Card(card.key), Why::AcceptedOnCard)
        }
        (Some(card), Some(device)) if card.acceptance.is_some_and(|a| a.replaces(device)) => {
            decided(Administrator::Card(card.key), Why::AcceptedInItsPlace)
        }
        (Some(card), device) => {
            let in_place_of = device.map(|device| device.key);
            let question = Question { iccid: card.iccid.clone(), key: card.key, in_place_of };
            let (administrator, why) = match in_place_of {
                Some(key) => (Administrator::Device(key), Why::DeviceKeyStays),
                None => (Administrator::User, Why::NotAccepted),
            };
            Decision { administrator, why, question: Some(question) }
        }
    }
}

impl Acceptance {
    fn replaces(self, device: DeviceKey) -> bool {
        let in_its_place = self.in_place_of == Some(device.key);
        in_its_place || (self.by == Who::Owner && !device.owner_designated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: Fingerprint = Fingerprint([0xdd; 32]);
    const C: Fingerprint = Fingerprint([0xcc; 32]);
    const X: Fingerprint = Fingerprint([0xee; 32]);

    fn device(text: &str) -> Option<DeviceKey> {
        match text {
            "none" => None,
            "came" => Some(DeviceKey { key: D, owner_designated: false }),
            "named" => Some(DeviceKey { key: D, owner_designated: true }),
            other => panic!("{other}"),
        }
    }

    fn acceptance(text: &str) -> Option<Acceptance> {
        let (by, in_place_of) = match text {
            "-" => return None,
            "owner" => (Who::Owner, None),
            "owner/D" => (Who::Owner, Some(D)),
            "owner/X" => (Who::Owner, Some(X)),
            "holder" => (Who::Holder, None),
            "holder/D" => (Who::Holder, Some(D)),
            "holder/X" => (Who::Holder, Some(X)),
            other => panic!("{other}"),
        };
        Some(Acceptance { by, in_place_of })
    }

    /// The whole lattice by hand, from the rules in certs/profile.md: the device's key, what was accepted for the card that
    /// is in; then who, why, and whether a question is open.
    const CARD_IN: &str = "
        none  -        user   not-accepted          asked
        none  owner    card   accepted-on-card      -
        none  owner/D  card   accepted-on-card      -
        none  owner/X  card   accepted-on-card      -
        none  holder   user   not-accepted          asked
        none  holder/D user   not-accepted          asked
        none  holder/X user   not-accepted          asked
        came  -        device device-key-stays      asked
        came  owner    card   accepted-in-its-place -
        came  owner/D  card   accepted-in-its-place -
        came  owner/X  card   accepted-in-its-place -
        came  holder   device device-key-stays      asked
        came  holder/D card   accepted-in-its-place -
        came  holder/X device device-key-stays      asked
        named -        device device-key-stays      asked
        named owner    device device-key-stays      asked
        named owner/D  card   accepted-in-its-place -
        named owner/X  device device-key-stays      asked
        named holder   device device-key-stays      asked
        named holder/D card   accepted-in-its-place -
        named holder/X device device-key-stays      asked
    ";

    #[test]
    fn the_whole_lattice_of_keys_cards_and_acceptances() {
        let mut seen = 0;
        for line in CARD_IN.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let [own, accepted, who, why, asked] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let device = device(own);
            let card = |key, present| CardKey {
                key,
                iccid: "8949000000000000017".to_owned(),
                present,
                acceptance: acceptance(accepted),
            };
            let decision = decide(&Facts { device, card: Some(card(C, true)) });
            assert_eq!(decision.administrator.as_str(), who, "{line}");
            assert_eq!(decision.why.as_str(), why, "{line}");
            let key = match who {
                "card" => Some(C),
                "device" => Some(D),
                _ => None,
            };
            assert_eq!(decision.administrator.key(), key, "{line}");
            let question = (asked == "asked").then(|| Question {
                iccid: "8949000000000000017".to_owned(),
                key: C,
                in_place_of: device.map(|device| device.key),
            });
            assert_eq!(decision.question, question, "{line}");

            // The card is out: as if there were none, whatever was accepted.
            let out = decide(&Facts { device, card: Some(card(C, false)) });
            assert_eq!(out, decide(&Facts { device, card: None }), "{line}");
            let (alone, why) = match device {
                None => (Administrator::User, Why::NoKey),
                Some(_) => (Administrator::Device(D), Why::OnlyOnDevice),
            };
            assert_eq!(out, Decision { administrator: alone, why, question: None }, "{line}");

            // The card has the device's own key: nothing to choose.
            if device.is_some() {
                let same = decide(&Facts { device, card: Some(card(D, true)) });
                let administrator = Administrator::Device(D);
                assert_eq!(same, Decision { administrator, why: Why::SameKey, question: None }, "{line}");
            }
            seen += 1;
        }
        // Three states of the device, seven acceptances: no line is missing and none is double.
        assert_eq!(seen, 21);
        let lines: std::collections::BTreeSet<_> =
            CARD_IN.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).collect();
        assert_eq!(lines.len(), 22, "with the empty one");
    }

    #[test]
    fn a_programmable_card_alone_takes_nothing() {
        for own in ["none", "came", "named"] {
            let card =
                CardKey { key: C, iccid: "8949000000000000017".to_owned(), present: true, acceptance: None };
            let decision = decide(&Facts { device: device(own), card: Some(card) });
            assert!(!matches!(decision.administrator, Administrator::Card(_)), "{own}");
            assert!(decision.question.is_some(), "the owner is asked: {own}");
        }
    }
}
