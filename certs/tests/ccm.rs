//! Certificate configuration messages: what counts, what does not and for which reason, and the attacks that TUF names
//! (theupdateframework.io, security), each by its name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use mexe_certs::ccm::{
    Applied, CcmLimits, CcmState, Configuration, Freshness, Mode, Receiver, SEQUENCE_MAX, Standing, apply,
};
use mexe_certs::{Fingerprint, Refusal, RootKind, TrustStore};
use mexe_forge::ccm::{Message, MessageTarget, SealDefect, delegate};
use mexe_forge::pki::{Authority, KeyKind, Shape, Signer};
use mexe_forge::sealed::key_hash;
use mexe_model::{Reason, WallTime};
use support::{AT, DAY, earlier, later, store};

const DEVICE: &str = "device-17";
const HERE: Receiver<'static> = Receiver { device: DEVICE, home_network: Some("26201") };

/// An administrator's key and two third parties' certificates.
struct Office {
    arpk: Authority,
    signer: Signer,
    store: TrustStore,
    acme: Authority,
    bravo: Authority,
}

impl Office {
    fn new() -> Self {
        Self::with(KeyKind::P256)
    }

    fn with(key: KeyKind) -> Self {
        let arpk = Authority::root("Administrator", &Shape::at(AT).with_key(key)).unwrap();
        let [acme, bravo] = ["Acme", "Bravo"].map(|name| Authority::root(name, &Shape::at(AT)).unwrap());
        let store = store(&[(RootKind::Administrator, &arpk)]);
        Self { signer: arpk.as_signer().unwrap(), arpk, store, acme, bravo }
    }

    fn message(&self, sequence: u64) -> Message {
        Message::new(self.arpk.certificate(), DEVICE, sequence, AT).unwrap()
    }

    fn key(&self) -> Fingerprint {
        key_of(&self.arpk)
    }

    fn apply(&self, message: &[u8], state: &CcmState) -> Result<Applied, Refusal> {
        self.apply_at(message, state, AT)
    }

    fn apply_at(&self, message: &[u8], state: &CcmState, at: WallTime) -> Result<Applied, Refusal> {
        apply(message, state, &self.store.roots()[0], HERE, at, &CcmLimits::default())
    }

    /// The state after these messages, each of which counts.
    fn after(&self, messages: &[&Message]) -> CcmState {
        messages.iter().fold(CcmState::default(), |state, message| {
            self.apply(&message.sign(&self.signer).unwrap(), &state).unwrap().state
        })
    }

    #[track_caller]
    fn refuses(&self, message: &[u8], state: &CcmState, reason: Reason) {
        let before = state.clone();
        match self.apply(message, state) {
            Err(refusal) => assert_eq!(refusal.reason, reason, "{}", refusal.detail),
            Ok(applied) => panic!("expected a refusal for {reason}, applied {:?}", applied.ccm),
        }
        assert_eq!(*state, before);
    }

    fn standing(&self, state: &CcmState, of: &Authority) -> Standing {
        state.standing(&self.key(), &[certificate_of(of)], &[key_of(of)])
    }
}

fn key_of(authority: &Authority) -> Fingerprint {
    Fingerprint(key_hash(authority.certificate()).unwrap())
}

fn certificate_of(authority: &Authority) -> Fingerprint {
    Fingerprint::of(authority.certificate())
}

fn none() -> CcmState {
    CcmState::default()
}

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
