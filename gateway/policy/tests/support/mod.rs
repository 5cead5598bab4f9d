//! The decision, once more, as slowly and plainly as the rules can be written: loops over a list, text compared as text,
//! networks compared bit by bit, address classes from the registries' prefixes. Shares no code with the engine but the
//! words.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

pub mod places;

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use mexe_model::{AppId, DomainName, GrantId, Instant, Permission, Reason, RunId, Trust, WallTime};
use mexe_policy::ActionId;

/// A grant as the reference keeps it.
#[derive(Clone, Debug)]
pub struct Plain {
    pub id: GrantId,
    pub app: AppId,
    pub action: ActionId,
    /// As the user wrote it.
    pub target: Option<String>,
    pub permission: Permission,
    pub expires: Option<Instant>,
    pub hours: Option<PlainHours>,
    /// Its schedule has no budget left.
    pub used_up: bool,
    /// `None`: waits for the next run.
    pub runs: Option<Vec<RunId>>,
    pub spent: bool,
}

/// When a grant holds: on these days (0 is Monday), from one minute of the day to another, until that second.
#[derive(Clone, Debug)]
pub struct PlainHours {
    pub days: Vec<u64>,
    pub from: u64,
    pub to: u64,
    pub until: Option<u64>,
}

/// The instant at which the wall clock said so many seconds, and local time was so many minutes ahead of UTC.
#[derive(Clone, Copy, Debug)]
pub struct PlainClock {
    pub at: Instant,
    pub wall: WallTime,
    pub ahead: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRule {
    Allow,
    Refuse,
    SessionOnly,
}

/// The whole state.
#[derive(Clone, Debug)]
pub struct World {
    /// Maximum by action and column; absent is no.
    pub table: Vec<(ActionId, Trust, Permission)>,
    /// The group of every action.
    pub groups: Vec<(ActionId, String)>,
    pub tokens: TokenRule,
    pub listeners: Vec<SocketAddr>,
    pub device: Vec<IpAddr>,
    pub live: Vec<(RunId, AppId)>,
    pub clock: Option<PlainClock>,
    pub grants: Vec<Plain>,
}

#[derive(Clone, Debug)]
pub enum Where {
    Nowhere,
    Name(DomainName, u16),
    Resolved(DomainName, u16, Vec<IpAddr>),
    Address(IpAddr, u16),
}

#[derive(Clone, Debug)]
pub struct Question {
    pub app: AppId,
    pub trust: Trust,
    /// The names of the groups that the certificates leave; `None`: they restrict nothing.
    pub groups: Option<Vec<String>>,
    pub legacy: bool,
    pub suspended: bool,
    /// Id, whether by token, whether ended.
    pub run: Option<(RunId, bool, bool)>,
    pub action: ActionId,
    pub target: Where,
    pub now: Instant,
}

/// The answer: grant and mask, or near miss, or reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Allow { grant: GrantId, permission: Permission, single: bool, mask: u64 },
    Ask { near_miss: Option<(GrantId, Reason)> },
    Refuse { reason: Reason, near_miss: Option<(GrantId, Reason)> },
}

impl World {
    pub fn give(&mut self, mut grant: Plain) {
        let live: Vec<RunId> = self.live.iter().filter(|(_, a)| *a == grant.app).map(|(r, _)| *r).collect();
        grant.runs = (!live.is_empty()).then_some(live);
        self.grants.retain(|g| g.id != grant.id);
        self.grants.push(grant);
    }

    pub fn start(&mut self, app: &AppId, run: RunId) {
        self.live.push((run, app.clone()));
        for grant in self.grants.iter_mut().filter(|g| g.app == *app && g.permission == Permission::Session) {
            grant.runs.get_or_insert_with(|| vec![run]);
        }
    }

    /// The grants that go with the run.
    pub fn end(&mut self, run: RunId) -> Vec<GrantId> {
        self.live.retain(|(r, _)| *r != run);
        let mut gone = Vec::new();
        self.grants.retain_mut(|grant| {
            if grant.permission != Permission::Session {
                return true;
            }
            let Some(runs) = &mut grant.runs else { return true };
            runs.retain(|r| *r != run);
            if runs.is_empty() {
                gone.push(grant.id);
            }
            !runs.is_empty()
        });
        gone
    }

