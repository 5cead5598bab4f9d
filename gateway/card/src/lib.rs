//! Reads (U)SIM cards. Three sources give the same [`mexe_certs::usim::Image`]: a directory of files ([`directory`]), the
//! modem that carries the bearer ([`modem`], [`watch`]) and a card reader (`reader`, feature `pcsc`). What the image
//! means is decided in `mexe-certs`; which source counts, by the service: outside a lab, the modem alone.
//!
//! Nothing here can send a PIN: what goes to a card is an [`apdu::Apdu`] or a [`at::Command`], and neither has a form
//! for it. A card that wants one is [`Fault::CardLocked`].

pub mod apdu;
pub mod at;
pub mod directory;
mod fault;
mod fcp;
pub mod modem;
#[cfg(feature = "pcsc")]
pub mod reader;
#[cfg(feature = "modem")]
pub mod serial;
mod source;
pub mod watch;

pub use self::fault::Fault;
pub use self::modem::Modem;
pub use self::source::{Source, read_image};
pub use self::watch::{Event, Watch};
