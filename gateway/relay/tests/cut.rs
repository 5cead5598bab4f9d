//! Taking a lease back: at every stage of a flow it ends the flow at once, and no byte follows. How long it takes is
//! printed, not judged, beyond what no machine could excuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]
#![allow(unreachable_pub, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Flow, connection, keys, ledger, options, receive_counted, send, since, stream_at};
use mexe_model::{BitRate, GrantId, Reason, RunId};
use mexe_qos::Meter;
use mexe_relay::{Early, End, Key, LeaseHandle, Limits, Options, Strategy, clock, relay};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};

const STRATEGIES: [Strategy; 3] = [Strategy::Auto, Strategy::Copy, Strategy::Splice];
const SANE: Duration = Duration::from_secs(2);

fn is_reset(result: std::io::Result<()>) -> bool {
    result.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

async fn reset(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    is_reset(stream.read_u8().await.map(drop))
}

/// Waits until bytes have moved and, because nobody reads, move no more.
async fn stuck(handle: &LeaseHandle, moved: fn(&LeaseHandle) -> u64) {
    let mut before = 0;
    while before == 0 || before != moved(handle) {
        before = moved(handle);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_quiet_flow_is_cut_on_both_sides() {
    for strategy in STRATEGIES {
        let mut flow = Flow::start(Options { strategy, ..options() }).await;
        flow.app.write_u8(1).await.unwrap();
        flow.server.read_u8().await.unwrap();
        let start = clock::now();
        assert_eq!(flow.leases.revoke(&Key::Run(RunId(1)), Reason::RunEnded).leases, 1);
        assert!(reset(&mut flow.server).await && reset(&mut flow.app).await, "{strategy:?}");
        assert!(since(start) < SANE);
        let (outcome, closed) = flow.outcome().await;
        assert_eq!(outcome.end, End::Cut(Reason::RunEnded));
        assert_eq!(closed.reason, Some(Reason::RunEnded));
    }
}

#[tokio::test]
async fn a_lease_taken_back_before_the_relay_lets_no_byte_through() {
    let (leases, _) = ledger();
    let ((mut app, client), (upstream, mut server)) = tokio::join!(connection(), connection());
    let mut lease = leases.open(keys(1), 0, clock::now());
    app.write_all(b"already there").await.unwrap();
    leases.revoke(&Key::Grant(GrantId(1)), Reason::PermissionRevoked);
    let early = Early { up: b"early".to_vec(), down: b"early".to_vec() };
    let outcome = relay::run(client, upstream, &mut lease, Options { early, ..options() }).await;
    assert_eq!((outcome.bytes_up, outcome.bytes_down), (0, 0));
    assert_eq!(outcome.end, End::Cut(Reason::PermissionRevoked));
    assert!(reset(&mut server).await && reset(&mut app).await);
}

#[tokio::test]
async fn what_was_read_and_not_handed_on_is_counted() {
    for strategy in STRATEGIES {
        let slow = || Some(Meter::new(BitRate::bits_per_second(8).unwrap(), 1500, clock::now()).into());
        let limits = Limits { up: slow(), down: slow(), allowance: None };
        let early = Early { up: vec![1; 4000], down: vec![1; 1700] };
        let mut flow = Flow::start(Options { strategy, limits, early, ..options() }).await;
        flow.server.read_exact(&mut [0; 1500]).await.unwrap();
        flow.app.read_exact(&mut [0; 1500]).await.unwrap();
        let handle = flow.handle.clone();
        assert_eq!((handle.dropped_up(), handle.dropped_down()), (0, 0));
        flow.leases.revoke(&Key::All, Reason::PermissionExpired);
        let (outcome, _) = flow.outcome().await;
        assert_eq!((outcome.bytes_up, outcome.bytes_down), (1500, 1500));
        assert_eq!((handle.dropped_up(), handle.dropped_down()), (2500, 200), "{strategy:?}");
    }
}

#[tokio::test]
async fn a_flow_that_one_side_has_finished_is_cut() {
    for strategy in STRATEGIES {
        let mut flow = Flow::start(Options { strategy, ..options() }).await;
        flow.app.shutdown().await.unwrap();
        assert_eq!(flow.server.read(&mut [0; 8]).await.unwrap(), 0);
        flow.leases.revoke(&Key::All, Reason::GateStopping);
        // The server has seen the end of the app's bytes already; its own next byte meets the reset.
        assert_eq!(flow.task.await.unwrap().end, End::Cut(Reason::GateStopping));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(flow.server.write_u8(1).await.is_err());
    }
}

#[tokio::test]
async fn a_flow_that_waits_for_its_meter_is_cut() {
    for strategy in STRATEGIES {
        let slow = || Some(Meter::new(BitRate::bits_per_second(8).unwrap(), 1500, clock::now()).into());
        let limits = Limits { up: slow(), down: slow(), allowance: None };
        let mut flow = Flow::start(Options { strategy, limits, ..options() }).await;
        flow.app.write_all(&[1; 4000]).await.unwrap();
        flow.server.write_all(&[1; 4000]).await.unwrap();
        flow.server.read_exact(&mut [0; 1500]).await.unwrap();
        flow.app.read_exact(&mut [0; 1500]).await.unwrap();
        let start = clock::now();
        flow.leases.revoke(&Key::All, Reason::PermissionExpired);
        assert!(reset(&mut flow.server).await && reset(&mut flow.app).await);
        assert!(since(start) < SANE);
        let (outcome, _) = flow.outcome().await;
        assert_eq!((outcome.bytes_up, outcome.bytes_down), (1500, 1500));
        assert_eq!(outcome.end, End::Cut(Reason::PermissionExpired));
    }
}

#[tokio::test]
async fn a_flow_whose_two_directions_are_stuck_in_full_queues_is_cut() {
    for strategy in STRATEGIES {
        let flow = Flow::start(Options { strategy, ..options() }).await;
        let ((mut app_read, mut app_write), (mut server_read, mut server_write)) =
            (flow.app.into_split(), flow.server.into_split());
        let writers = [
            tokio::spawn(async move { send(&mut app_write, 1 << 40).await }),
            tokio::spawn(async move { send(&mut server_write, 1 << 40).await }),
        ];
        stuck(&flow.handle, |handle| handle.bytes_up()).await;
        stuck(&flow.handle, |handle| handle.bytes_down()).await;
        let start = clock::now();
        flow.leases.revoke(&Key::All, Reason::AppRemoved);
        let outcome = flow.task.await.unwrap();
        println!("{strategy:?}: cut after {:?} with full queues both ways", since(start));
        assert!(since(start) < SANE);
        assert_eq!(outcome.end, End::Cut(Reason::AppRemoved));
        let nothing = AtomicU64::new(0);
        let (up, end_up) = receive_counted(&mut server_read, &nothing).await;
        let (down, end_down) = receive_counted(&mut app_read, &nothing).await;
        assert!(is_reset(end_up) && is_reset(end_down));
        assert!(up < outcome.bytes_up, "the upstream queue was thrown away: {up} of {}", outcome.bytes_up);
        assert!(down < outcome.bytes_down, "the client queue was thrown away");
        for writer in writers {
            assert!(writer.await.unwrap() < 1 << 40);
        }
    }
}

#[tokio::test]
async fn a_finished_flow_whose_last_bytes_still_wait_in_the_kernel_is_cut() {
    let flow = Flow::start(options()).await;
    let (mut app, mut server) = (flow.app, flow.server);
    SockRef::from(&server).set_recv_buffer_size(64 * 1024).unwrap();
    server.shutdown().await.unwrap();
    send(&mut app, 1_000_000).await;
    app.shutdown().await.unwrap();
    while flow.handle.bytes_up() < 1_000_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(flow.leases.revoke(&Key::All, Reason::PermissionRevoked).leases, 1);
    assert_eq!(flow.task.await.unwrap().end, End::Cut(Reason::PermissionRevoked));
    let (received, end) = receive_counted(&mut server, &AtomicU64::new(0)).await;
    assert!(is_reset(end) && received < 1_000_000, "{received}");
}

#[tokio::test]
async fn a_flow_that_is_given_up_sends_nothing_more() {
    let flow = Flow::start(options()).await;
    let (mut app, mut server) = (flow.app, flow.server);
    let writer = tokio::spawn(async move { send(&mut app, 1 << 40).await });
    stuck(&flow.handle, |handle| handle.bytes_up()).await;
    flow.task.abort();
    assert!(flow.task.await.unwrap_err().is_cancelled());
    let (received, end) = receive_counted(&mut server, &AtomicU64::new(0)).await;
    assert!(is_reset(end) && received < flow.handle.bytes_up(), "{received}");
    assert!(flow.leases.is_empty());
    assert!(writer.await.unwrap() < 1 << 40);
}

#[tokio::test]
async fn a_socket_that_is_not_relayed_yet_can_be_cut() {
    let (mut near, far) = connection().await;
    relay::cut(far);
    assert!(reset(&mut near).await);
}

/// A stream of a gigabyte to a receiver that takes about 10 Mbit/s, so that the gate's send queue is full; then the lease
/// is taken back. The receiver must see the reset, and nothing of the queue.
async fn cut_a_full_upload(strategy: Strategy) -> (Duration, u64) {
    let flow = Flow::start(Options { strategy, ..options() }).await;
    let (mut app, mut server) = (flow.app, flow.server);
    // Room for 64 KiB at the receiver: what is more waits in the gate.
    SockRef::from(&server).set_recv_buffer_size(64 * 1024).unwrap();
    let writer = tokio::spawn(async move { send(&mut app, 1 << 30).await });
    let mut buffer = vec![0; 12_500];
    let mut received = 0;
    for _ in 0..10 {
        let n = server.read(&mut buffer).await.unwrap();
        assert!(&buffer[..n] == stream_at(received, n));
        received += n as u64;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let revoked_at = clock::now();
    assert_eq!(flow.leases.revoke(&Key::Grant(GrantId(1)), Reason::PermissionRevoked).leases, 1);
    // The receiver's kernel has the reset, before the receiver reads on.
    assert!(server.ready(Interest::ERROR).await.unwrap().is_error());
    let took = since(revoked_at);
    // All that still comes is what the receiver's kernel had before.
    let end = loop {
        match server.read(&mut buffer).await {
            Ok(0) => panic!("a cut is not a clean end"),
            Ok(n) => {
                assert!(&buffer[..n] == stream_at(received, n));
                received += n as u64;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    let outcome = flow.task.await.unwrap();
    assert_eq!(outcome.end, End::Cut(Reason::PermissionRevoked));
    assert!(received < outcome.bytes_up, "the queue was thrown away: {received} of {}", outcome.bytes_up);
    let queued = outcome.bytes_up - received;
    assert!(writer.await.unwrap() < 1 << 30);
    (took, queued)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_upload_is_cut_at_the_receiver_and_its_queue_never_arrives() {
    for strategy in [Strategy::Auto, Strategy::Copy] {
        let mut times = Vec::new();
        let mut least_queued = u64::MAX;
        for _ in 0..24 {
            let (took, queued) = cut_a_full_upload(strategy).await;
            assert!(took < SANE, "{took:?}");
            times.push(took);
            least_queued = least_queued.min(queued);
        }
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{strategy:?}: reset at the receiver after {median:?} (median), {worst:?} (worst of 24)");
        println!("{strategy:?}: at least {least_queued} queued bytes were thrown away");
        assert!(least_queued > 100_000, "the send queue was full when the lease was taken back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_at_full_speed_is_cut() {
    for strategy in STRATEGIES {
        let flow = Flow::start(Options { strategy, ..options() }).await;
        let (mut app, mut server) = (flow.app, flow.server);
        let counted = Arc::new(AtomicU64::new(0));
        let watched = Arc::clone(&counted);
        let writer = tokio::spawn(async move { send(&mut server, 1 << 40).await });
        let reader = tokio::spawn(async move { receive_counted(&mut app, &counted).await });
        while watched.load(Ordering::Relaxed) < 20_000_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let start = clock::now();
        flow.leases.revoke(&Key::All, Reason::AppSuspended);
        let outcome = flow.task.await.unwrap();
        println!("{strategy:?}: cut at full speed after {:?}", since(start));
        assert!(since(start) < SANE);
        assert_eq!(outcome.end, End::Cut(Reason::AppSuspended));
        let (received, end) = reader.await.unwrap();
        assert!(is_reset(end) && received <= outcome.bytes_down);
        assert!(writer.await.unwrap() < 1 << 40);
    }
}
