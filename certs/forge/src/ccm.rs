//! Makes certificate configuration messages, sound or broken on purpose: the fields are open, and whatever stands in them is
//! signed. The format is in `certs/profile.md`.

use mexe_model::WallTime;

use crate::Fault;
use crate::cms::{sequence, tlv};
use crate::pki::{Authority, Shape, Signer};
use crate::sealed::{key_hash, octets, seal, sha256, time};

pub use crate::sealed::SealDefect;

/// A message in the making.
#[derive(Debug, Clone)]
pub struct Message {
    /// The version of the format: 1.
    pub version: u8,
    /// SHA-256 of the administrator's key.
    pub arpk: Vec<u8>,
    /// Whom it is for.
    pub target: MessageTarget,
    /// Its number.
    pub sequence: u64,
    /// The first moment at which it may be applied.
    pub not_before: WallTime,
    /// The last second at which it may be applied.
    pub not_after: WallTime,
    /// When the next one is due.
    pub next_update: WallTime,
    /// What it does: 0 replace all, 1 enable, 2 disable.
    pub mode: u8,
    /// SHA-256 of certificates, or of keys. Sound when ascending.
    pub entries: Vec<Vec<u8>>,
    /// The certificate of the key that takes over, DER.
    pub successor: Option<Vec<u8>>,
    /// The digest of the message that an enabling one builds on.
    pub previous: Option<Vec<u8>>,
    /// Bytes after the last field.
    pub extra: Vec<u8>,
}

/// Whom a message is for.
#[derive(Debug, Clone)]
pub enum MessageTarget {
    /// One device, by its id.
    Device(String),
    /// An operator's cards: MCC and MNC.
    Operator(String),
}

impl Message {
    /// A message of that administrator (the certificate, DER) for a device: replaces all by nothing, valid from an hour
    /// before `at` for a day, the next one due in a week.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn new(administrator: &[u8], device: &str, sequence: u64, at: WallTime) -> Result<Self, Fault> {
        let from = |seconds| WallTime::from_secs(at.as_secs().saturating_add(seconds));
        Ok(Self {
            version: 1,
            arpk: key_hash(administrator)?.to_vec(),
            target: MessageTarget::Device(device.to_owned()),
            sequence,
            not_before: WallTime::from_secs(at.as_secs().saturating_sub(3600)),
            not_after: from(86_400),
            next_update: from(7 * 86_400),
            mode: 0,
            entries: Vec::new(),
            successor: None,
            previous: None,
            extra: Vec::new(),
        })
    }

    /// Enables these certificates (DER) and no others.
    #[must_use]
    pub fn replace_all(self, certificates: &[&[u8]]) -> Self {
        let entries = certificates.iter().map(|der| sha256(der).to_vec()).collect();
        Self { mode: 0, ..self }.with(entries)
    }

    /// Enables these certificates (DER) too, on top of what `previous` left; `None`: it is the first message.
    #[must_use]
    pub fn enable(self, certificates: &[&[u8]], previous: Option<[u8; 32]>) -> Self {
        let entries = certificates.iter().map(|der| sha256(der).to_vec()).collect();
        Self { mode: 1, previous: previous.map(|digest| digest.to_vec()), ..self }.with(entries)
    }

    /// Disables the keys in these certificates (DER).
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn disable(self, certificates: &[&[u8]]) -> Result<Self, Fault> {
        let entries = certificates.iter().map(|der| key_hash(der).map(|hash| hash.to_vec()));
        let entries = entries.collect::<Result<_, Fault>>()?;
        Ok(Self { mode: 2, ..self }.with(entries))
    }

    /// Hands over to the key in this certificate (DER).
    #[must_use]
    pub fn hand_over(self, successor: &[u8]) -> Self {
        Self { successor: Some(successor.to_vec()), ..self }
    }

    fn with(self, mut entries: Vec<Vec<u8>>) -> Self {
        entries.sort();
        Self { entries, ..self }
    }

    /// The content, DER.
    ///
    /// # Errors
    /// A time is beyond the year 9999.
    pub fn content(&self) -> Result<Vec<u8>, Fault> {
        let target = match &self.target {
            MessageTarget::Device(id) => tlv(0xa0, &tlv(0x0c, id.as_bytes())),
            MessageTarget::Operator(network) => tlv(0xa1, &tlv(0x0c, network.as_bytes())),
        };
        let entries: Vec<u8> = self.entries.iter().flat_map(|entry| octets(entry)).collect();
        let successor = self.successor.as_ref().map(|der| tlv(0xa0, der)).unwrap_or_default();
        let previous = self.previous.as_ref().map(|digest| tlv(0xa1, &octets(digest))).unwrap_or_default();
        Ok(sequence(&[
            &tlv(0x02, &[self.version]),
            &octets(&self.arpk),
            &target,
            &integer(self.sequence),
            &time(self.not_before)?,
            &time(self.not_after)?,
            &time(self.next_update)?,
            &tlv(0x0a, &[self.mode]),
            &tlv(0x30, &entries),
            &successor,
            &previous,
            &self.extra,
        ]))
    }

    /// What a later message names as its previous one.
    ///
    /// # Errors
    /// As [`Message::content`].
    pub fn digest(&self) -> Result<[u8; 32], Fault> {
        Ok(sha256(&self.content()?))
    }

    /// The message, signed.
    ///
    /// # Errors
    /// As [`Message::content`], or the signature cannot be made.
    pub fn sign(&self, signer: &Signer) -> Result<Vec<u8>, Fault> {
        self.sign_with(signer, SealDefect::None)
    }

    /// The message, signed and broken.
    ///
    /// # Errors
    /// As [`Message::sign`].
    pub fn sign_with(&self, signer: &Signer, defect: SealDefect) -> Result<Vec<u8>, Fault> {
        seal(signer, OID_CCM, &self.content()?, defect)
    }
}

/// A delegate of that administrator: its certificate is for signing certificate configuration messages.
///
/// # Errors
/// The key cannot be made.
pub fn delegate(administrator: &Authority, name: &str, shape: &Shape) -> Result<Signer, Fault> {
    let purpose = Some(DELEGATE_PURPOSE.to_vec());
    administrator.signer(name, &Shape { code_signing: false, other_purpose: purpose, ..shape.clone() })
}

/// An INTEGER that is not negative.
fn integer(value: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    if bytes.first().is_none_or(|first| *first >= 0x80) {
        bytes.insert(0, 0);
    }
    tlv(0x02, &bytes)
}

/// 2.25.230570099.2, DER.
const OID_CCM: &[u8] = b"\x06\x06\x69\xed\xf8\xf0\x73\x02";

/// The extended key usage of delegates.
const DELEGATE_PURPOSE: [u64; 4] = [2, 25, 230_570_099, 4];
