//! What targets cover: names before and after resolution, addresses of every class, the device and the gate themselves;
//! and what becomes of grants as runs begin and end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::net::IpAddr;
use std::sync::Arc;

use mexe_model::{
    AppId, DomainName, GrantId, Groups, Host, Instant, Permission, Reason, RunId, SecurityDomain, Trust,
    WallTime,
};
use mexe_policy::*;

const THIRD: Trust = Trust::Domain(SecurityDomain::ThirdParty);
const START: Instant = Instant::from_nanos(0);

fn app() -> AppId {
    "weather".parse().unwrap()
}

fn grant(id: u64, target: &str, permission: Permission) -> Grant {
    let table = SecurityTable::shipped().unwrap();
    let spec = GrantSpec {
        id: GrantId(id),
        app: app(),
        action: table.action("network.connect").unwrap(),
        target: (!target.is_empty()).then(|| target.parse().unwrap()),
        permission: Some(permission),
        granted_at: WallTime::from_secs(0),
        expires: None,
    };
    Grant::new(spec, THIRD, &table).unwrap()
}

/// The gate listens on 127.0.0.1:1080 and on every address at 9057; the device is 8.8.0.1 and 10.0.0.7.
fn policy(targets: &[&str]) -> Policy {
    let surroundings = Surroundings {
        listeners: ["127.0.0.1:1080", "0.0.0.0:9057"].map(|l| l.parse().unwrap()).to_vec(),
        device_addresses: ["8.8.0.1", "10.0.0.7"].map(|a| a.parse().unwrap()).to_vec(),
    };
    let grants = targets.iter().zip(1..).map(|(target, id)| grant(id, target, Permission::Blanket));
    Policy::new(Arc::new(SecurityTable::shipped().unwrap()), Settings::default(), surroundings)
        .with_grants(grants)
}

fn decide_in(policy: &Policy, run: u64, target: Target<'_>) -> Decision {
    let run = Some(RunFacts { id: RunId(run), binding: RunBinding::Measured, ended: false });
    let action = policy.table().action("network.connect").unwrap();
    let (groups, legacy) = (Groups::ALL, false);
    let facts = Facts { app: &app(), trust: THIRD, groups, legacy, suspended: false, run, action, target };
    policy.decide(START, &facts)
}

/// The mask, or the reason.
fn outcome(decision: Decision) -> Result<u64, Reason> {
    match decision {
        Decision::Allow(ticket) => Ok(ticket.addresses.0),
        Decision::Ask(rule) => Err(rule.reason_unanswered()),
        Decision::Refuse(reason, _) => Err(reason),
    }
}

/// Asks as the service does: first the name, then its addresses.
fn by_name(policy: &Policy, name: &str, port: u16, addresses: &[&str]) -> Result<u64, Reason> {
    let name = DomainName::from_ascii(name).unwrap();
    outcome(decide_in(policy, 1, Target::Name { name: &name, port }))?;
    let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    outcome(decide_in(policy, 1, Target::Resolved { name: &name, port, addresses: &addresses }))
}

fn by_address(policy: &Policy, address: &str, port: u16) -> Result<u64, Reason> {
    let Ok(Host::Address(address)) = parse_host(address) else { panic!("{address}") };
    outcome(decide_in(policy, 1, Target::Address { address, port }))
}

/// Every way to write an address that is not out there.
const INWARD: [&str; 27] = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.1",
    "192.88.99.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "::1",
    "fc00::1",
    "fe80::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "2001::1",
];

