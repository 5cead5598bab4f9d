//! Reading a card through a modem, over a real serial port (a pseudo terminal): every way in which modems hand out files
//! gives the same image, and nothing that is ever sent can be a PIN. The fake modem is checked by Debian's `chat` first.

use std::process::{Command, Stdio};
use std::time::Duration;

use mexe_card::modem::Timing;
use mexe_card::{Fault, Modem, read_image};
use mexe_certs::Rules;
use mexe_certs::usim::{File, FileId, Image, Unread, decode};
use mexe_forge::pki::{Authority, DemoPki, KeyKind, Shape};
use mexe_forge::usim::{Card, CardKind, Slot};
use mexe_model::WallTime;
use rig::{FakeModem, Habits};

const AT: WallTime = WallTime::from_secs(1_795_489_491);

fn timing() -> Timing {
    Timing {
        answer: Duration::from_secs(5),
        quiet: Duration::from_millis(30),
        busy: Duration::from_millis(5),
        tries: 5,
        ..Timing::default()
    }
}

/// A card with every kind of file, certificates longer than one answer, and an erased record.
fn card(kind: CardKind) -> Card {
    let mut card = Card::demo(&DemoPki::make(AT).unwrap()).unwrap();
    card.kind = kind;
    let large = Authority::root("Large", &Shape::at(AT).with_key(KeyKind::Rsa3072)).unwrap();
    card.add_root(Slot::Administrator, large.certificate()).unwrap();
    card.add_record(Slot::ThirdParty, vec![0xFF; 9]);
    card
}

/// The image as a directory gives it, which knows nothing of modems.
fn expected(card: &Card) -> Image {
    let files = card.directory();
    let read = |name: &str| files.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone().into_bytes());
    mexe_card::directory::read(|name| Ok(read(name))).unwrap()
}

fn read(modem: &FakeModem) -> Result<Image, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let port = mexe_card::serial::open(modem.port().to_str().unwrap(), 115_200)?;
        let mut modem = Modem::open(port, timing()).await?;
        read_image(&mut modem).await
    })
}

#[test]
fn debians_chat_finds_a_modem_with_that_card() {
    let modem = FakeModem::start(Some(&card(CardKind::Usim)), Habits::default());
    let port = std::fs::OpenOptions::new().read(true).write(true).open(modem.port()).unwrap();
    // It waits for each expectation in turn; what does not come in time ends it with a code.
    let script = [
        "ABORT",
        "ERROR",
        "TIMEOUT",
        "5",
        "",
        "AT",
        "OK",
        "ATE0",
        "OK",
        "AT+CIMI",
        "001010123456789",
        "",
        "OK",
        "AT+CRSM=176,12258,0,0,10",
        "+CRSM: 144,0,\"988812010000000010F7\"",
        "",
        "OK",
        "AT+CSIM=14,\"00A40004022FE2\"",
        "+CSIM: 4,\"6A86\"",
    ];
    let status = Command::new("/usr/sbin/chat")
        .args(["-v", "-s"])
        .args(script)
        .stdin(Stdio::from(port.try_clone().unwrap()))
        .stdout(Stdio::from(port))
        .stderr(Stdio::null())
        .status()
        .expect("chat is installed (Debian: ppp)");
    assert!(status.success(), "{status}; it heard {:?}", modem.heard());
    assert_eq!(modem.heard().len(), 5, "{:?}", modem.heard());
}

#[test]
fn every_way_of_reading_gives_the_image_that_the_directory_gives() {
    let chatter = vec!["+CREG: 1".to_owned(), "RING".to_owned(), "+CPIN: READY".to_owned()];
    let ways = [
        Habits::default(),
        Habits { echo: false, ..Habits::default() },
        Habits { generic: false, ..Habits::default() },
        Habits { restricted: false, ..Habits::default() },
        Habits { piece: 7, chatter: chatter.clone(), ..Habits::default() },
        Habits { restricted: false, piece: 3, chatter, ..Habits::default() },
        Habits { busy: 4, ..Habits::default() },
    ];
    for kind in [CardKind::Usim, CardKind::GsmSim] {
        let card = card(kind);
        let expected = expected(&card);
        assert_eq!(decode(&expected).candidates(Rules::default()).len(), 3);
        for habits in &ways {
            let modem = FakeModem::start(Some(&card), habits.clone());
            assert_eq!(read(&modem).unwrap(), expected, "{habits:?}");
            only_reading_was_sent(&modem);
        }
    }
}

