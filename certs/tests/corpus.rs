//! Forged packages, sound and broken in one way each: every one has the exact verdict that the contract gives it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use mexe_certs::{Evidence, Limits, RootKind, Runtime, TrustVerdict, Untrusted};
use mexe_forge::demo::Demo;
use mexe_forge::jar::{JarBuilder, SignOptions, pack};
use mexe_forge::pki::{Authority, KeyKind, Shape};
use mexe_model::{Reason, SecurityDomain};
use support::*;

#[test]
fn each_kind_of_root_vouches_for_its_domain() {
    for kind in RootKind::ALL {
        let world = World::new(kind);
        assert_verified(&sample().sign(&world.signer).unwrap(), &world.store, kind.domain());
    }
    assert_eq!(RootKind::Administrator.domain(), SecurityDomain::ThirdParty);
}

#[test]
fn every_supported_key_and_both_forms_of_signature_verify() {
    for key in [KeyKind::Ed25519, KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048, KeyKind::Rsa3072] {
        let world = World::shaped(RootKind::Operator, &Shape::at(AT).with_key(key));
        for signed_attributes in [true, false] {
            let options = SignOptions { signed_attributes, ..SignOptions::default() };
            let package = sample().options(options).sign(&world.signer).unwrap();
            assert_verified(&package, &world.store, SecurityDomain::Operator);
        }
    }
}

#[test]
fn a_verified_package_tells_who_signed_it_and_until_when() {
    let short = Shape { not_after: later(DAY), ..Shape::at(AT) };
    let root = Authority::root("Root", &Shape::at(AT)).unwrap();
    let issuer = root.intermediate("Issuer", &short).unwrap();
    let signer = issuer.signer("Signer", &Shape::at(AT)).unwrap();
    let verification = judge(&sample().sign(&signer).unwrap(), &store(&[(RootKind::Operator, &root)]));
    let TrustVerdict::Verified(voucher) = verification.verdict else { panic!("{verification:?}") };
    assert_eq!(voucher.expires, short.not_after);
    let [signer] = voucher.signers.as_slice() else { panic!("one signer") };
    assert_eq!(signer.subject, "CN=Signer,O=mexegate demo");
    assert_eq!((signer.digest, signer.signature), ("SHA-256", "SHA256withECDSA"));
    assert_eq!(signer.root, voucher.root);
    let subjects: Vec<_> = signer.chain.iter().map(|c| c.subject.as_str()).collect();
    assert_eq!(subjects, ["CN=Signer,O=mexegate demo", "CN=Issuer,O=mexegate demo"]);
    let package = verification.package.unwrap();
    assert_eq!((package.name.as_deref(), package.version.as_deref()), (Some("sample"), Some("1.2")));
    assert_eq!(package.attribute("mexe-name"), Some("sample"));
    assert_eq!(package.runtime, Runtime::Jar);
}

#[test]
fn the_demo_has_a_verified_app_for_each_domain_and_an_unsigned_one() {
    let demo = Demo::make(AT).unwrap();
    let mut builder = mexe_certs::TrustStore::builder();
    for branch in &demo.pki.branches {
        let kind = RootKind::ALL.into_iter().find(|kind| kind.domain() == branch.domain).unwrap();
        assert!(builder.add(kind, "root.pem", branch.root.pem().as_bytes(), AT).iter().all(Result::is_ok));
    }
    let store = builder.build();
    for app in &demo.apps {
        let verification = judge(&app.package, &store);
        match (app.domain, &verification.verdict) {
            (Some(domain), TrustVerdict::Verified(voucher)) => assert_eq!(voucher.domain, domain),
            (None, TrustVerdict::Untrusted(Untrusted::Unsigned { .. })) => {}
            (_, other) => panic!("{}: {other:?}", app.name),
        }
        let package = verification.package.unwrap();
        assert_eq!(package.name.as_deref(), Some(app.name.as_str()));
        assert_eq!(package.version.as_deref(), Some("1.0"));
        let executable = package.runtime.executable().unwrap();
        let reader = std::io::Cursor::new(&app.package);
        let script =
            mexe_certs::read_entry(reader, app.package.len() as u64, executable, &Limits::default()).unwrap();
        assert!(script.starts_with(b"#!/bin/sh"));
    }
}

#[test]
fn an_unsigned_package_is_untrusted_and_still_has_a_name() {
    let world = World::new(RootKind::Operator);
    let verification = judge(&sample().unsigned().unwrap(), &world.store);
    assert!(matches!(verification.verdict, TrustVerdict::Untrusted(Untrusted::Unsigned { .. })));
    assert_eq!(verification.package.unwrap().name.as_deref(), Some("sample"));
}

