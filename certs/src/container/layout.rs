//! Checks the layout of an archive: end record, central directory and local headers, as ZIP (APPNOTE 6.3) has them
//! without its options: one disk, no ZIP64, no encryption, no comments, no names in extra fields, stored or deflated.
//! Called from [`super::Container::open`] before anything is unpacked.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};

use mexe_model::Reason;

use super::window::Window;
use super::{Entry, malformed};
use crate::limits::{self, Limits};
use crate::verdict::{Quoted, Refusal};

/// The entries, in the order of the central directory.
pub(super) fn read<R: Read + Seek>(
    window: &mut Window<R>,
    size: u64,
    limits: &Limits,
) -> Result<Vec<Entry>, Refusal> {
    let directory = end_record(window, size, limits)?;
    let bytes = read_at(window, directory.begins, directory.length)?;
    let mut fields = Fields(&bytes);
    let mut headers: Vec<Central> =
        (0..directory.entries).map(|_| central(&mut fields)).collect::<Result<_, Refusal>>()?;
    if !fields.0.is_empty() {
        return Err(malformed("bytes in the central directory belong to no entry"));
    }
    no_duplicates(&headers)?;
    accounts_for_every_byte(window, &mut headers, directory.begins)?;
    Ok(headers.into_iter().map(Entry::from).collect())
}

struct Directory {
    begins: u64,
    length: u64,
    entries: usize,
}

fn end_record<R: Read + Seek>(
    window: &mut Window<R>,
    size: u64,
    limits: &Limits,
) -> Result<Directory, Refusal> {
    let Some(at) = size.checked_sub(END_LENGTH) else {
        return Err(malformed("it is too short to be an archive"));
    };
    let bytes = read_at(window, at, END_LENGTH)?;
    let mut fields = Fields(&bytes);
    if fields.u32()? != END_SIGNATURE {
        return Err(malformed(
            "the file does not end in an archive's end record: it is no archive, is cut off, or bytes follow it",
        ));
    }
    let (disk, first_disk) = (fields.u16()?, fields.u16()?);
    let (here, entries) = (fields.u16()?, fields.u16()?);
    let (length, begins) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let comment = fields.u16()?;
    if disk != 0 || first_disk != 0 || here != entries {
        return Err(malformed("the archive is one of several disks"));
    }
    if entries == u16::MAX || length == u64::from(u32::MAX) || begins == u64::from(u32::MAX) {
        return Err(malformed("ZIP64 archives are not accepted"));
    }
    if comment != 0 {
        return Err(malformed("the archive has a comment, which no signature can cover"));
    }
    if begins.checked_add(length) != Some(at) {
        return Err(malformed(
            "bytes stand before the archive, or between its central directory and its end",
        ));
    }
    let entries = usize::from(entries);
    if entries > limits.entries {
        return Err(limits::too_costly(format!("it has {entries} entries, {} are allowed", limits.entries)));
    }
    if length > DIRECTORY_MAX {
        return Err(malformed("the central directory is too large"));
    }
    Ok(Directory { begins, length, entries })
}

/// One header of the central directory.
struct Central {
    name: String,
    flags: u16,
    method: u16,
    modified: u32,
    checksum: u32,
    packed: u32,
    size: u32,
    begins: u32,
    /// Where its data begin; known when its local header was read.
    data: u64,
}

impl From<Central> for Entry {
    fn from(header: Central) -> Self {
        Self {
            name: header.name,
            size: u64::from(header.size),
            packed: u64::from(header.packed),
            begins: header.data,
            checksum: header.checksum,
            deflated: header.method == DEFLATED,
        }
    }
}

