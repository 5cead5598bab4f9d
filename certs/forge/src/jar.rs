//! Packages: entries and manifest attributes in, a JAR out, unsigned or signed by one or several signers as jarsigner does
//! it. [`JarBuilder::sign_parts`] gives the files before they are packed, so that a test can break any of them.

use std::io::{Cursor, Write};

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::Fault;
use crate::cms;
use crate::pki::Signer;

pub use crate::cms::Defect;

/// One file of a package: its name and its bytes.
pub type Part = (String, Vec<u8>);

/// A package in the making.
#[derive(Debug, Clone, Default)]
pub struct JarBuilder {
    attributes: Vec<(String, String)>,
    entries: Vec<Part>,
    options: SignOptions,
}

/// How to sign.
#[derive(Debug, Clone)]
pub struct SignOptions {
    /// The digests that manifest and signature file give, as `SHA-256`, `SHA-1`; of those that
    /// [`mexe_forge::jar`](crate::jar) knows: SHA-1, SHA-256, SHA-384, SHA-512.
    pub digests: Vec<&'static str>,
    /// Whether the block has signed attributes, or signs the signature file directly.
    pub signed_attributes: bool,
    /// Entries that are left out of manifest and signature.
    pub leave_out: Vec<String>,
    /// Whether the signature file has the digest of the whole manifest.
    pub whole_manifest: bool,
    /// Whether the signature file has the digest of the manifest's main section.
    pub main_attributes: bool,
    /// How the block is broken.
    pub defect: Defect,
}

impl Default for SignOptions {
    /// As jarsigner 17.
    fn default() -> Self {
        Self {
            digests: vec!["SHA-256"],
            signed_attributes: true,
            leave_out: Vec::new(),
            whole_manifest: true,
            main_attributes: true,
            defect: Defect::None,
        }
    }
}

impl JarBuilder {
    /// An empty package.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an attribute to the manifest's main section.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an entry. A name that ends in `/` makes a directory.
    #[must_use]
    pub fn entry(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.entries.push((name.to_owned(), bytes.as_ref().to_vec()));
        self
    }

    /// Signs in another way.
    #[must_use]
    pub fn options(mut self, options: SignOptions) -> Self {
        self.options = options;
        self
    }

