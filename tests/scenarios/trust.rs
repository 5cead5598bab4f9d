//! Who vouches, changed while the gate runs: roots switched, added and removed, the administrator and its messages,
//! revocation lists, cards. Whatever ends a right cuts its flows at once, and what comes back brings its apps back.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mexe_forge::ccm::{Message, MessageTarget};
use mexe_forge::pki::{Authority, ListShape, Shape};
use mexe_forge::sealed::SealDefect;
use mexe_forge::usim::{Card, CardKind, Slot};
use mexe_model::{SecurityDomain, WallTime};
use rig::cli::code;
use rig::raw::{self, Credentials, Door};
use rig::times::Times;
use rig::{Control, FakeModem, Habits, Origin, Output, Rig, packages, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

/// From the end of a right to the end of its bytes.
const PROMISED: Duration = Duration::from_millis(50);

fn later(at: WallTime, seconds: u64) -> WallTime {
    WallTime::from_secs(at.as_secs() + seconds)
}

fn earlier(at: WallTime, seconds: u64) -> WallTime {
    WallTime::from_secs(at.as_secs() - seconds)
}

/// A file in the rig's folder.
fn file(rig: &Rig, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = rig.folder().join(name);
    packages::write(&path, bytes.as_ref());
    path
}

fn refused(output: Output, reason: &str) {
    let output = output.ended(code::REFUSED);
    assert_eq!(output.json["reason"], reason, "{}{}", output.stdout, output.stderr);
}

fn cli(rig: &Rig, line: &[&str]) -> Output {
    rig.cli(["--json"].iter().chain(line))
}

fn done(rig: &Rig, line: &[&str]) -> Value {
    cli(rig, line).ended(code::DONE).json
}

/// The id of the root of a domain's branch.
fn root_of(rig: &Rig, kind: &str) -> String {
    let roots = done(rig, &["roots", "list"]);
    let of_kind = |root: &&Value| root["kind"] == kind;
    let root = roots["items"].as_array().unwrap().iter().find(of_kind);
    root.unwrap_or_else(|| panic!("no {kind} root in {roots}"))["id"].as_str().unwrap().to_owned()
}

fn state_of(rig: &Rig, id: &str) -> String {
    let roots = done(rig, &["roots", "list"]);
    let root = roots["items"].as_array().unwrap().iter().find(|root| root["id"] == id);
    root.map_or_else(|| "absent".to_owned(), |root| root["state"].as_str().unwrap().to_owned())
}

fn app_state(rig: &Rig, app: &str) -> (Value, Value) {
    let shown = done(rig, &["app", "show", app]);
    (shown["state"].clone(), shown["reason"].clone())
}

/// An app that may connect to this machine, with a run.
fn ready(rig: &Rig, control: &mut Control, domain: &str) -> (String, Credentials) {
    let app = rig.app(domain);
    control.grant(&app, "127.0.0.1", "blanket");
    let (_, who) = control.run(&app);
    (app, who)
}

/// An open flow with both of its ends.
fn flow(rig: &Rig, who: &Credentials) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = raw::open(rig.ports(), Door::Socks, who, listener.local_addr().unwrap()).unwrap();
    let mut server = listener.accept().unwrap().0;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    (client, server)
}

/// Whether the stream was reset.
fn is_cut(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
}

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
    refused(cli(&rig, &["roots", "enable", &"0".repeat(64)]), "not-found");
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

fn operator_id(rig: &Rig) -> String {
    root_of(rig, "operator")
}

/// An administrator's authority, and a signer with its very key.
struct Administrator {
    authority: Authority,
    signer: mexe_forge::pki::Signer,
    at: WallTime,
}

impl Administrator {
    fn new(name: &str) -> Self {
        let at = packages::now();
        let authority = Authority::root(name, &Shape::at(at)).unwrap();
        let signer = authority.as_signer().unwrap();
        Self { authority, signer, at }
    }

    fn message(&self, device: &str, sequence: u64) -> Message {
        Message::new(self.authority.certificate(), device, sequence, self.at).unwrap()
    }

    fn send(&self, rig: &Rig, message: &Message) -> Output {
        self.send_bytes(rig, &message.sign(&self.signer).unwrap())
    }

