//! A stream is asked for, changed, released. What is asked for is negotiated first, then the room is looked at, and only
//! for what the bearer could keep is the user asked; after that the room is taken, or was lost meanwhile.

use std::sync::Arc;

use mexe_model::{GrantId, Reason, StreamId};
use mexe_policy::prompts::Subject;
use mexe_policy::{Target, Ticket};
use mexe_qos::Profile;
use mexe_qos::negotiation::{Granted, Request, negotiate};
use mexe_relay::{Lease, LeaseKeys};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::asking::{PATIENCE, follow};
use super::ends::{degrade, note, restore, tell, watch_over};
use super::network::{Network, Stage, is_of_network, prepare};
use super::shape::Shape;
use super::streams::{Live, MOST_OF_A_RUN, Owner, admit, owned};
use super::{caps, reservable};
use crate::actions::{self, Wished};
use crate::clock;
use crate::events::Happened;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::runs::Run;

/// What a stream is to be.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// What the run calls it, beside its id.
    pub name: Option<String>,
    /// What says what the request leaves open.
    pub profile: Option<Arc<Profile>>,
    /// The app's own words.
    pub request: Request,
}

/// Asks for a stream, and says as the API does what was granted.
///
/// # Errors
/// [`Reason::RequestMalformed`] for a name that is none or taken, [`Reason::LimitConnections`] for too many,
/// [`Reason::QosNotAdmitted`], [`Reason::QosNotPermitted`] and every other reason of the policy and of the questions.
pub async fn request(
    gate: &Arc<Gate>,
    run: &Arc<Run>,
    ask: Ask,
    gone: &CancellationToken,
) -> Result<Value, Refused> {
    if let Some(name) = &ask.name {
        may_be_called(name)?;
    }
    let wanted = negotiate(&caps(gate, &run.app, run.trust, true), &ask.request, ask.profile.as_deref());
    {
        let live = gate.streams.locked();
        has_room(&live, run, ask.name.as_deref())?;
        admit(&live, reservable(gate), None, &wanted, true)?;
    }
    let right = right(gate, run, &wanted, gone).await?;
    let id = gate.streams.next();
    let (shown, wake) = {
        let mut live = gate.streams.locked();
        // Somebody may have been quicker while the user was asked.
        has_room(&live, run, ask.name.as_deref())?;
        let displaced = admit(&live, reservable(gate), None, &wanted, true)?;
        for other in &displaced {
            degrade(gate, &mut live, *other, Reason::QosDisplaced);
        }
        let mut stream = Live {
            id,
            name: ask.name,
            app: run.app.clone(),
            run: run.id,
            trust: run.trust,
            began: clock::wall(),
            shape: watch::Sender::new(Shape::BEST_EFFORT),
            network: Network::default(),
            request: ask.request,
            profile: ask.profile,
            granted: wanted.clone(),
            lost: None,
            grant: right.grant,
            watched: right.watched.clone(),
        };
        prepare(gate, &mut stream);
        stream.give(wanted);
        note(gate, &stream, "stream.request", None, json!({ "displaced": displaced }));
        let shown = (stream.shown(&gate.flows), Arc::clone(&stream.network.wake));
        live.insert(id, stream);
        shown
    };
    tell(gate, run.id, id, Happened::Admitted);
    gate.spawn(watch_over(Arc::clone(gate), id, right.lease, right.watched));
    gate.streams.followed();
    gate.spawn(follow(Arc::clone(gate), id, wake));
    Ok(answered(gate, id, gone).await.unwrap_or(shown))
}

/// What the stream is when the network has answered, or when nobody wants to wait any longer; `None` when it is gone.
async fn answered(gate: &Gate, id: StreamId, gone: &CancellationToken) -> Option<Value> {
    let mut stage = gate.streams.locked().get(&id)?.network.stage.subscribe();
    tokio::select! {
        _ = tokio::time::timeout(PATIENCE, stage.wait_for(|stage| *stage != Stage::Asking)) => {}
        () = gone.cancelled() => {}
        () = gate.stopped() => {}
    }
    let mut live = gate.streams.locked();
    let stream = live.get_mut(&id)?;
    stream.network.is_owed_an_answer = stream.network.is_asking();
    Some(stream.shown(&gate.flows))
}

