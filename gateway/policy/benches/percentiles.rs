//! How long single decisions take, call by call: what criterion's means do not show. `cargo bench -p mexe-policy --bench
//! percentiles` prints a table; each call is timed alone, and what it costs to read the clock twice is subtracted.
//!
//! Same: one question again and again, of each kind in turn. Random: any app's any question, so that little is in the
//! nearest caches. Cold: after each call a block larger than the last cache is written over. The aim is 1 us at the 99th
//! percentile, with 10,000 grants and 500 apps.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a bench"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant as Clock;

use mexe_model::{
    ActionGroup, AppId, DomainName, GrantId, Groups, Instant, Permission, RunId, SecurityDomain, Trust,
    WallTime,
};
use mexe_policy::window::{DayHours, Hours, Weekday};
use mexe_policy::*;

const GRANTS: u32 = 10_000;
const APPS: u32 = 500;
const TRUST: Trust = Trust::Domain(SecurityDomain::ThirdParty);
const CALLS: usize = 200_000;
const COLD_CALLS: usize = 2_000;

fn main() {
    // Cargo says so when figures are wanted; tests only see that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let clock = clock_cost();
    println!("nanoseconds for each call; {clock} for reading the clock are subtracted already\n");
    println!("| grants | asked | calls | median | p90 | p99 | p99.9 |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    let spread = World::new(|n| n / (GRANTS / APPS), |n| n);
    spread.measure("10,000 on 500 apps", clock, 0..APPS);
    // One app holds all that the other 499 leave over.
    let heaped = World::new(|n| n.saturating_sub(GRANTS - APPS), |n| n);
    heaped.measure("9,501 on one app of 500", clock, 0..1);
    for different in [10, 100, 1_000, 9_501] {
        let world = World::new(|n| n.saturating_sub(GRANTS - APPS), |n| n).within(different);
        world.measure(&format!("9,501 on one app and target, {different} windows"), clock, 0..1);
    }
}

/// A policy, and questions to it.
struct World {
    table: Arc<SecurityTable>,
    policy: Policy,
    apps: Vec<AppId>,
    names: Vec<DomainName>,
    /// By app.
    questions: Vec<Vec<Question>>,
}

/// What is asked for, names by their place in the list.
#[derive(Clone, Copy)]
enum Question {
    Address(IpAddr),
    Name(usize),
    Resolved(usize),
}

const PUBLIC: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 1))];

impl World {
    /// `owner` says whose the n-th grant is, `place` for which target.
    fn new(owner: impl Fn(u32) -> u32, place: impl Fn(u32) -> u32) -> Self {
        let table = Arc::new(SecurityTable::shipped().unwrap());
        let apps: Vec<AppId> = (0..APPS).map(|n| format!("app-{n}").parse().unwrap()).collect();
        let listeners =
            [1080, 3128, 4433, 8057, 9057].map(|port| (Ipv4Addr::LOCALHOST, port).into()).to_vec();
        let surroundings = Surroundings { listeners, device_addresses: vec!["192.0.2.1".parse().unwrap()] };
        let monday = LocalTime { wall: WallTime::from_secs(4 * 86_400), offset: UtcOffset::UTC };
        let mut policy = Policy::new(Arc::clone(&table), Settings::default(), surroundings)
            .with_clock(Some(LocalClock { at: Instant::from_nanos(0), says: monday }));
        for (n, app) in (1..).zip(&apps) {
            policy = policy.run_started(app, RunId(n));
        }
        let mut world = Self { table, policy, apps, names: Vec::new(), questions: Vec::new() };
        world.questions.resize(world.apps.len(), Vec::new());
        let miss = world.name("nowhere.example.com".to_owned());
        for list in &mut world.questions {
            list.extend([Question::Name(miss), Question::Resolved(miss), Question::Address(PUBLIC[0])]);
        }
        let mut grants = Vec::new();
        for n in 0..GRANTS {
            let owner = owner(n) as usize;
            let (target, asked) = world.target(place(n));
            world.questions[owner].extend(asked);
            grants.push(world.grant(n, owner, &target));
        }
        world.policy = world.policy.with_grants(grants);
        world
    }

    /// The grants of the first app replaced: all for one target, in that many different windows.
    fn within(mut self, different: u32) -> Self {
        let name = self.name("host.example.org".to_owned());
        self.questions[0] = vec![Question::Name(name), Question::Resolved(name), Question::Name(0)];
        let grants = (0..GRANTS - APPS + 1).map(|n| {
            let kind = n % different;
            // Different hours, and some different ends: what is given later holds longer.
            let from = (kind * 7 % 1380) as u16;
            let days = &Weekday::ALL[..=(kind / 1380) as usize % 7];
            let hours =
                Hours::new(days.iter().map(|day| DayHours { day: *day, from, to: from + 60 })).unwrap();
            let until = (kind % 2 == 1).then(|| WallTime::from_secs(40 * 86_400 + u64::from(kind)));
            let spec =
                GrantSpec { permission: Some(Permission::Blanket), ..self.spec(n, 0, "host.example.org") };
            let grant = Grant::new(spec, TRUST, &self.table).unwrap();
            grant.within(Window { hours: Arc::new(hours), until }).unwrap()
        });
        self.policy = self.policy.with_grants(grants.collect::<Vec<_>>());
        self
    }

    fn name(&mut self, text: String) -> usize {
        self.names.push(DomainName::from_ascii(&text).unwrap());
        self.names.len() - 1
    }

