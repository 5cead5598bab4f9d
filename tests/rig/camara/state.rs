//! The sessions of the operator: what they are, and what time does to them.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use mexe_model::WallTime;
use serde_json::{Value, json};

use super::OperatorHabits;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Asked for.
    Requested,
    /// Available.
    Available,
    /// Over, for that reason.
    Over(&'static str),
}

/// One session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its number.
    pub id: String,
    /// What it was asked for with.
    pub asked: Value,
    /// Where it is.
    pub stage: Stage,
    /// Its time in seconds, all of it.
    pub duration: u64,
    /// On the operator's clock: since when it is as it is.
    pub since: Duration,
}

/// Everything that the operator knows.
pub(super) struct State {
    pub(super) habits: OperatorHabits,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) heard: Vec<(String, Value)>,
    pub(super) statuses: BTreeMap<u16, usize>,
    pub(super) shift: Duration,
    pub(super) answered: Arc<Mutex<Vec<String>>>,
    /// The tokens that it gave, and until when they count.
    pub(super) tokens: BTreeMap<String, Duration>,
    begun: Instant,
    last: u64,
}

/// An event on its way.
pub(super) struct Event {
    sink: String,
    token: Option<String>,
    body: Value,
    times: usize,
    answered: Arc<Mutex<Vec<String>>>,
}

impl Event {
    /// By curl, in a thread of its own: whoever listens may take his time.
    pub(super) fn send(self) {
        std::thread::spawn(move || {
            for _ in 0..self.times {
                let mut curl = Command::new("curl");
                curl.args(["-sk", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}"]);
                curl.args(["-H", "Content-Type: application/cloudevents+json", "-d", &self.body.to_string()]);
                if let Some(token) = &self.token {
                    curl.args(["-H", &format!("Authorization: Bearer {token}")]);
                }
                let output = curl.arg(&self.sink).output().expect("tests/run installs curl");
                let status = String::from_utf8_lossy(&output.stdout).into_owned();
                self.answered.lock().expect("no holder panics").push(status);
            }
        });
    }
}

impl State {
    pub(super) fn new(habits: OperatorHabits) -> Self {
        Self {
            habits,
            sessions: BTreeMap::new(),
            heard: Vec::new(),
            statuses: BTreeMap::new(),
            shift: Duration::ZERO,
            answered: Arc::default(),
            tokens: BTreeMap::new(),
            begun: Instant::now(),
            last: 0,
        }
    }

    /// The operator's clock.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed() + self.shift
    }

    /// A moment of that clock as it is written.
    pub(super) fn written(&self, at: Duration) -> String {
        let begun = SystemTime::now() - self.begun.elapsed();
        let since = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + at;
        WallTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(0)).to_string()
    }

    /// A number that nothing had before.
    pub(super) fn number(&mut self) -> String {
        self.last += 1;
        let n = self.last.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            n >> 32,
            (n >> 16) & 0xffff,
            n & 0xfff,
            (n >> 20) & 0xfff,
            self.last
        )
    }

    /// What has become of the sessions by now.
    pub(super) fn tick(&mut self) -> Vec<Event> {
        let now = self.now();
        let mut events = Vec::new();
        let ids: Vec<String> = self.sessions.keys().cloned().collect();
        for id in ids {
            let session = self.sessions[&id].clone();
            match session.stage {
                Stage::Requested => {
                    let Some(after) =
                        self.habits.available_after.filter(|after| now >= session.since + *after)
                    else {
                        continue;
                    };
                    let at = session.since + after;
                    match self.habits.terminates {
                        true => events.extend(self.over(&id, "NETWORK_TERMINATED", at)),
                        false => events.extend(self.becomes(&id, Stage::Available, at)),
                    }
                }
                Stage::Available => {
                    let end = session.since + Duration::from_secs(session.duration);
                    if now >= end {
                        events.extend(self.over(&id, "DURATION_EXPIRED", end));
                    }
                }
                Stage::Over(_) => {
                    if now >= session.since + self.habits.record_stays {
                        self.sessions.remove(&id);
                    }
                }
            }
        }
        events
    }

    /// The network ends what is available.
    pub(super) fn terminate(&mut self) -> Vec<Event> {
        let now = self.now();
        let available = self.sessions.values().filter(|session| session.stage == Stage::Available);
        let ids: Vec<String> = available.map(|session| session.id.clone()).collect();
        ids.iter().filter_map(|id| self.over(id, "NETWORK_TERMINATED", now)).collect()
    }

    pub(super) fn over(&mut self, id: &str, why: &'static str, at: Duration) -> Option<Event> {
        let session = self.sessions.get_mut(id)?;
        if session.stage == Stage::Available {
            session.duration = (at.saturating_sub(session.since)).as_secs().max(1);
        }
        self.becomes(id, Stage::Over(why), at)
    }

    pub(super) fn becomes(&mut self, id: &str, stage: Stage, at: Duration) -> Option<Event> {
        let time = self.written(at);
        let session = self.sessions.get_mut(id)?;
        (session.stage, session.since) = (stage, at);
        let sink = session.asked["sink"].as_str()?.to_owned();
        let token = session.asked["sinkCredential"]["accessToken"].as_str().map(str::to_owned);
        let mut data = json!({ "sessionId": id, "qosStatus": "AVAILABLE" });
        if let Stage::Over(why) = stage {
            data["qosStatus"] = "UNAVAILABLE".into();
            data["statusInfo"] = why.into();
        }
        self.last += 1;
        let body = json!({
            "id": self.last.to_string(), "source": format!("/sessions/{id}"), "specversion": "1.0",
            "type": "org.camaraproject.quality-on-demand.v1.qos-status-changed", "time": time, "data": data,
        });
        Some(Event { sink, token, body, times: self.habits.events, answered: self.answered.clone() })
    }

    /// The session as the API shows it.
    pub(super) fn shown(&self, session: &Session) -> Value {
        let mut shown = json!({
            "sessionId": session.id, "duration": session.duration, "qosProfile": session.asked["qosProfile"],
            "applicationServer": session.asked["applicationServer"],
        });
        for key in ["applicationServerPorts", "devicePorts", "sink"] {
            if !session.asked[key].is_null() {
                shown[key] = session.asked[key].clone();
            }
        }
        // One identifier of the device, where any was given.
        if let Some((key, value)) =
            session.asked["device"].as_object().and_then(|device| device.iter().next())
        {
            shown["device"] = json!({ key: value });
        }
        shown["qosStatus"] = match session.stage {
            Stage::Requested => "REQUESTED".into(),
            Stage::Available => {
                let end = session.since + Duration::from_secs(session.duration);
                shown["startedAt"] = self.written(session.since).into();
                shown["expiresAt"] = self.written(end).into();
                "AVAILABLE".into()
            }
            Stage::Over(why) => {
                shown["statusInfo"] = why.into();
                shown["expiresAt"] = self.written(session.since).into();
                "UNAVAILABLE".into()
            }
        };
        shown
    }
}
