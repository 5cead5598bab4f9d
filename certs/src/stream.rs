//! Reads a whole file once, piece by piece, and computes its digests on the way. Called for what is signed as a whole:
//! [`crate::detached`] and [`crate::jad`].

use std::io::{self, Read, Seek, SeekFrom};

use mexe_model::Reason;

use crate::algorithm::Digest;
use crate::limits::Limits;
use crate::verdict::Refusal;

/// The digests of the `size` bytes of `reader`, in the order of `algorithms`.
///
/// # Errors
/// `package-too-large`; `container-malformed` when it cannot be read, or has another size.
pub(crate) fn digests<R: Read + Seek, const N: usize>(
    reader: &mut R,
    size: u64,
    limits: &Limits,
    algorithms: [Digest; N],
) -> Result<[aws_lc_rs::digest::Digest; N], Refusal> {
    if size > limits.package {
        let detail = format!("the package has {size} bytes, {} are allowed", limits.package);
        return Err(Refusal::new(Reason::PackageTooLarge, detail));
    }
    let unreadable =
        |error: io::Error| Refusal::new(Reason::ContainerMalformed, format!("it cannot be read: {error}"));
    reader.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut contexts = algorithms.map(Digest::context);
    let mut piece = vec![0; 64 * 1024];
    let mut read_so_far = 0_u64;
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        read_so_far = read_so_far.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if read_so_far > size {
            break;
        }
        let bytes = piece.get(..read).unwrap_or_default();
        contexts.iter_mut().for_each(|context| context.update(bytes));
    }
    if read_so_far != size {
        return Err(Refusal::new(Reason::ContainerMalformed, "its size changed while it was read"));
    }
    Ok(contexts.map(aws_lc_rs::digest::Context::finish))
}
