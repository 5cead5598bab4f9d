//! The parts of a CMS SignedData (RFC 5652) as they stand in its bytes, in DER only. What they must be is asked in [`super`].

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Length, Reader, SliceReader, Tag, TagNumber};
use x509_cert::spki::AlgorithmIdentifierRef;

/// The parts of a SignedData, each as it stands there.
pub(crate) struct Parts<'a> {
    pub(crate) digest_algorithms: Vec<&'a [u8]>,
    pub(crate) content_type: ObjectIdentifier,
    /// The content, if it stands in the block.
    pub(crate) content: Option<&'a [u8]>,
    pub(crate) certificates: Vec<&'a [u8]>,
    pub(crate) signers: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(block: &'a [u8]) -> Result<Self, der::Error> {
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
            // Those that no signer here uses may be any, but each is an algorithm.
            for identifier in &digest_algorithms {
                AlgorithmIdentifierRef::from_der(identifier)?;
            }
            let (content_type, content) = reader.decode::<AnyRef<'a>>()?.sequence(|reader| {
                let content_type: ObjectIdentifier = reader.decode()?;
                let content = match tagged(reader, 0)? {
                    Some(explicit) => Some(<&OctetStringRef>::from_der(explicit.value())?.as_bytes()),
                    None => None,
                };
                Ok::<_, der::Error>((content_type, content))
            })?;
            let certificates = match tagged(reader, 0)? {
                Some(set) => each(set.value())?,
                None => Vec::new(),
            };
            let _revocations = tagged(reader, 1)?;
            let signers = elements(reader.decode::<AnyRef<'a>>()?, Tag::Set)?;
            Ok(Self { digest_algorithms, content_type, content, certificates, signers })
        })
    }
}

/// How a block names its signer (RFC 5652, 5.3).
pub(crate) enum Named<'a> {
    /// Version 1.
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    /// Version 3.
    KeyIdentifier(&'a [u8]),
}

pub(crate) struct SignerInfo<'a> {
    pub(crate) signer: Named<'a>,
    pub(crate) digest_algorithm: &'a [u8],
    /// The value of the [0] field.
    pub(crate) signed_attributes: Option<&'a [u8]>,
    pub(crate) signature_algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
    /// Whether there are attributes that are not signed.
    pub(crate) has_unsigned: bool,
    /// The values of each unsigned attribute that is a timestamp.
    pub(crate) timestamps: Vec<Vec<&'a [u8]>>,
}

impl<'a> SignerInfo<'a> {
    pub(crate) fn read(info: &'a [u8]) -> Result<Self, der::Error> {
        AnyRef::from_der(info)?.sequence(|reader| {
            let version: u8 = reader.decode()?;
            let signer = match version {
                1 => issuer_and_serial(reader.tlv_bytes()?)?,
                3 => {
                    let identifier: AnyRef<'a> = reader.decode()?;
                    let wanted = Tag::ContextSpecific { constructed: false, number: TagNumber(0) };
                    identifier.header().tag().assert_eq(wanted)?;
                    Named::KeyIdentifier(identifier.value())
                }
                _ => return Err(unexpected(Tag::Integer)),
            };
            let digest_algorithm = reader.tlv_bytes()?;
            let signed_attributes = tagged(reader, 0)?.map(AnyRef::value);
            let signature_algorithm = reader.tlv_bytes()?;
            let signature: &OctetStringRef = reader.decode()?;
            let mut timestamps = Vec::new();
            let unsigned = tagged(reader, 1)?;
            if let Some(unsigned) = unsigned {
                for attribute in each(unsigned.value())? {
                    let (oid, values) = read_attribute(attribute)?;
                    if SIGNED_ONLY.contains(&oid) {
                        return Err(unexpected(Tag::Set));
                    }
                    if oid == OID_TIMESTAMP {
                        timestamps.push(values);
                    }
                }
            }
            Ok(Self {
                signer,
                digest_algorithm,
                signed_attributes,
                signature_algorithm,
                signature: signature.as_bytes(),
                has_unsigned: unsigned.is_some(),
                timestamps,
            })
        })
    }
}

