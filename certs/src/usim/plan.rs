//! What to read from a card next, as TS 31.102, 5.5 has it: MExE-ST if the card's service table marks MExE, each file of
//! root descriptors if MExE-ST marks it, then the certificate data that the descriptors name. A stranger's card decides
//! how much that is, so it is bounded here, for every source.

use super::record::Descriptor;
use super::service::Services;
use super::{File, FileId, Image, RootFile};

/// One thing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The file, in the folder MExE.
    pub file: FileId,
    /// What of it.
    pub part: Part,
}

/// What to read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Of a transparent file: its first bytes, this many or as many as it has.
    First(usize),
    /// Of a linear fixed file: every record.
    Records,
}

impl Image {
    /// What to read next; put what comes of it into [`Image::files`] and ask again. `None`: everything has been read.
    pub fn wanted(&self) -> Option<Wanted> {
        if !self.has_mexe() {
            return None;
        }
        let missing = |file: &FileId| !self.files.contains_key(file);
        if missing(&FileId::SERVICE_TABLE) {
            return Some(Wanted { file: FileId::SERVICE_TABLE, part: Part::First(SERVICE_TABLE_MAX) });
        }
        let services = Services::read(self.bytes(FileId::SERVICE_TABLE)?);
        let marked = RootFile::ALL.into_iter().filter(|file| services.has(*file));
        if let Some(file) = marked.clone().map(RootFile::id).find(missing) {
            return Some(Wanted { file, part: Part::Records });
        }
        let descriptors: Vec<_> = marked.flat_map(|file| self.descriptors(file)).collect();
        let read = self.files.keys().filter(|file| file.is_key_data()).count();
        let next = descriptors.iter().map(|descriptor| descriptor.file).find(missing);
        let file = next.filter(|_| read < KEY_FILES_MAX)?;
        let ends = descriptors.iter().filter(|other| other.file == file).map(Descriptor::end);
        let bytes = ends.max().unwrap_or_default().min(KEY_FILE_MAX);
        Some(Wanted { file, part: Part::First(bytes) })
    }

    /// The readable descriptors of a file that name certificate data.
    fn descriptors(&self, file: RootFile) -> Vec<Descriptor> {
        let Some(File::Records(records)) = self.files.get(&file.id()) else { return Vec::new() };
        let erased = |record: &[u8]| record.iter().all(|byte| *byte == 0xFF);
        records
            .iter()
            .filter(|record| !erased(record))
            .filter_map(|record| Descriptor::read(record, file == RootFile::ThirdParty).ok())
            .map(|(descriptor, _)| descriptor)
            .filter(|descriptor| descriptor.file.is_key_data())
            .collect()
    }
}

/// More than any table has.
const SERVICE_TABLE_MAX: usize = 16;
/// What READ BINARY reaches: its offset has 15 bits.
const KEY_FILE_MAX: usize = 0x8000;
/// Half a megabyte at most. At a modem's some 10 KiB/s that is a minute.
const KEY_FILES_MAX: usize = 16;
