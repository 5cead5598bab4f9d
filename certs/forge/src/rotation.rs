//! Makes statements by which one signer's key hands an app over to another. Where they lie in a package, and what they say,
//! is in `certs/profile.md`.

use mexe_model::{SecurityDomain, WallTime};

use crate::Fault;
use crate::cms::{sequence, tlv};
use crate::jar::JarBuilder;
use crate::pki::Signer;
use crate::sealed::{SealDefect, key_hash, octets, seal, time};

/// A statement in the making; what stands in the fields is signed, right or wrong.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The version of the format: 1.
    pub version: u8,
    /// The app's domain.
    pub domain: SecurityDomain,
    /// The app's name.
    pub name: String,
    /// SHA-256 of the key that hands over.
    pub old_key: Vec<u8>,
    /// SHA-256 of the key that takes over.
    pub new_key: Vec<u8>,
    /// When it is signed.
    pub signed_at: WallTime,
}

impl Statement {
    /// The statement that the key of `old` hands the app over to the key of `new` (certificates, DER).
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn new(
        domain: SecurityDomain,
        name: &str,
        old: &[u8],
        new: &[u8],
        signed_at: WallTime,
    ) -> Result<Self, Fault> {
        let (old_key, new_key) = (key_hash(old)?.to_vec(), key_hash(new)?.to_vec());
        Ok(Self { version: 1, domain, name: name.to_owned(), old_key, new_key, signed_at })
    }

    /// The content, DER.
    ///
    /// # Errors
    /// The time is beyond the year 9999.
    pub fn content(&self) -> Result<Vec<u8>, Fault> {
        let domain = match self.domain {
            SecurityDomain::Operator => 0,
            SecurityDomain::Manufacturer => 1,
            SecurityDomain::ThirdParty => 2,
        };
        Ok(sequence(&[
            &tlv(0x02, &[self.version]),
            &tlv(0x0a, &[domain]),
            &tlv(0x0c, self.name.as_bytes()),
            &octets(&self.old_key),
            &octets(&self.new_key),
            &time(self.signed_at)?,
        ]))
    }

    /// The statement, signed: soundly by the key that hands over.
    ///
    /// # Errors
    /// The signature cannot be made.
    pub fn sign(&self, signer: &Signer, defect: SealDefect) -> Result<Vec<u8>, Fault> {
        seal(signer, OID_ROTATION, &self.content()?, defect)
    }
}

impl JarBuilder {
    /// Adds the statements that lead to the package's signer, the oldest first.
    #[must_use]
    pub fn rotations(self, statements: &[Vec<u8>]) -> Self {
        statements.iter().zip(1..).fold(self, |package, (statement, number)| {
            package.entry(&format!("META-INF/mexe/rotation-{number}.p7s"), statement)
        })
    }
}

/// 2.25.230570099.3, DER.
const OID_ROTATION: &[u8] = b"\x06\x06\x69\xed\xf8\xf0\x73\x03";