fn central(fields: &mut Fields<'_>) -> Result<Central, Refusal> {
    if fields.u32()? != CENTRAL_SIGNATURE {
        return Err(malformed("the central directory is damaged"));
    }
    let (_made_by, _needed) = (fields.u16()?, fields.u16()?);
    let (flags, method, modified) = (fields.u16()?, fields.u16()?, fields.u32()?);
    let (checksum, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let (disk, _internal, external, begins) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
    let name = entry_name(fields.take(usize::from(name))?, flags)?;
    let wrong = |what: &str| malformed(format!("entry {}: {what}", Quoted(&name)));
    if !extra_is_plain(fields.take(usize::from(extra))?) {
        return Err(wrong("its extra fields are damaged, or change its name or sizes"));
    }
    if comment != 0 {
        return Err(wrong("it has a comment, which no signature can cover"));
    }
    if disk != 0 || [packed, size, begins].contains(&u32::MAX) {
        return Err(wrong("it is on another disk or needs ZIP64"));
    }
    if flags & FLAG_ENCRYPTED != 0 {
        return Err(wrong("it is encrypted"));
    }
    if flags & !FLAGS_KNOWN != 0 {
        return Err(wrong("it uses options that are not accepted"));
    }
    match method {
        STORED if packed != size || flags & FLAG_DESCRIPTOR != 0 => {
            return Err(wrong("it is stored, but not plainly"));
        }
        STORED | DEFLATED => {}
        _ => return Err(wrong("it is neither stored nor deflated")),
    }
    let is_directory = name.ends_with('/');
    if is_directory && size != 0 {
        return Err(wrong("it is a directory, but has bytes"));
    }
    // What a reader on Unix would make: only files and directories, and no name that is both.
    let plain = match (external >> 16) & MODE_KIND {
        0 => true,
        MODE_DIRECTORY => is_directory,
        MODE_FILE => !is_directory,
        _ => false,
    };
    if !plain {
        return Err(wrong("it is a link or another special file"));
    }
    Ok(Central { name, flags, method, modified, checksum, packed, size, begins, data: 0 })
}

/// Names are relative paths of plain parts, so that no reader makes another name of them.
fn entry_name(bytes: &[u8], flags: u16) -> Result<String, Refusal> {
    let name = String::from_utf8_lossy(bytes).into_owned();
    let wrong = |what: &str| Err(malformed(format!("entry {}: {what}", Quoted(&name))));
    if name.as_bytes() != bytes || (!name.is_ascii() && flags & FLAG_UTF8 == 0) {
        return wrong("its name is not marked as UTF-8, or is not UTF-8");
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return wrong("its name holds a control character or a backslash");
    }
    let path = name.strip_suffix('/').unwrap_or(&name);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("its name is not a plain relative path");
    }
    Ok(name)
}

/// Extra fields are pairs of id and length; none of them may give a name or a size.
fn extra_is_plain(bytes: &[u8]) -> bool {
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        let field = fields.u16().and_then(|id| {
            let length = fields.u16()?;
            fields.take(usize::from(length))?;
            Ok(id)
        });
        if !field.is_ok_and(|id| !EXTRA_REFUSED.contains(&id)) {
            return false;
        }
    }
    true
}

/// Names are compared as they are, and those in META-INF without case as well, because readers look there without case.
fn no_duplicates(headers: &[Central]) -> Result<(), Refusal> {
    let twice = |name: &str| {
        Err(Refusal::new(Reason::DuplicateEntry, format!("there are two entries {}", Quoted(name))))
    };
    let (mut names, mut folded) = (Vec::with_capacity(headers.len()), BTreeSet::new());
    for Central { name, .. } in headers {
        if !name.get(..META_INF.len()).is_some_and(|folder| folder.eq_ignore_ascii_case(META_INF)) {
            names.push(name.as_str());
        } else if !folded.insert(name.to_ascii_uppercase()) {
            return twice(name);
        }
    }
    names.sort_unstable();
    match names.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
        Some([name, ..]) => twice(name),
        _ => Ok(()),
    }
}

/// The local headers, each the same as its central one, and their data fill the file up to the central directory.
fn accounts_for_every_byte<R: Read + Seek>(
    window: &mut Window<R>,
    headers: &mut [Central],
    directory: u64,
) -> Result<(), Refusal> {
    let mut in_order: Vec<&mut Central> = headers.iter_mut().collect();
    in_order.sort_by_key(|header| header.begins);
    let mut at = 0_u64;
    for header in in_order {
        if u64::from(header.begins) != at {
            return Err(malformed(format!(
                "bytes before entry {} belong to none, or to two",
                Quoted(&header.name)
            )));
        }
        (header.data, at) = local(window, header)?;
        if at > directory {
            return Err(malformed(format!("entry {} overlaps the central directory", Quoted(&header.name))));
        }
    }
    if at == directory { Ok(()) } else { Err(malformed("bytes after the last entry belong to none")) }
}

