//! Cards by their own commands (TS 102 221, TS 51.011): which commands to send and what the answers mean, whatever
//! carries them. A modem carries them in AT+CSIM, a card reader through PC/SC; each is an [`Exchange`].
//!
//! [`Apdu`] has forms for selecting and reading, and for nothing else.

use mexe_certs::usim::{CardKind, File, Part, Unread};

use crate::fcp::{self, FileFacts};
use crate::{Fault, Source};

/// A command that selects or reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apdu {
    /// Selects the USIM application, by the part of its name that all of them share.
    SelectUsim,
    /// Selects a file by its path from the master file.
    SelectPath(Vec<u16>),
    /// Selects a file or folder below the current one (GSM).
    SelectGsm(u16),
    /// Fetches the rest of an answer.
    GetResponse {
        /// Bytes; 0 is 256.
        length: u8,
    },
    /// Reads of the current transparent file.
    ReadBinary {
        /// Where to begin; at most 15 bits.
        offset: u16,
        /// Bytes; 0 is 256.
        length: u8,
    },
    /// Reads a record of the current linear fixed file.
    ReadRecord {
        /// Its number, from 1 on.
        number: u8,
        /// Its length.
        length: u8,
    },
}

impl Apdu {
    /// The bytes, for a card of that kind. `le`: whether a command that carries data also says that it wants some
    /// (protocol T=1).
    pub fn encode(&self, kind: CardKind, le: bool) -> Vec<u8> {
        let class = match kind {
            CardKind::GsmSim => 0xA0,
            CardKind::Usim => 0x00,
        };
        let mut out = match self {
            Self::SelectUsim => {
                [&[class, 0xA4, 0x04, 0x04, 0x07][..], &[0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02]].concat()
            }
            Self::SelectPath(path) => {
                let path: Vec<u8> = path.iter().flat_map(|id| id.to_be_bytes()).collect();
                let length = u8::try_from(path.len()).unwrap_or(u8::MAX);
                [&[class, 0xA4, 0x08, 0x04, length][..], &path].concat()
            }
            Self::SelectGsm(id) => [&[class, 0xA4, 0x00, 0x00, 0x02][..], &id.to_be_bytes()].concat(),
            Self::GetResponse { length } => vec![class, 0xC0, 0, 0, *length],
            Self::ReadBinary { offset, length } => {
                let [high, low] = offset.to_be_bytes();
                vec![class, 0xB0, high & 0x7F, low, *length]
            }
            Self::ReadRecord { number, length } => vec![class, 0xB2, *number, 0x04, *length],
        };
        if le && matches!(self, Self::SelectUsim | Self::SelectPath(_)) {
            out.push(0);
        }
        out
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::SelectUsim | Self::SelectPath(_) | Self::SelectGsm(_) => "select",
            Self::GetResponse { .. } => "get response",
            Self::ReadBinary { .. } => "read binary",
            Self::ReadRecord { .. } => "read record",
        }
    }
}

/// Carries commands to a card and answers back.
pub trait Exchange: Send {
    /// Sends one command; the answer with its two status bytes at the end.
    ///
    /// # Errors
    /// What carries them does not work, or there is no card.
    fn exchange(
        &mut self,
        apdu: &Apdu,
        kind: CardKind,
    ) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;
}

/// Reads a card through an exchange of commands.
#[derive(Debug)]
pub struct Commands<E> {
    exchange: E,
    kind: CardKind,
}

impl<E: Exchange> Commands<E> {
    /// For a card that was just powered: selects its USIM application; a card without one is a GSM SIM.
    ///
    /// # Errors
    /// As [`Exchange::exchange`].
    pub async fn open(exchange: E) -> Result<Self, Fault> {
        let mut commands = Self { exchange, kind: CardKind::Usim };
        let (_, status) = commands.send(Apdu::SelectUsim).await?;
        if status != OK {
            commands.kind = CardKind::GsmSim;
        }
        Ok(commands)
    }

    /// For a card that someone else, the modem, has powered and uses: its application is the current one already.
    ///
    /// # Errors
    /// As [`Exchange::exchange`].
    pub async fn join(exchange: E) -> Result<Self, Fault> {
        let mut commands = Self { exchange, kind: CardKind::Usim };
        // 6E00, 6D00: a GSM SIM does not know the class.
        let (_, status) = commands.send(Apdu::SelectPath(vec![CardKind::Usim.application()])).await?;
        if status != OK {
            commands.kind = CardKind::GsmSim;
        }
        Ok(commands)
    }

    /// For a card whose kind is known already.
    pub fn with_kind(exchange: E, kind: CardKind) -> Self {
        Self { exchange, kind }
    }

    /// The kind of card that was found.
    pub fn kind(&self) -> CardKind {
        self.kind
    }

