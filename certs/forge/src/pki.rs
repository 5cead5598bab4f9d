//! Authorities and signers: a root, authorities below it, and certificates for signing code, with any validity and with
//! chosen faults. Keys are made fresh each time.

use std::time::Duration;

use mexe_model::{SecurityDomain, WallTime};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, RsaKeySize, SigningKey,
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
        }
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
        params.use_authority_key_identifier_extension = true;
        if let Some(purpose) = &self.other_purpose {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::Other(purpose.clone()));
        }
        if let Some(critical) = self.extension {
            // 2.25.1 is nobody's extension.
            let mut extension = rcgen::CustomExtension::from_oid_content(&[2, 25, 1], vec![5, 0]);
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        }
        params
    }

    fn authority(&self, name: &str) -> CertificateParams {
        let mut params = self.params(name);
        params.is_ca =
            IsCa::Ca(self.path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
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
