//! Reads a signed message: a CMS SignedData (RFC 5652) that holds its content, with exactly one signer and signed attributes.
//! Gives the content and the signer's certificate when the signature is right; whether that signer may say such a thing is
//! decided by who asks: [`crate::ccm`] and [`crate::rotation`]. DER only, and only algorithms and keys that may vouch.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Header, Length, Reader, SliceReader, Tag, TagNumber};
use mexe_model::Reason;

use crate::algorithm::{Digest, Scheme, Unusable};
use crate::certificate::Certificate;

/// A message whose signature is right.
#[derive(Debug)]
pub(crate) struct Sealed<'a> {
    pub(crate) content: &'a [u8],
    pub(crate) signer: Certificate,
}

/// Why there is no such message.
#[derive(Debug)]
pub(crate) enum Broken {
    Malformed(String),
    /// The signer's certificate is neither in the message nor known.
    SignerUnknown,
    /// The algorithm or key is too weak, or cannot be computed.
    Unusable(Unusable),
    Wrong(&'static str),
}

impl From<der::Error> for Broken {
    fn from(_: der::Error) -> Self {
        Self::Malformed("it is not a CMS SignedData in DER with one signer and its own content".to_owned())
    }
}

impl Broken {
    /// The reason, given what malformed, wrongly signed and unknown mean here, and the detail.
    pub(crate) fn refused(self, malformed: Reason, wrong: Reason, unknown: Reason) -> (Reason, String) {
        match self {
            Self::Malformed(what) => (malformed, what),
            Self::SignerUnknown => (unknown, "the signer's certificate is not in it".to_owned()),
            // A certificate that cannot be read is the message's fault; a weak one has its own name.
            Self::Unusable(unusable) if unusable.reason == Reason::CertificateMalformed => {
                (malformed, unusable.what)
            }
            Self::Unusable(unusable) => (unusable.reason, unusable.what),
            Self::Wrong(what) => (wrong, what.to_owned()),
        }
    }
}

/// Opens a message whose content is of type `kind`. The signer is found among the certificates in it and `known`.
pub(crate) fn open<'a>(
    message: &'a [u8],
    kind: ObjectIdentifier,
    known: &[&Certificate],
) -> Result<Sealed<'a>, Broken> {
    let malformed = |what: &str| Broken::Malformed(what.to_owned());
    let parts = Parts::read(message, kind)?;
    let info = SignerInfo::read(parts.signer)?;
    let signer = find_signer(&parts, &info, known)?;
    let digest = Digest::read(info.digest_algorithm).map_err(Broken::Unusable)?;
    if !parts.digest_algorithms.iter().any(|a| Digest::read(a).is_ok_and(|d| d == digest)) {
        return Err(malformed("the signer's digest algorithm is not among those that it lists"));
    }
    let scheme = Scheme::read(info.signature_algorithm, Some(digest)).map_err(Broken::Unusable)?;
    // Ed25519 has its own digest; the attributes' one is free then (RFC 8419, 3).
    if scheme.digest().is_some_and(|of_scheme| of_scheme != digest) {
        return Err(malformed("its digest and signature algorithms do not belong together"));
    }
    if !scheme.is_strong() || !digest.is_strong() {
        let what = format!("the signature is {} over {}", scheme.name(), digest.name());
        return Err(Broken::Unusable(Unusable::weak(what)));
    }
    let key = signer.key.clone().map_err(Broken::Unusable)?;
    if !key.is_large_enough() {
        let what = format!("the signer's key is {}", key.description());
        return Err(Broken::Unusable(Unusable { reason: Reason::KeyTooSmall, what }));
    }
    let attributes = Attributes::read(info.attributes)?;
    if attributes.content_type != Some(kind) {
        return Err(malformed("its signed attributes lack the right content type"));
    }
    let Some(message_digest) = attributes.message_digest else {
        return Err(malformed("its signed attributes lack the message digest"));
    };
    if !attributes.protects(&info) {
        return Err(malformed("its algorithms are not those that were signed"));
    }
    if message_digest != digest.of(parts.content).as_ref() {
        return Err(Broken::Wrong("it signs another content"));
    }
    match key.verifies(scheme, &attributes.as_set, info.signature) {
        Ok(true) => Ok(Sealed { content: parts.content, signer }),
        Ok(false) => Err(Broken::Wrong("the signature is not that of the signer's key")),
        Err(unusable) => Err(Broken::Unusable(unusable)),
    }
}