/// RFC 5652, 10.2.4.
fn issuer_and_serial(named: &[u8]) -> Result<Named<'_>, der::Error> {
    AnyRef::from_der(named)?.sequence(|reader| {
        let issuer = reader.tlv_bytes()?;
        let serial: der::asn1::IntRef<'_> = reader.decode()?;
        Ok(Named::IssuerAndSerial { issuer, serial: serial.as_bytes() })
    })
}

/// The object identifier and the values of an attribute.
fn read_attribute(attribute: &[u8]) -> Result<(ObjectIdentifier, Vec<&[u8]>), der::Error> {
    AnyRef::from_der(attribute)?.sequence(|reader| {
        let oid: ObjectIdentifier = reader.decode()?;
        Ok((oid, elements(reader.decode::<AnyRef<'_>>()?, Tag::Set)?))
    })
}

/// What of the signed attributes is looked at.
pub(crate) struct Attributes<'a> {
    content_type: Option<ObjectIdentifier>,
    pub(crate) message_digest: Option<&'a [u8]>,
    /// Digest and signature algorithm of CMSAlgorithmProtection (RFC 6211).
    protection: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// SigningCertificate (RFC 2634, 5.4) and SigningCertificateV2 (RFC 5035, 3).
    pub(crate) signing_certificate: [Option<&'a [u8]>; 2],
    /// The attributes as the SET OF that was hashed.
    pub(crate) as_set: Vec<u8>,
}

impl<'a> Attributes<'a> {
    /// Reads the value of the [0] field. The attributes must already be in the order of DER: who sorts them before
    /// hashing accepts a message that others refuse.
    pub(crate) fn read(value: &'a [u8]) -> Result<Self, der::Error> {
        let all = each(value)?;
        if !all.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
            return Err(unexpected(Tag::Set));
        }
        let mut attributes = Self {
            content_type: None,
            message_digest: None,
            protection: None,
            signing_certificate: [None, None],
            as_set: Vec::new(),
        };
        let mut seen: Vec<ObjectIdentifier> = Vec::new();
        for attribute in all {
            let (oid, values) = read_attribute(attribute)?;
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
                OID_SIGNING_CERTIFICATE => attributes.signing_certificate[0] = Some(value),
                OID_SIGNING_CERTIFICATE_V2 => attributes.signing_certificate[1] = Some(value),
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
    pub(crate) fn check(
        &self,
        content_type: ObjectIdentifier,
        info: &SignerInfo<'_>,
    ) -> Result<(), &'static str> {
        if self.content_type != Some(content_type) {
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
pub(crate) fn tagged<'a>(
    reader: &mut SliceReader<'a>,
    number: u32,
) -> Result<Option<AnyRef<'a>>, der::Error> {
    if reader.is_finished() {
        return Ok(None);
    }
    let wanted = Tag::ContextSpecific { constructed: true, number: TagNumber(number) };
    if Tag::peek(reader)? == wanted { reader.decode().map(Some) } else { Ok(None) }
}

/// The elements of a constructed value of that tag, as they stand there.
pub(crate) fn elements(any: AnyRef<'_>, tag: Tag) -> Result<Vec<&[u8]>, der::Error> {
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

pub(crate) fn unexpected(tag: Tag) -> der::Error {
    tag.value_error().into()
}

const OID_ALGORITHM_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.52");
const OID_CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
pub(crate) const OID_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const OID_MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const OID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const OID_SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const OID_SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const OID_SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
/// What must never stand among the unsigned attributes (RFC 5652, 11, and RFC 6211, 2).
const SIGNED_ONLY: [ObjectIdentifier; 4] =
    [OID_ALGORITHM_PROTECTION, OID_CONTENT_TYPE, OID_MESSAGE_DIGEST, OID_SIGNING_TIME];
const OID_TIMESTAMP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.14");
