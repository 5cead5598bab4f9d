//! How much work a stranger's package may make us do, and what judging it did. What exceeds a size is `package-too-large`;
//! what exceeds a count is `too-costly`. Callers take the defaults or lower them.
//!
//! With the defaults, one judgement costs at most:
//!
//! - reading the file four times (its own digest, the headers twice, the entries): 2 GiB;
//! - unpacking 2 GiB, each byte once, and its checksum; of packed data that are nothing but the heads of empty blocks, 46 million
//!   times the codes of a block, about a microsecond each;
//! - hashing 4 GiB of entries and manifests, and the file itself;
//! - reading 10 signature blocks and 64 certificates, and for each signer one signature and what the path search may
//!   ask ([`crate::TrustStore`] holds few roots; the search counts its own);
//! - 192 MiB of memory, whatever the package's size: names, manifest, one signature file and the buffers.

use mexe_model::Reason;

use crate::verdict::Refusal;

/// The bounds of one judgement. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The package file.
    pub package: u64,
    /// Entries of the package, directories included.
    pub entries: usize,
    /// All entries unpacked.
    pub inflated_total: u64,
    /// One entry unpacked.
    pub inflated_entry: u64,
    /// The manifest, and each signature file.
    pub manifest: u64,
    /// Sections of the manifest, and of each signature file.
    pub sections: usize,
    /// Attributes of the manifest, and of each signature file.
    pub attributes: usize,
    /// Bytes that are hashed for the digests of entries, of the manifest and of its sections; those of an entry count
    /// once for each algorithm that is listed for it.
    pub digested: u64,
    /// One signature block.
    pub signature: u64,
    /// Signers of one package.
    pub signers: usize,
    /// Certificates in all signature blocks.
    pub certificates: usize,
}

impl Default for Limits {
    /// What the gate uses: a package of 512 MiB that unpacks to at most 2 GiB.
    fn default() -> Self {
        Self {
            package: 512 << 20,
            entries: 65_000,
            inflated_total: 2 << 30,
            inflated_entry: 1 << 30,
            manifest: 16 << 20,
            sections: 70_000,
            attributes: 400_000,
            digested: 4 << 30,
            signature: 1 << 20,
            signers: 10,
            certificates: 64,
        }
    }
}

/// What judging a package did: the figures that [`Limits`] bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Bytes of entries that were unpacked.
    pub inflated: u64,
    /// Bytes that were hashed, without those of the whole file.
    pub digested: u64,
    /// Sections that were read, of the manifest and of all signature files.
    pub sections: u64,
    /// Certificates that were read from signature blocks.
    pub certificates: u64,
    /// Signature blocks whose signature was checked.
    pub signers: u64,
}

impl Work {
    /// Counts bytes that are to be hashed.
    ///
    /// # Errors
    /// `too-costly`.
    pub(crate) fn digest(&mut self, bytes: u64, algorithms: usize, limits: &Limits) -> Result<(), Refusal> {
        let times = u64::try_from(algorithms).unwrap_or(u64::MAX);
        self.digested = self.digested.saturating_add(bytes.saturating_mul(times));
        if self.digested > limits.digested {
            return Err(too_costly(format!("more than {} bytes would have to be hashed", limits.digested)));
        }
        Ok(())
    }
}

pub(crate) fn too_costly(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::TooCostly, detail)
}
