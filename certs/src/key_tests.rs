//! Project Wycheproof's vectors for every signature algorithm in use: what is valid verifies, what is invalid never does.
//! No vector in these sets is merely acceptable, but for the ones that are named here.

use wycheproof::{HashFunction, TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;

/// The digest, if it is one of ours.
fn of(hash: HashFunction) -> Option<Digest> {
    match hash {
        HashFunction::Sha1 => Some(Digest::Sha1),
        HashFunction::Sha2_256 => Some(Digest::Sha256),
        HashFunction::Sha2_384 => Some(Digest::Sha384),
        HashFunction::Sha2_512 => Some(Digest::Sha512),
        _ => None,
    }
}

/// What was tried: vectors that had to verify, that must not, and that may.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    valid: usize,
    invalid: usize,
    acceptable: usize,
}

impl Tally {
    /// Asks for one signature, over the message and, where the scheme has a digest, over that.
    #[track_caller]
    fn ask(
        &mut self,
        what: &str,
        result: TestResult,
        key: &PublicKey,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) {
        let verifies = key.verifies(scheme, message, signature).unwrap();
        if let Some(digest) = scheme.digest() {
            let streamed = key.verifies_digest(scheme, &digest.of(message), signature).unwrap();
            assert_eq!(streamed, verifies, "{what}: over its digest");
        }
        match result {
            TestResult::Valid => {
                self.valid += 1;
                assert!(verifies, "{what}: it is valid");
            }
            TestResult::Invalid => {
                self.invalid += 1;
                assert!(!verifies, "{what}: it is invalid");
            }
            TestResult::Acceptable => self.acceptable += 1,
        }
    }
}

#[test]
fn rsa_pkcs1_signatures_are_judged_as_wycheproof_judges_them() {
    use rsa_pkcs1_verify::{TestFlag, TestName, TestSet};
    let mut tally = Tally::default();
    for name in [
        TestName::Rsa2048Sha256,
        TestName::Rsa2048Sha384,
        TestName::Rsa2048Sha512,
        TestName::Rsa3072Sha256,
        TestName::Rsa3072Sha384,
        TestName::Rsa3072Sha512,
        TestName::Rsa4096Sha256,
        TestName::Rsa4096Sha384,
        TestName::Rsa4096Sha512,
        TestName::Rsa8192Sha256,
        TestName::Rsa8192Sha384,
        TestName::Rsa8192Sha512,
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::read(&group.der).unwrap();
            let scheme = Scheme::RsaPkcs1(of(group.hash).unwrap());
            for test in group.tests {
                let what = format!("{name:?} {}", test.tc_id);
                // Acceptable: the NULL is missing in the digest's identifier. Refused here.
                if test.result == TestResult::Acceptable {
                    assert!(test.flags.contains(&TestFlag::MissingNull), "{what}");
                    assert!(!key.verifies(scheme, &test.msg, &test.sig).unwrap(), "{what}");
                }
                tally.ask(&what, test.result, &key, scheme, &test.msg, &test.sig);
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.valid >= 80 && tally.invalid >= 2000, "{tally:?}");
}

#[test]
fn rsa_pss_signatures_are_judged_as_wycheproof_judges_them() {
    use rsa_pss_verify::{TestName, TestSet};
    let mut tally = Tally::default();
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha384Mgf1SaltLen48,
        TestName::RsaPss4096Sha512Mgf1SaltLen64,
        TestName::RsaPss2048Sha256Mgf1SaltLen32WithParams,
        TestName::RsaPss3072Sha256Mgf1SaltLen32WithParams,
        TestName::RsaPss4096Sha512Mgf1SaltLen64WithParams,
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            // The sets with parameters have keys of kind id-RSASSA-PSS, the others of kind rsaEncryption.
            let key = PublicKey::read(&group.der).unwrap();
            let restricted = matches!(key, PublicKey::RsaPss { digest: Some(_), .. });
            assert_eq!(restricted, format!("{name:?}").ends_with("WithParams"));
            let scheme = Scheme::RsaPss(of(group.hash).unwrap());
            for test in group.tests {
                let what = format!("{name:?} {}", test.tc_id);
                tally.ask(&what, test.result, &key, scheme, &test.msg, &test.sig);
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.valid >= 100 && tally.invalid >= 200 && tally.acceptable == 0, "{tally:?}");
}

#[test]
fn keys_whose_parameters_do_not_belong_together_are_not_read() {
    use rsa_pss_verify::{TestName, TestSet};
    for name in [
        TestName::RsaPss2048Sha1Mgf1SaltLen20WithParams,
        TestName::RsaPss2048Sha256Mgf1SaltLen0WithParams,
        TestName::RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams,
        TestName::RsaPss4096Sha512Mgf1SaltLen32WithParams,
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            assert!(PublicKey::read(&group.der).is_err(), "{name:?}");
        }
    }
}

#[test]
fn ecdsa_signatures_are_judged_as_wycheproof_judges_them() {
    use ecdsa::{TestName, TestSet};
    let mut tally = Tally::default();
    for name in [
        TestName::EcdsaSecp256r1Sha256,
        TestName::EcdsaSecp256r1Sha512,
        TestName::EcdsaSecp384r1Sha256,
        TestName::EcdsaSecp384r1Sha384,
        TestName::EcdsaSecp384r1Sha512,
        TestName::EcdsaSecp521r1Sha512,
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::read(&group.der).unwrap();
            let scheme = Scheme::Ecdsa(of(group.hash).unwrap());
            for test in group.tests {
                let what = format!("{name:?} {}", test.tc_id);
                tally.ask(&what, test.result, &key, scheme, &test.msg, &test.sig);
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.valid >= 500 && tally.invalid >= 1000 && tally.acceptable == 0, "{tally:?}");
}

#[test]
fn ed25519_signatures_are_judged_as_wycheproof_judges_them() {
    use eddsa::{TestName, TestSet};
    let mut tally = Tally::default();
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = PublicKey::read(&group.der).unwrap();
        for test in group.tests {
            let what = format!("Ed25519 {}", test.tc_id);
            tally.ask(&what, test.result, &key, Scheme::Ed25519, &test.msg, &test.sig);
        }
    }
    println!("{tally:?}");
    assert!(tally.valid >= 50 && tally.invalid >= 50 && tally.acceptable == 0, "{tally:?}");
}