    pub fn decide(&self, q: &Question) -> Answer {
        let refuse = |reason| Answer::Refuse { reason, near_miss: None };
        if let Some((_, _, true)) = q.run {
            return refuse(Reason::RunEnded);
        }
        if q.suspended {
            return refuse(Reason::AppSuspended);
        }
        let by_token = matches!(q.run, Some((_, true, _)));
        if by_token && self.tokens == TokenRule::Refuse {
            return refuse(Reason::TokenRunRefused);
        }
        let Some(maximum) = self.maximum(q.action, q.trust) else {
            return refuse(if q.trust == Trust::Untrusted {
                Reason::UntrustedApp
            } else {
                Reason::ForbiddenToDomain
            });
        };
        if let Some(left) = &q.groups
            && !self.groups.iter().any(|(action, group)| *action == q.action && left.contains(group))
        {
            return refuse(Reason::RestrictedByCertificate);
        }
        match &q.target {
            Where::Address(address, port) if self.is_listener(*address, *port) => {
                return refuse(Reason::OwnAddress);
            }
            Where::Resolved(_, _, addresses) if addresses.is_empty() => {
                return refuse(Reason::NameUnresolvable);
            }
            Where::Resolved(_, port, addresses) if addresses.iter().all(|a| self.is_listener(*a, *port)) => {
                return refuse(Reason::OwnAddress);
            }
            _ => {}
        }

        let candidates: Vec<&Plain> = self
            .grants
            .iter()
            .filter(|g| g.app == q.app && g.action == q.action && g.permission <= maximum && !g.spent)
            .filter(|g| {
                !(by_token && self.tokens == TokenRule::SessionOnly && g.permission == Permission::Blanket)
            })
            .filter(|g| !(q.legacy && g.permission == Permission::Blanket))
            .filter(|g| match (g.permission, &g.runs, q.run) {
                (Permission::Session, None, None) => true,
                (Permission::Session, Some(runs), Some((run, _, _))) => runs.contains(&run),
                (Permission::Session, _, _) => false,
                _ => true,
            })
            .collect();
        let expired = |g: &Plain| g.expires.is_some_and(|end| q.now >= end);
        let shut = |g: &Plain| match self.hours(g, q.now) {
            Some(Hour::Out) => Some(Reason::OutsideHours),
            Some(Hour::In) if g.used_up => Some(Reason::BudgetUsedUp),
            _ => None,
        };
        let knows = |g: &Plain| g.hours.is_none() || self.hours(g, q.now).is_some();
        let usable: Vec<&Plain> =
            candidates.iter().copied().filter(|g| knows(g) && shut(g).is_none()).collect();
        let live = |g: &&&Plain| {
            g.expires.is_none_or(|end| q.now < end) && !matches!(self.hours(g, q.now), Some(Hour::Past))
        };
        let covering: Vec<&Plain> =
            usable.iter().copied().filter(|g| self.covers(g, &q.target) == Fit::Covers).collect();

        if let Some(best) = best(covering.iter().filter(live)) {
            let single = best.permission == Permission::SingleAction && !matches!(q.target, Where::Name(..));
            let mask = self.mask(best, &q.target);
            return Answer::Allow { grant: best.id, permission: best.permission, single, mask };
        }
        let inward = usable.iter().filter(|g| self.covers(g, &q.target) == Fit::Inward).filter(live);
        if let Some(near) = best(inward) {
            let reason = Reason::AddressNotPublic;
            return Answer::Refuse { reason, near_miss: Some((near.id, reason)) };
        }
        if let Some(near) = best(covering.iter()) {
            return Answer::Ask { near_miss: Some((near.id, Reason::PermissionExpired)) };
        }
        let later: Vec<&Plain> = candidates
            .iter()
            .copied()
            .filter(|g| shut(g).is_some() && !expired(g) && self.covers(g, &q.target) == Fit::Covers)
            .collect();
        if let Some(near) = best(later.iter()) {
            return Answer::Ask { near_miss: shut(near).map(|reason| (near.id, reason)) };
        }
        let elsewhere = best(usable.iter().filter(live));
        Answer::Ask { near_miss: elsewhere.map(|g| (g.id, Reason::TargetOutOfScope)) }
    }

