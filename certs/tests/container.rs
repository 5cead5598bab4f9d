//! Archives that can be read in more than one way, or hide something, are refused, whether they are signed or not. Each
//! case is a sound archive with a few bytes changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::io::Cursor;

use mexe_certs::{Limits, TrustStore};
use mexe_forge::jar::pack;
use mexe_model::Reason;
use support::{AT, judge, replaced};

/// Two files and a directory, unsigned.
fn archive() -> Vec<u8> {
    let parts =
        [("first.txt", "first file"), ("folder/", ""), ("second.txt", "second file, somewhat longer")];
    pack(&parts.map(|(name, bytes)| (name.to_owned(), bytes.into()))).unwrap()
}

fn reason(bytes: &[u8]) -> Option<Reason> {
    judge(bytes, &TrustStore::builder().build()).verdict.reason()
}

#[track_caller]
fn is_malformed(what: &str, bytes: &[u8]) {
    assert_eq!(reason(bytes), Some(Reason::ContainerMalformed), "{what}");
}

/// Where the `nth` header with that signature begins.
fn header(bytes: &[u8], signature: &[u8; 4], nth: usize) -> usize {
    (0..bytes.len()).filter(|at| bytes[*at..].starts_with(signature)).nth(nth).unwrap()
}

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Inserts bytes and moves every offset behind them, so that only the bytes themselves are wrong.
fn inserted(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut out = [&bytes[..at], new, &bytes[at..]].concat();
    let end = header(&out, END, 0);
    let directory = number(&out, end + 16) as usize;
    if at <= directory {
        put(&mut out, end + 16, &((directory + new.len()) as u32).to_le_bytes());
    }
    let mut central = number(&out, end + 16) as usize;
    while out[central..].starts_with(CENTRAL) {
        let begins = number(&out, central + 42) as usize;
        if begins >= at {
            put(&mut out, central + 42, &((begins + new.len()) as u32).to_le_bytes());
        }
        let lengths =
            [28, 30, 32].map(|f| u16::from_le_bytes([out[central + f], out[central + f + 1]]) as usize);
        central += 46 + lengths.iter().sum::<usize>();
    }
    out
}

#[test]
fn the_archive_that_the_cases_begin_with_is_sound() {
    assert_eq!(reason(&archive()), Some(Reason::Unsigned));
}

#[test]
fn what_is_no_archive_is_malformed() {
    is_malformed("nothing", b"");
    is_malformed("text", b"this is only some text, longer than an end record");
    let sound = archive();
    for cut in [1, 10, 22, 60, sound.len() - 1] {
        is_malformed("cut off", &sound[..sound.len() - cut]);
    }
}

#[test]
fn bytes_that_belong_to_no_entry_are_malformed() {
    let sound = archive();
    let directory = number(&sound, header(&sound, END, 0) + 16) as usize;
    let second = header(&sound, LOCAL, 1);
    is_malformed("in front", &[b"#!/bin/sh\n", sound.as_slice()].concat());
    is_malformed("behind", &[sound.as_slice(), b"x"].concat());
    is_malformed("in front, offsets moved", &inserted(&sound, 0, b"#!/bin/sh\n"));
    is_malformed("between entries", &inserted(&sound, second, b"hidden"));
    is_malformed("before the directory", &inserted(&sound, directory, b"hidden"));
    is_malformed("behind the directory", &inserted(&sound, header(&sound, END, 0), b"hidden"));
    // A whole local entry that the directory does not list.
    let entry = sound[..second].to_vec();
    is_malformed("an unlisted entry", &inserted(&sound, second, &entry));
}

#[test]
fn two_entries_of_one_name_are_duplicates() {
    let twice = replaced(&archive(), "second.txt", "first2.txt");
    let parts = [("first2.txt", "a"), ("second.txt", "b")].map(|(n, b)| (n.to_owned(), b.into()));
    let twice_exactly = replaced(&pack(&parts).unwrap(), "second.txt", "first2.txt");
    assert_eq!(reason(&twice), Some(Reason::Unsigned));
    assert_eq!(reason(&twice_exactly), Some(Reason::DuplicateEntry));
    let manifests = [("META-INF/MANIFEST.MF", ""), ("META-INF/Manifest.mf", "")];
    let manifests = pack(&manifests.map(|(n, b)| (n.to_owned(), b.into()))).unwrap();
    assert_eq!(reason(&manifests), Some(Reason::DuplicateEntry));
}

