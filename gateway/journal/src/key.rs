//! The seal keys. Each epoch, about a second, has its own Ed25519 key; a seal names the key of the next epoch, and the
//! used one is destroyed. So who gets hold of the device later cannot seal another past.
//!
//! `journal.key` holds two seeds: that of the current epoch and that of the next. A seal is committed first, synced,
//! and only then is the used seed overwritten by a new one: killed or without power at any point, the seed that the
//! last seal names is in the file. Called from `open`, `seal` and the syncer; read by `verify`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::JournalError;

/// The key file in the state directory.
pub(crate) const FILE: &str = "journal.key";

const MAGIC: &[u8; 32] = b"mexegate journal key, schema 1\n\0";
const SEED: usize = 32;

/// One epoch's key.
pub(crate) struct EpochKey {
    seed: Zeroizing<[u8; SEED]>,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl EpochKey {
    /// A new key from the system's randomness.
    pub(crate) fn generate() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; SEED]);
        aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| io::Error::other("no randomness"))?;
        Self::from_seed(seed)
    }

    fn from_seed(seed: Zeroizing<[u8; SEED]>) -> io::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .map_err(|fault| io::Error::new(ErrorKind::InvalidData, fault.to_string()))?;
        let mut public = [0; 32];
        let bytes = pair.public_key().as_ref();
        if bytes.len() != public.len() {
            return Err(io::Error::new(ErrorKind::InvalidData, "a public key of another length"));
        }
        public.copy_from_slice(bytes);
        Ok(Self { seed, pair, public })
    }

    pub(crate) fn public(&self) -> &[u8; 32] {
        &self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        let made = self.pair.sign(message);
        for (to, from) in signature.iter_mut().zip(made.as_ref()) {
            *to = *from;
        }
        signature
    }
}

/// Which of the two places in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    First,
    Second,
}

impl Slot {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    const fn offset(self) -> u64 {
        match self {
            Self::First => 32,
            Self::Second => 64,
        }
    }
}

/// The file with the two seeds.
#[derive(Debug)]
pub(crate) struct KeyFile {
    file: File,
}

impl KeyFile {
    /// Opens the file; makes an empty one when there is none. Mode 0600.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default());
        let file = options.open(path).map_err(JournalError::io("open the seal key", path))?;
        Ok(Self { file })
    }

    /// Opens the file for looking only.
    pub(crate) fn open_read_only(path: &Path) -> io::Result<Self> {
        File::open(path).map(|file| Self { file })
    }

    /// Empties the file and gives it its heading, for a new journal; waits until the disk has it.
    pub(crate) fn begin(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(MAGIC, 0)?;
        rustix::fs::fdatasync(&self.file)?;
        Ok(())
    }

    /// Whether a file of so many bytes can hold a key.
    pub(crate) const fn holds_a_key(size: u64) -> bool {
        size >= Slot::First.offset() + SEED as u64
    }

    /// The key in that place, if a whole one is there.
    pub(crate) fn load(&self, slot: Slot) -> io::Result<Option<EpochKey>> {
        let mut magic = [0; 32];
        let mut seed = Zeroizing::new([0; SEED]);
        for (bytes, offset) in [(&mut magic, 0), (&mut *seed, slot.offset())] {
            match self.file.read_exact_at(bytes, offset) {
                Ok(()) => {}
                Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(fault) => return Err(fault),
            }
        }
        if &magic != MAGIC {
            return Ok(None);
        }
        EpochKey::from_seed(seed).map(Some)
    }

    /// Overwrites that place, and waits until the disk has it.
    pub(crate) fn store(&self, slot: Slot, key: &EpochKey) -> io::Result<()> {
        self.file.write_all_at(key.seed.as_slice(), slot.offset())?;
        rustix::fs::fdatasync(&self.file)?;
        Ok(())
    }

    /// Makes a key and stores it in that place.
    pub(crate) fn fresh(&self, slot: Slot) -> io::Result<EpochKey> {
        let key = EpochKey::generate()?;
        self.store(slot, &key)?;
        Ok(key)
    }

    /// Where the key with that public half lies.
    pub(crate) fn find(&self, public: &[u8]) -> io::Result<Option<(Slot, EpochKey)>> {
        for slot in [Slot::First, Slot::Second] {
            if let Some(key) = self.load(slot)?.filter(|key| key.public() == public) {
                return Ok(Some((slot, key)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_is_found_by_its_public_half_until_it_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::open(&dir.path().join(FILE)).unwrap();
        assert!(file.load(Slot::First).unwrap().is_none());
        file.begin().unwrap();
        let (one, two) = (EpochKey::generate().unwrap(), EpochKey::generate().unwrap());
        file.store(Slot::First, &one).unwrap();
        assert!(file.load(Slot::Second).unwrap().is_none());
        file.store(Slot::Second, &two).unwrap();
        assert_eq!(file.find(two.public()).unwrap().unwrap().0, Slot::Second);
        assert_eq!(file.find(one.public()).unwrap().unwrap().1.sign(b"m"), one.sign(b"m"));
        file.store(Slot::First, &two).unwrap();
        assert!(file.find(one.public()).unwrap().is_none());
    }
}
