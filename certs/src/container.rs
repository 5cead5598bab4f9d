//! Opens a package as an archive that can be read in one way only: every byte of the file belongs to exactly one entry,
//! to the central directory or to the end record, both descriptions of an entry agree, and no two entries share a name.
//! What the entries mean is decided in [`crate::jar`]. The layout is checked in [`layout`]; crate zip gives a second
//! opinion on it; entries are unpacked in [`unpack`], from the places that the layout gives.

mod aside;
mod layout;
mod unpack;
mod window;

use std::io::{Read, Seek};
use std::sync::Arc;

use flate2::Crc;
use mexe_model::Reason;
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

pub use self::aside::{Alone, Aside, HandOn, Make, Take};
use self::unpack::Unpacker;
use self::window::Window;
use crate::limits::Limits;
use crate::verdict::{Quoted, Refusal};

/// An archive whose layout is sound.
pub(crate) struct Container<R> {
    window: Window<R>,
    entries: Arc<[Entry]>,
    unpacker: Unpacker,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Bytes when unpacked, as both headers say; unpacking fails when it is not so.
    pub(crate) size: u64,
    /// Bytes as packed.
    pub(crate) packed: u64,
    /// Where its data begin.
    pub(crate) begins: u64,
    checksum: u32,
    deflated: bool,
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
    /// `container-malformed`, `duplicate-entry`, `too-costly`; `package-too-large` when it unpacks to more than `limits`
    /// has.
    pub(crate) fn open(reader: R, size: u64, limits: &Limits) -> Result<Self, Refusal> {
        let mut opened = Self::lay_out(reader, size, limits)?;
        second_opinion(&mut opened.window, &opened.entries)?;
        Ok(opened)
    }

    /// As [`Container::open`], without the second opinion: whoever calls this asks [`agrees`] as well.
    pub(crate) fn lay_out(reader: R, size: u64, limits: &Limits) -> Result<Self, Refusal> {
        let mut window = Window::new(reader, size);
        let entries = layout::read(&mut window, size, limits)?;
        let mut total = 0_u64;
        for entry in &entries {
            total = total.saturating_add(entry.size);
            if entry.size > limits.inflated_entry || total > limits.inflated_total {
                let detail = format!("{} unpacks to more than is allowed", Quoted(&entry.name));
                return Err(Refusal::new(Reason::PackageTooLarge, detail));
            }
        }
        Ok(Self { window, entries: entries.into(), unpacker: Unpacker::new() })
    }

    /// An archive that was laid out before, through another reader.
    pub(crate) fn again(reader: R, size: u64, entries: &Arc<[Entry]>) -> Self {
        Self { window: Window::new(reader, size), entries: Arc::clone(entries), unpacker: Unpacker::new() }
    }

    /// The entries in the order of the central directory.
    pub(crate) fn entries(&self) -> &Arc<[Entry]> {
        &self.entries
    }

    /// Unpacks the entry at `index` into `sink`, piece by piece, which may be done beside the unpacking.
    ///
    /// # Errors
    /// What is wrong with its data: it does not unpack, to another size, or with another checksum.
    pub(crate) fn unpack(
        &mut self,
        index: usize,
        aside: &dyn Aside,
        mut sink: impl FnMut(&[u8]) + Send,
    ) -> Result<(), String> {
        let Some(entry) = self.entries.get(index) else { return Err("there is no such entry".to_owned()) };
        let (unpacker, window) = (&mut self.unpacker, &mut self.window);
        let aside = if entry.deflated && entry.size >= WORTH_ASIDE { aside } else { &Alone };
        let mut checksum = Crc::new();
        let mut take = |piece: &[u8]| {
            checksum.update(piece);
            sink(piece);
        };
        let mut unpacked = Ok(());
        let mut make = |hand_on: &mut HandOn<'_>| {
            unpacked = unpacker.unpack(window, entry, aside, hand_on);
        };
        aside.beside(&mut make, &mut take);
        unpacked?;
        if checksum.sum() == entry.checksum { Ok(()) } else { Err("its checksum is another".to_owned()) }
    }

    /// The bytes of the entry at `index`, if they are at most `limit`.
    ///
    /// # Errors
    /// `package-too-large`; `container-malformed` when it does not unpack.
    pub(crate) fn read(&mut self, index: usize, limit: u64) -> Result<Vec<u8>, Refusal> {
        let entries = Arc::clone(&self.entries);
        let Some(entry) = entries.get(index) else { return Err(malformed("there is no such entry")) };
        if entry.size > limit {
            let detail = format!("{} has {} bytes, {limit} are allowed", Quoted(&entry.name), entry.size);
            return Err(Refusal::new(Reason::PackageTooLarge, detail));
        }
        let mut bytes = Vec::new();
        match self.unpack(index, &Alone, |piece| bytes.extend_from_slice(piece)) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(malformed(format!("{} cannot be unpacked: {error}", Quoted(&entry.name)))),
        }
    }
}

/// The second opinion: whether crate zip sees the very same archive.
///
/// # Errors
/// `container-malformed`.
pub(crate) fn agrees<R: Read + Seek>(reader: R, size: u64, entries: &[Entry]) -> Result<(), Refusal> {
    second_opinion(&mut Window::new(reader, size), entries)
}

fn second_opinion<R: Read + Seek>(window: &mut Window<R>, entries: &[Entry]) -> Result<(), Refusal> {
    let disagrees = |what: &str| malformed(format!("the archive is ambiguous: {what}"));
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive =
        ZipArchive::with_config(config, window).map_err(|error| disagrees(&error.to_string()))?;
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
    Ok(())
}

/// Packed entries of so many unpacked bytes are worth more threads.
const WORTH_ASIDE: u64 = 2 << 20;

fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::ContainerMalformed, detail)
}
