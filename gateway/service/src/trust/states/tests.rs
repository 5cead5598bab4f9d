//! The rules of who controls which root, one by one and all together.

use mexe_certs::root_store::{RootKind, TrustStore};
use mexe_forge::pki::{Authority, Shape};

use super::*;

const AT: WallTime = WallTime::from_secs(1_795_489_491);

fn root(kind: RootKind, provenance: Provenance) -> Root {
    let authority = Authority::root("Root", &Shape::at(AT)).unwrap();
    let mut builder = TrustStore::builder();
    builder.add_from(provenance, kind, "root.pem", authority.certificate(), AT)[0].as_ref().unwrap();
    builder.build().roots()[0].clone()
}

fn card() -> CardFacts {
    CardFacts {
        iccid: "8946000000000000001".to_owned(),
        network: Some("24001".to_owned()),
        spn: Some("Example".to_owned()),
        gid1: Some("0a".to_owned()),
        subscription: None,
    }
}

fn binding(network: &str, spn: Option<&str>, gid1: Option<&str>) -> Operator {
    Operator { network: network.to_owned(), spn: spn.map(str::to_owned), gid1: gid1.map(str::to_owned) }
}

fn holder(key: Fingerprint, enabled: &[&Root], disabled: &[&Root]) -> InCharge {
    InCharge::Holder {
        key,
        configured: Configuration {
            enabled: enabled.iter().map(|root| root.fingerprint()).collect(),
            disabled: disabled.iter().map(|root| root.key()).collect(),
            ..Configuration::default()
        },
    }
}

#[test]
fn while_the_user_administers_what_lies_in_the_directory_counts() {
    for kind in [RootKind::Operator, RootKind::Manufacturer, RootKind::ThirdParty] {
        let root = root(kind, Provenance::Device);
        assert_eq!(state_of(&root, None, &Facts::default(), AT), State::Enabled, "{kind:?}");
    }
}

#[test]
fn a_remote_administrator_decides_which_third_party_roots_count() {
    let (third, other, arpk) = (
        root(RootKind::ThirdParty, Provenance::Device),
        root(RootKind::ThirdParty, Provenance::User),
        root(RootKind::Administrator, Provenance::Device),
    );
    for (enabled, disabled, expected) in [
        (vec![], vec![], State::NotEnabled),
        (vec![&other], vec![], State::NotEnabled),
        (vec![&third], vec![], State::Enabled),
        // A key that is switched off stays so, whichever of its certificates is enabled.
        (vec![&third], vec![&third], State::Disabled),
    ] {
        let facts = Facts { in_charge: holder(arpk.key(), &enabled, &disabled), ..Facts::default() };
        assert_eq!(state_of(&third, None, &facts, AT), expected);
        assert_eq!(state_of(&arpk, None, &facts, AT), State::Enabled);
        assert_eq!(state_of(&root(RootKind::Operator, Provenance::Device), None, &facts, AT), State::Enabled);
        let another = root(RootKind::Administrator, Provenance::Device);
        assert_eq!(state_of(&another, None, &facts, AT), State::NotInCharge);
    }
}

#[test]
fn the_user_may_switch_off_what_is_not_the_manufacturers() {
    for kind in RootKind::ALL {
        let root = root(kind, Provenance::Device);
        let facts = Facts {
            in_charge: holder(root.key(), &[&root], &[]),
            off: [(root.id().clone(), kind.as_str())].into(),
            ..Facts::default()
        };
        let expected = if kind == RootKind::Manufacturer { State::Enabled } else { State::Disabled };
        assert_eq!(state_of(&root, None, &facts, AT), expected, "{kind:?}");
    }
}

#[test]
fn a_switch_is_for_one_kind_of_root_only() {
    let root = root(RootKind::Operator, Provenance::Device);
    let facts = Facts { off: [(root.id().clone(), "third-party")].into(), ..Facts::default() };
    assert_eq!(state_of(&root, None, &facts, AT), State::Enabled);
}

#[test]
fn a_cards_key_counts_once_accepted_and_only_while_the_card_is_in() {
    let root = root(RootKind::Operator, Provenance::Usim);
    let accepted: std::collections::BTreeSet<_> = [root.id().clone()].into();
    for (card, accepted, expected) in [
        (None, accepted.clone(), State::Invalid),
        (Some(card()), std::collections::BTreeSet::new(), State::Unaccepted),
        (Some(card()), accepted, State::Enabled),
    ] {
        let facts = Facts { card, accepted, ..Facts::default() };
        assert_eq!(state_of(&root, None, &facts, AT), expected);
    }
}

#[test]
fn an_operators_root_is_bound_to_everything_that_is_named() {
    let root = root(RootKind::Operator, Provenance::Device);
    let with = Facts { card: Some(card()), ..Facts::default() };
    for (bound, facts, expected) in [
        (binding("24001", None, None), &with, State::Enabled),
        (binding("24001", Some("Example"), Some("0A")), &with, State::Enabled),
        (binding("24002", None, None), &with, State::Invalid),
        (binding("24001", Some("Other"), None), &with, State::Invalid),
        (binding("24001", None, Some("0b")), &with, State::Invalid),
        (binding("24001", None, None), &Facts::default(), State::Invalid),
    ] {
        assert_eq!(state_of(&root, Some(&bound), facts, AT), expected, "{bound:?}");
    }
}

#[test]
fn only_what_vouches_or_is_out_of_its_time_stays_in_the_store() {
    for state in State::ALL {
        let in_time = matches!(state, State::Enabled | State::Expired | State::NotYetValid);
        assert_eq!(state.suspends().is_none(), in_time, "{state:?}");
        // Of the others only what the administrator may have enabled in part.
        assert_eq!(state.vouches(), in_time || state == State::NotEnabled, "{state:?}");
        assert!(
            !state.says().is_empty()
                && State::ALL.iter().filter(|s| s.as_str() == state.as_str()).count() == 1
        );
    }
}
