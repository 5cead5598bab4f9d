//! Certificate configuration messages: what counts, what does not and for which reason. The attacks by name are in
//! ccm_attacks.rs.

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

use mexe_certs::ccm::{
    CcmLimits, CcmState, Configuration, Freshness, Mode, Receiver, SEQUENCE_MAX, Standing, apply,
};
use mexe_certs::{Fingerprint, RootKind};
use mexe_forge::ccm::{Message, MessageTarget, SealDefect, delegate};
use mexe_forge::pki::{Authority, KeyKind, Shape, Signer};
use mexe_model::Reason;
use office::{DEVICE, HERE, Office, certificate_of, key_of, none};
use support::{AT, DAY, earlier, judge, later, sample, store};

#[test]
fn a_message_of_the_administrators_key_enables_and_is_remembered() {
    for key in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa2048] {
        let office = Office::with(key);
        let message = office.message(5).replace_all(&[office.acme.certificate()]);
        let applied = office.apply(&message.sign(&office.signer).unwrap(), &none()).unwrap();
        assert_eq!(applied.ccm.mode, Mode::ReplaceAll);
        assert_eq!(applied.ccm.sequence, 5);
        let expected = Configuration {
            sequence: 5,
            digest: Some(Fingerprint(message.digest().unwrap())),
            next_update: Some(later(7 * DAY)),
            enabled: [certificate_of(&office.acme)].into(),
            ..Configuration::default()
        };
        assert_eq!(applied.state.of(&office.key()), Some(&expected), "{key:?}");
        assert_eq!(office.standing(&applied.state, &office.acme), Standing::Enabled);
        assert_eq!(office.standing(&applied.state, &office.bravo), Standing::NotEnabled);
    }
}

#[test]
fn nothing_is_enabled_before_the_first_message_but_the_administrators_own_chain() {
    let office = Office::new();
    assert_eq!(office.standing(&none(), &office.acme), Standing::NotEnabled);
    assert_eq!(office.standing(&none(), &office.arpk), Standing::Enabled);
    assert_eq!(none().freshness(&office.key(), AT), Freshness::NoMessage);
}

#[test]
fn the_state_reads_back_as_it_was_written() {
    let office = Office::new();
    let heir = Authority::root("Heir", &Shape::at(AT)).unwrap();
    let state = office.after(&[
        &office.message(1).replace_all(&[office.acme.certificate(), office.bravo.certificate()]),
        &office.message(2).disable(&[office.bravo.certificate()]).unwrap().hand_over(heir.certificate()),
    ]);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<CcmState>(&text).unwrap(), state);
    assert_eq!(serde_json::to_string(&none()).unwrap(), "{}");
    let bad = text.replace("\"sequence\"", "\"sequenz\"");
    assert!(serde_json::from_str::<CcmState>(&bad).is_err(), "unknown fields are not skipped");
}

#[test]
fn modes_replace_add_and_disable() {
    let office = Office::new();
    let (acme, bravo) = (office.acme.certificate(), office.bravo.certificate());
    let first = office.message(1).enable(&[acme], None);
    let second = office.message(2).enable(&[bravo], Some(first.digest().unwrap()));
    let third = office.message(30).disable(&[acme]).unwrap();
    let standings = |state: &CcmState| [&office.acme, &office.bravo].map(|of| office.standing(state, of));
    assert_eq!(standings(&office.after(&[&first])), [Standing::Enabled, Standing::NotEnabled]);
    assert_eq!(standings(&office.after(&[&first, &second])), [Standing::Enabled, Standing::Enabled]);
    let disabled = Standing::KeyDisabled(key_of(&office.acme));
    assert_eq!(standings(&office.after(&[&first, &second, &third])), [disabled, Standing::Enabled]);
    let only_bravo = office.message(2).replace_all(&[bravo]);
    assert_eq!(standings(&office.after(&[&first, &only_bravo])), [Standing::NotEnabled, Standing::Enabled]);
    let nothing = office.message(2).replace_all(&[]);
    assert_eq!(standings(&office.after(&[&first, &nothing])), [Standing::NotEnabled; 2]);
}

