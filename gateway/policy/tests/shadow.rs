//! A candidate beside the live policy: what it would decide, with the live grants by their names, and how that is counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::sync::Arc;

use mexe_model::{ActionGroup, AppId, GrantId, Groups, Instant, Permission, RunId, Trust, WallTime};
use mexe_policy::shadow::{Candidate, Count, Difference, compare};
use mexe_policy::table::SHIPPED;
use mexe_policy::*;
use proptest::prelude::*;

const NOW: Instant = Instant::from_nanos(1);
const APPS: [&str; 3] = ["alpha", "beta", "gamma"];
const ACTIONS: [&str; 5] =
    ["network.connect", "network.call", "user-data.read", "user-interface.light", "terminal-data.read"];

/// The shipped rows from the last to the first, less some, and with other cells.
fn other_table(without: &str, from: &str, to: &str) -> Arc<SecurityTable> {
    let text = SHIPPED.replace(from, to);
    let (groups, rows) = text.split_at(text.find("[[action]]").unwrap());
    let rows = rows.split("[[action]]").skip(1).filter(|row| !row.contains(&format!("\"{without}\"")));
    let mut rows: Vec<String> = rows.map(|row| format!("[[action]]{row}\n")).collect();
    rows.reverse();
    Arc::new(SecurityTable::from_toml(&(groups.to_owned() + &rows.concat())).unwrap())
}

fn live() -> Policy {
    let table = Arc::new(SecurityTable::shipped().unwrap());
    Policy::new(table, Settings { token_runs: TokenRuns::Allow }, Surroundings::default())
}

fn app(name: &str) -> AppId {
    name.parse().unwrap()
}

fn grant(policy: &Policy, id: u64, who: &str, action: &str, permission: Permission) -> Option<Grant> {
    let spec = GrantSpec {
        id: GrantId(id),
        app: app(who),
        action: policy.table().action(action).unwrap(),
        target: None,
        permission: Some(permission),
        granted_at: WallTime::from_secs(0),
        expires: None,
    };
    Grant::new(spec, Trust::ALL[2], policy.table()).ok()
}

fn facts<'a>(policy: &Policy, who: &'a AppId, action: &str, binding: RunBinding) -> Facts<'a> {
    Facts {
        app: who,
        trust: Trust::ALL[2],
        groups: Groups::ALL,
        legacy: false,
        suspended: false,
        run: Some(RunFacts { id: RunId(1), binding, ended: false }),
        action: policy.table().action(action).unwrap(),
        target: Target::None,
    }
}

#[test]
fn only_the_kind_of_a_decision_is_compared() {
    let (policy, who) = (live(), app("alpha"));
    let policy = policy.with_grants(grant(&policy, 1, "alpha", "network.connect", Permission::Blanket));
    let decide = |action| policy.decide(NOW, &facts(&policy, &who, action, RunBinding::Measured));
    let (allow, ask, refuse) = (decide("network.connect"), decide("network.call"), decide("security.pin"));
    for (live, candidate, found) in [
        (allow, allow, Difference::Same),
        (ask, ask, Difference::Same),
        (refuse, refuse, Difference::Same),
        (allow, ask, Difference::WouldAsk),
        (allow, refuse, Difference::WouldRefuse),
        (ask, allow, Difference::WouldAllow),
        (ask, refuse, Difference::WouldRefuse),
        (refuse, allow, Difference::WouldAllow),
        (refuse, ask, Difference::WouldAsk),
    ] {
        assert_eq!(compare(&live, &candidate), found, "{live:?} {candidate:?}");
    }
}

#[test]
fn differences_are_counted_by_domain_group_and_kind() {
    let (policy, who) = (live(), app("alpha"));
    let policy = policy.with_grants(grant(&policy, 1, "alpha", "network.connect", Permission::Blanket));
    let table = other_table("user-data.read", "blanket(session)", "session(session)");
    let shadow = Shadow::new(Candidate { table: Some(table), settings: None }, &policy);
    let observe = |action, trust| {
        let facts = Facts { trust, ..facts(&policy, &who, action, RunBinding::Measured) };
        shadow.observe(NOW, &facts, &policy.decide(NOW, &facts))
    };
    assert_eq!(
        observe("network.connect", Trust::ALL[2]),
        Difference::WouldAsk,
        "as if the grant were absent"
    );
    assert_eq!(observe("network.connect", Trust::ALL[2]), Difference::WouldAsk);
    assert_eq!(observe("user-data.read", Trust::ALL[0]), Difference::WouldRefuse, "the action is gone");
    assert_eq!(observe("user-data.read", Trust::Untrusted), Difference::Same);
    assert_eq!(observe("network.call", Trust::ALL[2]), Difference::Same);
    let count = |domain, group, difference, count| Count { domain, group: Some(group), difference, count };
    assert_eq!(
        shadow.follow(&policy.with_settings(Settings::default())).counts().found(),
        [
            count(Trust::ALL[0], ActionGroup::UserData, Difference::WouldRefuse, 1),
            count(Trust::ALL[2], ActionGroup::Network, Difference::Same, 1),
            count(Trust::ALL[2], ActionGroup::Network, Difference::WouldAsk, 2),
            count(Trust::Untrusted, ActionGroup::UserData, Difference::Same, 1),
        ]
    );
}

