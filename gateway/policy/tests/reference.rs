//! The engine and the naive reference never differ, over random tables, grants, runs, targets and times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::net::IpAddr;
use std::sync::Arc;

use mexe_model::{
    ActionGroup, AppId, DomainName, GrantId, Groups, Instant, Permission, Reason, RunId, SecurityDomain,
    Trust, WallTime,
};
use mexe_policy::window::{DayHours, Hours, Weekday};
use mexe_policy::*;
use proptest::prelude::*;
use support::places::{ADDRESSES, LISTENERS, NAMES, PORTS, TARGETS};
use support::{Answer, Plain, PlainClock, PlainHours, Question, TokenRule, Where, World};

const ACTIONS: [&str; 3] = ["network.connect", "user-data.read", "network.call"];
/// Instants are counted in these, nanoseconds: five hours, so that a history goes through some days.
const UNIT: u64 = 5 * 3_600_000_000_000;
/// Groups of the table, and one that is not in it.
const GROUPS: [&str; 3] = ["network", "user-data", "peripheral"];
const APPS: [&str; 3] = ["alpha", "beta", "gamma"];

fn of<T: Clone + std::fmt::Debug + 'static>(list: &[T]) -> impl Strategy<Value = T> + use<T> {
    proptest::sample::select(list.to_vec())
}

fn cell() -> impl Strategy<Value = Option<Permission>> {
    prop_oneof![1 => Just(None), 6 => of(&Permission::ALL).prop_map(Some)]
}

#[derive(Clone, Debug)]
struct GrantPlan {
    app: usize,
    action: usize,
    target: Option<&'static str>,
    permission: Permission,
    expires: Option<u64>,
    hours: Option<PlainHours>,
}

#[derive(Clone, Debug)]
enum Event {
    Give(GrantPlan),
    /// Read at, second of the epoch, minutes ahead of UTC; or the clock is not to be relied on.
    Clock(Option<(u64, u64, i16)>),
    Start(usize),
    End(usize),
    Revoke(usize),
    Spend(usize),
    /// The budget of a schedule's grant is used up, or there is something left of it again.
    UseUp(usize, bool),
    Ask(AskPlan),
}

#[derive(Clone, Debug)]
struct AskPlan {
    app: usize,
    trust: Trust,
    groups: Option<Vec<&'static str>>,
    legacy: bool,
    suspended: bool,
    /// Which of the runs so far, by token, ended.
    run: Option<(usize, bool, bool)>,
    action: usize,
    stage: u8,
    name: &'static str,
    addresses: Vec<&'static str>,
    port: u16,
    now: u64,
}

fn grant_plan() -> impl Strategy<Value = GrantPlan> {
    // Few of each, so that grants meet questions.
    let target = prop_oneof![1 => Just(None), 5 => of(&TARGETS).prop_map(Some)];
    let action = prop_oneof![6 => Just(0usize), 1 => 1usize..3];
    let expires = proptest::option::of(0u64..20);
    let hours = proptest::option::of(hours());
    (0usize..3, action, target, of(&Permission::ALL), expires, hours).prop_map(
        |(app, action, target, permission, expires, hours)| GrantPlan {
            app: app / 2,
            action,
            target,
            permission,
            expires,
            // The others take none.
            hours: hours.filter(|_| permission == Permission::Blanket),
        },
    )
}

fn hours() -> impl Strategy<Value = PlainHours> {
    let days = proptest::sample::subsequence((0..7).collect::<Vec<u64>>(), 1..=7);
    (days, 0u64..24, 1u64..=24, proptest::option::weighted(0.3, 0..2 * WEEK)).prop_map(
        |(days, from, length, until)| {
            let to = (from + length).min(24) * 60;
            PlainHours { days, from: from * 60, to, until }
        },
    )
}

/// Seconds.
const WEEK: u64 = 7 * 86_400;

fn window(plain: &PlainHours) -> Window {
    let part = |day: &u64| DayHours {
        day: Weekday::ALL[*day as usize],
        from: plain.from as u16,
        to: plain.to as u16,
    };
    let hours = Arc::new(Hours::new(plain.days.iter().map(part)).unwrap());
    Window { hours, until: plain.until.map(WallTime::from_secs) }
}

