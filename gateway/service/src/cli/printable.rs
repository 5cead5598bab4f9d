//! Text that an app, a package or a server supplied, made safe for a terminal: what moves the cursor, changes colours,
//! turns the reading direction or cannot be seen is shown as an escape. Every verb's output goes through here, the JSON
//! output through the same rule in [`json_line`].

use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

/// Shows text with every character that could mislead a reader or steer a terminal written as an escape. A backslash is
/// doubled, so that an escape that was in the text is told from one that was made here.
pub fn printable(text: &str) -> Printable<'_> {
    Printable(text)
}

/// Text as [`printable`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::fmt::Write;
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if misleads(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Whether the character steers a terminal, turns the reading direction, or is not seen.
fn misleads(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}

/// One JSON value on one line. The same characters are written as `\uXXXX`, which any reader of JSON takes back.
///
/// # Errors
/// When the value does not serialise.
pub fn json_line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Escaping(CompactFormatter)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The compact form, with misleading characters escaped inside strings.
struct Escaping(CompactFormatter);

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for c in fragment.chars() {
            if misleads(c) {
                for unit in c.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                write!(writer, "{c}")?;
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.0.write_char_escape(writer, escape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_or_a_reader_comes_through() {
        let shown = |text: &str| printable(text).to_string();
        assert_eq!(shown("Weather \u{1b}]0;x\u{7}"), "Weather \\u{1b}]0;x\\u{7}");
        assert_eq!(shown("evil\u{202e}gpj.exe"), "evil\\u{202e}gpj.exe");
        assert_eq!(shown("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(shown("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(shown("pay\u{200b}pal\u{2028}"), "pay\\u{200b}pal\\u{2028}");
        assert_eq!(shown("\u{e0041}"), "\\u{e0041}");
        assert_eq!(shown("\\u{202e}"), "\\\\u{202e}");
    }

    #[test]
    fn ordinary_text_of_any_script_stays() {
        for text in ["Wetter für Zürich", "天気", "погода", "طقس", "a b-c_d.e:443"] {
            assert_eq!(printable(text).to_string(), text);
        }
    }

    #[test]
    fn json_is_safe_on_a_terminal_and_reads_back_equal() {
        let value = serde_json::json!({"name": "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}\"\\é", "n": [1, null]});
        let line = json_line(&value).unwrap();
        assert!(line.chars().all(|c| !misleads(c)), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }
}
