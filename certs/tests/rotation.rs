//! Statements of a new signer's key: which chains lead from the installed app's key to the package's, and which do not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::io::Cursor;

use mexe_certs::rotation::{Claim, STATEMENTS_MAX, entry_name, judge_rotation, read_statements};
use mexe_certs::{Fingerprint, Limits, Refusal, RootKind, TrustVerdict};
use mexe_forge::pki::{Authority, KeyKind, Shape, Signer};
use mexe_forge::rotation::Statement;
use mexe_forge::sealed::{SealDefect, key_hash};
use mexe_model::{Reason, SecurityDomain};
use support::{AT, World, assert_refused, earlier, judge, later, sample};

const DOMAIN: SecurityDomain = SecurityDomain::ThirdParty;
const NAME: &str = "sample";

fn signers(count: usize) -> Vec<Signer> {
    let root = Authority::root("Root", &Shape::at(AT)).unwrap();
    (0..count).map(|n| root.signer(&format!("Signer {n}"), &Shape::at(AT)).unwrap()).collect()
}

fn key(signer: &Signer) -> Fingerprint {
    Fingerprint(key_hash(signer.certificate()).unwrap())
}

fn statement(old: &Signer, new: &Signer) -> Statement {
    Statement::new(DOMAIN, NAME, old.certificate(), new.certificate(), AT).unwrap()
}

fn signed(old: &Signer, new: &Signer) -> Vec<u8> {
    statement(old, new).sign(old, SealDefect::None).unwrap()
}

fn judged(statements: &[Vec<u8>], old: &Signer, new: &Signer) -> Result<(), Refusal> {
    let claim = Claim {
        old_key: key(old),
        new_key: key(new),
        domain: DOMAIN,
        name: NAME,
        at: AT,
        barred: &|_| false,
    };
    judge_rotation(statements, &claim)
}

#[track_caller]
fn wrong(result: Result<(), Refusal>, says: &str) {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.reason, Reason::RotationWrong);
    assert!(refusal.detail.contains(says), "{refusal}");
}

#[test]
fn the_old_key_hands_over_to_the_new_one() {
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa2048] {
        let root = Authority::root("Root", &Shape::at(AT)).unwrap();
        let [old, new] = ["Old", "New"].map(|n| root.signer(n, &Shape::at(AT).with_key(kind)).unwrap());
        assert_eq!(judged(&[signed(&old, &new)], &old, &new), Ok(()), "{kind:?}");
    }
}

#[test]
fn an_expired_certificate_still_hands_over() {
    let root = Authority::root("Root", &Shape::at(AT)).unwrap();
    let expired = Shape { not_after: earlier(1), ..Shape::at(AT) };
    let old = root.signer("Old", &expired).unwrap();
    let new = root.signer("New", &Shape::at(AT)).unwrap();
    assert_eq!(judged(&[signed(&old, &new)], &old, &new), Ok(()));
}

#[test]
fn a_chain_serves_devices_that_are_one_or_several_keys_behind() {
    let keys = signers(STATEMENTS_MAX + 2);
    let chain: Vec<_> = keys.windows(2).map(|pair| signed(&pair[0], &pair[1])).collect();
    let most = &chain[..STATEMENTS_MAX];
    for behind in &keys[..STATEMENTS_MAX] {
        assert_eq!(judged(most, behind, &keys[STATEMENTS_MAX]), Ok(()));
    }
    wrong(judged(&chain, &keys[0], &keys[STATEMENTS_MAX + 1]), "are meaningful");
    wrong(judged(&[], &keys[0], &keys[1]), "are meaningful");
}

#[test]
fn a_chain_must_hold_together_and_end_where_it_should() {
    let keys = signers(4);
    let [a, b, c, d] = &keys[..] else { panic!() };
    let (ab, bc, ca) = (signed(a, b), signed(b, c), signed(c, a));
    let chain = |parts: &[&Vec<u8>]| parts.iter().map(|part| (*part).clone()).collect::<Vec<_>>();
    assert_eq!(judged(&chain(&[&ab, &bc]), a, c), Ok(()));
    wrong(judged(&chain(&[&bc, &ab]), a, b), "statement 2: it does not go on");
    wrong(judged(&chain(&[&ab, &ab]), a, b), "statement 2: it does not go on");
    wrong(judged(&chain(&[&ab, &bc, &ca]), a, a), "statement 3: the key");
    wrong(judged(&chain(&[&ab, &bc]), a, d), "hands over to another key than the package's");
    wrong(judged(&chain(&[&ab, &bc]), d, c), "the installed app's key hands over in none");
    wrong(judged(&[signed(a, a)], a, a), "comes twice");
}

