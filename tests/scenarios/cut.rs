//! What is revoked is cut: within 50 ms of the request, with every queue full, in both directions, by every event that
//! ends a right (security rules S7 and S8). Measured where the bytes arrive: at the client for a download, at the origin
//! server for an upload.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rig::bulk::{Bulk, Cut, Pace, To, Way};
use rig::raw::{Credentials, Door};
use rig::times::Times;
use rig::{Control, Rig, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

/// From the end of a right to the end of its bytes.
const PROMISED: Duration = Duration::from_millis(50);

const SOCKS: Way = Way::Tunnel(Door::Socks);
const CONNECT: Way = Way::Tunnel(Door::Connect);

#[test]
fn a_gigabyte_with_full_queues_is_cut_within_50_ms_of_revoke() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let app = rig.app("third-party");
    let (_, who) = control.run(&app);
    let mut all = Times::default();
    let ways = [(SOCKS, 8), (CONNECT, 8), (Way::Forward, 9)];
    for (way, tries) in ways {
        for to in [To::Client, To::Origin] {
            for pace in [Pace::Still, Pace::Slow] {
                let mut times = Times::default();
                let mut lost = 0;
                for _ in 0..tries {
                    let (took, cut) = revoke_one(&rig, &mut control, &who, way, to, pace);
                    times.add(took);
                    lost = lost.max(cut.sent - cut.received);
                }
                println!(
                    "{way:?} to {to:?}, receiver {pace:?}: {times}; at most {lost} bytes in flight thrown away"
                );
                all.extend(&times);
            }
        }
    }
    println!("revoke, request to reset: {all}");
    assert!(all.percentile(99) <= PROMISED, "{all}");
    nothing_is_left(&rig, &mut control);
    let cuts = rig.metric("mexegate_flow_cut_total{reason=\"permission-revoked\"}");
    assert_eq!(cuts, 100.0, "every cut is counted, once");
}

#[test]
fn a_revoke_is_as_fast_while_other_changes_are_written() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let (app, other) = (rig.app("third-party"), rig.app("operator"));
    let (_, who) = control.run(&app);
    let stop = AtomicBool::new(false);
    let mut times = Times::default();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (rig, stop, other) = (&rig, &stop, &other);
            scope.spawn(move || {
                let mut control = Control::of(rig);
                while !stop.load(Ordering::Relaxed) {
                    let id = control.grant(other, &format!("10.0.0.{client}"), "blanket");
                    control.done("DELETE", &format!("/v1/grants/{id}"), None);
                }
            });
        }
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..15 {
                for way in [SOCKS, CONNECT] {
                    times.add(revoke_one(&rig, &mut control, &who, way, To::Origin, Pace::Still).0);
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = tried {
            std::panic::resume_unwind(panic);
        }
    });
    println!("revoke among other changes, request to reset: {times}");
    assert!(times.percentile(90) <= PROMISED, "{times}");
}

#[test]
fn every_event_that_ends_a_right_cuts_its_flows() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let mut all = Times::default();
    for (event, reason) in [
        ("flow end", "permission-revoked"),
        ("all grants of the app revoked", "permission-revoked"),
        ("run end", "run-ended"),
        ("expiry", "permission-expired"),
        ("app removal", "app-removed"),
    ] {
        let mut times = Times::default();
        for turn in 0..6 {
            let app = rig.app("third-party");
            let (run, who) = control.run(&app);
            let (way, to) = [(SOCKS, To::Client), (CONNECT, To::Origin)][turn % 2];
            let expires = if event == "expiry" { json!("700ms") } else { Value::Null };
            let wish = json!({ "app": app, "action": "network.connect", "target": "127.0.0.1",
                "permission": "blanket", "for": expires });
            let given = control.done("POST", "/v1/grants", Some(&wish));
            let bulk = Bulk::begin(rig.ports(), &who, way, to, Pace::Still);
            let flow = control.list("/v1/flows").remove(0);
            let path = match event {
                "flow end" => format!("/v1/flows/{}", flow["id"].as_str().unwrap()),
                "all grants of the app revoked" => format!("/v1/grants?app={app}"),
                "run end" => format!("/v1/runs/{run}"),
                "app removal" => format!("/v1/apps/{app}"),
                _ => String::new(),
            };
            let (sent, cut) = bulk.cut_by(|| match event {
                // Somewhere between request and answer the time of the grant began.
                "expiry" => given.answered + Duration::from_millis(700),
                _ => control.done("DELETE", &path, None).sent,
            });
            assert!(event != "expiry" || cut.at >= given.sent + Duration::from_millis(700), "cut too early");
            times.add(cut.at.saturating_duration_since(sent));
            is_journalled(&mut control, &flow, reason);
            if event != "app removal" {
                control.done("DELETE", &format!("/v1/apps/{app}"), None);
            }
        }
        println!("{event}: {times}");
        all.extend(&times);
    }
    println!("every event, to reset: {all}");
    assert!(all.percentile(90) <= PROMISED, "{all}");
    nothing_is_left(&rig, &mut control);
}

