//! An administrator's office: its key, two third parties, and a device that its messages arrive at.

#![allow(dead_code, unreachable_pub, reason = "shared by several test files")]

use mexe_certs::ccm::{Applied, CcmLimits, CcmState, Receiver, Standing, apply};
use mexe_certs::{Fingerprint, Refusal, RootKind, TrustStore};
use mexe_forge::ccm::Message;
use mexe_forge::pki::{Authority, KeyKind, Shape, Signer};
use mexe_forge::sealed::key_hash;
use mexe_model::{Reason, WallTime};

use crate::support::{AT, store};

pub const DEVICE: &str = "device-17";
pub const HERE: Receiver<'static> = Receiver { device: DEVICE, home_network: Some("26201") };

/// An administrator's key and two third parties' certificates.
pub struct Office {
    pub arpk: Authority,
    pub signer: Signer,
    pub store: TrustStore,
    pub acme: Authority,
    pub bravo: Authority,
}

impl Office {
    pub fn new() -> Self {
        Self::with(KeyKind::P256)
    }

    pub fn with(key: KeyKind) -> Self {
        let arpk = Authority::root("Administrator", &Shape::at(AT).with_key(key)).unwrap();
        let [acme, bravo] = ["Acme", "Bravo"].map(|name| Authority::root(name, &Shape::at(AT)).unwrap());
        let store = store(&[(RootKind::Administrator, &arpk)]);
        Self { signer: arpk.as_signer().unwrap(), arpk, store, acme, bravo }
    }

    pub fn message(&self, sequence: u64) -> Message {
        Message::new(self.arpk.certificate(), DEVICE, sequence, AT).unwrap()
    }

    pub fn key(&self) -> Fingerprint {
        key_of(&self.arpk)
    }

    pub fn apply(&self, message: &[u8], state: &CcmState) -> Result<Applied, Refusal> {
        self.apply_at(message, state, AT)
    }

    pub fn apply_at(&self, message: &[u8], state: &CcmState, at: WallTime) -> Result<Applied, Refusal> {
        apply(message, state, &self.store.roots()[0], HERE, at, &CcmLimits::default())
    }

    /// The state after these messages, each of which counts.
    pub fn after(&self, messages: &[&Message]) -> CcmState {
        messages.iter().fold(CcmState::default(), |state, message| {
            self.apply(&message.sign(&self.signer).unwrap(), &state).unwrap().state
        })
    }

    #[track_caller]
    pub fn refuses(&self, message: &[u8], state: &CcmState, reason: Reason) {
        let before = state.clone();
        match self.apply(message, state) {
            Err(refusal) => assert_eq!(refusal.reason, reason, "{}", refusal.detail),
            Ok(applied) => panic!("expected a refusal for {reason}, applied {:?}", applied.ccm),
        }
        assert_eq!(*state, before);
    }

    pub fn standing(&self, state: &CcmState, of: &Authority) -> Standing {
        state.standing(&self.key(), &[certificate_of(of)], &[key_of(of)])
    }
}

pub fn key_of(authority: &Authority) -> Fingerprint {
    Fingerprint(key_hash(authority.certificate()).unwrap())
}

pub fn certificate_of(authority: &Authority) -> Fingerprint {
    Fingerprint::of(authority.certificate())
}

pub fn none() -> CcmState {
    CcmState::default()
}
