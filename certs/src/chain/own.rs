//! Signature algorithms that webpki does not bring: keys of kind id-RSASSA-PSS. Each entry is one pair of a key's and a
//! signature's algorithm identifier, compared byte by byte. Listed in [`super`]; [`super::legacy`] adds the old ones.

use aws_lc_rs::signature::{
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

/// A pair of identifiers, and what computes it.
pub(super) struct Own {
    pub(super) key: AlgorithmIdentifier,
    pub(super) signature: AlgorithmIdentifier,
    pub(super) algorithm: &'static dyn VerificationAlgorithm,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("key", &self.key).field("signature", &self.signature).finish()
    }
}

impl SignatureVerificationAlgorithm for Own {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.algorithm, public_key)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

/// id-RSASSA-PSS without parameters: a key for any digest (RFC 4055, 1.2).
const ANY_DIGEST: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a");

macro_rules! pss {
    ($($name:ident, $key:expr, $signature:expr, $algorithm:expr;)*) => {
        $(pub(super) static $name: &Own = &Own { key: $key, signature: $signature, algorithm: &$algorithm };)*
    };
}

pss! {
    PSS_SHA256, ANY_DIGEST, alg_id::RSA_PSS_SHA256, RSA_PSS_2048_8192_SHA256;
    PSS_SHA384, ANY_DIGEST, alg_id::RSA_PSS_SHA384, RSA_PSS_2048_8192_SHA384;
    PSS_SHA512, ANY_DIGEST, alg_id::RSA_PSS_SHA512, RSA_PSS_2048_8192_SHA512;
    PSS_SHA256_ONLY, alg_id::RSA_PSS_SHA256, alg_id::RSA_PSS_SHA256, RSA_PSS_2048_8192_SHA256;
    PSS_SHA384_ONLY, alg_id::RSA_PSS_SHA384, alg_id::RSA_PSS_SHA384, RSA_PSS_2048_8192_SHA384;
    PSS_SHA512_ONLY, alg_id::RSA_PSS_SHA512, alg_id::RSA_PSS_SHA512, RSA_PSS_2048_8192_SHA512;
}