#[test]
fn two_descriptions_of_an_entry_must_agree() {
    // Offsets in the local header: version 4, flags 6, method 8, time 10, checksum 14, sizes 18 and 22, name 30.
    for (what, at, value) in [
        ("flags", 6, &[2_u8, 0][..]),
        ("method", 8, &[0, 0]),
        ("time", 10, &[9, 9]),
        ("checksum", 14, &[1, 2, 3, 4]),
        ("packed size", 18, &[1, 0, 0, 0]),
        ("size", 22, &[1, 0, 0, 0]),
        ("name length", 26, &[8, 0]),
        ("name", 30, b"worst"),
        ("signature", 0, b"PK\x03\x05"),
    ] {
        let mut bytes = archive();
        let local = header(&bytes, LOCAL, 0);
        put(&mut bytes, local + at, value);
        is_malformed(what, &bytes);
    }
    let mut bytes = archive();
    let (first, second) = (header(&bytes, CENTRAL, 0), header(&bytes, CENTRAL, 2));
    let begins = number(&bytes, first + 42).to_le_bytes();
    put(&mut bytes, second + 42, &begins);
    is_malformed("two entries at one place", &bytes);
}

#[test]
fn options_that_change_what_an_entry_is_are_malformed() {
    // In both headers: (what, offset in the local header, offset in the central one, value).
    for (what, local, central, value) in [
        ("encrypted", 6, 8, &[1_u8, 0][..]),
        ("strongly encrypted", 6, 8, &[0x41, 0]),
        ("patched data", 6, 8, &[0x20, 0]),
        ("another method", 8, 10, &[12, 0]),
        ("stored with other sizes", 8, 10, &[0, 0]),
        ("ZIP64 sizes", 18, 20, &[0xff; 8]),
        ("an absolute name", 30, 46, b"/"),
        ("a name that leads upwards", 30, 46, b"../"),
        ("a name with a backslash", 30, 46, b"\\"),
        ("a name with a NUL", 30, 46, b"\0"),
        ("a name with a line feed", 30, 46, b"\n"),
        ("a name with an empty part", 30, 46, b"a//b"),
        ("a name with a dot part", 30, 46, b"./"),
        ("a name that is not UTF-8", 30, 46, b"\xff"),
        ("a name in an unmarked character set", 30, 46, "\u{e4}".as_bytes()),
    ] {
        let mut bytes = archive();
        let (at_local, at_central) = (header(&bytes, LOCAL, 0), header(&bytes, CENTRAL, 0));
        put(&mut bytes, at_local + local, value);
        put(&mut bytes, at_central + central, value);
        is_malformed(what, &bytes);
    }
    // In the central header alone.
    for (what, at, value) in [
        ("another disk", 34, &[1_u8, 0][..]),
        ("a symbolic link", 38, &[0, 0, 0xff, 0xa1]),
        ("a device", 38, &[0, 0, 0xff, 0x61]),
        ("a file that says it is a directory", 38, &[0, 0, 0xed, 0x41]),
        ("an offset beyond the file", 42, &[0xff, 0xff, 0xff, 0x7f]),
    ] {
        let mut bytes = archive();
        let central = header(&bytes, CENTRAL, 0);
        put(&mut bytes, central + at, value);
        is_malformed(what, &bytes);
    }
}

#[test]
fn the_end_record_must_be_plain() {
    for (what, at, value) in [
        ("several disks", 4, &[1_u8, 0][..]),
        ("fewer entries on this disk", 8, &[1, 0]),
        ("more entries than there are", 8, &[9, 0, 9, 0]),
        ("fewer entries than there are", 8, &[2, 0, 2, 0]),
        ("ZIP64", 8, &[0xff; 4]),
        ("another directory size", 12, &[1, 0, 0, 0]),
        ("another directory place", 16, &[0, 0, 0, 0]),
        ("a comment that is not there", 20, &[4, 0]),
    ] {
        let mut bytes = archive();
        let end = header(&bytes, END, 0);
        put(&mut bytes, end + at, value);
        is_malformed(what, &bytes);
    }
    let mut bytes = [archive().as_slice(), b"note"].concat();
    let end = header(&bytes, END, 0);
    put(&mut bytes, end + 20, &[4, 0]);
    is_malformed("a comment", &bytes);
}

