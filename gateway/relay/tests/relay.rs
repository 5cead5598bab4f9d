//! What a flow carries: all of it, in order, both ways, however it comes; and how it ends when nobody cuts it.
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

use std::time::Duration;

use common::{Flow, bytes_at, connection, keys, ledger, options, receive, send, since};
use mexe_relay::{Early, End, Options, PipePool, Side, Strategy, clock, relay};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const STRATEGIES: [Strategy; 3] = [Strategy::Auto, Strategy::Copy, Strategy::Splice];

#[tokio::test]
async fn every_byte_arrives_in_order_both_ways_whatever_moves_it() {
    const UP: u64 = 30_000_001;
    const DOWN: u64 = 50_000_003;
    for strategy in STRATEGIES {
        let mut flow = Flow::start(Options { strategy, ..options() }).await;
        let (mut app_read, mut app_write) = flow.app.split();
        let (mut server_read, mut server_write) = flow.server.split();
        let up = async {
            assert_eq!(send(&mut app_write, UP).await, UP);
            app_write.shutdown().await.unwrap();
        };
        let down = async {
            assert_eq!(send(&mut server_write, DOWN).await, DOWN);
            server_write.shutdown().await.unwrap();
        };
        let (_, _, arrived_up, arrived_down) =
            tokio::join!(up, down, receive(&mut server_read), receive(&mut app_read));
        assert_eq!((arrived_up.0, arrived_down.0), (UP, DOWN), "{strategy:?}");
        assert!(arrived_up.1.is_ok() && arrived_down.1.is_ok());
        let (outcome, closed) = flow.outcome().await;
        assert_eq!((outcome.bytes_up, outcome.bytes_down, outcome.end), (UP, DOWN, End::Closed));
        assert_eq!(closed.reason, None);
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_carried_at_once() {
    for strategy in STRATEGIES {
        let mut flow = Flow::start(Options { strategy, ..options() }).await;
        for byte in bytes_at(0, 300) {
            flow.app.write_u8(byte).await.unwrap();
            assert_eq!(flow.server.read_u8().await.unwrap(), byte);
            flow.server.write_u8(!byte).await.unwrap();
            assert_eq!(flow.app.read_u8().await.unwrap(), !byte);
        }
        assert_eq!((flow.handle.bytes_up(), flow.handle.bytes_down()), (300, 300));
    }
}

#[tokio::test]
async fn a_side_that_has_finished_is_told_to_the_other_alone() {
    for strategy in STRATEGIES {
        let mut flow = Flow::start(Options { strategy, ..options() }).await;
        flow.app.write_all(b"question").await.unwrap();
        flow.app.shutdown().await.unwrap();
        let mut question = Vec::new();
        flow.server.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        // The app has finished long ago; it still gets the answer.
        assert_eq!(send(&mut flow.server, 3_000_000).await, 3_000_000);
        flow.server.shutdown().await.unwrap();
        assert_eq!(receive(&mut flow.app).await.0, 3_000_000);
        assert_eq!(flow.outcome().await.0.end, End::Closed);
    }
}

#[tokio::test]
async fn a_server_that_has_finished_still_gets_what_the_app_sends() {
    for strategy in STRATEGIES {
        let mut flow = Flow::start(Options { strategy, ..options() }).await;
        flow.server.shutdown().await.unwrap();
        let mut nothing = Vec::new();
        assert_eq!(flow.app.read_to_end(&mut nothing).await.unwrap(), 0);
        let (mut app, mut server) = (flow.app, flow.server);
        let up = async {
            send(&mut app, 3_000_000).await;
            app.shutdown().await.unwrap();
        };
        assert_eq!(tokio::join!(up, receive(&mut server)).1.0, 3_000_000);
        assert_eq!(flow.task.await.unwrap().end, End::Closed);
    }
}

#[tokio::test]
async fn early_bytes_go_first_both_ways() {
    for strategy in STRATEGIES {
        let early = Early { up: bytes_at(0, 40_000), down: bytes_at(0, 7) };
        let mut flow = Flow::start(Options { strategy, early, ..options() }).await;
        flow.app.write_all(&bytes_at(40_000, 9)).await.unwrap();
        flow.app.shutdown().await.unwrap();
        flow.server.write_all(&bytes_at(7, 9)).await.unwrap();
        flow.server.shutdown().await.unwrap();
        assert_eq!(receive(&mut flow.server).await.0, 40_009);
        assert_eq!(receive(&mut flow.app).await.0, 16);
        let (outcome, _) = flow.outcome().await;
        assert_eq!((outcome.bytes_up, outcome.bytes_down), (40_009, 16));
    }
}

#[tokio::test]
async fn a_reset_by_either_side_resets_the_other_and_is_named() {
    for (strategy, side) in STRATEGIES.into_iter().flat_map(|s| [(s, Side::Client), (s, Side::Upstream)]) {
        let mut flow = Flow::start(Options { strategy, ..options() }).await;
        flow.app.write_all(b"hello").await.unwrap();
        let mut hello = [0; 5];
        flow.server.read_exact(&mut hello).await.unwrap();
        let (breaks, mut stays) = match side {
            Side::Client => (flow.app, flow.server),
            Side::Upstream => (flow.server, flow.app),
        };
        relay::cut(breaks);
        let error = stays.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{strategy:?} {side:?}");
        assert_eq!(flow.task.await.unwrap().end, End::Reset(side));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_in_a_download_ends_the_flow() {
    for strategy in STRATEGIES {
        let flow = Flow::start(Options { strategy, ..options() }).await;
        let (mut app, mut server) = (flow.app, flow.server);
        let sender = tokio::spawn(async move { send(&mut server, 1 << 40).await });
        let mut some = vec![0; 1 << 20];
        app.read_exact(&mut some).await.unwrap();
        drop(app);
        assert_eq!(flow.task.await.unwrap().end, End::Reset(Side::Client), "{strategy:?}");
        assert!(sender.await.unwrap() < 1 << 40);
    }
}

#[tokio::test]
async fn a_quiet_flow_ends_as_idle_and_a_busy_one_does_not() {
    let idle = Duration::from_millis(200);
    let start = clock::now();
    let mut flow = Flow::start(Options { idle, ..options() }).await;
    for _ in 0..12 {
        tokio::time::sleep(idle / 4).await;
        flow.server.write_u8(1).await.unwrap();
        flow.app.read_u8().await.unwrap();
    }
    assert!(since(start) >= 3 * idle, "it has lived far beyond its idle time");
    let quiet = clock::now();
    assert_eq!(flow.app.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(since(quiet) >= idle.mul_f32(0.8));
    assert_eq!(flow.outcome().await.0.end, End::Idle);
}

#[tokio::test]
async fn a_dry_pool_means_copying_and_nothing_is_lost() {
    for most in [0, 1, 2] {
        let pipes = PipePool::new(most, PipePool::SIZE);
        let flows = (0..4).map(|_| {
            let options = Options { strategy: Strategy::Splice, ..Options::new(common::IDLE, pipes.clone()) };
            tokio::spawn(async move {
                let flow = Flow::start(options).await;
                let (mut app, mut server) = (flow.app, flow.server);
                let up = async {
                    send(&mut app, 5_000_000).await;
                    app.shutdown().await.unwrap();
                };
                assert_eq!(tokio::join!(up, receive(&mut server)).1.0, 5_000_000);
                server.shutdown().await.unwrap();
                flow.task.await.unwrap().end
            })
        });
        for flow in flows.collect::<Vec<_>>() {
            assert_eq!(flow.await.unwrap(), End::Closed);
        }
        assert!(pipes.made() <= most);
    }
}

#[tokio::test]
async fn flows_that_move_nothing_hold_no_pipe() {
    let pipes = PipePool::default();
    let mut flows = Vec::new();
    for _ in 0..6 {
        let options = Options { strategy: Strategy::Splice, ..Options::new(common::IDLE, pipes.clone()) };
        flows.push(Flow::start(options).await);
    }
    // One after the other, so one pipe is enough for all of them.
    for round in 0..30 {
        let flow = &mut flows[round % 6];
        flow.app.write_all(b"there").await.unwrap();
        flow.server.read_exact(&mut [0; 5]).await.unwrap();
        flow.server.write_all(b"and back").await.unwrap();
        flow.app.read_exact(&mut [0; 8]).await.unwrap();
    }
    assert_eq!(pipes.made(), 1);
}

#[tokio::test]
async fn a_flow_both_sides_have_finished_waits_until_all_has_arrived() {
    let flow = Flow::start(options()).await;
    let (mut app, mut server) = (flow.app, flow.server);
    SockRef::from(&server).set_recv_buffer_size(64 * 1024).unwrap();
    server.shutdown().await.unwrap();
    send(&mut app, 1_000_000).await;
    app.shutdown().await.unwrap();
    while flow.handle.bytes_up() < 1_000_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!flow.task.is_finished(), "the kernel still holds bytes of the flow");
    assert_eq!(receive(&mut server).await.0, 1_000_000);
    assert_eq!(flow.task.await.unwrap().end, End::Closed);
}

#[tokio::test]
async fn bytes_that_were_lost_after_both_sides_finished_are_no_clean_end() {
    let flow = Flow::start(options()).await;
    let (mut app, mut server) = (flow.app, flow.server);
    SockRef::from(&server).set_recv_buffer_size(64 * 1024).unwrap();
    server.shutdown().await.unwrap();
    send(&mut app, 1_000_000).await;
    app.shutdown().await.unwrap();
    while flow.handle.bytes_up() < 1_000_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    relay::cut(server);
    assert_eq!(flow.task.await.unwrap().end, End::Reset(Side::Upstream));
}

#[tokio::test]
async fn the_future_of_a_flow_is_small() {
    let (leases, _) = ledger();
    let ((_app, client), (upstream, _server)) = tokio::join!(connection(), connection());
    let mut lease = leases.open(keys(1), 0, clock::now());
    let flow = relay::run(client, upstream, &mut lease, options());
    let size = std::mem::size_of_val(&flow);
    println!("the relay's future has {size} bytes");
    assert!(size < 1024, "{size}");
}