    fn send_bytes(&self, rig: &Rig, bytes: &[u8]) -> Output {
        let path = file(rig, "message.ccm", bytes);
        cli(rig, &["ccm", "apply", path.to_str().unwrap()])
    }
}

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

/// A card with the operator's root, and an administrator's and a third party's if given.
fn card(rig: &Rig, administrator: Option<&Authority>) -> Card {
    let operator = rig.packages().demo().pki.branch(SecurityDomain::Operator).unwrap();
    let mut card = Card::new(CardKind::Usim);
    card.add_root(Slot::Operator, operator.root.certificate()).unwrap();
    if let Some(administrator) = administrator {
        card.add_root(Slot::Administrator, administrator.certificate()).unwrap();
    }
    card
}

fn insert(dir: &std::path::Path, card: &Card) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir(dir).unwrap();
    for (name, text) in card.directory() {
        packages::write(&dir.join(name), text.as_bytes());
    }
}

/// A gate without the operator's root in its directory, whose card lies in a folder.
fn with_card_folder() -> (Rig, PathBuf) {
    let rig = Rig::builder().prepare();
    let dir = rig.folder().join("card");
    let text = fs::read_to_string(rig.config_file()).unwrap();
    let text = text.replace("[trust]\n", &format!("[trust]\nusim = \"{}\"\n", dir.display()));
    packages::write(&rig.config_file(), text.as_bytes());
    fs::remove_file(rig.roots().join("operator/root.pem")).unwrap();
    (rig, dir)
}

fn until_state(rig: &Rig, id: &str, state: &str) {
    wait::until(&format!("the root to be {state}"), || (state_of(rig, id) == state).then_some(()));
}

#[test]
fn a_cards_roots_count_once_accepted_and_come_and_go_with_it() {
    let (mut rig, dir) = with_card_folder();
    let card = card(&rig, None);
    insert(&dir, &card);
    rig.start_again();
    let root = root_of(&rig, "operator");
    assert_eq!(state_of(&rig, &root), "unaccepted");
    let package = rig.package("operator");
    let package = package.to_str().unwrap();
    assert_eq!(done(&rig, &["app", "install", package])["verdict"], "untrusted");
    done(&rig, &["app", "remove", "operator-app"]);
    assert_eq!(done(&rig, &["roots", "enable", &root])["state"], "enabled");
    let installed = done(&rig, &["app", "install", package]);
    assert_eq!((&installed["domain"], &installed["verdict"]), (&json!("operator"), &json!("verified")));
    let app = installed["id"].as_str().unwrap().to_owned();
    let mut control = Control::of(&rig);
    control.grant(&app, "127.0.0.1", "blanket");
    let who = control.run(&app).1;
    let (_client, mut server) = flow(&rig, &who);

    // Taken out: its app is suspended, its flows are cut.
    fs::remove_dir_all(&dir).unwrap();
    assert!(is_cut(&mut server));
    wait::until("the app to be suspended", || {
        (app_state(&rig, &app) == (json!("suspended"), json!("root-invalid"))).then_some(())
    });
    // Another card with the same key was never accepted: a programmable card costs ten euros.
    let copied = Card { iccid: "8988211000000000025".to_owned(), ..card.clone() };
    insert(&dir, &copied);
    until_state(&rig, &root, "unaccepted");
    assert_eq!(app_state(&rig, &app).0, "suspended");
    // The accepted one is back.
    insert(&dir, &card);
    until_state(&rig, &root, "enabled");
    assert_eq!(app_state(&rig, &app).0, "active");
    // It was remembered.
    rig.kill();
    rig.start_again();
    assert_eq!(state_of(&rig, &root), "enabled");
    let actions: Vec<_> = rig.journal(["--kind", "change"]).iter().map(|r| r["action"].clone()).collect();
    for action in ["card.remove", "card.insert"] {
        assert!(actions.contains(&json!(action)), "{action} in {actions:?}");
    }
}

