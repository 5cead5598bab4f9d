//! Why a card could not be read, whose fault first. A single file that cannot be read is none: it is noted in the image
//! (`mexe_certs::usim::Unread`).

use std::io;

/// Why a card could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Another card answered in the middle.
    #[error("the card was changed while it was read")]
    CardChanged,
    /// There is no card.
    #[error("there is no card")]
    CardGone,
    /// The card wants its PIN.
    #[error("the card is locked by its PIN; unlock it on the device, the gate never gives one")]
    CardLocked,
    /// The card's answer makes no sense.
    #[error("the card's answer to {what} makes no sense")]
    CardMalformed {
        /// What was asked.
        what: &'static str,
    },
    /// The card said no.
    #[error("the card answered {status:04X} to {what}")]
    CardRefused {
        /// What was asked.
        what: &'static str,
        /// The two status bytes.
        status: u16,
    },
    /// The modem or its card is not ready, again and again.
    #[error("the card is busy")]
    CardBusy,
    /// The modem dials, and would stop at a word.
    #[error("the modem dials and cannot be asked until that call is through")]
    ModemDials,
    /// The modem's answer makes no sense.
    #[error("the modem's answer to `{command}` makes no sense")]
    ModemMalformed {
        /// What was asked.
        command: String,
    },
    /// The port to the modem is gone.
    #[error("the port of the modem is gone")]
    ModemGone(#[source] io::Error),
    /// The modem said no.
    #[error("the modem answered `{answer}` to `{command}`")]
    ModemRefused {
        /// What was asked.
        command: String,
        /// The final result.
        answer: String,
    },
    /// The modem did not answer in time.
    #[error("the modem did not answer `{command}` in time")]
    ModemSilent {
        /// What was asked.
        command: String,
    },
    /// The card reader, or the service between it and here.
    #[error("the card reader does not work: {0}")]
    Reader(String),
    /// A file of a directory image.
    #[error("the file `{name}` cannot be read as part of a card: {what}")]
    LocalFile {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The local system.
    #[error("cannot read")]
    Local(#[source] io::Error),
}

impl Fault {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CardChanged => "card-changed",
            Self::CardGone => "card-gone",
            Self::CardLocked => "card-locked",
            Self::CardMalformed { .. } => "card-malformed",
            Self::CardRefused { .. } => "card-refused",
            Self::CardBusy => "card-busy",
            Self::ModemDials => "modem-dials",
            Self::ModemMalformed { .. } => "modem-malformed",
            Self::ModemGone(_) => "modem-gone",
            Self::ModemRefused { .. } => "modem-refused",
            Self::ModemSilent { .. } => "modem-silent",
            Self::Reader(_) => "reader",
            Self::LocalFile { .. } => "local-file",
            Self::Local(_) => "local",
        }
    }
}
