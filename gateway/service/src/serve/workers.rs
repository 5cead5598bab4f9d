//! The threads that carry flows: one work-stealing runtime of their own, so that however busy they are, the control
//! socket, timers and signals are served by other threads. (One current-thread runtime per core, with a shared listener
//! or with SO_REUSEPORT, was measured against it and was no better: docs/performance.md.)

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::gate::Gate;
use crate::ingress::{self, Door};

/// The running threads.
pub(super) struct Workers(Runtime);

impl Workers {
    /// One thread per core.
    pub(super) fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let runtime =
            Builder::new_multi_thread().worker_threads(cores).thread_name("flows").enable_all().build()?;
        Ok(Self(runtime))
    }

    /// Accepts from this listener until the gate stops.
    pub(super) fn serve(&self, gate: &Arc<Gate>, listener: TcpListener, door: Door) -> io::Result<()> {
        let _inside = self.0.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.0.spawn(ingress::serve(Arc::clone(gate), listener, door));
        Ok(())
    }

    /// Ends the threads; what still ran on them is dropped.
    pub(super) fn stop(self) {
        self.0.shutdown_background();
    }
}
