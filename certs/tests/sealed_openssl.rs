//! Signed messages against openssl: what forge makes, `openssl cms -verify` accepts; what `openssl cms -sign` makes over our
//! content, we accept; and where we refuse what openssl takes, it is by the profile and named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests that run outside tools"
)]

#[path = "support/java.rs"]
mod java;
mod support;

use java::{Workshop, succeeds};
use mexe_certs::ccm::{Applied, CcmLimits, CcmState, Receiver, apply};
use mexe_certs::rotation::{Claim, judge_rotation};
use mexe_certs::{Fingerprint, Refusal, RootKind, TrustStore};
use mexe_forge::ccm::{Message, SealDefect, delegate};
use mexe_forge::pki::{Authority, KeyKind, Shape, Signer};
use mexe_forge::rotation::Statement;
use mexe_forge::sealed::key_hash;
use mexe_model::{Reason, SecurityDomain};
use support::{AT, store};

const CCM: &str = "2.25.230570099.2";
const ROTATION: &str = "2.25.230570099.3";
/// openssl 3.0 signs no CMS with Ed25519.
const KINDS: [KeyKind; 4] = [KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048, KeyKind::Rsa3072];

/// What `openssl cms -verify` finds signed, or its complaint.
fn verified_by_openssl(shop: &Workshop, message: &[u8], root: &Authority) -> Result<Vec<u8>, String> {
    shop.write("message.der", message);
    shop.write("root.pem", root.pem());
    let mut command = shop.tool("openssl");
    command.args(["cms", "-verify", "-binary", "-inform", "DER", "-in", "message.der", "-out", "content"]);
    // The purposes are ours; openssl knows them not.
    command.args(["-CAfile", "root.pem", "-purpose", "any", "-attime", &AT.as_secs().to_string()]);
    let output = command.output().expect("openssl is installed");
    if output.status.success() {
        Ok(shop.read("content"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Signs `content` with `openssl cms -sign`.
fn signed_by_openssl(shop: &Workshop, signer: &Signer, kind: &str, content: &[u8], how: &str) -> Vec<u8> {
    shop.write("signer.pem", mexe_forge::pki::pem("CERTIFICATE", signer.certificate()));
    shop.write("key.pem", signer.key_pem());
    shop.write("content.der", content);
    let mut command = shop.tool("openssl");
    command.args(["cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-econtent_type", kind]);
    command.args(["-signer", "signer.pem", "-inkey", "key.pem", "-in", "content.der", "-out", "signed.der"]);
    command.args(how.split_whitespace());
    succeeds(command);
    shop.read("signed.der")
}

fn applied(message: &[u8], store: &TrustStore) -> Result<Applied, Refusal> {
    let receiver = Receiver { device: "device-17", home_network: None };
    apply(message, &CcmState::default(), &store.roots()[0], receiver, AT, &CcmLimits::default())
}

fn message(arpk: &Authority) -> Message {
    Message::new(arpk.certificate(), "device-17", 1, AT).unwrap().replace_all(&[arpk.certificate()])
}

#[test]
fn openssl_accepts_what_forge_makes_and_refuses_what_forge_breaks() {
    let shop = Workshop::new();
    for kind in KINDS {
        let arpk = Authority::root("Administrator", &Shape::at(AT).with_key(kind)).unwrap();
        let deputy = delegate(&arpk, "Deputy", &Shape::at(AT).with_key(kind)).unwrap();
        let message = message(&arpk);
        for signer in [arpk.as_signer().unwrap(), deputy] {
            let signed = message.sign(&signer).unwrap();
            assert_eq!(
                verified_by_openssl(&shop, &signed, &arpk),
                Ok(message.content().unwrap()),
                "{kind:?}"
            );
        }
    }
    let arpk = Authority::root("Administrator", &Shape::at(AT)).unwrap();
    let store = store(&[(RootKind::Administrator, &arpk)]);
    let signer = arpk.as_signer().unwrap();
    for defect in SealDefect::ALL {
        let signed = message(&arpk).sign_with(&signer, defect).unwrap();
        let (ours, theirs) = (applied(&signed, &store), verified_by_openssl(&shop, &signed, &arpk));
        // Ours is never the laxer one.
        if ours.is_ok() && defect != SealDefect::NoCertificates {
            assert!(theirs.is_ok(), "{defect:?}: {theirs:?}");
        }
        if matches!(defect, SealDefect::ContentChanged | SealDefect::SignatureChanged) {
            assert!(theirs.is_err(), "{defect:?}");
        }
    }
}

#[test]
fn what_openssl_signs_over_our_content_is_applied() {
    let shop = Workshop::new();
    let mut count = 0;
    for kind in KINDS {
        let arpk = Authority::root("Administrator", &Shape::at(AT).with_key(kind)).unwrap();
        let store = store(&[(RootKind::Administrator, &arpk)]);
        let deputy = delegate(&arpk, "Deputy", &Shape::at(AT).with_key(kind)).unwrap();
        let content = message(&arpk).content().unwrap();
        let mut ways = vec!["", "-nosmimecap", "-md sha256", "-md sha384", "-md sha512"];
        if matches!(kind, KeyKind::Rsa2048 | KeyKind::Rsa3072) {
            ways.push("-keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:digest -md sha256");
        }
        for signer in [arpk.as_signer().unwrap(), deputy] {
            for how in &ways {
                let signed = signed_by_openssl(&shop, &signer, CCM, &content, how);
                let ccm = applied(&signed, &store).unwrap_or_else(|r| panic!("{kind:?} {how}: {r}")).ccm;
                assert_eq!(ccm.digest, Fingerprint::of(&content));
                count += 1;
            }
        }
        let itself = arpk.as_signer().unwrap();
        let bare = signed_by_openssl(&shop, &itself, CCM, &content, "-nocerts");
        assert_eq!(applied(&bare, &store).unwrap().ccm.sequence, 1, "the administrator's own is known");
    }
    assert_eq!(count, 44);
}

#[test]
fn what_the_profile_does_not_take_from_openssl_is_refused_by_name() {
    let shop = Workshop::new();
    let arpk = Authority::root("Administrator", &Shape::at(AT).with_key(KeyKind::Rsa2048)).unwrap();
    let store = store(&[(RootKind::Administrator, &arpk)]);
    let signer = arpk.as_signer().unwrap();
    let deputy = delegate(&arpk, "Deputy", &Shape::at(AT)).unwrap();
    let content = message(&arpk).content().unwrap();
    for (signer, kind, how, reason) in [
        (&signer, CCM, "-noattr", Reason::CcmMalformed),
        (&signer, CCM, "-keyid", Reason::CcmMalformed),
        (&signer, CCM, "-md sha1", Reason::AlgorithmWeak),
        (&signer, "1.2.840.113549.1.7.1", "", Reason::CcmMalformed),
        (&signer, ROTATION, "", Reason::CcmMalformed),
        (&deputy, CCM, "-nocerts", Reason::CcmWrongSigner),
    ] {
        let signed = signed_by_openssl(&shop, signer, kind, &content, how);
        assert_eq!(applied(&signed, &store).unwrap_err().reason, reason, "{kind} {how}");
        if how != "-nocerts" {
            assert_eq!(verified_by_openssl(&shop, &signed, &arpk), Ok(content.clone()), "{kind} {how}");
        }
    }
}

#[test]
fn rotation_statements_agree_with_openssl_both_ways() {
    let shop = Workshop::new();
    for kind in KINDS {
        let root = Authority::root("Root", &Shape::at(AT)).unwrap();
        let [old, new] = ["Old", "New"].map(|n| root.signer(n, &Shape::at(AT).with_key(kind)).unwrap());
        let domain = SecurityDomain::Operator;
        let statement = Statement::new(domain, "sample", old.certificate(), new.certificate(), AT).unwrap();
        let content = statement.content().unwrap();
        let ours = statement.sign(&old, SealDefect::None).unwrap();
        assert_eq!(verified_by_openssl(&shop, &ours, &root), Ok(content.clone()), "{kind:?}");
        let [old_key, new_key] = [&old, &new].map(|s| Fingerprint(key_hash(s.certificate()).unwrap()));
        let claim = Claim { old_key, new_key, domain, name: "sample", at: AT, barred: &|_| false };
        let theirs = signed_by_openssl(&shop, &old, ROTATION, &content, "");
        assert_eq!(judge_rotation(&[theirs], &claim), Ok(()), "{kind:?}");
        let by_new = signed_by_openssl(&shop, &new, ROTATION, &content, "");
        assert_eq!(judge_rotation(&[by_new], &claim).unwrap_err().reason, Reason::RotationWrong);
    }
}
