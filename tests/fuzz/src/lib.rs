//! What the fuzz targets share: the world that the kept corpus was made in (`world/`, written by `seed`), and judging.
//! The targets hold whatever may stand at a device's door against the engine: no input may make it panic, and what it
//! verifies must still be what the world's signer signed.

use std::io::Cursor;

use mexe_certs::{Evidence, Limits, RootKind, TrustStore, TrustStoreBuilder, Verification, verify};
use mexe_model::{SecurityDomain, WallTime};

/// The time of the world: 2026-11-24.
pub const AT: WallTime = WallTime::from_secs(1_795_489_491);
/// The name of the app that rotation statements are for.
pub const APP: &str = "sample";
/// The device that messages of an administrator are for.
pub const DEVICE: &str = "device-17";
/// What the world's signer signed beside the file.
pub const PROGRAM: &[u8] = b"a program";
/// In an input this stands for the hash of a key that is made anew in each run: the administrator's, or the old signer's.
pub const OLD_KEY: [u8; 32] = [0xAA; 32];
/// The same for the new signer's.
pub const NEW_KEY: [u8; 32] = [0xBB; 32];

/// The root of the world, certificate, DER.
pub const ROOT: &[u8] = include_bytes!("../world/root.der");
/// The root of timestamping authorities.
pub const TIMES: &[u8] = include_bytes!("../world/times.der");
/// The signer's certificate.
pub const SIGNER: &[u8] = include_bytes!("../world/signer.der");
/// Another signer's, by the same root, with an Ed25519 key.
pub const OTHER: &[u8] = include_bytes!("../world/other.der");
/// A MIDlet suite, without a signature of its own.
pub const SUITE: &[u8] = include_bytes!("../world/suite.jar");
/// The signer's signature over the suite.
pub const SUITE_SIGNATURE: &[u8] = include_bytes!("../world/suite.signature");
/// A signature beside [`PROGRAM`], without a timestamp.
pub const SIGNATURE: &[u8] = include_bytes!("../world/program.p7s");

/// A store of the world's roots.
pub fn builder() -> TrustStoreBuilder {
    let mut builder = TrustStore::builder();
    builder.add(RootKind::ThirdParty, "root.der", ROOT, AT)[0].as_ref().unwrap();
    builder.add_timestamping(SecurityDomain::ThirdParty, "times.der", TIMES, AT)[0].as_ref().unwrap();
    builder
}

/// Small enough that one input takes no second.
pub fn limits() -> Limits {
    Limits { inflated_total: 4 << 20, inflated_entry: 1 << 20, digested: 16 << 20, ..Limits::default() }
}

/// Judges a package.
pub fn judge(bytes: &[u8], evidence: Evidence<'_>, store: &TrustStore, at: WallTime) -> Verification {
    verify(Cursor::new(bytes), bytes.len() as u64, evidence, store, at, &limits())
}

/// The same bytes with every place-holder replaced, in order of the bytes.
pub fn filled(bytes: &[u8], places: &[([u8; 32], [u8; 32])]) -> Vec<u8> {
    let (mut out, mut at) = (bytes.to_vec(), 0);
    while let Some(window) = out.get_mut(at..at + 32) {
        match places.iter().find(|(place, _)| window == place) {
            Some((_, value)) => {
                window.copy_from_slice(value);
                at += 32;
            }
            None => at += 1,
        }
    }
    out
}

/// The signature block in which `token` hangs on its one signer's signature as a timestamp.
pub fn stamped(block: &[u8], token: &[u8]) -> Vec<u8> {
    // ContentInfo, [0], SignedData, its last SET, SignerInfo: each the last thing in the one around it.
    const OID: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x0e";
    let attribute = tlv(0xa1, &tlv(0x30, &[OID, &tlv(0x31, token)].concat()));
    append(block, 5, &attribute)
}

/// Appends at the end of the element that is the last one, `depth` elements deep.
fn append(element: &[u8], depth: usize, more: &[u8]) -> Vec<u8> {
    let (header, contents) = split(element);
    if depth == 1 {
        return tlv(element[0], &[contents, more].concat());
    }
    let mut last = 0;
    loop {
        let (header, inner) = split(&contents[last..]);
        let next = last + header + inner.len();
        if next >= contents.len() {
            break;
        }
        last = next;
    }
    assert!(header > 1);
    tlv(element[0], &[&contents[..last], &append(&contents[last..], depth - 1, more)].concat())
}

/// The length of an element's header, and what it holds.
fn split(element: &[u8]) -> (usize, &[u8]) {
    let (header, length) = match element[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let octets = &element[2..2 + usize::from(long & 0x7f)];
            (2 + octets.len(), octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)))
        }
    };
    (header, &element[header..header + length])
}

/// An element in DER.
pub fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let length = &length[length.iter().position(|octet| *octet != 0).unwrap_or(7)..];
    let long = 0x80 | length.len() as u8;
    let header = if contents.len() < 0x80 { vec![tag, length[0]] } else { [&[tag, long], length].concat() };
    [&header, contents].concat()
}
