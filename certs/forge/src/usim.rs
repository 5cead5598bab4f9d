//! (U)SIM cards with a folder MExE: roots put into descriptors and certificate files, as TS 31.102, 4.4.4 has them, sound
//! or broken on purpose. Encoded here from scratch, without the engine that reads it. A card comes out as the files of a
//! directory ([`Card::directory`], for `mexegate usim read`) or as the file tree of a real one ([`Card::tree`], for the
//! card and modem that tests emulate).

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use der::asn1::UintRef;
use der::{Decode, Reader, SliceReader};

use crate::Fault;
use crate::pki::DemoPki;

/// What kind of application the card has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CardKind {
    /// A SIM.
    GsmSim,
    /// A USIM.
    #[default]
    Usim,
}

/// The three files of root descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// EF ORPK (4F41).
    Operator,
    /// EF ARPK (4F42).
    Administrator,
    /// EF TPRPK (4F43).
    ThirdParty,
}

/// One root descriptor; change a field to break it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Parameters indicator; FE is a valid record without optional parameters.
    pub parameters: u8,
    /// Flags; 1 is the certificate of an authority.
    pub flags: u8,
    /// 0 WTLS, 1 X.509, 2 X9.68.
    pub kind: u8,
    /// The file with the certificate.
    pub file: u16,
    /// Where it begins there.
    pub offset: u16,
    /// Its length, bytes.
    pub length: u16,
    /// The name of its key.
    pub key_identifier: Vec<u8>,
    /// The name of its issuer's key; third party records have one.
    pub certificate_identifier: Option<Vec<u8>>,
}

impl Record {
    /// The bytes. Identifiers over 255 bytes get a wrong length, which is a broken record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.parameters, self.flags, self.kind];
        for field in [self.file, self.offset, self.length] {
            out.extend(field.to_be_bytes());
        }
        for identifier in
            [Some(&self.key_identifier), self.certificate_identifier.as_ref()].into_iter().flatten()
        {
            out.push(u8::try_from(identifier.len()).unwrap_or(u8::MAX));
            out.extend(identifier);
        }
        out
    }
}

/// A card. Its fields are what it holds; change them to break it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What kind of application it has.
    pub kind: CardKind,
    /// Its number, digits.
    pub iccid: String,
    /// The subscriber's identity, digits.
    pub imsi: String,
    /// How many digits the network code has.
    pub mnc_length: u8,
    /// The service provider's name, ASCII.
    pub provider: String,
    /// EF GID1; empty for none.
    pub group: Vec<u8>,
    /// Whether the card's service table marks the folder MExE.
    pub has_mexe: bool,
    /// EF MExE-ST.
    pub services: Vec<u8>,
    /// The records of EF ORPK, EF ARPK and EF TPRPK.
    pub records: [Vec<Vec<u8>>; 3],
    /// The EF TKCDFs.
    pub key_data: BTreeMap<u16, Vec<u8>>,
}

/// Where roots are put: the first EF TKCDF.
pub const KEY_DATA: u16 = 0x4F50;

impl Card {
    /// A card of the test network 001-01 whose folder MExE is empty.
    pub fn new(kind: CardKind) -> Self {
        Self {
            kind,
            iccid: "8988211000000000017".to_owned(),
            imsi: "001010123456789".to_owned(),
            mnc_length: 2,
            provider: "mexegate".to_owned(),
            group: vec![0x4D],
            has_mexe: true,
            services: vec![0],
            records: Default::default(),
            key_data: BTreeMap::new(),
        }
    }

    /// The card of the demo's operator: its root, and one for third parties.
    ///
    /// # Errors
    /// A root cannot be read.
    pub fn demo(pki: &DemoPki) -> Result<Self, Fault> {
        use mexe_model::SecurityDomain;
        let mut card = Self::new(CardKind::Usim);
        for branch in &pki.branches {
            let slot = match branch.domain {
                SecurityDomain::Operator => Slot::Operator,
                SecurityDomain::ThirdParty => Slot::ThirdParty,
                // The standard has no place for the manufacturer's on a card.
                SecurityDomain::Manufacturer => continue,
            };
            card.add_root(slot, branch.root.certificate())?;
        }
        Ok(card)
    }

