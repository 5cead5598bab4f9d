//! Reads MANIFEST.MF and .SF files: sections of attributes, together with the raw bytes of each section, because digests
//! are over the bytes as they stand in the file. What a digest covers is decided in [`crate::jar`].

use std::borrow::Cow;

use mexe_model::Reason;

use crate::limits::{self, Limits};
use crate::verdict::{Quoted, Refusal};

/// A manifest or signature file: a main section, and one section for each entry that it names. What is not wrapped over
/// several lines stays where it is in the file.
#[derive(Debug)]
pub(crate) struct Manifest<'a> {
    /// The whole file.
    pub(crate) bytes: &'a [u8],
    /// The first section.
    pub(crate) main: Section<'a>,
    /// The other sections with the name of their entry, in the order of the names.
    entries: Vec<(Cow<'a, str>, Section<'a>)>,
}

/// One section.
#[derive(Debug, Default)]
pub(crate) struct Section<'a> {
    /// The bytes of the section, its closing empty line included.
    pub(crate) raw: &'a [u8],
    attributes: Vec<(&'a str, Cow<'a, str>)>,
    /// The last line of it, for messages.
    line: usize,
}

impl Section<'_> {
    /// The value of an attribute; names compare without case.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The attributes in their order.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (*name, &**value))
    }

    /// Names compare without case. A long section is sorted, so that it costs no more than its length.
    fn has_twice(&self) -> Option<&str> {
        const FEW: usize = 8;
        if self.attributes.len() <= FEW {
            let mut before = self.attributes.iter().enumerate();
            return before.find_map(|(at, (name, _))| {
                let earlier = self.attributes.get(..at).unwrap_or_default();
                earlier.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)).then_some(*name)
            });
        }
        let mut names: Vec<_> = self.attributes.iter().map(|(n, _)| (n.to_ascii_lowercase(), *n)).collect();
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [a, b] if a.0 == b.0 => Some(b.1),
            _ => None,
        })
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
    /// readers differ in which of them counts. `too-costly`: more sections or attributes than `limits` has.
    pub(crate) fn parse(bytes: &'a [u8], file: &str, limits: &Limits) -> Result<Self, Refusal> {
        let mut reading = Reading { file, line: 0, bytes, attributes_left: limits.attributes };
        let mut at = 0;
        let main = reading.section(&mut at)?.unwrap_or_default();
        let mut entries: Vec<(Cow<'a, str>, Section<'a>)> = Vec::new();
        while let Some(mut section) = reading.section(&mut at)? {
            let name = match section.attributes.first() {
                Some((first, _)) if first.eq_ignore_ascii_case("Name") => section.attributes.remove(0).1,
                _ => return Err(reading.malformed("the section before it does not begin with Name")),
            };
            if entries.len() == limits.sections {
                let what = format!("it has more than {} sections", limits.sections);
                return Err(limits::too_costly(format!("{}: {what}", Quoted(file))));
            }
            entries.push((name, section));
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        let twice = entries.windows(2).find_map(|pair| match pair {
            [(a, _), (b, second)] if a == b => Some((b, second.line)),
            _ => None,
        });
        if let Some((name, line)) = twice {
            reading.line = line;
            let what = format!("the section before it is the second for {}", Quoted(name));
            return Err(reading.malformed(what));
        }
        Ok(Self { bytes, main, entries })
    }

    /// The section of that entry.
    pub(crate) fn section(&self, entry: &str) -> Option<&Section<'a>> {
        let at = self.entries.binary_search_by(|(name, _)| (**name).cmp(entry)).ok()?;
        self.entries.get(at).map(|(_, section)| section)
    }

    /// The sections with the name of their entry, in the order of the names.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&str, &Section<'a>)> {
        self.entries.iter().map(|(name, section)| (&**name, section))
    }
}

struct Reading<'a, 'f> {
    file: &'f str,
    line: usize,
    bytes: &'a [u8],
    /// How many attributes the file may still have.
    attributes_left: usize,
}

