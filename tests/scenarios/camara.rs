//! Quality of service from an operator's API: what is asked for, what becomes of it, how a session is kept as long as it is
//! needed and no longer. Trap 10 of the standards' list is here; what goes wrong is in `camara_wrong.rs`.

mod camara_scene;

use std::path::Path;
use std::time::Duration;

use camara_scene::*;
use mexe_qos::attributes::TransferDelay;
use mexe_qos::{Attributes, ErrorRatio, TrafficClass};
use mexegate::bearer::{DEADLINE, Packets, Request, What};
use mexegate::config::{CamaraSettings, Credential, DeviceIdentity, SinkSettings};
use rig::camara::{Stage, profile};
use rig::ports::Ports;
use rig::tls::{Certificate, Front};
use rig::{OperatorHabits, Trick};
use serde_json::json;

#[test]
fn a_call_gets_a_session_with_the_least_profile_and_gives_it_back() {
    play(
        OperatorHabits::default(),
        |_, _| {},
        async |mut scene| {
            scene.found().await;
            let granted = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
            assert_eq!(granted.attributes.guaranteed_up(), Some(rate("31 kbit/s")));
            assert_eq!(granted.attributes.transfer_delay, TransferDelay::new(50));
            assert_eq!(granted.attributes.sdu_error_ratio, ErrorRatio::new(1, 3));
            let session = scene.operator.sessions().pop().unwrap();
            let asked = json!({
                "device": { "phoneNumber": "+4930123456" },
                "applicationServer": { "ipv4Address": "198.51.100.7" },
                "applicationServerPorts": { "ports": [5004] },
                "qosProfile": "QOS_E", "duration": 60,
            });
            assert_eq!((session.asked, session.stage), (asked, Stage::Available));
            let again = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap_err();
            assert_eq!(again.code(), "busy", "its packets have one: {again}");
            let other =
                scene.bearer().negotiate(&video("600 kbit/s", "1 Mbit/s", "2001:db8::9")).await.unwrap();
            assert_eq!(
                other.attributes.guaranteed_down(),
                Some(rate("900 kbit/s")),
                "the most that there is"
            );
            scene.bearer().release(granted.session).await.unwrap();
            scene.bearer().release(granted.session).await.unwrap();
            assert_eq!(scene.operator.sessions().len(), 1);
            // What is left is given back when the gate stops.
            scene.stop.cancel();
            scene.is_empty().await;
        },
    );
}

#[test]
fn a_session_is_available_when_the_network_says_so() {
    let habits =
        OperatorHabits { available_after: Some(Duration::from_millis(400)), ..OperatorHabits::default() };
    play(
        habits,
        |_, _| {},
        async |mut scene| {
            scene.found().await;
            let asked = tokio::time::Instant::now();
            scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
            assert!(asked.elapsed() >= Duration::from_millis(400), "not before");
            assert_eq!(scene.operator.sessions()[0].stage, Stage::Available);
            // And never: that is a fault, and leaves nothing.
            scene.operator.change(|habits| habits.available_after = None);
            let fault = scene.bearer().negotiate(&voice("198.51.100.8")).await.unwrap_err();
            assert_eq!(fault.code(), "silent", "{fault}");
            scene.until("it is given back", || scene.operator.sessions().len() == 1).await;
        },
    );
}

#[test]
fn whoever_does_not_wait_leaves_no_session_behind() {
    let habits = OperatorHabits { available_after: None, ..OperatorHabits::default() };
    let patient = |settings: &mut CamaraSettings, _: &Path| settings.pace.available = DEADLINE;
    play(habits, patient, async |mut scene| {
        scene.found().await;
        let request = voice("198.51.100.7");
        let asked =
            tokio::time::timeout(Duration::from_millis(150), scene.bearer().negotiate(&request)).await;
        assert!(asked.is_err(), "nobody waits any more");
        scene.until("it was begun", || scene.operator.count(SESSIONS) == 1).await;
        scene.is_empty().await;
    });
}

