//! Every interleaving of a revoke with a flow that opens, checked by loom. Run with
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=/tmp/loom-target cargo test -p mexe-relay --lib --release loom`.

use std::task::Poll;

use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use mexe_model::{FlowId, GrantId, Instant, Reason, RunId};

use crate::cancel::Cancel;
use crate::{Key, LeaseKeys, Leases};

fn keys(grant: u64) -> LeaseKeys {
    let app = "app".parse().expect("an app id");
    LeaseKeys {
        flow: FlowId(1),
        run: RunId(1),
        app,
        grant: Some(GrantId(grant)),
        qos_grant: None,
        root: None,
    }
}

/// The policy as a flow sees it: an epoch, and the grant that allows the flow, if one does.
#[derive(Clone, Copy)]
struct Policy {
    epoch: u64,
    grant: Option<u64>,
}

/// The service's own loop: decide, open, connect, and decide again until the policy stands still.
fn open_a_flow(policy: &Mutex<Policy>, leases: &Leases) -> Option<crate::Lease> {
    let decided = *policy.lock().expect("a lock");
    let mut lease = leases.open(keys(decided.grant?), decided.epoch, Instant::default());
    thread::yield_now(); // connecting
    loop {
        if lease.cancel_reason().is_some() {
            return None;
        }
        let current = *policy.lock().expect("a lock");
        if lease.still_valid(current.epoch) {
            return Some(lease);
        }
        lease.renew_under(current.epoch, Some(GrantId(current.grant?)), None);
    }
}

#[test]
fn loom_no_flow_stays_open_after_a_revoke_returned() {
    loom::model(|| {
        let policy = Arc::new(Mutex::new(Policy { epoch: 0, grant: Some(1) }));
        let leases = Leases::new(|_| {});
        let returned = Arc::new(AtomicBool::new(false));
        let revoker = {
            let (policy, leases, returned) = (policy.clone(), leases.clone(), returned.clone());
            thread::spawn(move || {
                *policy.lock().expect("a lock") = Policy { epoch: 1, grant: None };
                leases.revoke(&Key::Grant(GrantId(1)), Reason::PermissionRevoked);
                returned.store(true, Ordering::Release);
            })
        };
        if let Some(lease) = open_a_flow(&policy, &leases) {
            // The relay looks before every write; from the return on it must see the revoke.
            if returned.load(Ordering::Acquire) {
                assert_eq!(lease.cancel_reason(), Some(Reason::PermissionRevoked));
            }
            revoker.join().expect("the revoker");
            assert_eq!(lease.cancel_reason(), Some(Reason::PermissionRevoked));
        } else {
            revoker.join().expect("the revoker");
        }
        assert!(leases.is_empty());
    });
}

#[test]
fn loom_a_flow_that_moved_to_another_grant_is_found_under_it() {
    loom::model(|| {
        let policy = Arc::new(Mutex::new(Policy { epoch: 0, grant: Some(1) }));
        let leases = Leases::new(|_| {});
        let revoker = {
            let (policy, leases) = (policy.clone(), leases.clone());
            thread::spawn(move || {
                *policy.lock().expect("a lock") = Policy { epoch: 1, grant: Some(2) };
                leases.revoke(&Key::Grant(GrantId(1)), Reason::PermissionRevoked);
                *policy.lock().expect("a lock") = Policy { epoch: 2, grant: None };
                leases.revoke(&Key::Grant(GrantId(2)), Reason::PermissionRevoked);
            })
        };
        let lease = open_a_flow(&policy, &leases);
        revoker.join().expect("the revoker");
        if let Some(lease) = lease {
            assert_eq!(lease.cancel_reason(), Some(Reason::PermissionRevoked));
        }
    });
}

#[test]
fn loom_a_cancellation_wakes_its_waiter_whenever_it_comes() {
    loom::model(|| {
        let cancel = Arc::new(Cancel::new());
        let canceller = {
            let cancel = cancel.clone();
            thread::spawn(move || cancel.cancel(Reason::RunEnded))
        };
        let reason = block_on(std::future::poll_fn(|cx| match cancel.poll(cx) {
            Poll::Ready(reason) => Poll::Ready(reason),
            Poll::Pending => Poll::Pending,
        }));
        assert_eq!(reason, Reason::RunEnded);
        assert!(canceller.join().expect("the canceller"));
    });
}

#[test]
fn loom_the_first_reason_stays_and_the_totals_come_once() {
    loom::model(|| {
        let closed = Arc::new(AtomicUsize::new(0));
        let leases = {
            let closed = closed.clone();
            Leases::new(move |end| {
                assert!(end.reason.is_none_or(|reason| reason == Reason::RunEnded));
                closed.fetch_add(1, Ordering::Relaxed);
            })
        };
        let lease = leases.open(keys(1), 0, Instant::default());
        let revoker = {
            let leases = leases.clone();
            thread::spawn(move || leases.revoke(&Key::Run(RunId(1)), Reason::RunEnded))
        };
        drop(lease);
        let found = revoker.join().expect("the revoker");
        assert!(found.leases <= 1);
        assert_eq!(closed.load(Ordering::Relaxed), 1);
    });
}