#[test]
fn a_package_without_a_manifest_is_unsigned_and_nameless() {
    let world = World::new(RootKind::Operator);
    let verification = judge(&pack(&[("a".to_owned(), b"b".to_vec())]).unwrap(), &world.store);
    assert_eq!(verification.verdict.reason(), Some(Reason::Unsigned));
    assert_eq!(verification.package.unwrap().name, None);
}

#[test]
fn an_unknown_root_is_untrusted_and_names_no_signer() {
    let (world, other) = (World::new(RootKind::Operator), World::new(RootKind::Operator));
    let verification = judge(&sample().sign(&world.signer).unwrap(), &other.store);
    let TrustVerdict::Untrusted(Untrusted::NoRoot { detail, .. }) = &verification.verdict else {
        panic!("{verification:?}")
    };
    assert!(!detail.contains("CN="), "{detail}");
    assert_eq!(verification.package.unwrap().name.as_deref(), Some("sample"));
}

#[test]
fn a_chain_without_its_intermediate_leads_to_no_root() {
    let mut world = World::new(RootKind::Operator);
    world.signer.chain.truncate(1);
    let verification = judge(&sample().sign(&world.signer).unwrap(), &world.store);
    assert_eq!(verification.verdict.reason(), Some(Reason::NoRoot));
}

#[test]
fn a_root_of_the_same_name_with_another_key_does_not_vouch() {
    let world = World::new(RootKind::Operator);
    let impostor = Authority::root("Root", &Shape::at(AT)).unwrap();
    let verification =
        judge(&sample().sign(&world.signer).unwrap(), &store(&[(RootKind::Operator, &impostor)]));
    assert_eq!(verification.verdict.reason(), Some(Reason::NoRoot));
}

#[test]
fn a_root_that_comes_along_in_the_block_changes_nothing() {
    let mut world = World::new(RootKind::Manufacturer);
    world.signer.chain.push(world.root.certificate().to_vec());
    assert_verified(&sample().sign(&world.signer).unwrap(), &world.store, SecurityDomain::Manufacturer);
}

#[test]
fn a_changed_entry_is_refused() {
    let world = World::new(RootKind::Operator);
    for name in [
        "com/example/Main.class",
        "META-INF/services/com.example.Service",
        "META-INF/versions/9/com/example/Main.class",
    ] {
        let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
        part(&mut parts, name)[3] ^= 1;
        assert_refused(&pack(&parts).unwrap(), &world.store, Reason::EntryChanged);
    }
}

#[test]
fn a_tampered_package_of_an_unknown_signer_is_refused_not_untrusted() {
    let (world, other) = (World::new(RootKind::Operator), World::new(RootKind::Operator));
    let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    part(&mut parts, "data.bin")[3] ^= 1;
    assert_refused(&pack(&parts).unwrap(), &other.store, Reason::EntryChanged);
}

#[test]
fn an_unsigned_entry_is_refused_wherever_it_is() {
    let world = World::new(RootKind::Operator);
    for name in ["x", "META-INF/x", "META-INF/services/x", "META-INF/versions/9/x", "META-INF/SIG-x.class"] {
        let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
        parts.push((name.to_owned(), b"new".to_vec()));
        assert_refused(&pack(&parts).unwrap(), &world.store, Reason::EntryUnsigned);
    }
}

#[test]
fn an_entry_that_the_signature_leaves_out_is_refused() {
    let world = World::new(RootKind::Operator);
    let options = SignOptions { leave_out: vec!["data.bin".to_owned()], ..SignOptions::default() };
    let package = sample().options(options).sign(&world.signer).unwrap();
    assert_refused(&package, &world.store, Reason::EntryUnsigned);
}

#[test]
fn an_entry_added_to_the_manifest_only_is_refused() {
    let world = World::new(RootKind::Operator);
    let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    // SHA-256 of nothing.
    let section = "Name: new\r\nSHA-256-Digest: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\r\n\r\n";
    part(&mut parts, "META-INF/MANIFEST.MF").extend_from_slice(section.as_bytes());
    parts.push(("new".to_owned(), Vec::new()));
    assert_refused(&pack(&parts).unwrap(), &world.store, Reason::EntryUnsigned);
}

#[test]
fn directories_and_reserved_files_need_no_signature() {
    let world = World::new(RootKind::Operator);
    let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    parts.push(("new/".to_owned(), Vec::new()));
    parts.push(("META-INF/SIG-A".to_owned(), b"reserved".to_vec()));
    assert_verified(&pack(&parts).unwrap(), &world.store, SecurityDomain::Operator);
}

