//! One root descriptor: a record of EF ORPK, ARPK or TPRPK (TS 31.102, 4.4.4.2 to 4.4.4.4), field by field. The last two
//! fields are in TPRPK only. Whether the certificate that it names is there and fits is asked in [`super`].

use std::fmt;
use std::ops::Range;

use super::{FileId, Problem};

/// The fields of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Parameters indicator: bit 1 clear means that the record is valid, every other bit is set.
    pub parameters: u8,
    /// Flags: bit 1 set means the certificate of an authority.
    pub flags: u8,
    /// What kind of certificate it is.
    pub kind: CertificateType,
    /// The EF TKCDF that holds it.
    pub file: FileId,
    /// Where it begins in the file.
    pub offset: u16,
    /// How many bytes it has.
    pub length: u16,
    /// The name of the key.
    pub key_identifier: Vec<u8>,
    /// The name of the issuer's key; `None` in records that have no such field.
    pub certificate_identifier: Option<Vec<u8>>,
}

/// The kinds of certificates that a card may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateType {
    /// 0: WTLS.
    Wtls,
    /// 1: X.509.
    X509,
    /// 2: X9.68, which was never published as a standard.
    X968,
    /// Anything else.
    Reserved(u8),
}

impl fmt::Display for CertificateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wtls => f.write_str("WTLS"),
            Self::X509 => f.write_str("X.509"),
            Self::X968 => f.write_str("X9.68"),
            Self::Reserved(kind) => write!(f, "reserved {kind}"),
        }
    }
}

impl Descriptor {
    /// Reads a record that is not empty, and says what forbids using it although its fields can be told.
    ///
    /// # Errors
    /// The record is too short, or an identifier runs past its end.
    pub(super) fn read(
        raw: &[u8],
        has_certificate_identifier: bool,
    ) -> Result<(Self, Vec<Problem>), Problem> {
        let short = Problem::RecordTooShort { bytes: raw.len() };
        let Some((&[parameters, flags, kind, f1, f0, o1, o0, l1, l0], rest)) = raw.split_first_chunk::<9>()
        else {
            return Err(short);
        };
        let (key_identifier, mut rest) = identifier(rest, &short)?;
        let mut certificate_identifier = None;
        if has_certificate_identifier {
            let (found, after) = identifier(rest, &short)?;
            (certificate_identifier, rest) = (Some(found), after);
        }
        let descriptor = Self {
            parameters,
            flags,
            kind: match kind {
                0 => CertificateType::Wtls,
                1 => CertificateType::X509,
                2 => CertificateType::X968,
                other => CertificateType::Reserved(other),
            },
            file: FileId(u16::from_be_bytes([f1, f0])),
            offset: u16::from_be_bytes([o1, o0]),
            length: u16::from_be_bytes([l1, l0]),
            key_identifier,
            certificate_identifier,
        };
        let mut problems = Vec::new();
        if parameters & 1 != 0 {
            problems.push(Problem::MarkedInvalid);
        }
        // A clear bit announces an optional parameter, and so a layout that nobody here knows.
        if parameters | 1 != 0xFF {
            problems.push(Problem::ParametersUnknown { parameters });
        }
        if flags & 1 == 0 {
            problems.push(Problem::NotAnAuthority);
        }
        // All records of a file are as long as its longest identifiers need.
        if rest.iter().any(|byte| *byte != 0xFF) {
            problems.push(Problem::TrailingBytes { bytes: rest.len() });
        }
        Ok((descriptor, problems))
    }

    /// Where the certificate lies in its file.
    pub(super) fn range(&self) -> Option<Range<usize>> {
        (self.length > 0).then(|| usize::from(self.offset)..self.end())
    }

    /// One past the last byte of the certificate.
    pub(super) fn end(&self) -> usize {
        usize::from(self.offset).saturating_add(usize::from(self.length))
    }
}

/// One length byte and as many octets.
fn identifier<'a>(bytes: &'a [u8], short: &Problem) -> Result<(Vec<u8>, &'a [u8]), Problem> {
    let (length, rest) = bytes.split_first().ok_or_else(|| short.clone())?;
    let (octets, rest) = rest
        .split_at_checked(usize::from(*length))
        .ok_or(Problem::IdentifierOutOfRange { length: *length, left: rest.len() })?;
    Ok((octets.to_vec(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        text.as_bytes().chunks(2).map(digits).collect()
    }

    #[test]
    fn the_synthetic_vectors_of_another_decoder_read_as_it_reads_them() {
        let (orpk, problems) = Descriptor::read(&hex("0101034F5000100020044B455931"), false).unwrap();
        assert_eq!((orpk.parameters, orpk.flags, orpk.kind), (1, 1, CertificateType::Reserved(3)));
        assert_eq!((orpk.file, orpk.offset, orpk.length), (FileId(0x4F50), 16, 32));
        assert_eq!(orpk.key_identifier, b"KEY1");
        assert_eq!(orpk.certificate_identifier, None);
        assert_eq!(problems, [Problem::MarkedInvalid, Problem::ParametersUnknown { parameters: 1 }]);

        let (tprpk, _) = Descriptor::read(&hex("0101034F5000100020044B45593103434131"), true).unwrap();
        assert_eq!(tprpk.key_identifier, b"KEY1");
        assert_eq!(tprpk.certificate_identifier.as_deref(), Some(&b"CA1"[..]));
    }

    #[test]
    fn what_that_decoder_rejects_is_rejected() {
        assert_eq!(Descriptor::read(&[0; 9], false), Err(Problem::RecordTooShort { bytes: 9 }));
        assert_eq!(
            Descriptor::read(&hex("0000000000000000000001"), true),
            Err(Problem::IdentifierOutOfRange { length: 1, left: 0 })
        );
    }

    #[test]
    fn padding_after_the_identifiers_is_erased_bytes_and_nothing_else() {
        let sound = hex("FE01014F500000000A02ABCD");
        assert_eq!(Descriptor::read(&sound, false).unwrap().1, []);
        let padded = [sound.clone(), vec![0xFF; 20]].concat();
        assert_eq!(Descriptor::read(&padded, false).unwrap().1, []);
        let trailing = [sound, vec![0xFF, 0x00]].concat();
        assert_eq!(Descriptor::read(&trailing, false).unwrap().1, [Problem::TrailingBytes { bytes: 2 }]);
    }

    #[test]
    fn each_bit_of_the_parameters_counts() {
        for bit in 1..8 {
            let parameters = 0xFE & !(1_u8 << bit);
            let mut record = hex("FE01014F500000000A02ABCD");
            record[0] = parameters;
            let (_, problems) = Descriptor::read(&record, false).unwrap();
            assert_eq!(problems, [Problem::ParametersUnknown { parameters }]);
        }
    }
}
