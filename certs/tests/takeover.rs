//! Attacks on who vouches: authorities of the same name, keys certified by two domains, and packages that cost too much.

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
use mexe_forge::pki::{Authority, ListShape, Shape};
use mexe_model::{Reason, SecurityDomain};
use support::*;

fn root(name: &str) -> Authority {
    Authority::root(name, &Shape::at(AT)).unwrap()
}

#[test]
fn a_same_named_authority_of_another_domain_takes_nothing_over() {
    let (operator, impostor) = (root("Root"), root("Root"));
    let store = store(&[(RootKind::ThirdParty, &impostor), (RootKind::Operator, &operator)]);
    for (authority, domain) in
        [(&operator, SecurityDomain::Operator), (&impostor, SecurityDomain::ThirdParty)]
    {
        let signer = authority.signer("Signer", &Shape::at(AT)).unwrap();
        assert_verified(&sample().sign(&signer).unwrap(), &store, domain);
    }
}

#[test]
fn an_authority_that_calls_itself_like_a_root_stays_in_its_own_domain() {
    let (operator, third) = (root("Operator Root"), root("Third Root"));
    let store = store(&[(RootKind::Operator, &operator), (RootKind::ThirdParty, &third)]);
    // The third party's own authority, named like the operator's root and its issuer.
    let likeness = third.intermediate("Operator Root", &Shape::at(AT)).unwrap();
    let likeness = likeness.intermediate("Operator Issuer", &Shape::at(AT)).unwrap();
    let mut signer = likeness.signer("Signer", &Shape::at(AT)).unwrap();
    let package = sample().sign(&signer).unwrap();
    assert_verified(&package, &store, SecurityDomain::ThirdParty);
    // The operator's own certificates beside it change nothing.
    signer.chain.push(operator.certificate().to_vec());
    signer
        .chain
        .push(operator.intermediate("Operator Issuer", &Shape::at(AT)).unwrap().certificate().to_vec());
    assert_verified(&sample().sign(&signer).unwrap(), &store, SecurityDomain::ThirdParty);
}

#[test]
fn a_cross_certificate_into_another_domain_is_ambiguous_even_when_it_has_expired() {
    let (operator, third) = (root("Operator Root"), root("Third Root"));
    let store = store(&[(RootKind::Operator, &operator), (RootKind::ThirdParty, &third)]);
    let issuer = operator.intermediate("Issuer", &Shape::at(AT)).unwrap();
    for not_after in [later(DAY), earlier(60)] {
        let shape = Shape { not_after, ..Shape::at(AT) };
        // Either the issuer or the operator's root itself is certified by the third party's root.
        for (certified, name) in [(&issuer, "Issuer"), (&operator, "Operator Root")] {
            let mut signer = issuer.signer("Signer", &Shape::at(AT)).unwrap();
            signer.chain.push(certified.cross_signed_by(&third, name, &shape).unwrap());
            assert_refused(&sample().sign(&signer).unwrap(), &store, Reason::AmbiguousDomain);
        }
    }
}

#[test]
fn a_cross_certificate_within_one_domain_is_another_way_that_may_hold() {
    let (old, new) = (root("Old"), root("New"));
    let store = store(&[(RootKind::Operator, &old), (RootKind::Operator, &new)]);
    let expired = Shape { not_after: earlier(60), ..Shape::at(AT) };
    let issuer = old.intermediate("Issuer", &expired).unwrap();
    let mut signer = issuer.signer("Signer", &Shape::at(AT)).unwrap();
    assert_refused(&sample().sign(&signer).unwrap(), &store, Reason::CertificateExpired);
    signer.chain.push(issuer.cross_signed_by(&new, "Issuer", &Shape::at(AT)).unwrap());
    assert_verified(&sample().sign(&signer).unwrap(), &store, SecurityDomain::Operator);
}

#[test]
fn signatures_of_lists_count_towards_what_a_judgement_may_cost() {
    let world = World::new(RootKind::Operator);
    let mut builder = mexe_certs::TrustStore::builder();
    builder.add(RootKind::Operator, "root.pem", world.root.certificate(), AT)[0].as_ref().unwrap();
    // Lists in the issuer's name by somebody else: each costs a signature that is wrong.
    let impostor = world.root.intermediate("Issuer", &Shape::at(AT)).unwrap();
    for number in 1..=300 {
        let list = impostor.list(&ListShape { number, ..ListShape::at(AT) }).unwrap();
        builder.add_list("list.crl", &list)[0].as_ref().unwrap();
    }
    assert_refused(&sample().sign(&world.signer).unwrap(), &builder.build(), Reason::TooCostly);
}
