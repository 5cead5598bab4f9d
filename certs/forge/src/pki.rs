//! Authorities and signers: a root, authorities below it, and certificates for signing code, with any validity and with
//! chosen faults. Keys are made fresh each time.

use std::time::Duration;

use der::Decode;
use mexe_model::{SecurityDomain, WallTime};
pub use rcgen::RevocationReason;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    RsaKeySize, SerialNumber, SigningKey,
};

use crate::Fault;

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    #[default]
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// RSA 2048 with SHA-256.
    Rsa2048,
    /// RSA 3072 with SHA-256.
    Rsa3072,
}

impl KeyKind {
    fn make(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Self::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
        }
    }
}

/// What a certificate looks like. [`Shape::at`] is a sound one; change a field to break it.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The key.
    pub key: KeyKind,
    /// The first moment of validity.
    pub not_before: WallTime,
    /// The last second of validity.
    pub not_after: WallTime,
    /// For signers: the extended key usage codeSigning.
    pub code_signing: bool,
    /// For signers: whether the key usage is digitalSignature, or else keyEncipherment.
    pub digital_signature: bool,
    /// For authorities: how many authorities may follow below.
    pub path_length: Option<u8>,
    /// One more extended key usage; for authorities the only one (they have none otherwise).
    pub other_purpose: Option<Vec<u64>>,
    /// For signers: the extended key usage timeStamping, critical or not, in place of codeSigning.
    pub time_stamping: Option<bool>,
    /// A private extension, critical or not.
    pub extension: Option<bool>,
    /// More extensions: object identifier, critical or not, value (DER).
    pub more: Vec<(Vec<u64>, bool, Vec<u8>)>,
    /// For authorities: whether they may sign revocation lists.
    pub signs_lists: bool,
    /// Whether an authorityKeyIdentifier names the issuer's key.
    pub names_issuer_key: bool,
}

impl Shape {
    /// Valid from a day before `at` for ten years, with a P-256 key and the right usages.
    pub fn at(at: WallTime) -> Self {
        let day = 86_400;
        Self {
            key: KeyKind::default(),
            not_before: WallTime::from_secs(at.as_secs().saturating_sub(day)),
            not_after: WallTime::from_secs(at.as_secs().saturating_add(3650 * day)),
            code_signing: true,
            digital_signature: true,
            path_length: None,
            other_purpose: None,
            time_stamping: None,
            extension: None,
            more: Vec::new(),
            signs_lists: true,
            names_issuer_key: true,
        }
    }

    /// The same, limited to the action groups of these numbers. What the numbers are is not asked.
    pub fn restricted_to(mut self, groups: &[u8]) -> Self {
        let numbers: Vec<u8> = groups.iter().flat_map(|number| [2, 1, *number]).collect();
        let length = u8::try_from(numbers.len()).unwrap_or(u8::MAX);
        let value = [0x30, length].into_iter().chain(numbers).collect();
        self.more.push((RESTRICTION.to_vec(), false, value));
        self
    }

    /// The same with that kind of key.
    pub fn with_key(self, key: KeyKind) -> Self {
        Self { key, ..self }
    }

    fn params(&self, name: &str) -> CertificateParams {
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, "mexegate demo");
        subject.push(DnType::CommonName, name);
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.not_before = epoch + Duration::from_secs(self.not_before.as_secs());
        params.not_after = epoch + Duration::from_secs(self.not_after.as_secs());
        params.use_authority_key_identifier_extension = self.names_issuer_key;
        if let Some(purpose) = &self.other_purpose {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::Other(purpose.clone()));
        }
        if let Some(critical) = self.extension {
            // 2.25.1 is nobody's extension.
            let mut extension = rcgen::CustomExtension::from_oid_content(&[2, 25, 1], vec![5, 0]);
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        }
        for (oid, critical, value) in &self.more {
            let mut extension = rcgen::CustomExtension::from_oid_content(oid, value.clone());
            extension.set_criticality(*critical);
            params.custom_extensions.push(extension);
        }
        params
    }

    fn authority(&self, name: &str) -> CertificateParams {
        let mut params = self.params(name);
        params.is_ca =
            IsCa::Ca(self.path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        if self.signs_lists {
            params.key_usages.push(KeyUsagePurpose::CrlSign);
        }
        params
    }

    fn signer(&self, name: &str) -> CertificateParams {
        let mut params = self.params(name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![match self.digital_signature {
            true => KeyUsagePurpose::DigitalSignature,
            false => KeyUsagePurpose::KeyEncipherment,
        }];
        if let Some(critical) = self.time_stamping {
            // SEQUENCE OF id-kp-timeStamping; rcgen's own extended key usage is never critical.
            let purposes = b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x08".to_vec();
            let mut extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 37], purposes);
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        } else if self.code_signing {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning);
        }
        params
    }
}

/// The access restriction (certs/profile.md).
pub const RESTRICTION: [u64; 4] = [2, 25, 230_570_099, 1];

/// What a revocation list looks like.
#[derive(Debug, Clone)]
pub struct ListShape {
    /// Its number.
    pub number: u64,
    /// When it is made.
    pub this_update: WallTime,
    /// When the next one is due.
    pub next_update: WallTime,
    /// The serial numbers that it lists, since when, and why.
    pub revoked: Vec<(Vec<u8>, WallTime, Option<RevocationReason>)>,
}

