//! Unpacks one entry, piece by piece, from the place that the layout gives. It must be exactly what its headers say: that
//! many packed and unpacked bytes, and nothing behind the end of the packed data. The checksum is compared in
//! [`super`]; what else the bytes are compared with is decided in [`crate::jar`].

use std::io::{Read, Seek, SeekFrom};

use flate2::{Decompress, FlushDecompress, Status};

use super::Entry;
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
        hand_on: &mut dyn FnMut(&mut Vec<u8>, usize),
    ) -> Result<(), String> {
        window.seek(SeekFrom::Start(entry.begins)).map_err(|error| error.to_string())?;
        let mut left = entry.size;
        let take = |piece: &mut Vec<u8>, length: usize| {
            left = u64::try_from(length)
                .ok()
                .and_then(|length| left.checked_sub(length))
                .ok_or("it unpacks to more than its header says")?;
            hand_on(piece, length);
            Ok::<(), &'static str>(())
        };
        if entry.deflated {
            self.inflate(window, entry, take)?
        } else {
            self.copy(window, entry, take)?
        }
        if left == 0 { Ok(()) } else { Err("it unpacks to less than its header says".to_owned()) }
    }

    fn copy<R: Read + Seek>(
        &mut self,
        window: &mut Window<R>,
        entry: &Entry,
        mut take: impl FnMut(&mut Vec<u8>, usize) -> Result<(), &'static str>,
    ) -> Result<(), String> {
        let mut left = entry.packed;
        while left > 0 {
            let read = next(window, &mut self.plain, &mut left)?;
            take(&mut self.plain, read)?;
        }
        Ok(())
    }

    fn inflate<R: Read + Seek>(
        &mut self,
        window: &mut Window<R>,
        entry: &Entry,
        mut take: impl FnMut(&mut Vec<u8>, usize) -> Result<(), &'static str>,
    ) -> Result<(), String> {
        self.inflater.reset(false);
        let (mut left, mut filled, mut used) = (entry.packed, 0, 0);
        loop {
            if used == filled && left > 0 {
                (filled, used) = (next(window, &mut self.packed, &mut left)?, 0);
            }
            let input = self.packed.get(used..filled).unwrap_or_default();
            let before = (self.inflater.total_in(), self.inflater.total_out());
            // With everything at hand it need not keep a window of its own.
            let whole = before.1 == 0 && left == 0 && usize::try_from(entry.size).is_ok_and(|s| s <= PLAIN);
            let flush = if whole { FlushDecompress::Finish } else { FlushDecompress::None };
            let status = self
                .inflater
                .decompress(input, &mut self.plain, flush)
                .map_err(|_| "its packed data are damaged".to_owned())?;
            let eaten = usize::try_from(self.inflater.total_in() - before.0).unwrap_or(usize::MAX);
            let made = usize::try_from(self.inflater.total_out() - before.1).unwrap_or(usize::MAX);
            used = used.saturating_add(eaten);
            take(&mut self.plain, made)?;
            match status {
                // A reader that goes by the directory would skip them, one that goes from entry to entry might not.
                Status::StreamEnd if left > 0 || used != filled => {
                    return Err("bytes stand behind the end of its packed data".to_owned());
                }
                Status::StreamEnd => return Ok(()),
                Status::Ok | Status::BufError if eaten == 0 && made == 0 => {
                    return Err("its packed data are cut off".to_owned());
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

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
