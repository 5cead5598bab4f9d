//! One X.509 certificate as read: the raw parts that names and signatures are compared by, and the few fields that the
//! rules ask for. Whether it may be in a chain is decided in [`crate::path`] and [`crate::chain`].

use der::asn1::BitStringRef;
use der::{Decode, Reader, SliceReader, TagMode, TagNumber};
use mexe_model::{Groups, Reason, WallTime};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier};
use x509_cert::name::Name;

use crate::algorithm::{Digest, Scheme, Unusable, sha256};
use crate::chain;
use crate::form::Form;
use crate::key::PublicKey;
use crate::restriction;
use crate::usim::Anchor;
use crate::verdict::{CertificateFacts, Quoted};

/// A certificate that webpki and x509-cert both can read.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    /// The serial number with tag and length: what revocation lists know it by.
    pub(crate) serial_der: Vec<u8>,
    /// The issuer's name, DER.
    pub(crate) issuer: Vec<u8>,
    /// The subject's name, DER.
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) subject_text: String,
    pub(crate) not_before: WallTime,
    pub(crate) not_after: WallTime,
    /// `None`: there is no such extension.
    pub(crate) basic_constraints: Option<BasicConstraints>,
    /// `None`: there is no such extension.
    pub(crate) key_usage: Option<KeyUsage>,
    /// `None`: there is no such extension.
    pub(crate) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(crate) extended_key_usage_is_critical: bool,
    /// `None`: there is no such extension.
    pub(crate) key_identifier: Option<Vec<u8>>,
    /// The action groups that it leaves to what is signed under it, or what is wrong with its restriction.
    pub(crate) groups: Result<Groups, &'static str>,
    pub(crate) form: Form,
    pub(crate) key: Result<PublicKey, Unusable>,
    pub(crate) scheme: Result<Scheme, Unusable>,
    /// A name and a key alone, out of a certificate that is no X.509 certificate: the end of a chain and nothing else.
    pub(crate) is_bare: bool,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// Reads one certificate. webpki reads it first, so that nothing is ever read out of bytes that it would not accept.
    ///
    /// # Errors
    /// What is wrong with it, in one line: `certificate-malformed`, or `restriction-unreadable` for a restriction that is
    /// critical, which webpki takes for an unknown extension.
    pub(crate) fn read(der: &[u8]) -> Result<Self, Unusable> {
        chain::readable(der).map_err(|what| match restriction_is_critical(der) {
            true => Unusable {
                reason: Reason::RestrictionUnreadable,
                what: "its access restriction is critical, which it must never be".to_owned(),
            },
            false => Unusable::malformed(what),
        })?;
        Self::read_parts(der)
            .map_err(|error| Unusable::malformed(format!("it cannot be read: {}", error.kind())))
    }

    fn read_parts(der: &[u8]) -> Result<Self, der::Error> {
        let parsed = x509_cert::Certificate::from_der(der)?;
        let tbs = parsed.tbs_certificate();
        let mut reader = SliceReader::new(der)?;
        let (signed, algorithm, signature) = reader.sequence(|reader| {
            let parts = (reader.tlv_bytes()?, reader.tlv_bytes()?, reader.decode::<BitStringRef<'_>>()?);
            Ok::<_, der::Error>(parts)
        })?;
        reader.finish()?;
        let (serial, issuer, subject, spki) = SliceReader::new(signed)?.sequence(|reader| {
            let _version = reader.context_specific::<u8>(TagNumber(0), TagMode::Explicit)?;
            let (serial, _algorithm) = (reader.tlv_bytes()?, reader.tlv_bytes()?);
            let issuer = reader.tlv_bytes()?;
            let _validity = reader.tlv_bytes()?;
            let (subject, spki) = (reader.tlv_bytes()?, reader.tlv_bytes()?);
            while !reader.is_finished() {
                reader.tlv_bytes()?;
            }
            Ok::<_, der::Error>((serial, issuer, subject, spki))
        })?;
        let extended_key_usage = tbs.get_extension::<ExtendedKeyUsage>()?;
        let time = |time: x509_cert::time::Time| WallTime::from_secs(time.to_unix_duration().as_secs());
        Ok(Self {
            der: der.to_vec(),
            serial: tbs.serial_number().as_bytes().to_vec(),
            serial_der: serial.to_vec(),
            issuer: issuer.to_vec(),
            subject: subject.to_vec(),
            spki: spki.to_vec(),
            subject_text: tbs.subject().to_string(),
            not_before: time(tbs.validity().not_before),
            not_after: time(tbs.validity().not_after),
            basic_constraints: tbs.get_extension::<BasicConstraints>()?.map(|(_, value)| value),
            key_usage: tbs.get_extension::<KeyUsage>()?.map(|(_, value)| value),
            extended_key_usage_is_critical: extended_key_usage
                .as_ref()
                .is_some_and(|(critical, _)| *critical),
            extended_key_usage: extended_key_usage.map(|(_, value)| value),
            key_identifier: tbs
                .get_extension::<SubjectKeyIdentifier>()?
                .map(|(_, value)| value.0.as_bytes().to_vec()),
            groups: restriction::of(tbs.extensions().map(Vec::as_slice).unwrap_or_default()),
            form: Form::of(tbs, serial, issuer, subject)?,
            key: PublicKey::read(spki),
            scheme: Scheme::read(algorithm, None),
            is_bare: false,
            signed: signed.to_vec(),
            signature: signature.as_bytes().unwrap_or_default().to_vec(),
        })
    }

    /// A name and a key that stand in a WTLS certificate of these bytes.
    pub(crate) fn bare(anchor: &Anchor, encoded: Vec<u8>) -> Self {
        let subject_text = Name::from_der(&anchor.subject).map(|name| name.to_string()).unwrap_or_default();
        Self {
            der: encoded,
            serial: Vec::new(),
            serial_der: Vec::new(),
            issuer: anchor.subject.clone(),
            subject: anchor.subject.clone(),
            spki: anchor.spki.clone(),
            subject_text,
            not_before: anchor.not_before,
            not_after: anchor.not_after,
            basic_constraints: None,
            key_usage: None,
            extended_key_usage: None,
            extended_key_usage_is_critical: false,
            key_identifier: None,
            groups: Ok(Groups::ALL),
            form: Form::default(),
            key: PublicKey::read(&anchor.spki),
            scheme: Ok(Scheme::RsaPkcs1(Digest::Sha1)),
            is_bare: true,
            signed: Vec::new(),
            signature: Vec::new(),
        }
    }

    /// Whether `issuer` is named as the issuer.
    pub(crate) fn names(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject
    }

    /// Whether `issuer`'s key made this certificate's signature. What cannot be computed is not.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> bool {
        let (Ok(scheme), Ok(key)) = (&self.scheme, &issuer.key) else { return false };
        key.verifies(*scheme, &self.signed, &self.signature).unwrap_or(false)
    }

    /// Whether issuer and subject are the same name.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    pub(crate) fn is_ca(&self) -> bool {
        self.basic_constraints.as_ref().is_some_and(|constraints| constraints.ca)
    }

    /// Absent key usage forbids nothing (RFC 5280, 4.2.1.3).
    pub(crate) fn may_sign_certificates(&self) -> bool {
        self.key_usage.is_none_or(|usage| usage.key_cert_sign())
    }

    /// Whether it may sign revocation lists; absent key usage forbids nothing.
    pub(crate) fn may_sign_lists(&self) -> bool {
        self.key_usage.is_none_or(|usage| usage.crl_sign())
    }

    /// The serial number, lower-case hexadecimal.
    pub(crate) fn serial_text(&self) -> String {
        self.serial.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The subject, as it may stand in a message.
    pub(crate) fn quoted(&self) -> Quoted<'_> {
        Quoted(&self.subject_text)
    }

    pub(crate) fn facts(&self) -> CertificateFacts {
        CertificateFacts {
            subject: self.subject_text.clone(),
            serial: self.serial_text(),
            not_before: self.not_before,
            not_after: self.not_after,
            sha256: sha256(&self.der),
            key: sha256(&self.spki),
            groups: self.groups.unwrap_or(Groups::NONE),
        }
    }
}

fn restriction_is_critical(der: &[u8]) -> bool {
    let Ok(parsed) = x509_cert::Certificate::from_der(der) else { return false };
    let extensions = parsed.tbs_certificate().extensions().map(Vec::as_slice).unwrap_or_default();
    extensions.iter().any(|extension| extension.extn_id == restriction::OID && extension.critical)
}