#[test]
fn a_stolen_old_key_cannot_lead_away_from_its_successor() {
    let keys = signers(3);
    let [old, new, thief] = &keys[..] else { panic!() };
    // The device went from the old key to the new one; the thief of the old key is not on its way.
    wrong(judged(&[signed(old, thief)], new, thief), "the installed app's key hands over in none");
    // The thief signs for the new key, with its own.
    let forged = statement(new, thief).sign(thief, SealDefect::None).unwrap();
    wrong(judged(&[forged], new, thief), "it is signed by the key");
    // The new key's certificate beside the thief's signature.
    let mut posing = signers(1).remove(0);
    posing.chain = new.chain.clone();
    let forged = statement(new, thief).sign(&posing, SealDefect::None).unwrap();
    wrong(judged(&[forged], new, thief), "the signature is not that of the signer's key");
    // A key that is known to be stolen hands over nothing.
    let (old_key, new_key) = (key(old), key(new));
    let barred = |key: &Fingerprint| *key == old_key;
    let claim = Claim { old_key, new_key, domain: DOMAIN, name: NAME, at: AT, barred: &barred };
    wrong(judge_rotation(&[signed(old, new)], &claim), "is not to be trusted any more");
}

#[test]
fn a_statement_is_for_one_app_in_one_domain() {
    let keys = signers(2);
    let [old, new] = &keys[..] else { panic!() };
    let sign = |statement: Statement| [statement.sign(old, SealDefect::None).unwrap()];
    let good = || statement(old, new);
    let other = Statement { name: "other".to_owned(), ..good() };
    wrong(judged(&sign(other), old, new), "it is for the app `other`, this is `sample`");
    let other = Statement { domain: SecurityDomain::Operator, ..good() };
    wrong(judged(&sign(other), old, new), "it is for the domain operator");
    let other = Statement { signed_at: later(1), ..good() };
    wrong(judged(&sign(other), old, new), "which is to come");
    let other = Statement { version: 2, ..good() };
    wrong(judged(&sign(other), old, new), "its content is not that of a rotation");
    let other = Statement { old_key: vec![1; 31], ..good() };
    wrong(judged(&sign(other), old, new), "its content is not that of a rotation");
    let other = Statement { old_key: vec![1; 32], ..good() };
    wrong(judged(&sign(other), old, new), "it is signed by the key");
}

#[test]
fn every_broken_statement_is_wrong() {
    let keys = signers(2);
    let [old, new] = &keys[..] else { panic!() };
    for defect in SealDefect::ALL {
        let statements = [statement(old, new).sign(old, defect).unwrap()];
        let result = judged(&statements, old, new);
        if defect == SealDefect::None {
            assert_eq!(result, Ok(()), "{defect:?}");
        } else {
            assert_eq!(result.unwrap_err().reason, Reason::RotationWrong, "{defect:?}");
        }
    }
    wrong(judged(&[vec![0; 70_000]], old, new), "are allowed");
}

#[test]
fn a_package_carries_its_statements_under_its_own_signature() {
    let world = World::new(RootKind::ThirdParty);
    let old = world.issuer.signer("Old", &Shape::at(AT)).unwrap();
    let statements = [signed(&old, &world.signer)];
    let package = sample().rotations(&statements).sign(&world.signer).unwrap();
    let TrustVerdict::Verified(voucher) = judge(&package, &world.store).verdict else { panic!() };
    let read = |bytes: &[u8]| read_statements(Cursor::new(bytes), bytes.len() as u64, &Limits::default());
    let found = read(&package).unwrap();
    assert_eq!(found, statements);
    let claim = Claim {
        old_key: key(&old),
        new_key: Fingerprint(voucher.signers[0].key),
        domain: voucher.domain,
        name: NAME,
        at: AT,
        barred: &|_| false,
    };
    assert_eq!(judge_rotation(&found, &claim), Ok(()));

    // None, and too many or too large ones.
    assert_eq!(read(&sample().sign(&world.signer).unwrap()), Ok(Vec::new()));
    let many = vec![vec![1_u8]; STATEMENTS_MAX + 1];
    let package = sample().rotations(&many).sign(&world.signer).unwrap();
    assert_eq!(read(&package).unwrap_err().reason, Reason::RotationWrong);
    assert_eq!(read(&sample().rotations(&many[1..]).unsigned().unwrap()).unwrap().len(), STATEMENTS_MAX);
    let large = sample().rotations(&[vec![1; 70_000]]).unsigned().unwrap();
    assert_eq!(read(&large).unwrap_err().reason, Reason::RotationWrong);
    // Slipped in after the package was signed.
    let mut parts = sample().sign_parts(&[("SIGNER", &world.signer)]).unwrap();
    parts.push((entry_name(1), statements[0].clone()));
    assert_refused(&mexe_forge::jar::pack(&parts).unwrap(), &world.store, Reason::EntryUnsigned);
}
