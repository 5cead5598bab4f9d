//! What a signature file must cover of the manifest, and a manifest of the entries: by which digests, and which of them
//! are good enough.

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
use mexe_forge::jar::{JarBuilder, SignOptions, pack};
use mexe_model::{Reason, SecurityDomain};
use support::*;

/// The package with a section more in its manifest, which no signer covers and which claims no entry.
fn with_another_section(jar: &JarBuilder, world: &World) -> Vec<u8> {
    let mut parts = jar.sign_parts(&[("A", &world.signer)]).unwrap();
    part(&mut parts, "META-INF/MANIFEST.MF").extend_from_slice(b"Name: com/\r\nSealed: true\r\n\r\n");
    pack(&parts).unwrap()
}

#[test]
fn a_manifest_that_grew_is_judged_by_its_sections() {
    let world = World::new(RootKind::Operator);
    assert_verified(&with_another_section(&sample(), &world), &world.store, SecurityDomain::Operator);
    // Without a digest of it, nobody knows whether the main section is the one that was signed.
    let options = SignOptions { main_attributes: false, ..SignOptions::default() };
    let jar = sample().options(options);
    assert_verified(&jar.sign(&world.signer).unwrap(), &world.store, SecurityDomain::Operator);
    assert_refused(&with_another_section(&jar, &world), &world.store, Reason::SignatureWrong);
}

#[test]
fn a_signature_file_without_the_digest_of_the_whole_manifest_needs_that_of_the_main_section() {
    let world = World::new(RootKind::Operator);
    let options = SignOptions { whole_manifest: false, ..SignOptions::default() };
    let package = sample().options(options.clone()).sign(&world.signer).unwrap();
    assert_verified(&package, &world.store, SecurityDomain::Operator);
    let options = SignOptions { main_attributes: false, ..options };
    let package = sample().options(options).sign(&world.signer).unwrap();
    assert_refused(&package, &world.store, Reason::SignatureWrong);
}

#[test]
fn an_unknown_digest_alone_is_not_accepted_and_beside_a_known_one_is_ignored() {
    let world = World::new(RootKind::Operator);
    // The forge takes SHA-256 for names that it does not know, which serves here.
    for (digests, reason) in [(vec!["MD5"], Some(Reason::AlgorithmWeak)), (vec!["MD5", "SHA-256"], None)] {
        let options = SignOptions { digests, ..SignOptions::default() };
        let package = sample().options(options).sign(&world.signer).unwrap();
        assert_eq!(judge(&package, &world.store).verdict.reason(), reason);
    }
}

#[test]
fn a_wrong_digest_beside_a_right_one_is_wrong() {
    let world = World::new(RootKind::Operator);
    // What stands there as SHA-512 is a SHA-256, so never right.
    let options = SignOptions { digests: vec!["SHA-256", "SHA512"], ..SignOptions::default() };
    let package = sample().options(options).sign(&world.signer).unwrap();
    assert_refused(&package, &world.store, Reason::SignatureWrong);
}

#[test]
fn sha_1_alone_is_weak_and_beside_sha_256_both_must_be_right() {
    let world = World::new(RootKind::Operator);
    let options =
        |digests: &[&'static str]| SignOptions { digests: digests.to_vec(), ..SignOptions::default() };
    let weak = sample().options(options(&["SHA-1"]));
    assert_refused(&weak.sign(&world.signer).unwrap(), &world.store, Reason::AlgorithmWeak);
    // What is broken is said before what is weak, and no root before weak.
    let mut parts = weak.sign_parts(&[("A", &world.signer)]).unwrap();
    part(&mut parts, "data.bin")[0] ^= 1;
    assert_refused(&pack(&parts).unwrap(), &world.store, Reason::EntryChanged);
    let stranger = World::new(RootKind::Operator);
    let judged = judge(&weak.sign(&world.signer).unwrap(), &stranger.store);
    assert_eq!(judged.verdict.reason(), Some(Reason::NoRoot));

    let both = sample().options(options(&["SHA-1", "SHA-256"]));
    assert_verified(&both.sign(&world.signer).unwrap(), &world.store, SecurityDomain::Operator);
    for digests in [["SHA-384"], ["SHA-512"]] {
        let package = sample().options(options(&digests)).sign(&world.signer).unwrap();
        assert_verified(&package, &world.store, SecurityDomain::Operator);
    }
}

#[test]
fn a_changed_manifest_is_not_what_was_signed() {
    let world = World::new(RootKind::Operator);
    for (from, to) in [
        ("MExE-Name: sample", "MExE-Name: simple"),
        // Wrapped in another way: the same attributes, other bytes.
        ("MExE-Name: sample", "MExE-Name: sa\r\n mple"),
        ("Name: data.bin\r\n", "Name: data.bin\r\nX: y\r\n"),
    ] {
        let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
        let manifest = part(&mut parts, "META-INF/MANIFEST.MF");
        *manifest = String::from_utf8(manifest.clone()).unwrap().replace(from, to).into_bytes();
        assert_refused(&pack(&parts).unwrap(), &world.store, Reason::SignatureWrong);
    }
}

#[test]
fn a_signature_file_of_another_package_is_refused() {
    let world = World::new(RootKind::Operator);
    let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    let mut other = sample().attribute("X", "y").sign_parts(&[("A", &world.signer)]).unwrap();
    *part(&mut parts, "META-INF/A.SF") = part(&mut other, "META-INF/A.SF").clone();
    assert_refused(&pack(&parts).unwrap(), &world.store, Reason::SignatureWrong);
    // With its block too, the signature is right, but for another manifest.
    *part(&mut parts, "META-INF/A.EC") = part(&mut other, "META-INF/A.EC").clone();
    assert_refused(&pack(&parts).unwrap(), &world.store, Reason::SignatureWrong);
}
