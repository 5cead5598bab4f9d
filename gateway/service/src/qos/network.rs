//! What the network says to a stream. A stream whose class knows guarantees (conversational, streaming) is asked for on its
//! bearer once the gate itself has admitted it; what the network gives caps it, and what the network does later changes it
//! while it is open. Who asks is `asking`; here is what is known of it, and what the bearers' own news mean.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mexe_model::{Reason, StreamId};
use mexe_qos::negotiation::{Most, Source};
use mexe_qos::{Attributes, TrafficClass};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::caps;
use super::ends::{degrade, note, restore, tell};
use super::shape::Shape;
use super::streams::{Live, admit};
use crate::bearer::{Bearer, SessionId, Why};
use crate::events::Happened;
use crate::gate::Gate;

/// How far the asking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of it is for the network.
    Unasked,
    /// It is asked for when the first flow is open, since it depends on where that goes; best effort until then.
    Waiting,
    /// The network has not answered yet. Flows have what they had, at first best effort.
    Asking,
    /// It has given something.
    Given,
    /// It gives nothing.
    Refused,
}

/// What is asked for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) bearer: Arc<str>,
    pub(super) wished: Attributes,
    /// The other end, for a bearer that can be asked for no others than the packets to and from one.
    pub(super) remote: Option<SocketAddr>,
}

/// Whether the network is to be asked.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Not at all.
    Nothing,
    /// As soon as there is a flow.
    Later,
    /// For this.
    Now(Target),
}

impl Wanted {
    pub(super) fn is(&self, asked: Option<&Target>) -> bool {
        matches!(self, Self::Now(target) if asked == Some(target))
    }
}

/// What a bearer keeps for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) bearer: Arc<str>,
    pub(super) id: SessionId,
    pub(super) remote: Option<SocketAddr>,
}

/// What a stream knows of the network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) stage: watch::Sender<Stage>,
    /// What was asked for last, whatever the answer: the same is not asked for twice.
    pub(super) asked: Option<Target>,
    pub(super) session: Option<Session>,
    /// What the network gives; none from a bearer that nobody negotiates with.
    pub(super) given: Option<Attributes>,
    /// What it said when it did not give what was asked for last.
    pub(super) why: Option<Why>,
    /// The app was told that there was no answer yet.
    pub(super) is_owed_an_answer: bool,
    /// Rung when something else may have to be asked for.
    pub(super) wake: Arc<Notify>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            stage: watch::Sender::new(Stage::Unasked),
            asked: None,
            session: None,
            given: None,
            why: None,
            is_owed_an_answer: false,
            wake: Arc::default(),
        }
    }
}

impl Network {
    pub(super) fn is_asking(&self) -> bool {
        *self.stage.borrow() == Stage::Asking
    }

    /// What flows have waits for its word.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Asking | Stage::Waiting)
    }

    /// What of it caps the stream.
    pub(super) fn cap(&self) -> Option<(Source, Most)> {
        let given = self.given?;
        let most = Most {
            class: given.class,
            max_bitrate_up: given.max_bitrate_up,
            max_bitrate_down: given.max_bitrate_down,
            guaranteed_bitrate_up: given.guaranteed_bitrate_up,
            guaranteed_bitrate_down: given.guaranteed_bitrate_down,
            transfer_delay: given.transfer_delay,
            priority_level: None,
        };
        Some((Source::Network, most))
    }

    /// The session is gone, and with it what the network gave.
    pub(super) fn lose(&mut self, why: Why) {
        (self.session, self.given, self.why) = (None, None, Some(why));
        self.stage.send_replace(Stage::Refused);
    }

    pub(super) fn shown(&self) -> Value {
        let state = match *self.stage.borrow() {
            Stage::Unasked => return Value::Null,
            Stage::Waiting => "waiting",
            Stage::Asking => "asking",
            Stage::Given => "given",
            Stage::Refused => "refused",
        };
        json!({
            "state": state,
            "bearer": self.asked.as_ref().map(|asked| &*asked.bearer),
            "server": self.asked.as_ref().and_then(|asked| asked.remote).map(|remote| remote.to_string()),
            "session": self.session.as_ref().map(|session| session.id.to_string()),
            "given": self.given,
            "why": self.why.as_ref().map(|why| why.code),
            "detail": self.why.as_ref().map(|why| &why.says),
        })
    }
}

/// Whether the stream lost what it had by the network's word: then it may ask again.
pub(super) const fn is_of_network(reason: Reason) -> bool {
    matches!(reason, Reason::BearerLost | Reason::QosNotGranted)
}

