//! A decision allocates nothing: counted by the allocator of this test binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]
#![allow(unsafe_code, reason = "a global allocator cannot be written without; this one passes everything on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use mexe_model::{
    ActionGroup, AppId, DomainName, GrantId, Groups, Instant, Permission, RunId, SecurityDomain, Trust,
    WallTime,
};
use mexe_policy::shadow::{Candidate, Difference};
use mexe_policy::window::{DayHours, Hours, Weekday};
use mexe_policy::*;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes on to the system's allocator unchanged; the counter is a thread-local without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn window(from: u16) -> Window {
    let hours = Hours::new(Weekday::ALL.map(|day| DayHours { day, from, to: from + 60 })).unwrap();
    Window { hours: Arc::new(hours), until: Some(WallTime::from_secs(86_400)) }
}

#[test]
fn a_decision_neither_allocates_nor_frees() {
    let table = Arc::new(SecurityTable::shipped().unwrap());
    let app: AppId = "app".parse().unwrap();
    let stranger: AppId = "stranger".parse().unwrap();
    let connect = table.action("network.connect").unwrap();
    let trust = Trust::Domain(SecurityDomain::Operator);
    let targets =
        ["example.org", "*.example.net:443", "10.0.0.0/8", "2606:4700::/32", "::/0", "192.168.0.0/16:80", ""];
    let grants = targets.iter().cycle().take(700).zip(1u64..).map(|(target, id)| {
        let spec = GrantSpec {
            id: GrantId(id),
            app: app.clone(),
            action: connect,
            target: (!target.is_empty()).then(|| target.parse().unwrap()),
            permission: Some(Permission::ALL[usize::try_from(id).unwrap() % 3]),
            granted_at: WallTime::from_secs(0),
            expires: (id % 5 == 0).then(|| Instant::from_nanos(id)),
        };
        let grant = Grant::new(spec, trust, &table).unwrap();
        // Some hold in a window, of which there are three.
        match u16::try_from(id % 9).unwrap() {
            from @ 0..3 => grant.clone().within(window(from * 60)).unwrap_or(grant),
            _ => grant,
        }
    });
    let surroundings = Surroundings {
        listeners: vec!["127.0.0.1:1080".parse().unwrap()],
        device_addresses: vec!["10.0.0.7".parse().unwrap()],
    };
    let policy = Policy::new(Arc::clone(&table), Settings::default(), surroundings)
        .run_started(&app, RunId(1))
        .with_clock(Some(LocalClock {
            at: Instant::from_nanos(0),
            says: LocalTime { wall: WallTime::from_secs(90 * 60), offset: UtcOffset::UTC },
        }))
        .with_grants(grants);
    let names =
        ["example.org", "a.b.example.net", "elsewhere.test"].map(|n| DomainName::from_ascii(n).unwrap());
    let addresses: Vec<IpAddr> =
        ["8.8.8.8", "10.0.0.1", "::1", "2606:4700::1", "127.0.0.1", "::ffff:10.0.0.1"]
            .map(|a| a.parse().unwrap())
            .to_vec();

    let mut targets = vec![Target::None];
    for name in &names {
        targets.push(Target::Name { name, port: 443 });
        for n in 0..=addresses.len() {
            targets.push(Target::Resolved { name, port: 443, addresses: &addresses[..n] });
            targets.push(Target::Resolved { name, port: 1080, addresses: &addresses[n..] });
        }
    }
    targets.extend(addresses.iter().map(|address| Target::Address { address: *address, port: 1080 }));

    let shadow = Shadow::new(
        Candidate { table: Some(Arc::new(SecurityTable::shipped().unwrap())), settings: None },
        &policy,
    );
    let (mut asked, mut allowed, mut refused, mut questions) = (0, 0, 0, 0);
    let before = ALLOCATIONS.with(Cell::get);
    for who in [&app, &stranger] {
        for trust in Trust::ALL {
            for binding in [RunBinding::Measured, RunBinding::Token] {
                for ended in [false, true] {
                    let restrictions = [Groups::ALL, Groups::NONE, Groups::NONE.with(ActionGroup::Network)];
                    let standings = restrictions.iter().flat_map(|groups| [(groups, false), (groups, true)]);
                    for ((groups, legacy), target) in
                        standings.flat_map(|standing| targets.iter().map(move |target| (standing, target)))
                    {
                        let run = Some(RunFacts { id: RunId(1), binding, ended });
                        let facts = Facts {
                            app: who,
                            trust,
                            groups: *groups,
                            legacy,
                            suspended: false,
                            run,
                            action: connect,
                            target: *target,
                        };
                        let now = Instant::from_nanos(100);
                        let decision = black_box(policy.decide(now, black_box(&facts)));
                        let found = shadow.observe(now, black_box(&facts), &decision);
                        assert_eq!(found, Difference::Same);
                        match decision {
                            Decision::Allow(_) => allowed += 1,
                            Decision::Ask(_) => questions += 1,
                            Decision::Refuse(..) => refused += 1,
                        }
                        asked += 1;
                    }
                }
            }
        }
    }
    let after = ALLOCATIONS.with(Cell::get);
    assert_eq!(after - before, 0, "{asked} decisions allocated or freed");
    assert!(allowed > 50 && questions > 50 && refused > 50, "{allowed} {questions} {refused}");
    // The counter counts.
    drop(black_box(Box::new(1u8)));
    assert_eq!(ALLOCATIONS.with(Cell::get) - after, 2);
}
