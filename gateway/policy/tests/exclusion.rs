//! Blanket permissions that exclude each other: which grants stand against which wish, and how the data is read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::sync::Arc;

use mexe_model::{Action, AppId, GrantId, Instant, Permission, Trust, WallTime};
use mexe_policy::exclusion::{Exclusions, MIDP};
use mexe_policy::*;

const NOW: Instant = Instant::from_nanos(100);
const ONE: [&str; 8] = [
    "network.connect",
    "network.datagram",
    "network.listen",
    "network.sms",
    "peripheral.bluetooth",
    "peripheral.card-reader",
    "peripheral.serial",
    "peripheral.usb",
];
const OTHER: [&str; 3] = ["user-interface.microphone", "user-interface.screenshot", "user-data.read"];

/// A table in which the manufacturer may have every action for ever, so that every pair can be asked for.
fn wide() -> Arc<SecurityTable> {
    let lines = table::SHIPPED.lines().map(|line| match line.strip_prefix("manufacturer = ") {
        Some(_) => {
            "manufacturer = { permission = \"blanket(single)\", provenance = \"decision:1\" }".to_owned()
        }
        None => line.to_owned(),
    });
    Arc::new(SecurityTable::from_toml(&lines.collect::<Vec<_>>().join("\n")).unwrap())
}

fn holding(
    table: &Arc<SecurityTable>,
    action: &str,
    permission: Permission,
    expires: Option<Instant>,
) -> Policy {
    let spec = GrantSpec {
        id: GrantId(7),
        app: "app".parse().unwrap(),
        action: table.action(action).unwrap(),
        target: None,
        permission: Some(permission),
        granted_at: WallTime::from_secs(0),
        expires,
    };
    let grant = Grant::new(spec, Trust::ALL[1], table).unwrap();
    Policy::new(Arc::clone(table), Settings::default(), Surroundings::default()).with_grant(grant)
}

#[test]
fn midp_pairs_are_excluded_in_both_directions_and_no_others() {
    let (table, midp) = (wide(), Exclusions::midp().unwrap());
    let app: AppId = "app".parse().unwrap();
    let mut excluded = 0;
    for held in table.rows() {
        let policy = holding(&table, held.action.as_str(), Permission::Blanket, None);
        for wanted in table.rows() {
            let pair = |one: &[&str], other: &[&str]| {
                let has = |list: &[&str], action: &Action| list.contains(&action.as_str());
                (has(one, &held.action) && has(other, &wanted.action))
                    || (has(other, &held.action) && has(one, &wanted.action))
            };
            let expected = pair(&ONE, &OTHER) || pair(&["life-cycle.start"], &ONE[..3]);
            let found = midp.against(&policy, NOW, &app, &wanted.action, Permission::Blanket);
            let at = format!("{} held, {} wanted", held.action, wanted.action);
            assert_eq!(
                found.iter().map(|found| found.grant).collect::<Vec<_>>(),
                if expected { vec![GrantId(7)] } else { vec![] },
                "{at}"
            );
            excluded += u32::from(expected);
            let narrowed = midp.narrowed(&policy, NOW, &app, &wanted.action, Permission::Blanket);
            assert_eq!(narrowed, if expected { Permission::Session } else { Permission::Blanket }, "{at}");
            for permission in [Permission::SingleAction, Permission::Session] {
                assert!(midp.against(&policy, NOW, &app, &wanted.action, permission).is_empty(), "{at}");
                assert_eq!(midp.narrowed(&policy, NOW, &app, &wanted.action, permission), permission);
            }
            assert!(
                Exclusions::default()
                    .against(&policy, NOW, &app, &wanted.action, Permission::Blanket)
                    .is_empty()
            );
        }
    }
    assert_eq!(excluded, 2 * (8 * 3 + 3));
}

#[test]
fn only_live_blanket_grants_of_the_same_app_stand_against_it() {
    let (table, midp) = (wide(), Exclusions::midp().unwrap());
    let read: Action = "user-data.read".parse().unwrap();
    let against = |policy: &Policy, app: &str| {
        midp.against(policy, NOW, &app.parse().unwrap(), &read, Permission::Blanket).len()
    };
    for (permission, expires, found) in [
        (Permission::Blanket, None, 1),
        (Permission::Blanket, Some(Instant::from_nanos(101)), 1),
        (Permission::Blanket, Some(NOW), 0),
        (Permission::Session, None, 0),
        (Permission::SingleAction, None, 0),
    ] {
        let policy = holding(&table, "network.connect", permission, expires);
        assert_eq!(against(&policy, "app"), found, "{permission} {expires:?}");
        assert_eq!(against(&policy, "other"), 0);
        assert_eq!(against(&policy.without_grant(GrantId(7)), "app"), 0);
    }
}

#[test]
fn every_action_that_is_named_is_in_the_shipped_table() {
    let table = SecurityTable::shipped().unwrap();
    for name in MIDP.split('"').filter(|text| text.contains('.') && text.parse::<Action>().is_ok()) {
        assert!(table.action(name).is_some(), "{name}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let set = "[[set]]\nname = \"a\"\nactions = [\"network.connect\"]\n";
    let pair = "[[exclusion]]\nname = \"x\"\none = [\"a\"]\nother = [\"a\"]\n";
    for (text, told) in [
        (format!("{set}{set}"), "line 5, column 8: `a` is there twice"),
        (format!("{set}{pair}{pair}"), "line 9, column 8: `x` is there twice"),
        (set.replace("network.connect", "network.*"), "line 3, column 12: `network.*` is not an action"),
        (
            format!("{set}{}", pair.replace("one = [\"a\"]", "one = [\"b\"]")),
            "line 6, column 8: there is no set `b`",
        ),
        (format!("{set}{}", pair.replace("other", "others")), "line 7, column 1: unknown field `others`"),
    ] {
        let error = Exclusions::from_toml(&text).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
}