fn ask_plan() -> impl Strategy<Value = AskPlan> {
    let trust = prop_oneof![6 => Just(Trust::ALL[2]), 1 => of(&Trust::ALL)];
    let run = proptest::option::weighted(0.9, (0usize..6, any::<bool>(), proptest::bool::weighted(0.05)));
    let action = prop_oneof![6 => Just(0usize), 1 => 1usize..3];
    let addresses = proptest::collection::vec(of(&ADDRESSES), 0..4);
    let groups =
        proptest::option::weighted(0.3, proptest::sample::subsequence(GROUPS.to_vec(), 0..=GROUPS.len()));
    (
        0usize..3,
        (trust, groups, proptest::bool::weighted(0.2)),
        proptest::bool::weighted(0.05),
        run,
        action,
        0u8..8,
        of(&NAMES),
        addresses,
        of(&PORTS),
        0u64..20,
    )
        .prop_map(
            |(app, (trust, groups, legacy), suspended, run, action, stage, name, addresses, port, now)| {
                AskPlan {
                    app: app / 2,
                    trust,
                    groups,
                    legacy,
                    suspended,
                    run,
                    action,
                    stage,
                    name,
                    addresses,
                    port,
                    now,
                }
            },
        )
}

fn clock() -> impl Strategy<Value = Option<(u64, u64, i16)>> {
    proptest::option::weighted(0.9, (0u64..20, 0..2 * WEEK, -1080i16..=1080))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => grant_plan().prop_map(Event::Give),
        3 => (0usize..3).prop_map(|app| Event::Start(app / 2)),
        2 => (0usize..6).prop_map(Event::End),
        1 => (0usize..30).prop_map(Event::Revoke),
        2 => (0usize..30).prop_map(Event::Spend),
        2 => clock().prop_map(Event::Clock),
        2 => (0usize..30, proptest::bool::weighted(0.7)).prop_map(|(n, up)| Event::UseUp(n, up)),
        16 => ask_plan().prop_map(Event::Ask),
    ]
}

fn toml(cells: &[Option<Permission>]) -> String {
    let mut text = String::from("[[group]]\nname = \"network\"\nnumber = 6\ntitle = \"Network\"\n");
    text += "[[group]]\nname = \"user-data\"\nnumber = 7\ntitle = \"User data\"\n";
    for (row, action) in ACTIONS.iter().enumerate() {
        text += &format!(
            "[[action]]\naction = \"{action}\"\ncovers = \"x\"\ntarget = \"endpoint\"\nchargeable = true\n"
        );
        for (column, trust) in Trust::ALL.iter().enumerate() {
            let cell = cells[row * 4 + column].map_or("no".to_owned(), |m| format!("{m}(single)"));
            text += &format!("{trust} = {{ permission = \"{cell}\", provenance = \"decision:1\" }}\n");
        }
    }
    text
}

fn app(n: usize) -> AppId {
    APPS[n].parse().unwrap()
}

fn with_facts<T>(q: &Question, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let target = match &q.target {
        Where::Nowhere => Target::None,
        Where::Name(name, port) => Target::Name { name, port: *port },
        Where::Resolved(name, port, addresses) => Target::Resolved { name, port: *port, addresses },
        Where::Address(address, port) => Target::Address { address: *address, port: *port },
    };
    let run = q.run.map(|(id, token, ended)| RunFacts {
        id,
        binding: if token { RunBinding::Token } else { RunBinding::Measured },
        ended,
    });
    let groups = match &q.groups {
        None => Groups::ALL,
        Some(names) => names.iter().map(|name| name.parse::<ActionGroup>().unwrap()).collect(),
    };
    let (trust, legacy, suspended, action) = (q.trust, q.legacy, q.suspended, q.action);
    ask(&Facts { app: &q.app, trust, groups, legacy, suspended, run, action, target })
}

fn ask(policy: &Policy, q: &Question) -> (Answer, Explanation) {
    let answer = match with_facts(q, |facts| policy.decide(q.now, facts)) {
        Decision::Allow(ticket) => {
            assert_eq!(ticket.epoch, policy.epoch());
            let Ticket { grant, permission, single, addresses, .. } = ticket;
            Answer::Allow { grant, permission, single, mask: addresses.0 }
        }
        Decision::Ask(rule) => Answer::Ask { near_miss: rule.near_miss },
        Decision::Refuse(reason, rule) => Answer::Refuse { reason, near_miss: rule.near_miss },
    };
    (answer, with_facts(q, |facts| explain(policy, q.now, facts)))
}

/// Each grant still covers what it would permit if it were the only one and nothing of it had been used.
fn check_counted(policy: &Policy, world: &World, q: &Question) -> Result<(), TestCaseError> {
    for grant in &world.grants {
        let alone = Plain { spent: false, used_up: false, ..grant.clone() };
        let alone = World { grants: vec![alone], ..world.clone() };
        let expected = match alone.decide(q) {
            Answer::Allow { mask, .. } => Some(mask),
            Answer::Ask { .. } | Answer::Refuse { .. } => None,
        };
        let found = with_facts(q, |facts| policy.still_covers(q.now, facts, grant.id));
        prop_assert_eq!(found.ok().map(|mask| mask.0), expected, "{:?} of {:?} in {:#?}", grant, q, world);
    }
    Ok(())
}

