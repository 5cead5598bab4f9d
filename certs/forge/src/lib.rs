//! Makes what the device is given by others: authorities, signers' certificates, and packages, sound or broken on
//! purpose. For demos and tests; nothing that decides uses this crate. Everything is bytes in, bytes out: whoever calls
//! writes the files.
//!
//! ```
//! use mexe_forge::{jar::JarBuilder, pki::{Authority, Shape}};
//! use mexe_model::WallTime;
//!
//! # fn main() -> Result<(), mexe_forge::Fault> {
//! let at = WallTime::from_secs(1_795_489_491);
//! let root = Authority::root("Example Root", &Shape::at(at))?;
//! let signer = root.intermediate("Example Issuer", &Shape::at(at))?.signer("Example Signer", &Shape::at(at))?;
//! let package = JarBuilder::new().attribute("MExE-Name", "example").entry("a.txt", "hello").sign(&signer)?;
//! assert!(package.starts_with(b"PK"));
//! # Ok(())
//! # }
//! ```

pub mod ccm;
pub mod cms;
pub mod demo;
pub mod jad;
pub mod jar;
pub mod pki;
pub mod rotation;
pub mod sealed;
pub mod timestamp;
pub mod usim;

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A certificate or key could not be made.
    #[error("the certificate or key cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A structure could not be encoded or read back.
    #[error("the structure cannot be encoded: {0}")]
    Encoding(#[from] der::Error),
    /// The archive could not be written.
    #[error("the archive cannot be written: {0}")]
    Archive(#[from] zip::result::ZipError),
    /// The certificate file of a card has no place left.
    #[error("the card's certificate file cannot hold so much")]
    CardFull,
    /// An entry could not be written.
    #[error("the entry cannot be written: {0}")]
    Entry(#[from] std::io::Error),
}
