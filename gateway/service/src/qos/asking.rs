//! Asks the network for what a stream is to have: one task for each stream, which compares what is wanted with what was
//! asked for, and does what is missing. Nobody else begins, changes or ends a session, and no lock is held while the network
//! thinks about it. Ends with the stream or the gate, and gives back what it holds.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mexe_model::{Reason, StreamId};
use mexe_qos::Marking;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::network::{
    Session, Stage, Target, Wanted, cap_of, fall_back, take_up, wait_for_a_flow, wanted, withhold,
};
use crate::bearer::{Capacity, Granted, NegotiationFault, Packets, Request, Why};
use crate::gate::Gate;

/// How long whoever asks for a stream waits for the network's word. What comes later is told as an event.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// When a bearer is asked again that was busy.
const AGAIN: Duration = Duration::from_secs(30);
/// For giving back a session while the gate stops.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What is to be done now.
enum Step {
    /// The stream is gone.
    Over,
    /// Nothing.
    Wait,
    /// Nothing is to be held any more.
    Release,
    /// This is to be asked for.
    Ask(Target),
}

/// Sees to a stream's session as long as there is the stream.
pub(super) async fn follow(gate: Arc<Gate>, id: StreamId, wake: Arc<Notify>) {
    let mut held = None;
    let mut was_busy = false;
    while !gate.is_stopping() {
        match step(&gate, id, &mut held) {
            Step::Over => break,
            Step::Wait => tokio::select! {
                () = gate.stopped() => break,
                () = wake.notified() => {}
                () = sleep(AGAIN), if was_busy => forget(&gate, id),
            },
            Step::Release => release(&gate, held.take()).await,
            Step::Ask(target) => {
                let Some(answer) = ask(&gate, &wake, &target, held.as_ref()).await else {
                    forget(&gate, id);
                    continue;
                };
                was_busy = matches!(answer, Err(NegotiationFault::Busy(_)));
                let unwanted = heard(&gate, id, &target, answer, &mut held);
                release(&gate, unwanted).await;
            }
        }
    }
    let _ = timeout(LAST_WORD, release(&gate, held)).await;
    gate.streams.gave_back();
}

fn step(gate: &Gate, id: StreamId, held: &mut Option<Session>) -> Step {
    let mut live = gate.streams.locked();
    let Some(stream) = live.get_mut(&id) else { return Step::Over };
    if stream.network.session.is_none() {
        // The network ended it.
        *held = None;
    }
    let wanted = wanted(gate, stream);
    let is_elsewhere = |target: &Target| {
        held.as_ref().is_some_and(|held| held.bearer == target.bearer && held.remote != target.remote)
    };
    let stage = *stream.network.stage.borrow();
    match wanted {
        Wanted::Nothing | Wanted::Later if held.is_some() => {
            stream.network.session = None;
            Step::Release
        }
        Wanted::Later if matches!(stage, Stage::Given | Stage::Asking) => {
            wait_for_a_flow(stream);
            Step::Wait
        }
        Wanted::Nothing | Wanted::Later => Step::Wait,
        Wanted::Now(target) if stream.network.asked.as_ref() == Some(&target) => {
            // It was to be something else, and is not any more.
            if stage == Stage::Asking {
                let is_given = stream.network.session.is_some();
                stream.network.stage.send_replace(if is_given { Stage::Given } else { Stage::Refused });
                if is_given {
                    take_up(gate, &mut live, id);
                }
            }
            Step::Wait
        }
        // A session stays where it was begun, and between two of them there is none.
        Wanted::Now(target) if is_elsewhere(&target) => {
            stream.network.session = None;
            stream.network.stage.send_replace(Stage::Asking);
            withhold(stream);
            Step::Release
        }
        Wanted::Now(target) => {
            stream.network.asked = Some(target.clone());
            stream.network.stage.send_replace(Stage::Asking);
            Step::Ask(target)
        }
    }
}