fn question(plan: &AskPlan, runs: &[RunId], actions: &[ActionId]) -> Question {
    let name = DomainName::from_ascii(plan.name).unwrap();
    let addresses: Vec<IpAddr> = plan.addresses.iter().map(|a| a.parse().unwrap()).collect();
    let target = match (plan.stage, addresses.first()) {
        (0, _) => Where::Nowhere,
        (1 | 2, _) => Where::Name(name, plan.port),
        (3 | 4, Some(address)) => Where::Address(*address, plan.port),
        _ => Where::Resolved(name, plan.port, addresses),
    };
    let run = plan.run.map(|(n, token, ended)| (runs.get(n).copied().unwrap_or(RunId(999)), token, ended));
    Question {
        app: app(plan.app),
        trust: plan.trust,
        groups: plan.groups.as_ref().map(|groups| groups.iter().map(|g| (*g).to_owned()).collect()),
        legacy: plan.legacy,
        suspended: plan.suspended,
        run,
        action: actions[plan.action],
        target,
        now: Instant::from_nanos(plan.now * UNIT),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn engine_and_reference_never_differ(
        // Untrusted cells: calls only, and those singly at most; the loader enforces it.
        domains in proptest::collection::vec(cell(), 9),
        untrusted in proptest::option::of(Just(Permission::SingleAction)),
        tokens in of(&[TokenRule::Allow, TokenRule::Refuse, TokenRule::SessionOnly, TokenRule::SessionOnly]),
        listeners in proptest::sample::subsequence(LISTENERS.to_vec(), 0..=3),
        device in proptest::sample::subsequence(ADDRESSES.to_vec(), 0..=2),
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut cells = Vec::new();
        for row in 0..3 {
            cells.extend_from_slice(&domains[row * 3..row * 3 + 3]);
            cells.push(untrusted.filter(|_| row == 2));
        }
        let table = Arc::new(SecurityTable::from_toml(&toml(&cells)).unwrap());
        let actions: Vec<ActionId> = ACTIONS.iter().map(|a| table.action(a).unwrap()).collect();
        let mut world = World {
            table: Vec::new(),
            groups: actions
                .iter()
                .zip(ACTIONS)
                .map(|(action, name)| (*action, name.split('.').next().unwrap().to_owned()))
                .collect(),
            tokens,
            listeners: listeners.iter().map(|l| l.parse().unwrap()).collect(),
            device: device.iter().map(|d| d.parse().unwrap()).collect(),
            live: Vec::new(),
            clock: None,
            grants: Vec::new(),
        };
        for (row, action) in actions.iter().enumerate() {
            for (column, trust) in Trust::ALL.iter().enumerate() {
                world.table.extend(cells[row * 4 + column].map(|maximum| (*action, *trust, maximum)));
            }
        }
        let token_runs = match tokens {
            TokenRule::Allow => TokenRuns::Allow,
            TokenRule::Refuse => TokenRuns::Refuse,
            TokenRule::SessionOnly => TokenRuns::SessionOnly,
        };
        let surroundings =
            Surroundings { listeners: world.listeners.clone(), device_addresses: world.device.clone() };
        let mut policy = Policy::new(table, Settings { token_runs }, surroundings);
        // Grants are given in the widest column, so that questions from narrower ones meet grants that are too wide.
        let wide = Arc::new(SecurityTable::from_toml(&toml(&{
            let mut cells = vec![Some(Permission::Blanket); 12];
            [3, 7, 11].iter().for_each(|n| cells[*n] = None);
            cells
        })).unwrap());
        let giver = Trust::Domain(SecurityDomain::Operator);
        let mut runs: Vec<RunId> = Vec::new();
        let mut next = 0;
        for event in &events {
            match event {
                Event::Give(plan) => {
                    next += 1;
                    let grant = Plain {
                        id: GrantId(next),
                        app: app(plan.app),
                        action: actions[plan.action],
                        target: plan.target.map(str::to_owned),
                        permission: plan.permission,
                        expires: plan.expires.map(|n| Instant::from_nanos(n * UNIT)),
                        hours: plan.hours.clone(),
                        used_up: false,
                        runs: None,
                        spent: false,
                    };
                    let spec = GrantSpec {
                        id: grant.id,
                        app: grant.app.clone(),
                        action: grant.action,
                        target: plan.target.map(|t| t.parse().unwrap()),
                        permission: Some(grant.permission),
                        granted_at: WallTime::from_secs(0),
                        expires: grant.expires,
                    };
                    let mut made = Grant::new(spec, giver, &wide).unwrap();
                    if let Some(hours) = &plan.hours {
                        made = made.within(window(hours)).unwrap();
                    }
                    policy = policy.with_grant(made);
                    world.give(grant);
                }
                Event::Clock(read) => {
                    let (mut engine, mut plain) = (None, None);
                    if let Some((at, secs, ahead)) = *read {
                        let (at, wall) = (Instant::from_nanos(at * UNIT), WallTime::from_secs(secs));
                        let offset = UtcOffset::from_minutes(ahead).unwrap();
                        engine = Some(LocalClock { at, says: LocalTime { wall, offset } });
                        plain = Some(PlainClock { at, wall, ahead: i64::from(ahead) });
                    }
                    policy = policy.with_clock(engine);
                    world.clock = plain;
                }
                Event::Start(n) => {
                    let run = RunId(runs.len() as u64 + 1);
                    runs.push(run);
                    policy = policy.run_started(&app(*n), run);
                    world.start(&app(*n), run);
                }
                Event::End(n) => {
                    if let Some(run) = runs.get(*n).filter(|run| world.live.iter().any(|(r, _)| r == *run)) {
                        let (after, mut dropped) = policy.run_ended(*run);
                        policy = after;
                        let mut gone = world.end(*run);
                        dropped.sort();
                        gone.sort();
                        prop_assert_eq!(dropped, gone);
                    }
                }
                Event::Revoke(n) => {
                    policy = policy.without_grant(GrantId(*n as u64));
                    world.grants.retain(|g| g.id != GrantId(*n as u64));
                }
                Event::Spend(n) => {
                    let grant = world.grants.iter_mut().find(|g| g.id == GrantId(*n as u64));
                    let expected = match grant {
                        Some(grant) if grant.permission == Permission::SingleAction => !std::mem::replace(&mut grant.spent, true),
                        grant => grant.is_some(),
                    };
                    prop_assert_eq!(policy.spend(GrantId(*n as u64)), expected);
                }
                Event::UseUp(n, used_up) => {
                    let grant = policy.grant(GrantId(*n as u64)).filter(|g| g.window().is_some());
                    if let Some(grant) = grant {
                        let grant = if *used_up { grant.used_up() } else { grant.replenished() };
                        policy = policy.with_grant(grant);
                        let plain = world.grants.iter_mut().find(|g| g.id == GrantId(*n as u64));
                        plain.unwrap().used_up = *used_up;
                    }
                }
                Event::Ask(plan) => {
                    let q = question(plan, &runs, &actions);
                    let (answer, explanation) = ask(&policy, &q);
                    prop_assert_eq!(&answer, &world.decide(&q), "{:?} in {:#?}", q, world);
                    check_explanation(&answer, &explanation)?;
                    check_counted(&policy, &world, &q)?;
                }
            }
        }
    }
}

/// What is explained is what is decided: the grant that covers is said to, and without one none is said to.
fn check_explanation(answer: &Answer, explanation: &Explanation) -> Result<(), TestCaseError> {
    let of = |id: GrantId| explanation.grants.iter().find(|g| g.id == id).unwrap();
    match answer {
        Answer::Allow { grant, mask, .. } => {
            prop_assert_eq!(explanation.decision, "allow");
            prop_assert!(of(*grant).covers);
            let shown = explanation
                .addresses
                .iter()
                .take(64)
                .enumerate()
                .fold(0, |m, (n, a)| m | u64::from(a.allowed) << n);
            prop_assert_eq!(shown, *mask);
        }
        Answer::Ask { near_miss } => {
            prop_assert_eq!(explanation.decision, "ask");
            prop_assert!(explanation.grants.iter().all(|g| !g.covers), "{:#?}", explanation);
            if let Some((grant, near)) = near_miss {
                // The explanation may say more exactly what is wrong with the addresses.
                let said = of(*grant).reason;
                let exact = said.filter(|r| !matches!(r, Reason::AddressNotPublic | Reason::OwnAddress));
                prop_assert!(said.is_some() && exact.is_none_or(|r| r == *near), "{:#?}", explanation);
                prop_assert_eq!(explanation.reason, Some(*near));
            }
        }
        Answer::Refuse { reason, near_miss } => {
            prop_assert_eq!(explanation.decision, "deny");
            prop_assert_eq!(explanation.reason, Some(*reason));
            if let Some((grant, reason)) = near_miss {
                prop_assert_eq!(of(*grant).reason, Some(*reason));
            }
        }
    }
    Ok(())
}
