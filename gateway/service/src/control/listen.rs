//! The two doors of the API: the control socket, where the kernel says who calls, and the console's port on loopback,
//! where a token does. Each request gets its [`Caller`] here and is admitted by the role table before anything else.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use mexe_model::Reason;
use mexe_wire::basic;
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::console;
use super::door::{self, Open, Standing};
use super::problem::Problem;
use super::role::{Caller, admit};
use crate::clock;
use crate::gate::Gate;
use crate::observe::pages::health_router;
use crate::peer::{self, Peer};
use crate::strangers::Strangers;

/// Binds the control socket in the state directory, for the gate's own user alone. A left-over of a gate that died is
/// replaced; the journal's lock has already made sure that no other gate lives here.
///
/// # Errors
/// The directory or the socket.
pub fn bind_control_socket(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the API on the control socket until the gate stops.
pub async fn serve_control_socket(gate: Arc<Gate>, listener: UnixListener, api: Router) {
    let pool = Strangers::new(door::STRANGERS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = gate.stopped() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let caller = caller_at_socket(&gate, &stream);
                // The user is let in at once, however many others stand there.
                let stranger = match caller {
                    Caller::User { .. } => None,
                    _ => pool.admit().await,
                };
                let api = api.clone().layer(middleware::from_fn(move |mut request: Request, next: Next| {
                    request.extensions_mut().insert(caller.clone());
                    next.run(request)
                }));
                gate.spawn(door::carry(
                    Arc::clone(&gate),
                    stream,
                    api,
                    Standing::of(stranger),
                    Open::UntilStopping,
                ));
            }
            Err(error) => door::wait_after(&error).await,
        }
    }
}

/// The kernel's word on who calls. Other users than the gate's own and root are nobody here.
fn caller_at_socket(gate: &Gate, stream: &UnixStream) -> Caller {
    let Some(peer) = stream
        .peer_cred()
        .ok()
        .and_then(|cred| Some(Peer { uid: cred.uid(), pid: u32::try_from(cred.pid().unwrap_or(0)).ok()? }))
    else {
        return Caller::Nobody;
    };
    let runs: HashSet<u32> = gate.runs.processes().into_iter().collect();
    if peer::is_inside_a_run(peer.pid, std::process::id(), &runs, peer::parent_of) {
        return Caller::InsideARun;
    }
    if peer.uid == 0 || peer.uid == rustix::process::geteuid().as_raw() {
        Caller::User { pid: Some(peer.pid) }
    } else {
        Caller::Nobody
    }
}

/// Serves API, web console and health pages on the console's port until the gate stops.
pub async fn serve_console(
    gate: Arc<Gate>,
    listener: TcpListener,
    api: Router,
    token: Arc<Zeroizing<String>>,
) {
    let known = Arc::clone(&gate);
    let for_anybody = health_router(Arc::clone(&gate)).merge(console::shell_router());
    let for_the_known = api.clone().merge(console::pages_router(Arc::clone(&gate), api));
    let pages = move |standing: &Standing| {
        let (known, token, standing) = (Arc::clone(&known), Arc::clone(&token), standing.clone());
        let with_caller =
            for_the_known.clone().layer(middleware::from_fn(move |mut request: Request, next: Next| {
                let caller = caller_by_token(&known, &token, &request);
                if let Caller::User { .. } = caller {
                    standing.is_known();
                }
                request.extensions_mut().insert(caller);
                next.run(request)
            }));
        with_caller
            .merge(for_anybody.clone())
            .layer(middleware::from_fn(same_host_only))
            .layer(middleware::from_fn(console::guarded))
    };
    door::serve(gate, listener, Open::UntilStopping, pages).await;
}

/// A page of another site must not reach the API through a name that resolves to loopback: the Host header has to name
/// loopback, and a browser's Origin has to be the console itself.
async fn same_host_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let origin = request.headers().get(header::ORIGIN).map(|value| value.to_str().unwrap_or_default());
    let own_origin = origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
    if names_loopback(host) && own_origin {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "this host is not served here\n").into_response()
    }
}

fn names_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn caller_by_token(gate: &Gate, console: &str, request: &Request<Body>) -> Caller {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = given else { return Caller::Nobody };
    if let Some(token) = given.strip_prefix("Bearer ") {
        if bool::from(token.as_bytes().ct_eq(console.as_bytes())) {
            return Caller::User { pid: None };
        }
        return gate.runs.by_token(token).map_or(Caller::Nobody, Caller::App);
    }
    let Ok(credentials) = basic::credentials(request.headers(), &header::AUTHORIZATION) else {
        return Caller::Nobody;
    };
    let token = std::str::from_utf8(credentials.password()).unwrap_or_default();
    let run = gate.runs.authenticate(credentials.user().unwrap_or_default(), token, clock::now());
    run.map_or(Caller::Nobody, Caller::App)
}

/// Cancelled when the caller has hung up: what only waits for the user need not wait for it any more.
#[derive(Clone, Debug, Default)]
pub struct CallerGone(pub CancellationToken);

/// Carries a change to its end although its caller hangs up meanwhile: half of it would be on disk, or in memory alone.
pub async fn to_its_end(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let (mut told, hears) = tokio::sync::oneshot::channel();
    let gone = CallerGone::default();
    request.extensions_mut().insert(gone.clone());
    gate.spawn(async move {
        let mut run = std::pin::pin!(next.run(request));
        let answer = tokio::select! {
            answer = run.as_mut() => answer,
            () = told.closed() => {
                gone.0.cancel();
                run.await
            }
        };
        // Nobody may be left to hear it.
        let _ = told.send(answer);
    });
    // Nothing is sent when the handler panicked, which was printed then.
    hears.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Refuses what the caller's role may not call, before any handler sees it.
pub async fn only_admitted(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Nobody);
    match admit(&caller, request.method(), request.uri().path()) {
        Ok(()) => next.run(request).await,
        Err(reason) => {
            let detail = match reason {
                Reason::CredentialsMissing => "send the token in the Authorization header",
                _ => reason.says(),
            };
            Problem::new(reason, detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_served() {
        for good in ["127.0.0.1:8057", "localhost", "localhost:8057", "[::1]:8057", "127.9.9.9"] {
            assert!(names_loopback(good), "{good}");
        }
        for bad in
            ["", "evil.example", "localhost.evil.example:8057", "127.0.0.1.evil.example", "192.0.2.1:8057"]
        {
            assert!(!names_loopback(bad), "{bad}");
        }
    }
}