#[test]
fn any_covers_global_addresses_only() {
    let any = policy(&[""]);
    assert_eq!(by_address(&any, "8.8.8.8", 443), Ok(1));
    assert_eq!(by_address(&any, "2606:4700::1", 443), Ok(1));
    for address in INWARD {
        assert_eq!(by_address(&any, address, 443), Err(Reason::AddressNotPublic), "{address}");
        assert_eq!(
            by_name(&any, "rebind.example", 443, &[address]),
            Err(Reason::AddressNotPublic),
            "{address}"
        );
    }
    assert_eq!(by_address(&any, "8.8.0.1", 443), Err(Reason::AddressNotPublic), "the device's own");
    assert_eq!(by_address(&any, "10.0.0.7", 443), Err(Reason::AddressNotPublic), "the device's own");
}

#[test]
fn names_and_wildcards_reach_the_global_addresses_among_those_they_resolve_to() {
    for target in ["rebind.example", "rebind.example:443", "*.example.net", ""] {
        let grants = policy(&[target]);
        let name = if target.starts_with('*') { "a.b.example.net" } else { "rebind.example" };
        for address in INWARD {
            assert_eq!(
                by_name(&grants, name, 443, &[address]),
                Err(Reason::AddressNotPublic),
                "{target} {address}"
            );
            assert_eq!(
                by_name(&grants, name, 443, &[address, "8.8.8.8", "8.8.0.1", "9.9.9.9"]),
                Ok(0b1010),
                "{address}"
            );
        }
    }
}

#[test]
fn inward_addresses_need_a_grant_that_names_them() {
    for address in INWARD {
        let own = policy(&[&if address.contains(':') {
            format!("[{address}]:443")
        } else {
            format!("{address}:443")
        }]);
        assert_eq!(by_address(&own, address, 443), Ok(1), "{address}");
        assert_eq!(by_address(&own, address, 444), Err(Reason::TargetOutOfScope), "{address}");
        assert_eq!(by_name(&own, "rebind.example", 443, &[address]), Ok(1), "{address}");
    }
}

#[test]
fn a_network_covers_a_name_only_if_it_has_all_its_addresses() {
    let lan = policy(&["10.0.0.0/8"]);
    assert_eq!(by_name(&lan, "printer.example", 631, &["10.0.0.1", "10.9.9.9"]), Ok(0b11));
    assert_eq!(
        by_name(&lan, "printer.example", 631, &["10.0.0.1", "8.8.8.8"]),
        Err(Reason::TargetOutOfScope)
    );
    assert_eq!(
        by_name(&lan, "printer.example", 631, &["10.0.0.1", "fd00::1"]),
        Err(Reason::TargetOutOfScope)
    );
    assert_eq!(by_name(&lan, "printer.example", 631, &[]), Err(Reason::NameUnresolvable));
    // With a name grant besides, what is public may be reached through that.
    let both = policy(&["10.0.0.0/8", "printer.example"]);
    assert_eq!(by_name(&both, "printer.example", 631, &["10.0.0.1", "8.8.8.8"]), Ok(0b10));
    assert_eq!(by_name(&both, "printer.example", 631, &["10.0.0.1", "10.0.0.2"]), Ok(0b11));
}

#[test]
fn a_wide_ipv6_network_does_not_name_the_ipv4_inside() {
    let wide = policy(&["::/0"]);
    assert_eq!(by_address(&wide, "fd00::1", 443), Ok(1));
    assert_eq!(by_address(&wide, "2606:4700::1", 443), Ok(1));
    for address in
        ["::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::", "2001::1"]
    {
        assert_eq!(by_address(&wide, address, 443), Err(Reason::TargetOutOfScope), "{address}");
    }
}

