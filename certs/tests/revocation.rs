//! Revocation lists: what they revoke, which of several counts, and which are no lists of this device at all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::io::Cursor;

use mexe_certs::{
    Evidence, Limits, ListState, Moment, Revocation, RootKind, Rules, Staleness, TrustStore,
    TrustStoreBuilder, TrustVerdict, Voucher, verify,
};
use mexe_forge::pki::{Authority, KeyKind, ListShape, RevocationReason, Shape, pem, serial};
use mexe_model::{Reason, WallTime};
use support::*;

/// A store of the world's root and these lists.
fn with_lists(world: &World, rules: Rules, lists: &[Vec<u8>]) -> TrustStore {
    let mut builder = TrustStore::builder();
    builder.rules(rules);
    builder.add(RootKind::Operator, "root.pem", world.root.certificate(), AT)[0].as_ref().unwrap();
    for list in lists {
        builder.add_list("list.crl", list)[0].as_ref().unwrap();
    }
    builder.build()
}

fn judged(world: &World, lists: &[Vec<u8>]) -> TrustVerdict {
    judged_by(world, Rules::default(), lists, AT)
}

fn judged_by(world: &World, rules: Rules, lists: &[Vec<u8>], at: WallTime) -> TrustVerdict {
    let package = sample().sign(&world.signer).unwrap();
    judge_at(&package, &with_lists(world, rules, lists), at).verdict
}

#[track_caller]
fn voucher(verdict: TrustVerdict) -> Voucher {
    let TrustVerdict::Verified(voucher) = verdict else { panic!("{verdict:?}") };
    voucher
}

fn world() -> World {
    World::new(RootKind::Operator)
}

const WARN: Rules = Rules { legacy: false, staleness: Staleness::Warn };

#[test]
fn without_lists_nothing_is_covered_and_with_all_of_them_all_is_checked() {
    let world = world();
    let (of_root, of_issuer) =
        (world.root.list(&ListShape::at(AT)).unwrap(), world.issuer.list(&ListShape::at(AT)).unwrap());
    assert_eq!(voucher(judged(&world, &[])).revocation, Revocation::NotCovered);
    assert_eq!(voucher(judged(&world, std::slice::from_ref(&of_root))).revocation, Revocation::NotCovered);
    assert_eq!(voucher(judged(&world, std::slice::from_ref(&of_issuer))).revocation, Revocation::NotCovered);
    assert_eq!(voucher(judged(&world, &[of_root, of_issuer])).revocation, Revocation::Checked);
}

#[test]
fn a_revoked_signer_is_refused_and_named() {
    let world = world();
    let list = ListShape::at(AT).revoking(world.signer.certificate(), earlier(60)).unwrap();
    let TrustVerdict::Refused(refusal) = judged(&world, &[world.issuer.list(&list).unwrap()]) else {
        panic!()
    };
    assert_eq!(refusal.reason, Reason::CertificateRevoked);
    let hex: String =
        serial(world.signer.certificate()).unwrap().iter().map(|b| format!("{b:02x}")).collect();
    for part in ["CN=Signer", hex.as_str(), &earlier(60).to_string()] {
        assert!(refusal.detail.contains(part), "{part}: {}", refusal.detail);
    }
}

#[test]
fn a_revoked_authority_takes_its_signers_along() {
    let world = world();
    let list = ListShape::at(AT).revoking(world.issuer.certificate(), earlier(60)).unwrap();
    let TrustVerdict::Refused(refusal) = judged(&world, &[world.root.list(&list).unwrap()]) else { panic!() };
    assert_eq!(refusal.reason, Reason::CertificateRevoked);
    assert!(refusal.detail.contains("CN=Issuer"), "{}", refusal.detail);
}

#[test]
fn a_revocation_counts_from_its_date_on() {
    let world = world();
    let list = ListShape::at(AT).revoking(world.signer.certificate(), later(10)).unwrap();
    let list = [world.issuer.list(&list).unwrap()];
    let at = |at| judged_by(&world, Rules::default(), &list, at);
    assert_eq!(at(later(9)).reason(), None);
    assert_eq!(at(later(10)).reason(), Some(Reason::CertificateRevoked));
}

#[test]
fn judged_as_of_the_past_what_was_revoked_since_vouches_for_nothing() {
    let world = world();
    let package = sample().sign(&world.signer).unwrap();
    let list = ListShape::at(AT).revoking(world.signer.certificate(), AT).unwrap();
    let store = with_lists(&world, Rules::default(), &[world.issuer.list(&list).unwrap()]);
    let reason = |revoked_by| {
        let at = Moment { valid_at: earlier(60), revoked_by };
        let size = package.len() as u64;
        let judged =
            verify(Cursor::new(&package), size, Evidence::Inside, &store, at, &Limits::default()).verdict;
        judged.reason()
    };
    assert_eq!(reason(earlier(60)), None);
    assert_eq!(reason(AT), Some(Reason::CertificateRevoked));
}

