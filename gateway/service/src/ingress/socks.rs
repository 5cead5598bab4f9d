//! The SOCKS5 door (RFC 1928, RFC 1929): user name and password name the run, CONNECT opens a flow, UDP ASSOCIATE
//! an association ([`super::datagrams`]). The codec is `mexe-wire`'s; here are the socket and the time limit.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mexe_model::Reason;
use mexe_wire::Target;
use mexe_wire::socks5::{self, Command, Parser, ReplyCode, Request, Step, credentials_answer, reply_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{close_gently, has_left};
use super::datagrams::Association;
use super::{endpoint, turn_away};
use crate::clock;
use crate::flow::{self, Flow};
use crate::gate::Gate;
use crate::observe::metrics::Ingress;
use crate::permits::Place;
use crate::qos::Wish;
use crate::runs::Run;
use crate::strangers::Stranger;

const DOOR: Ingress = Ingress::Socks5;

/// Serves one connection.
pub(super) async fn serve(gate: Arc<Gate>, client: TcpStream, permit: Stranger) {
    // Boxed: what the handshake needs is given back before the long part begins.
    match Box::pin(handshake(&gate, client, permit)).await {
        Some(Opened::Stream(flow, client, early)) => {
            drop(gate);
            flow.carry(client, early).await;
        }
        // Boxed: there are fewer of these than of streams, and they are larger.
        Some(Opened::Datagrams(association, control)) => Box::pin((*association).serve(control)).await,
        None => {}
    }
}

/// What came of a handshake.
enum Opened {
    /// A flow, the app's end of it, and what the app has sent already.
    Stream(Box<Flow>, TcpStream, Bytes),
    /// An association, and the connection that it lives by.
    Datagrams(Box<Association>, TcpStream),
}

async fn handshake(gate: &Arc<Gate>, mut client: TcpStream, permit: Stranger) -> Option<Opened> {
    let mut input = BytesMut::with_capacity(1024);
    let patience = gate.config().limits.handshake;
    let leave = permit.leave();
    // Kept until a place of a run's own takes over, or until whoever was turned away has its answer.
    let mut permit = Some(permit);
    let asking = tokio::select! {
        biased;
        asking = timeout(patience, ask(gate, &mut client, &mut input, &mut permit)) => asking,
        () = leave.cancelled() => {
            turn_away(gate, DOOR, None, Reason::LimitConnections).await;
            return None;
        }
    };
    let (run, place, wish, request) = match asking {
        Ok(Ok(asked)) => asked,
        Ok(Err(Away::Gone)) => return None,
        Ok(Err(Away::Refused(reason, answer))) => {
            turn_away(gate, DOOR, None, reason).await;
            let _ = client.write_all(&answer).await;
            close_gently(client).await;
            return None;
        }
        Err(_) => {
            turn_away(gate, DOOR, None, Reason::HandshakeTimeout).await;
            return None;
        }
    };
    let wish = match wish {
        Ok(wish) => wish,
        Err(reason) => {
            turn_away(gate, DOOR, Some(&run), reason).await;
            let _ = client.write_all(&reply_for(reason).encode_unbound()).await;
            close_gently(client).await;
            return None;
        }
    };
    let opened = match (request.command, endpoint(&request.target)) {
        (Command::Connect, Ok(endpoint)) => tokio::select! {
            biased;
            opened = flow::open(gate, &run, endpoint, DOOR, place.map(Some), wish) => {
                opened.map_err(|refused| refused.reason)
            }
            // The user need not answer for an app that waits no longer.
            () = has_left(&client) => return None,
        },
        (Command::Connect, Err(reason)) => Err(reason),
        (Command::UdpAssociate, _) => {
            return associate(gate, &run, client, &request.target, place, wish).await;
        }
        _ => Err(Reason::CommandUnsupported),
    };
    let flow = match opened {
        Ok(flow) => flow,
        Err(reason) => {
            if matches!(reason, Reason::NameNotAllowed | Reason::CommandUnsupported) {
                turn_away(gate, DOOR, Some(&run), reason).await;
            }
            let _ = client.write_all(&reply_for(reason).encode_unbound()).await;
            close_gently(client).await;
            return None;
        }
    };
    let reply = ReplyCode::Succeeded.encode(flow.local);
    match client.write_all(&reply).await {
        Ok(()) => Some(Opened::Stream(Box::new(flow), client, input.freeze())),
        Err(_) => {
            flow.client_left();
            None
        }
    }
}

async fn associate(
    gate: &Arc<Gate>,
    run: &Arc<Run>,
    mut client: TcpStream,
    asked: &Target,
    place: Result<Place, Reason>,
    wish: Wish,
) -> Option<Opened> {
    let begun = Association::open(gate, run, &client, asked, place, wish).await;
    let begun = begun.and_then(|association| {
        let address = association.address().map_err(|_| Reason::UpstreamUnreachable)?;
        Ok((association, ReplyCode::Succeeded.encode(address)))
    });
    match begun {
        Ok((association, reply)) => {
            client.write_all(&reply).await.ok()?;
            Some(Opened::Datagrams(Box::new(association), client))
        }
        Err(reason) => {
            let _ = client.write_all(&reply_for(reason).encode_unbound()).await;
            close_gently(client).await;
            None
        }
    }
}

enum Away {
    /// The client went away: there is nobody to answer.
    Gone,
    /// Turned away with this answer.
    Refused(Reason, Vec<u8>),
}

type Asking = (Arc<Run>, Result<Place, Reason>, Result<Wish, Reason>, Request);

/// Reads until the request is whole. Nothing is read beyond it but what the client sent along; that stays in `input`.
async fn ask(
    gate: &Gate,
    client: &mut TcpStream,
    input: &mut BytesMut,
    permit: &mut Option<Stranger>,
) -> Result<Asking, Away> {
    let mut parser = Parser::new();
    let mut who = None;
    loop {
        let step = parser
            .on_bytes(input)
            .map_err(|malformed| Away::Refused(malformed.reason(), malformed.reply()))?;
        match step {
            Step::NeedMore => match client.read_buf(input).await {
                Ok(read) if read > 0 => {}
                _ => return Err(Away::Gone),
            },
            Step::Greeting(greeting) => {
                if let Some(reason) = greeting.refusal() {
                    return Err(Away::Refused(reason, greeting.answer().to_vec()));
                }
                client.write_all(&greeting.answer()).await.map_err(|_| Away::Gone)?;
            }
            Step::Credentials(credentials) => {
                let token = std::str::from_utf8(credentials.password()).unwrap_or_default();
                // No app id has a plus: behind it stands the stream that the connection is one of.
                let user = credentials.user().unwrap_or_default();
                let (user, stream) = user.split_once('+').map_or((user, None), |(user, s)| (user, Some(s)));
                let run = gate
                    .runs
                    .authenticate(user, token, clock::now())
                    .map_err(|reason| Away::Refused(reason, credentials_answer(false).to_vec()))?;
                // A place of the run's own from here on; who gets none keeps the stranger's until it has its answer.
                let place = gate.permits.flow(&run);
                if place.is_ok() {
                    permit.take();
                }
                let wish = stream
                    .map_or(Ok(Wish::Usual), |called| gate.streams.to_use(run.id, called).map(Wish::Stream));
                who = Some((run, place, wish));
                client.write_all(&credentials_answer(true)).await.map_err(|_| Away::Gone)?;
            }
            Step::Request(request) => {
                let (run, place, wish) = who.ok_or(Away::Gone)?;
                return Ok((run, place, wish, request));
            }
        }
    }
}

/// The protocol's own limit on what a handshake may hold fits the buffer many times over.
const _: () = assert!(socks5::MAX_HANDSHAKE < 64 * 1024);