#[test]
fn the_gates_own_listeners_are_never_reached_whatever_is_granted() {
    let everything = policy(&[
        "",
        "0.0.0.0/0",
        "::/0",
        "::ffff:0:0/96",
        "127.0.0.1:1080",
        "[::ffff:127.0.0.1]:1080",
        "rebind.example",
    ]);
    for (address, port) in [
        ("127.0.0.1", 1080),
        ("::ffff:127.0.0.1", 1080),
        ("::127.0.0.1", 1080),
        ("64:ff9b::127.0.0.1", 1080),
        ("0.0.0.0", 1080),
        ("::", 1080),
        ("127.5.5.5", 9057),
        ("::1", 9057),
        ("10.0.0.7", 9057),
        ("8.8.0.1", 9057),
        ("::ffff:10.0.0.7", 9057),
    ] {
        assert_eq!(by_address(&everything, address, port), Err(Reason::OwnAddress), "{address} {port}");
        assert_eq!(
            by_name(&everything, "rebind.example", port, &[address]),
            Err(Reason::OwnAddress),
            "{address} {port}"
        );
        assert_eq!(
            by_name(&everything, "rebind.example", port, &[address, "8.8.8.8"]),
            Ok(0b10),
            "{address} {port}"
        );
        assert_eq!(
            by_address(&policy(&[]), address, port),
            Err(Reason::OwnAddress),
            "{address} {port} without a grant"
        );
    }
    assert_eq!(by_address(&everything, "127.0.0.1", 1081), Ok(1));
    let loopback = policy(&["127.0.0.0/8"]);
    assert_eq!(
        by_name(&loopback, "rebind.example", 1080, &["127.0.0.1", "127.0.0.2"]),
        Err(Reason::TargetOutOfScope)
    );
}

#[test]
fn nothing_is_resolved_that_no_grant_could_cover() {
    let name = |targets: &[&str], name: &str, port| {
        let name = DomainName::from_ascii(name).unwrap();
        outcome(decide_in(&policy(targets), 1, Target::Name { name: &name, port }))
    };
    assert_eq!(name(&[], "example.org", 443), Err(Reason::PermissionMissing));
    for covers in ["", "example.org", "example.org:443", "*.org.example", "10.0.0.0/8", "[::1]:443"] {
        let asked = if covers.starts_with('*') { "a.org.example" } else { "example.org" };
        assert_eq!(name(&[covers], asked, 443), Ok(0), "{covers}");
    }
    for misses in
        ["example.org:80", "example.net", "*.example.org", "*.badexample.net", "10.0.0.0/8:80", "[::1]:80"]
    {
        assert_eq!(name(&[misses], "example.org", 443), Err(Reason::TargetOutOfScope), "{misses}");
    }
    assert_eq!(name(&["*.example.org"], "badexample.org", 443), Err(Reason::TargetOutOfScope));
    assert_eq!(name(&["*.example.org"], "a.b.c.example.org", 443), Ok(0));
}

#[test]
fn a_name_grant_never_covers_a_request_by_address() {
    let named = policy(&["dns.example", "*.dns.example"]);
    assert_eq!(by_address(&named, "8.8.8.8", 443), Err(Reason::TargetOutOfScope));
    assert_eq!(by_address(&named, "127.0.0.1", 443), Err(Reason::TargetOutOfScope));
    assert_eq!(by_address(&policy(&[]), "127.0.0.1", 443), Err(Reason::PermissionMissing));
}

#[test]
fn a_wider_permission_is_used_before_a_narrower_one() {
    let started = policy(&[]).run_started(&app(), RunId(1));
    let all = [
        grant(1, "example.org", Permission::SingleAction),
        grant(2, "", Permission::Session),
        grant(3, "*.org.example", Permission::Blanket),
    ];
    let name = DomainName::from_ascii("example.org").unwrap();
    let target = Target::Name { name: &name, port: 443 };
    let used = |policy: &Policy| match decide_in(policy, 1, target) {
        Decision::Allow(ticket) => Some((ticket.grant, ticket.permission)),
        _ => None,
    };
    let policy = started.with_grants(all).with_grant(grant(4, "example.org:443", Permission::Blanket));
    assert_eq!(used(&policy), Some((GrantId(4), Permission::Blanket)));
    let policy = policy.without_grant(GrantId(4));
    assert_eq!(used(&policy), Some((GrantId(2), Permission::Session)));
    let policy = policy.without_grant(GrantId(2));
    assert_eq!(used(&policy), Some((GrantId(1), Permission::SingleAction)));
    let policy = policy.without_grant(GrantId(1));
    assert_eq!(used(&policy), None);
}

