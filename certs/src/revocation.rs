//! Certificate revocation lists (RFC 5280, 5): reads one, keeps what it revokes in order, and answers whether a serial number
//! was revoked at a time. webpki reads each list first, so that nothing is read out of bytes that it would not accept. Which
//! list counts for which certificate is decided in [`crate::path`]; who puts lists on the device is the service's business.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber};
use mexe_model::WallTime;
use x509_cert::ext::{Extension, Extensions};
use x509_cert::time::Time;

use crate::algorithm::{Scheme, sha256};
use crate::certificate::Certificate;
use crate::chain;
use crate::verdict::Quoted;

/// The most bytes of one list.
pub const LIST_SIZE_MAX: usize = 32 << 20;
/// The most entries of one list.
pub const LIST_ENTRIES_MAX: usize = 500_000;
/// The most lists on a device.
pub const LISTS_MAX: usize = 1_000;

/// What is known of a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFacts {
    /// The issuer (RFC 4514). May hold any characters: escape it before showing it.
    pub issuer: String,
    /// The list's number, lower-case hexadecimal without leading zeros.
    pub number: String,
    /// When it was made.
    pub this_update: WallTime,
    /// When the next one is due.
    pub next_update: WallTime,
    /// How many certificates it lists.
    pub entries: usize,
    /// The file that it was read from.
    pub source: String,
    /// SHA-256 of the list.
    pub sha256: [u8; 32],
}

/// Whether a list counts at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListState {
    /// It counts.
    Current,
    /// The next one is overdue.
    Stale,
    /// It was made later: as if it were not there.
    Future,
}

impl ListState {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Stale => "stale",
            Self::Future => "future",
        }
    }
}

impl ListFacts {
    /// Whether the list counts at that time; both ends are current.
    pub fn state_at(&self, at: WallTime) -> ListState {
        if at.as_secs() < self.this_update.as_secs() {
            ListState::Future
        } else if at.as_secs() > self.next_update.as_secs() {
            ListState::Stale
        } else {
            ListState::Current
        }
    }
}

/// A revocation list as read. Whether its issuer signed it is asked at each judgement.
#[derive(Debug)]
pub(crate) struct RevocationList {
    pub(crate) facts: ListFacts,
    /// The issuer's name, DER.
    pub(crate) issuer: Vec<u8>,
    /// Big endian, without leading zeros.
    number: Vec<u8>,
    /// By serial number.
    revoked: Vec<Revoked>,
    scheme: Scheme,
    signed: Signed,
    signature: Vec<u8>,
    /// For webpki, as a second opinion; `None` when the list is so large that it would be asked for too much.
    pub(crate) second: Option<chain::List>,
}

/// What the signature is over. Hashed once, because a list may be large and is asked at each judgement.
#[derive(Debug)]
enum Signed {
    Digest(digest::Digest),
    Bytes(Vec<u8>),
}

#[derive(Debug)]
struct Revoked {
    /// The serial number, DER.
    serial: Box<[u8]>,
    at: WallTime,
    /// `removeFromCRL`: listed, but not revoked any more.
    removed: bool,
}

/// What a list says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Absent,
    /// Listed, but not revoked at the time: it will be, or it is no more.
    Spared,
    Revoked(WallTime),
}

impl RevocationList {
    /// What it says of the certificate with that serial number, DER.
    pub(crate) fn status(&self, serial: &[u8], at: WallTime) -> Status {
        let from = self.revoked.partition_point(|revoked| *revoked.serial < *serial);
        let mut status = Status::Absent;
        for revoked in self.revoked.iter().skip(from).take_while(|revoked| *revoked.serial == *serial) {
            if !revoked.removed && revoked.at.as_secs() <= at.as_secs() {
                return Status::Revoked(revoked.at);
            }
            status = Status::Spared;
        }
        status
    }