    /// Sends a command and follows the card through the ways in which it hands out an answer.
    async fn send(&mut self, apdu: Apdu) -> Result<(Vec<u8>, u16), Fault> {
        let what = apdu.name();
        let mut data = Vec::new();
        let mut next = apdu;
        for _ in 0..TURNS_MAX {
            let answer = self.exchange.exchange(&next, self.kind).await?;
            let (body, status) = answer.split_last_chunk::<2>().ok_or(Fault::CardMalformed { what })?;
            data.extend_from_slice(body);
            next = match (*status, next) {
                ([0x61 | 0x9F, length], _) => Apdu::GetResponse { length },
                ([0x6C, length], Apdu::ReadBinary { offset, .. }) => Apdu::ReadBinary { offset, length },
                ([0x6C, length], Apdu::ReadRecord { number, .. }) => Apdu::ReadRecord { number, length },
                ([0x6C, length], Apdu::GetResponse { .. }) => Apdu::GetResponse { length },
                (status, _) => return Ok((data, u16::from_be_bytes(status))),
            };
        }
        Err(Fault::CardMalformed { what })
    }

    async fn select(&mut self, path: &[u16]) -> Result<Result<FileFacts, Unread>, Fault> {
        let (answer, status) = match self.kind {
            CardKind::Usim => self.send(Apdu::SelectPath(path.to_vec())).await?,
            CardKind::GsmSim => {
                let mut last = self.send(Apdu::SelectGsm(MASTER_FILE)).await?;
                for id in path {
                    if last.1 != OK {
                        break;
                    }
                    last = self.send(Apdu::SelectGsm(*id)).await?;
                }
                last
            }
        };
        match meaning(status, "select")? {
            Some(unread) => Ok(Err(unread)),
            None => Ok(match fcp::read(&answer) {
                None => Err(Unread::Misshapen),
                Some(FileFacts { deactivated: true, .. }) => Err(Unread::Deactivated),
                Some(facts) => Ok(facts),
            }),
        }
    }

    async fn first(&mut self, length: usize) -> Result<File, Fault> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let piece = length.saturating_sub(bytes.len()).min(PIECE_MAX);
            let (Ok(offset), Ok(piece)) = (u16::try_from(bytes.len()), u8::try_from(piece)) else { break };
            if offset > OFFSET_MAX {
                break;
            }
            let (data, status) = self.send(Apdu::ReadBinary { offset, length: piece }).await?;
            if let Some(unread) = meaning(status, "read binary")? {
                return Ok(File::Unread(unread));
            }
            if data.is_empty() || data.len() > usize::from(piece) {
                return Err(Fault::CardMalformed { what: "read binary" });
            }
            bytes.extend(data);
        }
        Ok(File::Bytes(bytes))
    }

    async fn records(&mut self, records: fcp::Records) -> Result<File, Fault> {
        let mut all = Vec::new();
        for number in 1..=records.count {
            let (data, status) = self.send(Apdu::ReadRecord { number, length: records.length }).await?;
            if let Some(unread) = meaning(status, "read record")? {
                return Ok(File::Unread(unread));
            }
            if data.len() != usize::from(records.length) {
                return Err(Fault::CardMalformed { what: "read record" });
            }
            all.push(data);
        }
        Ok(File::Records(all))
    }
}

impl<E: Exchange> Source for Commands<E> {
    async fn read(&mut self, path: &[u16], part: Part) -> Result<File, Fault> {
        let elsewhere = match self.kind {
            CardKind::Usim => CardKind::GsmSim,
            CardKind::GsmSim => CardKind::Usim,
        };
        if path.first() == Some(&elsewhere.application()) {
            return Ok(File::Unread(Unread::Absent));
        }
        let facts = match self.select(path).await? {
            Ok(facts) => facts,
            Err(unread) => return Ok(File::Unread(unread)),
        };
        match (part, facts.records) {
            (Part::First(length), None) => self.first(length.min(facts.size)).await,
            (Part::Records, Some(records)) => self.records(records).await,
            _ => Ok(File::Unread(Unread::Misshapen)),
        }
    }
}

/// What a card's status bytes mean for a file: `None` is success.
///
/// # Errors
/// The card does not work.
pub(crate) fn meaning(status: u16, what: &'static str) -> Result<Option<Unread>, Fault> {
    Ok(match status {
        OK | 0x9100..=0x91FF => None,
        // 6982, 9804: the PIN was not given, or the right is not there.
        0x6982 | 0x9804 => Some(Unread::Denied),
        0x6283 | 0x6984 | 0x6985 | 0x9810 => Some(Unread::Deactivated),
        0x6A82 | 0x6A81 | 0x9404 | 0x6D00 | 0x6E00 => Some(Unread::Absent),
        0x6981 | 0x6A83 | 0x6B00 | 0x9402 | 0x9408 | 0x6700 => Some(Unread::Misshapen),
        status => return Err(Fault::CardRefused { what, status }),
    })
}

const OK: u16 = 0x9000;
const MASTER_FILE: u16 = 0x3F00;
/// READ BINARY has 15 bits of offset.
const OFFSET_MAX: u16 = 0x7FFF;
/// Some modems do not take 256 in AT+CSIM.
const PIECE_MAX: usize = 255;
/// An answer comes in one piece, or is asked for again once or twice.
const TURNS_MAX: usize = 8;
