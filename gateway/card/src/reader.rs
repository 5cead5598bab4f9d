//! A card in a card reader, through PC/SC (feature `pcsc`). For labs: a card that does not carry the bearer vouches for
//! nothing on a device (security.md S18).

use std::ffi::CString;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use mexe_certs::usim::{CardKind, Image};
use pcsc::{
    Context, Disposition, Error, MAX_BUFFER_SIZE, Protocol, Protocols, ReaderState, Scope, ShareMode, State,
};

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

/// Which readers are there and how often a card came or went, as far as that can be told without asking a card: another
/// value means that it is worth reading again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence(Vec<(CString, u32, bool)>);

impl Presence {
    /// Looks at the reader of that name or, without one, at all.
    ///
    /// # Errors
    /// The service is not running, or does not answer; there is no reader.
    pub fn look(name: Option<&str>) -> Result<Self, Fault> {
        let context = Context::establish(Scope::User).map_err(fault)?;
        let names = candidates(&context, name)?;
        if names.is_empty() {
            return Err(no_reader());
        }
        let mut readers: Vec<_> =
            names.iter().map(|name| ReaderState::new(name.clone(), State::UNAWARE)).collect();
        context.get_status_change(Duration::ZERO, &mut readers).map_err(fault)?;
        let seen = names.into_iter().zip(&readers);
        let seen = seen.map(|(name, reader)| {
            (name, reader.event_count(), reader.event_state().contains(State::PRESENT))
        });
        Ok(Self(seen.collect()))
    }

    /// Whether a card is in one of them.
    pub fn has_card(&self) -> bool {
        self.0.iter().any(|(_, _, present)| *present)
    }

    /// Whether nothing came or went in that one reader since.
    pub fn is_same_in(&self, reader: &ReaderName, since: &Self) -> bool {
        let of = |presence: &Self| {
            presence
                .0
                .iter()
                .find(|(name, ..)| *name == reader.0)
                .map(|&(_, count, present)| (count, present))
        };
        of(self).is_some_and(|(count, present)| present && of(since) == Some((count, present)))
    }
}

/// Which reader a card was read in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderName(CString);

fn candidates(context: &Context, name: Option<&str>) -> Result<Vec<CString>, Fault> {
    match name {
        Some(name) => {
            Ok(vec![CString::new(name).map_err(|_| Fault::Reader("its name is no name".to_owned()))?])
        }
        None => context.list_readers_owned().map_err(fault),
    }
}

fn no_reader() -> Fault {
    Fault::Reader("there is no card reader".to_owned())
}

/// Reads the card in a reader, by its name or, without one, in the first reader that has a card; says in which.
///
/// # Errors
/// There is no reader, no card in it, or the card cannot be read.
pub fn read(name: Option<&str>) -> Result<(Image, ReaderName), Fault> {
    let context = Context::establish(Scope::User).map_err(fault)?;
    let mut why = no_reader();
    for name in candidates(&context, name)? {
        // T=0 first: that is what (U)SIMs speak.
        let connected = context.connect(&name, ShareMode::Shared, Protocols::T0 | Protocols::T1);
        match connected.map_err(fault) {
            Ok(card) => {
                let image = read_card(&card);
                // Others may be using it: it is not reset. If it is gone meanwhile, there is nothing to leave.
                let _ = card.disconnect(Disposition::LeaveCard);
                return image.map(|image| (image, ReaderName(name)));
            }
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
