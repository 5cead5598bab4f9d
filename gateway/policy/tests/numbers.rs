//! Telephone numbers as targets: a permission for one covers that one, a single one is for the number that the user saw.

#![allow(clippy::unwrap_used, clippy::unreachable, missing_docs, reason = "tests")]

use std::sync::Arc;

use mexe_model::{
    AppId, GrantId, Groups, Instant, Permission, Reason, RunId, SecurityDomain, Trust, WallTime,
};
use mexe_policy::*;

const NOW: Instant = Instant::from_nanos(1);

fn grant(
    policy: &Policy,
    trust: Trust,
    action: &str,
    number: Option<&str>,
    permission: Permission,
) -> Result<Grant, Reason> {
    let spec = GrantSpec {
        id: GrantId(1),
        app: "app".parse().unwrap(),
        action: policy.table().action(action).unwrap(),
        target: number.map(|number| TargetPattern::number(number).unwrap()),
        permission: Some(permission),
        granted_at: WallTime::from_secs(0),
        expires: None,
    };
    Grant::new(spec, trust, policy.table())
}

fn policy() -> Policy {
    let table = Arc::new(SecurityTable::shipped().unwrap());
    Policy::new(table, Settings { token_runs: policy::TokenRuns::Allow }, Surroundings::default())
        .run_started(&"app".parse().unwrap(), RunId(1))
}

fn decide(policy: &Policy, trust: Trust, number: &str) -> Decision {
    let app: AppId = "app".parse().unwrap();
    let facts = Facts {
        app: &app,
        trust,
        groups: Groups::ALL,
        legacy: false,
        suspended: false,
        run: Some(RunFacts { id: RunId(1), binding: RunBinding::Measured, ended: false }),
        action: policy.table().action("network.call").unwrap(),
        target: Target::Number(number),
    };
    let decision = policy.decide(NOW, &facts);
    // What is explained is what is decided.
    let word = match decision {
        Decision::Allow(_) => "allow",
        Decision::Ask(_) => "ask",
        Decision::Refuse(..) => "deny",
    };
    let explained = explain(policy, NOW, &facts);
    assert_eq!(explained.decision, word);
    let covers = explained.grants.iter().any(|grant| grant.covers);
    assert_eq!(covers, word == "allow", "{explained:?}");
    decision
}

const DOMAIN: Trust = Trust::Domain(SecurityDomain::ThirdParty);

#[test]
fn a_permission_for_a_number_covers_that_number_to_the_digit() {
    for permission in [Permission::SingleAction, Permission::Session] {
        let policy = policy();
        let policy =
            policy.with_grant(grant(&policy, DOMAIN, "network.call", Some("+4930123"), permission).unwrap());
        let Decision::Allow(ticket) = decide(&policy, DOMAIN, "+4930123") else {
            unreachable!("it is covered")
        };
        assert_eq!(ticket.single, permission == Permission::SingleAction);
        for other in ["4930123", "+49301234", "+493012", "+4930124", ""] {
            let Decision::Ask(rule) = decide(&policy, DOMAIN, other) else {
                unreachable!("{other} is not covered")
            };
            assert_eq!(rule.reason_unanswered(), Reason::TargetOutOfScope);
        }
    }
}

#[test]
fn without_a_number_a_permission_covers_any_but_never_for_a_single_action() {
    for trust in [DOMAIN, Trust::Untrusted] {
        let policy = policy();
        let single = grant(&policy, trust, "network.call", None, Permission::SingleAction).unwrap();
        let Decision::Ask(_) = decide(&policy.with_grant(single), trust, "+4930123") else {
            unreachable!("the user has not seen the number");
        };
    }
    let policy = policy();
    let session = grant(&policy, DOMAIN, "network.call", None, Permission::Session).unwrap();
    assert!(matches!(decide(&policy.with_grant(session), DOMAIN, "+4930123"), Decision::Allow(_)));
}

#[test]
fn numbers_are_for_numbers_only() {
    let policy = policy();
    for action in ["network.connect", "network.dtmf", "user-data.read"] {
        let refused = grant(&policy, DOMAIN, action, Some("123"), Permission::SingleAction).unwrap_err();
        assert_eq!(refused, Reason::RequestMalformed, "{action}");
    }
    for text in ["", "+", "12a", "1;2", "++1", "123456789012345678901", "\u{0661}"] {
        assert_eq!(TargetPattern::number(text), None, "{text:?}");
    }
    assert_eq!(TargetPattern::number("+12345678901234567890").unwrap().to_string(), "+12345678901234567890");
}
