//! Opens a package as an archive that can be read in one way only: every byte of the file belongs to exactly one entry,
//! to the central directory or to the end record, both descriptions of an entry agree, and no two entries share a name.
//! What the entries mean is decided in [`crate::jar`]. The layout is checked in [`layout`] before crate zip, which
//! unpacks, sees the file.

mod layout;

use std::io::{Read, Seek};

use mexe_model::Reason;
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

use crate::limits::Limits;
use crate::verdict::{Quoted, Refusal};

/// An archive whose layout is sound.
pub(crate) struct Container<R> {
    archive: ZipArchive<R>,
    entries: Vec<Entry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Bytes when unpacked, as both headers say; unpacking fails when it is not so.
    pub(crate) size: u64,
}

impl Entry {
    pub(crate) fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }
}

impl<R: Read + Seek> Container<R> {
    /// Opens the archive of `size` bytes.
    ///
    /// # Errors
    /// `container-malformed`, `duplicate-entry`; `package-too-large` when it unpacks to more than `limits` has.
    pub(crate) fn open(mut reader: R, size: u64, limits: &Limits) -> Result<Self, Refusal> {
        let entries = layout::read(&mut reader, size, limits)?;
        let mut total = 0_u64;
        for entry in &entries {
            total = total.saturating_add(entry.size);
            if entry.size > limits.inflated_entry || total > limits.inflated_total {
                let detail = format!("{} unpacks to more than is allowed", Quoted(&entry.name));
                return Err(Refusal::new(Reason::PackageTooLarge, detail));
            }
        }
        // The second opinion: crate zip must see the very same archive.
        let disagrees = |what: &str| malformed(format!("the archive is ambiguous: {what}"));
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut archive =
            ZipArchive::with_config(config, reader).map_err(|error| disagrees(&error.to_string()))?;
        archive.validate_header_consistency().map_err(|error| disagrees(&error.to_string()))?;
        if archive.len() != entries.len() {
            return Err(disagrees("the number of entries"));
        }
        for (index, entry) in entries.iter().enumerate() {
            let same = matches!(archive.name_for_index(index), Some(Ok(name)) if name == entry.name);
            if !same {
                return Err(disagrees("the names of entries"));
            }
        }
        Ok(Self { archive, entries })
    }

    /// The entries in the order of the central directory.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Unpacks the entry at `index` into `sink`, piece by piece.
    ///
    /// # Errors
    /// What is wrong with its data: it does not unpack, to another size, or with another checksum.
    pub(crate) fn unpack(&mut self, index: usize, mut sink: impl FnMut(&[u8])) -> Result<(), String> {
        let Some(entry) = self.entries.get(index) else { return Err("there is no such entry".to_owned()) };
        let mut file = self.archive.by_index(index).map_err(|error| error.to_string())?;
        let mut piece = vec![0; PIECE];
        let mut left = entry.size;
        loop {
            let read = match file.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            left = u64::try_from(read)
                .ok()
                .and_then(|read| left.checked_sub(read))
                .ok_or("it unpacks to more than its header says")?;
            sink(piece.get(..read).unwrap_or_default());
        }
        if left == 0 { Ok(()) } else { Err("it unpacks to less than its header says".to_owned()) }
    }

    /// The bytes of the entry at `index`, if they are at most `limit`.
    ///
    /// # Errors
    /// `package-too-large`; `container-malformed` when it does not unpack.
    pub(crate) fn read(&mut self, index: usize, limit: u64) -> Result<Vec<u8>, Refusal> {
        let entry = self.entries.get(index).cloned().unwrap_or(Entry { name: String::new(), size: 0 });
        if entry.size > limit {
            let detail = format!("{} has {} bytes, {limit} are allowed", Quoted(&entry.name), entry.size);
            return Err(Refusal::new(Reason::PackageTooLarge, detail));
        }
        let mut bytes = Vec::new();
        match self.unpack(index, |piece| bytes.extend_from_slice(piece)) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(malformed(format!("{} cannot be unpacked: {error}", Quoted(&entry.name)))),
        }
    }
}

/// How much is unpacked at once, bytes.
const PIECE: usize = 64 * 1024;

fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::ContainerMalformed, detail)
}