    /// The package without a signature.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn unsigned(&self) -> Result<Vec<u8>, Fault> {
        let (manifest, _) = self.manifest(false);
        let first = [("META-INF/MANIFEST.MF".to_owned(), manifest)];
        pack(first.iter().chain(&self.entries))
    }

    /// The package, signed.
    ///
    /// # Errors
    /// The signature cannot be made, or the archive cannot be written.
    pub fn sign(&self, signer: &Signer) -> Result<Vec<u8>, Fault> {
        self.sign_all(&[("SIGNER", signer)])
    }

    /// The package, signed by several; each names its signature file (without extension).
    ///
    /// # Errors
    /// As [`JarBuilder::sign`].
    pub fn sign_all(&self, signers: &[(&str, &Signer)]) -> Result<Vec<u8>, Fault> {
        pack(&self.sign_parts(signers)?)
    }

    /// All files of the signed package: manifest, signature files and blocks, then the entries.
    ///
    /// # Errors
    /// A signature cannot be made.
    pub fn sign_parts(&self, signers: &[(&str, &Signer)]) -> Result<Vec<Part>, Fault> {
        self.sign_parts_with(signers, |_| ())
    }

    /// As [`JarBuilder::sign_parts`], with each section of the manifest changed before it is signed: what is signed is wrong
    /// then, and the signature is right.
    ///
    /// # Errors
    /// A signature cannot be made.
    pub fn sign_parts_with(
        &self,
        signers: &[(&str, &Signer)],
        change: impl Fn(&mut String),
    ) -> Result<Vec<Part>, Fault> {
        let (_, mut sections) = self.manifest(true);
        for (_, raw) in &mut sections {
            let mut text = String::from_utf8_lossy(raw).into_owned();
            change(&mut text);
            *raw = text.into_bytes();
        }
        let manifest: Vec<u8> = sections.iter().flat_map(|(_, raw)| raw.iter().copied()).collect();
        let file = self.signature_file(&manifest, &sections);
        let mut parts = vec![("META-INF/MANIFEST.MF".to_owned(), manifest)];
        for (name, signer) in signers {
            let (attributes, defect) = (self.options.signed_attributes, self.options.defect);
            let block = cms::detached(signer, &file, attributes, defect)?;
            let extension = if *signer.key.algorithm() == rcgen::PKCS_RSA_SHA256 { "RSA" } else { "EC" };
            parts.push((format!("META-INF/{name}.SF"), file.clone()));
            parts.push((format!("META-INF/{name}.{extension}"), block));
        }
        parts.extend(self.entries.iter().cloned());
        Ok(parts)
    }

    /// The manifest, and its sections by name when the entries are to be signed: first the main section.
    fn manifest(&self, signed: bool) -> (Vec<u8>, Vec<Part>) {
        let mut main = String::new();
        line(&mut main, "Manifest-Version", "1.0");
        for (name, value) in &self.attributes {
            line(&mut main, name, value);
        }
        let mut sections = vec![(String::new(), finished(main))];
        for (name, bytes) in self.entries.iter().filter(|(name, _)| signed && !name.ends_with('/')) {
            if self.options.leave_out.contains(name) {
                continue;
            }
            let mut section = String::new();
            line(&mut section, "Name", name);
            self.digests(&mut section, "-Digest", bytes);
            sections.push((name.clone(), finished(section)));
        }
        (sections.iter().flat_map(|(_, raw)| raw.clone()).collect(), sections)
    }

    fn signature_file(&self, manifest: &[u8], sections: &[Part]) -> Vec<u8> {
        let mut main = String::new();
        line(&mut main, "Signature-Version", "1.0");
        if self.options.whole_manifest {
            self.digests(&mut main, "-Digest-Manifest", manifest);
        }
        let mut file = Vec::new();
        for (name, raw) in sections {
            let mut section = String::new();
            if name.is_empty() {
                if self.options.main_attributes {
                    self.digests(&mut main, "-Digest-Manifest-Main-Attributes", raw);
                }
                section = std::mem::take(&mut main);
            } else {
                line(&mut section, "Name", name);
                self.digests(&mut section, "-Digest", raw);
            }
            file.extend_from_slice(&finished(section));
        }
        file
    }

    fn digests(&self, section: &mut String, suffix: &str, bytes: &[u8]) {
        for name in &self.options.digests {
            let algorithm = match *name {
                "SHA-1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
                "SHA-384" => &digest::SHA384,
                "SHA-512" => &digest::SHA512,
                _ => &digest::SHA256,
            };
            line(section, &format!("{name}{suffix}"), &BASE64.encode(digest::digest(algorithm, bytes)));
        }
    }
}

/// Appends an attribute, wrapped at 72 bytes.
fn line(section: &mut String, name: &str, value: &str) {
    let whole = format!("{name}: {value}");
    let mut width = 0;
    for c in whole.chars() {
        if width + c.len_utf8() > 72 {
            section.push_str("\r\n ");
            width = 1;
        }
        section.push(c);
        width += c.len_utf8();
    }
    section.push_str("\r\n");
}

fn finished(section: String) -> Vec<u8> {
    (section + "\r\n").into_bytes()
}

/// Packs the files into an archive, in their order.
///
/// # Errors
/// The archive cannot be written; a name twice is such a case.
pub fn pack<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Result<Vec<u8>, Fault> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in parts {
        if name.ends_with('/') {
            archive.add_directory(name.as_str(), options)?;
        } else {
            archive.start_file(name.as_str(), options)?;
            archive.write_all(bytes)?;
        }
    }
    Ok(archive.finish()?.into_inner())
}
