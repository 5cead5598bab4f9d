//! Reads and checks one signature block: a detached CMS SignedData (RFC 5652) with one signer, over a signature file.
//! What it gives is the signer's certificate and the other certificates of the block, as path material only: whether the
//! signer may vouch is decided in [`crate::path`]. DER only; the signed attributes are hashed as they stand in the block.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Length, Reader, Sequence, SliceReader, Tag, TagNumber};
use mexe_model::Reason;

use crate::algorithm::{Digest, Scheme, Unusable};
use crate::certificate::Certificate;
use crate::verdict::{Quoted, Refusal};

/// A signature that is right.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) signer: Certificate,
    /// All certificates of the block, the signer's too.
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) digest: Digest,
    pub(crate) scheme: Scheme,
}

impl Signed {
    /// Which weak algorithm the block uses, if any.
    pub(crate) fn weakness(&self) -> Option<String> {
        if !self.scheme.is_strong() {
            Some(format!("the signature is {}", self.scheme.name()))
        } else if !self.digest.is_strong() {
            Some(format!("the signature's digest is {}", self.digest.name()))
        } else {
            None
        }
    }
}

/// Checks that the block in `file` signs `content`.
///
/// # Errors
/// `signature-malformed`, `certificate-malformed`; `signature-wrong` when it signs something else; `algorithm-weak` or
/// `key-too-small` when that cannot be computed at all.
pub(crate) fn verify(block: &[u8], content: &[u8], file: &str) -> Result<Signed, Refusal> {
    let malformed =
        |what: &str| Refusal::new(Reason::SignatureMalformed, format!("{}: {what}", Quoted(file)));
    let wrong = |what: &str| Refusal::new(Reason::SignatureWrong, format!("{}: {what}", Quoted(file)));
    let unusable =
        |unusable: Unusable| Refusal::new(unusable.reason, format!("{}: {}", Quoted(file), unusable.what));
    let parts = Parts::read(block).map_err(|_| malformed("it is not a CMS SignedData in DER"))?;
    if parts.has_content {
        return Err(malformed("the signature holds its own content; it must be detached"));
    }
    let [info] = parts.signers.as_slice() else {
        return Err(malformed("it must have exactly one signer"));
    };
    let info = SignerInfo::read(info).map_err(|_| malformed("its signer cannot be read"))?;
    if parts.certificates.len() > CERTIFICATES_MAX {
        return Err(malformed("it has too many certificates"));
    }
    let certificates = read_certificates(&parts.certificates, file)?;
    let named = |c: &&Certificate| c.issuer == info.issuer && c.serial == info.serial;
    let Some(signer) = certificates.iter().find(named).cloned() else {
        return Err(malformed("the signer's certificate is not in it"));
    };
    let digest = Digest::read(info.digest_algorithm).map_err(unusable)?;
    if !parts.digest_algorithms.iter().any(|a| Digest::read(a).is_ok_and(|d| d == digest)) {
        return Err(malformed("the signer's digest algorithm is not among those that it lists"));
    }
    let scheme = Scheme::read(info.signature_algorithm, Some(digest)).map_err(unusable)?;
    if scheme.digest().is_some_and(|of_scheme| of_scheme != digest) {
        return Err(malformed("its digest and signature algorithms do not belong together"));
    }
    let signed_attributes = match info.signed_attributes {
        None => None,
        Some(tagged) => {
            let attributes =
                Attributes::read(tagged).map_err(|_| malformed("its signed attributes are not in DER"))?;
            attributes.check(&info).map_err(malformed)?;
            if attributes.message_digest != Some(digest.of(content).as_ref()) {
                return Err(wrong("it signs another signature file"));
            }
            Some(attributes.as_set)
        }
    };
    let key = signer.key.clone().map_err(unusable)?;
    let message = signed_attributes.as_deref().unwrap_or(content);
    match key.verifies(scheme, message, info.signature) {
        Ok(true) => Ok(Signed { signer, certificates, digest, scheme }),
        Ok(false) => Err(wrong("the signature is not that of the signer's key over the signature file")),
        Err(error) => Err(unusable(error)),
    }
}

fn read_certificates(all: &[&[u8]], file: &str) -> Result<Vec<Certificate>, Refusal> {
    let read = |(at, der): (usize, &&[u8])| {
        Certificate::read(der).map_err(|what| {
            let detail = format!("{}, certificate {}: {what}", Quoted(file), at + 1);
            Refusal::new(Reason::CertificateMalformed, detail)
        })
    };
    all.iter().enumerate().map(read).collect()
}

/// The parts of a SignedData, each as it stands there.
struct Parts<'a> {
    digest_algorithms: Vec<&'a [u8]>,
    has_content: bool,
    certificates: Vec<&'a [u8]>,
    signers: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn read(block: &'a [u8]) -> Result<Self, der::Error> {
        let (kind, signed_data) = AnyRef::from_der(block)?.sequence(|reader| {
            let kind: ObjectIdentifier = reader.decode()?;
            let explicit = tagged(reader, 0)?.ok_or_else(|| unexpected(Tag::Sequence))?;
            Ok::<_, der::Error>((kind, explicit.value()))
        })?;
        if kind != OID_SIGNED_DATA {
            return Err(unexpected(Tag::ObjectIdentifier));
        }
        AnyRef::from_der(signed_data)?.sequence(|reader| {
            let _version: u8 = reader.decode()?;
            let digest_algorithms = elements(reader.decode::<AnyRef<'a>>()?, Tag::Set)?;
            let has_content = reader.decode::<AnyRef<'a>>()?.sequence(|reader| {
                let content: ObjectIdentifier = reader.decode()?;
                if content != OID_DATA {
                    return Err(unexpected(Tag::ObjectIdentifier));
                }
                Ok(tagged(reader, 0)?.is_some())
            })?;
            let certificates = match tagged(reader, 0)? {
                Some(set) => each(set.value())?,
                None => Vec::new(),
            };
            let _revocations = tagged(reader, 1)?;
            let signers = elements(reader.decode::<AnyRef<'a>>()?, Tag::Set)?;
            Ok(Self { digest_algorithms, has_content, certificates, signers })
        })
    }
}

