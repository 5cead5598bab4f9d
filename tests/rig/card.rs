//! An emulated (U)SIM: a forged card behind the commands of TS 102 221 (USIM) or TS 51.011 (GSM SIM), with selecting,
//! reading, and answers that are fetched in a second step, as T=0 cards have them. The fake modem and the virtual card
//! reader serve it. It keeps every command that it was ever sent.

use std::collections::{BTreeMap, BTreeSet};

use mexe_forge::usim::{Body, Card, CardKind};

/// A card in a slot.
#[derive(Debug, Clone)]
pub struct Emulator {
    kind: CardKind,
    tree: BTreeMap<Vec<u16>, Body>,
    current: Vec<u16>,
    pending: Vec<u8>,
    /// The PIN was not given: nothing but the card's number can be read.
    pub locked: bool,
    /// Files that are deactivated, by their identifier.
    pub deactivated: BTreeSet<u16>,
    /// Every command, the oldest first.
    pub heard: Vec<Vec<u8>>,
}

impl Emulator {
    /// Puts the card in.
    pub fn new(card: &Card) -> Self {
        Self {
            kind: card.kind,
            tree: card.tree(),
            current: Vec::new(),
            pending: Vec::new(),
            locked: false,
            deactivated: BTreeSet::new(),
            heard: Vec::new(),
        }
    }

    /// The subscriber's identity, as the modem reads it for itself.
    pub fn imsi_file(&self) -> &[u8] {
        let application = if self.kind == CardKind::Usim { 0x7FFF } else { 0x7F20 };
        match &self.tree[&vec![application, 0x6F07]] {
            Body::Transparent(bytes) => bytes,
            Body::Records(_) => unreachable!("forged as a transparent file"),
        }
    }

    /// Forgets what was selected.
    pub fn reset(&mut self) {
        (self.current, self.pending) = (Vec::new(), Vec::new());
    }

    /// Answers one command, status bytes at the end.
    pub fn command(&mut self, apdu: &[u8]) -> Vec<u8> {
        self.heard.push(apdu.to_vec());
        let class = if self.kind == CardKind::Usim { 0x00 } else { 0xA0 };
        let &[cla, ins, p1, p2, p3, ref data @ ..] = apdu else { return status(0x6700) };
        if cla != class {
            return status(0x6E00);
        }
        match ins {
            0xA4 => self.select(p1, data.get(..usize::from(p3)).unwrap_or_default()),
            0xC0 => self.get_response(p3),
            0xB0 => self.read_binary(p1, p2, p3),
            0xB2 if p2 == 4 => self.read_record(p1, p3),
            0xB2 => status(0x6A86),
            _ => status(0x6D00),
        }
    }

    fn select(&mut self, p1: u8, data: &[u8]) -> Vec<u8> {
        let ids: Vec<u16> = data.chunks_exact(2).map(|id| u16::from_be_bytes([id[0], id[1]])).collect();
        let path = match (self.kind, p1) {
            (CardKind::Usim, 0x04) if [0xA0, 0, 0, 0, 0x87, 0x10, 0x02].starts_with(data) => vec![0x7FFF],
            (CardKind::Usim, 0x04) => return status(0x6A82),
            (CardKind::Usim, 0x08) => ids,
            (CardKind::GsmSim, 0x00) if ids == [0x3F00] => Vec::new(),
            (CardKind::GsmSim, 0x00) => {
                let mut folder = self.current.clone();
                if self.tree.contains_key(&folder) {
                    folder.pop();
                }
                folder.extend(ids);
                folder
            }
            _ => return status(0x6A86),
        };
        let is_folder = self.tree.keys().any(|file| file.len() > path.len() && file.starts_with(&path));
        if !is_folder && !self.tree.contains_key(&path) {
            return status(if self.kind == CardKind::Usim { 0x6A82 } else { 0x9404 });
        }
        self.current = path;
        self.pending = self.facts();
        let more = if self.kind == CardKind::Usim { 0x61 } else { 0x9F };
        status(u16::from_be_bytes([more, self.pending.len() as u8]))
    }

