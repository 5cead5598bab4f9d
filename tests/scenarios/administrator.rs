//! Who administers the third party domain, and the messages by which that is done: each that is not the administrator's next
//! one is refused by its own reason and changes nothing (S19).

use std::time::Duration;

use mexe_forge::ccm::{Message, MessageTarget};
use mexe_forge::pki::{Authority, Shape};
use mexe_forge::sealed::SealDefect;
use mexe_model::SecurityDomain;
use rig::cli::code;
use rig::verbs::{app_state, cli, done, earlier, file, later, refused, root_of, state_of};
use rig::{Administrator, Rig, packages, wait};
use serde_json::json;

#[test]
fn an_administrator_decides_by_messages_which_third_party_roots_count() {
    let mut rig = Rig::start();
    let app = rig.app("third-party");
    let root = root_of(&rig, "third-party");
    let administrator = Administrator::new("Administrator");
    // While the user administers, nobody's messages count.
    refused(administrator.send(&rig, &administrator.message("x", 1)), "ccm-wrong-signer");

    let pem = file(&rig, "administrator.pem", administrator.authority.pem());
    let shown = done(&rig, &["administrator", "set", pem.to_str().unwrap()]);
    assert_eq!(shown["administrator"], "device");
    let device = shown["device"].as_str().unwrap().to_owned();
    // From now on the user's roots do not count unless the administrator says so.
    assert_eq!(state_of(&rig, &root), "not-enabled");
    assert_eq!(app_state(&rig, &app), (json!("suspended"), json!("root-disabled")));
    refused(cli(&rig, &["roots", "enable", &root]), "administrator-required");
    let other = file(&rig, "other.pem", Authority::root("Other", &Shape::at(packages::now())).unwrap().pem());
    refused(cli(&rig, &["roots", "add", other.to_str().unwrap()]), "administrator-required");
    refused(cli(&rig, &["administrator", "set", other.to_str().unwrap()]), "administrator-required");

    let branch = rig.packages().demo().pki.branch(SecurityDomain::ThirdParty).unwrap();
    let certificate = branch.root.certificate().to_vec();
    let first = administrator.message(&device, 5).replace_all(&[&certificate]);
    let said = administrator.send(&rig, &first).ended(code::DONE).json;
    assert_eq!(said["sequence"], 5);
    assert_eq!(state_of(&rig, &root), "enabled");
    assert_eq!(app_state(&rig, &app).0, "active");

    // Every way not to be the administrator's next message has its own reason, and changes nothing.
    let stranger = Administrator::new("Administrator");
    let at = administrator.at;
    let next = |sequence| administrator.message(&device, sequence);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (first.sign(&administrator.signer).unwrap(), "ccm-replayed"),
        (next(4).sign(&administrator.signer).unwrap(), "ccm-older"),
        (next(6).sign(&stranger.signer).unwrap(), "ccm-wrong-signer"),
        (
            next(6).sign_with(&administrator.signer, SealDefect::SignatureChanged).unwrap(),
            "ccm-signature-wrong",
        ),
        (administrator.message("another", 6).sign(&administrator.signer).unwrap(), "ccm-wrong-target"),
        (
            Message { target: MessageTarget::Operator("00101".to_owned()), ..next(6) }
                .sign(&administrator.signer)
                .unwrap(),
            "ccm-wrong-target",
        ),
        (
            Message { not_before: earlier(at, 7200), not_after: earlier(at, 3600), ..next(6) }
                .sign(&administrator.signer)
                .unwrap(),
            "ccm-expired",
        ),
        (
            Message { not_before: later(at, 3600), ..next(6) }.sign(&administrator.signer).unwrap(),
            "ccm-not-yet-valid",
        ),
        (
            Message { next_update: earlier(at, 60), ..next(6) }.sign(&administrator.signer).unwrap(),
            "ccm-stale",
        ),
        (next(6).enable(&[&certificate], Some([7; 32])).sign(&administrator.signer).unwrap(), "ccm-gap"),
        (next(6).sign(&administrator.signer).unwrap()[..200].to_vec(), "ccm-malformed"),
        (vec![b'x'; 2 << 20], "ccm-malformed"),
    ];
    let before = done(&rig, &["administrator", "show"]);
    for (bytes, reason) in cases {
        refused(administrator.send_bytes(&rig, &bytes), reason);
        assert_eq!(done(&rig, &["administrator", "show"]), before, "{reason}");
    }
    assert_eq!(app_state(&rig, &app).0, "active");

    // What was applied survives a kill, and so does the number.
    rig.kill();
    rig.start_again();
    assert_eq!(state_of(&rig, &root), "enabled");
    refused(administrator.send(&rig, &first), "ccm-replayed");

    // A disabled key is off for ever, and its apps with it.
    let disable = next(6).disable(&[&certificate]).unwrap();
    administrator.send(&rig, &disable).ended(code::DONE);
    assert_eq!(state_of(&rig, &root), "disabled");
    let again = next(7).replace_all(&[&certificate]);
    administrator.send(&rig, &again).ended(code::DONE);
    assert_eq!(
        state_of(&rig, &root),
        "disabled",
        "mix and match: enabling a certificate does not enable its key"
    );
    assert_eq!(app_state(&rig, &app), (json!("suspended"), json!("root-disabled")));

    // The key hands over to another, and speaks no more.
    let successor = Administrator::new("Successor");
    let handover = next(8).hand_over(successor.authority.certificate());
    administrator.send(&rig, &handover).ended(code::DONE);
    refused(administrator.send(&rig, &next(9)), "ccm-wrong-signer");
    let first_of_the_new = successor.message(&device, 1).replace_all(&[]);
    successor.send(&rig, &first_of_the_new).ended(code::DONE);
    let record = rig.journal(["--kind", "change"]).into_iter().filter(|r| r["action"] == "ccm.apply").count();
    assert!(record >= 16, "each message stands in the journal, the refused ones too: {record}");
}

