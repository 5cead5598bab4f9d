//! The card in a modem as it comes, goes and changes: each is an event, whether the modem says so or not, and a card that
//! is no longer there is never kept.

use std::time::Duration;

use mexe_card::modem::Timing;
use mexe_card::watch::Options;
use mexe_card::{Event, Fault, Modem, Watch};
use mexe_certs::usim::Image;
use mexe_forge::pki::DemoPki;
use mexe_forge::usim::{Card, CardKind, Slot};
use mexe_model::WallTime;
use rig::{FakeModem, Habits};
use tokio_serial::SerialStream;

const AT: WallTime = WallTime::from_secs(1_795_489_491);

fn timing() -> Timing {
    Timing {
        answer: Duration::from_millis(500),
        quiet: Duration::from_millis(30),
        busy: Duration::from_millis(5),
        tries: 5,
        ..Timing::default()
    }
}

fn demo() -> Card {
    Card::demo(&DemoPki::make(AT).unwrap()).unwrap()
}

fn other() -> Card {
    let mut card = Card::new(CardKind::Usim);
    card.iccid = "8988211000000000025".to_owned();
    card.imsi = "001010999999999".to_owned();
    card
}

/// A watch that asks, but would take an hour to ask.
fn patient() -> Options {
    Options { poll: Duration::from_secs(3600), between_readings: Duration::ZERO, ..Options::default() }
}

fn eager() -> Options {
    let between_readings = Duration::ZERO;
    Options {
        poll: Duration::from_millis(20),
        polls_between_readings: 3,
        between_readings,
        ..Options::default()
    }
}

async fn watch(modem: &FakeModem, options: Options) -> Watch<SerialStream> {
    let port = mexe_card::serial::open(modem.port().to_str().unwrap(), 115_200).unwrap();
    Watch::new(Modem::open(port, timing()).await.unwrap(), options)
}

async fn next(watch: &mut Watch<SerialStream>) -> Event {
    tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("an event comes").unwrap()
}

#[track_caller]
fn inserted(event: Event) -> Image {
    match event {
        Event::Inserted(image) => *image,
        other => panic!("expected a card, got {other:?}"),
    }
}

#[track_caller]
fn removed(event: Event) -> &'static str {
    match event {
        Event::Removed(why) => why.code(),
        other => panic!("expected it gone, got {other:?}"),
    }
}

#[track_caller]
fn changed(event: Event) -> Image {
    match event {
        Event::Changed(image) => *image,
        other => panic!("expected a change, got {other:?}"),
    }
}

#[tokio::test]
async fn what_the_modem_says_counts_at_once() {
    let card = demo();
    let modem = FakeModem::start(Some(&card), Habits::default());
    let mut watch = watch(&modem, patient()).await;
    assert_eq!(inserted(next(&mut watch).await).imsi, card.imsi);

    modem.swap(None);
    modem.say("+CPIN: NOT READY");
    assert_eq!(removed(next(&mut watch).await), "card-gone");
    assert!(watch.card().is_none());

    modem.swap(Some(&other()));
    modem.say("+CPIN: READY");
    assert_eq!(inserted(next(&mut watch).await).imsi, other().imsi);
}

#[tokio::test]
async fn a_refresh_that_changes_the_cards_files_is_a_change() {
    let mut card = demo();
    let modem = FakeModem::start(Some(&card), Habits::default());
    let mut watch = watch(&modem, patient()).await;
    inserted(next(&mut watch).await);
    card.add_record(Slot::Operator, vec![0xFE; 4]);
    modem.swap(Some(&card));
    modem.say("+REFRESH: 0");
    assert!(
        changed(next(&mut watch).await).files
            != mexe_certs::usim::Image::new(mexe_certs::usim::CardKind::Usim).files
    );
}

#[tokio::test]
async fn a_modem_that_says_nothing_is_asked() {
    let mut card = demo();
    let modem = FakeModem::start(None, Habits::default());
    let mut watch = watch(&modem, eager()).await;
    // There is no card and no event; then there is one.
    assert!(tokio::time::timeout(Duration::from_millis(200), watch.next()).await.is_err());
    modem.swap(Some(&card));
    inserted(next(&mut watch).await);
    // The same card with other files, without a word: a file was deactivated over the air.
    modem.with_card(|card| card.deactivated.extend([0x4F41]));
    match next(&mut watch).await {
        // It was read just then: what cannot be read to its end counts as gone, and is read again.
        Event::Removed(_) => drop(inserted(next(&mut watch).await)),
        event => drop(changed(event)),
    }
    // Another subscriber on the same card: first the old one is gone.
    card.imsi = "001010999999999".to_owned();
    modem.swap(Some(&card));
    assert_eq!(removed(next(&mut watch).await), "card-changed");
    assert_eq!(inserted(next(&mut watch).await).imsi, card.imsi);
    modem.swap(Some(&other()));
    assert_eq!(removed(next(&mut watch).await), "card-changed");
    assert_eq!(inserted(next(&mut watch).await).iccid, other().iccid);
    modem.swap(None);
    assert_eq!(removed(next(&mut watch).await), "card-gone");
}

#[tokio::test]
async fn a_card_that_can_no_longer_be_read_counts_as_gone() {
    let modem = FakeModem::start(Some(&demo()), Habits::default());
    let mut watch = watch(&modem, eager()).await;
    inserted(next(&mut watch).await);
    modem.with_card(|card| card.locked = true);
    assert_eq!(removed(next(&mut watch).await), "card-locked");
    modem.with_card(|card| card.locked = false);
    inserted(next(&mut watch).await);
    modem.change(|habits| habits.silent = true);
    assert_eq!(removed(next(&mut watch).await), "modem-silent");
    modem.change(|habits| habits.silent = false);
    inserted(next(&mut watch).await);
}

#[tokio::test]
async fn a_port_that_goes_away_takes_the_card_with_it() {
    let modem = FakeModem::start(Some(&demo()), Habits::default());
    let mut watch = watch(&modem, eager()).await;
    inserted(next(&mut watch).await);
    drop(modem);
    assert_eq!(removed(next(&mut watch).await), "card-gone");
    let fault = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap().unwrap_err();
    assert!(matches!(fault, Fault::ModemGone(_)), "{fault:?}");
}

#[tokio::test]
async fn a_wait_that_is_given_up_again_and_again_loses_no_event() {
    let modem = FakeModem::start(Some(&demo()), Habits { piece: 16, ..Habits::default() });
    let mut watch = watch(&modem, eager()).await;
    // Every wait ends in the middle of a command, at another place each time.
    for wait in 1..40 {
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(wait), watch.next()).await {
            inserted(event.unwrap());
            return;
        }
    }
    inserted(next(&mut watch).await);
}

#[tokio::test]
async fn a_modem_that_keeps_saying_something_is_not_kept_reading() {
    let chatter = vec!["+CPIN: READY".to_owned(), "+REFRESH: 1".to_owned()];
    let modem = FakeModem::start(Some(&demo()), Habits { chatter, ..Habits::default() });
    let mut watch = watch(&modem, Options { between_readings: Duration::from_secs(3600), ..patient() }).await;
    inserted(next(&mut watch).await);
    let asked = modem.heard().len();
    assert!(tokio::time::timeout(Duration::from_millis(500), watch.next()).await.is_err());
    assert_eq!(modem.heard().len(), asked, "all that it said on its own is no reason to ask again");
}