fn find_signer(
    parts: &Parts<'_>,
    info: &SignerInfo<'_>,
    known: &[&Certificate],
) -> Result<Certificate, Broken> {
    if parts.certificates.len() > CERTIFICATES_MAX {
        return Err(Broken::Malformed("it has too many certificates".to_owned()));
    }
    let named = |c: &Certificate| c.issuer == info.issuer && c.serial == info.serial;
    for (at, der) in parts.certificates.iter().enumerate() {
        let certificate = Certificate::read(der).map_err(|unusable| {
            Broken::Malformed(format!("certificate {} in it: {}", at + 1, unusable.what))
        })?;
        if named(&certificate) {
            return Ok(certificate);
        }
    }
    known.iter().find(|known| named(known)).map(|known| (*known).clone()).ok_or(Broken::SignerUnknown)
}

/// The parts of the message, each as it stands there.
struct Parts<'a> {
    digest_algorithms: Vec<&'a [u8]>,
    content: &'a [u8],
    certificates: Vec<&'a [u8]>,
    signer: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(message: &'a [u8], wanted: ObjectIdentifier) -> Result<Self, der::Error> {
        let signed_data = AnyRef::from_der(message)?.sequence(|reader| {
            if reader.decode::<ObjectIdentifier>()? != OID_SIGNED_DATA {
                return Err(unexpected(Tag::ObjectIdentifier));
            }
            tagged(reader, 0)?.map(AnyRef::value).ok_or_else(|| unexpected(Tag::Sequence))
        })?;
        AnyRef::from_der(signed_data)?.sequence(|reader| {
            let version: u8 = reader.decode()?;
            if !matches!(version, 1 | 3) {
                return Err(unexpected(Tag::Integer));
            }
            let digest_algorithms = elements(reader.decode()?)?;
            let content = reader.decode::<AnyRef<'a>>()?.sequence(|reader| {
                if reader.decode::<ObjectIdentifier>()? != wanted {
                    return Err(unexpected(Tag::ObjectIdentifier));
                }
                let inside = tagged(reader, 0)?.ok_or_else(|| unexpected(Tag::OctetString))?;
                Ok(<&OctetStringRef>::from_der(inside.value())?.as_bytes())
            })?;
            let certificates = tagged(reader, 0)?.map_or(Ok(Vec::new()), |set| each(set.value()))?;
            let signers = elements(reader.decode()?)?;
            let [signer] = signers.as_slice() else { return Err(unexpected(Tag::Set)) };
            Ok(Self { digest_algorithms, content, certificates, signer })
        })
    }
}

struct SignerInfo<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    digest_algorithm: &'a [u8],
    /// The value of the [0] field.
    attributes: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> SignerInfo<'a> {
    fn read(info: &'a [u8]) -> Result<Self, der::Error> {
        AnyRef::from_der(info)?.sequence(|reader| {
            // Version 1 names the signer by issuer and serial number.
            if reader.decode::<u8>()? != 1 {
                return Err(unexpected(Tag::Integer));
            }
            let (issuer, serial) = reader.decode::<AnyRef<'a>>()?.sequence(|reader| {
                let issuer = reader.tlv_bytes()?;
                Ok::<_, der::Error>((issuer, reader.decode::<der::asn1::IntRef<'a>>()?.as_bytes()))
            })?;
            let digest_algorithm = reader.tlv_bytes()?;
            let attributes = tagged(reader, 0)?.ok_or_else(|| unexpected(Tag::Set))?.value();
            let signature_algorithm = reader.tlv_bytes()?;
            let signature = reader.decode::<&OctetStringRef>()?.as_bytes();
            // Nothing may follow: attributes that are not signed would make another message of the same signature.
            Ok(Self { issuer, serial, digest_algorithm, attributes, signature_algorithm, signature })
        })
    }
}

