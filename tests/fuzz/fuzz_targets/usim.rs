//! Any card: a byte for its kind, then files as identifier (two bytes), length (two bytes) and contents. Root files have
//! records of the length that their first byte says. Identifiers outside the MExE folder are the card's own files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mexe_certs::usim::{CandidateCertificate, CardKind, File, FileId, Image, RootFile, Unread, decode};
use mexe_certs::{Rules, Staleness, TrustStore};
use mexe_fuzz::AT;

fn image(bytes: &[u8]) -> Option<Image> {
    let (kind, mut rest) = bytes.split_first()?;
    let mut image = Image::new(if kind & 1 == 0 { CardKind::Usim } else { CardKind::GsmSim });
    while let Some((header, more)) = rest.split_first_chunk::<4>() {
        let (id, length) =
            (u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]]));
        let (contents, more) = more.split_at(usize::from(length).min(more.len()));
        rest = more;
        let digits = || contents.iter().map(|b| char::from(*b)).collect::<String>();
        match id {
            0x2FE2 => image.iccid = digits(),
            0x6F07 => image.imsi = digits(),
            0x6F38 => image.service_table = contents.to_vec(),
            0x6FAD => image.administrative_data = contents.to_vec(),
            0x6F46 => image.provider_name = contents.to_vec(),
            0x6F3E => image.group_identifier = contents.to_vec(),
            _ => {
                let id = FileId(id);
                let is_root = RootFile::ALL.into_iter().any(|file| file.id() == id);
                let file = match contents.split_first() {
                    Some((record, records)) if is_root => File::Records(
                        records.chunks(usize::from(*record).max(1)).map(<[u8]>::to_vec).collect(),
                    ),
                    Some((0xEE, _)) => File::Unread(Unread::Denied),
                    _ => File::Bytes(contents.to_vec()),
                };
                image.files.insert(id, file);
            }
        }
    }
    Some(image)
}

fuzz_target!(|bytes: &[u8]| {
    let Some(image) = image(bytes) else { return };
    let _ = image.wanted();
    let card = decode(&image);
    let modern = card.candidates(Rules::default()).len();
    let old = card.candidates(Rules { legacy: true, staleness: Staleness::Strict });
    assert!(modern <= old.len() && (card.has_mexe || old.is_empty()));
    for record in &card.records {
        for problem in &record.problems {
            assert!(!problem.to_string().contains('\n'));
        }
    }
    for candidate in old {
        if let CandidateCertificate::X509(der) = candidate.certificate {
            let added = TrustStore::builder().add(candidate.kind, "card", der, AT);
            // The key by which the owner accepts it is the one that the store knows it by.
            if let [Ok(id)] = added.as_slice() {
                assert_eq!(id, candidate.key);
            }
        }
    }
});