#[test]
fn one_enabled_certificate_of_a_chain_is_enough_and_one_disabled_key_too_many() {
    let office = Office::new();
    let issuer = office.acme.intermediate("Issuer", &Shape::at(AT)).unwrap();
    let chain = [certificate_of(&issuer), certificate_of(&office.acme)];
    let keys = [key_of(&issuer), key_of(&office.acme)];
    let root = office.message(1).replace_all(&[office.acme.certificate()]);
    let state = office.after(&[&root]);
    assert_eq!(state.standing(&office.key(), &chain, &keys), Standing::Enabled);
    let state = office.after(&[&root, &office.message(2).disable(&[issuer.certificate()]).unwrap()]);
    assert_eq!(state.standing(&office.key(), &chain, &keys), Standing::KeyDisabled(keys[0]));
    let state = office.after(&[&office.message(1).replace_all(&[issuer.certificate()])]);
    assert_eq!(state.standing(&office.key(), &chain, &keys), Standing::Enabled);
}

#[test]
fn the_lists_hold_for_the_whole_chain_of_a_package() {
    let office = Office::new();
    let issuer = office.acme.intermediate("Issuer", &Shape::at(AT)).unwrap();
    let signer = issuer.signer("Signer", &Shape::at(AT)).unwrap();
    let package = sample().sign(&signer).unwrap();
    let judged = |messages: &[&Message]| {
        let state = office.after(messages);
        let configuration = state.of(&office.key()).cloned().unwrap_or_default();
        let store = store(&[(RootKind::ThirdParty, &office.acme)]);
        judge(&package, &store.administered_by(office.key(), configuration)).verdict.reason()
    };
    let (acme, acme_issuer) = (office.acme.certificate(), issuer.certificate());
    assert_eq!(judged(&[]), Some(Reason::NoRoot));
    for enabled in [acme, acme_issuer, signer.certificate()] {
        assert_eq!(judged(&[&office.message(1).replace_all(&[enabled])]), None);
    }
    let all = office.message(1).replace_all(&[acme]);
    for disabled in [acme_issuer, signer.certificate()] {
        let disabling = office.message(2).disable(&[disabled]).unwrap();
        assert_eq!(judged(&[&all, &disabling]), Some(Reason::RootDisabled));
    }
}

#[test]
fn every_broken_signature_is_refused_by_its_reason() {
    let office = Office::new();
    let message = office.message(1).replace_all(&[office.acme.certificate()]);
    for defect in SealDefect::ALL {
        let signed = message.sign_with(&office.signer, defect).unwrap();
        let expected = match defect {
            // The administrator's certificate is known.
            SealDefect::None | SealDefect::NoCertificates => {
                assert_eq!(office.apply(&signed, &none()).unwrap().ccm.sequence, 1, "{defect:?}");
                continue;
            }
            SealDefect::ContentChanged | SealDefect::SignatureChanged => Reason::CcmSignatureWrong,
            _ => Reason::CcmMalformed,
        };
        office.refuses(&signed, &none(), expected);
    }
}

