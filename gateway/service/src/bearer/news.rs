//! What the news of bearers mean for the gate: a line in the journal, a word to whoever watches, and what streams, flows and
//! accounts have to be told.

use std::sync::Arc;

use mexe_journal::Record;
use serde_json::json;
use tokio::sync::broadcast;

use super::{BearerEvent, What};
use crate::clock;
use crate::events::Event;
use crate::gate::Gate;
use crate::qos;

/// Follows the bearers as long as the gate runs.
pub async fn keep(gate: Arc<Gate>) {
    let mut events = gate.bearers.watch();
    gate.bearers.follow(&gate);
    gate.app_limits.begin(&gate.bearers);
    // What was told before anybody listened.
    qos::capacity_changed(&gate);
    count_roaming(&gate);
    loop {
        let event = tokio::select! {
            () = gate.stopped() => return,
            event = events.recv() => event,
        };
        match event {
            Ok(event) => {
                note(&gate, event.clone());
                heed(&gate, &event);
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "bearers changed faster than it could be written down");
                look(&gate);
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// What it means for streams and flows. What a bearer may promise is another when it carries more or less: then guarantees
/// are judged anew.
fn heed(gate: &Gate, event: &BearerEvent) {
    match &event.what {
        What::Renegotiated(session, given) => qos::network::renegotiated(gate, *session, **given),
        What::SessionLost(session, why) => qos::network::session_lost(gate, *session, why),
        What::Lost(why) => {
            qos::network::bearer_lost(gate, &event.bearer, why);
            qos::capacity_changed(gate);
        }
        What::Found(_) => {
            qos::capacity_changed(gate);
            qos::network::bearer_found(gate);
        }
        What::Capacity(_) => qos::capacity_changed(gate),
        What::Roaming(_) => count_roaming(gate),
    }
}

fn count_roaming(gate: &Gate) {
    gate.bearers.iter().for_each(|bearer| bearer.count_roaming(|| gate.settle_flow_bytes()));
}

/// Every bearer as it is now, because some of what happened was missed.
fn look(gate: &Gate) {
    for bearer in gate.bearers.iter() {
        if let Some(why) = bearer.status().down {
            qos::network::bearer_lost(gate, bearer.name(), &why);
        }
    }
    count_roaming(gate);
    qos::network::compare(gate);
    qos::capacity_changed(gate);
    qos::network::bearer_found(gate);
}

fn note(gate: &Gate, event: BearerEvent) {
    let BearerEvent { bearer, what } = &event;
    let (action, detail) = match what {
        // The air changes every second: that is for the series.
        What::Capacity(_) => {
            gate.events.tell(Event::Bearer(event));
            return;
        }
        What::Found(capacity) => {
            ("bearer.found", json!({ "uplink": capacity.up, "downlink": capacity.down }))
        }
        What::Roaming(roaming) => ("bearer.roaming", json!({ "roaming": roaming })),
        What::Lost(why) => ("bearer.lost", json!({ "why": why.code, "says": why.says })),
        What::Renegotiated(session, given) => {
            ("bearer.renegotiate", json!({ "session": session.to_string(), "given": given }))
        }
        What::SessionLost(session, why) => {
            let detail = json!({ "session": session.to_string(), "why": why.code, "says": why.says });
            ("bearer.session-lost", detail)
        }
    };
    tracing::info!(%bearer, action, %detail, "a bearer changed");
    gate.journal.note(Record {
        target: Some(bearer.to_string()),
        detail: Some(detail),
        ..Record::change(clock::wall(), action)
    });
    gate.events.tell(Event::Bearer(event));
}
