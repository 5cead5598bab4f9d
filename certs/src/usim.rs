//! (U)SIM certificate management: what was read from a card in, its root public keys out. [`Image`] is the card as read,
//! by whatever source; [`Image::wanted`] says what to read next, so that all sources read the same; [`decode`] says what
//! it holds, byte for byte (TS 31.102, 4.4.4 and 5.5). Nothing here trusts a card: whether its keys count is decided by
//! the service, by the root store and by the owner.
//!
//! Rooms: `plan` (what to read), `service` (what the card offers), `identity` (whose card it is), `record` (one root
//! descriptor), `key_id` (whether the descriptor names the key that is there), `wtls`, `problem`.

mod identity;
mod key_id;
mod plan;
mod problem;
mod record;
mod service;
mod wtls;

use std::collections::BTreeMap;
use std::fmt;

use mexe_model::RootId;

use crate::algorithm::sha256;
use crate::certificate::Certificate;
use crate::root_store::RootKind;
use crate::rules::Rules;
use crate::verdict::CertificateFacts;

pub use self::identity::{Binding, HomeNetwork, iccid_of_file, imsi_of_file};
pub use self::plan::{Part, Wanted};
pub use self::problem::Problem;
pub use self::record::{CertificateType, Descriptor};
pub use self::service::{CardKind, Services};
pub use self::wtls::{Anchor, WtlsCertificate, WtlsKey, WtlsName, WtlsSignature};

/// A file of the MExE folder (DF 5F3C), by its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u16);

impl FileId {
    /// EF MExE-ST, the service table of the folder.
    pub const SERVICE_TABLE: Self = Self(0x4F40);
    /// EF ORPK.
    pub const OPERATOR_ROOTS: Self = Self(0x4F41);
    /// EF ARPK.
    pub const ADMINISTRATOR_ROOT: Self = Self(0x4F42);
    /// EF TPRPK.
    pub const THIRD_PARTY_ROOTS: Self = Self(0x4F43);

    /// Whether a descriptor may name it as an EF TKCDF: 4FXX, and none of the four above.
    pub const fn is_key_data(self) -> bool {
        self.0 >> 8 == 0x4F && !matches!(self.0, 0x4F40..=0x4F43)
    }
}

/// As cards' manuals write it: `4F41`.
impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

/// One file as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// A transparent file: its first bytes, as many as were wanted and there.
    Bytes(Vec<u8>),
    /// A linear fixed file: its records, the first one first.
    Records(Vec<Vec<u8>>),
    /// It could not be read.
    Unread(Unread),
}

/// Why a file could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// There is no such file.
    Absent,
    /// The file is deactivated (invalidated, on a GSM SIM).
    Deactivated,
    /// The card does not let it be read: the PIN is wanted, and the gate never gives one.
    Denied,
    /// It has another structure or other sizes than a file of its kind.
    Misshapen,
}

/// A card as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What kind of application was read.
    pub kind: CardKind,
    /// The card's number, decimal digits; empty when it is not known.
    pub iccid: String,
    /// The subscriber's identity, decimal digits; empty when it is not known.
    pub imsi: String,
    /// EF UST, or EF SST of a GSM SIM; empty when there is none.
    pub service_table: Vec<u8>,
    /// EF AD; empty when there is none.
    pub administrative_data: Vec<u8>,
    /// EF SPN; empty when there is none.
    pub provider_name: Vec<u8>,
    /// EF GID1; empty when there is none.
    pub group_identifier: Vec<u8>,
    /// The files of the folder MExE that were asked for.
    pub files: BTreeMap<FileId, File>,
}

