//! Signature timestamps (RFC 3161, and RFC 5652 for how they hang on a signature): reads a token, checks that it is whole and
//! for this very signature, and decides whether its authority is one of the device's. Called from [`crate::cms`] for the
//! first, from [`crate::judge`] for the second. What a time forgives is decided in [`crate::path`].

use der::asn1::{AnyRef, IntRef, ObjectIdentifier, OctetStringRef};
use der::{DateTime, Decode, Reader, SliceReader, Tag};
use mexe_model::{Reason, SecurityDomain, WallTime};

use crate::algorithm::Digest;
use crate::certificate::Certificate;
use crate::chain::Purpose;
use crate::cms::{Block, Content, Signed, elements, tagged, unexpected};
use crate::moment::Moment;
use crate::path::{self, Budget, Terms};
use crate::root_store::TrustStore;
use crate::verdict::Refusal;

/// A timestamp that is for its signature.
#[derive(Debug)]
pub(crate) enum Stamp {
    /// The authority's signature is right; whether the authority may vouch is another question.
    Signed(Box<Token>),
    /// It rests on something so weak that it cannot be computed: worth nothing.
    Uncomputable(String),
}

/// A token whose signature is right.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) at: WallTime,
    authority: Signed,
    weakness: Option<String>,
}

/// The timestamp in these unsigned attributes of the signature in `name`.
///
/// # Errors
/// `timestamp-wrong`: there are several, it is malformed, or it is for another signature.
pub(crate) fn of(attributes: &[Vec<&[u8]>], signature: &[u8], name: &str) -> Result<Option<Stamp>, Refusal> {
    let wrong = |what: &str| Refusal::new(Reason::TimestampWrong, format!("{name}: its timestamp: {what}"));
    let token = match attributes {
        [] => return Ok(None),
        [one] => match one.as_slice() {
            [token] => token,
            _ => return Err(wrong("there must be exactly one")),
        },
        _ => return Err(wrong("there must be exactly one")),
    };
    match read(token, signature) {
        Ok(token) => Ok(Some(Stamp::Signed(Box::new(token)))),
        Err(Refusal { reason: Reason::AlgorithmWeak | Reason::KeyTooSmall, detail }) => {
            Ok(Some(Stamp::Uncomputable(detail)))
        }
        Err(refusal) => Err(wrong(&refusal.detail)),
    }
}

fn read(token: &[u8], signature: &[u8]) -> Result<Token, Refusal> {
    let block = Block::open(token, OID_TST_INFO, "its token")?;
    let Some(content) = block.content else {
        return Err(block.malformed("it holds no time"));
    };
    let info = Info::read(content).map_err(|_| block.malformed("its time cannot be read"))?;
    let imprint = Digest::read(info.algorithm)
        .map_err(|error| Refusal::new(error.reason, format!("its imprint: {}", error.what)))?;
    if imprint.of(signature).as_ref() != info.imprint {
        return Err(block.malformed("it is for another signature"));
    }
    if !names(block.signing_certificate(), &block.signer).unwrap_or(false) {
        return Err(block.malformed("it does not name the certificate that signed it"));
    }
    let authority = block.verify(&Content::Bytes(content), "time")?;
    let weak_imprint = (!imprint.is_strong()).then(|| format!("its imprint is by {}", imprint.name()));
    Ok(Token { at: info.at, weakness: authority.weakness().or(weak_imprint), authority })
}

/// Whether a token's time counts for a signature in that domain, judged as of `at`.
///
/// # Errors
/// Why not, in one line: then it is as if there were none.
pub(crate) fn vouches(
    stamp: &Stamp,
    domain: SecurityDomain,
    store: &TrustStore,
    at: Moment,
) -> Result<WallTime, String> {
    let token = match stamp {
        Stamp::Signed(token) => token,
        Stamp::Uncomputable(why) => return Err(why.clone()),
    };
    if token.at.as_secs() > at.valid_at.as_secs() {
        return Err(format!("its time {} is still to come", token.at));
    }
    let authority = &token.authority;
    let roots = store.timestamping().iter().filter(|root| root.domain() == domain);
    let mut budget = Budget::default();
    let paths = path::find(&authority.signer, &authority.certificates, roots, &mut budget)
        .map_err(|refusal| refusal.detail)?;
    let terms = Terms {
        purpose: Purpose::TimeStamping,
        weakness: token.weakness.as_deref(),
        at: token.at,
        stamped_at: None,
        legacy: false,
        store,
        revoked_by: at.revoked_by,
    };
    let mut first = None;
    for path in &paths {
        match path::judge(path, &terms, &mut budget) {
            Ok(_) => return Ok(token.at),
            Err(refusal) => first = first.or(Some(refusal.detail)),
        }
    }
    Err(first.unwrap_or_else(|| {
        format!("{} is no timestamping authority of the {domain} domain", authority.signer.quoted())
    }))
}

/// TSTInfo (RFC 3161, 2.4.2), as far as it is looked at.
struct Info<'a> {
    algorithm: &'a [u8],
    imprint: &'a [u8],
    at: WallTime,
}

