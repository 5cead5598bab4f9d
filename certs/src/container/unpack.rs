//! Unpacks one entry, piece by piece, from the place that the layout gives. It must be exactly what its headers say: that
//! many packed and unpacked bytes, and nothing behind the end of the packed data. The checksum is compared in
//! [`super`]; what else the bytes are compared with is decided in [`crate::jar`].

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use mexe_inflate::{HISTORY, Inflater, ROOM, Stop};

use super::Entry;
use super::aside::{Aside, HandOn};
use super::window::Window;

/// The buffers that unpacking needs, kept from entry to entry: less than a MiB.
pub(super) struct Unpacker {
    packed: Vec<u8>,
    plain: Vec<u8>,
    /// The buffer that follows when `plain` is full.
    next: Vec<u8>,
    inflater: Box<Inflater>,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self {
            packed: vec![0; PACKED],
            plain: vec![0; PLAIN],
            next: vec![0; PLAIN],
            inflater: Box::default(),
        }
    }

    /// Hands the entry's bytes on, in a buffer for which another of the same length may be left.
    ///
    /// # Errors
    /// What is wrong with its data, in one line.
    pub(super) fn unpack<R: Read + Seek>(
        &mut self,
        window: &mut Window<R>,
        entry: &Entry,
        aside: &dyn Aside,
        hand_on: &mut HandOn<'_>,
    ) -> Result<(), String> {
        window.seek(SeekFrom::Start(entry.begins)).map_err(|error| error.to_string())?;
        let mut out = Out { left: entry.size, hand_on };
        if entry.deflated {
            self.inflate(window, entry, aside, &mut out)?;
        } else {
            let mut left = entry.packed;
            while left > 0 {
                let read = next(window, &mut self.plain, &mut left)?;
                out.put(&mut self.plain, 0..read)?;
            }
        }
        if out.left == 0 { Ok(()) } else { Err("it unpacks to less than its header says".to_owned()) }
    }

    fn inflate<R: Read + Seek>(
        &mut self,
        window: &mut Window<R>,
        entry: &Entry,
        aside: &dyn Aside,
        out: &mut Out<'_, '_>,
    ) -> Result<(), String> {
        let Self { packed, plain, next: other, inflater } = self;
        inflater.reset();
        let mut inflating =
            Inflating { inflater, plain, next: other, at: HISTORY, left: entry.packed, ended: false };
        let (mut read, mut inflated) = (Ok(()), Ok(()));
        let broken = AtomicBool::new(false);
        let mut make = |hand_on: &mut HandOn<'_>| {
            let mut left = entry.packed;
            while left > 0 && !broken.load(Ordering::Relaxed) {
                match next(window, packed, &mut left) {
                    Ok(length) => hand_on(packed, 0..length),
                    Err(error) => {
                        read = Err(error);
                        return;
                    }
                }
            }
        };
        let mut take = |piece: &[u8]| {
            if inflated.is_ok() {
                inflated = inflating.feed(piece, out);
                broken.store(inflated.is_err(), Ordering::Relaxed);
            }
        };
        aside.beside(&mut make, &mut take);
        inflated.and(read)?;
        if inflating.ended { Ok(()) } else { Err(CUT_OFF.to_owned()) }
    }
}

/// Where unpacked bytes go.
struct Out<'a, 'b> {
    /// How many are still to come.
    left: u64,
    hand_on: &'a mut HandOn<'b>,
}

impl Out<'_, '_> {
    fn put(&mut self, buffer: &mut Vec<u8>, piece: Range<usize>) -> Result<(), String> {
        let left = u64::try_from(piece.len()).ok().and_then(|length| self.left.checked_sub(length));
        self.left = left.ok_or("it unpacks to more than its header says")?;
        (self.hand_on)(buffer, piece);
        Ok(())
    }
}

/// An entry that is being inflated.
struct Inflating<'a> {
    inflater: &'a mut Inflater,
    /// Unpacked bytes from [`HISTORY`] up to `at`, and those before them that copies reach back to.
    plain: &'a mut Vec<u8>,
    at: usize,
    next: &'a mut Vec<u8>,
    /// How many packed bytes are still to come.
    left: u64,
    ended: bool,
}

impl Inflating<'_> {
    /// Inflates the next packed bytes.
    fn feed(&mut self, input: &[u8], out: &mut Out<'_, '_>) -> Result<(), String> {
        self.left = self.left.saturating_sub(u64::try_from(input.len()).unwrap_or(u64::MAX));
        let mut input = input;
        loop {
            let stop = self.inflater.inflate(&mut input, self.plain, &mut self.at);
            match stop.map_err(|_| "its packed data are damaged")? {
                Stop::Output => self.put(out)?,
                Stop::Input if self.left > 0 => return Ok(()),
                Stop::Input => return Err(CUT_OFF.to_owned()),
                // A reader that goes by the directory would skip them, one that goes from entry to entry might not.
                Stop::End { behind } if behind > 0 || !input.is_empty() || self.left > 0 => {
                    return Err("bytes stand behind the end of its packed data".to_owned());
                }
                Stop::End { .. } => {
                    self.ended = true;
                    return out.put(self.plain, HISTORY..self.at);
                }
            }
        }
    }

    /// Hands on a full buffer, and goes on in the other buffer.
    fn put(&mut self, out: &mut Out<'_, '_>) -> Result<(), String> {
        let end = std::mem::replace(&mut self.at, HISTORY);
        let last = end.checked_sub(HISTORY).and_then(|begin| self.plain.get(begin..end));
        match (self.next.get_mut(..HISTORY), last) {
            (Some(to), Some(last)) => to.copy_from_slice(last),
            // What is there could be another entry's.
            _ => return Err("its buffer was exchanged for a shorter one".to_owned()),
        }
        out.put(self.plain, HISTORY..end)?;
        std::mem::swap(self.plain, self.next);
        Ok(())
    }
}

const CUT_OFF: &str = "its packed data are cut off";

/// The next piece of packed data, of which `left` bytes are still to come.
fn next<R: Read + Seek>(window: &mut Window<R>, buffer: &mut [u8], left: &mut u64) -> Result<usize, String> {
    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    let buffer = buffer.get_mut(..most).unwrap_or_default();
    loop {
        match window.read(buffer) {
            Ok(0) => return Err("the archive ends in the middle of it".to_owned()),
            Ok(read) => {
                *left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
                return Ok(read);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Packed bytes at once.
const PACKED: usize = 128 * 1024;
/// Unpacked bytes at once, few enough to stay close to the processor until they are hashed, and what inflating needs around
/// them.
const PLAIN: usize = HISTORY + 256 * 1024 + ROOM;
