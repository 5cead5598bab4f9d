//! What all sources share: which files of a card are read, in which order, and that it was one card all the time. What
//! the MExE folder is asked for is decided by `mexe_certs::usim::Image::wanted`.

use mexe_certs::usim::{CardKind, File, Image, Part, Unread, iccid_of_file, imsi_of_file};

use crate::Fault;

/// Something that reads files of one card.
pub trait Source: Send {
    /// Reads a file, by its path from the master file (which is left out): `[0x7FFF, 0x6F07]`.
    ///
    /// # Errors
    /// The source or the card does not work. A file that cannot be read is a [`File::Unread`].
    fn read(&mut self, path: &[u16], part: Part) -> impl Future<Output = Result<File, Fault>> + Send;

    /// The subscriber's identity as decimal digits; empty when it is not known. From its file, unless the source knows
    /// it better.
    ///
    /// # Errors
    /// As [`Source::read`].
    fn imsi(&mut self, kind: CardKind) -> impl Future<Output = Result<String, Fault>> + Send {
        async move { Ok(imsi_of_file(&self.bytes(&[kind.application(), EF_IMSI], 9).await?)) }
    }

    /// The card's number as decimal digits; empty when it is not known.
    ///
    /// # Errors
    /// As [`Source::read`].
    fn iccid(&mut self) -> impl Future<Output = Result<String, Fault>> + Send {
        async move { Ok(iccid_of_file(&self.bytes(&[EF_ICCID], 10).await?)) }
    }

    /// The first bytes of a file that many cards do not have; none then.
    ///
    /// # Errors
    /// As [`Source::read`].
    fn bytes(&mut self, path: &[u16], length: usize) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send {
        async move {
            match self.read(path, Part::First(length)).await? {
                File::Bytes(bytes) => Ok(bytes),
                File::Records(_) | File::Unread(_) => Ok(Vec::new()),
            }
        }
    }
}

/// Reads everything of a card that the engine asks for.
///
/// # Errors
/// The source or the card does not work, the card wants its PIN, or it was changed in between.
pub async fn read_image<S: Source>(source: &mut S) -> Result<Image, Fault> {
    let (kind, service_table) = application(source).await?;
    let mut image = Image { service_table, ..Image::new(kind) };
    let of = |file| [kind.application(), file];
    image.iccid = source.iccid().await?;
    image.imsi = source.imsi(kind).await?;
    image.administrative_data = source.bytes(&of(EF_AD), 4).await?;
    image.provider_name = source.bytes(&of(EF_SPN), 17).await?;
    image.group_identifier = source.bytes(&of(EF_GID1), 32).await?;
    while let Some(wanted) = image.wanted() {
        let file = source.read(&[kind.application(), DF_MEXE, wanted.file.0], wanted.part).await?;
        image.files.insert(wanted.file, file);
    }
    // A card that was swapped in the middle would otherwise lend its number to another's keys.
    if source.iccid().await? != image.iccid || source.imsi(kind).await? != image.imsi {
        return Err(Fault::CardChanged);
    }
    Ok(image)
}

/// What kind of application the card has, by which of the service tables is there.
async fn application<S: Source>(source: &mut S) -> Result<(CardKind, Vec<u8>), Fault> {
    for kind in [CardKind::Usim, CardKind::GsmSim] {
        match source.read(&[kind.application(), EF_UST_OR_SST], Part::First(32)).await? {
            File::Bytes(table) => return Ok((kind, table)),
            File::Unread(Unread::Denied) => return Err(Fault::CardLocked),
            File::Records(_) | File::Unread(_) => {}
        }
    }
    Ok((CardKind::Usim, Vec::new()))
}

const DF_MEXE: u16 = 0x5F3C;
const EF_ICCID: u16 = 0x2FE2;
const EF_IMSI: u16 = 0x6F07;
const EF_UST_OR_SST: u16 = 0x6F38;
const EF_GID1: u16 = 0x6F3E;
const EF_SPN: u16 = 0x6F46;
const EF_AD: u16 = 0x6FAD;
