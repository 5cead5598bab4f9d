//! How much work a stranger's package may make us do. What exceeds a size is `package-too-large`; what exceeds a count
//! is malformed. Callers take the defaults or lower them.

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
    /// One signature block.
    pub signature: u64,
    /// Signers of one package.
    pub signers: usize,
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
            signature: 1 << 20,
            signers: 10,
        }
    }
}