impl<'a> Reading<'a, '_> {
    /// The next section, from `at` on; empty lines before it are skipped. `None` at the end of the file.
    fn section(&mut self, at: &mut usize) -> Result<Option<Section<'a>>, Refusal> {
        let first = *at == 0;
        let mut begins = *at;
        let mut section = Section::default();
        let mut name = "";
        let mut value: Cow<'a, [u8]> = Cow::default();
        loop {
            let line = self.next_line(at)?;
            match line.and_then(<[u8]>::split_first) {
                Some((b' ', _)) if name.is_empty() => {
                    return Err(self.malformed("there is no line before it that it could continue"));
                }
                Some((b' ', rest)) if value.len() + rest.len() <= VALUE_MAX => {
                    value.to_mut().extend_from_slice(rest);
                    continue;
                }
                Some((b' ', _)) => return Err(self.malformed("the value is longer than 65535 bytes")),
                None if name.is_empty() && line.is_some() => {
                    if first {
                        return Err(self.malformed("the file begins with an empty line"));
                    }
                    begins = *at;
                    continue;
                }
                _ => {}
            }
            // Whatever this line is, the value before it is complete.
            if !name.is_empty() {
                section.attributes.push((name, self.text(name, std::mem::take(&mut value))?));
            }
            match line {
                Some(line) if !line.is_empty() => {
                    let (begun, rest) = self.attribute(line)?;
                    (name, value) = (begun, Cow::Borrowed(rest));
                }
                _ => break,
            }
        }
        if section.attributes.is_empty() {
            return Ok(None);
        }
        if let Some(name) = section.has_twice() {
            return Err(self.malformed(format!("the section before it has {} twice", Quoted(name))));
        }
        section.raw = self.bytes.get(begins..*at).unwrap_or_default();
        section.line = self.line;
        Ok(Some(section))
    }

    /// The value of that attribute as text.
    fn text(&mut self, name: &str, value: Cow<'a, [u8]>) -> Result<Cow<'a, str>, Refusal> {
        let Some(left) = self.attributes_left.checked_sub(1) else {
            let detail = format!("{} has too many attributes", Quoted(self.file));
            return Err(limits::too_costly(detail));
        };
        self.attributes_left = left;
        let text = match value {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        text.ok_or_else(|| self.malformed(format!("the value of {} is not UTF-8", Quoted(name))))
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

    fn attribute(&self, line: &'a [u8]) -> Result<(&'a str, &'a [u8]), Refusal> {
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (name, rest) = line.split_at(colon);
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let well_formed = name.first().is_some_and(u8::is_ascii_alphanumeric) && name.iter().all(plain);
        match (std::str::from_utf8(name), rest.strip_prefix(b": ")) {
            (Ok(name), Some(value)) if well_formed && name.len() <= 70 && value.len() <= VALUE_MAX => {
                Ok((name, value))
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
        Manifest::parse(text.as_bytes(), "META-INF/MANIFEST.MF", &Limits::default())
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
                manifest.section("a/B.class").unwrap().raw,
                "Name: a/B.class\nD: 1\n\n".replace('\n', end).as_bytes()
            );
            assert_eq!(manifest.section("c").unwrap().raw, "Name: c\nD: 2\n".replace('\n', end).as_bytes());
        }
    }

    #[test]
    fn more_empty_lines_belong_to_no_section() {
        let manifest = parse("A: 1\n\n\n\nName: c\nD: 2\n\n\n").unwrap();
        assert_eq!(manifest.main.raw, b"A: 1\n\n");
        assert_eq!(manifest.section("c").unwrap().raw, b"Name: c\nD: 2\n\n");
    }

    #[test]
    fn a_character_may_be_wrapped_in_its_middle() {
        let bytes = b"A: \xc3\r\n \xa4\r\n\r\n";
        assert_eq!(
            Manifest::parse(bytes, "m", &Limits::default()).unwrap().main.attribute("A"),
            Some("\u{e4}")
        );
    }

    #[test]
    fn an_empty_file_has_an_empty_main_section() {
        let manifest = parse("").unwrap();
        assert!(manifest.main.attributes().next().is_none() && manifest.sections().next().is_none());
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
        let refusal = Manifest::parse(b"A: \xff\n", "m", &Limits::default()).unwrap_err();
        assert_eq!(refusal.reason, Reason::ManifestMalformed);
    }
}
