//! A forged card as the engine takes it: the files that [`mexe_certs::usim::Image::wanted`] asks for, one after the other.

#![allow(dead_code, unreachable_pub, reason = "every test file uses some of it")]

use mexe_certs::usim::{CardKind, File, Image, Part, Unread};
use mexe_forge::usim::{Body, Card};

/// Reads the card as any source would, but without any way to fail.
pub fn image(card: &Card) -> Image {
    let tree = card.tree();
    let kind = match card.kind {
        mexe_forge::usim::CardKind::GsmSim => CardKind::GsmSim,
        mexe_forge::usim::CardKind::Usim => CardKind::Usim,
    };
    let application = kind.application();
    let bytes = |id: u16| match tree.get(&vec![application, id]) {
        Some(Body::Transparent(bytes)) => bytes.clone(),
        _ => Vec::new(),
    };
    let mut image = Image {
        iccid: card.iccid.clone(),
        imsi: card.imsi.clone(),
        service_table: bytes(0x6F38),
        administrative_data: bytes(0x6FAD),
        provider_name: bytes(0x6F46),
        group_identifier: bytes(0x6F3E),
        ..Image::new(kind)
    };
    while let Some(wanted) = image.wanted() {
        let file = match (tree.get(&vec![application, 0x5F3C, wanted.file.0]), wanted.part) {
            (Some(Body::Transparent(bytes)), Part::First(length)) => {
                File::Bytes(bytes[..length.min(bytes.len())].to_vec())
            }
            (Some(Body::Records(records)), Part::Records) => File::Records(records.clone()),
            (Some(_), _) => File::Unread(Unread::Misshapen),
            (None, _) => File::Unread(Unread::Absent),
        };
        assert!(image.files.insert(wanted.file, file).is_none(), "nothing is asked for twice");
    }
    image
}
