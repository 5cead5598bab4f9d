//! A card in a card reader, through PC/SC (feature `pcsc`). For labs: a card that does not carry the bearer vouches for
//! nothing on a device (security.md S18).

use std::ffi::CString;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use mexe_certs::usim::{CardKind, Image};
use pcsc::{Context, Error, MAX_BUFFER_SIZE, Protocol, Protocols, Scope, ShareMode};

use crate::apdu::{Apdu, Commands, Exchange};
use crate::{Fault, read_image};

/// The names of the readers that are there.
///
/// # Errors
/// The service is not running, or does not answer.
pub fn names() -> Result<Vec<String>, Fault> {
    let context = Context::establish(Scope::User).map_err(fault)?;
    let names = context.list_readers_owned().map_err(fault)?;
    Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

/// Reads the card in a reader, by its name or, without one, in the first reader that has a card.
///
/// # Errors
/// There is no reader, no card in it, or the card cannot be read.
pub fn read(name: Option<&str>) -> Result<Image, Fault> {
    let context = Context::establish(Scope::User).map_err(fault)?;
    let candidates = match name {
        Some(name) => vec![CString::new(name).map_err(|_| Fault::Reader("its name is no name".to_owned()))?],
        None => context.list_readers_owned().map_err(fault)?,
    };
    let mut why = Fault::Reader("there is no card reader".to_owned());
    for name in candidates {
        // T=0 first: that is what (U)SIMs speak.
        let connected = context.connect(&name, ShareMode::Shared, Protocols::T0 | Protocols::T1);
        match connected.map_err(fault) {
            Ok(card) => return read_card(&card),
            Err(fault) => why = fault,
        }
    }
    Err(why)
}

fn read_card(card: &pcsc::Card) -> Result<Image, Fault> {
    let status = card.status2_owned().map_err(fault)?;
    let le = status.protocol2() == Some(Protocol::T1);
    let reading = async {
        let mut commands = Commands::open(Connected { card, le }).await?;
        read_image(&mut commands).await
    };
    // Nothing in it ever waits: PC/SC blocks instead.
    match pin!(reading).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(image) => image,
        Poll::Pending => Err(Fault::Reader("the reading stopped half-way".to_owned())),
    }
}

struct Connected<'a> {
    card: &'a pcsc::Card,
    le: bool,
}

impl Exchange for Connected<'_> {
    async fn exchange(&mut self, apdu: &Apdu, kind: CardKind) -> Result<Vec<u8>, Fault> {
        let mut buffer = [0; MAX_BUFFER_SIZE];
        self.card.transmit(&apdu.encode(kind, self.le), &mut buffer).map(<[u8]>::to_vec).map_err(fault)
    }
}

fn fault(error: Error) -> Fault {
    match error {
        Error::NoSmartcard | Error::RemovedCard | Error::UnpoweredCard | Error::UnresponsiveCard => {
            Fault::CardGone
        }
        Error::ResetCard => Fault::CardChanged,
        error => Fault::Reader(error.to_string().to_lowercase().trim_end_matches('.').to_owned()),
    }
}
