//! Who vouches, changed while the gate runs: roots switched, added and removed, revocation lists, restrictions in
//! certificates. Whatever ends a right cuts its flows at once, and what comes back brings its apps back.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use mexe_forge::jar::JarBuilder;
use mexe_forge::pki::{Authority, ListShape, Shape};
use mexe_model::SecurityDomain;
use rig::cli::code;
use rig::times::Times;
use rig::verbs::{app_state, cli, done, earlier, file, flow, is_cut, ready, refused, root_of, state_of};
use rig::{Control, Origin, Rig, packages};
use rustix::process::Signal;
use serde_json::{Value, json};

/// From the end of a right to the end of its bytes.
const PROMISED: Duration = Duration::from_millis(50);

#[test]
fn a_disabled_root_cuts_its_apps_within_50_ms_and_an_enabled_one_brings_them_back() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let (app, mut who) = ready(&rig, &mut control, "third-party");
    let (other, other_who) = ready(&rig, &mut control, "operator");
    let root = root_of(&rig, "third-party");
    let path = format!("/v1/roots/{root}");
    let (mut kept, mut kept_server) = flow(&rig, &other_who);
    let mut times = Times::default();
    for _ in 0..20 {
        let (_client, mut server) = flow(&rig, &who);
        let waiting = std::thread::spawn(move || (is_cut(&mut server), Instant::now()));
        let answer = control.done("PATCH", &path, Some(&json!({ "state": "disabled" })));
        let (cut, at) = waiting.join().unwrap();
        assert!(cut, "the flow ends with a reset");
        times.add(at.saturating_duration_since(answer.sent));
        assert_eq!(answer.json["state"], "disabled");
        assert_eq!(app_state(&rig, &app), (json!("suspended"), json!("root-disabled")));
        // Its run is over, and a new one is refused by name.
        assert!(rig.json(["runs"])["items"].as_array().unwrap().iter().all(|run| run["app"] != app.as_str()));
        refused(cli(&rig, &["app", "start", &app]), "app-suspended");
        let answer = control.done("PATCH", &path, Some(&json!({ "state": "enabled" })));
        assert_eq!(answer.json["state"], "enabled");
        assert_eq!(app_state(&rig, &app), (json!("active"), Value::Null));
        who = control.run(&app).1;
    }
    println!("disabled root, request to reset: {times}");
    assert!(times.percentile(90) <= PROMISED, "{times}");
    // Nobody else was touched.
    kept.write_all(b"ping").unwrap();
    kept_server.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(app_state(&rig, &other).0, "active");
    let off = rig.metric("mexegate_roots{domain=\"third-party\",state=\"disabled\"}");
    assert_eq!(off, 0.0);
}

#[test]
fn what_was_switched_off_stays_off_over_restarts_and_reloads() {
    let mut rig = Rig::start();
    let app = rig.app("third-party");
    let root = root_of(&rig, "third-party");
    done(&rig, &["roots", "disable", &root[..12]]);
    rig.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(state_of(&rig, &root), "disabled");
    rig.kill();
    rig.start_again();
    assert_eq!(state_of(&rig, &root), "disabled");
    assert_eq!(app_state(&rig, &app).0, "suspended");
    let listed = rig.metric("mexegate_roots{domain=\"third-party\",state=\"disabled\"}");
    assert_eq!(listed, 1.0);
    done(&rig, &["roots", "enable", &root]);
    assert_eq!(app_state(&rig, &app).0, "active");
}

