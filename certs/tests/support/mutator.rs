//! Changes packages and signatures, at random but for a seed: their bytes, the layout of the archive, the lines of
//! manifests and signature files, the elements of signature blocks. What a change does to the verdict is not known here.

#![allow(dead_code, unreachable_pub, reason = "shared by several test files")]

use std::io::Write;

use flate2::Crc;
use flate2::write::DeflateEncoder;
use mexe_forge::jar::Part;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    /// The seed of `MEXEGATE_SEED`, or else the given one; printed, because a failing test shows what was printed.
    pub fn seeded(usual: u64) -> Self {
        let given = std::env::var("MEXEGATE_SEED").ok();
        let seed = given.map_or(usual, |seed| seed.parse().expect("MEXEGATE_SEED is a number"));
        eprintln!("MEXEGATE_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Changes one to three bytes, or cuts or doubles a piece.
pub fn bytes(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    match random.below(6) {
        0 => drop(out.remove(random.below(bytes.len()))),
        1 => out.insert(random.below(bytes.len()), random.next() as u8),
        2 => out.push(random.next() as u8),
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.below(out.len());
                out[at] ^= 1 << random.below(8);
            }
        }
    }
    out
}

/// What is done to the layout.
pub const LAYOUTS: [&str; 18] = [
    "reordered",
    "stored",
    "descriptors",
    "directory-reordered",
    "twice",
    "twice-elsewhere",
    "folded",
    "prefix",
    "trailing",
    "comment",
    "extra",
    "local-name",
    "local-size",
    "local-checksum",
    "local-method",
    "hidden",
    "entry-comment",
    "gap",
];

struct Placed {
    begins: usize,
    name: String,
    flags: u16,
    method: u16,
    checksum: u32,
    packed: u32,
    size: u32,
}

