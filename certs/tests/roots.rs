//! Which certificates may be roots of the device; each that may not is named by its file and problem, the others stay.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use mexe_certs::{Provenance, RootKind, TrustStore};
use mexe_forge::pki::{Authority, KeyKind, Shape, pem};
use mexe_model::Reason;
use support::*;

fn root(name: &str) -> Authority {
    Authority::root(name, &Shape::at(AT)).unwrap()
}

/// The code of the one problem with these bytes.
fn problem(bytes: &[u8]) -> &'static str {
    let mut builder = TrustStore::builder();
    let added = builder.add(RootKind::Operator, "operator/x.pem", bytes, AT);
    let [Err(problem)] = added.as_slice() else { panic!("{added:?}") };
    let text = problem.to_string();
    assert!(text.starts_with("`operator/x.pem`: ") && !text.ends_with('.') && !text.contains('\n'), "{text}");
    problem.code()
}

#[test]
fn roots_are_read_from_der_and_from_pem_with_several() {
    let (a, b) = (root("A"), root("B"));
    for key in [KeyKind::Rsa2048, KeyKind::P384, KeyKind::Ed25519] {
        let c = Authority::root("C", &Shape::at(AT).with_key(key)).unwrap();
        let mut builder = TrustStore::builder();
        assert!(builder.add(RootKind::Operator, "c.der", c.certificate(), AT)[0].is_ok());
    }
    let both = format!("a comment\n{}and another\n{}", a.pem(), b.pem().replace('\n', "\r\n"));
    let mut builder = TrustStore::builder();
    let added = builder.add(RootKind::ThirdParty, "both.pem", both.as_bytes(), AT);
    let store = builder.build();
    assert_eq!(added.len(), 2);
    for (added, (stored, authority)) in added.iter().zip(store.roots().iter().zip([&a, &b])) {
        assert_eq!(added.as_ref().unwrap(), stored.id());
        assert_eq!(stored.der(), authority.certificate());
        assert_eq!((stored.kind(), stored.source()), (RootKind::ThirdParty, "both.pem"));
        let over = mexe_model::WallTime::from_secs(stored.not_after().as_secs() + 1);
        assert!(
            stored.is_valid_at(AT) && stored.is_valid_at(stored.not_after()) && !stored.is_valid_at(over)
        );
        assert_eq!(store.root(stored.id()).unwrap().subject(), stored.subject());
    }
    assert_eq!(store.roots()[0].subject(), "CN=A,O=mexegate demo");
}

#[test]
fn a_bad_file_is_named_by_its_problem() {
    let good = root("A");
    assert_eq!(problem(b""), "root-no-certificate");
    assert_eq!(problem(b"just text"), "root-malformed");
    assert_eq!(
        problem(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
        "root-no-certificate"
    );
    assert_eq!(problem(b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n"), "root-malformed");
    assert_eq!(problem(b"-----BEGIN CERTIFICATE-----\nAAAA\n"), "root-malformed");
    assert_eq!(problem(pem("CERTIFICATE", &good.certificate()[..100]).as_bytes()), "root-malformed");
    assert_eq!(problem(good.key_pem().as_bytes()), "root-private-key");
    assert_eq!(problem(good.signer("S", &Shape::at(AT)).unwrap().certificate()), "root-not-an-authority");
    let expired = Shape { not_after: earlier(1), ..Shape::at(AT) };
    assert_eq!(problem(Authority::root("E", &expired).unwrap().certificate()), "root-expired");
    let future = Shape { not_before: later(1), ..Shape::at(AT) };
    assert_eq!(problem(Authority::root("F", &future).unwrap().certificate()), "root-not-yet-valid");
    let mut damaged = good.certificate().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(problem(&damaged), "root-malformed");
}

#[test]
fn a_bad_root_keeps_no_good_one_out() {
    let (a, b) = (root("A"), root("B"));
    let bad = pem("CERTIFICATE", b"nonsense");
    let mut builder = TrustStore::builder();
    let file = [a.pem(), bad, b.pem()].concat();
    let added = builder.add(RootKind::Operator, "x.pem", file.as_bytes(), AT);
    assert_eq!(added.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(builder.build().roots().len(), 2);
}

#[test]
fn a_key_of_two_domains_is_off_in_both() {
    let root = root("A");
    let package = sample().sign(&root.signer("S", &Shape::at(AT)).unwrap()).unwrap();
    let mut builder = TrustStore::builder();
    assert!(builder.add(RootKind::Operator, "operator/a.pem", root.certificate(), AT)[0].is_ok());
    for (kind, other) in [(RootKind::Manufacturer, "m.pem"), (RootKind::Operator, "again.pem")] {
        let added = builder.add(kind, other, root.certificate(), AT);
        let problem = added[0].as_ref().unwrap_err();
        assert_eq!(problem.code(), "root-in-two-domains");
        let text = problem.to_string();
        assert!(text.contains(other) && text.contains("operator/a.pem"), "{text}");
    }
    let store = builder.build();
    assert!(store.roots().is_empty());
    assert_eq!(judge(&package, &store).verdict.reason(), Some(Reason::NoRoot));
}

#[test]
fn a_cards_claim_on_a_root_of_the_device_is_nothing() {
    let root = root("A");
    let package = sample().sign(&root.signer("S", &Shape::at(AT)).unwrap()).unwrap();
    let claims = [
        (Provenance::Usim, RootKind::Operator),
        (Provenance::Device, RootKind::ThirdParty),
        (Provenance::Usim, RootKind::Manufacturer),
    ];
    let mut builder = TrustStore::builder();
    for (provenance, kind) in claims {
        builder.add_from(provenance, kind, "a", root.certificate(), AT);
    }
    let store = builder.build();
    assert_eq!(store.roots().iter().map(|root| root.provenance()).collect::<Vec<_>>(), [Provenance::Device]);
    assert_verified(&package, &store, mexe_model::SecurityDomain::ThirdParty);
}

#[test]
fn the_same_root_twice_in_one_domain_is_one() {
    let root = root("A");
    let mut builder = TrustStore::builder();
    for source in ["a.pem", "b.pem"] {
        assert!(builder.add(RootKind::Operator, source, root.certificate(), AT)[0].is_ok());
    }
    assert_eq!(builder.build().roots().len(), 1);
}

#[test]
fn administrator_and_third_party_roots_share_a_domain() {
    let root = root("A");
    let mut builder = TrustStore::builder();
    for kind in [RootKind::ThirdParty, RootKind::Administrator] {
        assert!(builder.add(kind, "a.pem", root.certificate(), AT)[0].is_ok());
    }
    let package = sample().sign(&root.signer("S", &Shape::at(AT)).unwrap()).unwrap();
    assert_verified(&package, &builder.build(), mexe_model::SecurityDomain::ThirdParty);
}