#[test]
fn every_broken_content_is_malformed() {
    let office = Office::new();
    let good = office.message(1).replace_all(&[office.acme.certificate(), office.bravo.certificate()]);
    office.apply(&good.sign(&office.signer).unwrap(), &none()).unwrap();
    let (device, operator) =
        (|id: &str| MessageTarget::Device(id.to_owned()), |id: &str| MessageTarget::Operator(id.to_owned()));
    let entries = || good.entries.clone();
    let broken = [
        Message { version: 2, ..good.clone() },
        Message { arpk: vec![7; 31], ..good.clone() },
        Message { target: device(""), ..good.clone() },
        Message { target: device("a b"), ..good.clone() },
        Message { target: device("ge\u{e4}t"), ..good.clone() },
        Message { target: device(&"a".repeat(65)), ..good.clone() },
        Message { target: operator("2620"), ..good.clone() },
        Message { target: operator("2620171"), ..good.clone() },
        Message { target: operator("26-01"), ..good.clone() },
        Message { sequence: 0, ..good.clone() },
        Message { sequence: SEQUENCE_MAX + 1, ..good.clone() },
        Message { sequence: u64::MAX, ..good.clone() },
        Message { not_after: earlier(2 * 3600), ..good.clone() },
        Message { next_update: earlier(2 * 3600), ..good.clone() },
        Message { mode: 3, ..good.clone() },
        Message { entries: entries().into_iter().rev().collect(), ..good.clone() },
        Message { entries: [entries(), entries()].concat(), ..good.clone() },
        Message { entries: vec![entries()[0].clone(); 2], ..good.clone() },
        Message { entries: vec![vec![1; 20]], ..good.clone() },
        Message { mode: 1, entries: Vec::new(), ..good.clone() },
        Message { mode: 2, entries: Vec::new(), ..good.clone() },
        Message { previous: Some(vec![1; 32]), ..good.clone() },
        Message { mode: 1, previous: Some(vec![1; 31]), ..good.clone() },
        Message { successor: Some(b"\x30\x00".to_vec()), ..good.clone() },
        Message { extra: b"\x05\x00".to_vec(), ..good.clone() },
        Message { extra: b"\xa2\x02\x05\x00".to_vec(), ..good.clone() },
    ];
    for message in broken {
        let signed = message.sign(&office.signer).unwrap();
        match office.apply(&signed, &none()) {
            Err(refusal) => assert_eq!(refusal.reason, Reason::CcmMalformed, "{message:?}: {refusal}"),
            Ok(_) => panic!("{message:?}"),
        }
    }
}

#[test]
fn no_cut_and_no_changed_byte_makes_another_message() {
    let office = Office::new();
    let message = office.message(1).replace_all(&[office.acme.certificate()]);
    let signed = message.sign(&office.signer).unwrap();
    for length in 0..signed.len() {
        office.refuses(&signed[..length], &none(), Reason::CcmMalformed);
    }
    for at in 0..signed.len() {
        for bit in [0x01, 0x80] {
            let mut changed = signed.clone();
            changed[at] ^= bit;
            // Some bytes are covered by no signature (such as the certificate's copy of what is known): what is said
            // must be the same then.
            if let Ok(applied) = office.apply(&changed, &none()) {
                assert_eq!(applied.ccm.digest, Fingerprint(message.digest().unwrap()), "byte {at}");
            }
        }
    }
}

#[test]
fn a_delegate_speaks_for_the_administrator_and_a_signer_of_code_does_not() {
    let office = Office::new();
    let shape = Shape::at(AT);
    let message = office.message(1).replace_all(&[office.acme.certificate()]);
    let signed = |signer: &Signer| message.sign(signer).unwrap();
    let deputy = delegate(&office.arpk, "Deputy", &shape).unwrap();
    assert_eq!(office.apply(&signed(&deputy), &none()).unwrap().ccm.sequence, 1);

    let purpose = Some(vec![2, 25, 230_570_099, 4]);
    let of = |authority: &Authority, shape: &Shape| authority.signer("Other", shape).unwrap();
    let below = office.arpk.intermediate("Below", &shape).unwrap();
    let namesake = Authority::root("Administrator", &shape).unwrap();
    let wrong = [
        ("a signer of code", of(&office.arpk, &shape)),
        ("no purpose", of(&office.arpk, &Shape { code_signing: false, ..shape.clone() })),
        ("another purpose", of(&office.arpk, &Shape { other_purpose: Some(vec![1, 2, 3]), ..shape.clone() })),
        (
            "not for signatures",
            of(
                &office.arpk,
                &Shape { other_purpose: purpose.clone(), digital_signature: false, ..shape.clone() },
            ),
        ),
        ("not issued directly", delegate(&below, "Deputy", &shape).unwrap()),
        ("an authority below", below.as_signer().unwrap()),
        ("a namesake's delegate", delegate(&namesake, "Deputy", &shape).unwrap()),
        ("a namesake", namesake.as_signer().unwrap()),
        ("another root", office.acme.as_signer().unwrap()),
    ];
    for (what, signer) in wrong {
        let refusal = office.apply(&signed(&signer), &none()).unwrap_err();
        assert_eq!(refusal.reason, Reason::CcmWrongSigner, "{what}: {refusal}");
    }
    // Its certificate counts at the time, and its key until it is disabled.
    let short = Shape { not_after: later(60), ..shape.clone() };
    let deputy = delegate(&office.arpk, "Deputy", &short).unwrap();
    assert_eq!(
        office.apply_at(&signed(&deputy), &none(), later(61)).unwrap_err().reason,
        Reason::CertificateExpired
    );
    let early = Shape { not_before: later(60), ..shape };
    let late = delegate(&office.arpk, "Deputy", &early).unwrap();
    office.refuses(&signed(&late), &none(), Reason::CertificateNotYetValid);
    let dismissed = office.after(&[&office.message(1).disable(&[deputy.certificate()]).unwrap()]);
    let next = office.message(2).replace_all(&[office.acme.certificate()]);
    office.refuses(&next.sign(&deputy).unwrap(), &dismissed, Reason::CcmWrongSigner);
}