    /// Whether that authority's key signed it, and the authority may.
    pub(crate) fn is_signed_by(&self, issuer: &Certificate) -> bool {
        let Ok(key) = &issuer.key else { return false };
        let right = match &self.signed {
            Signed::Digest(digest) => key.verifies_digest(self.scheme, digest, &self.signature),
            Signed::Bytes(bytes) => key.verifies(self.scheme, bytes, &self.signature),
        };
        issuer.may_sign_lists() && right.unwrap_or(false)
    }

    /// Whether it stands for a later state of its issuer's than `other`.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        let key = |list: &'_ Self| (list.number.len(), list.number.clone(), list.facts.this_update);
        key(self) > key(other)
    }

    pub(crate) fn read(source: &str, der: &[u8]) -> Result<Self, ListFault> {
        if der.len() > LIST_SIZE_MAX {
            return Err(ListFault::TooLarge);
        }
        let parts = Parts::read(der).map_err(|error| ListFault::Malformed(error.kind().to_string()))?;
        // The extensions first: what webpki does not know is named in our own words.
        let number = number(&parts.extensions)?;
        let second = chain::List::read(der).map_err(ListFault::Malformed)?;
        let scheme =
            Scheme::read(parts.algorithm, None).map_err(|unusable| ListFault::Algorithm(unusable.what))?;
        if !scheme.is_strong() {
            return Err(ListFault::Algorithm(format!("it is signed with {}", scheme.name())));
        }
        let signed = match scheme.digest() {
            Some(digest) => Signed::Digest(digest.of(parts.signed)),
            None => Signed::Bytes(parts.signed.to_vec()),
        };
        let mut revoked = parts.revoked()?;
        revoked.sort_by(|a, b| a.serial.cmp(&b.serial));
        let name = x509_cert::name::Name::from_der(parts.issuer)
            .map_err(|error| ListFault::Malformed(error.kind().to_string()))?;
        let hex: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
        let facts = ListFacts {
            issuer: name.to_string(),
            number: if hex.is_empty() { "0".to_owned() } else { hex.trim_start_matches('0').to_owned() },
            this_update: parts.this_update,
            next_update: parts.next_update,
            entries: revoked.len(),
            source: source.to_owned(),
            sha256: sha256(der),
        };
        Ok(Self {
            facts,
            issuer: parts.issuer.to_vec(),
            number,
            revoked,
            scheme,
            signed,
            signature: parts.signature.to_vec(),
            second: (der.len() <= SECOND_OPINION_MAX).then_some(second),
        })
    }
}

/// The parts of a CertificateList (RFC 5280, 5.1).
struct Parts<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    this_update: WallTime,
    next_update: WallTime,
    entries: &'a [u8],
    extensions: Vec<Extension>,
}

impl<'a> Parts<'a> {
    fn read(der: &'a [u8]) -> Result<Self, der::Error> {
        let mut reader = SliceReader::new(der)?;
        let (signed, algorithm, signature) = reader.sequence(|reader| {
            Ok::<_, der::Error>((
                reader.tlv_bytes()?,
                reader.tlv_bytes()?,
                reader.decode::<BitStringRef<'a>>()?,
            ))
        })?;
        reader.finish()?;
        SliceReader::new(signed)?.sequence(|reader| {
            let version: u8 = reader.decode()?;
            if version != 1 {
                return Err(Tag::Integer.value_error().into());
            }
            let inner = reader.tlv_bytes()?;
            if inner != algorithm {
                return Err(Tag::Sequence.value_error().into());
            }
            let issuer = reader.tlv_bytes()?;
            let this_update = wall(reader.decode()?);
            let next_update = wall(reader.decode()?);
            let entries = match Tag::peek(reader)? {
                Tag::Sequence => reader.decode::<AnyRef<'a>>()?.value(),
                _ => &[],
            };
            let extensions: AnyRef<'a> = reader.decode()?;
            Ok(Self {
                signed,
                algorithm,
                signature: signature.as_bytes().unwrap_or_default(),
                issuer,
                this_update,
                next_update,
                entries,
                extensions: Extensions::from_der(extensions.value())?,
            })
        })
    }

