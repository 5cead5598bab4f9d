//! A file of any kind with a CMS signature beside it, as `openssl cms -sign -binary` makes one. The file is read once, in
//! pieces. Gives one signer, who covers the whole file; who vouches for him is decided in [`crate::judge`], which calls this.

use std::io::{Read, Seek};

use mexe_model::Reason;

use crate::algorithm::{Digest, sha256_bytes};
use crate::cms::{Block, Content, OID_DATA};
use crate::jar::{Signer, Whole};
use crate::limits::Limits;
use crate::package::PackageFacts;
use crate::stream;
use crate::verdict::Refusal;

/// Checks that `signature` (DER or PEM) signs the whole file. Gives the file's SHA-256, and what is known of the rest.
///
/// # Errors
/// `package-too-large` and `container-malformed` when the file cannot be read. Within: as [`crate::cms::verify`].
pub(crate) fn check<R: Read + Seek>(
    reader: &mut R,
    size: u64,
    signature: &[u8],
    limits: &Limits,
) -> Result<([u8; 32], Result<Whole, Refusal>), Refusal> {
    let der = der_of(signature, limits);
    let block = der.as_deref().map_err(Clone::clone).and_then(|der| Block::open(der, OID_DATA, NAME));
    let named = block.as_ref().map_or(Digest::Sha256, |block| block.digest);
    let [whole, of_content] = stream::digests(reader, size, limits, [Digest::Sha256, named])?;
    let checked = block.and_then(|block| {
        if block.content.is_some() {
            return Err(block.malformed("the signature holds its own content; it must be detached"));
        }
        let signed = block.verify(&Content::Digest(of_content), "file")?;
        let signer = Signer { weakness: signed.weakness(), signed, file: NAME.to_owned() };
        Ok(Whole { facts: PackageFacts::of_program(), signers: vec![signer] })
    });
    Ok((sha256_bytes(&whole), checked))
}

const NAME: &str = "the detached signature";

fn der_of(signature: &[u8], limits: &Limits) -> Result<Vec<u8>, Refusal> {
    let malformed = |what: &str| Refusal::new(Reason::SignatureMalformed, format!("{NAME}: {what}"));
    if u64::try_from(signature.len()).unwrap_or(u64::MAX) > limits.signature {
        return Err(malformed("it is too large"));
    }
    if !signature.starts_with(b"-----BEGIN ") {
        return Ok(signature.to_vec());
    }
    match der::pem::decode_vec(signature) {
        Ok(("CMS" | "PKCS7", der)) => Ok(der),
        Ok(_) => Err(malformed("its PEM holds something else than CMS")),
        Err(_) => Err(malformed("its PEM cannot be read")),
    }
}
