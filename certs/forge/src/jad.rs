//! Application descriptors (JAD) of MIDlet suites, unsigned or signed with RSA and SHA-256. Any attribute can be given, so a
//! test can put a signature there that was made elsewhere, or a wrong one.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;

use crate::Fault;
use crate::pki::Signer;

/// A descriptor in the making.
#[derive(Debug, Clone, Default)]
pub struct JadBuilder {
    attributes: Vec<(String, String)>,
}

impl JadBuilder {
    /// A descriptor that says the size of the package, and nothing else yet.
    pub fn for_package(package: &[u8]) -> Self {
        Self::default().attribute("MIDlet-Jar-Size", &package.len().to_string())
    }

    /// Gives an attribute, in place of one of that name.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.retain(|(known, _)| known != name);
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives an attribute whose value is binary.
    #[must_use]
    pub fn binary(self, name: &str, value: &[u8]) -> Self {
        self.attribute(name, &BASE64.encode(value))
    }

    /// Gives the certificates of way `n` (from 1 on), the signer's first.
    #[must_use]
    pub fn way(mut self, n: usize, chain: &[Vec<u8>]) -> Self {
        for (m, certificate) in (1..).zip(chain) {
            self = self.binary(&format!("MIDlet-Certificate-{n}-{m}"), certificate);
        }
        self
    }

    /// Signs the package with an RSA key, SHA-256 and the signer's chain as the first way.
    ///
    /// # Errors
    /// The signature cannot be made.
    pub fn sign(self, package: &[u8], signer: &Signer) -> Result<Self, Fault> {
        let signature = signer.signature(package)?;
        Ok(self.way(1, &signer.chain).binary("MIDlet-Jar-RSA-SHA256", &signature))
    }

    /// The descriptor's text.
    pub fn build(&self) -> String {
        self.attributes.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    }
}
