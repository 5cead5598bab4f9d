//! The content of a certificate configuration message, read from DER: one way to write each message, nothing optional that
//! means nothing, nothing behind the end. Which of them count is decided by [`super::apply`].

use std::fmt;

use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, OctetStringRef, Utf8StringRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber};
use mexe_model::{Reason, WallTime};

use super::Receiver;
use crate::fingerprint::Fingerprint;
use crate::verdict::{Quoted, Refusal};

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ccm {
    /// SHA-256 of the administrator's key that it speaks for.
    pub arpk: Fingerprint,
    /// Whom it is for.
    pub target: CcmTarget,
    /// Its number; each message that counts has a higher one than the last.
    pub sequence: u64,
    /// The first moment at which it may be applied.
    pub not_before: WallTime,
    /// The last second at which it may be applied.
    pub not_after: WallTime,
    /// Until when the administrator sends the next one.
    pub next_update: WallTime,
    /// What it does with its entries.
    pub mode: Mode,
    /// Hashes of certificates, or for [`Mode::Disable`] of keys; ascending, none twice.
    pub entries: Vec<Fingerprint>,
    /// The certificate of the key that takes over (DER).
    pub successor: Option<Vec<u8>>,
    /// For [`Mode::Enable`]: the digest of the message that it builds on; `None` when it is the first.
    pub previous: Option<Fingerprint>,
    /// SHA-256 of the content as it was signed: what a later message names as its previous one.
    pub digest: Fingerprint,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CcmTarget {
    /// One device, by its id.
    Device(String),
    /// All devices with a card of that operator: MCC and MNC, five or six digits.
    Operator(String),
}

impl CcmTarget {
    pub(super) fn is(&self, receiver: Receiver<'_>) -> bool {
        match self {
            Self::Device(id) => id == receiver.device,
            Self::Operator(network) => receiver.home_network == Some(network),
        }
    }
}

impl fmt::Display for CcmTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => write!(f, "the device {}", Quoted(id)),
            Self::Operator(network) => write!(f, "devices of the operator {}", Quoted(network)),
        }
    }
}

/// What a message does with its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Its keys are disabled, for ever.
    Disable,
    /// Its certificates are enabled, the others stay as they are.
    Enable,
    /// Its certificates are enabled, and no others.
    ReplaceAll,
}

impl Mode {
    /// The stable name: `disable`, `enable`, `replace-all`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::ReplaceAll => "replace-all",
        }
    }
}

impl Ccm {
    /// Reads the content.
    pub(super) fn read(content: &[u8], entries_max: usize) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::new(Reason::CcmMalformed, what.to_owned());
        let ccm = Self::decode(content, entries_max)
            .map_err(|_| malformed("its content is not that of a certificate configuration message"))?;
        if !ccm.target.is_well_formed() {
            return Err(malformed("its target is neither the id of a device nor an operator's MCC and MNC"));
        }
        if ccm.entries.len() > entries_max {
            return Err(Refusal::new(Reason::CcmMalformed, format!("more than {entries_max} entries")));
        }
        if !ccm.entries.is_sorted_by(|a, b| a < b) {
            return Err(malformed("its entries are not in ascending order, each once"));
        }
        if ccm.not_after < ccm.not_before || ccm.next_update < ccm.not_before {
            return Err(malformed("it ends, or is followed, before it begins"));
        }
        if ccm.previous.is_some() && ccm.mode != Mode::Enable {
            return Err(malformed("only an enabling message names the one that it builds on"));
        }
        if ccm.entries.is_empty() && ccm.mode != Mode::ReplaceAll && ccm.successor.is_none() {
            return Err(malformed("it changes nothing"));
        }
        // Whoever got hold of the key for a day could use up all numbers: the way out stays open.
        if ccm.sequence == SEQUENCE_MAX && ccm.successor.is_none() {
            return Err(malformed("the last number is kept for handing over"));
        }
        Ok(ccm)
    }

    fn decode(content: &[u8], entries_max: usize) -> Result<Self, der::Error> {
        AnyRef::from_der(content)?.sequence(|reader| {
            if reader.decode::<u8>()? != 1 {
                return Err(unexpected(Tag::Integer));
            }
            let arpk = fingerprint(reader)?;
            let target = target(reader)?;
            let sequence: u64 = reader.decode()?;
            if !(1..=SEQUENCE_MAX).contains(&sequence) {
                return Err(unexpected(Tag::Integer));
            }
            let (not_before, not_after, next_update) = (time(reader)?, time(reader)?, time(reader)?);
            let mode = mode(reader)?;
            let entries = reader.decode::<AnyRef<'_>>()?.sequence(|reader| {
                let mut entries = Vec::new();
                // One more than allowed is enough to see that there are too many.
                while !reader.is_finished() && entries.len() <= entries_max {
                    entries.push(fingerprint(reader)?);
                }
                while !reader.is_finished() {
                    reader.tlv_bytes()?;
                }
                Ok::<_, der::Error>(entries)
            })?;
            let successor = tagged(reader, 0)?.map(|field| field.value().to_vec());
            let previous = match tagged(reader, 1)? {
                Some(field) => {
                    let mut inner = SliceReader::new(field.value())?;
                    let previous = fingerprint(&mut inner)?;
                    inner.finish()?;
                    Some(previous)
                }
                None => None,
            };
            let digest = Fingerprint::of(content);
            Ok(Self {
                arpk,
                target,
                sequence,
                not_before,
                not_after,
                next_update,
                mode,
                entries,
                successor,
                previous,
                digest,
            })
        })
    }
}