#[test]
fn a_session_grant_lives_and_dies_with_its_runs() {
    let target = || Target::Address { address: "8.8.8.8".parse().unwrap(), port: 443 };
    let ask = |policy: &Policy, run| outcome(decide_in(policy, run, target()));
    // Given before any run: for the next one, and only that.
    let pending = policy(&[]).with_grant(grant(1, "", Permission::Session));
    assert_eq!(ask(&pending, 1), Err(Reason::PermissionMissing));
    let first = pending.run_started(&app(), RunId(1));
    let both = first.run_started(&app(), RunId(2));
    assert_eq!((ask(&both, 1), ask(&both, 2)), (Ok(1), Err(Reason::PermissionMissing)));
    // Given while two runs are live: for both, until the last one ends.
    let two = both.with_grant(grant(2, "8.8.8.8", Permission::Session));
    assert_eq!((ask(&two, 1), ask(&two, 2)), (Ok(1), Ok(1)));
    let (after, dropped) = two.run_ended(RunId(1));
    assert_eq!(
        (dropped, ask(&after, 1), ask(&after, 2)),
        (vec![GrantId(1)], Err(Reason::PermissionMissing), Ok(1))
    );
    let third = after.run_started(&app(), RunId(3));
    assert_eq!(ask(&third, 3), Err(Reason::PermissionMissing));
    let (end, dropped) = third.run_ended(RunId(2));
    assert_eq!((dropped, end.grants().count()), (vec![GrantId(2)], 0));
    // The earlier values still say what they said.
    assert_eq!((ask(&two, 1), ask(&two, 2)), (Ok(1), Ok(1)));
}

#[test]
fn a_single_permission_has_exactly_one_winner() {
    let policy =
        policy(&[]).with_grants([grant(1, "", Permission::SingleAction), grant(2, "", Permission::Blanket)]);
    let (other, id) = (policy.run_started(&app(), RunId(1)), GrantId(1));
    let wins: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|n| {
                let policy = if n % 2 == 0 { &policy } else { &other };
                scope.spawn(move || (0..100).filter(|_| policy.spend(id)).count())
            })
            .collect();
        tries.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(wins, 1);
    assert!(policy.grant(id).unwrap().is_spent() && other.grant(id).unwrap().is_spent());
    assert!(policy.spend(GrantId(2)) && policy.spend(GrantId(2)), "a blanket grant is never used up");
    assert!(
        !policy.spend(GrantId(3)) && !policy.without_grant(id).spend(id),
        "what is not there cannot be spent"
    );
}

#[test]
fn a_spent_permission_does_not_come_back_with_a_change_of_the_policy() {
    let before = policy(&[]).with_grant(grant(1, "", Permission::SingleAction));
    assert!(before.spend(GrantId(1)));
    let target = Target::Address { address: "8.8.8.8".parse().unwrap(), port: 443 };
    for after in [
        before.run_started(&app(), RunId(1)),
        before.with_grant(grant(2, "10.0.0.1", Permission::SingleAction)),
    ] {
        assert!(matches!(decide_in(&after, 1, target), Decision::Ask(_)));
        assert!(!after.spend(GrantId(1)));
    }
}