#[test]
fn the_user_adds_and_removes_third_party_roots_and_no_others() {
    let rig = Rig::start();
    let at = packages::now();
    let other = Authority::root("Another", &Shape::at(at)).unwrap();
    let signer = other.signer("Signer", &Shape::at(at)).unwrap();
    let package = mexe_forge::demo::native_app("addition").sign(&signer).unwrap();
    let package = file(&rig, "addition.jar", package);
    let package = package.to_str().unwrap();
    // Nobody vouches yet: it is untrusted.
    assert_eq!(done(&rig, &["app", "install", package])["verdict"], "untrusted");
    done(&rig, &["app", "remove", "addition"]);

    let pem = file(&rig, "another.pem", other.pem());
    let added = done(&rig, &["roots", "add", pem.to_str().unwrap()]);
    assert_eq!((&added["state"], &added["provenance"]), (&json!("enabled"), &json!("user")));
    let id = added["id"].as_str().unwrap().to_owned();
    let installed = done(&rig, &["app", "install", package]);
    assert_eq!((&installed["domain"], &installed["verdict"]), (&json!("third-party"), &json!("verified")));
    done(&rig, &["roots", "remove", &id]);
    assert_eq!(state_of(&rig, &id), "absent");
    assert_eq!(app_state(&rig, "addition").0, "suspended");

    for kind in ["operator", "manufacturer"] {
        refused(cli(&rig, &["roots", "add", pem.to_str().unwrap(), "--kind", kind]), "root-read-only");
    }
    refused(
        cli(&rig, &["roots", "add", pem.to_str().unwrap(), "--kind", "administrator"]),
        "administrator-required",
    );
    let manufacturer = root_of(&rig, "manufacturer");
    refused(cli(&rig, &["roots", "disable", &manufacturer]), "root-read-only");
    refused(cli(&rig, &["roots", "remove", &manufacturer]), "root-read-only");
    refused(cli(&rig, &["roots", "remove", &root_of(&rig, "third-party")]), "root-read-only");
    assert_eq!(
        cli(&rig, &["roots", "enable", &"0".repeat(64)]).ended(code::FAULT).json["reason"],
        "not-found"
    );
    // A key that is the operator's already, and something that is no authority.
    let operator = rig.packages().demo().pki.branch(SecurityDomain::Operator).unwrap();
    let taken = file(&rig, "taken.pem", operator.root.pem());
    refused(cli(&rig, &["roots", "add", taken.to_str().unwrap()]), "root-in-two-domains");
    let leaf = file(&rig, "leaf.der", signer.certificate());
    refused(cli(&rig, &["roots", "add", leaf.to_str().unwrap()]), "root-unusable");
    let garbage = file(&rig, "garbage", "garbage");
    refused(cli(&rig, &["roots", "add", garbage.to_str().unwrap()]), "root-unusable");
    assert_eq!(state_of(&rig, operator_id(&rig).as_str()), "enabled", "a refused addition changes nothing");
}

#[test]
fn a_revoked_certificate_ends_its_apps_runs_and_refuses_its_packages() {
    let mut rig = Rig::start();
    let mut control = Control::of(&rig);
    let (app, who) = ready(&rig, &mut control, "third-party");
    let (_client, mut server) = flow(&rig, &who);
    let branch = rig.packages().demo().pki.branch(SecurityDomain::ThirdParty).unwrap();
    let at = packages::now();
    let list = ListShape::at(at).revoking(branch.signer.certificate(), earlier(at, 3600)).unwrap();
    let list = file(&rig, "issuer.crl", branch.issuer.list(&list).unwrap());
    let added = done(&rig, &["roots", "crl", "add", list.to_str().unwrap()]);
    assert_eq!((&added["items"][0]["state"], &added["items"][0]["entries"]), (&json!("current"), &json!(1)));
    assert!(is_cut(&mut server), "the flow is cut");
    assert_eq!(app_state(&rig, &app), (json!("suspended"), json!("certificate-revoked")));
    refused(cli(&rig, &["app", "start", &app]), "app-suspended");
    done(&rig, &["app", "remove", &app]);
    let package = rig.package("third-party");
    refused(cli(&rig, &["app", "install", package.to_str().unwrap()]), "certificate-revoked");
    // It is remembered.
    rig.kill();
    rig.start_again();
    refused(cli(&rig, &["app", "install", package.to_str().unwrap()]), "certificate-revoked");
    let garbage = file(&rig, "garbage.crl", "garbage");
    assert_eq!(cli(&rig, &["roots", "crl", "add", garbage.to_str().unwrap()]).code, code::USAGE);
}

#[test]
fn whatever_is_judged_while_its_root_goes_is_vouched_for_by_nobody() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let root = root_of(&rig, "third-party");
    let path = format!("/v1/roots/{root}");
    let branch = rig.packages().demo().pki.branch(SecurityDomain::ThirdParty).unwrap();
    // Large enough that a judgement takes longer than the switching of a root.
    let bulk: Vec<u8> = (0..6_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let package = JarBuilder::new().attribute("MExE-Name", "large").entry("bulk", bulk).sign(&branch.signer);
    let package = file(&rig, "large.jar", package.unwrap());
    let package = package.to_str().unwrap();
    let begun = Instant::now();
    done(&rig, &["app", "install", package]);
    let takes = begun.elapsed();
    let mut met = 0;
    for turn in 0..12 {
        // A start on even turns, an install on odd ones; the root goes at once, or somewhere in between.
        let starts = turn % 2 == 0;
        if !starts {
            done(&rig, &["app", "remove", "large"]);
        }
        let line: &[&str] = if starts { &["app", "start", "large"] } else { &["app", "install", package] };
        let outcome = std::thread::scope(|scope| {
            let judging = scope.spawn(|| cli(&rig, line));
            std::thread::sleep(takes / 8 * (turn / 2));
            control.done("PATCH", &path, Some(&json!({ "state": "disabled" })));
            judging.join().unwrap()
        });
        let apps = done(&rig, &["app", "list"])["items"].clone();
        for app in apps.as_array().unwrap() {
            // One that was installed after the root was gone is nobody's.
            let right = (&app["domain"], &app["state"]) != (&json!("third-party"), &json!("active"));
            assert!(right, "turn {turn}: {app}");
        }
        let runs = done(&rig, &["runs"])["items"].clone();
        assert_eq!(runs, json!([]), "turn {turn}: a run without a root");
        met += u32::from(outcome.code == code::REFUSED || outcome.json["verdict"] == "untrusted");
        control.done("PATCH", &path, Some(&json!({ "state": "enabled" })));
        if done(&rig, &["app", "list"])["items"][0]["domain"] != "third-party" {
            cli(&rig, &["app", "remove", "large"]);
            done(&rig, &["app", "install", package]);
        }
        assert_eq!(app_state(&rig, "large").0, "active");
    }
    println!("{met} of 12 found the root gone; a judgement takes {takes:?}");
    assert!(met > 0, "the root never went in time");
}

