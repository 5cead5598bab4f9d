//! The ledger: a revoke finds every lease under its key and no other, an end is told once, and a lease costs little.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mexe_model::{FlowId, GrantId, Instant, Reason, RootId, RunId};
use mexe_relay::{Closed, Key, Lease, LeaseKeys, Leases};

fn keys(n: u64) -> LeaseKeys {
    LeaseKeys {
        flow: FlowId(n),
        run: RunId(n / 2),
        app: format!("app-{}", n / 4).parse().unwrap(),
        grant: Some(GrantId(n)),
        qos_grant: Some(GrantId(1000 + n / 2)),
        root: Some(RootId::from_digest(&[u8::try_from(n / 8).unwrap(); 32])),
    }
}

fn eight() -> (Leases, Vec<Lease>, Arc<Mutex<Vec<Closed>>>) {
    let closed = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&closed);
    let leases = Leases::new(move |end| kept.lock().unwrap().push(end));
    let open = (0..16).map(|n| leases.open(keys(n), 1, Instant::from_nanos(n))).collect();
    (leases, open, closed)
}

#[test]
fn a_revoke_takes_every_lease_under_its_key_and_no_other() {
    let cases = [
        (Key::Flow(FlowId(5)), vec![5]),
        (Key::Grant(GrantId(5)), vec![5]),
        (Key::Grant(GrantId(1002)), vec![4, 5]),
        (Key::Run(RunId(2)), vec![4, 5]),
        (Key::App("app-1".parse().unwrap()), vec![4, 5, 6, 7]),
        (Key::Root(RootId::from_digest(&[0; 32])), (0..8).collect()),
        (Key::All, (0..16).collect()),
        (Key::Run(RunId(99)), vec![]),
        (Key::Grant(GrantId(u64::MAX)), vec![]),
    ];
    for (key, expected) in cases {
        let (leases, open, _) = eight();
        assert_eq!(leases.revoke(&key, Reason::PermissionRevoked).leases, expected.len(), "{key:?}");
        for (n, lease) in open.iter().enumerate() {
            let reason = expected.contains(&n).then_some(Reason::PermissionRevoked);
            assert_eq!(lease.cancel_reason(), reason, "{key:?} {n}");
            assert_eq!(lease.still_valid(1), reason.is_none());
        }
        assert_eq!(leases.revoke(&key, Reason::RunEnded).leases, 0, "the first reason stays");
    }
}

#[test]
fn a_grant_that_no_flow_rests_on_finds_none() {
    let leases = Leases::new(|_| {});
    let without =
        leases.open(LeaseKeys { grant: None, qos_grant: None, root: None, ..keys(0) }, 1, Instant::default());
    assert_eq!(leases.revoke(&Key::Grant(GrantId(u64::MAX)), Reason::PermissionRevoked).leases, 0);
    assert_eq!(without.handle().keys().grant, None);
}

#[test]
fn what_is_no_flow_ends_with_its_rights_and_is_not_counted_as_one() {
    let leases = Leases::new(|_| {});
    let (flow, beside) =
        (leases.open(keys(0), 1, Instant::default()), leases.open_beside(keys(1), 1, Instant::default()));
    let revoked = leases.revoke(&Key::Run(RunId(0)), Reason::RunEnded);
    assert_eq!((revoked.leases, revoked.flows), (2, 1));
    assert_eq!([flow.cancel_reason(), beside.cancel_reason()], [Some(Reason::RunEnded); 2]);
}

#[test]
fn an_end_is_told_once_with_its_totals() {
    let (leases, mut open, closed) = eight();
    let lease = open.remove(3);
    let handle = lease.handle();
    lease.count_up(7);
    lease.count_down(9);
    leases.revoke(&Key::Flow(FlowId(3)), Reason::AppRemoved);
    drop(lease);
    let expected = Closed {
        keys: keys(3),
        bytes_up: 7,
        bytes_down: 9,
        opened: Instant::from_nanos(3),
        reason: Some(Reason::AppRemoved),
    };
    assert_eq!(*closed.lock().unwrap(), [expected]);
    assert_eq!((handle.bytes_up(), handle.bytes_down()), (7, 9));
    assert_eq!(leases.len(), 15);
    drop(open);
    assert!(leases.is_empty());
    assert_eq!(closed.lock().unwrap().len(), 16);
}