/// What the stream is to be asked for, if anything: all that the gate's own policy lets it have, whatever the bearer
/// carries at this moment, on the bearer that flows go over; where that can be asked only for one other end, for the one
/// that it was asked for last, as long as no flow of the stream goes only to others.
pub(super) fn wanted(gate: &Gate, stream: &Live) -> Wanted {
    if stream.lost.is_some_and(|reason| !is_of_network(reason)) {
        return Wanted::Nothing;
    }
    let mut caps = caps(gate, &stream.app, stream.trust, stream.grant.is_some());
    caps.retain(|(source, _)| *source != Source::Subscription);
    let wished = stream.negotiated(&caps).attributes;
    let is_asked = matches!(wished.class, Some(TrafficClass::Conversational | TrafficClass::Streaming));
    let Some(bearer) = gate.bearers.first().filter(|_| is_asked) else { return Wanted::Nothing };
    let (name, before) = (bearer.name(), stream.network.asked.as_ref());
    let mut remote = None;
    if bearer.needs_remote() {
        let before = before.filter(|asked| asked.bearer == *name).and_then(|asked| asked.remote);
        let held = stream.network.session.as_ref().filter(|held| held.bearer == *name);
        let before = before.or_else(|| held.and_then(|held| held.remote));
        remote = covered(&gate.flows.ends_of(stream.id, name), before);
        if remote.is_none() {
            return Wanted::Later;
        }
    }
    Wanted::Now(Target { bearer: Arc::clone(name), wished, remote })
}

/// Which of the ends that flows go to is to be covered: the one that was before, unless there are only others; then that
/// of the oldest flow.
fn covered(ends: &[SocketAddr], before: Option<SocketAddr>) -> Option<SocketAddr> {
    let is_there = |before: &SocketAddr| ends.is_empty() || ends.contains(before);
    before.filter(is_there).or_else(|| ends.first().copied())
}

/// To be called when what a stream is to have has changed, before it is given to it: if the network is to be asked for it
/// first, its flows have it when the network has answered.
pub(super) fn prepare(gate: &Gate, stream: &mut Live) {
    let wanted = wanted(gate, stream);
    let network = &mut stream.network;
    let stage = match &wanted {
        _ if wanted.is(network.asked.as_ref()) => return,
        Wanted::Now(_) => Stage::Asking,
        Wanted::Later => return wait_for_a_flow(stream),
        Wanted::Nothing => {
            (network.asked, network.given, network.why) = (None, None, None);
            Stage::Unasked
        }
    };
    network.stage.send_replace(stage);
    network.wake.notify_one();
}

/// There is no telling yet what the stream is to be asked for, and its flows have best effort until there is.
pub(super) fn wait_for_a_flow(stream: &mut Live) {
    (stream.network.asked, stream.network.given, stream.network.why) = (None, None, None);
    withhold(stream);
    stream.network.stage.send_replace(Stage::Waiting);
    stream.network.wake.notify_one();
}

/// Its flows have best effort until they are given something.
pub(super) fn withhold(stream: &Live) {
    stream.shape.send_if_modified(|shape| std::mem::replace(shape, Shape::BEST_EFFORT) != Shape::BEST_EFFORT);
}

/// A flow of the stream was opened or has ended, on a bearer that has to know where flows go.
pub fn flows_changed(gate: &Gate, id: StreamId) {
    let mut live = gate.streams.locked();
    let Some(stream) = live.get_mut(&id) else { return };
    // What was refused or lost is asked for again for another end, and not for the same.
    if !wanted(gate, stream).is(stream.network.asked.as_ref()) {
        stream.network.wake.notify_one();
    }
}

/// The network gives that stream something now, so it is given to its flows; who had lost it has it again, if there is room.
pub(super) fn take_up(gate: &Gate, live: &mut BTreeMap<StreamId, Live>, id: StreamId) {
    let Some(stream) = live.get(&id) else { return };
    let granted = stream.negotiated(&stream.caps(gate, stream.grant.is_some()));
    if admit(live, super::reservable(gate), Some(id), &granted, false).is_err() {
        return degrade(gate, live, id, Reason::QosNotAdmitted);
    }
    let Some(stream) = live.get_mut(&id) else { return };
    let had_lost = stream.lost.take().is_some();
    let is_news = std::mem::take(&mut stream.network.is_owed_an_answer) || granted != stream.granted;
    stream.give(granted);
    let (action, happened) = match had_lost {
        true => ("stream.restore", Happened::Restored),
        false if is_news => ("stream.modify", Happened::Changed),
        false => return,
    };
    note(gate, stream, action, None, json!({ "because": "network", "network": stream.network.shown() }));
    tell(gate, stream.run, id, happened);
}

