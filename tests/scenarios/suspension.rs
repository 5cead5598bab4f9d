//! An app that is suspended comes back when the cause is gone, by itself: nobody has to start it to find out. Every way in
//! which a newer revocation list can come, and what else can lift a suspension that the roots alone did not cause.

use std::fs;
use std::path::{Path, PathBuf};

use mexe_forge::pki::ListShape;
use mexe_model::{SecurityDomain, WallTime};
use rig::verbs::{app_state, cli, done, earlier, file, flow, is_cut, later, ready, refused, root_of};
use rig::{Control, Rig, packages, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

const DAY: u64 = 86_400;
const FAKETIME: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// The third party issuer's list of that number, current from then on for ten days.
fn list(rig: &Rig, number: u64, from: WallTime) -> PathBuf {
    let branch = rig.packages().demo().pki.branch(SecurityDomain::ThirdParty).unwrap();
    let shape =
        ListShape { number, this_update: from, next_update: later(from, 10 * DAY), revoked: Vec::new() };
    file(rig, &format!("{number}.crl"), branch.issuer.list(&shape).unwrap())
}

fn stale(rig: &Rig, number: u64) -> PathBuf {
    list(rig, number, earlier(packages::now(), 20 * DAY))
}

fn current(rig: &Rig, number: u64) -> PathBuf {
    list(rig, number, earlier(packages::now(), DAY))
}

fn add(rig: &Rig, list: &Path) {
    done(rig, &["roots", "crl", "add", list.to_str().unwrap()]);
}

fn suspended(why: &str) -> (Value, Value) {
    (json!("suspended"), json!(why))
}

fn active() -> (Value, Value) {
    (json!("active"), Value::Null)
}

#[test]
fn a_newer_list_lifts_the_suspension_at_once_by_every_way_it_can_come() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let (app, who) = ready(&rig, &mut control, "third-party");
    let (_client, mut server) = flow(&rig, &who);
    add(&rig, &stale(&rig, 1));
    assert!(is_cut(&mut server));
    assert_eq!(app_state(&rig, &app), suspended("revocation-stale"));

    add(&rig, &current(&rig, 2));
    assert_eq!(app_state(&rig, &app), active(), "by the verb");
    let address = format!("http://{}", rig.ports().console);
    for (number, door) in [(3, "socket"), (5, "console")] {
        control.run(&app);
        add(&rig, &stale(&rig, number));
        assert_eq!(app_state(&rig, &app), suspended("revocation-stale"), "{door}");
        let newer = current(&rig, number + 1);
        let body = format!("@{}", newer.display());
        let reply = match door {
            "socket" => {
                let socket = rig.state_dir().join("control.sock");
                let socket = socket.to_str().unwrap().to_owned();
                rig.curl(["--unix-socket", &socket, "--data-binary", &body, "http://localhost/v1/lists"])
            }
            // As the console's page sends it.
            _ => {
                let origin = format!("Origin: {address}");
                rig.api(["--header", &origin, "--data-binary", &body], "/v1/lists")
            }
        };
        assert_eq!(reply.status, 201, "{door}: {}", reply.text());
        assert_eq!(app_state(&rig, &app), active(), "{door}");
    }
    control.run(&app);
    let told = rig.journal(["--app", &app]);
    let count = |action: &str| told.iter().filter(|record| record["action"] == action).count();
    assert_eq!((count("app.suspend"), count("app.resume")), (3, 3), "each change is written down once");
}

#[test]
fn a_list_in_the_folder_counts_after_a_reload_and_after_a_restart() {
    let mut rig = Rig::builder().prepare();
    let crls = rig.folder().join("crls");
    fs::create_dir(&crls).unwrap();
    let text = fs::read_to_string(rig.config_file()).unwrap();
    let text = text.replace("[trust]\n", &format!("[trust]\ncrls = \"{}\"\n", crls.display()));
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    let mut control = Control::of(&rig);
    let (app, _) = ready(&rig, &mut control, "third-party");
    let put = |list: PathBuf| packages::write(&crls.join("issuer.crl"), &fs::read(list).unwrap());
    let reload = |rig: &Rig, to: (Value, Value)| {
        rig.signal(Signal::HUP);
        wait::until("the reload", || (app_state(rig, &app) == to).then_some(()));
    };
    put(stale(&rig, 1));
    reload(&rig, suspended("revocation-stale"));
    put(current(&rig, 2));
    reload(&rig, active());
    control.run(&app);
    put(stale(&rig, 3));
    reload(&rig, suspended("revocation-stale"));
    // The owner lets outdated lists count.
    let warned = text.replace("[trust]\n", "[trust]\nrevocation = \"warn\"\n");
    packages::write(&rig.config_file(), warned.as_bytes());
    reload(&rig, active());
    packages::write(&rig.config_file(), text.as_bytes());
    control.run(&app);
    reload(&rig, suspended("revocation-stale"));
    assert!(rig.stop().success());
    put(current(&rig, 4));
    rig.start_again();
    wait::until("the app to come back", || (app_state(&rig, &app) == active()).then_some(()));
}

#[test]
fn a_root_that_comes_back_does_not_hide_what_else_is_in_the_way() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let (app, _) = ready(&rig, &mut control, "third-party");
    add(&rig, &stale(&rig, 1));
    let root = root_of(&rig, "third-party");
    done(&rig, &["roots", "disable", &root]);
    assert_eq!(app_state(&rig, &app), suspended("root-disabled"));
    add(&rig, &current(&rig, 2));
    assert_eq!(app_state(&rig, &app), suspended("root-disabled"), "a list brings no root back");
    done(&rig, &["roots", "enable", &root]);
    assert_eq!(app_state(&rig, &app), active());

    add(&rig, &stale(&rig, 3));
    done(&rig, &["roots", "disable", &root]);
    done(&rig, &["roots", "enable", &root]);
    assert_eq!(app_state(&rig, &app), suspended("revocation-stale"));
    refused(cli(&rig, &["app", "start", &app]), "app-suspended");
    add(&rig, &current(&rig, 4));
    assert_eq!(app_state(&rig, &app), active());
}

#[test]
fn a_clock_that_is_set_is_a_reason_to_judge_again() {
    let library =
        FAKETIME.iter().find(|path| fs::exists(path).unwrap()).expect("tests/run installs faketime");
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    let rig = Rig::builder()
        .variable("LD_PRELOAD", library)
        .variable("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .variable("DONT_FAKE_MONOTONIC", "1")
        .start();
    let mut control = Control::of(&rig);
    let (app, who) = ready(&rig, &mut control, "third-party");
    let (_client, mut server) = flow(&rig, &who);
    add(&rig, &current(&rig, 1));
    assert_eq!(app_state(&rig, &app), active());
    fs::write(&clock, "+12d").unwrap();
    assert!(is_cut(&mut server), "the list is out of date by the new time");
    wait::until("the suspension", || (app_state(&rig, &app) == suspended("revocation-stale")).then_some(()));
    add(&rig, &list(&rig, 2, later(packages::now(), 11 * DAY)));
    assert_eq!(app_state(&rig, &app), active());
}