    /// Where the moment lies; none where nothing says.
    fn hours(&self, grant: &Plain, now: Instant) -> Option<Hour> {
        let (hours, clock) = (grant.hours.as_ref()?, self.clock?);
        let passed = (i128::from(now.as_nanos()) - i128::from(clock.at.as_nanos())) / 1_000_000;
        let wall = (i128::from(clock.wall.as_millis()) + passed).max(0);
        if hours.until.is_some_and(|until| wall >= i128::from(until) * 1000) {
            return Some(Hour::Past);
        }
        let local = wall / 60_000 + i128::from(clock.ahead);
        // Walk to the day, from a Monday before the epoch, which was a Thursday.
        let (mut day_start, mut day) = (-10 * 1440, 0);
        while day_start + 1440 <= local {
            day_start += 1440;
            day = (day + 1) % 7;
        }
        let minute = local - day_start;
        let inside =
            hours.days.contains(&day) && i128::from(hours.from) <= minute && minute < i128::from(hours.to);
        Some(if inside { Hour::In } else { Hour::Out })
    }

    fn maximum(&self, action: ActionId, trust: Trust) -> Option<Permission> {
        self.table.iter().find(|(a, t, _)| *a == action && *t == trust).map(|(_, _, maximum)| *maximum)
    }

    fn covers(&self, grant: &Plain, target: &Where) -> Fit {
        let (name, port, addresses) = match target {
            Where::Nowhere => return if grant.target.is_none() { Fit::Covers } else { Fit::Misses },
            Where::Name(name, port) => (Some(name.as_str()), *port, None),
            Where::Resolved(name, port, addresses) => (Some(name.as_str()), *port, Some(addresses.clone())),
            Where::Address(address, port) => (None, *port, Some(vec![*address])),
        };
        let pattern = grant.target.as_deref().map(Pattern::read);
        if pattern.as_ref().and_then(|p| p.port).is_some_and(|p| p != port) {
            return Fit::Misses;
        }
        let by_name = match pattern.as_ref().map(|p| &p.host) {
            Some(Hosts::Network(net, length)) => {
                let Some(addresses) = addresses else { return Fit::Covers };
                let fits = |a: &IpAddr| {
                    !self.is_listener(*a, port) && within(*a, *net, *length) && names(*a, *length)
                };
                return if addresses.iter().all(fits) { Fit::Covers } else { Fit::Misses };
            }
            None => true,
            Some(Hosts::Name(own)) => name == Some(own.as_str()),
            Some(Hosts::Below(domain)) => name.is_some_and(|n| n.ends_with(&format!(".{domain}"))),
        };
        match addresses {
            _ if !by_name => Fit::Misses,
            None => Fit::Covers,
            Some(list) if list.iter().take(64).any(|a| self.is_public(*a, port)) => Fit::Covers,
            Some(_) => Fit::Inward,
        }
    }

    fn mask(&self, grant: &Plain, target: &Where) -> u64 {
        let (port, addresses) = match target {
            Where::Nowhere | Where::Name(..) => return 0,
            Where::Resolved(_, port, addresses) => (*port, addresses.clone()),
            Where::Address(address, port) => (*port, vec![*address]),
        };
        let by_address =
            matches!(grant.target.as_deref().map(Pattern::read).map(|p| p.host), Some(Hosts::Network(..)));
        let mut mask = 0;
        for (n, address) in addresses.iter().enumerate().take(64) {
            if by_address || self.is_public(*address, port) {
                mask |= 1 << n;
            }
        }
        mask
    }

    fn is_listener(&self, address: IpAddr, port: u16) -> bool {
        let here = |a: IpAddr| a.is_loopback() || self.device.iter().any(|d| unwrapped(*d) == a);
        let address = unwrapped(address);
        self.listeners.iter().any(|listener| {
            let own = unwrapped(listener.ip());
            listener.port() == port
                && (address == own || address.is_unspecified() || (own.is_unspecified() && here(address)))
        })
    }

