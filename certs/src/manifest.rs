//! Reads MANIFEST.MF and .SF files: sections of attributes, together with the raw bytes of each section, because digests
//! are over the bytes as they stand in the file. What a digest covers is decided in [`crate::jar`].

use std::collections::{BTreeMap, BTreeSet};

use mexe_model::Reason;

use crate::verdict::{Quoted, Refusal};

/// A manifest or signature file: a main section, and one section for each entry that it names.
#[derive(Debug)]
pub(crate) struct Manifest<'a> {
    /// The whole file.
    pub(crate) bytes: &'a [u8],
    /// The first section.
    pub(crate) main: Section<'a>,
    /// The other sections by the name of their entry.
    pub(crate) entries: BTreeMap<String, Section<'a>>,
}

/// One section.
#[derive(Debug, Default)]
pub(crate) struct Section<'a> {
    /// The bytes of the section, its closing empty line included.
    pub(crate) raw: &'a [u8],
    attributes: Vec<(String, String)>,
}

impl Section<'_> {
    /// The value of an attribute; names compare without case.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The attributes in their order.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The longest value, bytes, as the JAR specification has it.
const VALUE_MAX: usize = 65_535;

impl<'a> Manifest<'a> {
    /// Reads the file of that name. Lines may end in CR LF, LF or CR; a line that begins with a space continues the one
    /// before.
    ///
    /// # Errors
    /// `manifest-malformed`: with the line at fault. Also two sections for one entry, and two values for one attribute:
    /// readers differ in which of them counts.
    pub(crate) fn parse(bytes: &'a [u8], file: &str) -> Result<Self, Refusal> {
        let mut reading = Reading { file, line: 0, bytes };
        let mut at = 0;
        let main = reading.section(&mut at)?.unwrap_or_default();
        let mut entries = BTreeMap::new();
        while let Some(mut section) = reading.section(&mut at)? {
            let name = match section.attributes.first() {
                Some((first, _)) if first.eq_ignore_ascii_case("Name") => section.attributes.remove(0).1,
                _ => return Err(reading.malformed("the section before it does not begin with Name")),
            };
            if entries.contains_key(&name) {
                return Err(
                    reading.malformed(format!("the section before it is the second for {}", Quoted(&name)))
                );
            }
            entries.insert(name, section);
        }
        Ok(Self { bytes, main, entries })
    }
}

struct Reading<'a, 'f> {
    file: &'f str,
    line: usize,
    bytes: &'a [u8],
}