#[test]
fn a_removed_entry_is_refused() {
    let world = World::new(RootKind::Operator);
    let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    parts.retain(|(name, _)| name != "data.bin");
    assert_refused(&pack(&parts).unwrap(), &world.store, Reason::EntryMissing);
    let manifest = part(&mut parts, "META-INF/MANIFEST.MF");
    let at = manifest.windows(14).position(|w| w == b"Name: data.bin").unwrap();
    manifest.truncate(at);
    assert_refused(&pack(&parts).unwrap(), &world.store, Reason::EntryMissing);
}

#[test]
fn half_a_signature_is_never_unsigned() {
    let world = World::new(RootKind::Operator);
    let parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    for gone in ["META-INF/A.SF", "META-INF/A.EC", "META-INF/MANIFEST.MF"] {
        let left: Vec<_> = parts.iter().filter(|(name, _)| name != gone).cloned().collect();
        assert_refused(&pack(&left).unwrap(), &world.store, Reason::SignatureMalformed);
    }
    let mut two = parts.clone();
    two.push(("META-INF/A.RSA".to_owned(), Vec::new()));
    assert_refused(&pack(&two).unwrap(), &world.store, Reason::SignatureMalformed);
}

#[test]
fn a_block_that_cannot_be_read_is_refused() {
    let world = World::new(RootKind::Operator);
    for block in [&b""[..], b"\x30\x03\x02\x01\x01", b"not a block", b"\x30\x80\x00\x00"] {
        let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
        *part(&mut parts, "META-INF/A.EC") = block.to_vec();
        assert_refused(&pack(&parts).unwrap(), &world.store, Reason::SignatureMalformed);
    }
    let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    part(&mut parts, "META-INF/A.EC").push(0);
    assert_refused(&pack(&parts).unwrap(), &world.store, Reason::SignatureMalformed);
}

#[test]
fn two_signers_of_one_domain_verify_and_each_must_be_sound() {
    let world = World::new(RootKind::Operator);
    let second = world.issuer.signer("Second", &Shape::at(AT)).unwrap();
    let package = sample().sign_all(&[("A", &world.signer), ("B", &second)]).unwrap();
    let TrustVerdict::Verified(voucher) = judge(&package, &world.store).verdict else {
        panic!("not verified")
    };
    let subjects: Vec<_> = voucher.signers.iter().map(|s| s.subject.as_str()).collect();
    assert_eq!(subjects, ["CN=Signer,O=mexegate demo", "CN=Second,O=mexegate demo"]);

    let expired = Shape { not_after: earlier(60), ..Shape::at(AT) };
    let expired = world.issuer.signer("Third", &expired).unwrap();
    let package = sample().sign_all(&[("A", &world.signer), ("B", &expired)]).unwrap();
    assert_refused(&package, &world.store, Reason::CertificateExpired);

    let unknown = World::new(RootKind::Operator);
    let package = sample().sign_all(&[("A", &world.signer), ("B", &unknown.signer)]).unwrap();
    assert_eq!(judge(&package, &world.store).verdict.reason(), Some(Reason::NoRoot));
}

#[test]
fn signers_of_two_domains_are_ambiguous() {
    let (a, b) = (World::new(RootKind::Operator), World::new(RootKind::ThirdParty));
    let both = store(&[(RootKind::Operator, &a.root), (RootKind::ThirdParty, &b.root)]);
    let package = sample().sign_all(&[("A", &a.signer), ("B", &b.signer)]).unwrap();
    assert_refused(&package, &both, Reason::AmbiguousDomain);
}

#[test]
fn a_chain_that_leads_to_two_domains_is_ambiguous() {
    let mut world = World::new(RootKind::Operator);
    let other = Authority::root("Other", &Shape::at(AT)).unwrap();
    let both = store(&[(RootKind::Operator, &world.root), (RootKind::Manufacturer, &other)]);
    world.signer.chain.push(world.root.cross_signed_by(&other, "Root", &Shape::at(AT)).unwrap());
    assert_refused(&sample().sign(&world.signer).unwrap(), &both, Reason::AmbiguousDomain);
    // Within one domain it is only another way up.
    let same = store(&[(RootKind::Operator, &world.root), (RootKind::Operator, &other)]);
    assert_verified(&sample().sign(&world.signer).unwrap(), &same, SecurityDomain::Operator);
}

