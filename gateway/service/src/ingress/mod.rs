//! The doors: listeners that accept, learn who is there, and hand a request to [`crate::flow`]. Each listener holds one
//! connection that waits for a permit, so that a flood waits in the kernel's queue and not in our memory.

pub mod client;
mod datagrams;
mod forward;
mod http;
mod socks;
mod watched;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mexe_journal::{Outcome, Record};
use mexe_model::{Endpoint, Host, Reason};
use mexe_policy::parse_host;
use mexe_wire::{RawHost, Target};
use tokio::net::TcpListener;

use crate::clock;
use crate::gate::Gate;
use crate::observe::metrics::Ingress;

/// How long a listener waits when the system has no file or no memory for another connection.
pub const BACK_OFF: Duration = Duration::from_millis(100);

/// Which protocol a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTP CONNECT and absolute-form requests.
    Http,
    /// SOCKS5.
    Socks5,
}

/// Accepts until the gate stops.
pub async fn serve(gate: Arc<Gate>, listener: TcpListener, door: Door) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = gate.stopped() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let permit = tokio::select! {
                    permit = gate.permits.stranger() => permit,
                    () = gate.stopped() => return,
                };
                let Some(permit) = permit else { return };
                keep_a_timer_ahead();
                let shared = Arc::clone(&gate);
                match door {
                    Door::Http => gate.spawn(http::serve(shared, stream, permit)),
                    Door::Socks5 => gate.spawn(socks::serve(shared, stream, permit)),
                }
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no further connection can be accepted now; waiting");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// A timer that is to fire before all others of its thread costs two system calls, to wake the thread that sets it. A
/// handshake's usually would be; behind this one, which fires within a second of a connection, it is not.
fn keep_a_timer_ahead() {
    thread_local! {
        static IS_SET: Cell<bool> = const { Cell::new(false) };
    }
    if !IS_SET.replace(true) {
        tokio::spawn(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            IS_SET.set(false);
        });
    }
}

/// Errors of accept(2) that are about the connection that went away, not about us.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Where the app wants to go, as a name or an address that the policy can judge.
fn endpoint(target: &Target) -> Result<Endpoint, Reason> {
    let host = match &target.host {
        RawHost::Address(address) => Host::Address(*address),
        RawHost::Name(name) => parse_host(name)?,
    };
    Ok(Endpoint { host, port: target.port })
}

/// Counts and writes down that somebody was turned away before anything could be decided about a target. Equal ones are
/// written together.
async fn turn_away(gate: &Gate, ingress: Ingress, run: Option<&crate::runs::Run>, reason: Reason) {
    gate.metrics.refused(ingress, reason);
    let record = Record {
        decision: Some(Outcome::Deny),
        reason: Some(reason),
        ingress: Some(ingress.as_str().into()),
        domain: run.map(|run| run.trust),
        app: run.map(|run| run.app.clone()),
        run: run.map(|run| run.id),
        ..Record::decision(clock::wall())
    };
    if let Err(error) = gate.journal.record(record).await {
        tracing::warn!(%error, %reason, "a refusal could not be written down");
    }
}