#[test]
fn two_leases_for_one_flow_are_both_found() {
    let leases = Leases::new(|_| {});
    let (a, b) = (leases.open(keys(1), 1, Instant::default()), leases.open(keys(1), 1, Instant::default()));
    assert_eq!(leases.revoke(&Key::Flow(FlowId(1)), Reason::RunEnded).leases, 2);
    assert!(a.cancel_reason().is_some() && b.cancel_reason().is_some());
}

#[test]
fn a_lease_of_an_older_epoch_is_not_valid_until_it_is_renewed() {
    let (leases, mut open, _) = eight();
    let lease = &mut open[5];
    assert!(lease.still_valid(1) && !lease.still_valid(2));
    lease.renew(2);
    assert!(lease.still_valid(2));
    lease.renew_under(3, Some(GrantId(77)), None);
    assert!(lease.still_valid(3));
    assert_eq!(leases.revoke(&Key::Grant(GrantId(5)), Reason::PermissionRevoked).leases, 0);
    assert_eq!(leases.revoke(&Key::Grant(GrantId(77)), Reason::PermissionRevoked).leases, 1);
    assert!(!open[5].still_valid(3));
}

#[test]
fn open_leases_are_listed_in_the_order_of_opening() {
    let (leases, open, _) = eight();
    let listed: Vec<_> = leases.list().iter().map(|handle| handle.keys()).collect();
    assert_eq!(listed, (0..16).map(keys).collect::<Vec<_>>());
    assert!(leases.list()[0].cancel(Reason::RunEnded));
    assert_eq!(open[0].cancel_reason(), Some(Reason::RunEnded));
}

#[tokio::test]
async fn a_connection_attempt_ends_when_its_lease_is_taken() {
    let (leases, mut open, _) = eight();
    let lease = &mut open[2];
    let revoke = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        leases.revoke(&Key::Flow(FlowId(2)), Reason::RunEnded).leases
    };
    let connect = async {
        tokio::select! {
            reason = lease.cancelled() => reason,
            () = std::future::pending() => unreachable!(),
        }
    };
    assert_eq!(tokio::join!(connect, revoke), (Reason::RunEnded, 1));
    // Waiting again, from another task, is answered at once.
    assert_eq!(open[2].cancelled().await, Reason::RunEnded);
}

#[test]
fn a_handle_does_not_keep_the_task_of_a_flow_that_has_ended() {
    struct Task;
    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let (_leases, mut open, _) = eight();
    let task = Arc::new(Task);
    let waker = Arc::clone(&task).into();
    let mut lease = open.remove(0);
    assert!(lease.poll_cancelled(&std::task::Context::from_waker(&waker)).is_pending());
    let handle = lease.handle();
    drop((lease, waker));
    assert_eq!(Arc::strong_count(&task), 1);
    assert_eq!(handle.cancel_reason(), None);
}

#[test]
fn an_open_lease_takes_less_than_300_bytes() {
    const MANY: u64 = 60_000;
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let leases = Leases::new(|_| {});
    let same = keys(3);
    let mut open = Vec::with_capacity(usize::try_from(MANY).unwrap());
    let before = resident();
    for n in 0..MANY {
        open.push(leases.open(LeaseKeys { flow: FlowId(n), ..same.clone() }, 1, Instant::default()));
    }
    let each = (resident() - before) / usize::try_from(MANY).unwrap();
    println!("an open lease takes {each} bytes, of which {} are the lease itself", size_of::<Lease>());
    assert!(each < 300, "{each}");
    let begin = std::time::Instant::now();
    assert_eq!(leases.revoke(&Key::Run(RunId(99)), Reason::RunEnded).leases, 0);
    println!("a revoke that finds none of {MANY} takes {:?}", begin.elapsed());
}
