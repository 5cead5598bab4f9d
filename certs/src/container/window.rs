//! Reads an archive here and there: what lies close together is read at once, and moving costs nothing until something is
//! read. Headers of small entries come in pieces of 64 KiB, those between large entries in pieces of 1 KiB; long reads go
//! straight through. Used by everything in [`super`].

use std::io::{self, Read, Seek, SeekFrom};

/// A reader with a window on it.
pub(super) struct Window<R> {
    reader: R,
    /// Bytes of the whole file.
    size: u64,
    /// What was read last, and where it stands.
    seen: Vec<u8>,
    begins: u64,
    /// Where the next read begins.
    at: u64,
}

impl<R: Read + Seek> Window<R> {
    pub(super) const fn new(reader: R, size: u64) -> Self {
        Self { reader, size, seen: Vec::new(), begins: 0, at: 0 }
    }

    /// The `length` bytes at `at`; fewer where the file ends before.
    pub(super) fn look(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let from = match self.offset(at) {
            Some(from) if self.seen.len() - from >= length => from,
            _ => {
                self.fill(at, length)?;
                0
            }
        };
        let seen = self.seen.get(from..).unwrap_or_default();
        Ok(seen.get(..length).unwrap_or(seen))
    }

    /// Where `at` stands in what was seen, if it is there.
    fn offset(&self, at: u64) -> Option<usize> {
        let offset = usize::try_from(at.checked_sub(self.begins)?).ok()?;
        (offset < self.seen.len()).then_some(offset)
    }

    /// Looks at `at`, at least so far.
    fn fill(&mut self, at: u64, least: usize) -> io::Result<()> {
        let ended = self.begins.saturating_add(u64::try_from(self.seen.len()).unwrap_or(u64::MAX));
        let goes_on = at >= self.begins && at <= ended.saturating_add(NEAR);
        let length = least.max(if goes_on { WIDE } else { NARROW });
        self.seen.clear();
        self.begins = at;
        self.reader.seek(SeekFrom::Start(at))?;
        self.seen.reserve(length);
        let length = u64::try_from(length).unwrap_or(u64::MAX).min(self.size.saturating_sub(at));
        self.reader.by_ref().take(length).read_to_end(&mut self.seen)?;
        Ok(())
    }
}

impl<R: Read + Seek> Read for Window<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.offset(self.at).is_none() {
            if out.len() >= WIDE {
                self.reader.seek(SeekFrom::Start(self.at))?;
                let read = self.reader.read(out)?;
                self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                return Ok(read);
            }
            self.fill(self.at, 0)?;
        }
        let seen = self.offset(self.at).and_then(|from| self.seen.get(from..)).unwrap_or_default();
        let length = seen.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..length), seen.get(..length)) {
            to.copy_from_slice(from);
        }
        self.at = self.at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(length)
    }
}

impl<R> Seek for Window<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = to.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the file"))?;
        Ok(self.at)
    }
}

/// How much is looked at where reading goes on, bytes.
const WIDE: usize = 64 * 1024;
/// How much is looked at after a jump, bytes: a header and its name.
const NARROW: usize = 1024;
/// A gap that reading still goes on over, bytes.
const NEAR: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn it_reads_the_same_bytes_as_the_file_has_wherever_it_looks() {
        let file: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
        let mut window = Window::new(Cursor::new(&file), file.len() as u64);
        let mut place = 1_usize;
        for step in 0..2000_usize {
            place = (place * 7919 + step) % file.len();
            let length = (step * 37) % 5000;
            let ends = file.len().min(place + length);
            assert_eq!(window.look(place as u64, length).unwrap(), &file[place..ends]);
            window.seek(SeekFrom::Start(place as u64)).unwrap();
            let mut out = vec![0; if step % 50 == 0 { 100_000 } else { length }];
            let read = window.read(&mut out).unwrap();
            assert_eq!(out[..read], file[place..place + read]);
            assert!(read > 0 || out.is_empty());
        }
    }

    #[test]
    fn behind_the_end_there_is_nothing_and_before_the_beginning_no_place() {
        let mut window = Window::new(Cursor::new(b"abc"), 3);
        assert_eq!(window.look(2, 5).unwrap(), b"c");
        assert_eq!(window.look(9, 1).unwrap(), b"");
        assert_eq!(window.seek(SeekFrom::End(-1)).unwrap(), 2);
        assert!(window.seek(SeekFrom::End(-4)).is_err());
        let mut rest = Vec::new();
        window.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"c");
    }
}