impl<'a> Reading<'a, '_> {
    /// The next section, from `at` on; empty lines before it are skipped. `None` at the end of the file.
    fn section(&mut self, at: &mut usize) -> Result<Option<Section<'a>>, Refusal> {
        let first = *at == 0;
        let mut begins = *at;
        let mut raw: Vec<(String, Vec<u8>)> = Vec::new();
        while let Some(line) = self.next_line(at)? {
            match line.split_first() {
                None if !raw.is_empty() => break,
                None if first => return Err(self.malformed("the file begins with an empty line")),
                None => begins = *at,
                Some((b' ', rest)) => match raw.last_mut() {
                    Some((_, value)) if value.len() + rest.len() <= VALUE_MAX => {
                        value.extend_from_slice(rest)
                    }
                    Some(_) => return Err(self.malformed("the value is longer than 65535 bytes")),
                    None => return Err(self.malformed("there is no line before it that it could continue")),
                },
                Some(_) => raw.push(self.attribute(line)?),
            }
        }
        if raw.is_empty() {
            return Ok(None);
        }
        let mut attributes: Vec<(String, String)> = Vec::with_capacity(raw.len());
        let mut seen = BTreeSet::new();
        for (name, value) in raw {
            let Ok(value) = String::from_utf8(value) else {
                return Err(self.malformed(format!("the value of {} is not UTF-8", Quoted(&name))));
            };
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(self.malformed(format!("the section before it has {} twice", Quoted(&name))));
            }
            attributes.push((name, value));
        }
        Ok(Some(Section { raw: self.bytes.get(begins..*at).unwrap_or_default(), attributes }))
    }

    /// The next line without its end; `None` at the end of the file.
    fn next_line(&mut self, at: &mut usize) -> Result<Option<&'a [u8]>, Refusal> {
        let rest = self.bytes.get(*at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let Some(length) = rest.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
            // Readers disagree on whether such a line counts.
            return Err(self.malformed("the last line does not end in a line break"));
        };
        let (line, end) = rest.split_at(length);
        *at += length + if end.starts_with(b"\r\n") { 2 } else { 1 };
        if line.contains(&0) {
            return Err(self.malformed("it holds a NUL"));
        }
        Ok(Some(line))
    }

    fn attribute(&self, line: &[u8]) -> Result<(String, Vec<u8>), Refusal> {
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (name, rest) = line.split_at(colon);
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let well_formed = name.first().is_some_and(u8::is_ascii_alphanumeric) && name.iter().all(plain);
        match (std::str::from_utf8(name), rest.strip_prefix(b": ")) {
            (Ok(name), Some(value)) if well_formed && name.len() <= 70 && value.len() <= VALUE_MAX => {
                Ok((name.to_owned(), value.to_vec()))
            }
            _ => Err(self.malformed("it is not of the form `Name: value`")),
        }
    }

    fn malformed(&self, what: impl AsRef<str>) -> Refusal {
        let (file, line, what) = (Quoted(self.file), self.line, what.as_ref());
        Refusal::new(Reason::ManifestMalformed, format!("{file}, line {line}: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest<'_>, Refusal> {
        Manifest::parse(text.as_bytes(), "META-INF/MANIFEST.MF")
    }

    #[test]
    fn sections_keep_their_raw_bytes_with_the_empty_line() {
        for end in ["\r\n", "\n", "\r"] {
            let text = "Manifest-Version: 1.0\nX: a\n b\n\nName: a/B.class\nD: 1\n\nName: c\nD: 2\n"
                .replace('\n', end);
            let manifest = parse(&text).unwrap();
            assert_eq!(manifest.main.attribute("x"), Some("ab"));
            assert_eq!(
                manifest.main.raw,
                "Manifest-Version: 1.0\nX: a\n b\n\n".replace('\n', end).as_bytes()
            );
            assert_eq!(
                manifest.entries["a/B.class"].raw,
                "Name: a/B.class\nD: 1\n\n".replace('\n', end).as_bytes()
            );
            assert_eq!(manifest.entries["c"].raw, "Name: c\nD: 2\n".replace('\n', end).as_bytes());
        }
    }

    #[test]
    fn more_empty_lines_belong_to_no_section() {
        let manifest = parse("A: 1\n\n\n\nName: c\nD: 2\n\n\n").unwrap();
        assert_eq!(manifest.main.raw, b"A: 1\n\n");
        assert_eq!(manifest.entries["c"].raw, b"Name: c\nD: 2\n\n");
    }

    #[test]
    fn a_character_may_be_wrapped_in_its_middle() {
        let bytes = b"A: \xc3\r\n \xa4\r\n\r\n";
        assert_eq!(Manifest::parse(bytes, "m").unwrap().main.attribute("A"), Some("\u{e4}"));
    }

    #[test]
    fn an_empty_file_has_an_empty_main_section() {
        let manifest = parse("").unwrap();
        assert!(manifest.main.attributes().next().is_none() && manifest.entries.is_empty());
    }

    #[test]
    fn what_readers_could_take_in_two_ways_is_refused() {
        for (text, line) in [
            ("A: 1\nA: 2\n", 2),
            ("A: 1\na: 2\n\n", 3),
            ("A: 1\n\nName: x\n\nName: x\n\n", 6),
            ("A: 1\n\nB: 2\n\n", 4),
            ("A: 1", 1),
            ("A: 1\nB: 2", 2),
            ("\nA: 1\n", 1),
            (" A: 1\n", 1),
            ("A:1\n", 1),
            ("A\n", 1),
            ("A b: 1\n", 1),
            (": 1\n", 1),
            ("A: 1\0\n", 1),
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!(refusal.reason, Reason::ManifestMalformed, "{text:?}");
            assert!(refusal.detail.contains(&format!("line {line}:")), "{text:?}: {}", refusal.detail);
        }
        let refusal = Manifest::parse(b"A: \xff\n", "m").unwrap_err();
        assert_eq!(refusal.reason, Reason::ManifestMalformed);
    }
}
