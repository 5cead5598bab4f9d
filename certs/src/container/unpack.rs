//! Unpacks one entry, piece by piece, from the place that the layout gives. It must be exactly what its headers say: that
//! many packed and unpacked bytes, and nothing behind the end of the packed data. The checksum is compared in
//! [`super`]; what else the bytes are compared with is decided in [`crate::jar`].

use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::{Decompress, FlushDecompress, Status};

use super::Entry;
use super::aside::{Aside, HandOn};
use super::window::Window;

/// The buffers that unpacking needs, kept from entry to entry: a quarter of a MiB.
pub(super) struct Unpacker {
    packed: Vec<u8>,
    plain: Vec<u8>,
    inflater: Decompress,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self { packed: vec![0; PACKED], plain: vec![0; PLAIN], inflater: Decompress::new(false) }
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
                out.put(&mut self.plain, read)?;
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
        let Self { packed, plain, inflater } = self;
        inflater.reset(false);
        let mut inflating = Inflating { inflater, plain, left: entry.packed, ended: false };
        let (mut read, mut inflated) = (Ok(()), Ok(()));
        let broken = AtomicBool::new(false);
        let mut make = |hand_on: &mut HandOn<'_>| {
            let mut left = entry.packed;
            while left > 0 && !broken.load(Ordering::Relaxed) {
                match next(window, packed, &mut left) {
                    Ok(length) => hand_on(packed, length),
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
    fn put(&mut self, piece: &mut Vec<u8>, length: usize) -> Result<(), String> {
        let left = u64::try_from(length).ok().and_then(|length| self.left.checked_sub(length));
        self.left = left.ok_or("it unpacks to more than its header says")?;
        (self.hand_on)(piece, length);
        Ok(())
    }
}

/// An entry that is being inflated.
struct Inflating<'a> {
    inflater: &'a mut Decompress,
    plain: &'a mut Vec<u8>,
    /// How many packed bytes are still to come.
    left: u64,
    ended: bool,
}

impl Inflating<'_> {
    /// Inflates the next packed bytes.
    fn feed(&mut self, input: &[u8], out: &mut Out<'_, '_>) -> Result<(), String> {
        self.left = self.left.saturating_sub(u64::try_from(input.len()).unwrap_or(u64::MAX));
        let mut used = 0;
        loop {
            let before = (self.inflater.total_in(), self.inflater.total_out());
            // With everything at hand it need not keep a window of its own.
            let whole =
                before.1 == 0 && self.left == 0 && usize::try_from(out.left).is_ok_and(|s| s <= PLAIN);
            let flush = if whole { FlushDecompress::Finish } else { FlushDecompress::None };
            let status = self
                .inflater
                .decompress(input.get(used..).unwrap_or_default(), self.plain, flush)
                .map_err(|_| "its packed data are damaged".to_owned())?;
            let eaten = usize::try_from(self.inflater.total_in() - before.0).unwrap_or(usize::MAX);
            let made = usize::try_from(self.inflater.total_out() - before.1).unwrap_or(usize::MAX);
            used = used.saturating_add(eaten);
            out.put(self.plain, made)?;
            let more = self.left > 0;
            match status {
                // A reader that goes by the directory would skip them, one that goes from entry to entry might not.
                Status::StreamEnd if more || used != input.len() => {
                    return Err("bytes stand behind the end of its packed data".to_owned());
                }
                Status::StreamEnd => {
                    self.ended = true;
                    return Ok(());
                }
                Status::Ok | Status::BufError if more && used == input.len() && made < PLAIN => return Ok(()),
                Status::Ok | Status::BufError if eaten == 0 && made == 0 => return Err(CUT_OFF.to_owned()),
                Status::Ok | Status::BufError => {}
            }
        }
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
const PACKED: usize = 64 * 1024;
/// Unpacked bytes at once: few enough to stay close to the processor until they are hashed.
const PLAIN: usize = 128 * 1024;
