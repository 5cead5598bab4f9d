//! Keeps the policy's idea of the hours and budgets true: it knows the local time, grants end with their hours and their
//! budgets, and flows under them are cut. Looks once a minute, at the next end, and when the clock is set.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mexe_journal::Record;
use mexe_model::{Reason, WallTime};
use mexe_policy::schedule::Shut;
use mexe_policy::{LocalClock, LocalTime};
use mexe_relay::{Key, Revoked};
use serde_json::json;

use super::minute::WallTimer;
use super::signed::{Signed, reason};
use super::used;
use crate::clock;
use crate::gate::{Changing, Gate};

const MINUTE: u64 = 60_000;
/// How often what nobody uses is looked for.
const IDLE_LOOK: Duration = Duration::from_secs(59);
/// A clock that somebody sets is looked at again after this time.
const SET: Duration = Duration::from_millis(20);
/// A clock that is steered is off by less than this between two looks.
const STEERED: u64 = 250;
/// A decision that began just before an end is over so long after it.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// Keeps schedules as long as the gate runs.
pub async fn keep(gate: Arc<Gate>) {
    let timer = WallTimer::new();
    let mut idle_looked = clock::now();
    loop {
        let changed = gate.grants_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let next = if gate.schedules.all().is_empty() {
            None
        } else {
            if needs_look(&gate) {
                let changing = gate.change().await;
                take_up(&gate, &changing).await;
            }
            refill(&gate).await;
            if clock::now().since(idle_looked) >= IDLE_LOOK {
                give_back(&gate).await;
                idle_looked = clock::now();
            }
            Some(next_look(&gate))
        };
        let low = &gate.schedules.low;
        let look = async {
            match next {
                None => std::future::pending().await,
                Some(next) => {
                    let left = next.as_millis().saturating_sub(clock::wall().as_millis());
                    tokio::select! {
                        // A clock that was set, or a device that slept, does not make this late.
                        () = timer.until(next) => {}
                        () = tokio::time::sleep(Duration::from_millis(left)) => {}
                    }
                    if clock::wall() < next {
                        tokio::time::sleep(SET).await;
                    }
                }
            }
        };
        tokio::select! {
            () = gate.stopped() => return,
            () = changed => {}
            () = low.notified() => {}
            () = look => {}
        }
    }
}

/// When something can be different next, if the clock goes on as it does.
fn next_look(gate: &Gate) -> WallTime {
    let wall = clock::wall().as_millis();
    let minute = (wall / MINUTE + 1) * MINUTE;
    let now = clock::now();
    let closing = gate.policy().next_closing(now).map(|at| wall_after(wall, at.since(now)));
    let recent = clock::now().since(gate.last_cut()) < AFTERWARDS;
    let again = recent.then(|| wall_after(wall, AFTERWARDS));
    WallTime::from_millis([closing, again].into_iter().flatten().fold(minute, u64::min))
}

