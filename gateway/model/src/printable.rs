//! Text that an app, a package or a server supplied, made safe to be read by a person: what moves a cursor, changes
//! colours, turns the reading direction or cannot be seen is shown as an escape. Used for terminals by the command line
//! and, before its own escaping, for HTML by the console. Markup is not this module's business.

use std::fmt;

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
pub fn misleads(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
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
}