#[test]
fn other_settings_alone_are_a_candidate_too() {
    let (policy, who) = (live(), app("alpha"));
    let policy = policy.with_grants(grant(&policy, 1, "alpha", "network.connect", Permission::Blanket));
    let settings = Some(Settings { token_runs: TokenRuns::Refuse });
    let shadow = Shadow::new(Candidate { table: None, settings }, &policy);
    let by_token = facts(&policy, &who, "network.connect", RunBinding::Token);
    let measured = facts(&policy, &who, "network.connect", RunBinding::Measured);
    let observe = |facts: &Facts<'_>| shadow.observe(NOW, facts, &policy.decide(NOW, facts));
    assert_eq!((observe(&by_token), observe(&measured)), (Difference::WouldRefuse, Difference::Same));
}

/// A single permission that was used live is used for the shadow, and the shadow uses up none.
#[test]
fn the_shadow_sees_what_is_used_and_uses_nothing() {
    let (policy, who) = (live(), app("alpha"));
    let policy = policy.with_grants(grant(&policy, 1, "alpha", "network.call", Permission::SingleAction));
    let table = other_table("x", "session(single)", "blanket(single)");
    let shadow = Shadow::new(Candidate { table: Some(table), settings: None }, &policy);
    let facts = facts(&policy, &who, "network.call", RunBinding::Measured);
    assert!(matches!(shadow.decide(NOW, &facts), Decision::Allow(_)));
    assert!(matches!(policy.decide(NOW, &facts), Decision::Allow(_)));
    assert!(policy.spend(GrantId(1)));
    assert!(matches!(shadow.decide(NOW, &facts), Decision::Ask(_)));
}

#[derive(Clone, Debug)]
enum Event {
    Give(usize, usize, Permission),
    Revoke(u64),
    Start(usize),
    End(u64),
    Remove(usize),
    Settings(TokenRuns),
}

fn event() -> impl Strategy<Value = Event> {
    let permission = proptest::sample::select(Permission::ALL.to_vec());
    let tokens = proptest::sample::select(vec![TokenRuns::Allow, TokenRuns::Refuse, TokenRuns::SessionOnly]);
    prop_oneof![
        8 => (0usize..3, 0usize..5, permission).prop_map(|(app, action, p)| Event::Give(app, action, p)),
        3 => (1u64..20).prop_map(Event::Revoke),
        3 => (0usize..3).prop_map(Event::Start),
        2 => (1u64..6).prop_map(Event::End),
        1 => (0usize..3).prop_map(Event::Remove),
        1 => tokens.prop_map(Event::Settings),
    ]
}

proptest! {
    /// After any history, a shadow that followed step by step answers as one that was made just now, and as the live
    /// policy would had it been given the candidate's table.
    #[test]
    fn following_is_the_same_as_beginning_anew(events in proptest::collection::vec(event(), 1..40)) {
        let mut policy = live();
        let table = other_table("user-interface.light", "blanket(session)", "session(session)");
        let candidate = Candidate { table: Some(table.clone()), settings: None };
        let mut shadow = Shadow::new(candidate.clone(), &policy);
        let (mut id, mut run) = (0, 0);
        for event in events {
            policy = match event {
                Event::Give(who, action, permission) => {
                    id += 1;
                    policy.with_grants(grant(&policy, id, APPS[who], ACTIONS[action], permission))
                }
                Event::Revoke(id) => policy.without_grant(GrantId(id)),
                Event::Start(who) => {
                    run += 1;
                    policy.run_started(&app(APPS[who]), RunId(run))
                }
                Event::End(run) => policy.run_ended(RunId(run)).0,
                Event::Remove(who) => policy.app_removed(&app(APPS[who])).0,
                Event::Settings(token_runs) => policy.with_settings(Settings { token_runs }),
            };
            shadow = shadow.follow(&policy);
            let anew = Shadow::new(candidate.clone(), &policy);
            let (under, _) = policy.with_table(table.clone());
            for who in APPS.map(app) {
                for action in ACTIONS {
                    for binding in [RunBinding::Measured, RunBinding::Token] {
                        let asked = facts(&policy, &who, action, binding);
                        let followed = shadow.decide(NOW, &asked);
                        prop_assert_eq!(&followed, &anew.decide(NOW, &asked));
                        if let Some(action) = table.action(action) {
                            let expected = under.decide(NOW, &Facts { action, ..asked });
                            prop_assert_eq!(compare(&followed, &expected), Difference::Same);
                        }
                    }
                }
            }
        }
    }
}