/// What of the signed attributes is looked at.
#[derive(Default)]
struct Attributes<'a> {
    content_type: Option<ObjectIdentifier>,
    message_digest: Option<&'a [u8]>,
    /// Digest and signature algorithm of CMSAlgorithmProtection (RFC 6211).
    protection: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// The attributes as the SET OF that was hashed.
    as_set: Vec<u8>,
}

impl<'a> Attributes<'a> {
    /// Reads the value of the [0] field: in the order of DER, each attribute once and with one value.
    fn read(value: &'a [u8]) -> Result<Self, der::Error> {
        let all = each(value)?;
        if !all.is_sorted_by(|a, b| a < b) {
            return Err(unexpected(Tag::Set));
        }
        let mut attributes = Self::default();
        let mut seen = Vec::new();
        for attribute in all {
            let (oid, values) = AnyRef::from_der(attribute)?.sequence(|reader| {
                let oid: ObjectIdentifier = reader.decode()?;
                Ok::<_, der::Error>((oid, elements(reader.decode()?)?))
            })?;
            let [value] = values.as_slice() else { return Err(unexpected(Tag::Set)) };
            if seen.contains(&oid) {
                return Err(unexpected(Tag::ObjectIdentifier));
            }
            seen.push(oid);
            match oid {
                OID_CONTENT_TYPE => attributes.content_type = Some(ObjectIdentifier::from_der(value)?),
                OID_MESSAGE_DIGEST => {
                    attributes.message_digest = Some(<&OctetStringRef>::from_der(value)?.as_bytes());
                }
                OID_ALGORITHM_PROTECTION => {
                    attributes.protection = Some(AnyRef::from_der(value)?.sequence(|reader| {
                        let digest = reader.tlv_bytes()?;
                        let signature = tagged(reader, 1)?.map(AnyRef::value);
                        Ok::<_, der::Error>((digest, signature))
                    })?);
                }
                _ => {}
            }
        }
        attributes.as_set = Header::new(Tag::Set, Length::try_from(value.len())?).to_der()?;
        attributes.as_set.extend_from_slice(value);
        Ok(attributes)
    }

    /// Whether the algorithms that were signed, if any were, are those in use.
    fn protects(&self, info: &SignerInfo<'_>) -> bool {
        // The signature's field is implicitly tagged, so its header is another one.
        let bare = |algorithm| AnyRef::from_der(algorithm).map(AnyRef::value).ok();
        self.protection.is_none_or(|(digest, signature)| {
            digest == info.digest_algorithm && signature == bare(info.signature_algorithm)
        })
    }
}

/// The next element if it is the constructed context-specific field of that number.
fn tagged<'a>(reader: &mut SliceReader<'a>, number: u32) -> Result<Option<AnyRef<'a>>, der::Error> {
    if reader.is_finished() {
        return Ok(None);
    }
    let wanted = Tag::ContextSpecific { constructed: true, number: TagNumber(number) };
    if Tag::peek(reader)? == wanted { reader.decode().map(Some) } else { Ok(None) }
}

/// The elements of a SET OF, as they stand there.
fn elements(set: AnyRef<'_>) -> Result<Vec<&[u8]>, der::Error> {
    set.header().tag().assert_eq(Tag::Set)?;
    each(set.value())
}

fn each(bytes: &[u8]) -> Result<Vec<&[u8]>, der::Error> {
    let mut reader = SliceReader::new(bytes)?;
    let mut all = Vec::new();
    while !reader.is_finished() {
        all.push(reader.tlv_bytes()?);
    }
    Ok(all)
}

fn unexpected(tag: Tag) -> der::Error {
    tag.value_error().into()
}

/// The most certificates that a message may bring.
const CERTIFICATES_MAX: usize = 16;

const OID_ALGORITHM_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.52");
const OID_CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const OID_MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const OID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
