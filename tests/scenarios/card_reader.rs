//! Reading a card through PC/SC: Debian's pcscd with the virtual reader of vsmartcard, an emulated card behind it. Where
//! pcscd cannot be started the test says why and stops. Its own test target, so that one pcscd runs at a time.

use mexe_forge::pki::DemoPki;
use mexe_forge::usim::{Card, CardKind, Slot};
use mexe_model::{SecurityDomain, WallTime};
use rig::card::Emulator;
use rig::{Control, Rig, VirtualReader};

const AT: WallTime = WallTime::from_secs(1_795_489_491);

#[test]
fn a_card_in_a_reader_gives_the_image_that_its_directory_gives_and_no_pin_is_tried() {
    for kind in [CardKind::Usim, CardKind::GsmSim] {
        let mut card = Card::demo(&DemoPki::make(AT).unwrap()).unwrap();
        card.kind = kind;
        let reader = match VirtualReader::start(&card) {
            Ok(reader) => reader,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let files = card.directory();
        let read =
            |name: &str| files.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone().into_bytes());
        let expected = mexe_card::directory::read(|name| Ok(read(name))).unwrap();

        let image = rig::wait::until("the card to be powered", || mexe_card::reader::read(None).ok());
        let (image, _) = image;
        assert_eq!(image, expected);
        let names = mexe_card::reader::names().unwrap();
        assert!(names[0].starts_with("Virtual PCD"), "{names:?}");
        assert_eq!(mexe_card::reader::read(Some(&names[0])).unwrap().0, expected);
        let nobody = mexe_card::reader::read(Some("no such reader")).unwrap_err();
        assert_eq!(nobody.code(), "reader", "{nobody}");

        reader.with_card(|card| card.locked = true);
        let locked = mexe_card::reader::read(None).unwrap_err();
        assert_eq!(locked.code(), "card-locked", "{locked}");
        for command in reader.with_card(|card| card.heard.clone()) {
            assert!([0xA4, 0xC0, 0xB0, 0xB2].contains(&command[1]), "{command:02X?}");
        }
    }
}

/// A gate that looks into the card reader, one of its operator's roots on a card in it. Needs a gate with feature `pcsc`:
/// `MEXEGATE_BIN` names it.
fn gate() -> Result<(Rig, Card, VirtualReader), String> {
    let mut rig = Rig::builder().prepare();
    let operator = rig.packages().demo().pki.branch(SecurityDomain::Operator).unwrap();
    let mut card = Card::new(CardKind::Usim);
    card.add_root(Slot::Operator, operator.root.certificate()).unwrap();
    let text = std::fs::read_to_string(rig.config_file()).unwrap();
    let text = text.replace("[trust]\n", &format!("[trust]\n{READER}"));
    rig::packages::write(&rig.config_file(), text.as_bytes());
    std::fs::remove_file(rig.roots().join("operator/root.pem")).unwrap();
    let reader = VirtualReader::start(&card)?;
    rig.start_again();
    Ok((rig, card, reader))
}

const READER: &str = "usim = \"pcsc:\"\n";

/// State and source of each root that a card brought.
fn roots(rig: &Rig) -> Vec<(String, String)> {
    let listed = Control::of(rig).list("/v1/roots");
    let of_card = listed.iter().filter(|root| root["provenance"] == "usim");
    of_card.map(|r| (r["state"].as_str().unwrap().into(), r["source"].as_str().unwrap().into())).collect()
}

/// What happened to cards, the oldest first.
fn events(rig: &Rig) -> Vec<String> {
    let changes = rig.journal(["--kind", "change"]);
    let actions = changes.iter().filter_map(|record| record["action"].as_str()?.strip_prefix("card."));
    actions.map(str::to_owned).collect()
}

fn until_events(rig: &Rig, expected: &[&str]) {
    rig::wait::until(&format!("{expected:?}"), || (events(rig) == expected).then_some(()));
}

#[test]
fn a_gate_that_is_told_to_looks_into_the_card_reader() {
    let (rig, card, reader) = match gate() {
        Ok(gate) => gate,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let found =
        rig::wait::until("the card to be read", || Some(roots(&rig)).filter(|found| !found.is_empty()));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "unaccepted");
    assert!(found[0].1.starts_with("card (lab)"), "a card that does not carry the bearer says so: {found:?}");
    let heard = reader.with_card(|card| card.heard.len());
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(reader.with_card(|card| card.heard.len()), heard, "a card that stays is left alone");

    drop(reader);
    rig::wait::until("the card to be gone", || roots(&rig).is_empty().then_some(()));
    let _reader = VirtualReader::start(&card).expect("it started before");
    rig::wait::until("the card to be back", || (!roots(&rig).is_empty()).then_some(()));
    assert_eq!(events(&rig), ["insert", "remove", "insert"]);
}

#[test]
fn only_the_reader_that_was_read_counts_and_each_of_its_cards_is_seen() {
    let (rig, card, mut reader) = match gate() {
        Ok(gate) => gate,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    until_events(&rig, &["insert"]);
    let mut other = card.clone();
    other.iccid = "8944100030000000042".to_owned();
    let beside = reader.beside(&other);
    rig::wait::until("the second reader's card", || {
        let names = mexe_card::reader::names().unwrap();
        names
            .iter()
            .any(|name| {
                mexe_card::reader::read(Some(name)).is_ok_and(|(image, _)| {
                    mexe_certs::usim::decode(&image).iccid.as_deref() == Some(other.iccid.as_str())
                })
            })
            .then_some(())
    });
    drop(beside);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(events(&rig), ["insert"], "what comes and goes in another reader is nothing to this card");

    // Another card, in before anybody looked: the first is gone before the second counts.
    reader.swap(Emulator::new(&other));
    until_events(&rig, &["insert", "remove", "insert"]);

    // One that cannot be read is none, and is read once it can be.
    let mut locked = Emulator::new(&card);
    locked.locked = true;
    reader.swap(locked);
    until_events(&rig, &["insert", "remove", "insert", "remove"]);
    reader.with_card(|card| card.locked = false);
    until_events(&rig, &["insert", "remove", "insert", "remove", "insert"]);

    // A service that hangs says nothing of the card: it counts as gone.
    reader.freeze(true);
    rig::wait::within(std::time::Duration::from_secs(60), || roots(&rig).is_empty().then_some(()))
        .expect("the card counts although nobody can tell whether it is there");
    reader.freeze(false);
    rig::wait::until("the card to count again", || (!roots(&rig).is_empty()).then_some(()));

    // A gate that is told to look elsewhere forgets the card.
    let text = std::fs::read_to_string(rig.config_file()).unwrap();
    rig::packages::write(&rig.config_file(), text.replace(READER, "").as_bytes());
    rig.signal(rustix::process::Signal::HUP);
    rig::wait::until("the card to be forgotten", || roots(&rig).is_empty().then_some(()));
}
