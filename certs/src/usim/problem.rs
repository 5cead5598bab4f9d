//! Why a record, or a file as a whole, offers no root. Each has a stable code for scripts and one line for people. Made
//! by [`super::decode`].

use super::FileId;

/// What is wrong with a record or file of the card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The certificate cannot be read.
    #[error("its certificate cannot be read: {0}")]
    CertificateMalformed(String),
    /// The file that it needs is deactivated.
    #[error("the file {file} is deactivated")]
    FileDeactivated {
        /// The file.
        file: FileId,
    },
    /// The card does not let the file be read.
    #[error(
        "the card does not let the file {file} be read; unlock the card on the device, the gate never gives a PIN"
    )]
    FileDenied {
        /// The file.
        file: FileId,
    },
    /// The file has another structure than it should.
    #[error("the file {file} is not of the structure that it should have")]
    FileMisshapen {
        /// The file.
        file: FileId,
    },
    /// The file is not there.
    #[error("the file {file} is not on the card, or beyond what is read of one")]
    FileMissing {
        /// The file.
        file: FileId,
    },
    /// The record names a file that holds no certificates.
    #[error("it names the file {file}, which cannot hold certificates")]
    FileNotKeyData {
        /// The file.
        file: FileId,
    },
    /// An identifier is longer than the rest of the record.
    #[error("an identifier of {length} bytes runs past the record, which has {left} left")]
    IdentifierOutOfRange {
        /// The length that it gives.
        length: u8,
        /// The bytes that are left.
        left: usize,
    },
    /// The key identifier is not that of the key.
    #[error("its key identifier is not that of the certificate's key")]
    KeyIdentifierMismatch,
    /// There is no key identifier.
    #[error("it has no key identifier")]
    KeyIdentifierMissing,
    /// The record says that it is not valid.
    #[error("it is marked as not valid")]
    MarkedInvalid,
    /// The record says that the certificate is no authority's.
    #[error("it is not marked as the certificate of an authority")]
    NotAnAuthority,
    /// EF ARPK has exactly one record.
    #[error("the file of the administrator's key has {records} records instead of one, so none counts")]
    NotTheOnlyRecord {
        /// How many there are.
        records: usize,
    },
    /// The parameters indicator announces parameters that are not defined.
    #[error("its parameters indicator {parameters:02X} announces parameters that are not known")]
    ParametersUnknown {
        /// The indicator.
        parameters: u8,
    },
    /// The record is too short for its fields.
    #[error("{bytes} bytes are too few for a record")]
    RecordTooShort {
        /// How many there are.
        bytes: usize,
    },
    /// The card does not mark the service that the record belongs to.
    #[error("the card does not mark the service that it belongs to")]
    ServiceNotMarked,
    /// The certificate would lie outside its file.
    #[error("its certificate would lie outside the file {file}, of which {size} bytes were read")]
    SliceOutOfRange {
        /// The file.
        file: FileId,
        /// The bytes that were read.
        size: usize,
    },
    /// There is more in the record than its fields.
    #[error("{bytes} bytes after its fields are not all FF")]
    TrailingBytes {
        /// How many follow.
        bytes: usize,
    },
    /// The certificate type is not defined.
    #[error("its certificate type {kind} is reserved")]
    TypeReserved {
        /// The type.
        kind: u8,
    },
    /// The WTLS certificate has a key that cannot vouch.
    #[error("its WTLS certificate has no RSA key")]
    WtlsKeyUnsupported,
    /// The WTLS certificate's own signature is wrong.
    #[error("its WTLS certificate's own signature is wrong")]
    WtlsSignatureWrong,
    /// The WTLS certificate carries no signature that can be checked.
    #[error("its WTLS certificate is not signed with RSA and SHA-1")]
    WtlsUnsigned,
    /// The certificate is an X9.68 one.
    #[error("certificates in X9.68 are not supported")]
    X968Unsupported,
}

impl Problem {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CertificateMalformed(_) => "certificate-malformed",
            Self::FileDeactivated { .. } => "file-deactivated",
            Self::FileDenied { .. } => "file-denied",
            Self::FileMisshapen { .. } => "file-misshapen",
            Self::FileMissing { .. } => "file-missing",
            Self::FileNotKeyData { .. } => "file-not-key-data",
            Self::IdentifierOutOfRange { .. } => "identifier-out-of-range",
            Self::KeyIdentifierMismatch => "key-identifier-mismatch",
            Self::KeyIdentifierMissing => "key-identifier-missing",
            Self::MarkedInvalid => "marked-invalid",
            Self::NotAnAuthority => "not-an-authority",
            Self::NotTheOnlyRecord { .. } => "not-the-only-record",
            Self::ParametersUnknown { .. } => "parameters-unknown",
            Self::RecordTooShort { .. } => "record-too-short",
            Self::ServiceNotMarked => "service-not-marked",
            Self::SliceOutOfRange { .. } => "slice-out-of-range",
            Self::TrailingBytes { .. } => "trailing-bytes",
            Self::TypeReserved { .. } => "type-reserved",
            Self::WtlsKeyUnsupported => "wtls-key-unsupported",
            Self::WtlsSignatureWrong => "wtls-signature-wrong",
            Self::WtlsUnsigned => "wtls-unsigned",
            Self::X968Unsupported => "x968-unsupported",
        }
    }
}