#[test]
fn trap_10_an_extension_is_capped_and_not_refused() {
    let habits =
        OperatorHabits { profiles: vec![profile("QOS_S", 500, 4_000, 3)], ..OperatorHabits::default() };
    play(
        habits,
        |settings, _| settings.duration = Duration::from_secs(2),
        async |mut scene| {
            scene.found().await;
            let begun = tokio::time::Instant::now();
            scene.bearer().negotiate(&voice_without_delay("198.51.100.7")).await.unwrap();
            assert_eq!(scene.operator.sessions()[0].duration, 2);
            // 2 + 2 with 3 at most are 3, and that is no error. The session lasts as long, and is not asked for more again.
            assert_eq!(scene.lost().await, "duration-expired");
            let lasted = begun.elapsed();
            assert!(lasted >= Duration::from_millis(2_900), "it lasted {lasted:?}");
            assert_eq!(extensions(&scene), 1);
            scene.is_empty().await;
        },
    );
}

#[test]
fn a_session_is_extended_as_long_as_it_is_needed() {
    let habits =
        OperatorHabits { profiles: vec![profile("QOS_S", 500, 4_000, 3_600)], ..OperatorHabits::default() };
    play(
        habits,
        |settings, _| settings.duration = Duration::from_secs(1),
        async |mut scene| {
            scene.found().await;
            let granted = scene.bearer().negotiate(&voice_without_delay("198.51.100.7")).await.unwrap();
            scene.until("three seconds were asked for", || extensions(&scene) == 2).await;
            let session = scene.operator.sessions().pop().unwrap();
            assert_eq!((session.stage, session.duration), (Stage::Available, 3));
            scene.bearer().release(granted.session).await.unwrap();
            scene.is_empty().await;
            assert!(scene.events.try_recv().is_err(), "nothing was lost");
        },
    );
}

fn voice_without_delay(server: &str) -> Request {
    let request = voice(server);
    Request { wished: Attributes { transfer_delay: None, ..request.wished }, ..request }
}

fn extensions(scene: &Scene<'_>) -> usize {
    scene.operator.heard().iter().filter(|(line, _)| line.ends_with("/extend")).count()
}

