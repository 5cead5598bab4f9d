//! The attacks on certificate configuration that TUF names (theupdateframework.io, security), each by its name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

#[path = "support/office.rs"]
mod office;
mod support;

use mexe_certs::ccm::{CcmLimits, CcmState, Freshness, SEQUENCE_MAX, Standing, apply};
use mexe_certs::{Fingerprint, RootKind};
use mexe_forge::ccm::{Message, delegate};
use mexe_forge::pki::{Authority, Shape};
use mexe_model::Reason;
use office::{DEVICE, HERE, Office, certificate_of, key_of, none};
use support::{AT, DAY, earlier, later, store};

#[test]
fn wrong_key_attack_somebody_elses_message_is_refused() {
    let office = Office::new();
    let thief = Office::new();
    // Signed by another key, which says that it is the administrator's.
    let posing = Message { arpk: office.message(1).arpk, ..thief.message(1) };
    office.refuses(&posing.sign(&thief.signer).unwrap(), &none(), Reason::CcmWrongSigner);
    // Another administrator's own message.
    office.refuses(&thief.message(1).sign(&thief.signer).unwrap(), &none(), Reason::CcmWrongSigner);
    // Signed by the administrator, but speaking for another key.
    office.refuses(&thief.message(1).sign(&office.signer).unwrap(), &none(), Reason::CcmWrongSigner);
    // The thief's signature under the administrator's certificate.
    let mut mixed = thief.signer;
    mixed.chain = office.signer.chain.clone();
    office.refuses(&office.message(1).sign(&mixed).unwrap(), &none(), Reason::CcmSignatureWrong);
}

#[test]
fn replay_attack_the_same_message_again_is_refused() {
    let office = Office::new();
    let message = office.message(3).replace_all(&[office.acme.certificate()]);
    let state = office.after(&[&message]);
    // ECDSA signs differently each time: what is said is the same.
    for _ in 0..2 {
        office.refuses(&message.sign(&office.signer).unwrap(), &state, Reason::CcmReplayed);
    }
    // Also when its time is over.
    let signed = message.sign(&office.signer).unwrap();
    let late = office.apply_at(&signed, &state, later(30 * DAY)).unwrap_err();
    assert_eq!(late.reason, Reason::CcmReplayed);
    // The same number with another content.
    office.refuses(&office.message(3).sign(&office.signer).unwrap(), &state, Reason::CcmOlder);
}

#[test]
fn rollback_attack_an_older_message_is_refused_for_ever() {
    let office = Office::new();
    let old = office.message(3).replace_all(&[office.acme.certificate()]);
    let new = office.message(4).replace_all(&[]);
    let state = office.after(&[&old, &new]);
    let again = old.sign(&office.signer).unwrap();
    office.refuses(&again, &state, Reason::CcmOlder);
    // Another administrator comes and goes: the number is still known.
    let other = Office::new();
    let theirs = other.message(1).sign(&other.signer).unwrap();
    let state = other.apply(&theirs, &state).unwrap().state;
    office.refuses(&again, &state, Reason::CcmOlder);
    // Also by the way of the disk.
    let state: CcmState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    office.refuses(&again, &state, Reason::CcmOlder);
}

#[test]
fn freeze_attack_an_overdue_list_is_seen_and_a_held_back_message_is_stale() {
    let office = Office::new();
    let message = office.message(1).replace_all(&[office.acme.certificate()]);
    let state = office.after(&[&message]);
    assert_eq!(state.freshness(&office.key(), later(7 * DAY)), Freshness::Current);
    assert_eq!(state.freshness(&office.key(), later(7 * DAY + 1)), Freshness::Overdue);
    // What was enabled stays so, for what runs already; the caller begins nothing new.
    assert_eq!(office.standing(&state, &office.acme), Standing::Enabled);
    // Delivered after its successor was due, even if it says that it is valid for long.
    let lasting = Message { not_after: later(100 * DAY), ..office.message(2) };
    let late = office.apply_at(&lasting.sign(&office.signer).unwrap(), &state, later(8 * DAY)).unwrap_err();
    assert_eq!(late.reason, Reason::CcmStale);
}