#[test]
fn validity_is_asked_of_every_certificate_at_the_time_given() {
    let past = Shape { not_after: earlier(60), ..Shape::at(AT) };
    let future = Shape { not_before: later(60), ..Shape::at(AT) };
    for (shape, reason, good_at) in [
        (&past, Reason::CertificateExpired, earlier(120)),
        (&future, Reason::CertificateNotYetValid, later(120)),
    ] {
        let sound = Shape::at(AT);
        let root = Authority::root("Root", &sound).unwrap();
        let roots = store(&[(RootKind::Operator, &root)]);
        let leaf = root.signer("Signer", shape).unwrap();
        let below = root.intermediate("Issuer", shape).unwrap().signer("Signer", &sound).unwrap();
        for signer in [leaf, below] {
            let package = sample().sign(&signer).unwrap();
            assert_refused(&package, &roots, reason);
            assert_eq!(judge_at(&package, &roots, good_at).verdict.reason(), None);
        }
        // The root's own validity counts as well, although it is kept in the store.
        let root = Authority::root("Root", shape).unwrap();
        let mut builder = mexe_certs::TrustStore::builder();
        assert!(builder.add(RootKind::Operator, "r.pem", root.pem().as_bytes(), AT)[0].is_err());
        let roots = builder.build();
        let package = sample().sign(&root.signer("Signer", &sound).unwrap()).unwrap();
        assert_refused(&package, &roots, reason);
        assert_eq!(judge_at(&package, &roots, good_at).verdict.reason(), None);
    }
}

#[test]
fn only_certificates_for_signing_code_vouch() {
    let no_purpose = Shape { code_signing: false, ..Shape::at(AT) };
    let no_signing = Shape { digital_signature: false, ..Shape::at(AT) };
    for shape in [no_purpose, no_signing] {
        let world = World::shaped(RootKind::Operator, &shape);
        let package = sample().sign(&world.signer).unwrap();
        assert_refused(&package, &world.store, Reason::UsageNotCodeSigning);
    }
}

#[test]
fn other_purposes_neither_help_nor_harm_and_an_authority_must_not_exclude_signing_code() {
    // 1.3.6.1.4.1.55555.1: an arc that webpki 0.103 would print, and compare in decimal, as another number.
    let private = vec![1, 3, 6, 1, 4, 1, 55555, 1];
    let sound = Shape::at(AT);
    let with = |code_signing| Shape { code_signing, other_purpose: Some(private.clone()), ..sound.clone() };
    let world = World::shaped(RootKind::Operator, &with(true));
    assert_verified(&sample().sign(&world.signer).unwrap(), &world.store, SecurityDomain::Operator);
    let world = World::shaped(RootKind::Operator, &with(false));
    assert_refused(&sample().sign(&world.signer).unwrap(), &world.store, Reason::UsageNotCodeSigning);
    let signer = world.root.intermediate("Issuer", &with(false)).unwrap().signer("Signer", &sound).unwrap();
    assert_refused(&sample().sign(&signer).unwrap(), &world.store, Reason::UsageNotCodeSigning);
    // id-kp-codeSigning itself, 1.3.6.1.5.5.7.3.3, on the authority.
    let allowed = Shape { other_purpose: Some(vec![1, 3, 6, 1, 5, 5, 7, 3, 3]), ..sound.clone() };
    let signer = world.root.intermediate("Issuer", &allowed).unwrap().signer("Signer", &sound).unwrap();
    assert_verified(&sample().sign(&signer).unwrap(), &world.store, SecurityDomain::Operator);
}

#[test]
fn expiry_comes_before_usage() {
    let shape = Shape { code_signing: false, not_after: earlier(60), ..Shape::at(AT) };
    let world = World::shaped(RootKind::Operator, &shape);
    assert_refused(&sample().sign(&world.signer).unwrap(), &world.store, Reason::CertificateExpired);
}

#[test]
fn an_authority_does_not_sign_code_and_a_signer_is_no_authority() {
    let sound = Shape::at(AT);
    let root = Authority::root("Root", &Shape { path_length: Some(0), ..sound.clone() }).unwrap();
    let roots = store(&[(RootKind::Operator, &root)]);
    let too_long = root.intermediate("Issuer", &sound).unwrap().signer("Signer", &sound).unwrap();
    assert_refused(&sample().sign(&too_long).unwrap(), &roots, Reason::CertificateMalformed);
    assert_verified(
        &sample().sign(&root.signer("Signer", &sound).unwrap()).unwrap(),
        &roots,
        SecurityDomain::Operator,
    );
}

#[test]
fn a_private_extension_is_accepted_unless_it_is_critical() {
    let shape = |critical| Shape { extension: Some(critical), ..Shape::at(AT) };
    let world = World::shaped(RootKind::Operator, &shape(false));
    assert_verified(&sample().sign(&world.signer).unwrap(), &world.store, SecurityDomain::Operator);
    let world = World::shaped(RootKind::Operator, &shape(true));
    assert_refused(&sample().sign(&world.signer).unwrap(), &world.store, Reason::CertificateMalformed);
}

