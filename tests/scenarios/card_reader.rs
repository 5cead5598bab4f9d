//! Reading a card through PC/SC: Debian's pcscd with the virtual reader of vsmartcard, an emulated card behind it. Where
//! pcscd cannot be started the test says why and stops. Its own test target, so that one pcscd runs at a time.

use mexe_forge::pki::DemoPki;
use mexe_forge::usim::{Card, CardKind};
use mexe_model::WallTime;
use rig::VirtualReader;

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
        assert_eq!(image, expected);
        let names = mexe_card::reader::names().unwrap();
        assert!(names[0].starts_with("Virtual PCD"), "{names:?}");
        assert_eq!(mexe_card::reader::read(Some(&names[0])).unwrap(), expected);
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
