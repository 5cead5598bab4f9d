//! What a card holds, record by record: what is sound is offered, what is not is named by its problem and offers
//! nothing. Cards are forged (`mexe_forge::usim`); what others decode or make is in `usim_judges.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    missing_docs,
    reason = "tests"
)]

#[path = "support/card.rs"]
mod card;
mod support;

use mexe_certs::usim::{CandidateCertificate, CardCertificate, CardKind, File, FileId, Unread, decode};
use mexe_certs::{RootKind, Rules, TrustStore};
use mexe_forge::pki::{Authority, DemoPki, KeyKind, Shape};
use mexe_forge::usim::{self as forge, Card, Record, Slot};
use proptest::prelude::*;
use support::AT;

const LEGACY: Rules = Rules { legacy: true, staleness: mexe_certs::Staleness::Strict };

fn root(key: KeyKind) -> Authority {
    Authority::root("Card Root", &Shape::at(AT).with_key(key)).unwrap()
}

/// A card with one operator root whose record was changed.
fn broken(change: impl FnOnce(&mut Record)) -> Card {
    let mut card = Card::new(forge::CardKind::Usim);
    let mut record = card.add_root(Slot::Operator, root(KeyKind::P256).certificate()).unwrap();
    change(&mut record);
    card.records[0] = vec![record.encode()];
    card
}

/// The codes of what is wrong with the only record; it offers nothing.
#[track_caller]
fn problems(card: &Card) -> Vec<&'static str> {
    let read = decode(&card::image(card));
    assert_eq!(read.records.len(), 1, "{:?}", read.problems);
    assert_eq!(read.candidates(LEGACY), []);
    for problem in &read.records[0].problems {
        let text = problem.to_string();
        assert!(!text.ends_with('.') && !text.contains('\n') && text.is_ascii(), "{text}");
    }
    read.records[0].problems.iter().map(|problem| problem.code()).collect()
}

#[test]
fn a_forged_card_reads_back_as_it_was_made() {
    for (kind, expected) in
        [(forge::CardKind::Usim, CardKind::Usim), (forge::CardKind::GsmSim, CardKind::GsmSim)]
    {
        let mut card = Card::new(kind);
        let roots = [
            (Slot::Operator, root(KeyKind::Rsa2048)),
            (Slot::Operator, root(KeyKind::P256)),
            (Slot::Administrator, root(KeyKind::P384)),
            (Slot::ThirdParty, root(KeyKind::Ed25519)),
        ];
        let made: Vec<_> =
            roots.iter().map(|(slot, root)| card.add_root(*slot, root.certificate()).unwrap()).collect();
        let read = decode(&card::image(&card));
        assert_eq!((read.kind, read.has_mexe), (expected, true));
        assert_eq!(read.iccid.as_deref(), Some(card.iccid.as_str()));
        assert_eq!(read.imsi.as_deref(), Some(card.imsi.as_str()));
        let binding = read.binding.as_ref().unwrap();
        assert_eq!(binding.network.to_string(), "001-01");
        assert_eq!(binding.provider.as_deref(), Some("mexegate"));
        assert_eq!(binding.group.as_deref(), Some(&[0x4D][..]));
        assert_eq!(read.problems, []);
        assert_eq!(read.records.len(), 4);
        for (record, made) in read.records.iter().zip(&made) {
            let descriptor = record.descriptor.as_ref().unwrap();
            assert_eq!((descriptor.parameters, descriptor.flags), (made.parameters, made.flags));
            assert_eq!(
                (descriptor.file.0, descriptor.offset, descriptor.length),
                (made.file, made.offset, made.length)
            );
            assert_eq!(descriptor.key_identifier, made.key_identifier);
            assert_eq!(descriptor.certificate_identifier, made.certificate_identifier);
            assert_eq!(record.problems, []);
        }
        let kinds = [RootKind::Operator, RootKind::Operator, RootKind::Administrator, RootKind::ThirdParty];
        let offered = read.candidates(Rules::default());
        assert_eq!(offered.len(), 4);
        for ((candidate, kind), (_, root)) in offered.iter().zip(kinds).zip(&roots) {
            assert_eq!(candidate.kind, kind);
            assert_eq!(candidate.certificate, CandidateCertificate::X509(root.certificate()));
            // The key is the id under which the root store will know it.
            let added = TrustStore::builder().add(kind, "card", root.certificate(), AT);
            assert_eq!(added[0].as_ref().unwrap(), candidate.key);
        }
    }
}

