//! What a card says of a file when it is selected: the template of a UICC (TS 102 221, 11.1.1.3) or the fixed form of a
//! GSM SIM (TS 51.011, 9.2.1). Some modems answer with the second for cards of the first kind, so both are always read.

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Bytes.
    pub(crate) size: usize,
    /// `None` for a transparent file.
    pub(crate) records: Option<Records>,
    /// Deactivated, or invalidated.
    pub(crate) deactivated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) length: u8,
    pub(crate) count: u8,
}

/// Reads either form; `None` when it is neither, or is of a file that is neither transparent nor linear fixed.
pub(crate) fn read(bytes: &[u8]) -> Option<FileFacts> {
    match bytes.first()? {
        0x62 => template(bytes),
        _ => fixed(bytes),
    }
}

fn template(bytes: &[u8]) -> Option<FileFacts> {
    let mut rest = tlv(bytes)?.value;
    let (mut size, mut descriptor, mut deactivated) = (None, None, false);
    while !rest.is_empty() {
        let field = tlv(rest)?;
        rest = field.rest;
        let value = field.value;
        match field.tag {
            0x80 => size = value.last_chunk::<2>().map(|size| usize::from(u16::from_be_bytes(*size))),
            0x82 => descriptor = Some(value),
            // Operational and deactivated; bit 1 is activated, bits 3 and 4 must be as here.
            0x8A => deactivated = value.first().is_some_and(|status| status & 0b1101 == 0b0100),
            _ => {}
        }
    }
    let records = match descriptor? {
        [kind, ..] if kind & 0b1011_1111 == 0b01 => None,
        [kind, _coding, high, low, count] if kind & 0b1011_1111 == 0b10 => {
            let length = u8::try_from(u16::from_be_bytes([*high, *low])).ok()?;
            Some(Records { length, count: *count })
        }
        _ => return None,
    };
    let size = size.or_else(|| records.map(|r| usize::from(r.length) * usize::from(r.count)))?;
    Some(FileFacts { size, records, deactivated })
}

struct Tlv<'a> {
    tag: u8,
    value: &'a [u8],
    rest: &'a [u8],
}

/// A one-byte tag, a length of up to three bytes, a value.
fn tlv(bytes: &[u8]) -> Option<Tlv<'_>> {
    let (tag, after) = bytes.split_first()?;
    let (length, after) = match after {
        [0x81, length, after @ ..] => (usize::from(*length), after),
        [0x82, high, low, after @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), after),
        [length @ 0..=0x7F, after @ ..] => (usize::from(*length), after),
        _ => return None,
    };
    let (value, rest) = after.split_at_checked(length)?;
    Some(Tlv { tag: *tag, value, rest })
}

fn fixed(bytes: &[u8]) -> Option<FileFacts> {
    let &[_, _, size1, size0, _, _, kind, _, _, _, _, status, _, structure, ref rest @ ..] = bytes else {
        return None;
    };
    let size = usize::from(u16::from_be_bytes([size1, size0]));
    let records = match (kind, structure) {
        (4, 0) => None,
        (4, 1) => {
            let length = *rest.first().filter(|length| **length > 0)?;
            Some(Records { length, count: u8::try_from(size / usize::from(length)).ok()? })
        }
        _ => return None,
    };
    Some(FileFacts { size, records, deactivated: status & 1 == 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        // EF ICCID of a UICC as printed in many traces, and of a GSM SIM.
        let uicc = [
            0x62, 0x17, 0x82, 0x02, 0x41, 0x21, 0x83, 0x02, 0x2F, 0xE2, 0x8A, 0x01, 0x05, 0x8B, 0x03, 0x2F,
            0x06, 0x02, 0x80, 0x02, 0x00, 0x0A, 0x88, 0x01, 0x10,
        ];
        assert_eq!(read(&uicc), Some(FileFacts { size: 10, records: None, deactivated: false }));
        let gsm = [0, 0, 0, 0x0A, 0x2F, 0xE2, 4, 0, 0x0F, 0xA0, 0xAA, 1, 2, 0, 0];
        assert_eq!(read(&gsm), Some(FileFacts { size: 10, records: None, deactivated: false }));
    }

    #[test]
    fn records_and_deactivation_are_read() {
        let uicc =
            [0x62, 0x0E, 0x82, 0x05, 0x42, 0x21, 0x00, 0x1E, 0x03, 0x8A, 0x01, 0x04, 0x80, 0x02, 0x00, 0x5A];
        let expected =
            FileFacts { size: 90, records: Some(Records { length: 30, count: 3 }), deactivated: true };
        assert_eq!(read(&uicc), Some(expected));
        let gsm = [0, 0, 0, 90, 0x4F, 0x41, 4, 0, 0, 0, 0, 0, 2, 1, 30];
        assert_eq!(read(&gsm), Some(expected));
    }

    #[test]
    fn cut_off_forms_and_other_structures_are_not_read() {
        let uicc =
            [0x62, 0x0E, 0x82, 0x05, 0x42, 0x21, 0x00, 0x1E, 0x03, 0x8A, 0x01, 0x04, 0x80, 0x02, 0x00, 0x5A];
        for end in 0..uicc.len() {
            assert_eq!(read(&uicc[..end]), None, "{end}");
        }
        let cyclic = [0, 0, 0, 90, 0x4F, 0x41, 4, 0, 0, 0, 0, 1, 2, 3, 30];
        assert_eq!(read(&cyclic), None);
        let no_length = [0, 0, 0, 90, 0x4F, 0x41, 4, 0, 0, 0, 0, 1, 2, 1, 0];
        assert_eq!(read(&no_length), None);
    }
}