#[test]
fn mix_and_match_attack_a_disabled_key_is_not_enabled_by_another_message() {
    let office = Office::new();
    let acme = office.acme.certificate();
    let disable = office.message(1).disable(&[acme]).unwrap();
    let enable = office.message(2).enable(&[acme], Some(disable.digest().unwrap()));
    let replace = office.message(3).replace_all(&[acme]);
    let state = office.after(&[&disable, &enable, &replace]);
    assert_eq!(office.standing(&state, &office.acme), Standing::KeyDisabled(key_of(&office.acme)));
    // Another certificate of the same key is no way round.
    let again = office.acme.cross_signed_by(&office.bravo, "Acme", &Shape::at(AT)).unwrap();
    let state = office.after(&[&disable, &replace, &office.message(4).replace_all(&[&again])]);
    let certificates = [Fingerprint::of(&again)];
    let standing = state.standing(&office.key(), &certificates, &[key_of(&office.acme)]);
    assert_eq!(standing, Standing::KeyDisabled(key_of(&office.acme)));
}

#[test]
fn mix_and_match_attack_what_widens_does_not_count_without_what_came_before() {
    let office = Office::new();
    let (acme, bravo) = (office.acme.certificate(), office.bravo.certificate());
    let first = office.message(1).replace_all(&[acme]);
    let held_back = office.message(2).disable(&[acme]).unwrap();
    let widening = office.message(3).enable(&[bravo], Some(held_back.digest().unwrap()));
    let sign = |message: &Message| message.sign(&office.signer).unwrap();
    let state = office.after(&[&first]);
    office.refuses(&sign(&widening), &state, Reason::CcmGap);
    office.refuses(&sign(&office.message(3).enable(&[bravo], None)), &state, Reason::CcmGap);
    office.refuses(&sign(&widening), &none(), Reason::CcmGap);
    // With it, it does. What narrows, and what replaces all, needs nothing before it.
    let whole = office.apply(&sign(&widening), &office.after(&[&first, &held_back])).unwrap();
    assert_eq!(office.standing(&whole.state, &office.bravo), Standing::Enabled);
    office.apply(&sign(&office.message(9).disable(&[bravo]).unwrap()), &state).unwrap();
    office.apply(&sign(&office.message(9).replace_all(&[bravo])), &state).unwrap();
}

#[test]
fn endless_data_attack_a_message_has_a_size_and_a_number_of_entries() {
    let office = Office::new();
    let entries = |count: u32| -> Vec<Vec<u8>> {
        (0..count).map(|n| [vec![0; 28], n.to_be_bytes().to_vec()].concat()).collect()
    };
    let sign = |message: &Message| message.sign(&office.signer).unwrap();
    let many = sign(&Message { entries: entries(4), ..office.message(1) });
    let with = |limits: CcmLimits| apply(&many, &none(), &office.store.roots()[0], HERE, AT, &limits);
    let usual = CcmLimits::default();
    assert!(with(CcmLimits { entries: 4, message: many.len(), remembered: 4 }).is_ok());
    for narrow in [
        CcmLimits { message: many.len() - 1, ..usual },
        CcmLimits { entries: 3, ..usual },
        CcmLimits { remembered: 3, ..usual },
    ] {
        assert_eq!(with(narrow).unwrap_err().reason, Reason::CcmMalformed, "{narrow:?}");
    }
    // The usual ones hold, and nothing is read of what is too large.
    office.refuses(&vec![0x30; usual.message + 1], &none(), Reason::CcmMalformed);
    let most = u32::try_from(usual.entries).unwrap();
    let full = Message { entries: entries(most), ..office.message(1) };
    office.apply(&sign(&full), &none()).unwrap();
    let over = Message { entries: entries(most + 1), ..office.message(1) };
    office.refuses(&sign(&over), &none(), Reason::CcmMalformed);
}

