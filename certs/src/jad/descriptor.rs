//! Reads an application descriptor: lines of `Name: value` in UTF-8, none of which continues another. What the attributes
//! mean is asked in [`super`].

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::Limits;
use crate::verdict::{Quoted, Refusal};

use super::{CERTIFICATE, malformed};

/// The attributes of a descriptor.
#[derive(Debug)]
pub(super) struct Descriptor {
    attributes: Vec<(String, String)>,
}

impl Descriptor {
    /// Reads a descriptor. Lines end in CR LF, LF or CR, the last may have no end; empty ones count for nothing.
    ///
    /// # Errors
    /// `descriptor-malformed`, with the line at fault. Also two values for one attribute: readers differ in which counts.
    pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limits.signature {
            return Err(malformed("the descriptor is too large"));
        }
        let mut attributes = Vec::new();
        let mut seen = BTreeSet::new();
        let mut rest = bytes;
        let mut number = 0_usize;
        while !rest.is_empty() {
            number += 1;
            let length = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
            let (line, end) = rest.split_at(length);
            rest = end.strip_prefix(b"\r\n").or_else(|| end.get(1..)).unwrap_or_default();
            let wrong = |what: &str| malformed(format!("the descriptor, line {number}: {what}"));
            let line = std::str::from_utf8(line).map_err(|_| wrong("it is not UTF-8"))?;
            if line.is_empty() {
                continue;
            }
            if line.chars().any(|c| c.is_control() && c != '\t') {
                return Err(wrong("it holds a control character"));
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(wrong("it is not of the form `Name: value`"));
            };
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.bytes().all(plain) {
                return Err(wrong("it is not of the form `Name: value`"));
            }
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(wrong(&format!("{} stands there twice", Quoted(name))));
            }
            attributes.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self { attributes })
    }

    /// The value of an attribute; case counts, as MIDP 2.0 has it.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The attributes in their order.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The values of `MIDlet-Certificate-n-m`: for n from 1 on without a gap, those for m from 1 on without a gap.
    pub(super) fn chains(&self, most: usize, longest: usize) -> Result<Vec<Vec<&str>>, Refusal> {
        let mut numbered: BTreeMap<(usize, usize), &str> = BTreeMap::new();
        for (name, value) in self.attributes() {
            let Some(numbers) = name.strip_prefix(CERTIFICATE) else { continue };
            let pair = numbers.split_once('-').and_then(|(n, m)| Some((number(n)?, number(m)?)));
            let pair = pair.ok_or_else(|| malformed(format!("{} has no two numbers", Quoted(name))))?;
            numbered.insert(pair, value);
        }
        let mut chains: Vec<Vec<&str>> = Vec::new();
        for ((n, m), value) in numbered {
            if n == chains.len() + 1 && m == 1 && n <= most {
                chains.push(vec![value]);
                continue;
            }
            let open = chains.len();
            match chains.last_mut() {
                Some(chain) if n == open && m == chain.len() + 1 && m <= longest => chain.push(value),
                _ => {
                    return Err(malformed(format!(
                        "{CERTIFICATE}{n}-{m} is one too many, or one before it is missing"
                    )));
                }
            }
        }
        Ok(chains)
    }
}

/// A number from 1 on, written in the one way.
fn number(text: &str) -> Option<usize> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use mexe_model::Reason;

    use super::*;

    fn parse(text: &str) -> Result<Descriptor, Refusal> {
        Descriptor::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn lines_may_end_in_any_way_and_the_last_in_none() {
        for text in ["A: 1\r\nB:2\r\n\r\n", "A: 1\nB: \t2 \n", "A: 1\rB: 2", "\n\nA: 1\n\nB: 2"] {
            let read = parse(text).unwrap();
            assert_eq!((read.attribute("A"), read.attribute("B")), (Some("1"), Some("2")), "{text:?}");
            assert_eq!(read.attribute("a"), None);
        }
        assert_eq!(parse("URL: http://a:1/").unwrap().attribute("URL"), Some("http://a:1/"));
    }

    #[test]
    fn what_readers_could_take_in_two_ways_is_refused_with_its_line() {
        for (text, line) in [
            ("A: 1\nA: 2\n", 2),
            ("A: 1\na: 2\n", 2),
            ("A: 1\n continued\n", 2),
            ("A\n", 1),
            ("\u{feff}A: 1\n", 1),
            ("\n: 1\n", 2),
            ("A b: 1\n", 1),
            ("A: 1\0\n", 1),
            ("-A: 1\n", 1),
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!(refusal.reason, Reason::DescriptorMalformed, "{text:?}");
            assert!(refusal.detail.contains(&format!("line {line}:")), "{text:?}: {}", refusal.detail);
        }
        assert!(Descriptor::parse(b"A: \xff\n", &Limits::default()).is_err());
    }

    #[test]
    fn certificates_are_numbered_without_a_gap() {
        let chains = |names: &[&str]| {
            let text: String = names.iter().map(|n| format!("MIDlet-Certificate-{n}: {n}\n")).collect();
            parse(&text).unwrap().chains(3, 3).map(|all| all.iter().map(Vec::len).collect::<Vec<_>>())
        };
        assert_eq!(chains(&[]).unwrap(), [0; 0]);
        assert_eq!(chains(&["2-1", "1-2", "1-1"]).unwrap(), [2, 1]);
        for bad in [
            &["1-2"][..],
            &["2-1"],
            &["1-1", "1-3"],
            &["1-1", "3-1"],
            &["0-1"],
            &["1-0"],
            &["01-1"],
            &["1"],
            &["1-1", "1-2", "1-3", "1-4"],
            &["1-1", "2-1", "3-1", "4-1"],
            &["1-1-1"],
            &["-1"],
        ] {
            assert_eq!(chains(bad).unwrap_err().reason, Reason::DescriptorMalformed, "{bad:?}");
        }
    }
}