/// Changes a stream: what the request says takes the place of what was said before. When the room or the right for it is
/// missing, the stream stays as it was.
///
/// # Errors
/// [`Reason::NotFound`] for a stream of somebody else, and those of [`request`].
pub async fn modify(
    gate: &Arc<Gate>,
    id: StreamId,
    owner: Owner,
    change: Ask,
    gone: &CancellationToken,
) -> Result<Value, Refused> {
    let (run, next, has_right) = {
        let mut live = gate.streams.locked();
        let stream = owned(&mut live, id, owner)?;
        let next = Ask {
            name: None,
            profile: change.profile.or_else(|| stream.profile.clone()),
            request: stream.request.clone().changed_by(change.request),
        };
        (stream.run, next, stream.grant.is_some())
    };
    let run = gate.runs.get(run).ok_or(Reason::RunEnded)?;
    let wanted = negotiate(&caps(gate, &run.app, run.trust, true), &next.request, next.profile.as_deref());
    admit(&gate.streams.locked(), reservable(gate), Some(id), &wanted, true)?;
    let new_right = match needs_right(&wanted) && !has_right {
        true => Some(right(gate, &run, &wanted, gone).await?),
        false => None,
    };
    let (shown, to_watch) = {
        let mut live = gate.streams.locked();
        if owned(&mut live, id, owner)?.grant.is_none() && needs_right(&wanted) && new_right.is_none() {
            return Err(Refused::about(Reason::QosNotPermitted, "the permission ended meanwhile"));
        }
        let displaced = admit(&live, reservable(gate), Some(id), &wanted, true)?;
        for other in &displaced {
            degrade(gate, &mut live, *other, Reason::QosDisplaced);
        }
        let stream = owned(&mut live, id, owner)?;
        // What the network did not give before, it may give now.
        if stream.lost.take().is_some_and(is_of_network) {
            stream.network.asked = None;
        }
        (stream.request, stream.profile) = (next.request, next.profile);
        let to_watch = new_right.inspect(|right| {
            stream.grant = right.grant;
            std::mem::replace(&mut stream.watched, right.watched.clone()).cancel();
        });
        prepare(gate, stream);
        let wanted = match stream.network.is_unanswered() {
            // The room for it is kept.
            true => wanted,
            false => stream.negotiated(&stream.caps(gate, true)),
        };
        stream.give(wanted);
        note(gate, stream, "stream.modify", None, json!({ "displaced": displaced }));
        (stream.shown(&gate.flows), to_watch)
    };
    tell(gate, run.id, id, Happened::Changed);
    if let Some(right) = to_watch {
        gate.spawn(watch_over(Arc::clone(gate), id, right.lease, right.watched));
    }
    restore(gate);
    Ok(answered(gate, id, gone).await.unwrap_or(shown))
}

/// Releases a stream: its flows go on as best effort, and its room is for others.
///
/// # Errors
/// [`Reason::NotFound`] for a stream of somebody else.
pub fn release(gate: &Gate, id: StreamId, owner: Owner) -> Result<(), Refused> {
    owned(&mut gate.streams.locked(), id, owner)?;
    super::ends::release(gate, id, None);
    Ok(())
}

/// A name is for the user name of a proxy, behind the `+`.
fn may_be_called(name: &str) -> Result<(), Refused> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_id = name.parse::<StreamId>().is_ok();
    if (1..=32).contains(&name.len()) && name.bytes().all(plain) && !is_id {
        return Ok(());
    }
    let detail = "a stream's name is 1 to 32 lower-case letters, digits and hyphens, and not as an id looks";
    Err(Refused::about(Reason::RequestMalformed, detail))
}

fn has_room(
    live: &std::collections::BTreeMap<StreamId, Live>,
    run: &Run,
    name: Option<&str>,
) -> Result<(), Refused> {
    let own = || live.values().filter(|stream| stream.run == run.id);
    if let Some(name) = name
        && own().any(|stream| stream.name.as_deref() == Some(name))
    {
        let detail = format!("this run has a stream `{name}` already: change or release it");
        return Err(Refused::about(Reason::RequestMalformed, detail));
    }
    if own().count() >= MOST_OF_A_RUN {
        let detail = format!("a run has at most {MOST_OF_A_RUN} streams: release some");
        return Err(Refused::about(Reason::LimitConnections, detail));
    }
    Ok(())
}

fn needs_right(granted: &Granted) -> bool {
    granted.attributes.class.is_some_and(mexe_qos::TrafficClass::needs_permission)
}

/// What a stream lives by.
struct Right {
    lease: Lease,
    grant: Option<GrantId>,
    watched: CancellationToken,
}

/// The right to that: best effort only needs the run, all else the user's permission.
async fn right(
    gate: &Arc<Gate>,
    run: &Arc<Run>,
    wanted: &Granted,
    gone: &CancellationToken,
) -> Result<Right, Refused> {
    let ticket = match needs_right(wanted) {
        true => Some(permitted(gate, run, gone).await?),
        false => None,
    };
    let lease = lease(gate, run, ticket.as_ref())?;
    Ok(Right { lease, grant: ticket.map(|ticket| ticket.grant), watched: CancellationToken::new() })
}

async fn permitted(gate: &Arc<Gate>, run: &Arc<Run>, gone: &CancellationToken) -> Result<Ticket, Refused> {
    let wished = Wished {
        run,
        action: gate.actions.qos,
        target: Target::None,
        subject: Subject::Nothing,
        final_word: true,
        gone,
    };
    actions::decide(gate, &wished).await.map_err(|refused| match refused.reason {
        Reason::PermissionMissing => Reason::QosNotPermitted.into(),
        _ => refused,
    })
}

/// Registered so that whatever ends the right finds the stream (S7).
pub(super) fn lease(gate: &Gate, run: &Run, ticket: Option<&Ticket>) -> Result<Lease, Refused> {
    let keys = LeaseKeys {
        flow: gate.next_flow(),
        run: run.id,
        app: run.app.clone(),
        root: run.root.clone(),
        grant: ticket.map(|ticket| ticket.grant),
        qos_grant: None,
    };
    let epoch = ticket.map_or_else(|| gate.policy().epoch(), |ticket| ticket.epoch);
    let lease = gate.leases.open_beside(keys, epoch, clock::now());
    // A change between the decision and here has not found the lease.
    if run.has_ended() {
        return Err(Reason::RunEnded.into());
    }
    if gate.apps.get(&run.app).is_none_or(|app| app.suspended.is_some()) {
        return Err(Reason::AppSuspended.into());
    }
    let Some(ticket) = ticket else { return Ok(lease) };
    match gate.policy().grant(ticket.grant) {
        None => Err(Reason::PermissionRevoked.into()),
        Some(grant) if grant.is_expired(clock::now()) => Err(Reason::PermissionExpired.into()),
        Some(_) => Ok(lease),
    }
}