#[test]
fn fast_forward_attack_the_last_number_is_kept_for_handing_over() {
    let office = Office::new();
    let heir = Authority::root("Heir", &Shape::at(AT)).unwrap();
    let last = office.message(SEQUENCE_MAX);
    office.refuses(&last.sign(&office.signer).unwrap(), &none(), Reason::CcmMalformed);
    // Whoever had the key for a day used up the numbers. Nothing but handing over is left, and that is.
    let state = office.after(&[&office.message(SEQUENCE_MAX - 1)]);
    office.refuses(&office.message(7).sign(&office.signer).unwrap(), &state, Reason::CcmOlder);
    let handed = last.hand_over(heir.certificate()).sign(&office.signer).unwrap();
    let state = office.apply(&handed, &state).unwrap().state;
    // The heir counts from the beginning.
    let store = store(&[(RootKind::Administrator, &heir)]);
    let first = Message::new(heir.certificate(), DEVICE, 1, AT).unwrap();
    let signed = first.sign(&heir.as_signer().unwrap()).unwrap();
    let applied = apply(&signed, &state, &store.roots()[0], HERE, AT, &CcmLimits::default()).unwrap();
    assert_eq!(applied.state.of(&key_of(&heir)).unwrap().sequence, 1);
}

#[test]
fn key_compromise_the_old_key_is_worth_nothing_after_it_handed_over() {
    let office = Office::new();
    let acme = office.acme.certificate();
    let heir = Authority::root("Heir", &Shape::at(AT)).unwrap();
    let heir_store = store(&[(RootKind::Administrator, &heir)]);
    let first = office.message(1).replace_all(&[acme, office.bravo.certificate()]);
    let second =
        office.message(2).disable(&[office.bravo.certificate()]).unwrap().hand_over(heir.certificate());
    let state = office.after(&[&first, &second]);
    assert_eq!(state.heir(office.key()), key_of(&heir));
    assert_eq!(state.heir(key_of(&heir)), key_of(&heir));
    // The heir has what the old key left.
    let standing = |of: &Authority| state.standing(&key_of(&heir), &[certificate_of(of)], &[key_of(of)]);
    assert_eq!(standing(&office.acme), Standing::Enabled);
    assert_eq!(standing(&office.bravo), Standing::KeyDisabled(key_of(&office.bravo)));
    assert_eq!(state.freshness(&key_of(&heir), AT), Freshness::Current);
    // The old key: nothing more, whatever the number, and no second heir.
    let more = office.message(3).replace_all(&[acme]);
    office.refuses(&more.sign(&office.signer).unwrap(), &state, Reason::CcmWrongSigner);
    let thief = Authority::root("Thief", &Shape::at(AT)).unwrap();
    office.refuses(
        &more.hand_over(thief.certificate()).sign(&office.signer).unwrap(),
        &state,
        Reason::CcmWrongSigner,
    );
    // The heir: builds on the message that handed over, and cannot hand back.
    let heir_says = |message: Message| {
        let signed = message.sign(&heir.as_signer().unwrap()).unwrap();
        apply(&signed, &state, &heir_store.roots()[0], HERE, AT, &CcmLimits::default())
    };
    let message = || Message::new(heir.certificate(), DEVICE, 1, AT).unwrap();
    assert!(heir_says(message().enable(&[acme], Some(second.digest().unwrap()))).is_ok());
    assert_eq!(heir_says(message().enable(&[acme], None)).unwrap_err().reason, Reason::CcmGap);
    let back = heir_says(message().hand_over(office.arpk.certificate())).unwrap_err();
    assert_eq!(back.reason, Reason::CcmMalformed, "{back}");
}

#[test]
fn only_the_key_itself_hands_over_and_only_to_what_can_be_a_root() {
    let office = Office::new();
    let shape = Shape::at(AT);
    let heir = Authority::root("Heir", &shape).unwrap();
    let deputy = delegate(&office.arpk, "Deputy", &shape).unwrap();
    let message = office.message(1).hand_over(heir.certificate());
    office.refuses(&message.sign(&deputy).unwrap(), &none(), Reason::CcmWrongSigner);
    let expired = Shape { not_after: earlier(1), ..shape.clone() };
    let expired = Authority::root("Heir", &expired).unwrap();
    let leaf = heir.signer("Leaf", &shape).unwrap();
    for certificate in [expired.certificate(), leaf.certificate(), office.arpk.certificate(), b"no"] {
        let signed = office.message(1).hand_over(certificate).sign(&office.signer).unwrap();
        office.refuses(&signed, &none(), Reason::CcmMalformed);
    }
    // It cannot shut itself, or its heir, out.
    for shut_out in [office.arpk.certificate(), heir.certificate()] {
        let shut = office.message(1).disable(&[shut_out]).unwrap().hand_over(heir.certificate());
        office.refuses(&shut.sign(&office.signer).unwrap(), &none(), Reason::CcmMalformed);
    }
}