#[test]
fn a_native_package_names_a_program_that_is_signed() {
    let world = World::new(RootKind::Operator);
    let native = |executable: Option<&str>| {
        let jar = sample().attribute("MExE-Runtime", "native");
        executable.into_iter().fold(jar, |jar, executable| jar.attribute("MExE-Executable", executable))
    };
    let verification = judge(&native(Some("data.bin")).sign(&world.signer).unwrap(), &world.store);
    assert_eq!(verification.package.unwrap().runtime, Runtime::Native { executable: "data.bin".to_owned() });
    for executable in
        [None, Some("absent"), Some("com/"), Some("META-INF/SIGNER.SF"), Some("META-INF/MANIFEST.MF")]
    {
        let package = native(executable).sign(&world.signer).unwrap();
        assert_refused(&package, &world.store, Reason::ManifestMalformed);
    }
    let package = sample().attribute("MExE-Runtime", "shell").sign(&world.signer).unwrap();
    assert_refused(&package, &world.store, Reason::ManifestMalformed);
}

#[test]
fn the_name_is_taken_in_the_order_of_the_contract() {
    let world = World::new(RootKind::Operator);
    let named = |attributes: &[(&str, &str)]| {
        let jar = attributes.iter().fold(JarBuilder::new(), |jar, (name, value)| jar.attribute(name, value));
        let package = judge(&jar.entry("a", "b").unsigned().unwrap(), &world.store).package.unwrap();
        (package.name.unwrap_or_default(), package.version.unwrap_or_default())
    };
    let title = ("Implementation-Title", "title");
    let midlet = ("MIDlet-Name", "midlet");
    assert_eq!(named(&[title, midlet, ("MExE-Name", "mexe")]).0, "mexe");
    assert_eq!(named(&[title, midlet]).0, "midlet");
    assert_eq!(named(&[title]).0, "title");
    assert_eq!(named(&[]).0, "");
    assert_eq!(named(&[("MIDlet-Version", "2"), ("Implementation-Version", "3")]).1, "2");
}

#[test]
fn the_digest_is_that_of_the_whole_package() {
    let world = World::new(RootKind::Operator);
    let package = sample().sign(&world.signer).unwrap();
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &package);
    assert_eq!(judge(&package, &world.store).digest, expected.as_ref());
}

#[test]
fn a_size_that_is_not_the_packages_is_refused() {
    let world = World::new(RootKind::Operator);
    let package = sample().sign(&world.signer).unwrap();
    for size in [package.len() as u64 - 1, package.len() as u64 + 1] {
        let judged = mexe_certs::verify(
            std::io::Cursor::new(&package),
            size,
            Evidence::Inside,
            &world.store,
            AT,
            &Limits::default(),
        );
        assert_eq!(judged.verdict.reason(), Some(Reason::ContainerMalformed));
    }
}

#[test]
fn limits_are_kept() {
    let world = World::new(RootKind::Operator);
    let package = sample().sign(&world.signer).unwrap();
    let sound = Limits::default();
    for (limits, reason) in [
        (Limits { package: 100, ..sound }, Reason::PackageTooLarge),
        (Limits { inflated_entry: 2999, ..sound }, Reason::PackageTooLarge),
        (Limits { inflated_total: 3000, ..sound }, Reason::PackageTooLarge),
        (Limits { manifest: 10, ..sound }, Reason::PackageTooLarge),
        (Limits { signature: 10, ..sound }, Reason::PackageTooLarge),
        (Limits { entries: 3, ..sound }, Reason::TooCostly),
        (Limits { signers: 0, ..sound }, Reason::TooCostly),
    ] {
        let reader = std::io::Cursor::new(&package);
        let judged =
            mexe_certs::verify(reader, package.len() as u64, Evidence::Inside, &world.store, AT, &limits);
        assert_eq!(judged.verdict.reason(), Some(reason), "{limits:?}");
    }
}

#[test]
fn a_search_with_too_many_ways_is_given_up() {
    let sound = Shape::at(AT);
    let signer = Authority::root("Root", &sound).unwrap().signer("Signer", &sound).unwrap();
    let package = sample().sign(&signer).unwrap();
    let mut builder = mexe_certs::TrustStore::builder();
    for count in 1..=201 {
        let root = Authority::root("Root", &sound).unwrap();
        assert!(builder.add(RootKind::Operator, "r.pem", root.certificate(), AT)[0].is_ok(), "{count}");
    }
    assert_refused(&package, &builder.build(), Reason::TooCostly);
}
