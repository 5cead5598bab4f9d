//! An operator's API that refuses, lies, falls silent or goes away: whatever it does has a named reason in time, leaves no
//! session behind, and no secret in what is said about it. Nothing is asked again and again.

mod camara_scene;

use std::time::Duration;

use camara_scene::*;
use mexegate::bearer::{DEADLINE, What};
use mexegate::config::{CamaraSettings, Credential};
use rig::tls::{Certificate, Front};
use rig::{OperatorHabits, Trick};
use serde_json::json;
use std::path::Path;

const PROFILES: &str = "POST /qos-profiles";

fn with(tricks: Vec<(&'static str, Trick)>) -> OperatorHabits {
    OperatorHabits { tricks, ..OperatorHabits::default() }
}

fn as_it_is(_: &mut CamaraSettings, _: &Path) {}

#[test]
fn every_refusal_of_a_session_has_a_named_reason() {
    play(OperatorHabits::default(), as_it_is, async |mut scene| {
        scene.found().await;
        let cases = [
            (400, "INVALID_ARGUMENT", "failed"),
            (400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE", "not-accepted"),
            (401, "UNAUTHENTICATED", "not-permitted"),
            (403, "PERMISSION_DENIED", "not-permitted"),
            (404, "IDENTIFIER_NOT_FOUND", "not-permitted"),
            (409, "CONFLICT", "busy"),
            (422, "SERVICE_NOT_APPLICABLE", "not-accepted"),
            (422, "UNSUPPORTED_IDENTIFIER", "not-supported"),
            (500, "INTERNAL", "failed"),
            (501, "NOT_IMPLEMENTED", "not-supported"),
            (502, "BAD_GATEWAY", "failed"),
        ];
        for (at, (status, code, expected)) in cases.into_iter().enumerate() {
            scene.operator.change(|habits| habits.tricks = vec![(SESSIONS, Trick::Status(status, code))]);
            let fault = scene.bearer().negotiate(&voice(&format!("198.51.100.{at}"))).await.unwrap_err();
            assert_eq!(fault.code(), expected, "{status} {code}: {fault}");
            assert!(fault.to_string().contains(&format!("{status} {code}")), "{fault}");
        }
        scene.operator.change(|habits| habits.tricks.clear());
        assert!(scene.operator.sessions().is_empty() && scene.bearer().status().is_up());
        scene.bearer().negotiate(&voice("198.51.100.50")).await.unwrap();
    });
}

#[test]
fn a_profile_that_cannot_be_used_is_not_tried_again() {
    play(
        OperatorHabits::default(),
        |settings, _| settings.pace.profiles = DEADLINE,
        async |mut scene| {
            scene.found().await;
            // It was active when the list was read.
            scene.operator.change(|habits| habits.profiles[1]["status"] = "DEPRECATED".into());
            let video = video("150 kbit/s", "150 kbit/s", "198.51.100.7");
            let fault = scene.bearer().negotiate(&video).await.unwrap_err();
            assert_eq!(fault.code(), "not-accepted");
            assert!(fault.to_string().contains("QOS_PROFILE_NOT_APPLICABLE"), "{fault}");
            scene.bearer().negotiate(&video).await.unwrap();
            assert_eq!(scene.operator.sessions()[0].asked["qosProfile"], "QOS_M");
        },
    );
}

#[test]
fn lies_about_a_session_are_found_out_and_it_is_given_back() {
    play(OperatorHabits::default(), as_it_is, async |mut scene| {
        scene.found().await;
        type Change = fn(&mut serde_json::Value);
        let lies: [(&str, Change); 8] = [
            ("its number is no UUID", |value| value["sessionId"] = "../../../admin".into()),
            ("it has another profile", |value| value["qosProfile"] = "QOS_L".into()),
            ("its duration cannot be", |value| value["duration"] = json!(0)),
            ("its duration cannot be", |value| value["duration"] = json!(-1)),
            ("its duration cannot be", |value| value["duration"] = json!(9_000_000_000_000_i64)),
            ("it is for another server", |value| {
                value["applicationServer"]["ipv4Address"] = "203.0.113.1".into()
            }),
            ("it is no session", |value| value["qosStatus"] = "PERHAPS".into()),
            ("it is no session", |value| *value = json!([1, 2, 3])),
        ];
        for (says, lie) in lies {
            scene.operator.change(|habits| habits.tricks = vec![(SESSIONS, Trick::Changed(lie))]);
            let fault = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap_err();
            assert_eq!(fault.code(), "nonsense", "{fault}");
            assert!(fault.to_string().contains(says), "{fault}");
            scene.operator.change(|habits| habits.tricks.clear());
            scene.is_empty().await;
        }
        for body in ["", "nonsense", "{\"sessionId\":", "null", "[[[[[[[["] {
            scene.operator.change(|habits| habits.tricks = vec![(SESSIONS, Trick::Body(body))]);
            let fault = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap_err();
            assert_eq!(fault.code(), "nonsense", "{body}: {fault}");
        }
        // One number for two sessions.
        scene.operator.change(|habits| habits.tricks.clear());
        scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
        let held = scene.operator.sessions()[0].clone();
        let twice = format!(
            "{{\"sessionId\":\"{}\",\"qosProfile\":\"QOS_E\",\"duration\":60,\"qosStatus\":\"AVAILABLE\",\
             \"applicationServer\":{{\"ipv4Address\":\"198.51.100.8\"}}}}",
            held.id
        );
        scene.operator.change(|habits| habits.tricks = vec![(SESSIONS, Trick::Body(twice.leak()))]);
        let fault = scene.bearer().negotiate(&voice("198.51.100.8")).await.unwrap_err();
        assert_eq!(fault.code(), "nonsense", "{fault}");
        assert_eq!(scene.operator.sessions().len(), 1, "the one that somebody has is left alone");
        // And a session that becomes another one while somebody has it.
        let lie: Change = |value| value["qosProfile"] = "QOS_S".into();
        scene.operator.change(|habits| habits.tricks = vec![("GET", Trick::Changed(lie))]);
        assert_eq!(scene.lost().await, "api-nonsense");
        scene.is_empty().await;
    });
}

#[test]
fn silence_half_answers_and_floods_end_in_time_and_leave_nothing() {
    play(OperatorHabits::default(), as_it_is, async |mut scene| {
        scene.found().await;
        for (trick, expected) in [
            (Trick::Silent, "silent"),
            (Trick::HangsUp, "failed"),
            (Trick::Slow, "silent"),
            (Trick::Endless, "nonsense"),
            (Trick::Redirect("http://127.0.0.1:1/".to_owned()), "failed"),
        ] {
            scene.operator.change(|habits| habits.tricks = vec![(SESSIONS, trick.clone())]);
            let asked = tokio::time::Instant::now();
            let fault = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap_err();
            assert_eq!(fault.code(), expected, "{trick:?}: {fault}");
            assert!(asked.elapsed() < Duration::from_secs(5), "{trick:?}");
            scene.operator.change(|habits| habits.tricks.clear());
            // What was begun without our hearing of it is found and given back.
            scene.is_empty().await;
        }
        scene.bearer().negotiate(&voice("198.51.100.9")).await.unwrap();
    });
}

#[test]
fn a_server_that_has_had_enough_is_left_alone() {
    play(OperatorHabits::default(), as_it_is, async |mut scene| {
        scene.found().await;
        let granted = scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
        scene.operator.change(|habits| habits.tricks = vec![("", Trick::Later(429, 2))]);
        let before = scene.operator.heard().len();
        scene.until("a refusal", || scene.operator.heard().len() > before).await;
        // Whatever was on its way.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let heard = scene.operator.heard().len();
        let fault = scene.bearer().negotiate(&voice("198.51.100.8")).await.unwrap_err();
        assert_eq!(fault.code(), "busy", "{fault}");
        assert!(fault.to_string().contains("too-many-requests"), "{fault}");
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(scene.operator.heard().len(), heard, "nothing is asked before its time");
        assert!(scene.bearer().status().is_up(), "and nothing is lost");
        scene.operator.change(|habits| habits.tricks.clear());
        scene.until("it is asked again", || scene.operator.heard().len() > heard).await;
        scene.bearer().release(granted.session).await.unwrap();
    });
}

#[test]
fn an_api_that_goes_away_takes_the_bearer_down_and_comes_back() {
    play(OperatorHabits::default(), as_it_is, async |mut scene| {
        scene.found().await;
        scene.bearer().negotiate(&voice("198.51.100.7")).await.unwrap();
        // One miss is none.
        scene.operator.change(|habits| habits.tricks = vec![(PROFILES, Trick::Status(500, "INTERNAL"))]);
        let looks = scene.operator.count(PROFILES);
        scene.until("a miss", || scene.operator.count(PROFILES) > looks).await;
        scene.operator.change(|habits| habits.tricks.clear());
        scene.until("a look", || scene.operator.count(PROFILES) > looks + 2).await;
        assert!(scene.events.try_recv().is_err() && scene.bearer().status().is_up());

        scene.operator.change(|habits| habits.tricks = vec![("", Trick::HangsUp)]);
        let What::Lost(why) = scene.event().await else { panic!("lost") };
        assert_eq!(why.code, "api-unreachable");
        assert_eq!(scene.bearers.list()[0]["sessions"], json!([]));
        let fault = scene.bearer().negotiate(&voice("198.51.100.8")).await.unwrap_err();
        assert_eq!(fault.code(), "bearer-down");
        scene.operator.change(|habits| habits.tricks.clear());
        scene.found().await;
        // What it had is given back as soon as that can be done.
        scene.is_empty().await;
    });
}

#[test]
fn a_bearer_says_why_it_is_down() {
    let cases: [(&'static str, Trick); 11] = [
        ("not-authenticated", Trick::Status(401, "UNAUTHENTICATED")),
        ("not-permitted", Trick::Status(403, "PERMISSION_DENIED")),
        ("api-missing", Trick::Status(404, "NOT_FOUND")),
        ("api-refused", Trick::Status(422, "UNNECESSARY_IDENTIFIER")),
        ("api-busy", Trick::Status(429, "QUOTA_EXCEEDED")),
        ("api-failed", Trick::Status(500, "INTERNAL")),
        ("api-nonsense", Trick::Body("{}")),
        ("api-nonsense", Trick::Endless),
        ("no-profiles", Trick::Body("[]")),
        ("api-silent", Trick::Silent),
        ("api-refused", Trick::Redirect("https://elsewhere.example/".to_owned())),
    ];
    for (code, trick) in cases {
        play(with(vec![(PROFILES, trick)]), as_it_is, async |scene| {
            scene.down(code).await;
            let shown = scene.bearers.list()[0].clone();
            assert!(!shown.to_string().contains(TOKEN), "{shown}");
            // And it comes up when it can.
            scene.operator.change(|habits| habits.tricks.clear());
            let mut watch = scene.bearer().watch();
            tokio::time::timeout(Duration::from_secs(20), watch.wait_for(|status| status.is_up()))
                .await
                .unwrap()
                .unwrap();
        });
    }
    play(
        OperatorHabits::default(),
        |settings, _| settings.url = "http://127.0.0.1:9".to_owned(),
        async |scene| {
            scene.down("api-unreachable").await;
        },
    );
    let name =
        |settings: &mut CamaraSettings, _: &Path| settings.url = "https://operator.invalid/api".to_owned();
    play(OperatorHabits::default(), name, async |scene| scene.down("api-unreachable").await);
}

#[test]
fn a_server_that_is_not_who_it_should_be_hears_no_token() {
    for (name, alternative) in [("stranger", "IP:127.0.0.1"), ("known", "DNS:elsewhere.example")] {
        let mut front = None;
        play(
            OperatorHabits::default(),
            |settings, folder| {
                let shown = Certificate::make(folder, name, alternative);
                let target = settings.url.strip_prefix("http://").unwrap().parse().unwrap();
                let opened = Front::open(target, &shown);
                settings.url = opened.url();
                // Another one is trusted, or this one under another name.
                let trusted = Certificate::make(folder, "trusted", "IP:127.0.0.1");
                settings.roots = if name == "known" { shown.certificate } else { trusted.certificate };
                front = Some(opened);
            },
            async |scene| {
                scene.down("api-untrusted").await;
                assert!(scene.operator.heard().is_empty());
            },
        );
    }
}

#[test]
fn a_token_that_cannot_be_had_has_a_named_reason_and_is_not_asked_for_again_and_again() {
    let exposed = |settings: &mut CamaraSettings, folder: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        let file = folder.join("token");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        settings.credential = Credential::Token(file);
    };
    play(OperatorHabits::default(), exposed, async |scene| {
        scene.down("token-unreadable").await;
        let says = scene.bearer().status().down.unwrap().says;
        assert!(says.contains("a file with a secret is for its owner alone"), "{says}");
        assert!(scene.operator.heard().is_empty(), "and nothing is asked without one");
    });
    let gone = |settings: &mut CamaraSettings, folder: &Path| {
        settings.credential = Credential::Token(folder.join("none"));
    };
    play(OperatorHabits::default(), gone, async |scene| scene.down("token-unreadable").await);

    let client = |secret_text: &'static str| {
        move |settings: &mut CamaraSettings, folder: &Path| {
            settings.pace.token = Duration::from_millis(500);
            settings.credential = Credential::Client {
                url: format!("{}/token", settings.url),
                id: "gate".to_owned(),
                secret: secret(folder, "client", secret_text),
                scope: None,
            };
        }
    };
    play(OperatorHabits::default(), client("wrong"), async |scene| {
        scene.down("token-refused").await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let asked = scene.operator.count("POST /token");
        assert!((1..=3).contains(&asked), "{asked} times in little more than a second");
        assert_eq!(scene.operator.heard().len(), asked);
        // Whoever puts that right need not start anything again.
        secret(scene.folder, "client", "s3cret");
        let mut watch = scene.bearer().watch();
        tokio::time::timeout(Duration::from_secs(20), watch.wait_for(|status| status.is_up()))
            .await
            .unwrap()
            .unwrap();
    });
    for (trick, code) in [
        (Trick::Body("{}"), "token-nonsense"),
        (Trick::Endless, "token-nonsense"),
        (Trick::Silent, "token-unreachable"),
        (Trick::Status(503, "X"), "token-unreachable"),
    ] {
        play(with(vec![("POST /token", trick)]), client("s3cret"), async |scene| scene.down(code).await);
    }
}
