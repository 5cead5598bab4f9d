//! What the command line prints, made safe for a terminal. Every verb's output goes through [`printable`], the JSON output
//! through the same rule in [`json_line`].

use std::io;

use mexe_model::printable::misleads;
pub use mexe_model::printable::printable;
use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

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
    fn json_is_safe_on_a_terminal_and_reads_back_equal() {
        let value = serde_json::json!({"name": "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}\"\\é", "n": [1, null]});
        let line = json_line(&value).unwrap();
        assert!(line.chars().all(|c| !misleads(c)), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }
}