/// Asks, and gives up when the bearer is gone. What the stream is to have may change meanwhile: it is asked for after this,
/// since what a bearer was asked for and nobody wants may stand in the way until it is given back.
async fn ask(
    gate: &Gate,
    wake: &Notify,
    target: &Target,
    held: Option<&Session>,
) -> Option<Result<Granted, NegotiationFault>> {
    let bearer = gate.bearers.get(&target.bearer)?;
    let packets = Packets {
        remote: target.remote.map(|remote| remote.ip()),
        port: target.remote.map(|remote| remote.port()),
        protocol: None,
        dscp: target.wished.class.map(|class| Marking::from(class).dscp),
    };
    let request = Request { wished: target.wished, least: Capacity::default(), packets };
    let mut asked = pin!(async {
        match held.filter(|session| session.bearer == target.bearer) {
            Some(Session { id: session, .. }) => {
                let attributes = bearer.modify(*session, &request).await?;
                Ok(Granted { session: *session, attributes })
            }
            None => bearer.negotiate(&request).await,
        }
    });
    loop {
        tokio::select! {
            biased;
            answer = &mut asked => return Some(answer),
            () = gate.stopped() => return None,
            () = wake.notified() => if !bearer.status().is_up() { return None },
        }
    }
}

/// Whatever was asked for is to be asked for anew.
fn forget(gate: &Gate, id: StreamId) {
    if let Some(stream) = gate.streams.locked().get_mut(&id) {
        stream.network.asked = None;
    }
}

/// Takes up an answer; tells what is to be given back.
fn heard(
    gate: &Gate,
    id: StreamId,
    asked: &Target,
    answer: Result<Granted, NegotiationFault>,
    held: &mut Option<Session>,
) -> Option<Session> {
    let before = held.clone();
    let mut replaced = None;
    if let Ok(Granted { session, .. }) = &answer {
        let new = Session { bearer: Arc::clone(&asked.bearer), id: *session, remote: asked.remote };
        replaced = held.replace(new.clone()).filter(|old| *old != new);
    }
    let mut live = gate.streams.locked();
    let Some(stream) = live.get_mut(&id) else { return replaced };
    let is_wanted = wanted(gate, stream).is(Some(asked));
    match answer {
        Ok(Granted { session, .. }) => {
            let bearer = gate.bearers.get(&asked.bearer);
            // It may have changed since, and nobody could be told.
            let Some((bearer, given)) = bearer.and_then(|bearer| Some((bearer, bearer.given(session)?)))
            else {
                fall_back(gate, &mut live, id, Reason::QosNotGranted, ended());
                return replaced;
            };
            stream.network.session.clone_from(held);
            (stream.network.given, stream.network.why) = (cap_of(bearer, given), None);
            if is_wanted {
                stream.network.asked = Some(asked.clone());
                stream.network.stage.send_replace(Stage::Given);
                take_up(gate, &mut live, id);
            }
            replaced
        }
        Err(NegotiationFault::NoSession) if before.is_some() => {
            (stream.network.session, stream.network.given, stream.network.asked) = (None, None, None);
            None
        }
        // Something else is asked for next, or nothing.
        Err(_) if !is_wanted => None,
        // What was to be changed ended meanwhile, which was told.
        Err(_) if before.is_some() && stream.network.session.is_none() => {
            *held = None;
            None
        }
        // As before it was to be changed.
        Err(fault) if before.as_ref().is_some_and(|session| session.bearer == asked.bearer) => {
            stream.network.why = Some(why(&fault));
            stream.network.is_owed_an_answer = true;
            stream.network.stage.send_replace(Stage::Given);
            take_up(gate, &mut live, id);
            None
        }
        Err(fault) => {
            let reason = match fault {
                NegotiationFault::BearerDown(_) => Reason::BearerLost,
                _ => Reason::QosNotGranted,
            };
            fall_back(gate, &mut live, id, reason, why(&fault));
            let is_up = gate.bearers.get(&asked.bearer).is_some_and(|bearer| bearer.status().is_up());
            if let Some(stream) = live.get_mut(&id).filter(|_| is_up && reason == Reason::BearerLost) {
                // It came back before this was heard.
                stream.network.asked = None;
            }
            held.take()
        }
    }
}

fn ended() -> Why {
    Why::new("network-ended", "the network ended the session at once")
}

fn why(fault: &NegotiationFault) -> Why {
    Why::new(fault.code(), fault.to_string())
}

async fn release(gate: &Gate, session: Option<Session>) {
    let Some(Session { bearer, id, .. }) = session else { return };
    let Some(bearer) = gate.bearers.get(&bearer) else { return };
    if let Err(fault) = bearer.release(id).await {
        tracing::warn!(%fault, bearer = %bearer.name(), session = %id, "a session could not be given back");
    }
}
