//! Reads (U)SIM cards. Three sources give the same [`mexe_certs::usim::Image`]: a directory of files ([`directory`]), the
//! modem that carries the bearer ([`modem`], [`watch`]) and a card reader (`reader`, feature `pcsc`). What the image
//! means is decided in `mexe-certs`; which source counts, by the service: outside a lab, the modem alone.
//!
//! Nothing here can send a PIN: what goes to a card is an [`apdu::Apdu`] or a [`at::Command`], and neither has a form
//! for it. A card that wants one is [`Fault::CardLocked`].
//!
//! The modem makes voice calls as well ([`calls`]) and carries data ([`contexts`]): the port has one owner, so what watches
//! the card serves them.

pub mod apdu;
pub mod at;
pub mod calls;
pub mod contexts;
pub mod directory;
mod fault;
mod fcp;
mod link;
pub mod modem;
#[cfg(feature = "pcsc")]
pub mod reader;
#[cfg(feature = "modem")]
pub mod serial;
mod source;
pub mod watch;

pub use self::calls::{Call, CallFault, End, State, Voice};
pub use self::contexts::{ContextFault, Contexts};
pub use self::fault::Fault;
pub use self::modem::Modem;
pub use self::source::{Source, read_image};
pub use self::watch::{Event, Watch};

/// Where a card was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A directory of its files.
    Directory,
    /// The modem that carries the bearer.
    Modem,
    /// A card reader.
    Reader,
}

impl Origin {
    /// The stable name: `directory`, `modem`, `reader`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Modem => "modem",
            Self::Reader => "reader",
        }
    }

    /// Whether it is for labs only: anyone can write a directory, and anyone can put a card into a reader. Only the card
    /// that the device is registered with counts on a device (security.md S18).
    pub const fn is_lab(self) -> bool {
        !matches!(self, Self::Modem)
    }
}