#[test]
fn where_a_modem_knows_no_paths_the_card_itself_is_asked() {
    let card = card(CardKind::Usim);
    let modem = FakeModem::start(Some(&card), Habits { paths: false, ..Habits::default() });
    assert_eq!(read(&modem).unwrap(), expected(&card));
    // A modem that can do neither finds no service table: nothing is offered, rather than something wrong.
    let unable = FakeModem::start(Some(&card), Habits { paths: false, generic: false, ..Habits::default() });
    assert!(!read(&unable).unwrap().has_mexe());
    only_reading_was_sent(&modem);
}

#[test]
fn a_locked_card_is_named_and_no_pin_is_tried() {
    for habits in [Habits::default(), Habits { restricted: false, verbose: true, ..Habits::default() }] {
        let modem = FakeModem::start(Some(&card(CardKind::Usim)), habits);
        modem.with_card(|card| card.locked = true);
        let fault = read(&modem).unwrap_err();
        assert_eq!(fault.code(), "card-locked", "{fault}");
        only_reading_was_sent(&modem);
    }
}

#[test]
fn what_is_wrong_with_modem_or_card_has_its_name() {
    let card = card(CardKind::Usim);
    let cases = [
        (None, Habits::default(), "card-gone"),
        (None, Habits { verbose: true, ..Habits::default() }, "card-gone"),
        (Some(&card), Habits { busy: 1000, ..Habits::default() }, "card-busy"),
        (Some(&card), Habits { restricted: false, generic: false, ..Habits::default() }, "modem-refused"),
        (
            Some(&card),
            Habits { instead: Some("+CRSM: what?".to_owned()), ..Habits::default() },
            "modem-malformed",
        ),
    ];
    for (card, habits, code) in cases {
        let modem = FakeModem::start(card, habits);
        let fault = read(&modem).unwrap_err();
        assert_eq!(fault.code(), code, "{fault}");
        only_reading_was_sent(&modem);
    }
}

#[test]
fn a_deactivated_file_is_named_and_the_rest_is_read() {
    for habits in [Habits::default(), Habits { restricted: false, ..Habits::default() }] {
        for kind in [CardKind::Usim, CardKind::GsmSim] {
            let modem = FakeModem::start(Some(&card(kind)), habits.clone());
            modem.with_card(|card| card.deactivated.extend([0x4F43]));
            let image = read(&modem).unwrap();
            assert_eq!(image.files[&FileId::THIRD_PARTY_ROOTS], File::Unread(Unread::Deactivated));
            let read = decode(&image);
            assert_eq!(read.problems[0].1.code(), "file-deactivated");
            assert_eq!(read.candidates(Rules::default()).len(), 2);
        }
    }
}

/// Over everything that was ever sent: to the modem only questions, to the card only SELECT, GET RESPONSE, READ BINARY
/// and READ RECORD.
fn only_reading_was_sent(modem: &FakeModem) {
    for line in modem.heard() {
        let known = ["AT", "ATE0", "AT+CMEE=1", "AT+CIMI", "AT+CCID"].contains(&line.as_str());
        let file =
            ["AT+CRSM=192,", "AT+CRSM=176,", "AT+CRSM=178,"].iter().any(|access| line.starts_with(access));
        assert!(known || file || line.starts_with("AT+CSIM="), "{line}");
    }
    for command in modem.sent_to_cards() {
        assert!([0xA4, 0xC0, 0xB0, 0xB2].contains(&command[1]), "{command:02X?}");
    }
}