    /// Puts a root (X.509, DER) on the card, marks its service, and gives its record for further change: see
    /// [`Card::add_record`].
    ///
    /// # Errors
    /// The certificate cannot be read, or there is no place left.
    pub fn add_root(&mut self, slot: Slot, certificate: &[u8]) -> Result<Record, Fault> {
        let identifier = key_identifier(&spki(certificate)?)?;
        let record = self.describe(slot, 1, certificate, identifier)?;
        self.add_record(slot, record.encode());
        Ok(record)
    }

    /// Puts the bytes of a certificate into the certificate file and describes them, without a record yet.
    ///
    /// # Errors
    /// There is no place left in the file.
    pub fn describe(
        &mut self,
        slot: Slot,
        kind: u8,
        certificate: &[u8],
        key_identifier: Vec<u8>,
    ) -> Result<Record, Fault> {
        let data = self.key_data.entry(KEY_DATA).or_default();
        let too_large = |_| Fault::CardFull;
        let (offset, length) = (u16::try_from(data.len()), u16::try_from(certificate.len()));
        data.extend(certificate);
        Ok(Record {
            parameters: 0xFE,
            flags: 1,
            kind,
            file: KEY_DATA,
            offset: offset.map_err(too_large)?,
            length: length.map_err(too_large)?,
            certificate_identifier: (slot == Slot::ThirdParty).then(|| key_identifier.clone()),
            key_identifier,
        })
    }

    /// Adds a record and marks its service.
    pub fn add_record(&mut self, slot: Slot, record: Vec<u8>) {
        let [operator, administrator, third_party] = &mut self.records;
        let (records, bit) = match slot {
            Slot::Operator => (operator, 1),
            Slot::Administrator => (administrator, 2),
            Slot::ThirdParty => (third_party, 4),
        };
        records.push(record);
        if let Some(services) = self.services.first_mut() {
            *services |= bit;
        }
    }

    /// Every file of the card, by its path from the master file. Records of one file are filled up with FF to the length
    /// of the longest.
    pub fn tree(&self) -> BTreeMap<Vec<u16>, Body> {
        let (application, table, imsi, data, name, group) = match self.kind {
            CardKind::Usim => (0x7FFF, 0x6F38, 0x6F07, 0x6FAD, 0x6F46, 0x6F3E),
            CardKind::GsmSim => (0x7F20, 0x6F38, 0x6F07, 0x6FAD, 0x6F46, 0x6F3E),
        };
        let mut tree = BTreeMap::from([
            (vec![0x2FE2], Body::Transparent(self.iccid_bytes())),
            (vec![application, table], Body::Transparent(self.service_table())),
            (vec![application, imsi], Body::Transparent(self.imsi_bytes())),
            (vec![application, data], Body::Transparent(vec![0, 0, 0, self.mnc_length])),
            (vec![application, name], Body::Transparent(self.provider_bytes())),
        ]);
        if !self.group.is_empty() {
            tree.insert(vec![application, group], Body::Transparent(self.group.clone()));
        }
        if self.has_mexe {
            let mexe = |id| vec![application, 0x5F3C, id];
            tree.insert(mexe(0x4F40), Body::Transparent(self.services.clone()));
            for (id, records) in (0x4F41..).zip(&self.records) {
                let length = records.iter().map(Vec::len).max().unwrap_or_default();
                if length > 0 {
                    let padded = |record: &Vec<u8>| {
                        let mut record = record.clone();
                        record.resize(length, 0xFF);
                        record
                    };
                    tree.insert(mexe(id), Body::Records(records.iter().map(padded).collect()));
                }
            }
            for (id, data) in &self.key_data {
                tree.insert(mexe(*id), Body::Transparent(data.clone()));
            }
        }
        tree
    }

    /// The card as a directory: file name and text. See `docs/usim.md` for the format.
    pub fn directory(&self) -> Vec<(String, String)> {
        let table = match self.kind {
            CardKind::Usim => "UST",
            CardKind::GsmSim => "SST",
        };
        let mut files = vec![
            ("ICCID".to_owned(), format!("{}\n", self.iccid)),
            ("IMSI".to_owned(), format!("{}\n", self.imsi)),
        ];
        for (path, body) in self.tree() {
            let name = match path.as_slice() {
                [_, 0x6F38] => table.to_owned(),
                [_, 0x6FAD] => "AD".to_owned(),
                [_, 0x6F46] => "SPN".to_owned(),
                [_, 0x6F3E] => "GID1".to_owned(),
                [_, 0x5F3C, id] => format!("{id:04X}"),
                _ => continue,
            };
            files.push((name, body.lines()));
        }
        files
    }