impl Image {
    /// A card of which nothing has been read yet.
    pub fn new(kind: CardKind) -> Self {
        Self {
            kind,
            iccid: String::new(),
            imsi: String::new(),
            service_table: Vec::new(),
            administrative_data: Vec::new(),
            provider_name: Vec::new(),
            group_identifier: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// Whether the card says that it has the folder MExE.
    pub fn has_mexe(&self) -> bool {
        self.kind.marks_mexe(&self.service_table)
    }

    fn bytes(&self, file: FileId) -> Option<&[u8]> {
        match self.files.get(&file) {
            Some(File::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

/// The three files that hold root descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RootFile {
    /// EF ORPK.
    Operator,
    /// EF ARPK.
    Administrator,
    /// EF TPRPK.
    ThirdParty,
}

impl RootFile {
    /// All three, in the order of their files.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Administrator, Self::ThirdParty];

    /// Its identifier.
    pub const fn id(self) -> FileId {
        match self {
            Self::Operator => FileId::OPERATOR_ROOTS,
            Self::Administrator => FileId::ADMINISTRATOR_ROOT,
            Self::ThirdParty => FileId::THIRD_PARTY_ROOTS,
        }
    }

    /// What its keys are.
    pub const fn kind(self) -> RootKind {
        match self {
            Self::Operator => RootKind::Operator,
            Self::Administrator => RootKind::Administrator,
            Self::ThirdParty => RootKind::ThirdParty,
        }
    }

    /// The name in the standard: `ORPK`, `ARPK`, `TPRPK`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "ORPK",
            Self::Administrator => "ARPK",
            Self::ThirdParty => "TPRPK",
        }
    }
}

/// What a card holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What kind of application was read.
    pub kind: CardKind,
    /// Whether the card says that it has the folder MExE. Without, there is nothing below.
    pub has_mexe: bool,
    /// The services of the folder.
    pub services: Services,
    /// The card's number.
    pub iccid: Option<String>,
    /// The subscriber's identity.
    pub imsi: Option<String>,
    /// Whose card it is: what an operator key is bound to. `None` without an IMSI.
    pub binding: Option<Binding>,
    /// Every record of the three files, in their order, the empty ones too.
    pub records: Vec<Record>,
    /// What is wrong with a file as a whole.
    pub problems: Vec<(FileId, Problem)>,
}

/// One record of a file of root descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The file.
    pub file: RootFile,
    /// Its number, from 1 on.
    pub number: usize,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// Its fields; `None` when it is empty, or so broken that there are none.
    pub descriptor: Option<Descriptor>,
    /// The certificate that it names, if there is one that can be read.
    pub certificate: Option<CardCertificate>,
    /// Everything that is wrong with it. A record with any of it offers no root.
    pub problems: Vec<Problem>,
}

impl Record {
    /// Whether it holds nothing: erased, all bytes FF.
    pub fn is_empty(&self) -> bool {
        self.raw.iter().all(|byte| *byte == 0xFF)
    }

    /// Where it lies, for people: `ORPK record 1`.
    pub fn place(&self) -> String {
        format!("{} record {}", self.file.as_str(), self.number)
    }
}

/// A certificate out of an EF TKCDF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardCertificate {
    /// X.509.
    X509 {
        /// The certificate, DER.
        der: Vec<u8>,
        /// What it says of itself.
        facts: CertificateFacts,
        /// SHA-256 of its SubjectPublicKeyInfo.
        key: RootId,
        /// The kind and size of its key, as `RSA 2048`; `None` when it is of a kind that is not accepted.
        key_description: Option<String>,
    },
    /// WTLS.
    Wtls {
        /// Its fields.
        certificate: WtlsCertificate,
        /// SHA-256 of its key as a SubjectPublicKeyInfo; `None` for keys that are not RSA.
        key: Option<RootId>,
    },
}

/// A root public key that the card offers: its record has no problem. Whether it may be a root is for the root store to
/// say, whether it counts for the owner (security.md S18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// What it would be.
    pub kind: RootKind,
    /// The record that offers it.
    pub record: &'a Record,
    /// SHA-256 of its SubjectPublicKeyInfo: what the owner accepts together with the ICCID.
    pub key: &'a RootId,
    /// The certificate.
    pub certificate: CandidateCertificate<'a>,
}

/// The certificate of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateCertificate<'a> {
    /// X.509, DER: for [`crate::TrustStoreBuilder::add`].
    X509(&'a [u8]),
    /// WTLS: only under the legacy rules, and never for the operator. See [`WtlsCertificate::anchor`].
    Wtls(&'a WtlsCertificate),
}

impl Card {
    /// The roots that the card offers under these rules, in the order of its records.
    pub fn candidates(&self, rules: Rules) -> Vec<Candidate<'_>> {
        let offered = self.records.iter().filter(|record| record.problems.is_empty());
        offered
            .filter_map(|record| {
                let kind = record.file.kind();
                let (key, certificate) = match record.certificate.as_ref()? {
                    CardCertificate::X509 { der, key, .. } => (key, CandidateCertificate::X509(der)),
                    CardCertificate::Wtls { certificate, key } => {
                        // SHA-1 and nothing else: never for the operator (security.md S16).
                        if !rules.legacy || kind == RootKind::Operator {
                            return None;
                        }
                        (key.as_ref()?, CandidateCertificate::Wtls(certificate))
                    }
                };
                Some(Candidate { kind, record, key, certificate })
            })
            .collect()
    }
}

