//! What came along with a package, as it is kept beside it: a descriptor or a detached signature, in a file of its own.

use std::io;
use std::path::Path;

use mexe_certs::{Evidence, Fingerprint, Format};

/// The signature that does not lie in the package, with its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoredEvidence {
    /// It lies in the package, or there is none.
    #[default]
    Inside,
    /// An application descriptor.
    Descriptor(Vec<u8>),
    /// A detached CMS signature.
    Detached(Vec<u8>),
}

impl StoredEvidence {
    /// As the signature engine takes it.
    pub fn as_evidence(&self) -> Evidence<'_> {
        match self {
            Self::Inside => Evidence::Inside,
            Self::Descriptor(bytes) => Evidence::Descriptor(bytes),
            Self::Detached(bytes) => Evidence::Detached(bytes),
        }
    }

    /// Its bytes, when there are any.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Inside => None,
            Self::Descriptor(bytes) | Self::Detached(bytes) => Some(bytes),
        }
    }

    /// The file that it is kept in. The same package may come with several signatures, so both are in its name.
    pub fn file(&self, folder: &str, package: &str) -> Option<String> {
        let ending = match self {
            Self::Inside => return None,
            Self::Descriptor(_) => "jad",
            Self::Detached(_) => "p7s",
        };
        let of: String = Fingerprint::of(self.bytes()?).to_string().chars().take(16).collect();
        Some(format!("{folder}/{package}-{of}.{ending}"))
    }

    /// Reads it back.
    ///
    /// # Errors
    /// The file's.
    pub fn read(format: Format, state_dir: &Path, file: Option<&str>) -> io::Result<Self> {
        let read = || match file {
            Some(file) => std::fs::read(state_dir.join(file)),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "its signature is not kept")),
        };
        Ok(match format {
            Format::Jar => Self::Inside,
            Format::Midlet => Self::Descriptor(read()?),
            Format::Detached => Self::Detached(read()?),
        })
    }
}
