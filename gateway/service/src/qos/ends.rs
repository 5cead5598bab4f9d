//! What ends or narrows a stream: its permission ends (it goes on as best effort), its run or app ends (so does it), a more
//! important one needs its room, or the bearer becomes smaller. Whoever lost the room for it, and nothing else, has it back
//! when there is room again. All of that is told, and written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use mexe_journal::Record;
use mexe_model::{AppId, Reason, RunId, StreamId};
use mexe_qos::admission;
use mexe_qos::negotiation::{Granted, Most, Source};
use mexe_relay::Lease;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::ask::lease;
use super::network::{is_of_network, prepare};
use super::shape::Shape;
use super::streams::{Live, admit, held, needs};
use super::{caps, reservable};
use crate::clock;
use crate::events::{Event, Happened};
use crate::gate::Gate;

/// Watches over what a stream lives by, until that ends or another watch takes its place.
pub(super) async fn watch_over(
    gate: Arc<Gate>,
    id: StreamId,
    mut lease_held: Lease,
    watched: CancellationToken,
) {
    loop {
        let reason = tokio::select! {
            biased;
            () = watched.cancelled() => return,
            reason = lease_held.cancelled() => reason,
            () = gate.stopped() => return,
        };
        let run = gate.runs.get(lease_held.handle().keys().run);
        let is_permission = matches!(
            reason,
            Reason::PermissionRevoked
                | Reason::PermissionExpired
                | Reason::BudgetUsedUp
                | Reason::OutsideHours
        );
        // Best effort needs no permission, so the stream lives on by its run alone.
        match run.filter(|_| is_permission).and_then(|run| lease(&gate, &run, None).ok()) {
            Some(by_run) => lease_held = by_run,
            None => return release(&gate, id, Some(reason)),
        }
        {
            let mut live = gate.streams.locked();
            if watched.is_cancelled() {
                return;
            }
            // What needed no permission loses nothing with one.
            if live.get_mut(&id).is_none_or(|stream| stream.grant.take().is_none()) {
                continue;
            }
            degrade(&gate, &mut live, id, reason);
        }
        restore(&gate);
    }
}

/// The stream goes on as best effort.
pub(super) fn degrade(gate: &Gate, live: &mut BTreeMap<StreamId, Live>, id: StreamId, reason: Reason) {
    let Some(stream) = live.get_mut(&id) else { return };
    let best_effort = best_effort(gate, stream, reason);
    stream.lost = Some(reason);
    if !is_of_network(reason) {
        prepare(gate, stream);
    }
    stream.give(best_effort);
    let network = stream.network.shown();
    let more = if network.is_null() { Value::Null } else { json!({ "network": network }) };
    note(gate, stream, "stream.degrade", Some(reason), more);
    tell(gate, stream.run, id, Happened::Degraded(reason));
}

/// What the stream has as best effort, for that reason.
fn best_effort(gate: &Gate, stream: &Live, reason: Reason) -> Granted {
    let source = match reason {
        Reason::QosNotAdmitted => Source::Subscription,
        Reason::QosDisplaced => Source::Operator,
        Reason::QosNotGranted | Reason::BearerLost => Source::Network,
        _ => Source::User,
    };
    let mut caps = caps(gate, &stream.app, stream.trust, true);
    caps.push((source, Most::BEST_EFFORT));
    stream.negotiated(&caps)
}

/// The stream is over; what still uses it is best effort.
pub(super) fn release(gate: &Gate, id: StreamId, reason: Option<Reason>) {
    let Some(stream) = gate.streams.locked().remove(&id) else { return };
    stream.shape.send_replace(Shape::BEST_EFFORT);
    stream.watched.cancel();
    stream.network.wake.notify_one();
    note(gate, &stream, "stream.release", reason, Value::Null);
    tell(gate, stream.run, id, Happened::Released);
    restore(gate);
}