#[test]
fn extra_fields_must_not_give_names_or_sizes() {
    for (what, extra) in [
        ("a Unicode name", &b"\x75\x70\x05\x00\x01\x00\x00\x00\x00"[..]),
        ("ZIP64 sizes", b"\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
        ("a field that is cut off", b"\xfe\xca\x09\x00"),
        ("half a field", b"\xfe"),
    ] {
        let sound = archive();
        let central = header(&sound, CENTRAL, 2);
        let mut bytes = inserted(&sound, central + 46 + "second.txt".len(), extra);
        put(&mut bytes, central + 30, &(extra.len() as u16).to_le_bytes());
        let end = header(&bytes, END, 0);
        let length = number(&bytes, end + 12) + extra.len() as u32;
        put(&mut bytes, end + 12, &length.to_le_bytes());
        is_malformed(what, &bytes);
    }
    // The mark that the JDK's jar tool leaves is allowed.
    let sound = archive();
    let central = header(&sound, CENTRAL, 2);
    let mut bytes = inserted(&sound, central + 46 + "second.txt".len(), b"\xfe\xca\x00\x00");
    put(&mut bytes, central + 30, &[4, 0]);
    let end = header(&bytes, END, 0);
    let length = number(&bytes, end + 12) + 4;
    put(&mut bytes, end + 12, &length.to_le_bytes());
    assert_eq!(reason(&bytes), Some(Reason::Unsigned));
}

/// The first entry with its sizes in a descriptor behind its data.
fn described(descriptor: &[u8]) -> Vec<u8> {
    let sound = archive();
    let local = header(&sound, LOCAL, 0);
    let facts = sound[local + 14..local + 26].to_vec();
    let fill = |bytes: &[u8]| if bytes.is_empty() { facts.clone() } else { bytes.to_vec() };
    let signed = [b"PK\x07\x08".as_slice(), &facts].concat();
    let descriptor = if descriptor == b"signed" { signed } else { fill(descriptor) };
    let mut bytes = inserted(&sound, header(&sound, LOCAL, 1), &descriptor);
    put(&mut bytes, local + 14, &[0; 12]);
    put(&mut bytes, local + 6, &[8, 0]);
    let central = header(&bytes, CENTRAL, 0);
    put(&mut bytes, central + 8, &[8, 0]);
    bytes
}

#[test]
fn a_data_descriptor_must_agree_with_the_directory() {
    assert_eq!(reason(&described(b"")), Some(Reason::Unsigned));
    assert_eq!(reason(&described(b"signed")), Some(Reason::Unsigned));
    is_malformed("another descriptor", &described(&[1; 12]));
    is_malformed(
        "another signed descriptor",
        &described(b"PK\x07\x08\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"),
    );
    is_malformed("a short descriptor", &described(&[1; 4]));
}

#[test]
fn data_that_does_not_unpack_is_malformed() {
    let mut bytes = archive();
    let local = header(&bytes, LOCAL, 0);
    bytes[local + 30 + "first.txt".len() + 2] ^= 0xff;
    is_malformed("damaged data", &bytes);
    let mut bytes = archive();
    for at in [header(&bytes, LOCAL, 0) + 14, header(&bytes, CENTRAL, 0) + 16] {
        put(&mut bytes, at, &[1, 2, 3, 4]);
    }
    is_malformed("another checksum", &bytes);
    for size in [[9_u8, 0, 0, 0], [11, 0, 0, 0]] {
        let mut bytes = archive();
        for at in [header(&bytes, LOCAL, 0) + 22, header(&bytes, CENTRAL, 0) + 24] {
            put(&mut bytes, at, &size);
        }
        is_malformed("another size", &bytes);
    }
}

/// An archive of one packed entry, with these packed bytes and nothing else changed.
fn with_packed(archive: &[u8], name: &str, packed: &[u8]) -> Vec<u8> {
    let central = header(archive, CENTRAL, 0);
    let mut head = archive[..30 + name.len()].to_vec();
    let mut tail = archive[central..].to_vec();
    let size = u32::try_from(packed.len()).unwrap().to_le_bytes();
    put(&mut head, 18, &size);
    put(&mut tail, 20, &size);
    let end = header(&tail, END, 0);
    let directory = u32::try_from(head.len() + packed.len()).unwrap();
    put(&mut tail, end + 16, &directory.to_le_bytes());
    [&head, packed, &tail].concat()
}

#[test]
fn packed_data_end_where_they_say() {
    let name = "entry.txt";
    let whole = pack(&[(name.to_owned(), b"some words, some other words, some more words".into())]).unwrap();
    let packed = &whole[30 + name.len()..header(&whole, CENTRAL, 0)];
    let detail = |bytes: &[u8]| {
        let read = mexe_certs::read_entry(Cursor::new(bytes), bytes.len() as u64, name, &Limits::default());
        read.map_err(|refusal| (refusal.reason, refusal.detail))
    };
    assert_eq!(with_packed(&whole, name, packed), whole);
    assert!(detail(&whole).is_ok());
    for length in 1..packed.len() {
        let (reason, why) = detail(&with_packed(&whole, name, &packed[..length])).unwrap_err();
        assert_eq!(reason, Reason::ContainerMalformed);
        assert!(why.contains("its packed data are cut off"), "{why}");
    }
    for behind in [1, 2, 7, 8, 9, 70_000] {
        let more = [packed, &vec![0; behind]].concat();
        let (reason, why) = detail(&with_packed(&whole, name, &more)).unwrap_err();
        assert_eq!(reason, Reason::ContainerMalformed);
        assert!(why.contains("bytes stand behind the end of its packed data"), "{why}");
    }
}

#[test]
fn large_entries_come_out_as_they_were_packed() {
    // Copies that reach back nearly as far as they can, so from one buffer into the one before it, and sizes around where
    // buffers end.
    let period: Vec<u8> = (0..32_500_u64).map(|n| ((n * n * 0x9E37_79B9) >> 13) as u8).collect();
    let sizes = [0, 1, 32_767, 32_768, 261_824, 262_143, 262_144, 262_145, 262_464, 294_912, 2_000_000];
    let content = |size: usize| period.iter().copied().cycle().take(size).collect::<Vec<_>>();
    let entries: Vec<_> = sizes.iter().map(|size| (format!("of-{size}"), content(*size))).collect();
    let bytes = pack(&entries).unwrap();
    assert!(bytes.len() < 600_000, "{} bytes: the copies are not there", bytes.len());
    for (name, content) in &entries {
        let read = mexe_certs::read_entry(Cursor::new(&bytes), bytes.len() as u64, name, &Limits::default());
        assert!(read.unwrap() == *content, "{name}");
    }
}

#[test]
fn a_bomb_is_stopped_by_its_headers_and_a_lying_one_by_its_size() {
    let zeros = pack(&[("zeros".to_owned(), vec![0; 4 << 20])]).unwrap();
    assert!(zeros.len() < 8192);
    let judged = |bytes: &[u8]| {
        let limits = Limits { inflated_entry: 1 << 20, ..Limits::default() };
        let store = TrustStore::builder().build();
        mexe_certs::verify(
            Cursor::new(bytes),
            bytes.len() as u64,
            mexe_certs::Evidence::Inside,
            &store,
            AT,
            &limits,
        )
        .verdict
        .reason()
    };
    assert_eq!(judged(&zeros), Some(Reason::PackageTooLarge));
    let mut lying = zeros.clone();
    for at in [header(&lying, LOCAL, 0) + 22, header(&lying, CENTRAL, 0) + 24] {
        put(&mut lying, at, &[0, 4, 0, 0]);
    }
    assert_eq!(judged(&lying), Some(Reason::ContainerMalformed));
}

#[test]
fn an_entry_is_read_back_by_its_exact_name() {
    let bytes = archive();
    let read = |name: &str, limits: &Limits| {
        mexe_certs::read_entry(Cursor::new(&bytes), bytes.len() as u64, name, limits).map_err(|r| r.reason)
    };
    assert_eq!(read("first.txt", &Limits::default()), Ok(b"first file".to_vec()));
    for absent in ["FIRST.TXT", "folder/", "folder", ""] {
        assert_eq!(read(absent, &Limits::default()), Err(Reason::EntryMissing), "{absent}");
    }
    let small = Limits { inflated_entry: 5, ..Limits::default() };
    assert_eq!(read("first.txt", &small), Err(Reason::PackageTooLarge));
}