    fn service_table(&self) -> Vec<u8> {
        let mut table = vec![0; 17];
        let (byte, bits) = match self.kind {
            CardKind::Usim => (5, 0b1),
            CardKind::GsmSim => (12, 0b11),
        };
        if let Some(marks) = table.get_mut(byte).filter(|_| self.has_mexe) {
            *marks |= bits;
        }
        table
    }

    fn iccid_bytes(&self) -> Vec<u8> {
        swapped(&format!("{:F<20}", self.iccid))
    }

    fn imsi_bytes(&self) -> Vec<u8> {
        // The first half byte holds the parity and the kind of identity.
        let parity = if self.imsi.len() % 2 == 1 { '9' } else { '1' };
        let mut bytes = swapped(&format!("{parity}{:F<15}", self.imsi));
        let length = u8::try_from((self.imsi.len() + 2) / 2).unwrap_or(u8::MAX);
        bytes.insert(0, length);
        bytes
    }

    fn provider_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(self.provider.bytes());
        bytes.resize(17, 0xFF);
        bytes
    }
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Transparent.
    Transparent(Vec<u8>),
    /// Linear fixed: records of one length.
    Records(Vec<Vec<u8>>),
}

impl Body {
    fn lines(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>() + "\n";
        match self {
            Self::Transparent(bytes) => bytes.chunks(32).map(hex).collect(),
            Self::Records(records) => records.iter().map(|record| hex(record)).collect(),
        }
    }
}

/// Digits and F, two in a byte, the first one low.
fn swapped(digits: &str) -> Vec<u8> {
    let halves: Vec<u8> = digits
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0xF))
        .collect();
    halves.chunks(2).map(|pair| pair.iter().rev().fold(0, |byte, half| byte << 4 | half)).collect()
}

fn spki(certificate: &[u8]) -> Result<Vec<u8>, Fault> {
    use der::Encode;
    let certificate = x509_cert::Certificate::from_der(certificate)?;
    Ok(certificate.tbs_certificate().subject_public_key_info().to_der()?)
}

/// The identifier that a WIM gives the key of a SubjectPublicKeyInfo: SHA-1 of the modulus or of the x coordinate; for
/// other keys, of the bit string.
///
/// # Errors
/// The key cannot be read.
pub fn key_identifier(spki: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut reader = SliceReader::new(spki)?;
    let key = reader.sequence(|reader| {
        reader.tlv_bytes()?;
        reader.decode::<der::asn1::BitStringRef<'_>>()
    })?;
    let key = key.as_bytes().unwrap_or_default();
    let material = match key.split_first() {
        Some((4, point)) => point.get(..point.len() / 2).unwrap_or_default().to_vec(),
        Some((0x30, _)) => SliceReader::new(key)?.sequence(|reader| {
            let modulus: UintRef<'_> = reader.decode()?;
            let _exponent: UintRef<'_> = reader.decode()?;
            Ok::<_, der::Error>(modulus.as_bytes().to_vec())
        })?,
        _ => key.to_vec(),
    };
    Ok(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &material).as_ref().to_vec())
}

/// A WTLS root up to its signature: RSA, self-issued, its name an X.509 one (DER). Times are seconds since 1970.
pub fn wtls_to_be_signed(
    name: &[u8],
    not_before: u32,
    not_after: u32,
    exponent: &[u8],
    modulus: &[u8],
) -> Vec<u8> {
    let vector1 = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap_or(u8::MAX)], bytes].concat();
    let vector2 =
        |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()[..], bytes].concat();
    let name = [vec![255], vector1(name)].concat();
    [
        vec![1, 2],
        name.clone(),
        not_before.to_be_bytes().to_vec(),
        not_after.to_be_bytes().to_vec(),
        name,
        vec![2, 0],
        vector2(exponent),
        vector2(modulus),
    ]
    .concat()
}

/// The WTLS certificate with its signature (PKCS #1 v1.5 with SHA-1 over what [`wtls_to_be_signed`] gave).
pub fn wtls_signed(to_be_signed: &[u8], signature: &[u8]) -> Vec<u8> {
    let length = u16::try_from(signature.len()).unwrap_or(u16::MAX).to_be_bytes();
    [to_be_signed, &length, signature].concat()
}
