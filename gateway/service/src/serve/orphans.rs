//! Descendants of a run that outlive their parent come to the gate instead of to init, so that they can still be told
//! from the user's own programs (S2); their exits are collected here.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::gate::Gate;
use crate::launch;

/// Makes this process the parent of its runs' orphans, and collects them as long as the gate runs.
pub(super) fn adopt(gate: &Arc<Gate>) {
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!(%error, "orphans of runs will not be told from other programs");
        return;
    }
    let Ok(mut children) = signal(SignalKind::child()) else { return };
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = gate.stopped() => return,
                _ = children.recv() => {}
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
            launch::collect_orphans();
        }
    });
}