/// Who lost the room and nothing else has it back if there is room now; the most important first, and displacing nobody.
pub(super) fn restore(gate: &Gate) {
    let mut live = gate.streams.locked();
    let lost_room =
        |stream: &&Live| matches!(stream.lost, Some(Reason::QosDisplaced | Reason::QosNotAdmitted));
    let mut waiting: Vec<_> = live
        .values()
        .filter(lost_room)
        .map(|stream| (stream.granted.attributes.arp.map(|arp| arp.level), stream.id))
        .collect();
    waiting.sort_unstable();
    for (_, id) in waiting {
        let Some(stream) = live.get(&id) else { continue };
        let granted = stream.negotiated(&stream.caps(gate, stream.grant.is_some()));
        if admit(&live, reservable(gate), Some(id), &granted, false).is_err() {
            continue;
        }
        if let Some(stream) = live.get_mut(&id) {
            stream.lost = None;
            prepare(gate, stream);
            stream.give(granted);
            note(gate, stream, "stream.restore", None, Value::Null);
            tell(gate, stream.run, id, Happened::Restored);
        }
    }
}

/// A bearer carries something else than before, or flows go over another: every stream is negotiated anew, and who finds no room any longer goes
/// on as best effort. Called when the configuration is read again, and by whoever watches a bearer.
pub fn capacity_changed(gate: &Gate) {
    for bearer in gate.bearers.iter() {
        let status = bearer.status();
        if status.is_up() || !bearer.is_path() {
            bearer.shaping().set_capacity(status.capacity);
        }
    }
    negotiate_anew(gate, "capacity", None);
}

/// Every stream has what it can have now; those of an app whose limit has changed are asked for anew where there is a network
/// to ask.
pub(super) fn negotiate_anew(gate: &Gate, because: &str, limited: Option<&AppId>) {
    {
        let mut live = gate.streams.locked();
        let ids: Vec<StreamId> = live.keys().copied().collect();
        for id in ids {
            let Some(stream) = live.get(&id) else { continue };
            let is_asked = limited == Some(&stream.app) && stream.lost.is_none_or(is_of_network);
            let next = match stream.lost {
                Some(reason) => best_effort(gate, stream, reason),
                // As if the network gave all of it: the room for that is kept.
                None if is_asked => stream.negotiated(&caps(gate, &stream.app, stream.trust, true)),
                None => stream.negotiated(&stream.caps(gate, true)),
            };
            let (before, after) = (needs(&stream.granted).0, needs(&next).0);
            let is_more = after.up > before.up || after.down > before.down;
            // If there is no room for more than before, it has what it had: it may not take it from others.
            if is_more && admit(&live, reservable(gate), Some(id), &next, false).is_err() {
                continue;
            }
            let Some(stream) = live.get_mut(&id) else { continue };
            if is_asked {
                prepare(gate, stream);
            }
            let next = match stream.lost {
                None if !stream.network.is_unanswered() => stream.negotiated(&stream.caps(gate, true)),
                _ => next,
            };
            if next == stream.granted {
                continue;
            }
            stream.give(next);
            if stream.lost.is_none() {
                note(gate, stream, "stream.modify", None, json!({ "because": because }));
                tell(gate, stream.run, stream.id, Happened::Changed);
            }
        }
        for id in admission::readmit(reservable(gate), &held(&live, None)) {
            degrade(gate, &mut live, id, Reason::QosNotAdmitted);
        }
    }
    restore(gate);
}

/// Tells whoever watches.
pub(super) fn tell(gate: &Gate, run: RunId, id: StreamId, happened: Happened) {
    gate.events.tell(Event::Stream(id, run, happened));
}

/// Writes down what became of a stream.
pub(super) fn note(gate: &Gate, stream: &Live, action: &'static str, reason: Option<Reason>, more: Value) {
    let mut detail = json!({
        "stream": stream.id,
        "name": stream.name,
        "profile": stream.profile.as_ref().map(|profile| &*profile.name),
        "attributes": stream.granted.attributes,
    });
    if let (Value::Object(detail), Value::Object(more)) = (&mut detail, more) {
        detail.extend(more);
    }
    gate.journal.note(Record {
        app: Some(stream.app.clone()),
        run: Some(stream.run),
        domain: Some(stream.trust),
        reason,
        grant: stream.grant,
        class: stream.granted.attributes.class.map(|class| class.as_str().into()),
        detail: Some(detail),
        ..Record::change(clock::wall(), action)
    });
}