    fn revoked(&self) -> Result<Vec<Revoked>, ListFault> {
        let malformed = |error: der::Error| ListFault::Malformed(error.kind().to_string());
        let mut reader = SliceReader::new(self.entries).map_err(malformed)?;
        let mut all = Vec::new();
        while !reader.is_finished() {
            if all.len() >= LIST_ENTRIES_MAX {
                return Err(ListFault::TooManyEntries);
            }
            all.push(entry(&mut reader).map_err(malformed)?);
        }
        Ok(all)
    }
}

fn entry(reader: &mut SliceReader<'_>) -> Result<Revoked, der::Error> {
    reader.sequence(|reader| {
        let serial = reader.tlv_bytes()?.into();
        let at = wall(reader.decode()?);
        let mut removed = false;
        if !reader.is_finished() {
            // Critical ones that are not known here made webpki refuse the list.
            for extension in Extensions::from_der(reader.tlv_bytes()?)? {
                if extension.extn_id == OID_REASON {
                    removed = extension.extn_value.as_bytes() == REMOVE_FROM_CRL;
                }
            }
        }
        Ok(Revoked { serial, at, removed })
    })
}

fn wall(time: Time) -> WallTime {
    WallTime::from_secs(time.to_unix_duration().as_secs())
}

/// The list's number, and that its other extensions are such that it may be taken for what its issuer revoked.
fn number(extensions: &[Extension]) -> Result<Vec<u8>, ListFault> {
    let mut number = None;
    for extension in extensions {
        match extension.extn_id {
            OID_NUMBER if extension.critical => {
                return Err(ListFault::Malformed("its number is critical, which it must not be".to_owned()));
            }
            OID_NUMBER => {
                let value = UintRef::from_der(extension.extn_value.as_bytes()).map_err(bad)?;
                number = Some(value.as_bytes().iter().copied().skip_while(|byte| *byte == 0).collect());
            }
            OID_DELTA => return Err(ListFault::Delta),
            OID_SCOPE => return Err(scope(extension.extn_value.as_bytes())),
            OID_KEY_IDENTIFIER => {}
            unknown if extension.critical => return Err(ListFault::UnknownExtension(unknown.to_string())),
            _ => {}
        }
    }
    number.ok_or(ListFault::NoNumber)
}

fn bad(_: der::Error) -> ListFault {
    ListFault::Malformed("its number cannot be read".to_owned())
}

/// Whether a list with an issuing distribution point is another's, or only a part of its issuer's.
fn scope(value: &[u8]) -> ListFault {
    let indirect = AnyRef::from_der(value).and_then(|scope| {
        scope.sequence(|reader| {
            let mut indirect = false;
            while !reader.is_finished() {
                let field: AnyRef<'_> = reader.decode()?;
                let indirect_crl =
                    matches!(field.header().tag(), Tag::ContextSpecific { number: TagNumber(4), .. });
                indirect |= indirect_crl && field.value() == [0xff];
            }
            Ok::<_, der::Error>(indirect)
        })
    });
    match indirect {
        Ok(true) => ListFault::Indirect,
        Ok(false) => ListFault::Partial,
        Err(_) => ListFault::Malformed("its issuing distribution point cannot be read".to_owned()),
    }
}

/// Why a revocation list does not count: which file, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListProblem {
    pub(crate) source: String,
    pub(crate) fault: ListFault,
}

impl ListProblem {
    /// The file.
    pub fn file(&self) -> &str {
        &self.source
    }