#[test]
fn an_outdated_list_refuses_unless_the_owner_lets_it_count() {
    let at = packages::now();
    for (setting, expected) in [("strict", Some("revocation-stale")), ("warn", None)] {
        let mut rig = Rig::builder().section("trust", &format!("revocation = \"{setting}\"")).prepare();
        let crls = rig.folder().join("crls");
        fs::create_dir(&crls).unwrap();
        let text = fs::read_to_string(rig.config_file()).unwrap();
        let text = text.replace("[trust]\n", &format!("[trust]\ncrls = \"{}\"\n", crls.display()));
        packages::write(&rig.config_file(), text.as_bytes());
        let branch = rig.packages().demo().pki.branch(SecurityDomain::Operator).unwrap();
        let list = ListShape {
            this_update: earlier(at, 3600 * 24 * 40),
            next_update: earlier(at, 3600),
            ..ListShape::at(at)
        };
        packages::write(&crls.join("issuer.crl"), &branch.issuer.list(&list).unwrap());
        rig.start_again();
        let package = rig.package("operator");
        let package = package.to_str().unwrap();
        match expected {
            Some(reason) => refused(cli(&rig, &["app", "install", package]), reason),
            None => assert_eq!(done(&rig, &["app", "install", package])["verdict"], "verified"),
        }
        let lists = done(&rig, &["roots", "crl", "list"]);
        assert_eq!(lists["items"][0]["state"], "stale");
    }
}

#[test]
fn a_certificate_limits_its_apps_to_action_groups_and_nothing_overrides_it() {
    let rig = Rig::start();
    let origin = Origin::start();
    let at = packages::now();
    let branch = rig.packages().demo().pki.branch(SecurityDomain::ThirdParty).unwrap();
    // 11 is terminal-data: not the network.
    let limited = branch.issuer.signer("Limited", &Shape::at(at).restricted_to(&[11])).unwrap();
    let package = mexe_forge::demo::native_app("limited").sign(&limited).unwrap();
    let path = file(&rig, "limited.jar", package);
    let path = path.to_str().unwrap();
    let roots = rig.roots().to_str().unwrap();
    let verified = done(&rig, &["app", "verify", path, "--roots", roots]);
    assert_eq!(verified["restricted_to"], json!(["terminal-data"]));
    let app = done(&rig, &["app", "install", path])["id"].as_str().unwrap().to_owned();
    let grant = ["grant", &app, "network.connect=127.0.0.1", "--permission", "single"];
    refused(cli(&rig, &grant), "restricted-by-certificate");
    let run = rig.run(&app);
    let reply = rig.curl(["--proxy", &run.http, &origin.url("/")]);
    assert_eq!((reply.status, reply.reason().as_deref()), (403, Some("restricted-by-certificate")));
    let explained = cli(&rig, &["explain", &app, "network.connect=127.0.0.1:80"]);
    assert_eq!(explained.json["reason"], "restricted-by-certificate", "{}", explained.stdout);
    // What cannot be read limits everything.
    let shape =
        Shape { more: vec![(vec![2, 25, 230_570_099, 1], false, vec![0x30, 3, 2, 1, 99])], ..Shape::at(at) };
    let unreadable = branch.issuer.signer("Unreadable", &shape).unwrap();
    let package = mexe_forge::demo::native_app("unreadable").sign(&unreadable).unwrap();
    let path = file(&rig, "unreadable.jar", package);
    refused(cli(&rig, &["app", "install", path.to_str().unwrap()]), "restriction-unreadable");
}
fn operator_id(rig: &Rig) -> String {
    root_of(rig, "operator")
}