fn wall_after(wall: u64, later: Duration) -> u64 {
    // What is left of a millisecond belongs to the time before.
    wall.saturating_add(u64::try_from(later.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
}

/// What a schedule is now.
fn state(signed: &Signed, now: LocalTime, suspect: bool) -> Option<Reason> {
    if suspect {
        return Some(Reason::ClockSuspect);
    }
    signed.left(now).err().map(reason)
}

fn known(signed: &Signed) -> Option<Shut> {
    *signed.known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the policy should be told of the clock; the inner `None` is that it is not to be relied on.
fn clock_change(gate: &Gate) -> Option<Option<LocalClock>> {
    let (at, says) = (clock::now(), clock::local());
    let known = gate.policy().clock();
    if gate.clock_holds().is_err() {
        return known.is_some().then_some(None);
    }
    let read = known.map(|known| known.read(at));
    let is_right = read.is_some_and(|read| {
        read.offset == says.offset && read.wall.as_millis().abs_diff(says.wall.as_millis()) < STEERED
    });
    (!is_right).then_some(Some(LocalClock { at, says }))
}

fn needs_look(gate: &Gate) -> bool {
    let (now, suspect) = (clock::local(), gate.clock_holds().is_err());
    clock_change(gate).is_some()
        || gate.schedules.all().iter().any(|signed| {
            let shut = signed.left(now).err();
            // What is shut is looked at again: somebody may have come in with the end.
            suspect || shut != known(signed) || shut.is_some_and(|shut| shut != Shut::BudgetUsedUp)
        })
}

/// Tells the policy what the clock says and which budgets are used up, and cuts what is permitted no longer.
pub(super) async fn take_up(gate: &Gate, changing: &Changing<'_>) {
    let clock_change = clock_change(gate);
    let (now, suspect) = (clock::local(), gate.clock_holds().is_err());
    let (mut flipped, mut ended) = (Vec::new(), Vec::new());
    for signed in gate.schedules.all() {
        let shut = signed.left(now).err();
        let before =
            std::mem::replace(&mut *signed.known.lock().unwrap_or_else(PoisonError::into_inner), shut);
        let is_used_up = shut == Some(Shut::BudgetUsedUp);
        let policy = gate.policy();
        let grants = signed.grants.iter().filter_map(|id| policy.grant(*id));
        let differ = grants.filter(|grant| grant.is_used_up() != is_used_up);
        flipped.extend(differ.map(|grant| if is_used_up { grant.used_up() } else { grant.replenished() }));
        match state(&signed, now, suspect) {
            None => signed.replenish(now),
            // What moves under a budget ends with its last byte, and not what was done by its last performance.
            Some(Reason::BudgetUsedUp) => {}
            Some(reason) => ended.push((Arc::clone(&signed), reason, before != shut)),
        }
    }
    if clock_change.is_some() || !flipped.is_empty() {
        changing.policy(|policy| {
            let policy = match clock_change {
                Some(clock) => policy.with_clock(clock),
                None => policy.clone(),
            };
            policy.with_grants(flipped.clone())
        });
    }
    for (signed, reason, is_new) in ended {
        let cut = |key: &Key| if is_new { gate.cut(key, reason) } else { gate.leases.revoke(key, reason) };
        let cut: Revoked = signed.grants.iter().map(|grant| cut(&Key::Grant(*grant))).sum();
        if cut.leases > 0 {
            tracing::info!(schedule = signed.schedule.name(), %reason, cut = cut.flows, "a schedule's time is over");
        }
    }
}

/// A schedule said no: the policy may not know yet.
pub async fn settle(gate: &Gate) {
    let changing = gate.change().await;
    take_up(gate, &changing).await;
}

/// Sets more bytes aside where flows have nearly used up what there was.
async fn refill(gate: &Gate) {
    for signed in gate.schedules.all() {
        let is_low = signed.allowance.as_ref().is_some_and(|allowance| allowance.is_low());
        if !is_low || !signed.in_use.load(Ordering::Acquire) {
            continue;
        }
        let _writing = signed.writing.lock().await;
        let part = signed.set_aside(clock::local());
        if part.bytes == 0 || write(gate, &signed, &json!({ "set_aside": part.bytes })).await {
            signed.put(part);
        }
    }
}

/// Gives back what was set aside where no flow is left to use it.
pub async fn give_back(gate: &Gate) {
    let in_use = |signed: &Arc<Signed>| signed.in_use.load(Ordering::Acquire);
    for signed in gate.schedules.all().into_iter().filter(in_use) {
        let _writing = signed.writing.lock().await;
        let rests = |keys: mexe_relay::LeaseKeys| {
            [keys.grant, keys.qos_grant].into_iter().flatten().any(|grant| signed.grants.contains(&grant))
        };
        if gate.leases.list().iter().any(|lease| rests(lease.keys())) {
            continue;
        }
        signed.in_use.store(false, Ordering::Release);
        let unused = signed.take_out();
        if unused > 0 {
            write(gate, &signed, &json!({ "given_back": unused })).await;
        }
    }
}

async fn write(gate: &Gate, signed: &Signed, what: &serde_json::Value) -> bool {
    let record = Record {
        app: Some(signed.schedule.app().clone()),
        detail: Some(json!({
            "schedule": signed.schedule.name(),
            "bytes": what,
            "used": signed.usage(),
        })),
        ..Record::change(clock::wall(), "schedule.use")
    };
    let written = gate.journal.change(used::change(signed), record).await;
    if let Err(error) = &written {
        tracing::warn!(%error, schedule = signed.schedule.name(), "the use of a schedule could not be written down");
    }
    written.is_ok()
}
