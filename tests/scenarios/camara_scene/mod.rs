//! A bearer of kind camara against an operator of our own, for the scenarios of it: the gate's own control over real
//! connections, with little patience.

#![allow(dead_code, reason = "each scenario uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mexe_model::BitRate;
use mexe_qos::attributes::TransferDelay;
use mexe_qos::{Attributes, Rate, TrafficClass};
use mexegate::bearer::{Bearer, BearerEvent, Bearers, Capacity, Packets, Request, What};
use mexegate::config::{self, BearerKind, CamaraSettings, Credential, DeviceIdentity, Guard, Mode, Pace};
use mexegate::observe::Metrics;
use rig::{Operator, OperatorHabits};
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;

pub const SESSIONS: &str = "POST /quality-on-demand/v1/sessions";
pub const TOKEN: &str = "0123-secret-4567";

pub struct Scene<'a> {
    pub operator: &'a Operator,
    pub bearers: &'a Bearers,
    pub events: Receiver<BearerEvent>,
    pub folder: &'a Path,
    pub stop: CancellationToken,
}

impl Scene<'_> {
    pub fn bearer(&self) -> &Bearer {
        self.bearers.get("mobile").unwrap()
    }

    pub async fn event(&mut self) -> What {
        let event = tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await;
        event.expect("an event in time").unwrap().what
    }

    /// Waits until it is up.
    pub async fn found(&mut self) {
        let what = self.event().await;
        assert!(matches!(what, What::Found(_)), "{what:?}");
    }

    /// Waits until it is down for that reason.
    pub async fn down(&self, code: &str) {
        let mut watch = self.bearer().watch();
        let down = watch.wait_for(|status| status.down.as_ref().is_some_and(|why| why.code == code));
        let down = tokio::time::timeout(Duration::from_secs(20), down).await;
        assert!(down.is_ok(), "it is {:?} and not down because of {code}", self.bearer().status());
    }

    /// What the session was lost for.
    pub async fn lost(&mut self) -> &'static str {
        match self.event().await {
            What::SessionLost(_, why) => why.code,
            what => panic!("{what:?} instead of a lost session"),
        }
    }

    /// Waits until that holds.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain: {what}; it heard {:?}", self.operator.heard());
    }

    /// Nothing is left with the operator.
    pub async fn is_empty(&self) {
        self.until("no session is left", || self.operator.sessions().is_empty()).await;
    }
}

/// Little patience, and a token in a file.
pub fn settings(folder: &Path, url: &str) -> CamaraSettings {
    let millis = Duration::from_millis;
    CamaraSettings {
        url: url.to_owned(),
        credential: Credential::Token(secret(folder, "token", TOKEN)),
        device: DeviceIdentity { phone_number: Some("+4930123456".into()), ..DeviceIdentity::default() },
        profiles: Default::default(),
        duration: Duration::from_secs(60),
        poll: millis(50),
        roots: folder.join("nobody.pem"),
        sink: None,
        guard: Guard::new(Mode::Serve, rustix::process::geteuid().as_raw()),
        pace: Pace {
            answer: millis(600),
            available: millis(1500),
            profiles: millis(200),
            token: millis(100),
            busy: millis(300),
            terminated: Duration::from_secs(30),
            again: millis(700),
        },
    }
}

/// A file for its owner alone.
pub fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join(name);
    std::fs::write(&file, format!("{text}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// Plays a scene on a bearer that is followed.
pub fn play(
    habits: OperatorHabits,
    change: impl FnOnce(&mut CamaraSettings, &Path),
    scene: impl AsyncFnOnce(Scene<'_>),
) {
    let operator = Operator::start(habits);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), &operator.url());
    change(&mut settings, folder.path());
    let configured = config::Bearer {
        name: "mobile".into(),
        kind: BearerKind::Camara,
        camara: Some(settings),
        uplink: Some(rate("10 Mbit/s")),
        ..config::Bearer::unlimited()
    };
    let metrics = Metrics::new().unwrap();
    let bearers = Bearers::new(&[configured], metrics.bearers());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let events = bearers.watch();
        let stop = CancellationToken::new();
        let control = Arc::clone(bearers.operator("mobile").unwrap());
        let followed = tokio::spawn(control.run(stop.clone().cancelled_owned()));
        scene(Scene {
            operator: &operator,
            bearers: &bearers,
            events,
            folder: folder.path(),
            stop: stop.clone(),
        })
        .await;
        stop.cancel();
        followed.await.unwrap();
    });
}

pub fn rate(text: &str) -> BitRate {
    text.parse().unwrap()
}

pub fn capacity(up: &str, down: &str) -> Capacity {
    Capacity { up: Some(rate(up)), down: Some(rate(down)) }
}

/// A stream of video to that server.
pub fn video(up: &str, down: &str, server: &str) -> Request {
    let (up, down) = (Some(Rate::from(rate(up))), Some(Rate::from(rate(down))));
    let wished = Attributes {
        class: Some(TrafficClass::Streaming),
        max_bitrate_up: up,
        max_bitrate_down: down,
        guaranteed_bitrate_up: up,
        guaranteed_bitrate_down: down,
        ..Attributes::default()
    };
    let packets = Packets {
        remote: Some(server.parse().unwrap()),
        port: Some(5004),
        protocol: Some(17),
        dscp: Some(34),
    };
    Request { wished, least: Capacity::default(), packets }
}

/// A call.
pub fn voice(server: &str) -> Request {
    let request = video("31 kbit/s", "32 kbit/s", server);
    let wished = Attributes {
        class: Some(TrafficClass::Conversational),
        transfer_delay: TransferDelay::new(130),
        ..request.wished
    };
    Request { wished, ..request }
}
