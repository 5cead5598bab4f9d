//! Signature blocks that are broken in one way each, with a signature that is right for what stands in them: only one
//! reading of a block is accepted, and it is the strict one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use mexe_certs::RootKind;
use mexe_forge::jar::{Defect, SignOptions, pack};
use mexe_forge::pki::{KeyKind, Shape};
use mexe_model::{Reason, SecurityDomain};
use support::*;

fn with(defect: Defect) -> SignOptions {
    SignOptions { defect, ..SignOptions::default() }
}

#[test]
fn every_defect_of_a_block_is_refused_by_its_reason() {
    let world = World::new(RootKind::Operator);
    for (defect, reason) in [
        (Defect::AttributeTwice, Reason::SignatureMalformed),
        (Defect::AttributesUnsorted, Reason::SignatureMalformed),
        (Defect::AttributesUnsortedAfterwards, Reason::SignatureMalformed),
        (Defect::ContentTypeMissing, Reason::SignatureMalformed),
        (Defect::ContentTypeUnsigned, Reason::SignatureMalformed),
        (Defect::ContentTypeWrong, Reason::SignatureMalformed),
        (Defect::ContentInside, Reason::SignatureMalformed),
        (Defect::DigestMissing, Reason::SignatureMalformed),
        (Defect::DigestWrong, Reason::SignatureWrong),
        (Defect::ProtectionWrong, Reason::SignatureMalformed),
        (Defect::SignerTwice, Reason::SignatureMalformed),
        (Defect::SignerMissing, Reason::SignatureMalformed),
    ] {
        let package = sample().options(with(defect)).sign(&world.signer).unwrap();
        println!("{defect:?}: {:?}", judge(&package, &world.store).verdict);
        assert_refused(&package, &world.store, reason);
    }
}

#[test]
fn unsigned_attributes_are_tolerated_and_change_nothing() {
    let world = World::new(RootKind::Operator);
    let package = sample().options(with(Defect::UnsignedAttributes)).sign(&world.signer).unwrap();
    assert_verified(&package, &world.store, SecurityDomain::Operator);
}

#[test]
fn the_order_of_certificates_does_not_matter_but_the_signers_must_be_there() {
    let world = World::new(RootKind::Operator);
    // The signature block names its signer by the first certificate, so sign first, and exchange them afterwards.
    let parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    let [leaf, issuer] = [world.signer.chain[0].clone(), world.signer.chain[1].clone()];
    let exchanged = |from: &[u8], to: &[u8]| {
        let mut parts = parts.clone();
        let block = part(&mut parts, "META-INF/A.EC");
        let at = block.windows(from.len()).position(|w| w == from).unwrap();
        block.splice(at..at + from.len(), to.iter().copied());
        pack(&parts).unwrap()
    };
    let forwards = [leaf.clone(), issuer.clone()].concat();
    let backwards = [issuer, leaf].concat();
    assert_verified(&exchanged(&forwards, &backwards), &world.store, SecurityDomain::Operator);
    // Nothing signs who the signer is said to be; that certificate must be there.
    let mut parts = parts.clone();
    let block = part(&mut parts, "META-INF/A.EC");
    let serial = x509_serial(&world.signer.chain[0]);
    let at = (0..block.len()).rev().find(|at| block[*at..].starts_with(&serial)).unwrap();
    block[at + 3] ^= 1;
    assert_refused(&pack(&parts).unwrap(), &world.store, Reason::SignatureMalformed);
}

fn x509_serial(certificate: &[u8]) -> Vec<u8> {
    use der::Decode;
    let certificate = x509_cert::Certificate::from_der(certificate).unwrap();
    certificate.tbs_certificate().serial_number().as_bytes().to_vec()
}

#[test]
fn a_signature_by_another_key_is_wrong_with_and_without_attributes() {
    for key in [KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048, KeyKind::Ed25519] {
        let world = World::shaped(RootKind::Operator, &Shape::at(AT).with_key(key));
        let mut other = world.issuer.signer("Signer", &Shape::at(AT).with_key(key)).unwrap();
        // The certificate of one, the key of the other.
        other.chain = world.signer.chain.clone();
        for signed_attributes in [true, false] {
            let options = SignOptions { signed_attributes, ..SignOptions::default() };
            let package = sample().options(options).sign(&other).unwrap();
            assert_refused(&package, &world.store, Reason::SignatureWrong);
        }
    }
}

#[test]
fn too_many_certificates_are_refused() {
    let mut world = World::new(RootKind::Operator);
    let issuer = world.signer.chain[1].clone();
    world.signer.chain.extend(std::iter::repeat_n(issuer.clone(), 14));
    assert_verified(&sample().sign(&world.signer).unwrap(), &world.store, SecurityDomain::Operator);
    world.signer.chain.push(issuer);
    assert_refused(&sample().sign(&world.signer).unwrap(), &world.store, Reason::SignatureMalformed);
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let mut world = World::new(RootKind::Operator);
    world.signer.chain.push(vec![0x30, 0x03, 0x02, 0x01, 0x01]);
    assert_refused(&sample().sign(&world.signer).unwrap(), &world.store, Reason::CertificateMalformed);
}