#[test]
fn a_certificate_on_hold_is_revoked_and_one_that_was_taken_off_is_not() {
    let world = world();
    for (why, reason) in [
        (RevocationReason::CertificateHold, Some(Reason::CertificateRevoked)),
        (RevocationReason::KeyCompromise, Some(Reason::CertificateRevoked)),
        (RevocationReason::RemoveFromCrl, None),
    ] {
        let serial = serial(world.signer.certificate()).unwrap();
        let list = ListShape { revoked: vec![(serial, earlier(60), Some(why))], ..ListShape::at(AT) };
        assert_eq!(judged(&world, &[world.issuer.list(&list).unwrap()]).reason(), reason, "{why:?}");
    }
}

#[test]
fn the_newest_list_counts_whichever_was_added_first() {
    let world = world();
    let held = ListShape::at(AT).revoking(world.signer.certificate(), earlier(60)).unwrap();
    // 256 is longer than 2, and newer.
    let lifted = ListShape { number: 256, ..ListShape::at(AT) };
    let older = world.issuer.list(&ListShape { number: 2, ..held.clone() }).unwrap();
    let newer = world.issuer.list(&lifted).unwrap();
    for lists in [[older.clone(), newer.clone()], [newer, older]] {
        assert_eq!(judged(&world, &lists).reason(), None);
    }
    let older = world.issuer.list(&ListShape { number: 255, ..ListShape::at(AT) }).unwrap();
    let newer = world.issuer.list(&ListShape { number: 256, ..held }).unwrap();
    for lists in [[older.clone(), newer.clone()], [newer, older]] {
        assert_eq!(judged(&world, &lists).reason(), Some(Reason::CertificateRevoked));
    }
}

#[test]
fn an_outdated_list_is_refused_or_shown_as_the_owner_decides() {
    let world = world();
    let lists = [&world.root, &world.issuer].map(|a| a.list(&ListShape::at(AT)).unwrap());
    let due = ListShape::at(AT).next_update;
    assert_eq!(judged_by(&world, Rules::default(), &lists, due).reason(), None);
    let over = WallTime::from_secs(due.as_secs() + 1);
    let TrustVerdict::Refused(refusal) = judged_by(&world, Rules::default(), &lists, over) else { panic!() };
    assert_eq!(refusal.reason, Reason::RevocationStale);
    assert_eq!(voucher(judged_by(&world, WARN, &lists, over)).revocation, Revocation::Stale);
}

#[test]
fn revoked_leaf_is_refused_even_when_the_list_is_outdated() {
    let world = world();
    let list = ListShape::at(AT).revoking(world.signer.certificate(), earlier(60)).unwrap();
    let lists = [world.root.list(&ListShape::at(AT)).unwrap(), world.issuer.list(&list).unwrap()];
    let over = WallTime::from_secs(list.next_update.as_secs() + 1);
    for rules in [Rules::default(), WARN] {
        assert_eq!(judged_by(&world, rules, &lists, over).reason(), Some(Reason::CertificateRevoked));
    }
}

#[test]
fn a_list_from_the_future_is_as_if_it_were_not_there() {
    let world = world();
    let now = ListShape::at(AT).revoking(world.signer.certificate(), earlier(60)).unwrap();
    let future = ListShape { number: 9, this_update: later(1), ..ListShape::at(AT) };
    let future = world.issuer.list(&future).unwrap();
    assert_eq!(voucher(judged(&world, std::slice::from_ref(&future))).revocation, Revocation::NotCovered);
    let lists = [world.issuer.list(&now).unwrap(), future];
    assert_eq!(judged(&world, &lists).reason(), Some(Reason::CertificateRevoked));
    assert_eq!(judged_by(&world, Rules::default(), &lists, later(1)).reason(), None);
}

#[test]
fn a_list_by_another_authority_of_the_same_name_is_nothing() {
    let world = world();
    let impostor = world.root.intermediate("Issuer", &Shape::at(AT)).unwrap();
    let taking = ListShape { number: 99, ..ListShape::at(AT) }
        .revoking(world.signer.certificate(), earlier(60))
        .unwrap();
    let taking = impostor.list(&taking).unwrap();
    assert_eq!(voucher(judged(&world, std::slice::from_ref(&taking))).revocation, Revocation::NotCovered);
    // Nor does it hide the right one, though its number is higher.
    let right = ListShape::at(AT).revoking(world.signer.certificate(), earlier(60)).unwrap();
    let hiding = impostor.list(&ListShape { number: 99, ..ListShape::at(AT) }).unwrap();
    let lists = [hiding, world.issuer.list(&right).unwrap()];
    assert_eq!(judged(&world, &lists).reason(), Some(Reason::CertificateRevoked));
}

#[test]
fn an_authority_that_may_not_sign_lists_has_none() {
    let may_not = Shape { signs_lists: false, ..Shape::at(AT) };
    let root = Authority::root("Root", &Shape::at(AT)).unwrap();
    let issuer = root.intermediate("Issuer", &Shape::at(AT)).unwrap();
    // The same name and key, certified without cRLSign.
    let certified = issuer.cross_signed_by(&root, "Issuer", &may_not).unwrap();
    let mut signer = issuer.signer("Signer", &Shape::at(AT)).unwrap();
    signer.chain[1] = certified;
    let list = ListShape::at(AT).revoking(signer.certificate(), earlier(60)).unwrap();
    let list = issuer.list(&list).unwrap();
    let store = store(&[(RootKind::Operator, &root)]);
    let world = World { root, issuer, signer, store };
    assert_eq!(voucher(judged(&world, &[list])).revocation, Revocation::NotCovered);
}

