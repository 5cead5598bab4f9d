//! The algorithms of chains that the legacy rules let vouch for the third party domain (decision 11): SHA-1 and RSA from
//! 1024 bits, beside those that always do. Whether the rules apply is decided in [`crate::path`].

use aws_lc_rs::signature::{
    ECDSA_P256_SHA1_ASN1, ECDSA_P521_SHA1_ASN1, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
};
use pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use webpki::aws_lc_rs as algorithm;

use super::own::{self, Own};

/// webpki takes the first entry for a signature's identifier and key's kind, so the wider ones stand instead of the others.
pub(super) static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithm::ECDSA_P256_SHA256,
    algorithm::ECDSA_P256_SHA384,
    algorithm::ECDSA_P256_SHA512,
    algorithm::ECDSA_P384_SHA256,
    algorithm::ECDSA_P384_SHA384,
    algorithm::ECDSA_P384_SHA512,
    algorithm::ECDSA_P521_SHA256,
    algorithm::ECDSA_P521_SHA384,
    algorithm::ECDSA_P521_SHA512,
    algorithm::ED25519,
    algorithm::RSA_PKCS1_2048_8192_SHA384,
    algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    own::PSS_SHA256,
    own::PSS_SHA384,
    own::PSS_SHA512,
    own::PSS_SHA256_ONLY,
    own::PSS_SHA384_ONLY,
    own::PSS_SHA512_ONLY,
    &Own {
        key: alg_id::RSA_ENCRYPTION,
        signature: RSA_SHA1,
        algorithm: &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    },
    &Own {
        key: alg_id::RSA_ENCRYPTION,
        signature: alg_id::RSA_PKCS1_SHA256,
        algorithm: &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    },
    &Own {
        key: alg_id::RSA_ENCRYPTION,
        signature: alg_id::RSA_PKCS1_SHA512,
        algorithm: &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    },
    &Own { key: alg_id::ECDSA_P256, signature: ECDSA_SHA1, algorithm: &ECDSA_P256_SHA1_ASN1 },
    &Own { key: alg_id::ECDSA_P521, signature: ECDSA_SHA1, algorithm: &ECDSA_P521_SHA1_ASN1 },
];

/// sha1WithRSAEncryption.
const RSA_SHA1: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00");
/// ecdsa-with-SHA1.
const ECDSA_SHA1: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(b"\x06\x07\x2a\x86\x48\xce\x3d\x04\x01");
