//! What a decision costs at 10,000 grants: spread over 500 apps, and all on one app. The aim is 1 us at most.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use mexe_model::{
    ActionGroup, AppId, DomainName, GrantId, Groups, Instant, Permission, RunId, SecurityDomain, Trust,
    WallTime,
};
use mexe_policy::*;

const GRANTS: u32 = 10_000;
const TRUST: Trust = Trust::Domain(SecurityDomain::ThirdParty);

fn app(n: u32) -> AppId {
    format!("app-{n}").parse().unwrap()
}

/// A mix of all kinds of targets; every prefix length of both families is in use.
fn target(n: u32) -> String {
    match n % 5 {
        0 => format!("host-{n}.example.org"),
        1 => format!("host-{n}.example.org:443"),
        2 => format!("*.zone-{n}.example.net"),
        3 => {
            let net = ipnet::Ipv4Net::new(
                Ipv4Addr::from(0x0a00_0000 | n << 8),
                u8::try_from(n / 5 % 25).unwrap() + 8,
            );
            net.unwrap().trunc().to_string()
        }
        _ => {
            let address = Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(n) << 90 | u128::from(n));
            ipnet::Ipv6Net::new(address, u8::try_from(n / 5 % 121).unwrap() + 8).unwrap().trunc().to_string()
        }
    }
}

fn grant(table: &SecurityTable, n: u32, apps: u32) -> Grant {
    let spec = GrantSpec {
        id: GrantId(u64::from(n)),
        // Neighbours share an app, so that each has targets of all kinds.
        app: app(n / (GRANTS / apps)),
        action: table.action("network.connect").unwrap(),
        target: Some(target(n).parse().unwrap()),
        permission: Some(Permission::Blanket),
        granted_at: WallTime::from_secs(0),
        expires: None,
    };
    Grant::new(spec, TRUST, table).unwrap()
}

fn policy(apps: u32) -> Policy {
    let table = Arc::new(SecurityTable::shipped().unwrap());
    let grants: Vec<Grant> = (0..GRANTS).map(|n| grant(&table, n, apps)).collect();
    let listeners = [1080, 3128, 4433, 8057, 9057].map(|port| (Ipv4Addr::LOCALHOST, port).into()).to_vec();
    let surroundings = Surroundings { listeners, device_addresses: vec!["192.0.2.1".parse().unwrap()] };
    Policy::new(table, Settings::default(), surroundings).with_grants(grants)
}

fn decide(c: &mut Criterion) {
    for apps in [500, 1] {
        let policy = policy(apps);
        let who = app(0);
        let name = |text: &str| DomainName::from_ascii(text).unwrap();
        let exact = name("host-5.example.org");
        let (below, miss) = (name("a.b.zone-2.example.net"), name("nowhere.example.com"));
        let deep = name(&format!("{}zone-2.example.net", "a.".repeat(110)));
        let public: [IpAddr; 2] = ["8.8.8.8".parse().unwrap(), "2606:4700::1".parse().unwrap()];
        let address = |text: &str| Target::Address { address: text.parse().unwrap(), port: 443 };
        let cases = [
            ("name, exact", Target::Name { name: &exact, port: 443 }),
            ("name resolved to two", Target::Resolved { name: &exact, port: 443, addresses: &public }),
            ("name, wildcard", Target::Name { name: &below, port: 443 }),
            ("name, not granted", Target::Name { name: &miss, port: 443 }),
            ("name of 113 labels", Target::Name { name: &deep, port: 443 }),
            ("address, ipv4", address("10.0.3.1")),
            ("address, ipv4 not granted", address("192.168.0.1")),
            ("address, ipv6 under all prefixes", address("fd00::1")),
            ("address, ipv6 not granted", address("2606:4700::1")),
        ];
        let mut group = c.benchmark_group(format!("{GRANTS} grants on {apps} apps"));
        for (what, target) in cases {
            let run = Some(RunFacts { id: RunId(1), binding: RunBinding::Measured, ended: false });
            let action = policy.table().action("network.connect").unwrap();
            // Restricted to what it asks for, so that the restriction is looked at to its end.
            let groups = Groups::NONE.with(ActionGroup::Network);
            let facts = Facts {
                app: &who,
                trust: TRUST,
                groups,
                legacy: false,
                suspended: false,
                run,
                action,
                target,
            };
            group.bench_function(what, |b| {
                b.iter(|| policy.decide(black_box(Instant::from_nanos(1)), black_box(&facts)))
            });
        }
        let more = grant(policy.table(), 0, apps);
        group.bench_function("one more grant", |b| b.iter(|| policy.with_grant(black_box(more.clone()))));
        group.bench_function("one grant less", |b| b.iter(|| policy.without_grant(black_box(GrantId(0)))));
        group.finish();
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