    fn is_public(&self, address: IpAddr, port: u16) -> bool {
        global(address)
            && !self.device.iter().any(|d| unwrapped(*d) == address)
            && !self.is_listener(address, port)
    }
}

enum Hour {
    In,
    Out,
    Past,
}

#[derive(PartialEq, Eq)]
enum Fit {
    Covers,
    /// Would cover, were the address public.
    Inward,
    Misses,
}

/// Wider first, then at any time, then longer, then older.
fn best<'a>(grants: impl Iterator<Item = &'a &'a Plain>) -> Option<&'a Plain> {
    let rank = |g: &&&Plain| {
        let ends = g.expires.map_or(u64::MAX, Instant::as_nanos);
        (Reverse(g.permission), g.hours.is_some(), Reverse(ends), g.id)
    };
    grants.min_by_key(rank).copied()
}

struct Pattern {
    host: Hosts,
    port: Option<u16>,
}

enum Hosts {
    Name(String),
    Below(String),
    Network(IpAddr, u32),
}

impl Pattern {
    /// Reads what the generators write: IPv6 always in brackets.
    fn read(text: &str) -> Self {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().unwrap())),
            _ => (text, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let (start, length) =
            bare.split_once('/').map_or((bare, None), |(a, l)| (a, Some(l.parse().unwrap())));
        let host = match start.parse::<IpAddr>() {
            Ok(address) => {
                Hosts::Network(address, length.unwrap_or(if address.is_ipv4() { 32 } else { 128 }))
            }
            Err(_) => match host.strip_prefix("*.") {
                Some(domain) => Hosts::Below(domain.to_owned()),
                None => Hosts::Name(host.to_owned()),
            },
        };
        Self { host, port }
    }
}

fn in_bits(address: IpAddr) -> Vec<bool> {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    octets.iter().flat_map(|octet| (0..8).rev().map(move |n| octet >> n & 1 == 1)).collect()
}

fn within(address: IpAddr, net: IpAddr, length: u32) -> bool {
    address.is_ipv4() == net.is_ipv4()
        && in_bits(address).iter().zip(in_bits(net)).take(length as usize).all(|(a, b)| *a == b)
}

fn inside(address: IpAddr, block: &str) -> bool {
    let (net, length) = block.split_once('/').unwrap();
    within(address, net.parse().unwrap(), length.parse().unwrap())
}

/// IPv4 that hides in IPv6, as far as the kernel or the well-known translator sees it.
fn unwrapped(address: IpAddr) -> IpAddr {
    let hides = ["::ffff:0:0/96", "64:ff9b::/96", "::/96"].iter().any(|block| inside(address, block));
    match address {
        IpAddr::V6(v6) if hides && !v6.is_loopback() && !v6.is_unspecified() => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::from([a, b, c, d])
        }
        _ => address,
    }
}

/// Whether a prefix of that length is long enough to mean a wrapped address.
fn names(address: IpAddr, length: u32) -> bool {
    let own = address.is_loopback() || address.is_unspecified();
    let blocks = [
        ("::/96", 96),
        ("::ffff:0:0/96", 96),
        ("64:ff9b::/96", 96),
        ("64:ff9b:1::/48", 48),
        ("2001::/32", 32),
        ("2002::/16", 16),
    ];
    own || blocks.iter().all(|(block, least)| !inside(address, block) || length >= *least)
}

/// Whether an address is global unicast: in none of the blocks that the registries set aside.
pub fn global(address: IpAddr) -> bool {
    const SPECIAL: [&str; 39] = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "0000::/8",
        "0100::/8",
        "0200::/7",
        "0400::/6",
        "0800::/5",
        "1000::/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "4000::/3",
        "6000::/3",
        "8000::/3",
        "a000::/3",
        "c000::/3",
        "e000::/4",
        "f000::/5",
        "f800::/6",
        "fc00::/7",
        "fe00::/9",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ];
    !SPECIAL.iter().any(|block| inside(address, block))
}