#[test]
fn trap_10_a_session_that_the_network_ended_blocks_another_one() {
    play(
        OperatorHabits::default(),
        |_, _| {},
        async |mut scene| {
            scene.found().await;
            scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
            scene.operator.terminate();
            assert_eq!(scene.lost().await, "network-terminated");
            // The record would be in the way for six minutes: it is given back, and the network left in peace all the same.
            scene.is_empty().await;
            let fault = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap_err();
            assert_eq!(fault.code(), "busy");
            assert!(fault.to_string().contains("network-terminated: another session in 1 s"), "{fault}");
            assert_eq!(scene.operator.count(SESSIONS), 1, "it was not even asked");
            // Others are no concern of it.
            scene.bearer().negotiate(&voice("198.51.100.8")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(800)).await;
            scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();

            // Where it cannot be given back, it is left alone until the record is gone by itself.
            scene.operator.change(|habits| habits.tricks = vec![("DELETE", Trick::Status(500, "INTERNAL"))]);
            scene.operator.terminate();
            assert_eq!(
                (scene.lost().await, scene.lost().await),
                ("network-terminated", "network-terminated")
            );
            scene.until("it was tried", || scene.operator.count("DELETE") >= 4).await;
            let fault = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap_err();
            let seconds: u64 = fault
                .to_string()
                .split("session in ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert!((25..=30).contains(&seconds), "{fault}");
            assert_eq!(scene.operator.count(SESSIONS), 3);
            // And tried again and again, so that nothing stays.
            scene.operator.change(|habits| habits.tricks.clear());
            scene.is_empty().await;
        },
    );
}

#[test]
fn trap_10_events_that_repeat_the_answer_change_nothing() {
    let ports = Ports::take();
    let listen = ports.socks;
    let habits = OperatorHabits { events: 3, ..OperatorHabits::default() };
    let sink = |settings: &mut CamaraSettings, folder: &Path| {
        let own = Certificate::make(folder, "sink", "IP:127.0.0.1");
        let url = format!("https://{listen}/events");
        settings.sink = Some(SinkSettings { url, listen, certificate: own.certificate, key: own.key });
        // Without events nothing would be seen for long.
        settings.poll = Duration::from_secs(30);
        settings.pace.profiles = Duration::from_secs(30);
    };
    play(habits, sink, async |mut scene| {
        scene.found().await;
        let first = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
        scene.until("three events", || scene.operator.answered() == ["204"; 3]).await;
        assert!(scene.events.try_recv().is_err(), "it was available already");
        assert_eq!(scene.bearers.list()[0]["sessions"].as_array().unwrap().len(), 1);

        // An event is all that tells of the end, and three of them end it once.
        scene.operator.terminate();
        assert_eq!(scene.lost().await, "network-terminated");
        scene.until("six events", || scene.operator.answered().len() == 6).await;
        scene.is_empty().await;
        assert!(scene.events.try_recv().is_err(), "once");
        scene.bearer().release(first.session).await.unwrap();

        // One that becomes available later does so by its event.
        scene.operator.change(|habits| habits.available_after = Some(Duration::from_millis(300)));
        scene.bearer().negotiate(&voice("198.51.100.8")).await.unwrap();

        // What proves nothing, or is no event, is turned away and changes nothing.
        let id = scene.operator.sessions().pop().unwrap().id;
        let over = json!({
            "id": "1", "source": "x", "specversion": "1.0", "time": "2024-06-01T13:00:00Z",
            "type": "org.camaraproject.quality-on-demand.v1.qos-status-changed",
            "data": { "sessionId": id, "qosStatus": "UNAVAILABLE", "statusInfo": "NETWORK_TERMINATED" },
        })
        .to_string();
        let asked = scene.operator.heard();
        let proof =
            asked.iter().rev().find_map(|(_, body)| body["sinkCredential"]["accessToken"].as_str()).unwrap();
        let right = format!("Authorization: Bearer {proof}");
        // The events of that one are through.
        scene.until("nine events", || scene.operator.answered().len() == 9).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let looks = || scene.operator.count("GET /quality-on-demand/v1/sessions/");
        let before = looks();
        for (status, header, path, body) in [
            (401, "X-None: none", "events", over.as_str()),
            (401, "Authorization: Bearer wrong", "events", &over),
            (404, &right, "other", &over),
            (400, &right, "events", "{}"),
            (413, &right, "events", &"x".repeat(20_000)),
            (204, &right, "events", &over),
        ] {
            let url = format!("https://{listen}/{path}");
            let kind = "Content-Type: application/cloudevents+json";
            let arguments = ["-k", "-H", header, "-H", kind, "-d", body, &url].map(str::to_owned);
            let reply = tokio::task::spawn_blocking(move || rig::Reply::of(arguments)).await.unwrap();
            assert_eq!(reply.status, status, "{path} {header}");
        }
        // The last one was a lie: the session was looked at, and is as it was.
        scene.until("a look", || looks() > before).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(scene.events.try_recv().is_err());
        assert_eq!(scene.bearers.list()[0]["sessions"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn every_end_of_a_session_has_its_name() {
    play(
        OperatorHabits::default(),
        |_, _| {},
        async |mut scene| {
            scene.found().await;
            scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
            scene.operator.delete_all();
            assert_eq!(scene.lost().await, "session-gone");
            for (server, body, code) in [
                (
                    "198.51.100.8",
                    (|value| over(value, "DELETE_REQUESTED")) as fn(&mut serde_json::Value),
                    "delete-requested",
                ),
                ("198.51.100.9", |value| over(value, "DURATION_EXPIRED"), "duration-expired"),
                ("198.51.100.10", |value| value["qosStatus"] = "UNAVAILABLE".into(), "unavailable"),
                ("198.51.100.11", |value| value["qosStatus"] = "REQUESTED".into(), "api-nonsense"),
            ] {
                scene.bearer().negotiate(&voice(server)).await.unwrap();
                scene.operator.change(|habits| habits.tricks = vec![("GET", Trick::Changed(body))]);
                assert_eq!(scene.lost().await, code);
                scene.operator.change(|habits| habits.tricks.clear());
                scene.is_empty().await;
            }
        },
    );
}

fn over(value: &mut serde_json::Value, why: &str) {
    value["qosStatus"] = "UNAVAILABLE".into();
    value["statusInfo"] = why.into();
}

#[test]
fn a_session_is_changed_by_another_one_and_stays_where_that_is_refused() {
    let seldom = |settings: &mut CamaraSettings, _: &Path| settings.pace.profiles = DEADLINE;
    play(OperatorHabits::default(), seldom, async |mut scene| {
        scene.found().await;
        let server = "198.51.100.7";
        let granted = scene.bearer().negotiate(&video("150 kbit/s", "150 kbit/s", server)).await.unwrap();
        let profile = || scene.operator.sessions()[0].asked["qosProfile"].clone();
        assert_eq!(profile(), "QOS_S");
        // The same profile serves it: nobody is asked.
        let given =
            scene.bearer().modify(granted.session, &video("64 kbit/s", "180 kbit/s", server)).await.unwrap();
        assert_eq!((given.guaranteed_down(), scene.operator.count(SESSIONS)), (Some(rate("180 kbit/s")), 1));
        let given =
            scene.bearer().modify(granted.session, &video("600 kbit/s", "700 kbit/s", server)).await.unwrap();
        assert_eq!((given.guaranteed_down(), profile()), (Some(rate("700 kbit/s")), json!("QOS_L")));
        // What no profile gives is refused before anything is touched.
        let least = capacity("2 Mbit/s", "2 Mbit/s");
        let more = Request { least, ..video("3 Mbit/s", "3 Mbit/s", server) };
        let fault = scene.bearer().modify(granted.session, &more).await.unwrap_err();
        assert_eq!((fault.code(), profile()), ("too-little", json!("QOS_L")));
        // Where the operator refuses, it is as before.
        scene.operator.change(|habits| habits.profiles[1]["status"] = "INACTIVE".into());
        let less = video("150 kbit/s", "150 kbit/s", server);
        let fault = scene.bearer().modify(granted.session, &less).await.unwrap_err();
        assert_eq!((fault.code(), profile()), ("not-accepted", json!("QOS_L")));
        assert_eq!(scene.operator.sessions().len(), 1);
        let shown = scene.bearers.list()[0]["sessions"][0].clone();
        assert_eq!(shown["given"]["guaranteed_bitrate_down"], "700 kbit/s", "{shown}");
        scene.bearer().release(granted.session).await.unwrap();
        let fault = scene.bearer().modify(granted.session, &more).await.unwrap_err();
        assert_eq!(fault.code(), "no-session");
        scene.is_empty().await;

        // And where it cannot even be as before, whoever has it is told.
        let granted = scene.bearer().negotiate(&video("600 kbit/s", "600 kbit/s", server)).await.unwrap();
        scene
            .operator
            .change(|habits| habits.tricks = vec![(SESSIONS, Trick::Status(403, "PERMISSION_DENIED"))]);
        let fault = scene
            .bearer()
            .modify(granted.session, &video("400 kbit/s", "400 kbit/s", server))
            .await
            .unwrap_err();
        assert_eq!((fault.code(), scene.lost().await), ("not-permitted", "not-restored"));
        scene.is_empty().await;
    });
}

#[test]
fn the_profile_of_a_class_can_be_chosen_and_what_it_gives_may_change() {
    let choose = |settings: &mut CamaraSettings, _: &Path| {
        settings.profiles.insert(TrafficClass::Conversational, "QOS_M".to_owned());
        settings.profiles.insert(TrafficClass::Streaming, "QOS_OLD".to_owned());
    };
    play(OperatorHabits::default(), choose, async |mut scene| {
        scene.found().await;
        let request = video("600 kbit/s", "600 kbit/s", "198.51.100.9");
        let call = Attributes { class: Some(TrafficClass::Conversational), ..request.wished };
        let call = Request { wished: call, ..request.clone() };
        let granted = scene.bearer().negotiate(&call).await.unwrap();
        assert_eq!(granted.attributes.guaranteed_up(), Some(rate("500 kbit/s")));
        let fault =
            scene.bearer().negotiate(&video("1 kbit/s", "1 kbit/s", "198.51.100.8")).await.unwrap_err();
        assert!(fault.to_string().contains("its profile `QOS_OLD` is not there or not active"), "{fault}");
        scene.operator.change(|habits| habits.profiles[2]["targetMinUpstreamRate"]["value"] = 300.into());
        let What::Renegotiated(session, given) = scene.event().await else { panic!("renegotiated") };
        assert_eq!((session, given.guaranteed_up()), (granted.session, Some(rate("300 kbit/s"))));
    });
}

#[test]
fn over_https_with_client_credentials_and_a_token_that_wears_out() {
    let habits = OperatorHabits {
        tokens: vec!["none but its own".to_owned()],
        token_names_device: true,
        record_stays: Duration::from_secs(10_000),
        ..OperatorHabits::default()
    };
    let mut front = None;
    play(
        habits,
        |settings, folder| {
            let own = Certificate::make(folder, "operator", "IP:127.0.0.1");
            let target = settings.url.strip_prefix("http://").unwrap().parse().unwrap();
            let opened = Front::open(target, &own);
            settings.url = opened.url();
            settings.roots = own.certificate;
            settings.device = DeviceIdentity::default();
            settings.credential = Credential::Client {
                url: format!("{}/token", opened.url()),
                id: "gate".to_owned(),
                secret: secret(folder, "client", "s3cret"),
                scope: Some("quality-on-demand:sessions:create qos-profiles:read".to_owned()),
            };
            front = Some(opened);
        },
        async |mut scene| {
            scene.found().await;
            let granted = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
            assert_eq!(scene.operator.count("POST /token"), 1, "one for all questions");
            assert!(scene.operator.sessions()[0].asked.get("device").is_none(), "the token names it");
            // The operator has forgotten it earlier than it said.
            scene.operator.pass(Duration::from_secs(4_000));
            scene.until("another token", || scene.operator.count("POST /token") == 2).await;
            let again = scene.lost().await;
            assert_eq!(again, "duration-expired", "by the operator's clock it is over");
            scene.bearer().release(granted.session).await.unwrap();
            scene.bearer().negotiate(&voice("198.51.100.9")).await.unwrap();
            assert_eq!(scene.operator.count("POST /token"), 2);
        },
    );
}

#[test]
fn what_cannot_be_said_there_is_not_asked_for() {
    play(
        OperatorHabits::default(),
        |_, _| {},
        async |mut scene| {
            scene.found().await;
            let nowhere = Request { packets: Packets::default(), ..voice("198.51.100.7") };
            assert_eq!(scene.bearer().negotiate(&nowhere).await.unwrap_err().code(), "not-supported");
            let quick = Attributes { transfer_delay: TransferDelay::new(20), ..voice("198.51.100.7").wished };
            let quick = Request { wished: quick, ..voice("198.51.100.7") };
            assert_eq!(scene.bearer().negotiate(&quick).await.unwrap_err().code(), "not-accepted");
            let least = capacity("5 Mbit/s", "1 kbit/s");
            let much = Request { least, ..video("6 Mbit/s", "6 Mbit/s", "198.51.100.7") };
            assert_eq!(scene.bearer().negotiate(&much).await.unwrap_err().code(), "too-little");
            assert_eq!(scene.operator.count(SESSIONS), 0);
        },
    );
}
