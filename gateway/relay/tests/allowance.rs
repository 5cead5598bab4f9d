//! Flows that share a budget: together they move exactly what is in it, wait while it may grow, and are cut when it is
//! used up for good.
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
use std::time::Duration;

use common::{Flow, bytes_at, options, receive_counted, send};
use mexe_model::Reason;
use mexe_relay::{Allowance, End, Limits, Options, Strategy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn flow(allowance: &Arc<Allowance>, strategy: Strategy) -> Flow {
    let limits = Limits { allowance: Some(Arc::clone(allowance)), ..Limits::default() };
    Flow::start(Options { limits, strategy, ..options() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_use_a_budget_up_to_its_last_byte_and_are_cut() {
    for strategy in [Strategy::Copy, Strategy::Splice, Strategy::Auto] {
        let allowance = Arc::new(Allowance::new(0, Arc::default()));
        allowance.put(3_000_001);
        allowance.close(true);
        let flows = [flow(&allowance, strategy).await, flow(&allowance, strategy).await];
        let mut moved = 0;
        let mut tasks = Vec::new();
        for Flow { app, server, handle, task, .. } in flows {
            let (mut app_read, mut app_write) = app.into_split();
            let (mut server_read, mut server_write) = server.into_split();
            tokio::spawn(async move { send(&mut app_write, 1 << 40).await });
            tokio::spawn(async move { send(&mut server_write, 1 << 40).await });
            tokio::spawn(async move { receive_counted(&mut server_read, &Default::default()).await });
            tokio::spawn(async move { receive_counted(&mut app_read, &Default::default()).await });
            tasks.push((task, handle));
        }
        for (task, handle) in tasks {
            let outcome = task.await.unwrap();
            assert_eq!(outcome.end, End::Cut(Reason::BudgetUsedUp), "{strategy:?}");
            assert_eq!(handle.cancel_reason(), Some(Reason::BudgetUsedUp));
            moved += outcome.bytes_up + outcome.bytes_down;
        }
        assert_eq!((moved, allowance.left()), (3_000_001, 0), "{strategy:?}");
    }
}

#[tokio::test]
async fn a_flow_waits_while_more_may_come() {
    let bell = Arc::new(tokio::sync::Notify::new());
    let allowance = Arc::new(Allowance::new(0, Arc::clone(&bell)));
    let mut flow = flow(&allowance, Strategy::Auto).await;
    flow.app.write_all(&bytes_at(0, 100)).await.unwrap();
    let mut first = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), flow.server.read_exact(&mut first)).await;
    assert!(early.is_err(), "a byte came without allowance");
    bell.notified().await;
    allowance.put(100);
    let mut got = vec![0; 100];
    flow.server.read_exact(&mut got).await.unwrap();
    assert_eq!(got, bytes_at(0, 100));
    // What moved to the last byte was not too much.
    allowance.close(true);
    flow.app.shutdown().await.unwrap();
    flow.server.shutdown().await.unwrap();
    assert_eq!(flow.task.await.unwrap().end, End::Closed);
}
