//! Telephone numbers and tones as an app writes them, made into the one canonical string that is shown to the user,
//! written down and sent to the modem (security.md S24). A [`Number`] or [`Tones`] has no other bytes than its grammar
//! allows, so nothing in it can end a command or begin another; and a [`Number`] is no emergency number.
//!
//! Whether a call is *allowed* is decided by the permission engine. Called by the service; crate mexe-card dials.

use std::collections::BTreeSet;
use std::fmt;

use mexe_model::Reason;
use zeroize::Zeroizing;

/// The most digits that a number has.
pub const DIGITS_MAX: usize = 20;
/// The most tones of one burst.
pub const TONES_MAX: usize = 32;
/// The longest service code.
pub const CODE_MAX: usize = 40;
/// A text with more separators than this is none that anybody wrote.
const TEXT_MAX: usize = 64;

/// Numbers that call for help. They are the user's alone: no app dials them, whatever is permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmergencyNumbers(BTreeSet<String>);

impl Default for EmergencyNumbers {
    /// Those that a device knows without a card (TS 22.101, 10.1.1; recalled, not read): the ones for every card as
    /// well as the ones for none, because an app has no use for any.
    fn default() -> Self {
        let general = ["000", "08", "110", "112", "118", "119", "911", "999"];
        Self(general.into_iter().map(str::to_owned).collect())
    }
}

impl EmergencyNumbers {
    /// Adds one: of the card, of the network, of the configuration.
    ///
    /// # Errors
    /// It is no number.
    pub fn add(&mut self, text: &str) -> Result<(), NumberError> {
        self.0.insert(digits_of(&canonical(text)?).to_owned());
        Ok(())
    }

    /// Whether this canonical number is one, also behind a `+`, which some modems drop.
    fn has(&self, number: &str) -> bool {
        self.0.contains(digits_of(number))
    }
}

/// A telephone number that may be dialled: `+?[0-9]{1,20}`, and no emergency number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(Box<str>);

impl Number {
    /// Reads what an app or a user wrote: digits with a `+` before them or not. Separators for the eye (blank, `-`, `.`,
    /// `(`, `)`) are left out.
    ///
    /// # Errors
    /// It is no number, or one that is never dialled as a call.
    pub fn parse(text: &str, emergency: &EmergencyNumbers) -> Result<Self, NumberError> {
        let number = canonical(text)?;
        if emergency.has(&number) {
            return Err(NumberError::Emergency);
        }
        if is_short_string(&number) {
            return Err(NumberError::SupplementaryService);
        }
        Ok(Self(number.into()))
    }

    /// The canonical string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Why a text is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// It calls for help.
    #[error("an emergency number is dialled by the user alone: use the telephone itself")]
    Emergency,
    /// It is no telephone number.
    #[error("not a telephone number: write 1 to 20 digits, with a `+` before them or not")]
    Malformed,
    /// It would be a request to the network: anything with `*` or `#`, and what is too short to be anything else. Its
    /// action is `network.supplementary-service`; it is never dialled as a call. See [`ServiceCode`].
    #[error(
        "neither a telephone number nor a whole service code: write three digits or more, or a code as in *100#"
    )]
    SupplementaryService,
}

impl NumberError {
    /// The reason that is written down.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Emergency => Reason::EmergencyNumber,
            Self::Malformed | Self::SupplementaryService => Reason::RequestMalformed,
        }
    }
}

/// `+?[0-9]{1,20}` of it.
fn canonical(text: &str) -> Result<String, NumberError> {
    if text.contains(['*', '#']) {
        return Err(NumberError::SupplementaryService);
    }
    if text.len() > TEXT_MAX {
        return Err(NumberError::Malformed);
    }
    let mut number = String::new();
    for c in text.chars() {
        match c {
            ' ' | '-' | '.' | '(' | ')' => {}
            '+' if number.is_empty() => number.push(c),
            '0'..='9' => number.push(c),
            _ => return Err(NumberError::Malformed),
        }
    }
    match digits_of(&number).len() {
        1..=DIGITS_MAX => Ok(number),
        _ => Err(NumberError::Malformed),
    }
}

fn digits_of(number: &str) -> &str {
    number.strip_prefix('+').unwrap_or(number)
}

/// A request to the network for a supplementary service: begins with `*` or `#` and ends with `#`, digits, `*`, `#` and `+`
/// between them. What does not end so would begin a call on its way (`*31#` and a number), and is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceCode(Box<str>);

impl ServiceCode {
    /// Reads what an app wrote; separators for the eye are left out as in [`Number::parse`].
    ///
    /// # Errors
    /// It is no such code.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        let code: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
        let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'*' | b'#' | b'+');
        let whole = code.starts_with(['*', '#']) && code.ends_with('#') && code.len() > 2;
        match whole && text.len() <= TEXT_MAX && code.len() <= CODE_MAX && code.bytes().all(plain) {
            true => Ok(Self(code.into())),
            false => Err(NumberError::SupplementaryService),
        }
    }

    /// Whether a text means one, rather than a number.
    pub fn is_meant(text: &str) -> bool {
        text.contains(['*', '#'])
    }

    /// The canonical string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a device sends as USSD though it has neither `*` nor `#`: one or two digits, but for those that begin with 1
/// (TS 22.030, 6.5.3.2; recalled, not read). One digit alone steers the calls that there are.
fn is_short_string(number: &str) -> bool {
    match number.as_bytes() {
        [b'1', _] => false,
        [_] | [b'0'..=b'9', _] => true,
        _ => false,
    }
}

/// One tone: `0` to `9`, `*`, `#`, `A` to `D`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tone(char);

impl Tone {
    /// As it is sent.
    pub const fn as_char(self) -> char {
        self.0
    }
}