#[test]
fn an_overdue_message_keeps_new_third_party_runs_from_starting() {
    let rig = Rig::start();
    let app = rig.app("third-party");
    let operator = rig.app("operator");
    let administrator = Administrator::new("Administrator");
    let pem = file(&rig, "administrator.pem", administrator.authority.pem());
    let device = done(&rig, &["administrator", "set", pem.to_str().unwrap()])["device"].clone();
    let branch = rig.packages().demo().pki.branch(SecurityDomain::ThirdParty).unwrap();
    let message = administrator.message(device.as_str().unwrap(), 1);
    let message = Message { next_update: later(packages::now(), 3), ..message };
    administrator.send(&rig, &message.replace_all(&[branch.root.certificate()])).ended(code::DONE);
    done(&rig, &["app", "start", &app]);
    let stale = wait::within(Duration::from_secs(10), || {
        let started = cli(&rig, &["app", "start", &app]);
        (started.code == code::REFUSED).then_some(started)
    });
    refused(stale.expect("the message is overdue after a while"), "ccm-stale");
    assert_eq!(done(&rig, &["administrator", "show"])["overdue"], true);
    done(&rig, &["app", "start", &operator]);
}

#[test]
fn a_message_is_applied_whole_or_not_at_all_whenever_the_gate_is_killed() {
    let mut rig = Rig::start();
    let app = rig.app("third-party");
    let root = root_of(&rig, "third-party");
    let administrator = Administrator::new("Administrator");
    let pem = file(&rig, "administrator.pem", administrator.authority.pem());
    let device = done(&rig, &["administrator", "set", pem.to_str().unwrap()])["device"].clone();
    let device = device.as_str().unwrap().to_owned();
    let branch = rig.packages().demo().pki.branch(SecurityDomain::ThirdParty).unwrap();
    let certificate = branch.root.certificate().to_vec();
    let mut random = rig::random::Random::new();
    let (mut applied, mut lost) = (0, 0);
    // Odd messages enable the root, even ones do not.
    for sequence in 1..=24 {
        let enabled: &[&[u8]] = if sequence % 2 == 1 { &[&certificate] } else { &[] };
        let message = administrator.message(&device, sequence).replace_all(enabled);
        let bytes = message.sign(&administrator.signer).unwrap();
        let path = file(&rig, "message.ccm", &bytes);
        let mut sending = rig.command();
        sending.args(["ccm", "apply"]).arg(&path).stdout(std::process::Stdio::null());
        let mut sending = sending.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(40_000) as u64));
        rig.kill();
        let told = sending.wait().unwrap().success();
        rig.start_again();
        let known = done(&rig, &["administrator", "show"])["configuration"]["sequence"].as_u64().unwrap();
        assert!(
            known == sequence || (known == sequence - 1 && !told),
            "{known} after {sequence}, told: {told}"
        );
        if known == sequence {
            applied += 1;
        } else {
            lost += 1;
        }
        let state = if known % 2 == 1 { "enabled" } else { "not-enabled" };
        assert_eq!(state_of(&rig, &root), state, "after message {known}");
        let app_is = if known % 2 == 1 { "active" } else { "suspended" };
        assert_eq!(app_state(&rig, &app).0, app_is, "after message {known}");
        if known < sequence {
            administrator.send_bytes(&rig, &bytes).ended(code::DONE);
        }
        assert_eq!(state_of(&rig, &root), if sequence % 2 == 1 { "enabled" } else { "not-enabled" });
    }
    println!("{applied} messages were applied before the kill, {lost} were not");
    done(&rig, &["journal", "verify"]);
}