#[test]
fn every_change_makes_another_epoch_and_a_ticket_carries_it() {
    let p0 = policy(&[""]);
    let (p5, _) =
        p0.run_started(&app(), RunId(1)).with_grant(grant(9, "", Permission::Session)).run_ended(RunId(1));
    let changes = [
        p0.with_grant(grant(2, "", Permission::Blanket)),
        p0.without_grant(GrantId(1)),
        p0.run_started(&app(), RunId(1)),
        p5,
        p0.app_removed(&app()).0,
        p0.with_surroundings(Surroundings::default()),
        p0.with_settings(Settings { token_runs: TokenRuns::Refuse }),
        p0.with_table(Arc::clone(p0.table())).0,
    ];
    assert!(changes.iter().all(|p| p.epoch() > p0.epoch()));
    assert_eq!(p0.without_grant(GrantId(77)).epoch(), p0.epoch());
    assert_eq!(p0.run_ended(RunId(77)).0.epoch(), p0.epoch());
    let Decision::Allow(ticket) = decide_in(&changes[0], 1, Target::None) else { panic!() };
    assert_eq!(ticket.epoch, changes[0].epoch());
}

#[test]
fn an_app_that_is_removed_takes_its_grants_and_runs_along() {
    let policy = policy(&["", "example.org"]).run_started(&app(), RunId(1));
    let (after, mut dropped) = policy.app_removed(&app());
    dropped.sort();
    assert_eq!((dropped, after.grants().count()), (vec![GrantId(1), GrantId(2)], 0));
    // Its run is not live any more: a new session grant waits for the next one.
    let again = after.with_grant(grant(3, "", Permission::Session));
    assert_eq!(again.grant(GrantId(3)).unwrap().binding(), Some(&Binding::Pending));
}

#[test]
fn grants_follow_their_actions_to_another_table_or_are_dropped() {
    let policy = policy(&["example.org"]);
    let row = |action: &str, cell: &str| {
        let cells = ["operator", "manufacturer", "third-party", "untrusted"].map(|column| {
            let cell = if column == "third-party" { cell } else { "no" };
            format!("{column} = {{ permission = \"{cell}\", provenance = \"decision:1\" }}\n")
        });
        format!(
            "[[action]]\naction = \"{action}\"\ncovers = \"x\"\ntarget = \"endpoint\"\nchargeable = true\n{}",
            cells.concat()
        )
    };
    let table = |rows: String| {
        let text = format!("[[group]]\nname = \"network\"\nnumber = 6\ntitle = \"x\"\n{rows}");
        Arc::new(SecurityTable::from_toml(&text).unwrap())
    };
    let name = DomainName::from_ascii("example.org").unwrap();
    let ask = |policy: &Policy| outcome(decide_in(policy, 1, Target::Name { name: &name, port: 1 }));
    let (moved, dropped) =
        policy.with_table(table(row("network.call", "no") + &row("network.connect", "blanket(single)")));
    assert_eq!((dropped, ask(&moved)), (vec![], Ok(0)));
    let (narrower, dropped) = policy.with_table(table(row("network.connect", "session(single)")));
    assert_eq!((dropped, ask(&narrower)), (vec![], Err(Reason::PermissionMissing)));
    let (closed, dropped) = policy.with_table(table(row("network.connect", "no")));
    assert_eq!((dropped, ask(&closed)), (vec![], Err(Reason::ForbiddenToDomain)));
    let (gone, dropped) = policy.with_table(table(row("network.call", "no")));
    assert_eq!((dropped, gone.grants().count()), (vec![GrantId(1)], 0));
}

#[test]
fn the_next_expiry_is_known() {
    let table = SecurityTable::shipped().unwrap();
    let at = |id, expires: u64| {
        let action = table.action("network.connect").unwrap();
        let (target, permission, expires) = (None, None, Some(Instant::from_nanos(expires)));
        Grant::new(
            GrantSpec {
                id: GrantId(id),
                app: app(),
                action,
                target,
                permission,
                granted_at: WallTime::from_secs(0),
                expires,
            },
            THIRD,
            &table,
        )
        .unwrap()
    };
    let policy = policy(&[""]).with_grants([at(11, 500), at(12, 300)]);
    let next = |now| policy.next_expiry(Instant::from_nanos(now)).map(Instant::as_nanos);
    assert_eq!((next(0), next(300), next(500)), (Some(300), Some(500), None));
}