impl CcmTarget {
    /// Printable ASCII without spaces, so that an id has one spelling; a network has five or six digits.
    fn is_well_formed(&self) -> bool {
        match self {
            Self::Device(id) => (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()),
            Self::Operator(network) => {
                (5..=6).contains(&network.len()) && network.bytes().all(|b| b.is_ascii_digit())
            }
        }
    }
}

fn fingerprint(reader: &mut SliceReader<'_>) -> Result<Fingerprint, der::Error> {
    let octets = reader.decode::<&OctetStringRef>()?.as_bytes();
    octets.try_into().map(Fingerprint).map_err(|_| unexpected(Tag::OctetString))
}

fn target(reader: &mut SliceReader<'_>) -> Result<CcmTarget, der::Error> {
    let text = |field: AnyRef<'_>| Ok::<_, der::Error>(Utf8StringRef::from_der(field.value())?.to_string());
    match (tagged(reader, 0)?, tagged(reader, 1)?) {
        (Some(device), None) => text(device).map(CcmTarget::Device),
        (None, Some(operator)) => text(operator).map(CcmTarget::Operator),
        _ => Err(unexpected(Tag::Utf8String)),
    }
}

fn time(reader: &mut SliceReader<'_>) -> Result<WallTime, der::Error> {
    let time: GeneralizedTime = reader.decode()?;
    Ok(WallTime::from_secs(time.to_unix_duration().as_secs()))
}

fn mode(reader: &mut SliceReader<'_>) -> Result<Mode, der::Error> {
    let any: AnyRef<'_> = reader.decode()?;
    any.header().tag().assert_eq(Tag::Enumerated)?;
    match any.value() {
        [0] => Ok(Mode::ReplaceAll),
        [1] => Ok(Mode::Enable),
        [2] => Ok(Mode::Disable),
        _ => Err(unexpected(Tag::Enumerated)),
    }
}

/// The next element if it is the explicitly tagged field of that number.
fn tagged<'a>(reader: &mut SliceReader<'a>, number: u32) -> Result<Option<AnyRef<'a>>, der::Error> {
    if reader.is_finished() {
        return Ok(None);
    }
    let wanted = Tag::ContextSpecific { constructed: true, number: TagNumber(number) };
    if Tag::peek(reader)? == wanted { reader.decode().map(Some) } else { Ok(None) }
}

fn unexpected(tag: Tag) -> der::Error {
    tag.value_error().into()
}

/// The last number that a message can have.
pub const SEQUENCE_MAX: u64 = i64::MAX.unsigned_abs();

/// The content type of a message. 2.25.230570099 is this project's arc: certs/profile.md.
pub(super) const OID_CCM: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.25.230570099.2");
/// The extended key usage of a delegate. Its own, so that no signer of code is one by accident.
pub(super) const OID_CCM_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.25.230570099.4");