    /// All kinds of targets in turn, with questions that they cover.
    fn target(&mut self, n: u32) -> (String, Vec<Question>) {
        match n % 5 {
            0 | 1 => {
                let name = self.name(format!("host-{n}.example.org"));
                let port = if n.is_multiple_of(5) { "" } else { ":443" };
                (format!("host-{n}.example.org{port}"), vec![Question::Name(name), Question::Resolved(name)])
            }
            2 => {
                let name = self.name(format!("a.b.zone-{n}.example.net"));
                (format!("*.zone-{n}.example.net"), vec![Question::Name(name), Question::Resolved(name)])
            }
            3 => {
                let address = Ipv4Addr::from(0x0a00_0000 | n << 8);
                let net = ipnet::Ipv4Net::new(address, (n / 5 % 25) as u8 + 8).unwrap();
                (net.trunc().to_string(), vec![Question::Address(address.into())])
            }
            _ => {
                let address = Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(n) << 90 | u128::from(n));
                let net = ipnet::Ipv6Net::new(address, (n / 5 % 121) as u8 + 8).unwrap();
                (net.trunc().to_string(), vec![Question::Address(address.into())])
            }
        }
    }

    fn spec(&self, n: u32, owner: usize, target: &str) -> GrantSpec {
        GrantSpec {
            id: GrantId(u64::from(n) + 1),
            app: self.apps[owner].clone(),
            action: self.table.action("network.connect").unwrap(),
            target: Some(target.parse().unwrap()),
            // Each with each kind of target.
            permission: Some(Permission::ALL[n as usize / 5 % 4 % 3]),
            granted_at: WallTime::from_secs(0),
            expires: None,
        }
    }

    /// A quarter each: single, session, blanket, and by the hours of working days.
    fn grant(&self, n: u32, owner: usize, target: &str) -> Grant {
        let spec = self.spec(n, owner, target);
        if n / 5 % 4 != 3 {
            return Grant::new(spec, TRUST, &self.table).unwrap();
        }
        let spec = GrantSpec { permission: Some(Permission::Blanket), ..spec };
        let from = (n / 20 % 12 * 60) as u16;
        let days = Weekday::ALL[..5].iter().map(|day| DayHours { day: *day, from, to: from + 600 });
        let window = Window { hours: Arc::new(Hours::new(days).unwrap()), until: None };
        Grant::new(spec, TRUST, &self.table).unwrap().within(window).unwrap()
    }

    fn measure(&self, what: &str, clock: u64, owners: std::ops::Range<u32>) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let any = |random: &mut Random| {
            let owner = owners.start + random.below(owners.len()) as u32;
            let list = &self.questions[owner as usize];
            (owner, list[random.below(list.len())], random.moment())
        };
        let mut times = Vec::with_capacity(CALLS);
        let list = &self.questions[owners.start as usize];
        // The first few of the list are of every kind.
        for question in list.iter().take(20) {
            let moment = random.moment();
            for _ in 0..CALLS / list.len().min(20) {
                times.push(self.time(owners.start, *question, moment));
            }
        }
        row(what, "the same", times, clock);
        let times = (0..CALLS).map(|_| any(&mut random)).map(|(o, q, at)| self.time(o, q, at)).collect();
        row(what, "random", times, clock);
        let mut block = vec![0_u8; 64 << 20];
        let mut times = Vec::with_capacity(COLD_CALLS);
        for n in 0..COLD_CALLS {
            block.iter_mut().step_by(64).for_each(|byte| *byte = n as u8);
            black_box(&block);
            let (owner, question, moment) = any(&mut random);
            times.push(self.time(owner, question, moment));
        }
        row(what, "random, cold", times, clock);
    }

    /// Nanoseconds for one decision and two readings of the clock.
    fn time(&self, owner: u32, question: Question, now: Instant) -> u64 {
        let target = match question {
            Question::Address(address) => Target::Address { address, port: 443 },
            Question::Name(name) => Target::Name { name: &self.names[name], port: 443 },
            Question::Resolved(name) => {
                Target::Resolved { name: &self.names[name], port: 443, addresses: &PUBLIC }
            }
        };
        let run = RunFacts { id: RunId(u64::from(owner) + 1), binding: RunBinding::Measured, ended: false };
        let facts = Facts {
            app: &self.apps[owner as usize],
            trust: TRUST,
            groups: Groups::NONE.with(ActionGroup::Network),
            legacy: false,
            suspended: false,
            run: Some(run),
            action: self.table.action("network.connect").unwrap(),
            target,
        };
        // The question has just been read from the app's connection; what is cold is the policy.
        black_box((self.apps[owner as usize].clone(), facts));
        if let Target::Name { name, .. } | Target::Resolved { name, .. } = facts.target {
            black_box(name.as_str().to_owned());
        }
        let facts = black_box(&facts);
        let begin = Clock::now();
        black_box(self.policy.decide(now, facts));
        begin.elapsed().as_nanos() as u64
    }
}

fn clock_cost() -> u64 {
    let mut times: Vec<u64> = (0..CALLS).map(|_| Clock::now().elapsed().as_nanos() as u64).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn row(what: &str, asked: &str, mut times: Vec<u64>, clock: u64) {
    times.sort_unstable();
    let at = |thousandths: usize| times[times.len() * thousandths / 1000].saturating_sub(clock);
    let [p50, p90, p99, p999] = [500, 900, 990, 999].map(at);
    println!("| {what} | {asked} | {} | {p50} | {p90} | {p99} | {p999} |", times.len());
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Some moment within a week.
    fn moment(&mut self) -> Instant {
        Instant::from_nanos(self.next() % (7 * 86_400 * 1_000_000_000))
    }
}
