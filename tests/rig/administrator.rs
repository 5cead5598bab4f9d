//! An administrator of the third party domain, and its messages.

use mexe_forge::ccm::Message;
use mexe_forge::pki::{Authority, Shape, Signer};
use mexe_model::WallTime;

use crate::cli::Output;
use crate::verbs::{cli, file};
use crate::{Rig, packages};

/// An administrator's authority, and a signer with its very key.
pub struct Administrator {
    /// The authority.
    pub authority: Authority,
    /// Its key, as the signer of messages.
    pub signer: Signer,
    /// When it was made.
    pub at: WallTime,
}

impl Administrator {
    /// Makes one.
    ///
    /// # Panics
    /// When a key cannot be made.
    pub fn new(name: &str) -> Self {
        let at = packages::now();
        let authority = Authority::root(name, &Shape::at(at)).unwrap();
        let signer = authority.as_signer().unwrap();
        Self { authority, signer, at }
    }

    /// A message for that device with that number.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn message(&self, device: &str, sequence: u64) -> Message {
        Message::new(self.authority.certificate(), device, sequence, self.at).unwrap()
    }

    /// Signs a message and hands it to the gate.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn send(&self, rig: &Rig, message: &Message) -> Output {
        self.send_bytes(rig, &message.sign(&self.signer).unwrap())
    }

    /// Hands bytes to the gate as a message.
    pub fn send_bytes(&self, rig: &Rig, bytes: &[u8]) -> Output {
        let path = file(rig, "message.ccm", bytes);
        cli(rig, &["ccm", "apply", path.to_str().unwrap()])
    }
}