#[test]
fn the_demo_card_offers_the_operator_and_third_parties_and_no_manufacturer() {
    let card = Card::demo(&DemoPki::make(AT).unwrap()).unwrap();
    let read = decode(&card::image(&card));
    let kinds: Vec<_> = read.candidates(Rules::default()).iter().map(|candidate| candidate.kind).collect();
    assert_eq!(kinds, [RootKind::Operator, RootKind::ThirdParty]);
}

#[test]
fn each_thing_wrong_with_a_record_is_named_and_it_offers_nothing() {
    assert_eq!(problems(&broken(|r| r.parameters = 0xFF)), ["marked-invalid"]);
    assert_eq!(problems(&broken(|r| r.parameters = 0xFC)), ["parameters-unknown"]);
    assert_eq!(problems(&broken(|r| r.flags = 0xFE)), ["not-an-authority"]);
    assert_eq!(problems(&broken(|r| r.kind = 2)), ["x968-unsupported"]);
    assert_eq!(problems(&broken(|r| r.kind = 3)), ["type-reserved"]);
    assert_eq!(problems(&broken(|r| r.kind = 0)), ["certificate-malformed"]);
    assert_eq!(problems(&broken(|r| r.file = 0x4F41)), ["file-not-key-data"]);
    assert_eq!(problems(&broken(|r| r.file = 0x6F07)), ["file-not-key-data"]);
    assert_eq!(problems(&broken(|r| r.file = 0x4F51)), ["file-missing"]);
    assert_eq!(problems(&broken(|r| r.offset = 1)), ["slice-out-of-range"]);
    assert_eq!(problems(&broken(|r| r.offset = 0xFFFF)), ["slice-out-of-range"]);
    assert_eq!(problems(&broken(|r| r.length = 0)), ["slice-out-of-range"]);
    assert_eq!(problems(&broken(|r| r.length -= 1)), ["certificate-malformed"]);
    assert_eq!(problems(&broken(|r| r.certificate_identifier = Some(b"more".to_vec()))), ["trailing-bytes"]);
}

#[test]
fn a_record_that_names_another_key_than_its_certificate_has_is_not_offered() {
    assert_eq!(problems(&broken(|r| r.key_identifier[0] ^= 1)), ["key-identifier-mismatch"]);
    assert_eq!(problems(&broken(|r| r.key_identifier.truncate(19))), ["key-identifier-mismatch"]);
    assert_eq!(problems(&broken(|r| r.key_identifier.clear())), ["key-identifier-missing"]);
    // The programmer of a card may have any other certificate's identifier.
    let other = root(KeyKind::P256);
    let mut elsewhere = Card::new(forge::CardKind::Usim);
    let record = elsewhere.add_root(Slot::Operator, other.certificate()).unwrap();
    assert_eq!(problems(&broken(|r| r.key_identifier = record.key_identifier)), ["key-identifier-mismatch"]);
}

#[test]
fn all_that_is_wrong_is_named_not_only_the_first() {
    let card = broken(|r| (r.parameters, r.flags, r.kind) = (0x01, 0, 9));
    assert_eq!(
        problems(&card),
        ["marked-invalid", "parameters-unknown", "not-an-authority", "type-reserved"]
    );
}