struct SignerInfo<'a> {
    issuer: Vec<u8>,
    serial: Vec<u8>,
    digest_algorithm: &'a [u8],
    /// The value of the [0] field.
    signed_attributes: Option<&'a [u8]>,
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
}

/// RFC 5652, 10.2.4; the other way to name a signer, by key identifier, is not in use in JARs.
#[derive(Sequence)]
struct IssuerAndSerial<'a> {
    issuer: AnyRef<'a>,
    serial: der::asn1::IntRef<'a>,
}

impl<'a> SignerInfo<'a> {
    fn read(info: &'a [u8]) -> Result<Self, der::Error> {
        AnyRef::from_der(info)?.sequence(|reader| {
            let version: u8 = reader.decode()?;
            if version != 1 {
                return Err(unexpected(Tag::Integer));
            }
            let signer: IssuerAndSerial<'a> = reader.decode()?;
            let digest_algorithm = reader.tlv_bytes()?;
            let signed_attributes = tagged(reader, 0)?.map(AnyRef::value);
            let signature_algorithm = reader.tlv_bytes()?;
            let signature: &OctetStringRef = reader.decode()?;
            // Unsigned attributes (timestamps) prove nothing here and are not read.
            let _unsigned = tagged(reader, 1)?;
            Ok(Self {
                issuer: signer.issuer.to_der()?,
                serial: signer.serial.as_bytes().to_vec(),
                digest_algorithm,
                signed_attributes,
                signature_algorithm,
                signature: signature.as_bytes(),
            })
        })
    }
}

/// What of the signed attributes is looked at.
struct Attributes<'a> {
    content_type: Option<ObjectIdentifier>,
    message_digest: Option<&'a [u8]>,
    /// Digest and signature algorithm of CMSAlgorithmProtection (RFC 6211).
    protection: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// The attributes as the SET OF that was hashed.
    as_set: Vec<u8>,
}

impl<'a> Attributes<'a> {
    /// Reads the value of the [0] field. The attributes must already be in the order of DER: who sorts them before
    /// hashing accepts a message that others refuse.
    fn read(value: &'a [u8]) -> Result<Self, der::Error> {
        let all = each(value)?;
        if !all.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
            return Err(unexpected(Tag::Set));
        }
        let mut attributes =
            Self { content_type: None, message_digest: None, protection: None, as_set: Vec::new() };
        let mut seen: Vec<ObjectIdentifier> = Vec::new();
        for attribute in all {
            let (oid, values) = AnyRef::from_der(attribute)?.sequence(|reader| {
                let oid: ObjectIdentifier = reader.decode()?;
                Ok::<_, der::Error>((oid, elements(reader.decode::<AnyRef<'a>>()?, Tag::Set)?))
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
                OID_ALGORITHM_PROTECTION => attributes.protection = Some(protection(value)?),
                _ => {}
            }
        }
        let header = der::Header::new(Tag::Set, Length::try_from(value.len())?);
        attributes.as_set = header.to_der()?;
        attributes.as_set.extend_from_slice(value);
        Ok(attributes)
    }

    /// What must be among the attributes, and what must agree with the rest of the signer's information.
    fn check(&self, info: &SignerInfo<'_>) -> Result<(), &'static str> {
        if self.content_type != Some(OID_DATA) {
            return Err("its signed attributes lack the right content type");
        }
        if self.message_digest.is_none() {
            return Err("its signed attributes lack the message digest");
        }
        match self.protection {
            None => Ok(()),
            Some((digest, Some(signature)))
                if same_algorithm(digest, info.digest_algorithm)
                    && same_algorithm(signature, info.signature_algorithm) =>
            {
                Ok(())
            }
            Some(_) => Err("its algorithms are not those that were signed"),
        }
    }
}

/// CMSAlgorithmProtection: the digest algorithm, and the signature algorithm in [1].
fn protection(value: &[u8]) -> Result<(&[u8], Option<&[u8]>), der::Error> {
    AnyRef::from_der(value)?.sequence(|reader| {
        let digest = reader.tlv_bytes()?;
        let signature = tagged(reader, 1)?.map(AnyRef::value);
        let _mac = tagged(reader, 2)?;
        Ok((digest, signature))
    })
}

/// Compares two algorithm identifiers, the second with its header or without (the field is implicitly tagged).
fn same_algorithm(found: &[u8], used: &[u8]) -> bool {
    found == used || AnyRef::from_der(used).is_ok_and(|used| used.value() == found)
}

/// The next element if it is the constructed context-specific field of that number.
fn tagged<'a>(reader: &mut SliceReader<'a>, number: u32) -> Result<Option<AnyRef<'a>>, der::Error> {
    if reader.is_finished() {
        return Ok(None);
    }
    let wanted = Tag::ContextSpecific { constructed: true, number: TagNumber(number) };
    if Tag::peek(reader)? == wanted { reader.decode().map(Some) } else { Ok(None) }
}

/// The elements of a constructed value of that tag, as they stand there.
fn elements(any: AnyRef<'_>, tag: Tag) -> Result<Vec<&[u8]>, der::Error> {
    any.header().tag().assert_eq(tag)?;
    each(any.value())
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

/// The most certificates that a block may bring.
const CERTIFICATES_MAX: usize = 16;

const OID_ALGORITHM_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.52");
const OID_CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const OID_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const OID_MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const OID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