/// The network gives nothing: the stream goes on as best effort. To be called once for each answer.
pub(super) fn fall_back(
    gate: &Gate,
    live: &mut BTreeMap<StreamId, Live>,
    id: StreamId,
    reason: Reason,
    why: Why,
) {
    let Some(stream) = live.get_mut(&id) else { return };
    stream.network.lose(why);
    let is_owed = std::mem::take(&mut stream.network.is_owed_an_answer);
    // Who asked again and had no luck has lost nothing more.
    if stream.lost != Some(reason) || is_owed {
        degrade(gate, live, id, reason);
    }
}

/// The network gives that session something else.
pub fn renegotiated(gate: &Gate, session: SessionId, given: Attributes) {
    {
        let mut live = gate.streams.locked();
        let Some(stream) = of_session(&mut live, session) else { return };
        // Of a bearer that nobody negotiates with, it is nothing new.
        if stream.network.given.is_none() {
            return;
        }
        let before = stream.network.given.replace(given);
        let id = stream.id;
        let granted = stream.negotiated(&stream.caps(gate, true));
        // Whether there is room for more than before. If not, it has what it had.
        if admit(&live, super::reservable(gate), Some(id), &granted, false).is_err() {
            if let Some(stream) = live.get_mut(&id) {
                stream.network.given = before;
            }
            return;
        }
        take_up(gate, &mut live, id);
    }
    restore(gate);
}

/// The network ended that session.
pub fn session_lost(gate: &Gate, session: SessionId, why: &Why) {
    {
        let mut live = gate.streams.locked();
        let Some(id) = of_session(&mut live, session).map(|stream| stream.id) else { return };
        fall_back(gate, &mut live, id, Reason::QosNotGranted, why.clone());
    }
    restore(gate);
}

/// What every session has now, because some of what happened was missed.
pub fn compare(gate: &Gate) {
    let held: Vec<Session> =
        gate.streams.locked().values().filter_map(|stream| stream.network.session.clone()).collect();
    for Session { bearer, id, .. } in held {
        match gate.bearers.get(&bearer).and_then(|bearer| bearer.given(id)) {
            Some(given) => renegotiated(gate, id, given),
            None => session_lost(gate, id, &Why::new("network-ended", "the session is gone")),
        }
    }
}

/// That bearer can be used no longer. Whatever went over it is cut, since no connection can move to another address; the
/// streams that it gave something to are best effort until another bearer, or the same one, gives it again.
pub fn bearer_lost(gate: &Gate, bearer: &str, why: &Why) {
    if gate.bearers.get(bearer).is_some_and(|bearer| bearer.is_path()) {
        gate.cut_bearer(bearer);
    }
    let mut live = gate.streams.locked();
    let is_on = |stream: &&Live| {
        stream.network.session.as_ref().is_some_and(|session| *session.bearer == *bearer)
            || (stream.network.is_asking()
                && stream.network.asked.as_ref().is_some_and(|asked| *asked.bearer == *bearer))
    };
    let on_it: Vec<StreamId> = live.values().filter(is_on).map(|stream| stream.id).collect();
    for id in on_it {
        fall_back(gate, &mut live, id, Reason::BearerLost, why.clone());
    }
    ask_again(&mut live);
}

/// A bearer can be used that could not: whoever was given nothing may ask again, and who is on a bearer that comes after it
/// moves to it.
pub fn bearer_found(gate: &Gate) {
    ask_again(&mut gate.streams.locked());
}

fn ask_again(live: &mut BTreeMap<StreamId, Live>) {
    for stream in live.values_mut() {
        // Who is being answered has asked already.
        if stream.lost.is_some_and(is_of_network) && !stream.network.is_asking() {
            stream.network.asked = None;
        }
        stream.network.wake.notify_one();
    }
}

fn of_session(live: &mut BTreeMap<StreamId, Live>, session: SessionId) -> Option<&mut Live> {
    live.values_mut().find(|stream| stream.network.session.as_ref().is_some_and(|held| held.id == session))
}

/// What that bearer's word is worth as a cap: one that nobody negotiates with says nothing that admission does not know.
pub(super) fn cap_of(bearer: &Bearer, given: Attributes) -> Option<Attributes> {
    bearer.is_negotiated().then_some(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_end_stays_covered_until_flows_go_only_to_others() {
        let [a, b, c] = [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        assert_eq!(covered(&[], None), None, "nobody knows where to");
        assert_eq!(covered(&[b, a], None), Some(b), "the oldest flow's");
        assert_eq!(covered(&[b, a], Some(a)), Some(a));
        assert_eq!(covered(&[b, c], Some(a)), Some(b));
        assert_eq!(covered(&[], Some(a)), Some(a), "the next flow may go there again");
    }
}
