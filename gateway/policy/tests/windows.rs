//! Many windows for the same target: the engine's arrangement of them answers what looking at each of them would.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::cmp::Reverse;
use std::sync::Arc;

use mexe_model::{
    AppId, DomainName, GrantId, Groups, Instant, Permission, Reason, RunId, SecurityDomain, Trust, WallTime,
};
use mexe_policy::window::{DAY, DayHours, Hours, Opening, Weekday};
use mexe_policy::*;
use proptest::prelude::*;

const TRUST: Trust = Trust::Domain(SecurityDomain::ThirdParty);
/// Monday, 1970-01-05.
const BEGIN: u64 = 4 * 86_400;
const MINUTE: u64 = 60_000_000_000;

fn hours() -> impl Strategy<Value = Hours> {
    let part = (proptest::sample::select(&Weekday::ALL[..]), 0..DAY, 1..=DAY);
    let part = part.prop_map(|(day, from, length)| DayHours { day, from, to: (from + length).min(DAY) });
    // Now and then more stretches than a few windows are kept in one piece with.
    let count = prop_oneof![20 => 1..5_usize, 1 => 9..16_usize];
    let parts = count.prop_flat_map(move |count| proptest::collection::vec(part.clone(), count));
    parts.prop_map(|parts| Hours::new(parts).unwrap())
}

/// Two weeks, in minutes from the begin.
fn minute() -> impl Strategy<Value = u64> {
    0..20_160_u64
}

fn window() -> impl Strategy<Value = Window> {
    (hours(), proptest::option::of(minute())).prop_map(|(hours, until)| Window {
        hours: Arc::new(hours),
        until: until.map(|minute| WallTime::from_secs(BEGIN + minute * 60)),
    })
}

fn at(minute: u64) -> (Instant, LocalTime) {
    let wall = WallTime::from_secs(BEGIN + minute * 60);
    (Instant::from_nanos(minute * MINUTE), LocalTime { wall, offset: UtcOffset::UTC })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_best_of_many_windows_is_found(
        windows in proptest::collection::vec(
            (window(), proptest::option::weighted(0.3, minute()), proptest::bool::weighted(0.3)),
            0..40,
        ),
        moments in proptest::collection::vec(minute(), 1..40),
    ) {
        let table = Arc::new(SecurityTable::shipped().unwrap());
        let app: AppId = "app".parse().unwrap();
        let action = table.action("network.connect").unwrap();
        let grants: Vec<Grant> = (1..).zip(&windows).map(|(id, (window, expires, used_up))| {
            let spec = GrantSpec {
                id: GrantId(id),
                app: app.clone(),
                action,
                target: Some("example.org".parse().unwrap()),
                permission: Some(Permission::Blanket),
                granted_at: WallTime::from_secs(0),
                expires: expires.map(|minute| at(minute).0),
            };
            let grant = Grant::new(spec, TRUST, &table).unwrap().within(window.clone()).unwrap();
            if *used_up { grant.used_up() } else { grant }
        }).collect();
        let (now, says) = at(0);
        let policy = Policy::new(table, Settings::default(), Surroundings::default())
            .with_clock(Some(LocalClock { at: now, says }))
            .with_grants(grants.clone());
        let name = DomainName::from_ascii("example.org").unwrap();
        let facts = Facts {
            app: &app,
            trust: TRUST,
            groups: Groups::ALL,
            legacy: false,
            suspended: false,
            run: Some(RunFacts { id: RunId(1), binding: RunBinding::Measured, ended: false }),
            action,
            target: Target::Name { name: &name, port: 443 },
        };
        for minute in moments {
            let (now, local) = at(minute);
            let best = |holds: &dyn Fn(&Grant) -> bool| {
                let rank = |grant: &&Grant| (grant.expires().is_some(), Reverse(grant.expires()), grant.id());
                grants.iter().filter(|grant| holds(grant)).min_by_key(rank).map(Grant::id)
            };
            let opening = |grant: &Grant| grant.window().unwrap().at(local);
            let live = best(&|grant| {
                opening(grant) == Opening::Open && !grant.is_used_up() && !grant.is_expired(now)
            });
            let expired = best(&|grant| match opening(grant) {
                Opening::Open => grant.is_expired(now) && !grant.is_used_up(),
                Opening::Over => true,
                Opening::Closed => false,
            });
            let shut = best(&|grant| match opening(grant) {
                Opening::Open => grant.is_used_up() && !grant.is_expired(now),
                Opening::Over => false,
                Opening::Closed => !grant.is_expired(now),
            });
            let why_shut = |id| match opening(grants.iter().find(|grant| grant.id() == id).unwrap()) {
                Opening::Open => Reason::BudgetUsedUp,
                Opening::Closed | Opening::Over => Reason::OutsideHours,
            };
            match policy.decide(now, &facts) {
                Decision::Allow(ticket) => prop_assert_eq!(Some(ticket.grant), live),
                Decision::Ask(rule) => {
                    prop_assert_eq!(live, None);
                    let expired = expired.map(|id| (id, Reason::PermissionExpired));
                    prop_assert_eq!(rule.near_miss, expired.or(shut.map(|id| (id, why_shut(id)))));
                }
                Decision::Refuse(..) => prop_assert!(false, "refused"),
            }
        }
    }
}
