//! The threads that carry flows: one per core, each with a runtime of its own, all accepting from the same sockets. A
//! flow stays on the thread that accepted it, so that its bytes, timers and wake-ups never cross cores. However busy they
//! are, the control socket, timers and signals are served by other threads. (A work-stealing runtime and SO_REUSEPORT
//! were measured beside it: docs/performance.md.)

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::ingress::{self, Door};

/// The running threads.
pub(super) struct Workers {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Workers {
    /// One thread per core.
    pub(super) fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut workers = Self { handles: Vec::new(), threads: Vec::new(), stop: CancellationToken::new() };
        for number in 0..cores {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.handles.push(runtime.handle().clone());
            let stop = workers.stop.clone();
            let thread = thread::Builder::new().name(format!("flows-{number}"));
            let work = async move {
                tokio::spawn(mexe_journal::deliver());
                stop.cancelled().await;
            };
            workers.threads.push(thread.spawn(move || {
                runtime.block_on(work);
                // Nothing is left to wait for but the resolver, and that may take half a minute for a name.
                runtime.shutdown_background();
            })?);
        }
        Ok(workers)
    }

    /// Has every thread accept from this listener.
    pub(super) fn serve(&self, gate: &Arc<Gate>, listener: TcpListener, door: Door) -> io::Result<()> {
        for handle in &self.handles {
            let _inside = handle.enter();
            let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
            handle.spawn(ingress::serve(Arc::clone(gate), listener, door));
        }
        Ok(())
    }

    /// Ends the threads; what still ran on them is dropped.
    pub(super) fn stop(self) {
        self.stop.cancel();
        for thread in self.threads {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}
