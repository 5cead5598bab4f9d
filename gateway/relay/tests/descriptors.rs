//! Flows leave no descriptor behind. Alone in its process, because every other test opens some.
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

use common::{Flow, bytes_at, open_files, receive};
use mexe_model::Reason;
use mexe_relay::{Key, Options, PipePool, Strategy};
use tokio::io::AsyncWriteExt;

const STRATEGIES: [Strategy; 3] = [Strategy::Auto, Strategy::Copy, Strategy::Splice];

#[test]
fn descriptors_return_to_the_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = runtime.block_on(async { open_files() });
    runtime.block_on(async {
        let pipes = PipePool::default();
        for round in 0..60 {
            let strategy = STRATEGIES[round % 3];
            let mut flow =
                Flow::start(Options { strategy, ..Options::new(common::IDLE, pipes.clone()) }).await;
            let (mut read, mut write) = flow.app.split();
            flow.server.write_all(&bytes_at(0, 300_000)).await.unwrap();
            if round % 4 == 0 {
                // Left with full queues, and cut there.
                flow.leases.revoke(&Key::All, Reason::RunEnded);
            } else {
                write.shutdown().await.unwrap();
                flow.server.shutdown().await.unwrap();
                assert_eq!(receive(&mut read).await.0, 300_000);
            }
            flow.task.await.unwrap();
        }
    });
    assert_eq!(runtime.block_on(async { open_files() }), before);
}
