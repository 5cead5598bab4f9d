//! An operator of our own: CAMARA's QualityOnDemand, QoS Profiles (r3.2) and a server of tokens in one process, with sessions
//! that live and die by a clock which a test can push on, and tricks that it can be told to play. It is itself judged by
//! what others wrote (`tests/scenarios/camara_judged.rs`). HTTP on 127.0.0.1; put [`crate::tls`] before it for HTTPS.

mod api;
mod http;
mod read;
mod state;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

pub use state::{Session, Stage};

use state::State;

/// What this operator does.
#[derive(Debug, Clone)]
pub struct OperatorHabits {
    /// The profiles that it offers.
    pub profiles: Vec<Value>,
    /// How long a session takes until it is available; zero: it is at once; `None`: it never is.
    pub available_after: Option<Duration>,
    /// Ends sessions instead of making them available.
    pub terminates: bool,
    /// Gives this duration instead of the one that was asked for.
    pub grants: Option<i64>,
    /// The token names the device, so that no question may.
    pub token_names_device: bool,
    /// The tokens that it takes; without any, whatever comes.
    pub tokens: Vec<String>,
    /// How long its own tokens last, seconds.
    pub token_lasts: u64,
    /// Takes every name of a profile and every address that the schema allows, so that whoever makes them up is let in.
    pub takes_any: bool,
    /// How long a record stays after its session.
    pub record_stays: Duration,
    /// The begin of a question's line (`POST /quality-on-demand/v1/sessions`), and what comes instead of its answer.
    pub tricks: Vec<(&'static str, Trick)>,
    /// Sends each event as often as this.
    pub events: usize,
}

/// What comes instead of an answer.
#[derive(Debug, Clone)]
pub enum Trick {
    /// This status with this code, and nothing is done.
    Status(u16, &'static str),
    /// This status, and when to come again, seconds.
    Later(u16, u64),
    /// The right status with this body, and nothing is done.
    Body(&'static str),
    /// The right answer, changed.
    Changed(fn(&mut Value)),
    /// It does what it was asked to and says nothing.
    Silent,
    /// It does what it was asked to and hangs up.
    HangsUp,
    /// A byte of the answer now and then.
    Slow,
    /// An answer that does not end.
    Endless,
    /// Sends the question elsewhere.
    Redirect(String),
}

impl Default for OperatorHabits {
    fn default() -> Self {
        Self {
            profiles: profiles(),
            available_after: Some(Duration::ZERO),
            terminates: false,
            grants: None,
            token_names_device: false,
            tokens: Vec::new(),
            token_lasts: 3600,
            takes_any: false,
            record_stays: Duration::from_secs(360),
            tricks: Vec::new(),
            events: 1,
        }
    }
}

/// One profile, rates in kbit/s: what is kept, and the most.
pub fn profile(name: &str, kept: u32, most: u32, longest_seconds: u32) -> Value {
    let rate = |kilo: u32| match kilo {
        1025.. => json!({ "value": kilo / 1000, "unit": "Mbps" }),
        _ => json!({ "value": kilo, "unit": "kbps" }),
    };
    json!({
        "name": name, "status": "ACTIVE", "priority": 20,
        "targetMinUpstreamRate": rate(kept), "targetMinDownstreamRate": rate(kept),
        "maxUpstreamRate": rate(most), "maxDownstreamRate": rate(most),
        "minDuration": { "value": 1, "unit": "Seconds" },
        "maxDuration": { "value": longest_seconds, "unit": "Seconds" },
    })
}

fn profiles() -> Vec<Value> {
    let mut quick = profile("QOS_E", 100, 500, 50_000);
    quick["packetDelayBudget"] = json!({ "value": 50, "unit": "Milliseconds" });
    quick["packetErrorLossRate"] = 3.into();
    let mut old = profile("QOS_OLD", 100, 20_000, 50_000);
    old["status"] = "DEPRECATED".into();
    // What the specification's own examples ask for.
    let voice = profile("voice", 40, 100, 864_000);
    vec![
        quick,
        profile("QOS_S", 200, 4_000, 50_000),
        profile("QOS_M", 500, 8_000, 50_000),
        profile("QOS_L", 900, 20_000, 50_000),
        old,
        voice,
    ]
}

struct Shared {
    state: Mutex<State>,
    over: AtomicBool,
}

/// The operator; gone when dropped.
pub struct Operator {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Operator {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(habits: OperatorHabits) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared { state: Mutex::new(State::new(habits)), over: AtomicBool::new(false) });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.over.load(Ordering::Acquire) {
                    return;
                }
                let shared = serving.clone();
                std::thread::spawn(move || {
                    // A client that goes away is an event of the test.
                    let _ = http::serve(&stream, &shared);
                });
            }
        });
        let ticking = shared.clone();
        std::thread::spawn(move || {
            while !ticking.over.load(Ordering::Acquire) {
                let events = ticking.state.lock().expect("no holder panics").tick();
                for event in events {
                    event.send();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its root.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no holder panics")
    }

    /// Changes its habits.
    pub fn change(&self, change: impl FnOnce(&mut OperatorHabits)) {
        change(&mut self.state().habits);
    }

    /// Pushes its clock on.
    pub fn pass(&self, time: Duration) {
        self.state().shift += time;
    }

    /// Its sessions, those that are over and not given back among them.
    pub fn sessions(&self) -> Vec<Session> {
        let mut state = self.state();
        let events = state.tick();
        let sessions = state.sessions.values().cloned().collect();
        drop(state);
        events.into_iter().for_each(|event| event.send());
        sessions
    }

    /// The network ends every session that is available.
    pub fn terminate(&self) {
        let events = self.state().terminate();
        events.into_iter().for_each(|event| event.send());
    }

    /// Somebody else gives every session back.
    pub fn delete_all(&self) {
        self.state().sessions.clear();
    }

    /// Every question so far: its line, and its body where it is JSON.
    pub fn heard(&self) -> Vec<(String, Value)> {
        self.state().heard.clone()
    }

    /// How many questions began like that.
    pub fn count(&self, begin: &str) -> usize {
        self.state().heard.iter().filter(|(line, _)| line.starts_with(begin)).count()
    }

    /// How often it answered with which status.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        self.state().statuses.clone()
    }

    /// The tokens that it gave.
    pub fn tokens(&self) -> Vec<String> {
        self.state().tokens.keys().cloned().collect()
    }

    /// What the sinks answered to events.
    pub fn answered(&self) -> Vec<String> {
        self.state().answered.lock().expect("no holder panics").clone()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}
