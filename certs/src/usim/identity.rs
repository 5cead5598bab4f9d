//! Whose card it is: its number, its subscriber, the home network, and the names that tell brands of one network apart.
//! An operator key counts only together with these (security.md S18). EF contents as in TS 31.102, 4.2 and TS 51.011.

use std::fmt;

use super::Image;

/// What an operator key is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The home network.
    pub network: HomeNetwork,
    /// The name of the service provider (EF SPN). May hold any characters.
    pub provider: Option<String>,
    /// The group identifier (EF GID1) without its trailing FF.
    pub group: Option<Vec<u8>>,
}

/// A network by its codes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HomeNetwork {
    /// The mobile country code, three digits.
    pub mcc: String,
    /// The mobile network code, two or three digits.
    pub mnc: String,
}

/// As `262-01`.
impl fmt::Display for HomeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.mcc, self.mnc)
    }
}

/// The text if it is decimal digits, at most as many as an ICCID has.
pub(super) fn digits(text: &str) -> Option<String> {
    let plain = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.to_owned())
}

/// What the card's operator key is bound to; `None` without an IMSI.
pub(super) fn binding(image: &Image) -> Option<Binding> {
    let imsi = digits(&image.imsi).filter(|imsi| (6..=15).contains(&imsi.len()))?;
    // EF AD says it since 1998; a card that says nothing else is of a time when all codes had two digits.
    let length = match image.administrative_data.get(3).map(|byte| byte & 0x0F) {
        Some(3) => 3,
        _ => 2,
    };
    let network =
        HomeNetwork { mcc: imsi.get(..3)?.to_owned(), mnc: imsi.get(3..)?.get(..length)?.to_owned() };
    let provider = image.provider_name.split_first().and_then(|(_condition, name)| text(name));
    let group = trimmed(&image.group_identifier).to_vec();
    Some(Binding { network, provider, group: (!group.is_empty()).then_some(group) })
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0xFF).map_or(0, |last| last.saturating_add(1));
    bytes.get(..end).unwrap_or_default()
}

/// The digits of EF ICCID (2FE2): two in a byte, the low one first, F where there is none.
pub fn iccid_of_file(bytes: &[u8]) -> String {
    swapped(bytes.get(..10).unwrap_or(bytes)).collect()
}

/// The digits of EF IMSI (6F07): a length byte, then as in EF ICCID, the first digit after a half byte of parity.
pub fn imsi_of_file(bytes: &[u8]) -> String {
    let Some((length, rest)) = bytes.split_first() else { return String::new() };
    let rest = rest.get(..usize::from(*length)).unwrap_or_default();
    swapped(rest).skip(1).collect()
}

fn swapped(bytes: &[u8]) -> impl Iterator<Item = char> {
    let halves = bytes.iter().flat_map(|byte| [byte & 0x0F, byte >> 4]);
    halves.take_while(|half| *half < 10).map(|half| char::from(b'0'.saturating_add(half)))
}

/// A name as cards hold it (TS 31.101, annex A): the default alphabet of GSM, one character a byte, or one of three
/// codings of UCS-2.
fn text(bytes: &[u8]) -> Option<String> {
    let text = match bytes.split_first() {
        Some((0x80, units)) => ucs2(units),
        Some((0x81, [length, base, characters @ ..])) => {
            mixed(characters, *length, u32::from(*base).wrapping_shl(7))
        }
        Some((0x82, [length, high, low, characters @ ..])) => {
            mixed(characters, *length, u32::from(u16::from_be_bytes([*high, *low])))
        }
        _ => trimmed(bytes).iter().map(|byte| default_character(*byte)).collect(),
    };
    (!text.is_empty()).then_some(text)
}

fn ucs2(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok().map(u16::from_be_bytes));
    char::decode_utf16(units.take_while(|unit| *unit != 0xFFFF))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn mixed(bytes: &[u8], length: u8, base: u32) -> String {
    let of = |byte: u8| match byte {
        0x80.. => char::from_u32(base.saturating_add(u32::from(byte & 0x7F))),
        _ => Some(default_character(byte)),
    };
    let characters = bytes.iter().take(usize::from(length));
    characters.map(|byte| of(*byte).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The default alphabet of GSM 03.38, without its extension.
fn default_character(byte: u8) -> char {
    const ALPHABET: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{FFFD}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
        ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
    ALPHABET.chars().nth(usize::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usim::CardKind;

    fn card(imsi: &str, administrative_data: &[u8]) -> Image {
        Image {
            imsi: imsi.to_owned(),
            administrative_data: administrative_data.to_vec(),
            ..Image::new(CardKind::Usim)
        }
    }

    fn network(imsi: &str, administrative_data: &[u8]) -> Option<String> {
        binding(&card(imsi, administrative_data)).map(|binding| binding.network.to_string())
    }

    #[test]
    fn the_network_code_is_as_long_as_the_card_says_and_else_two_digits() {
        assert_eq!(network("310410123456789", &[0, 0, 0, 3]).as_deref(), Some("310-410"));
        assert_eq!(network("262011234567890", &[0, 0, 0, 2]).as_deref(), Some("262-01"));
        assert_eq!(network("262011234567890", &[0, 0, 0]).as_deref(), Some("262-01"));
        assert_eq!(network("262011234567890", &[0, 0, 0, 0x0F]).as_deref(), Some("262-01"));
        assert_eq!(network("26201", &[]), None);
        assert_eq!(network("26201123456789A", &[]), None);
    }

    #[test]
    fn card_and_subscriber_numbers_are_read_from_their_files() {
        let iccid = [0x98, 0x94, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0xF2];
        assert_eq!(iccid_of_file(&iccid), "8949020000000000012");
        let imsi = [8, 0x29, 0x26, 0x10, 0x21, 0x43, 0x65, 0x87, 0x09];
        assert_eq!(imsi_of_file(&imsi), "262011234567890");
        for bytes in [&[][..], &[8], &[0xFF; 9], &[3, 0x29]] {
            assert_eq!(imsi_of_file(bytes), "");
        }
    }

    #[test]
    fn provider_names_are_read_in_all_codings() {
        assert_eq!(text(b"mexe\xFF\xFF").as_deref(), Some("mexe"));
        assert_eq!(text(&[0x80, 0x04, 0x1C, 0x04, 0x22, 0xFF, 0xFF]).as_deref(), Some("\u{41c}\u{422}"));
        assert_eq!(text(&[0x81, 2, 0x08, 0x9C, b'A', 0xFF]).as_deref(), Some("\u{41c}A"));
        assert_eq!(text(&[0x82, 1, 0x04, 0x10, 0x8C]).as_deref(), Some("\u{41c}"));
        assert_eq!(text(&[0x00, 0x7B]).as_deref(), Some("@ä"));
        assert_eq!(text(&[0xFF; 16]), None);
        // Surrogates alone, and cut-off forms, are shown as something that cannot be read.
        assert_eq!(text(&[0x80, 0xD8, 0x00]).as_deref(), Some("\u{fffd}"));
        assert_eq!(text(&[0x81, 2]).as_deref(), Some("\u{fffd}$"));
    }

    #[test]
    fn the_alphabet_has_128_characters() {
        assert_eq!(default_character(0x7F), 'à');
        assert_eq!(default_character(b'a'), 'a');
        assert_eq!(default_character(0x80), char::REPLACEMENT_CHARACTER);
    }
}