#[test]
fn a_roots_own_list_does_not_revoke_the_root() {
    let world = world();
    let list = ListShape::at(AT).revoking(world.root.certificate(), earlier(60)).unwrap();
    assert_eq!(judged(&world, &[world.root.list(&list).unwrap()]).reason(), None);
}

#[test]
fn lists_tell_what_is_known_of_them() {
    let world = world();
    let shape = ListShape { number: 0x1234, ..ListShape::at(AT) };
    let shape = shape.revoking(world.signer.certificate(), earlier(60)).unwrap();
    let der = world.issuer.list(&shape).unwrap();
    let both =
        [pem("X509 CRL", &der), pem("X509 CRL", &world.root.list(&ListShape::at(AT)).unwrap())].concat();
    let mut builder = TrustStore::builder();
    let added = builder.add_list("both.pem", both.as_bytes());
    assert_eq!(added.len(), 2);
    builder.add_list("again.crl", &der)[0].as_ref().unwrap();
    let store = builder.build();
    let facts: Vec<_> = store.lists().collect();
    assert_eq!(facts.len(), 2);
    assert_eq!(added[0].as_ref().unwrap(), facts[0]);
    assert_eq!((facts[0].issuer.as_str(), facts[0].number.as_str()), ("CN=Issuer,O=mexegate demo", "1234"));
    assert_eq!((facts[0].entries, facts[0].source.as_str()), (1, "both.pem"));
    assert_eq!((facts[0].this_update, facts[0].next_update), (shape.this_update, shape.next_update));
    for (at, state) in [
        (WallTime::from_secs(shape.this_update.as_secs() - 1), ListState::Future),
        (shape.this_update, ListState::Current),
        (shape.next_update, ListState::Current),
        (WallTime::from_secs(shape.next_update.as_secs() + 1), ListState::Stale),
    ] {
        assert_eq!(facts[0].state_at(at), state);
    }
}

#[test]
fn a_file_that_is_no_list_is_named_by_its_problem() {
    let world = world();
    let list = world.issuer.list(&ListShape::at(AT)).unwrap();
    let problem = |bytes: &[u8]| {
        let mut builder: TrustStoreBuilder = TrustStore::builder();
        let added = builder.add_list("x.crl", bytes);
        let [Err(problem)] = added.as_slice() else { panic!("{added:?}") };
        let text = problem.to_string();
        assert!(text.starts_with("`x.crl`: ") && !text.ends_with('.') && !text.contains('\n'), "{text}");
        assert!(builder.build().lists().next().is_none());
        problem.code()
    };
    assert_eq!(problem(b""), "list-missing");
    assert_eq!(problem(b"just text"), "list-missing");
    assert_eq!(problem(&list[..list.len() - 1]), "list-malformed");
    assert_eq!(problem(&[list.clone(), vec![0]].concat()), "list-malformed");
    assert_eq!(problem(world.root.certificate()), "list-malformed");
    assert_eq!(problem(b"-----BEGIN X509 CRL-----\n????\n-----END X509 CRL-----\n"), "list-malformed");
    assert_eq!(problem(b"-----BEGIN X509 CRL-----\nAAAA\n"), "list-malformed");
    assert_eq!(problem(&vec![b'x'; mexe_certs::LIST_SIZE_MAX * 2 + 1]), "list-too-large");
}

#[test]
fn a_list_of_a_hundred_thousand_costs_its_reading_once() {
    let (root, at) = (Authority::root("Root", &Shape::at(AT)).unwrap(), ListShape::at(AT));
    let signer = root.signer("Signer", &Shape::at(AT).with_key(KeyKind::P256)).unwrap();
    let revoked = (0..100_000_u32).map(|n| ((0x0100_0000 + n).to_be_bytes().to_vec(), earlier(60), None));
    let large = root.list(&ListShape { revoked: revoked.collect(), ..at }).unwrap();
    let mut builder = TrustStore::builder();
    builder.add(RootKind::Operator, "root.pem", root.certificate(), AT)[0].as_ref().unwrap();
    let reading = std::time::Instant::now();
    assert_eq!(builder.add_list("large.crl", &large)[0].as_ref().unwrap().entries, 100_000);
    let reading = reading.elapsed();
    let store = builder.build();
    let package = sample().sign(&signer).unwrap();
    let judging = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(voucher(judge(&package, &store).verdict).revocation, Revocation::Checked);
    }
    let judging = judging.elapsed();
    eprintln!("read in {reading:?}, 20 judgements in {judging:?}");
    assert!(judging < reading * 5, "20 judgements took {judging:?}, reading took {reading:?}");
}
