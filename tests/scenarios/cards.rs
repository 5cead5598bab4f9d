//! The card in the device: its roots count once the owner has accepted them, and come and go with it, their apps with them; so
//! does the administrator that it names (S18).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mexe_forge::ccm::{Message, MessageTarget};
use mexe_forge::pki::Authority;
use mexe_forge::usim::{self, Card, CardKind, Slot};
use mexe_model::SecurityDomain;
use rig::cli::code;
use rig::verbs::{app_state, done, flow, is_cut, ready, refused, root_of, state_of};
use rig::{Administrator, ContextHabits, Control, FakeModem, Habits, Rig, packages, wait};
use rustix::process::Signal;
use serde_json::json;

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

fn insert(dir: &Path, card: &Card) {
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

/// Starts the gate with this modem for its bearer, and gives its configuration.
fn start_with(rig: &mut Rig, modem: &FakeModem) -> String {
    let mut text = fs::read_to_string(rig.config_file()).unwrap();
    text.push_str(&format!(
        "[[bearer]]\nname = \"mobile\"\nkind = \"modem\"\ndevice = \"{}\"\n",
        modem.port().display()
    ));
    packages::write(&rig.config_file(), text.as_bytes());
    rig.start_again();
    text
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
    let habits = Habits { contexts: Some(ContextHabits::default()), ..Habits::default() };
    let modem = FakeModem::start(Some(&card), habits);
    start_with(&mut rig, &modem);
    wait::until("the bearer", || (done(&rig, &["bearers"])["items"][0]["state"] == "up").then_some(()));
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

/// What openssl prints, in this folder.
fn openssl(folder: &Path, line: &str) -> Vec<u8> {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A card with one WTLS root of a third party.
fn wtls_card(folder: &Path) -> Card {
    openssl(folder, "genrsa -out wtls.pem 1024");
    let modulus = openssl(folder, "rsa -in wtls.pem -noout -modulus");
    let modulus = String::from_utf8(modulus).unwrap();
    let digits = modulus.trim().strip_prefix("Modulus=").unwrap();
    let octet = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let modulus: Vec<u8> = (0..digits.len()).step_by(2).map(octet).collect();
    let now = packages::now().as_secs();
    let [from, to] = [now - 86_400, now + 86_400].map(|secs| u32::try_from(secs).unwrap());
    // CN=wtls.
    let name = b"\x30\x0f\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x0c\x04wtls";
    let to_be_signed = usim::wtls_to_be_signed(name, from, to, &[1, 0, 1], &modulus);
    fs::write(folder.join("signed"), &to_be_signed).unwrap();
    let signature = openssl(folder, "dgst -sha1 -sign wtls.pem -binary signed");
    let spki = openssl(folder, "rsa -in wtls.pem -pubout -outform DER");
    let mut card = Card::new(CardKind::Usim);
    let certificate = usim::wtls_signed(&to_be_signed, &signature);
    let record = card.describe(Slot::ThirdParty, 0, &certificate, usim::key_identifier(&spki).unwrap());
    card.add_record(Slot::ThirdParty, record.unwrap().encode());
    card
}

#[test]
fn a_wtls_root_of_the_card_comes_and_goes_with_the_legacy_rules() {
    let mut rig = Rig::builder().prepare();
    let modem = FakeModem::start(Some(&wtls_card(rig.folder())), Habits::default());
    let text = start_with(&mut rig, &modem);
    wait::until("the card to be read", || {
        let changes = rig.journal(["--kind", "change"]);
        changes.iter().any(|record| record["action"] == "card.insert").then_some(())
    });
    let of_card = || {
        let roots = done(&rig, &["roots", "list"])["items"].clone();
        let subject = |root: &serde_json::Value| root["subject"].as_str().unwrap().to_owned();
        let roots = roots.as_array().unwrap().iter();
        roots.filter(|root| root["provenance"] == "usim").map(subject).collect::<Vec<_>>()
    };
    assert_eq!(of_card(), [""; 0]);
    let legacy = text.replace("[trust]\n", "[trust]\nlegacy = true\n");
    for (text, expected) in [(&legacy, vec!["CN=wtls"]), (&text, vec![])] {
        packages::write(&rig.config_file(), text.as_bytes());
        rig.signal(Signal::HUP);
        wait::until("the reload", || (of_card() == expected).then_some(()));
    }
}