#[test]
fn a_reload_without_the_root_cuts_the_flows_of_its_apps_and_of_no_other() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let (app, other) = (rig.app("third-party"), rig.app("operator"));
    for app in [&app, &other] {
        control.grant(app, "127.0.0.1", "blanket");
    }
    let (_, who) = control.run(&app);
    let (_, others) = control.run(&other);
    let bulk = Bulk::begin(rig.ports(), &who, SOCKS, To::Origin, Pace::Still);
    let flow = control.list("/v1/flows").remove(0);
    let stays = Bulk::begin(rig.ports(), &others, SOCKS, To::Client, Pace::Still);
    std::fs::remove_file(rig.roots().join("third-party").join("root.pem")).unwrap();
    let (sent, cut) = bulk.cut_by(|| {
        rig.signal(Signal::HUP);
        Instant::now()
    });
    println!("reload without the root, SIGHUP to reset: {:.2?}", cut.at.saturating_duration_since(sent));
    is_journalled(&mut control, &flow, "app-suspended");
    let shown = control.done("GET", &format!("/v1/apps/{app}"), None).json;
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("suspended"), &json!("no-root")), "{shown}");
    let again = control.ask("POST", &format!("/v1/apps/{app}/runs"), None).unwrap();
    assert_eq!((again.status, &again.json["reason"]), (409, &json!("app-suspended")), "{}", again.json);
    assert_eq!(rig::raw::hung_up(stays.receiver(), Duration::from_millis(200)), None, "the other app's flow");
    assert_eq!(control.list("/v1/flows").len(), 1);
}

/// One transfer, cut by the revoke of its grant: the time from the request to the reset.
fn revoke_one(
    rig: &Rig,
    control: &mut Control,
    who: &Credentials,
    way: Way,
    to: To,
    pace: Pace,
) -> (Duration, Cut) {
    let grant = control.grant(&who.app, "127.0.0.1", "blanket");
    let bulk = Bulk::begin(rig.ports(), who, way, to, pace);
    let path = format!("/v1/grants/{grant}");
    let (answer, cut) = bulk.cut_by(|| control.done("DELETE", &path, None));
    (cut.at.saturating_duration_since(answer.sent), cut)
}

/// The flow's end is in the journal, by that reason, and the flow is no longer open.
#[track_caller]
fn is_journalled(control: &mut Control, flow: &Value, reason: &str) {
    let end = wait::until("the flow's end in the journal", || {
        let records = control.journal_after(0);
        records.into_iter().find(|record| record["kind"] == "flow-end" && record["flow"] == flow["id"])
    });
    assert_eq!(end["reason"], reason, "{end}");
    assert!(control.list("/v1/flows").iter().all(|open| open["id"] != flow["id"]));
}

fn nothing_is_left(rig: &Rig, control: &mut Control) {
    wait::until("all flows to be closed", || control.list("/v1/flows").is_empty().then_some(()));
    wait::until("no flow in the metrics", || (rig.metric("mexegate_flows_open") == 0.0).then_some(()));
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}
