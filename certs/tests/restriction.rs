//! The access restriction: what a chain's certificates leave of the action groups, and which are refused as unreadable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use mexe_certs::{RootKind, TrustVerdict, Voucher};
use mexe_forge::pki::{Authority, RESTRICTION, Shape, Signer};
use mexe_model::{ActionGroup, Groups, Reason};
use support::*;

fn groups(numbers: &[u8]) -> Groups {
    numbers.iter().map(|number| ActionGroup::numbered(*number).unwrap()).collect()
}

/// A root, an issuer and a signer of these shapes.
fn chain(root: &Shape, issuer: &Shape, signer: &Shape) -> (Authority, Signer) {
    let root = Authority::root("Root", root).unwrap();
    let signer = root.intermediate("Issuer", issuer).unwrap().signer("Signer", signer).unwrap();
    (root, signer)
}

fn vouched((root, signer): &(Authority, Signer)) -> Voucher {
    let verdict = judge(&sample().sign(signer).unwrap(), &store(&[(RootKind::Operator, root)])).verdict;
    let TrustVerdict::Verified(voucher) = verdict else { panic!("{verdict:?}") };
    voucher
}

#[test]
fn without_restrictions_all_groups_are_left() {
    let sound = Shape::at(AT);
    assert_eq!(vouched(&chain(&sound, &sound, &sound)).groups, Groups::ALL);
}

#[test]
fn restrictions_narrow_down_the_chain_the_root_included() {
    let sound = Shape::at(AT);
    let to = |numbers: &[u8]| Shape::at(AT).restricted_to(numbers);
    let left = |root: &Shape, issuer: &Shape, signer: &Shape| vouched(&chain(root, issuer, signer)).groups;
    assert_eq!(left(&to(&[6]), &sound, &sound), groups(&[6]));
    assert_eq!(left(&sound, &to(&[6, 13]), &sound), groups(&[6, 13]));
    assert_eq!(left(&sound, &sound, &to(&[7])), groups(&[7]));
    // What was taken away above never comes back below.
    assert_eq!(left(&to(&[6, 7]), &to(&[7, 13]), &to(&[6, 7, 13])), groups(&[7]));
    assert_eq!(left(&to(&[6]), &sound, &to(&[7])), Groups::NONE);
    assert_eq!(left(&to(&[]), &sound, &sound), Groups::NONE);
}

#[test]
fn several_signers_leave_what_all_of_them_leave() {
    let root = Authority::root("Root", &Shape::at(AT)).unwrap();
    let one = root.signer("One", &Shape::at(AT).restricted_to(&[6, 7])).unwrap();
    let two = root.signer("Two", &Shape::at(AT).restricted_to(&[7, 13])).unwrap();
    let package = sample().sign_all(&[("ONE", &one), ("TWO", &two)]).unwrap();
    let verdict = judge(&package, &store(&[(RootKind::Operator, &root)])).verdict;
    let TrustVerdict::Verified(voucher) = verdict else { panic!("{verdict:?}") };
    assert_eq!(voucher.groups, groups(&[7]));
}

#[test]
fn each_certificate_shows_what_it_leaves() {
    let sound = Shape::at(AT);
    let voucher = vouched(&chain(&sound, &Shape::at(AT).restricted_to(&[6, 7]), &sound));
    let shown: Vec<_> = voucher.signers[0].chain.iter().map(|certificate| certificate.groups).collect();
    assert_eq!(shown, [Groups::ALL, groups(&[6, 7])]);
}

#[test]
fn a_restriction_that_cannot_be_read_is_refused_wherever_it_stands() {
    let sound = Shape::at(AT);
    let value =
        |value: &[u8]| Shape { more: vec![(RESTRICTION.to_vec(), false, value.to_vec())], ..Shape::at(AT) };
    for bad in [
        Shape::at(AT).restricted_to(&[0]),
        Shape::at(AT).restricted_to(&[14]),
        Shape::at(AT).restricted_to(&[7, 6]),
        Shape::at(AT).restricted_to(&[6, 6]),
        value(b""),
        value(b"\x05\x00"),
        value(b"\x30\x04\x02\x02\x00\x06"),
        value(b"\x30\x03\x02\x01\x06\x00"),
        Shape::at(AT).restricted_to(&[6]).restricted_to(&[6]),
    ] {
        for (root, issuer, signer) in [(&sound, &sound, &bad), (&sound, &bad, &sound), (&bad, &sound, &sound)]
        {
            let (root, signer) = chain(root, issuer, signer);
            let package = sample().sign(&signer).unwrap();
            assert_refused(&package, &store(&[(RootKind::Operator, &root)]), Reason::RestrictionUnreadable);
        }
    }
}

#[test]
fn a_critical_restriction_is_refused_by_its_own_reason() {
    let critical = Shape { more: vec![(RESTRICTION.to_vec(), true, vec![0x30, 0])], ..Shape::at(AT) };
    let world = World::shaped(RootKind::Operator, &critical);
    assert_refused(&sample().sign(&world.signer).unwrap(), &world.store, Reason::RestrictionUnreadable);
}