impl ListShape {
    /// The first list, made a day before `at` and due a month later, with nothing in it.
    pub fn at(at: WallTime) -> Self {
        let day = 86_400;
        Self {
            number: 1,
            this_update: WallTime::from_secs(at.as_secs().saturating_sub(day)),
            next_update: WallTime::from_secs(at.as_secs().saturating_add(30 * day)),
            revoked: Vec::new(),
        }
    }

    /// The same with that certificate (DER) revoked since then.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn revoking(mut self, certificate: &[u8], since: WallTime) -> Result<Self, Fault> {
        self.revoked.push((serial(certificate)?, since, None));
        Ok(self)
    }
}

/// A certificate's serial number.
///
/// # Errors
/// The certificate cannot be read.
pub fn serial(certificate: &[u8]) -> Result<Vec<u8>, Fault> {
    let certificate = x509_cert::Certificate::from_der(certificate)?;
    Ok(certificate.tbs_certificate().serial_number().as_bytes().to_vec())
}

/// An authority: a root, or below one.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, then those of the authorities above it; the root is left out, unless it is this one.
    chain: Vec<Vec<u8>>,
    is_root: bool,
}

impl Authority {
    /// A root that signed itself.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn root(name: &str, shape: &Shape) -> Result<Self, Fault> {
        let (params, key) = (shape.authority(name), shape.key.make()?);
        let certificate = params.self_signed(&key)?.der().to_vec();
        Ok(Self { issuer: Issuer::new(params, key), chain: vec![certificate], is_root: true })
    }

    /// An authority below this one.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn intermediate(&self, name: &str, shape: &Shape) -> Result<Self, Fault> {
        let (params, key) = (shape.authority(name), shape.key.make()?);
        let certificate = params.signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(Self { issuer: Issuer::new(params, key), chain: self.below(certificate), is_root: false })
    }

    /// A certificate of this very authority (its name and key), issued by `other`: another way up.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn cross_signed_by(&self, other: &Self, name: &str, shape: &Shape) -> Result<Vec<u8>, Fault> {
        Ok(shape.authority(name).signed_by(self.issuer.key(), &other.issuer)?.der().to_vec())
    }

    /// A signer of code whose certificate this authority issues.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn signer(&self, name: &str, shape: &Shape) -> Result<Signer, Fault> {
        let key = shape.key.make()?;
        let certificate = shape.signer(name).signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(Signer { key, chain: self.below(certificate) })
    }

    /// A revocation list by this authority, DER.
    ///
    /// # Errors
    /// The list cannot be made: the authority may not sign lists, or the next one is due before this one.
    pub fn list(&self, shape: &ListShape) -> Result<Vec<u8>, Fault> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let date = |time: WallTime| epoch + Duration::from_secs(time.as_secs());
        let revoked =
            |(serial, since, reason): &(Vec<u8>, WallTime, Option<RevocationReason>)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: date(*since),
                reason_code: *reason,
                invalidity_date: None,
            };
        let params = CertificateRevocationListParams {
            this_update: date(shape.this_update),
            next_update: date(shape.next_update),
            crl_number: SerialNumber::from(shape.number),
            issuing_distribution_point: None,
            revoked_certs: shape.revoked.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.der().to_vec())
    }

    fn below(&self, certificate: Vec<u8>) -> Vec<Vec<u8>> {
        let above = if self.is_root { &[] } else { self.chain.as_slice() };
        [certificate].into_iter().chain(above.iter().cloned()).collect()
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        self.chain.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The certificate, PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.certificate())
    }

    /// The private key (PKCS #8), PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

/// A signer of code.
pub struct Signer {
    pub(crate) key: KeyPair,
    /// The signer's certificate, then the authorities' up to the root, which is left out. A test may add or remove some.
    pub chain: Vec<Vec<u8>>,
}

impl Signer {
    /// The signer's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        self.chain.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The whole chain, PEM, the signer first.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// The private key (PKCS #8), PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(self.key.sign(message)?)
    }
}

/// The authorities of one security domain.
pub struct Branch {
    /// The domain.
    pub domain: SecurityDomain,
    /// Its root.
    pub root: Authority,
    /// The authority below it, which issues signers' certificates.
    pub issuer: Authority,
    /// A signer.
    pub signer: Signer,
}

/// The authorities of a demo: for each security domain a root, an issuer below it and a signer.
pub struct DemoPki {
    /// One for each domain, in the order of [`SecurityDomain::ALL`].
    pub branches: Vec<Branch>,
}

impl DemoPki {
    /// Makes them, valid for ten years from the day before `at`.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn make(at: WallTime) -> Result<Self, Fault> {
        let shape = Shape::at(at);
        let branch = |domain: SecurityDomain| {
            let root = Authority::root(&format!("demo {domain} root"), &shape)?;
            let issuer = root.intermediate(&format!("demo {domain} issuer"), &shape)?;
            let signer = issuer.signer(&format!("demo {domain} signer"), &shape)?;
            Ok(Branch { domain, root, issuer, signer })
        };
        Ok(Self { branches: SecurityDomain::ALL.into_iter().map(branch).collect::<Result<_, Fault>>()? })
    }

    /// The authorities of that domain.
    pub fn branch(&self, domain: SecurityDomain) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.domain == domain)
    }
}

/// PEM with lines of 64 characters.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(64).unwrap_or((rest, ""));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out + &format!("-----END {label}-----\n")
}