    /// What is wrong with it.
    pub fn fault(&self) -> &ListFault {
        &self.fault
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self.fault {
            ListFault::Algorithm(_) => "list-algorithm-weak",
            ListFault::Delta => "list-delta",
            ListFault::Indirect => "list-indirect",
            ListFault::Malformed(_) => "list-malformed",
            ListFault::NoList => "list-missing",
            ListFault::NoNumber => "list-without-number",
            ListFault::Partial => "list-partial",
            ListFault::TooLarge => "list-too-large",
            ListFault::TooMany => "list-too-many",
            ListFault::TooManyEntries => "list-too-many-entries",
            ListFault::UnknownExtension(_) => "list-unknown-extension",
        }
    }
}

impl fmt::Display for ListProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Quoted(&self.source), self.fault)
    }
}

impl std::error::Error for ListProblem {}

/// What is wrong with a revocation list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    /// Its signature cannot be checked, or proves nothing.
    #[error("{0}; get one that is signed with SHA-256 or better")]
    Algorithm(String),
    /// It holds only what changed.
    #[error("it is a delta list, which says only what changed; get the complete list")]
    Delta,
    /// It is about other issuers' certificates.
    #[error("it is an indirect list, about other issuers' certificates; get each issuer's own list")]
    Indirect,
    /// The bytes are no list of RFC 5280.
    #[error("{0}; get the list from its issuer again")]
    Malformed(String),
    /// There is no list in the file.
    #[error("there is no revocation list in it; put a PEM or DER list there")]
    NoList,
    /// It has no number, so nobody can tell whether it is newer than another.
    #[error("it has no number; let its issuer number its lists (RFC 5280, 5.2.3)")]
    NoNumber,
    /// It covers only some of what its issuer issued.
    #[error("it covers only some of its issuer's certificates; get the complete list")]
    Partial,
    /// It has more than [`LIST_SIZE_MAX`] bytes.
    #[error("it is larger than 32 MiB")]
    TooLarge,
    /// There are [`LISTS_MAX`] already.
    #[error("there are 1000 lists already; remove some")]
    TooMany,
    /// It has more than [`LIST_ENTRIES_MAX`] entries.
    #[error("it has more than 500000 entries")]
    TooManyEntries,
    /// It has a critical extension that is not known here.
    #[error("its extension {0} is critical and not known here; get a list without it")]
    UnknownExtension(String),
}

/// The lists in a file, DER. A file that has a PEM line is PEM, anything else is one DER list.
pub(crate) fn lists(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ListFault> {
    if bytes.is_empty() {
        return Err(ListFault::NoList);
    }
    if bytes.len() > LIST_SIZE_MAX.saturating_mul(2) {
        return Err(ListFault::TooLarge);
    }
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| ListFault::Malformed("it is neither DER nor PEM".to_owned()))?;
    let (mut found, mut open) = (Vec::new(), None::<String>);
    for line in text.lines().map(str::trim) {
        match (line, open.as_mut()) {
            (BEGIN, None) => open = Some(String::new()),
            (END, Some(body)) => {
                let der = BASE64.decode(&*body);
                found.push(der.map_err(|_| ListFault::Malformed("its PEM is not base64".to_owned()))?);
                open = None;
            }
            (BEGIN | END, _) => {
                return Err(ListFault::Malformed("its PEM lines do not pair up".to_owned()));
            }
            (line, Some(body)) => body.push_str(line),
            (_, None) => {}
        }
    }
    match (open, found.is_empty()) {
        (Some(_), _) => Err(ListFault::Malformed("its PEM is cut off".to_owned())),
        (None, true) => Err(ListFault::NoList),
        (None, false) => Ok(found),
    }
}

const BEGIN: &str = "-----BEGIN X509 CRL-----";
const END: &str = "-----END X509 CRL-----";
/// Above it webpki is not asked again at each judgement: it would hash the whole list each time.
const SECOND_OPINION_MAX: usize = 64 << 10;
/// The reason code removeFromCRL (RFC 5280, 5.3.1), DER.
const REMOVE_FROM_CRL: &[u8] = &[0x0a, 1, 8];
const OID_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const OID_REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const OID_DELTA: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const OID_SCOPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const OID_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