    /// What the card says of the current file or folder.
    fn facts(&self) -> Vec<u8> {
        let id = self.current.last().copied().unwrap_or(0x3F00);
        let [high, low] = id.to_be_bytes();
        let active = !self.deactivated.contains(&id);
        let body = self.tree.get(&self.current);
        let size = match body {
            None => 0,
            Some(Body::Transparent(bytes)) => bytes.len(),
            Some(Body::Records(records)) => records.iter().map(Vec::len).sum(),
        };
        let [size1, size0] = (size as u16).to_be_bytes();
        let record = match body {
            Some(Body::Records(records)) => Some((records[0].len() as u8, records.len() as u8)),
            _ => None,
        };
        if self.kind == CardKind::GsmSim {
            let Some(_) = body else { return [vec![0; 4], vec![high, low], vec![2], vec![0; 15]].concat() };
            let (structure, length) = record.map_or((0, 0), |(length, _)| (1, length));
            return vec![
                0,
                0,
                size1,
                size0,
                high,
                low,
                4,
                0,
                0x1F,
                0xF4,
                0x44,
                active.into(),
                2,
                structure,
                length,
            ];
        }
        let descriptor = match (body, record) {
            (None, _) => vec![0x82, 2, 0x78, 0x21],
            (Some(_), None) => vec![0x82, 2, 0x41, 0x21],
            (Some(_), Some((length, count))) => vec![0x82, 5, 0x42, 0x21, 0, length, count],
        };
        let content = [
            descriptor,
            vec![0x83, 2, high, low],
            vec![0x8A, 1, if active { 5 } else { 4 }],
            vec![0x8B, 3, 0x6F, 0x06, 1],
            vec![0x80, 2, size1, size0],
        ]
        .concat();
        [vec![0x62, content.len() as u8], content].concat()
    }

    fn get_response(&mut self, length: u8) -> Vec<u8> {
        if self.pending.is_empty() {
            return status(0x6F00);
        }
        if usize::from(length) != self.pending.len() {
            return status(u16::from_be_bytes([0x6C, self.pending.len() as u8]));
        }
        [std::mem::take(&mut self.pending), status(0x9000)].concat()
    }

    /// Why the current file cannot be read, if so.
    fn forbidden(&self) -> Option<Vec<u8>> {
        let gsm = self.kind == CardKind::GsmSim;
        let id = self.current.last().copied().unwrap_or(0x3F00);
        if self.locked && id != 0x2FE2 {
            return Some(status(if gsm { 0x9804 } else { 0x6982 }));
        }
        self.deactivated.contains(&id).then(|| status(if gsm { 0x9810 } else { 0x6985 }))
    }

    fn read_binary(&mut self, p1: u8, p2: u8, length: u8) -> Vec<u8> {
        let Some(Body::Transparent(bytes)) = self.tree.get(&self.current) else { return status(0x6981) };
        if let Some(forbidden) = self.forbidden() {
            return forbidden;
        }
        let offset = usize::from(u16::from_be_bytes([p1 & 0x7F, p2]));
        let wanted = if length == 0 { 256 } else { usize::from(length) };
        match bytes.get(offset..) {
            None | Some([]) => status(0x6B00),
            Some(rest) if rest.len() < wanted => status(u16::from_be_bytes([0x6C, rest.len() as u8])),
            Some(rest) => [rest[..wanted].to_vec(), status(0x9000)].concat(),
        }
    }

    fn read_record(&mut self, number: u8, length: u8) -> Vec<u8> {
        let Some(Body::Records(records)) = self.tree.get(&self.current) else { return status(0x6981) };
        if let Some(forbidden) = self.forbidden() {
            return forbidden;
        }
        match usize::from(number).checked_sub(1).and_then(|at| records.get(at)) {
            None => status(0x6A83),
            Some(record) if record.len() != usize::from(length) => {
                status(u16::from_be_bytes([0x6C, record.len() as u8]))
            }
            Some(record) => [record.clone(), status(0x9000)].concat(),
        }
    }

    /// What a modem does for AT+CRSM: finds the file by itself, does one thing, and hands out data and status.
    pub fn restricted(&mut self, folders: &[u16], command: u16, file: u16, p: [u8; 3]) -> (u16, Vec<u8>) {
        let class = if self.kind == CardKind::Usim { 0x00 } else { 0xA0 };
        let path: Vec<u16> = folders.iter().copied().chain([file]).collect();
        let mut answer = if self.kind == CardKind::Usim {
            let data: Vec<u8> = path.iter().flat_map(|id| id.to_be_bytes()).collect();
            self.command(&[vec![class, 0xA4, 8, 4, data.len() as u8], data].concat())
        } else {
            let select = |id: u16| [vec![class, 0xA4, 0, 0, 2], id.to_be_bytes().to_vec()].concat();
            [0x3F00].into_iter().chain(path).fold(Vec::new(), |last, id| match last.first() {
                Some(0x94) => last,
                _ => self.command(&select(id)),
            })
        };
        let selected = matches!(answer[..], [0x61 | 0x9F, _]);
        if selected {
            let [p1, p2, p3] = p;
            answer = match command {
                176 => self.command(&[class, 0xB0, p1, p2, p3]),
                178 => self.command(&[class, 0xB2, p1, p2, p3]),
                _ => {
                    let length = answer[1];
                    self.command(&[class, 0xC0, 0, 0, length])
                }
            };
        }
        let (data, sw) = answer.split_at(answer.len() - 2);
        (u16::from_be_bytes([sw[0], sw[1]]), data.to_vec())
    }
}

fn status(status: u16) -> Vec<u8> {
    status.to_be_bytes().to_vec()
}