#[test]
fn the_administrators_certificate_counts_at_the_time() {
    let shape = Shape { not_after: later(60), ..Shape::at(AT) };
    let arpk = Authority::root("Administrator", &shape).unwrap();
    let store = store(&[(RootKind::Administrator, &arpk)]);
    let message = Message::new(arpk.certificate(), DEVICE, 1, AT).unwrap();
    let signed = message.sign(&arpk.as_signer().unwrap()).unwrap();
    let at = |at| apply(&signed, &none(), &store.roots()[0], HERE, at, &CcmLimits::default());
    assert!(at(later(60)).is_ok());
    assert_eq!(at(later(61)).unwrap_err().reason, Reason::CertificateExpired);
}

#[test]
fn a_message_for_others_is_the_wrong_target() {
    let office = Office::new();
    let targets = [
        (MessageTarget::Device(DEVICE.to_owned()), true),
        (MessageTarget::Device("device-18".to_owned()), false),
        (MessageTarget::Device("26201".to_owned()), false),
        (MessageTarget::Operator("26201".to_owned()), true),
        (MessageTarget::Operator("262010".to_owned()), false),
        (MessageTarget::Operator("26202".to_owned()), false),
    ];
    for (target, ours) in targets {
        let message = Message { target, ..office.message(1) };
        let signed = message.sign(&office.signer).unwrap();
        if ours {
            office.apply(&signed, &none()).unwrap();
        } else {
            office.refuses(&signed, &none(), Reason::CcmWrongTarget);
        }
        // Without a card no operator's message is for this device.
        let alone = Receiver { home_network: None, ..HERE };
        let limits = CcmLimits::default();
        let applied = apply(&signed, &none(), &office.store.roots()[0], alone, AT, &limits);
        let by_device = matches!(message.target, MessageTarget::Device(_));
        assert_eq!(applied.is_ok(), ours && by_device, "{:?}", message.target);
    }
}

#[test]
fn a_message_counts_only_in_its_time() {
    let office = Office::new();
    let message =
        Message { not_before: AT, not_after: later(10), next_update: later(5), ..office.message(1) };
    let signed = message.sign(&office.signer).unwrap();
    let outcome = |at| office.apply_at(&signed, &none(), at).err().map(|refusal| refusal.reason);
    assert_eq!(outcome(earlier(1)), Some(Reason::CcmNotYetValid));
    assert_eq!(outcome(AT), None);
    assert_eq!(outcome(later(5)), None);
    assert_eq!(outcome(later(6)), Some(Reason::CcmStale));
    assert_eq!(outcome(later(11)), Some(Reason::CcmExpired));
}