#[test]
fn a_cards_administrator_is_offered_and_administers_while_the_card_is_in() {
    let (mut rig, dir) = with_card_folder();
    let administrator = Administrator::new("Card administrator");
    let card = card(&rig, Some(&administrator.authority));
    insert(&dir, &card);
    rig.start_again();
    let third = root_of(&rig, "third-party");
    let shown = done(&rig, &["administrator", "show"]);
    assert_eq!((&shown["administrator"], &shown["why"]), (&json!("user"), &json!("not-accepted")));
    assert_eq!(shown["offered"]["iccid"], card.iccid.as_str());
    assert_eq!(state_of(&rig, &third), "enabled", "a card that nobody accepted takes nothing over");
    let key = shown["offered"]["key"].as_str().unwrap().to_owned();
    done(&rig, &["roots", "enable", &key]);
    let shown = done(&rig, &["administrator", "show"]);
    assert_eq!((&shown["administrator"], &shown["why"]), (&json!("card"), &json!("accepted-on-card")));
    assert_eq!(state_of(&rig, &third), "not-enabled");
    let device = shown["device"].as_str().unwrap().to_owned();
    // A message for the home network of the card.
    let branch = rig.packages().demo().pki.branch(SecurityDomain::ThirdParty).unwrap();
    let message = Message {
        target: MessageTarget::Operator("00101".to_owned()),
        ..administrator.message(&device, 1).replace_all(&[branch.root.certificate()])
    };
    administrator.send(&rig, &message).ended(code::DONE);
    assert_eq!(state_of(&rig, &third), "enabled");
    // Without the card the user administers again, and with it the message holds again.
    fs::remove_dir_all(&dir).unwrap();
    wait::until("the user to administer", || {
        (done(&rig, &["administrator", "show"])["administrator"] == "user").then_some(())
    });
    insert(&dir, &card);
    wait::until("the card's administrator", || {
        (done(&rig, &["administrator", "show"])["administrator"] == "card").then_some(())
    });
    refused(administrator.send(&rig, &message), "ccm-replayed");
}

#[test]
fn an_operators_root_that_is_bound_to_a_network_counts_only_with_its_card() {
    let mut rig = Rig::builder().prepare();
    let dir = rig.folder().join("card");
    let text = fs::read_to_string(rig.config_file()).unwrap();
    let text = text.replace("[trust]\n", &format!("[trust]\nusim = \"{}\"\n", dir.display()));
    packages::write(&rig.config_file(), text.as_bytes());
    packages::write(&rig.roots().join("operator/root.operator.toml"), b"network = \"00101\"\n");
    rig.start_again();
    let root = root_of(&rig, "operator");
    assert_eq!(state_of(&rig, &root), "invalid");
    insert(&dir, &Card::new(CardKind::Usim));
    until_state(&rig, &root, "enabled");
    // Another operator's card.
    insert(&dir, &Card { imsi: "240010123456789".to_owned(), ..Card::new(CardKind::Usim) });
    until_state(&rig, &root, "invalid");
}

#[test]
fn the_card_in_the_modem_counts_and_its_removal_cuts() {
    let mut rig = Rig::builder().prepare();
    fs::remove_file(rig.roots().join("operator/root.pem")).unwrap();
    let card = card(&rig, None);
    let modem = FakeModem::start(Some(&card), Habits::default());
    let mut text = fs::read_to_string(rig.config_file()).unwrap();
    text.push_str(&format!(
        "[[bearer]]\nname = \"mobile\"\nkind = \"modem\"\ndevice = \"{}\"\n",
        modem.port().display()
    ));
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    wait::until("the card to be read", || {
        let roots = done(&rig, &["roots", "list"]);
        roots["items"].as_array().unwrap().iter().any(|root| root["provenance"] == "usim").then_some(())
    });
    let root = root_of(&rig, "operator");
    done(&rig, &["roots", "enable", &root]);
    let mut control = Control::of(&rig);
    let (app, who) = ready(&rig, &mut control, "operator");
    let (_client, mut server) = flow(&rig, &who);
    modem.swap(None);
    modem.say("+CPIN: NOT INSERTED");
    assert!(is_cut(&mut server));
    wait::until("the app to be suspended", || (app_state(&rig, &app).0 == "suspended").then_some(()));
    modem.swap(Some(&card));
    modem.say("+CPIN: READY");
    wait::until("the app to be back", || (app_state(&rig, &app).0 == "active").then_some(()));
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