#[test]
fn erased_records_are_empty_and_no_problem() {
    let mut card = broken(|_| {});
    card.add_record(Slot::Operator, vec![0xFF; 30]);
    let read = decode(&card::image(&card));
    assert!(read.records[1].is_empty() && read.records[1].problems.is_empty());
    assert_eq!(read.records[1].place(), "ORPK record 2");
    assert_eq!(read.candidates(Rules::default()).len(), 1);
}

#[test]
fn an_administrator_file_of_two_records_offers_neither() {
    let mut card = Card::new(forge::CardKind::Usim);
    card.add_root(Slot::Administrator, root(KeyKind::P256).certificate()).unwrap();
    assert_eq!(decode(&card::image(&card)).candidates(Rules::default()).len(), 1);
    card.add_root(Slot::Administrator, root(KeyKind::P256).certificate()).unwrap();
    let read = decode(&card::image(&card));
    assert_eq!(read.candidates(Rules::default()), []);
    let codes: Vec<_> = read.records.iter().flat_map(|r| &r.problems).map(|p| p.code()).collect();
    assert_eq!(codes, ["not-the-only-record", "not-the-only-record"]);
}

#[test]
fn what_the_card_does_not_mark_is_neither_read_nor_used() {
    let mut card = Card::new(forge::CardKind::Usim);
    card.add_root(Slot::Operator, root(KeyKind::P256).certificate()).unwrap();
    card.add_root(Slot::ThirdParty, root(KeyKind::P256).certificate()).unwrap();
    let whole = card::image(&card);
    card.services = vec![0b100];
    let image = card::image(&card);
    assert!(!image.files.contains_key(&FileId::OPERATOR_ROOTS), "it is not even read");
    let kinds: Vec<_> = decode(&image).candidates(Rules::default()).iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [RootKind::ThirdParty]);
    // Nor used when a source read it all the same.
    let mut forced = image;
    forced.files.insert(FileId::OPERATOR_ROOTS, whole.files[&FileId::OPERATOR_ROOTS].clone());
    let read = decode(&forced);
    assert_eq!(read.records[0].problems.iter().map(|p| p.code()).collect::<Vec<_>>(), ["service-not-marked"]);
    assert_eq!(read.candidates(Rules::default()).len(), 1);

    card.services = vec![0b111];
    card.has_mexe = false;
    let image = card::image(&card);
    assert!(image.files.is_empty() && !decode(&image).has_mexe);
}