/// Checks one local header, and gives the places of the entry's data and behind them.
fn local<R: Read + Seek>(window: &mut Window<R>, header: &Central) -> Result<(u64, u64), Refusal> {
    let wrong = |what: &str| malformed(format!("entry {}: {what}", Quoted(&header.name)));
    let begins = u64::from(header.begins);
    let mut fields = Fields(bytes_at(window, begins, LOCAL_LENGTH)?);
    if fields.u32()? != LOCAL_SIGNATURE {
        return Err(wrong("there is no local header where the central directory says"));
    }
    let _needed = fields.u16()?;
    let (flags, method, modified) = (fields.u16()?, fields.u16()?, fields.u32()?);
    let (checksum, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (name, extra) = (u64::from(fields.u16()?), u64::from(fields.u16()?));
    let mut fields = Fields(bytes_at(window, begins + LOCAL_LENGTH, name + extra)?);
    let same_name = fields.take(header.name.len()).is_ok_and(|b| b == header.name.as_bytes());
    if !same_name || name != u64::try_from(header.name.len()).unwrap_or(u64::MAX) {
        return Err(wrong("its local header has another name"));
    }
    if !extra_is_plain(fields.0) {
        return Err(wrong("its local extra fields are damaged, or change its name or sizes"));
    }
    let described = flags & FLAG_DESCRIPTOR != 0;
    let central = [header.checksum, header.packed, header.size];
    let sizes_agree =
        [checksum, packed, size] == central || (described && [checksum, packed, size] == [0, 0, 0]);
    if flags != header.flags || method != header.method || modified != header.modified || !sizes_agree {
        return Err(wrong("its local header differs from the central directory"));
    }
    let data = begins + LOCAL_LENGTH + name + extra;
    let ends = data + u64::from(header.packed);
    if described {
        let behind = descriptor(window, ends, header).ok_or_else(|| wrong("its data descriptor is wrong"))?;
        Ok((data, behind))
    } else {
        Ok((data, ends))
    }
}

/// The place behind a data descriptor, which may begin with a signature; `None` when it is not the header's.
fn descriptor<R: Read + Seek>(window: &mut Window<R>, at: u64, header: &Central) -> Option<u64> {
    let mut fields = Fields(window.look(at, 16).ok()?);
    let mut first = fields.u32().ok()?;
    let mut length = 12;
    if first == DESCRIPTOR_SIGNATURE {
        (first, length) = (fields.u32().ok()?, 16);
    }
    let found = [first, fields.u32().ok()?, fields.u32().ok()?];
    (found == [header.checksum, header.packed, header.size]).then_some(at + length)
}

/// A header's bytes, all of them.
fn bytes_at<R: Read + Seek>(window: &mut Window<R>, at: u64, length: u64) -> Result<&[u8], Refusal> {
    let length = usize::try_from(length).map_err(|_| malformed("a header is too long"))?;
    match window.look(at, length) {
        Ok(bytes) if bytes.len() == length => Ok(bytes),
        Ok(_) => Err(malformed("the archive is cut off")),
        Err(error) => Err(cut_off(at, &error)),
    }
}

fn read_at<R: Read + Seek>(reader: &mut R, at: u64, length: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    reader.seek(SeekFrom::Start(at)).map_err(|error| cut_off(at, &error))?;
    let read = reader.by_ref().take(length).read_to_end(&mut bytes).map_err(|error| cut_off(at, &error))?;
    if u64::try_from(read).ok() == Some(length) {
        Ok(bytes)
    } else {
        Err(malformed("the archive is cut off"))
    }
}

fn cut_off(at: u64, error: &io::Error) -> Refusal {
    malformed(format!("the archive cannot be read at byte {at}: {error}"))
}

/// Little-endian fields, taken from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| malformed("a header is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Refusal> {
        let bytes = self.take(2)?.first_chunk().ok_or_else(|| malformed("a header is cut off"))?;
        Ok(u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Result<u32, Refusal> {
        let bytes = self.take(4)?.first_chunk().ok_or_else(|| malformed("a header is cut off"))?;
        Ok(u32::from_le_bytes(*bytes))
    }
}

const END_SIGNATURE: u32 = 0x0605_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;
const END_LENGTH: u64 = 22;
const LOCAL_LENGTH: u64 = 30;
/// The largest central directory, bytes: 65 000 entries with names of 200 bytes. A manifest may be as large.
const DIRECTORY_MAX: u64 = 16 << 20;
const META_INF: &str = "META-INF/";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;
/// Those, and the two bits that tell how hard the deflater tried.
const FLAGS_KNOWN: u16 = FLAG_DESCRIPTOR | FLAG_UTF8 | 0b110;
/// ZIP64 sizes, Unicode path and comment, AES.
const EXTRA_REFUSED: [u16; 4] = [0x0001, 0x6375, 0x7075, 0x9901];
const MODE_KIND: u32 = 0o170_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;
