//! How HTTP connections to the API and the pages are held: each has a time limit for its request heads, and whoever is not
//! known to be the user stands in a small pool, so that programs that connect and say nothing take neither all files of
//! the gate nor the operator's way in (S5). Who may call what is decided elsewhere. Called from `listen` and `serve`.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::ingress::BACK_OFF;
use crate::strangers::{Stranger, Strangers};

/// Connections of others than the user, to each of the doors. When one more comes, the oldest goes.
pub(super) const STRANGERS: usize = 32;

/// What a connection is held by until its caller turns out to be the user.
#[derive(Clone)]
pub struct Standing(Arc<Mutex<Option<Stranger>>>);

impl Standing {
    pub(super) fn of(stranger: Option<Stranger>) -> Self {
        Self(Arc::new(Mutex::new(stranger)))
    }

    /// The caller is the user: the connection makes room for nobody any more.
    pub(super) fn is_known(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Cancelled when the connection has to make room; none for the user's.
    fn leave(&self) -> Option<CancellationToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Stranger::leave)
    }
}

/// How long a door is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Until the gate begins to stop.
    UntilStopping,
    /// As long as the process: whoever watches the gate sees it drain.
    ToTheEnd,
}

/// Serves a TCP listener; `pages` makes what one connection is answered by.
pub async fn serve(
    gate: Arc<Gate>,
    listener: TcpListener,
    open: Open,
    pages: impl Fn(&Standing) -> Router + Send + 'static,
) {
    let pool = Strangers::new(STRANGERS);
    let waits = open == Open::UntilStopping;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = gate.stopped(), if waits => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let stranger = tokio::select! {
                    stranger = pool.admit() => stranger,
                    () = gate.stopped(), if waits => return,
                };
                let _ = stream.set_nodelay(true);
                let standing = Standing::of(stranger);
                let pages = pages(&standing);
                let carried = carry(Arc::clone(&gate), stream, pages, standing, open);
                match open {
                    Open::UntilStopping => gate.spawn(carried),
                    // Not one that a stop waits for.
                    Open::ToTheEnd => drop(tokio::spawn(carried)),
                }
            }
            Err(error) => wait_after(&error).await,
        }
    }
}

pub(super) async fn wait_after(error: &io::Error) {
    tracing::warn!(%error, "an API connection cannot be accepted; trying again");
    tokio::time::sleep(BACK_OFF).await;
}

/// Serves one connection until it ends, has to make room, or the gate stops and its request is answered.
pub(super) async fn carry(
    gate: Arc<Gate>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pages: Router,
    standing: Standing,
    open: Open,
) {
    let leave = standing.leave();
    let mut builder = hyper::server::conn::http1::Builder::new();
    // Who is known to be the user from the start may keep a connection for as long as he likes.
    if leave.is_some() {
        builder.timer(TokioTimer::new()).header_read_timeout(gate.config().limits.handshake);
    }
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages)).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let never = CancellationToken::new();
    let mut stopping = open == Open::ToTheEnd;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an API connection ended early");
                }
                return;
            }
            () = async { leave.as_ref().unwrap_or(&never).cancelled().await } => return,
            () = gate.stopped(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