/// Says what a card holds. Never fails: what is wrong is named, and the rest stays.
///
/// ```
/// use mexe_certs::usim::{CardKind, Image, decode};
///
/// let card = decode(&Image::new(CardKind::Usim));
/// assert!(!card.has_mexe && card.records.is_empty());
/// ```
pub fn decode(image: &Image) -> Card {
    let has_mexe = image.has_mexe();
    let mut card = Card {
        kind: image.kind,
        has_mexe,
        services: Services::default(),
        iccid: identity::digits(&image.iccid),
        imsi: identity::digits(&image.imsi),
        binding: identity::binding(image),
        records: Vec::new(),
        problems: Vec::new(),
    };
    if !has_mexe {
        return card;
    }
    match image.bytes(FileId::SERVICE_TABLE) {
        Some(table) if !table.is_empty() => card.services = Services::read(table),
        _ => card.problems.push((FileId::SERVICE_TABLE, unread(image, FileId::SERVICE_TABLE))),
    }
    for file in RootFile::ALL {
        match image.files.get(&file.id()) {
            Some(File::Records(records)) => {
                let alone = file != RootFile::Administrator || records.len() == 1;
                for (at, raw) in records.iter().enumerate() {
                    let mut record = read_record(file, at.saturating_add(1), raw, image);
                    if !record.is_empty() && !card.services.has(file) {
                        record.problems.push(Problem::ServiceNotMarked);
                    }
                    if !record.is_empty() && !alone {
                        record.problems.push(Problem::NotTheOnlyRecord { records: records.len() });
                    }
                    card.records.push(record);
                }
            }
            _ if card.services.has(file) => card.problems.push((file.id(), unread(image, file.id()))),
            _ => {}
        }
    }
    card
}

fn unread(image: &Image, file: FileId) -> Problem {
    match image.files.get(&file) {
        Some(File::Unread(Unread::Deactivated)) => Problem::FileDeactivated { file },
        Some(File::Unread(Unread::Denied)) => Problem::FileDenied { file },
        Some(File::Unread(Unread::Absent)) | None => Problem::FileMissing { file },
        Some(_) => Problem::FileMisshapen { file },
    }
}

fn read_record(file: RootFile, number: usize, raw: &[u8], image: &Image) -> Record {
    let mut record =
        Record { file, number, raw: raw.to_vec(), descriptor: None, certificate: None, problems: Vec::new() };
    if record.is_empty() {
        return record;
    }
    match Descriptor::read(raw, file == RootFile::ThirdParty) {
        Ok((descriptor, problems)) => {
            record.problems = problems;
            match read_certificate(&descriptor, image) {
                Ok(certificate) => {
                    record.problems.extend(certificate.problems);
                    record.certificate = Some(certificate.read);
                }
                Err(problem) => record.problems.push(problem),
            }
            record.descriptor = Some(descriptor);
        }
        Err(problem) => record.problems.push(problem),
    }
    record
}

struct Found {
    read: CardCertificate,
    problems: Vec<Problem>,
}

fn read_certificate(descriptor: &Descriptor, image: &Image) -> Result<Found, Problem> {
    if !descriptor.file.is_key_data() {
        return Err(Problem::FileNotKeyData { file: descriptor.file });
    }
    let data = image.bytes(descriptor.file).ok_or_else(|| unread(image, descriptor.file))?;
    let slice = descriptor
        .range()
        .and_then(|range| data.get(range))
        .filter(|slice| !slice.is_empty())
        .ok_or(Problem::SliceOutOfRange { file: descriptor.file, size: data.len() })?;
    let mut problems = Vec::new();
    let (read, spki) = match descriptor.kind {
        CertificateType::X509 => {
            let certificate =
                Certificate::read(slice).map_err(|unusable| Problem::CertificateMalformed(unusable.what))?;
            // As for every root. It also covers what an identifier leaves open: a WIM's names no exponent, no curve and
            // no y coordinate.
            if certificate.is_self_issued()
                && certificate.scheme.is_ok()
                && !certificate.is_signed_by(&certificate)
            {
                problems.push(Problem::CertificateMalformed("its own signature is wrong".to_owned()));
            }
            let read = CardCertificate::X509 {
                der: slice.to_vec(),
                facts: certificate.facts(),
                key: RootId::from_digest(&sha256(&certificate.spki)),
                key_description: certificate.key.as_ref().ok().map(|key| key.description()),
            };
            (read, Some(certificate.spki))
        }
        CertificateType::Wtls => {
            let certificate = WtlsCertificate::read(slice).map_err(Problem::CertificateMalformed)?;
            problems.extend(certificate.problem());
            let spki = certificate.key.spki();
            let key = spki.as_deref().map(|spki| RootId::from_digest(&sha256(spki)));
            (CardCertificate::Wtls { certificate, key }, spki)
        }
        CertificateType::X968 => return Err(Problem::X968Unsupported),
        CertificateType::Reserved(kind) => return Err(Problem::TypeReserved { kind }),
    };
    if descriptor.key_identifier.is_empty() {
        problems.push(Problem::KeyIdentifierMissing);
    } else if spki.is_some_and(|spki| !key_id::names(&descriptor.key_identifier, &spki)) {
        problems.push(Problem::KeyIdentifierMismatch);
    }
    Ok(Found { read, problems })
}