/// Packs the parts, changed in that way at a random place.
pub fn layout(random: &mut Random, parts: &[Part], how: &str) -> Vec<u8> {
    let mut parts = parts.to_vec();
    let chosen = random.below(parts.len());
    match how {
        "reordered" => {
            for at in (1..parts.len()).rev() {
                parts.swap(at, random.below(at + 1));
            }
        }
        "twice" => parts.push((parts[chosen].0.clone(), b"another content".to_vec())),
        "twice-elsewhere" => parts.insert(0, (parts[chosen].0.clone(), b"another content".to_vec())),
        "folded" => parts.push((parts[chosen].0.to_ascii_lowercase(), b"another content".to_vec())),
        _ => {}
    }
    let mut out = if how == "prefix" { b"#!/bin/sh\n".to_vec() } else { Vec::new() };
    let mut placed = Vec::new();
    for (at, (name, content)) in parts.iter().enumerate() {
        let here = at == chosen;
        if here && how == "gap" {
            out.extend(b"bytes of nobody");
        }
        let deflated =
            !name.ends_with('/') && how != "stored" && !(how == "reordered" && random.below(2) == 0);
        let data = if deflated { deflate(content) } else { content.clone() };
        let mut crc = Crc::new();
        crc.update(content);
        let described = deflated && how == "descriptors";
        let entry = Placed {
            begins: out.len(),
            name: name.clone(),
            flags: if described { 8 } else { 0 },
            method: if deflated { 8 } else { 0 },
            checksum: crc.sum(),
            packed: data.len() as u32,
            size: content.len() as u32,
        };
        let mut local_name = name.clone().into_bytes();
        if here && how == "local-name" {
            *local_name.last_mut().unwrap() ^= 1;
        }
        let wrong = |field: &str| u32::from(here && how == field);
        let sizes = match described {
            true => [0; 3],
            false => {
                [entry.checksum ^ wrong("local-checksum"), entry.packed, entry.size + wrong("local-size")]
            }
        };
        let extra: &[u8] = if here && how == "extra" { b"\x99\x88\x02\x00ab" } else { b"" };
        let method = if here && how == "local-method" { entry.method ^ 8 } else { entry.method };
        out.extend(0x0403_4b50_u32.to_le_bytes());
        out.extend([20, entry.flags, method, 0, 0x5921].map(u16::to_le_bytes).concat());
        out.extend(sizes.map(u32::to_le_bytes).concat());
        out.extend([local_name.len() as u16, extra.len() as u16].map(u16::to_le_bytes).concat());
        out.extend(&local_name);
        out.extend(extra);
        out.extend(&data);
        if described {
            let signed = random.below(2) == 0;
            out.extend(0x0807_4b50_u32.to_le_bytes().iter().filter(|_| signed));
            out.extend([entry.checksum, entry.packed, entry.size].map(u32::to_le_bytes).concat());
        }
        if !(here && how == "hidden") {
            placed.push(entry);
        }
    }
    if how == "directory-reordered" {
        placed.reverse();
    }
    let directory = out.len();
    for (at, entry) in placed.iter().enumerate() {
        let comment: &[u8] = if at == chosen && how == "entry-comment" { b"said" } else { b"" };
        out.extend(0x0201_4b50_u32.to_le_bytes());
        out.extend([20, 20, entry.flags, entry.method, 0, 0x5921].map(u16::to_le_bytes).concat());
        out.extend([entry.checksum, entry.packed, entry.size].map(u32::to_le_bytes).concat());
        out.extend([entry.name.len() as u16, 0, comment.len() as u16, 0, 0].map(u16::to_le_bytes).concat());
        out.extend([0, entry.begins as u32].map(u32::to_le_bytes).concat());
        out.extend(entry.name.as_bytes());
        out.extend(comment);
    }
    let length = out.len() - directory;
    let comment: &[u8] = if how == "comment" { b"said" } else { b"" };
    out.extend(0x0605_4b50_u32.to_le_bytes());
    out.extend([0, 0, placed.len() as u16, placed.len() as u16].map(u16::to_le_bytes).concat());
    out.extend([length as u32, directory as u32].map(u32::to_le_bytes).concat());
    out.extend((comment.len() as u16).to_le_bytes());
    out.extend(comment);
    if how == "trailing" {
        out.extend(b"\n");
    }
    out
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// What is done to lines.
pub const LINES: [&str; 13] = [
    "rewrapped",
    "line-feeds",
    "returns",
    "mixed",
    "sections-reordered",
    "section-removed",
    "section-doubled",
    "digests-swapped",
    "header-case",
    "attribute-added",
    "empty-lines",
    "spaces",
    "last-line-cut",
];

/// Changes a manifest or signature file, of lines that end in CR LF.
pub fn lines(random: &mut Random, text: &[u8], how: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(text).into_owned();
    let mut sections: Vec<String> = text
        .split("\r\n\r\n")
        .filter(|section| !section.is_empty())
        .map(|s| format!("{s}\r\n\r\n"))
        .collect();
    let last = sections.len() - 1;
    let chosen = if last == 0 { 0 } else { 1 + random.below(last) };
    match how {
        "rewrapped" => {
            // At another width: the digests of sections are over the lines as they stand.
            let width = 3 + random.below(60);
            let whole = sections[chosen].replace("\r\n ", "");
            let wrapped = whole.split("\r\n").map(|line| wrap(line, width)).collect::<Vec<_>>();
            sections[chosen] = wrapped.join("\r\n");
        }
        "line-feeds" => return text.replace("\r\n", "\n").into_bytes(),
        "returns" => return text.replace("\r\n", "\r").into_bytes(),
        "mixed" => sections[chosen] = sections[chosen].replace("\r\n", "\n"),
        "sections-reordered" => sections.swap(chosen, last),
        "section-removed" => drop(sections.remove(chosen)),
        "section-doubled" => sections.push(sections[chosen].clone()),
        "digests-swapped" => {
            let other = 1 + random.below(last.max(1));
            if let (Some(one), Some(two)) =
                (digest_of(&sections[chosen]), sections.get(other).and_then(|s| digest_of(s)))
            {
                sections[chosen] = sections[chosen].replace(&one, "?").replace('?', &two);
                sections[other] = sections[other].replace(&two, "?").replace('?', &one);
            }
        }
        "header-case" => {
            let upper = random.below(2) == 0;
            let headers = |line: &str| match line.split_once(": ") {
                Some((name, value)) if upper => format!("{}: {value}", name.to_ascii_uppercase()),
                Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
                None => line.to_owned(),
            };
            sections[chosen] = sections[chosen].split("\r\n").map(headers).collect::<Vec<_>>().join("\r\n");
        }
        "attribute-added" => {
            let added = *random.one(&[
                "X-More: 1\r\n",
                "SHA-256-Digest: AAAA\r\n",
                "Magic: x\r\n",
                "Name: other\r\n",
            ]);
            sections[chosen] = sections[chosen].replacen("\r\n\r\n", &format!("\r\n{added}\r\n"), 1);
        }
        "empty-lines" => sections[chosen].push_str("\r\n\r\n"),
        "spaces" => {
            let spaced = *random.one(&[":", ":  ", " : ", ": \t"]);
            sections[chosen] = sections[chosen].replacen(": ", spaced, 1)
        }
        _ => {
            let left = sections[last].len() - 1 - random.below(4);
            sections[last].truncate(left);
        }
    }
    sections.concat().into_bytes()
}

fn wrap(line: &str, width: usize) -> String {
    // No reader takes a name that is wrapped.
    let name = line.find(": ").map_or(0, |at| at + 2);
    let mut out = String::new();
    let mut room = width.max(name + 1);
    for c in line.chars() {
        if room == 0 {
            out.push_str("\r\n ");
            room = width;
        }
        out.push(c);
        room -= 1;
    }
    out
}

fn digest_of(section: &str) -> Option<String> {
    let (_, value) = section.split_once("-Digest: ")?;
    value.split("\r\n").next().map(str::to_owned)
}

/// An element of DER.
#[derive(Debug, Clone)]
struct Element {
    tag: u8,
    /// What it holds, unless it is constructed.
    contents: Vec<u8>,
    within: Vec<Element>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Short,
    /// The length takes a byte more than needed.
    Long,
    Indefinite,
}

fn read(bytes: &[u8]) -> Option<Vec<Element>> {
    let (mut all, mut rest) = (Vec::new(), bytes);
    while let [tag, length, more @ ..] = rest {
        let octets = if *length < 0x80 { 0 } else { usize::from(length & 0x7f) };
        let size = match octets {
            0 => usize::from(*length),
            _ => more.get(..octets)?.iter().try_fold(0_usize, |size, octet| {
                (size < 1 << 24).then_some(size << 8 | usize::from(*octet))
            })?,
        };
        let contents = more.get(octets..octets.checked_add(size)?)?;
        let within = if tag & 0x20 == 0 { Vec::new() } else { read(contents)? };
        all.push(Element { tag: *tag, contents: contents.to_vec(), within, form: Form::Short });
        rest = &more[octets + size..];
    }
    rest.is_empty().then_some(all)
}

fn write(elements: &[Element]) -> Vec<u8> {
    let mut out = Vec::new();
    for element in elements {
        let contents =
            if element.tag & 0x20 == 0 { element.contents.clone() } else { write(&element.within) };
        out.push(element.tag);
        let length = (contents.len() as u32).to_be_bytes();
        let needed = length.iter().position(|octet| *octet != 0).unwrap_or(3);
        match element.form {
            Form::Indefinite => out.push(0x80),
            Form::Short if contents.len() < 0x80 => out.push(length[3]),
            Form::Short => {
                out.push(0x84 - needed as u8);
                out.extend(&length[needed..]);
            }
            Form::Long => {
                out.push(0x84);
                out.extend(length);
            }
        }
        out.extend(contents);
        if element.form == Form::Indefinite {
            out.extend([0, 0]);
        }
    }
    out
}

/// What is done to elements.
pub const ELEMENTS: [&str; 12] = [
    "dropped",
    "doubled",
    "swapped",
    "reversed",
    "flipped",
    "retagged",
    "long-length",
    "indefinite",
    "emptied",
    "moved",
    "from-other",
    "appended",
];

/// Changes the elements of a structure in DER, with pieces of another one; `None` where there is nothing to change.
pub fn elements(random: &mut Random, der: &[u8], other: &[u8], how: &str) -> Option<Vec<u8>> {
    let mut tree = read(der)?;
    let other = read(other)?;
    let mut path = paths(&tree);
    // What holds something can be changed in more ways.
    path.retain(|path| {
        matches!(how, "flipped" | "retagged" | "long-length") || !at(&tree, path).within.is_empty()
    });
    let path = random.one(&path).clone();
    let of_other = paths(&other);
    let taken = reach(&other, random.one(&of_other).as_slice())?.clone();
    let element = at_mut(&mut tree, &path);
    let count = element.within.len();
    let (one, two) = (random.below(count), random.below(count));
    match how {
        "dropped" => drop(element.within.remove(one)),
        "doubled" => element.within.insert(two, element.within[one].clone()),
        "swapped" => element.within.swap(one, two),
        "reversed" => element.within.reverse(),
        "flipped" if element.tag & 0x20 == 0 && !element.contents.is_empty() => {
            let at = random.below(element.contents.len());
            element.contents[at] ^= 1 << random.below(8);
        }
        "flipped" | "retagged" => element.tag ^= 1 << random.below(5),
        "long-length" => element.form = Form::Long,
        "indefinite" => element.form = Form::Indefinite,
        "emptied" => element.within.clear(),
        "moved" => {
            let moved = element.within.remove(one);
            tree[0].within.push(moved);
        }
        "from-other" => {
            // In the same place, so that it fits.
            let from = reach(&other, &path)?;
            let element = at_mut(&mut tree, &path);
            *element = from.clone();
        }
        _ => element.within.push(taken),
    }
    Some(write(&tree))
}

/// The structure with these bytes appended to the element at that place.
pub fn appended(der: &[u8], path: &[usize], what: &[u8]) -> Vec<u8> {
    let mut tree = read(der).unwrap();
    at_mut(&mut tree, path).within.extend(read(what).unwrap());
    write(&tree)
}

fn paths(tree: &[Element]) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for (at, element) in tree.iter().enumerate() {
        all.push(vec![at]);
        all.extend(paths(&element.within).into_iter().map(|path| [&[at][..], &path].concat()));
    }
    all
}

fn reach<'a>(tree: &'a [Element], path: &[usize]) -> Option<&'a Element> {
    let (first, rest) = path.split_first()?;
    let element = tree.get(*first)?;
    if rest.is_empty() { Some(element) } else { reach(&element.within, rest) }
}

fn at<'a>(tree: &'a [Element], path: &[usize]) -> &'a Element {
    reach(tree, path).unwrap()
}

fn at_mut<'a>(tree: &'a mut [Element], path: &[usize]) -> &'a mut Element {
    let (first, rest) = path.split_first().unwrap();
    let element = &mut tree[*first];
    if rest.is_empty() { element } else { at_mut(&mut element.within, rest) }
}