#[test]
fn a_gsm_card_needs_the_folder_allocated_and_activated() {
    let mut image = card::image(&Card::new(forge::CardKind::GsmSim));
    assert!(image.has_mexe());
    for bits in [0b00, 0b01, 0b10, 0b1100] {
        image.service_table[12] = bits;
        assert!(!image.has_mexe(), "{bits:b}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let mut card = Card::new(forge::CardKind::Usim);
    card.add_root(Slot::Operator, root(KeyKind::P256).certificate()).unwrap();
    let sound = card::image(&card);
    for (why, code) in [
        (Unread::Absent, "file-missing"),
        (Unread::Deactivated, "file-deactivated"),
        (Unread::Denied, "file-denied"),
        (Unread::Misshapen, "file-misshapen"),
    ] {
        let mut image = sound.clone();
        image.files.insert(FileId::OPERATOR_ROOTS, File::Unread(why));
        let read = decode(&image);
        assert_eq!(read.problems[0].0, FileId::OPERATOR_ROOTS);
        assert_eq!((read.problems[0].1.code(), read.records.len()), (code, 0));

        let mut image = sound.clone();
        image.files.insert(FileId(forge::KEY_DATA), File::Unread(why));
        assert_eq!(decode(&image).records[0].problems[0].code(), code);

        let mut image = sound.clone();
        image.files.insert(FileId::SERVICE_TABLE, File::Unread(why));
        let read = decode(&image);
        assert_eq!(read.problems[0].1.code(), code);
        assert_eq!(read.candidates(Rules::default()), []);
    }
}

#[test]
fn a_card_cannot_make_anyone_read_without_end() {
    let mut card = Card::new(forge::CardKind::Usim);
    for file in 0x4F44..=0x4FFF_u16 {
        let record = Record {
            parameters: 0xFE,
            flags: 1,
            kind: 1,
            file,
            offset: 0xFFFF,
            length: 0xFFFF,
            key_identifier: vec![1],
            certificate_identifier: None,
        };
        card.add_record(Slot::Operator, record.encode());
        card.key_data.insert(file, vec![0; 0x8100]);
    }
    let image = card::image(&card);
    let data: Vec<_> = image.files.iter().filter(|(id, _)| id.is_key_data()).collect();
    assert_eq!(data.len(), 16);
    assert!(data.iter().all(|(_, file)| matches!(file, File::Bytes(bytes) if bytes.len() == 0x8000)));
    let codes: std::collections::BTreeSet<_> =
        decode(&image).records.iter().flat_map(|r| r.problems.clone()).map(|p| p.code()).collect();
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["file-missing", "slice-out-of-range"]);
}

/// A sound card with all slots in use, as an image.
fn sound() -> mexe_certs::usim::Image {
    let mut card = Card::demo(&DemoPki::make(AT).unwrap()).unwrap();
    card.add_root(Slot::Administrator, root(KeyKind::P256).certificate()).unwrap();
    card::image(&card)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_bytes_make_decoding_panic(
        table in proptest::collection::vec(any::<u8>(), 0..20),
        services in any::<u8>(),
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
        data in proptest::collection::vec(any::<u8>(), 0..300),
        name in proptest::collection::vec(any::<u8>(), 0..20),
        imsi in "[0-9é]{0,16}",
        gsm in any::<bool>(),
    ) {
        let mut image = mexe_certs::usim::Image::new(if gsm { CardKind::GsmSim } else { CardKind::Usim });
        image.service_table = table;
        image.service_table.resize(14, 0xFF);
        image.service_table[5] |= 1;
        image.service_table[12] |= 3;
        image.administrative_data = data.iter().copied().take(5).collect();
        image.provider_name = name;
        image.imsi = imsi;
        image.files.insert(FileId::SERVICE_TABLE, File::Bytes(vec![services]));
        for file in [FileId::OPERATOR_ROOTS, FileId::ADMINISTRATOR_ROOT, FileId::THIRD_PARTY_ROOTS] {
            image.files.insert(file, File::Records(records.clone()));
        }
        while let Some(wanted) = image.wanted() {
            image.files.insert(wanted.file, File::Bytes(data.clone()));
        }
        let card = decode(&image);
        prop_assert!(card.candidates(LEGACY).is_empty());
        // As if every record named these data: the certificate readers see them too.
        let _ = mexe_certs::usim::WtlsCertificate::read(&data);
    }

    /// Whatever one byte of a sound card becomes: every root that is still offered is one of those that were put there.
    #[test]
    fn a_changed_byte_never_makes_another_root(file in 0_usize..4, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let sound = SOUND.with(Clone::clone);
        let honest: Vec<_> = decode(&sound).candidates(LEGACY).iter().map(|c| c.key.clone()).collect();
        let mut image = sound;
        let id = [0x4F41, 0x4F42, 0x4F43, forge::KEY_DATA][file];
        match image.files.get_mut(&FileId(id)).unwrap() {
            File::Bytes(bytes) => *at.get_mut(bytes.as_mut_slice()) = to,
            File::Records(records) => *at.get_mut(records[0].as_mut_slice()) = to,
            File::Unread(_) => unreachable!(),
        }
        for candidate in decode(&image).candidates(LEGACY) {
            prop_assert!(honest.contains(candidate.key));
        }
    }
}

thread_local! {
    static SOUND: mexe_certs::usim::Image = sound();
}

#[test]
fn a_wtls_certificate_of_the_card_is_not_taken_for_an_x509_one() {
    let card = broken(|r| r.kind = 0);
    let read = decode(&card::image(&card));
    assert!(!matches!(read.records[0].certificate, Some(CardCertificate::X509 { .. })));
}