impl fmt::Debug for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tone(..)")
    }
}

/// Tones for a call: `[0-9*#A-D]{1,32}`. They may well be a PIN: wiped on drop and never in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Tones(Zeroizing<String>);

impl Tones {
    /// Reads what an app wrote; `a` to `d` are taken for `A` to `D`.
    ///
    /// # Errors
    /// It is empty, too long, or holds anything else.
    pub fn parse(text: &str) -> Result<Self, TonesError> {
        let plain = |c: char| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D' | 'a'..='d');
        if text.is_empty() || text.len() > TONES_MAX || !text.chars().all(plain) {
            return Err(TonesError);
        }
        Ok(Self(Zeroizing::new(text.to_ascii_uppercase())))
    }

    /// The canonical string: for the user's prompt and for a keyed hash, never for a log.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Tone> + '_ {
        self.0.chars().map(Tone)
    }
}

impl fmt::Debug for Tones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tones(..)")
    }
}

/// The text is no burst of tones. What it was is not said: it may be a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not tones: write 1 to 32 of 0 to 9, `*`, `#`, A to D")]
pub struct TonesError;

impl TonesError {
    /// The reason that is written down.
    pub const fn reason(self) -> Reason {
        Reason::RequestMalformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<String, NumberError> {
        Number::parse(text, &EmergencyNumbers::default()).map(|number| number.to_string())
    }

    #[test]
    fn a_number_has_one_form_however_it_is_written() {
        for text in ["+493012345", "+49 30 12345", "+49-30-12345", "(+49) 30.12345", " +49 (30) 12345 "] {
            assert_eq!(number(text), Ok("+493012345".into()), "{text:?}");
        }
        assert_eq!(number("030 12345"), Ok("03012345".into()));
        assert_eq!(number("12345678901234567890"), Ok("12345678901234567890".into()));
        assert_eq!(number("10"), Ok("10".into()));
    }

    #[test]
    fn a_service_code_is_whole_and_begins_no_call() {
        let code = |text: &str| ServiceCode::parse(text).map(|code| code.to_string());
        for text in ["*100#", "#100#", "##002#", "**21*+493012345#", "*#06#", " *21*0301 2345-6# "] {
            let canonical: String = text.chars().filter(|c| !" -".contains(*c)).collect();
            assert_eq!(code(text), Ok(canonical), "{text:?}");
        }
        let long = format!("*{}#", "1".repeat(39));
        for text in [
            "*31#03012345",
            "#31#112",
            "*100",
            "100#",
            "*#",
            "#",
            "*",
            "",
            "112",
            "*100#;",
            "*100#\r",
            "*1a#",
            "*100\u{202e}#",
            "*1\"#",
            "*1,15#",
            "*\u{661}#",
            &long,
        ] {
            assert_eq!(code(text), Err(NumberError::SupplementaryService), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_malformed() {
        let long = "1".repeat(21);
        let spaced = format!("{}123", " ".repeat(70));
        for text in [
            "",
            "+",
            " ",
            "--",
            "++49",
            "4+9",
            "123;",
            "123\r",
            "123\n456",
            "123\0",
            "12\u{b}3",
            "123\t",
            "123,4",
            "123p4",
            "123w",
            "T123",
            "123i",
            "123G",
            "+CHUP",
            "\"123\"",
            "123>",
            "anna",
            "123\u{a0}4",
            "١٢٣",
            "1２3",
            "1²3",
            "tel:123",
            "123@x",
            &long,
            &spaced,
        ] {
            assert_eq!(number(text), Err(NumberError::Malformed), "{text:?}");
        }
        assert_eq!(NumberError::Malformed.reason().code(), "request-malformed");
    }

    #[test]
    fn codes_for_the_network_are_told_apart_from_calls() {
        for text in ["*100#", "#31#03012345", "*31#112", "**21*123#", "123#", "12*3;", "5", "22", "00", "1"] {
            assert_eq!(number(text), Err(NumberError::SupplementaryService), "{text:?}");
        }
    }

    #[test]
    fn emergency_numbers_are_never_dialled() {
        for text in ["112", "911", "999", "000", "08", "110", "118", "119", "1-1-2", "+112", "(9) 11"] {
            assert_eq!(number(text), Err(NumberError::Emergency), "{text:?}");
        }
        assert_eq!(NumberError::Emergency.reason().code(), "emergency-number");
        // More digits are another number.
        assert_eq!(number("1123"), Ok("1123".into()));
        let mut known = EmergencyNumbers::default();
        known.add("1 22").unwrap();
        assert_eq!(known.add("12;3"), Err(NumberError::Malformed));
        assert_eq!(Number::parse("122", &known), Err(NumberError::Emergency));
        assert_eq!(Number::parse("112", &known), Err(NumberError::Emergency));
        assert_eq!(number("122"), Ok("122".into()));
    }

    #[test]
    fn tones_are_folded_and_shown_to_nobody() {
        let tones = Tones::parse("12#*aBcD0").unwrap();
        assert_eq!(tones.as_str(), "12#*ABCD0");
        assert_eq!(tones.iter().map(Tone::as_char).collect::<String>(), "12#*ABCD0");
        assert_eq!(format!("{tones:?} {:?}", tones.iter().next()), "Tones(..) Some(Tone(..))");
        assert!(Tones::parse(&"1".repeat(32)).is_ok());
        let long = "1".repeat(33);
        for text in ["", "E", "e", "1 2", "1;2", "1\r", "1,2", "\"1\"", "+1", "٣", "1\0", &long] {
            assert_eq!(Tones::parse(text), Err(TonesError), "{text:?}");
        }
        assert_eq!(TonesError.reason().code(), "request-malformed");
    }
}