impl<'a> Info<'a> {
    fn read(content: &'a [u8]) -> Result<Self, der::Error> {
        AnyRef::from_der(content)?.sequence(|reader| {
            let version: u8 = reader.decode()?;
            if version != 1 {
                return Err(unexpected(Tag::Integer));
            }
            let _policy: ObjectIdentifier = reader.decode()?;
            let (algorithm, imprint) = reader.decode::<AnyRef<'a>>()?.sequence(|reader| {
                let algorithm = reader.tlv_bytes()?;
                Ok::<_, der::Error>((algorithm, reader.decode::<&'a OctetStringRef>()?.as_bytes()))
            })?;
            let _serial: IntRef<'a> = reader.decode()?;
            let time: AnyRef<'a> = reader.decode()?;
            time.header().tag().assert_eq(Tag::GeneralizedTime)?;
            let at = general_time(time.value()).ok_or_else(|| unexpected(Tag::GeneralizedTime))?;
            if next_is(reader, Tag::Sequence)? {
                let _accuracy: AnyRef<'a> = reader.decode()?;
            }
            // FALSE is the default, and so does not stand there in DER.
            if next_is(reader, Tag::Boolean)? && !reader.decode::<bool>()? {
                return Err(unexpected(Tag::Boolean));
            }
            if next_is(reader, Tag::Integer)? {
                let _nonce: IntRef<'a> = reader.decode()?;
            }
            let _name = tagged(reader, 0)?;
            // None is known here, and a token without critical ones loses nothing by it.
            if let Some(extensions) = tagged(reader, 1)? {
                refuse_critical(extensions.value())?;
            }
            Ok(Self { algorithm, imprint, at })
        })
    }
}

fn next_is(reader: &SliceReader<'_>, tag: Tag) -> Result<bool, der::Error> {
    Ok(!reader.is_finished() && Tag::peek(reader)? == tag)
}

fn refuse_critical(extensions: &[u8]) -> Result<(), der::Error> {
    let mut reader = SliceReader::new(extensions)?;
    while !reader.is_finished() {
        let extension: x509_cert::ext::Extension = reader.decode()?;
        if extension.critical {
            return Err(unexpected(Tag::Boolean));
        }
    }
    Ok(())
}

/// `YYYYMMDDhhmmss[.f]Z` (RFC 3161, 2.4.2): a fraction has no trailing zero. Whole seconds count.
fn general_time(value: &[u8]) -> Option<WallTime> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 14
        || !digits(whole)
        || fraction.is_some_and(|f| !digits(f) || f.ends_with('0') || f.len() > 9)
    {
        return None;
    }
    let part = |from: usize| whole.get(from..from + 2)?.parse::<u8>().ok();
    let year = whole.get(..4)?.parse().ok()?;
    let time = DateTime::new(year, part(4)?, part(6)?, part(8)?, part(10)?, part(12)?).ok()?;
    Some(WallTime::from_secs(time.unix_duration().as_secs()))
}

/// Whether the first certificate that each attribute lists is this one; one attribute at least must be there.
fn names(attributes: [Option<&[u8]>; 2], certificate: &Certificate) -> Result<bool, der::Error> {
    let mut named = false;
    for (attribute, default) in attributes.into_iter().zip([Digest::Sha1, Digest::Sha256]) {
        let Some(attribute) = attribute else { continue };
        let all = AnyRef::from_der(attribute)?.sequence(|reader| {
            let all = elements(reader.decode::<AnyRef<'_>>()?, Tag::Sequence)?;
            if next_is(reader, Tag::Sequence)? {
                let _policies: AnyRef<'_> = reader.decode()?;
            }
            Ok::<_, der::Error>(all)
        })?;
        let Some(first) = all.first() else { return Ok(false) };
        let right = AnyRef::from_der(first)?.sequence(|reader| {
            let version_two = default == Digest::Sha256;
            let digest = if version_two && next_is(reader, Tag::Sequence)? {
                Digest::read(reader.tlv_bytes()?).map_err(|_| unexpected(Tag::Sequence))?
            } else {
                default
            };
            let hash: &OctetStringRef = reader.decode()?;
            let issued = if reader.is_finished() { None } else { Some(reader.decode::<AnyRef<'_>>()?) };
            let same = digest.of(&certificate.der).as_ref() == hash.as_bytes();
            Ok::<_, der::Error>(same && issued.is_none_or(|i| is_issued(i, certificate).unwrap_or(false)))
        })?;
        if !right {
            return Ok(false);
        }
        named = true;
    }
    Ok(named)
}

/// IssuerSerial (RFC 5035, 5): the issuer as one directory name, and the serial number.
fn is_issued(named: AnyRef<'_>, certificate: &Certificate) -> Result<bool, der::Error> {
    named.sequence(|reader| {
        let names = reader.decode::<AnyRef<'_>>()?;
        names.header().tag().assert_eq(Tag::Sequence)?;
        let directory = tagged(&mut SliceReader::new(names.value())?, 4)?;
        let serial: IntRef<'_> = reader.decode()?;
        Ok(directory.is_some_and(|name| name.value() == certificate.issuer)
            && serial.as_bytes() == certificate.serial)
    })
}

/// id-ct-TSTInfo.
const OID_TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_writing_of_a_time_is_read() {
        let read = |text: &str| general_time(text.as_bytes()).map(WallTime::as_secs);
        assert_eq!(read("20261124132451Z"), Some(1_795_526_691));
        assert_eq!(read("20261124132451.5Z"), Some(1_795_526_691));
        for bad in [
            "20261124132451",
            "20261124132451.Z",
            "20261124132451.50Z",
            "20261124132460Z",
            "20261324132451Z",
            "202611241324Z",
            "2026112413245a1Z",
            "20261124132451+0100",
            "",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
