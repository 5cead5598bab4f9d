//! Flows on one bearer: together they move what it carries and no more, a cut ends one that waits for its turn, and what it
//! leaves goes to the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "tests"
)]
#![allow(unreachable_pub, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Flow, options};
use mexe_model::{BitRate, Reason};
use mexe_qos::{Band, Shares, Terms};
use mexe_relay::{End, Key, Limits, Options, Shaping, Strategy, clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const STRATEGIES: [Strategy; 3] = [Strategy::Auto, Strategy::Copy, Strategy::Splice];

fn rate(bits: u64) -> BitRate {
    BitRate::bits_per_second(bits).unwrap()
}

async fn on(shaping: &Shaping, strategy: Strategy, band: Band) -> Flow {
    let down = Some(shaping.join(Terms::new(band), None).into());
    let limits = Limits { down, ..Limits::default() };
    Flow::start(Options { strategy, limits, ..options() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_of_one_bearer_never_move_more_than_it_carries_and_share_it() {
    const RATE: u64 = 8_000_000;
    for strategy in STRATEGIES {
        let shaping = Shaping::new(Some(rate(RATE)), Shares::default());
        let began = clock::now();
        let mut moved = Vec::new();
        for size in [1000, 60_000] {
            let flow = on(&shaping, strategy, Band::Background).await;
            let Flow { mut app, mut server, handle, .. } = flow;
            tokio::spawn(async move { while server.write_all(&vec![7; size]).await.is_ok() {} });
            tokio::spawn(async move { while app.read(&mut [0; 65_536]).await.is_ok_and(|n| n > 0) {} });
            moved.push(handle);
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let bytes: Vec<u64> = moved.iter().map(mexe_relay::LeaseHandle::bytes_down).collect();
        let passed = clock::now().since(began).as_secs_f64();
        // What the arbiter may catch up, and a chunk for each flow.
        let most = RATE as f64 / 8.0 * (passed + 0.05);
        let all: u64 = bytes.iter().sum();
        assert!((all as f64) < most, "{strategy:?}: {all} of {most} in {passed} s");
        assert!(all > 100_000, "{strategy:?}: nothing much moved: {bytes:?}");
        let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
        assert!(least * 2 > *most, "{strategy:?}: it is not shared: {bytes:?}");
    }
}

#[tokio::test]
async fn a_flow_that_waits_for_its_turn_is_cut_and_leaves_the_bearer_to_others() {
    for strategy in STRATEGIES {
        let shaping = Shaping::new(Some(rate(8_000)), Shares::default());
        let mut flow = on(&shaping, strategy, Band::Background).await;
        flow.server.write_all(&[1; 60_000]).await.unwrap();
        flow.app.read_exact(&mut [0; 1000]).await.unwrap();
        flow.leases.revoke(&Key::All, Reason::PermissionRevoked);
        let (outcome, _) = flow.outcome().await;
        assert_eq!(outcome.end, End::Cut(Reason::PermissionRevoked));
        assert!(outcome.bytes_down < 20_000, "{strategy:?}: {}", outcome.bytes_down);
        // Another has it for itself, and at once as much as it becomes.
        let mut other = on(&shaping, strategy, Band::Background).await;
        other.server.write_all(&[2; 200_000]).await.unwrap();
        other.app.read_exact(&mut [0; 1000]).await.unwrap();
        shaping.set_capacity(None);
        let mut rest = vec![0; 199_000];
        tokio::time::timeout(Duration::from_secs(20), other.app.read_exact(&mut rest))
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn a_bearer_without_limit_holds_nobody_back() {
    for strategy in STRATEGIES {
        let shaping = Shaping::new(None, Shares::default());
        let mut flow = on(&shaping, strategy, Band::Background).await;
        let write = async { flow.server.write_all(&vec![3; 5_000_000]).await.unwrap() };
        let mut got = vec![0; 5_000_000];
        let (_, read) = tokio::join!(write, flow.app.read_exact(&mut got));
        assert_eq!(read.unwrap(), 5_000_000);
        // From now on there is one.
        shaping.set_capacity(Some(rate(8_000)));
        flow.server.write_all(&[3; 100_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(flow.handle.bytes_down() < 5_050_000, "{strategy:?}: {}", flow.handle.bytes_down());
    }
}
