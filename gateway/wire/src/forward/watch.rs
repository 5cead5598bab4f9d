//! Reads the framing of all requests of one connection as the bytes come in, beside the HTTP parser and before it. It
//! finds what the parser settles silently: a `Content-Length` beside a `Transfer-Encoding`, in whichever request of a
//! kept-alive connection. Bodies are skipped, nothing is kept or copied. Called by the service's HTTP ingress with
//! everything that it reads.
//!
//! This reads strictly: a byte that two readers could take in two ways raises a doubt, and so does whatever this cannot
//! follow. What raises none has one reading, so that this and the parser agree on where each request begins.

use super::Malformed;
use super::chunks::{Chunks, Step};

/// What is wrong, and from which request on nothing of the connection can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The request, counted from 1.
    pub request: u64,
    /// Why.
    pub why: Malformed,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Watch {
    state: State,
    heads: u64,
    doubt: Option<Doubt>,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Sized(u64),
    Chunked(Chunks),
    /// After a doubt nothing is looked at any more.
    Lost,
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Watch {
    /// Takes the next bytes of the connection, however they are split.
    pub fn on_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Lost => return,
                State::Sized(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left = left.saturating_sub(taken as u64);
                    if *left == 0 {
                        self.state = State::default();
                    }
                    bytes.get(taken..).unwrap_or_default()
                }
                State::Chunked(chunks) => match chunks.on_bytes(bytes) {
                    Step::More => return,
                    Step::End(rest) => {
                        self.state = State::default();
                        rest
                    }
                    // Where the next request would begin is not known.
                    Step::Broken => return self.lose(self.heads.saturating_add(1), Malformed::Chunks),
                },
                State::Head(head) => {
                    let Some(rest) = head.on_bytes(bytes) else { return };
                    let framing = head.framing();
                    self.heads = self.heads.saturating_add(1);
                    match framing {
                        Ok(next) => self.state = next,
                        Err(why) => return self.lose(self.heads, why),
                    }
                    rest
                }
            };
        }
    }

    /// From where on the connection cannot be trusted, when there was a reason for doubt.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    fn lose(&mut self, request: u64, why: Malformed) {
        self.doubt = Some(Doubt { request, why });
        self.state = State::Lost;
    }
}

/// One request's head, so far.
#[derive(Debug, Default)]
struct Head {
    at: At,
    /// Whether the request line is over.
    requested: bool,
    name: Word,
    value: Word,
    length: Option<u64>,
    chunked: bool,
    wrong: Option<Malformed>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    /// After a carriage return at the start of a line.
    EmptyLine,
    Name,
    Value(Field),
    /// The rest of a line that says nothing about framing.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Length,
    Coding,
}

impl Head {
    /// Goes on to the end of the head; what follows it, or none when it goes on.
    fn on_bytes<'a>(&mut self, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
        while let Some((&byte, after)) = bytes.split_first() {
            bytes = after;
            match (self.at, byte) {
                // A parser skips empty lines before a request.
                (At::LineStart | At::EmptyLine, b'\n') if !self.requested => self.at = At::LineStart,
                (At::LineStart | At::EmptyLine, b'\n') => return Some(after),
                (At::LineStart, b'\r') => self.at = At::EmptyLine,
                (At::EmptyLine, _) => self.blame(Malformed::Head),
                (At::LineStart, b' ' | b'\t') => self.blame(Malformed::Head),
                (At::LineStart, _) if !self.requested => {
                    self.requested = true;
                    self.at = At::Rest;
                }
                (At::LineStart, byte) => {
                    self.name = Word::default();
                    self.name.push(byte);
                    self.at = At::Name;
                }
                (At::Name, b':') => self.begin_value(),
                (At::Name, b'\n') => self.blame_line(),
                // A blank before the colon is refused by the parser; until then it hides nothing.
                (At::Name, b' ' | b'\t' | b'\r') => {}
                (At::Name, byte) => self.name.push(byte),
                (At::Value(field), b'\n') => self.end_value(field),
                (At::Value(_), byte) => self.value.push(byte),
                (At::Rest, b'\n') => self.at = At::LineStart,
                (At::Rest, _) => match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(end) => bytes = bytes.get(end..).unwrap_or_default(),
                    None => return None,
                },
            }
        }
        None
    }

    fn blame(&mut self, why: Malformed) {
        self.wrong.get_or_insert(why);
        self.at = At::Rest;
    }

    fn blame_line(&mut self) {
        self.blame(Malformed::Head);
        self.at = At::LineStart;
    }

    fn begin_value(&mut self) {
        self.value = Word::default();
        self.at = match self.name.text() {
            Some(b"content-length") => At::Value(Field::Length),
            Some(b"transfer-encoding") => At::Value(Field::Coding),
            _ => At::Rest,
        };
    }

    fn end_value(&mut self, field: Field) {
        self.at = At::LineStart;
        let value = self.value.text().map(<[u8]>::trim_ascii);
        match field {
            Field::Length => match value.and_then(decimal) {
                Some(length) if self.length.is_none() => self.length = Some(length),
                _ => {
                    self.wrong.get_or_insert(Malformed::ContentLength);
                }
            },
            Field::Coding if value == Some(b"chunked") && !self.chunked => self.chunked = true,
            Field::Coding => {
                self.wrong.get_or_insert(Malformed::TransferEncoding);
            }
        }
    }

    /// How the body is framed.
    fn framing(&self) -> Result<State, Malformed> {
        match (self.wrong, self.length, self.chunked) {
            (Some(why), _, _) => Err(why),
            (None, Some(_), true) => Err(Malformed::Framing),
            (None, None, true) => Ok(State::Chunked(Chunks::default())),
            (None, Some(length @ 1..), false) => Ok(State::Sized(length)),
            (None, _, false) => Ok(State::default()),
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A short word in lower case, or that it is longer than any that matters.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; Self::LONGEST],
    length: usize,
}

impl Word {
    const LONGEST: usize = 32;

    fn push(&mut self, byte: u8) {
        // Blanks before a value do not count, so that they cannot crowd it out.
        if self.length == 0 && matches!(byte, b' ' | b'\t') {
            return;
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
        }
        self.length = self.length.saturating_add(1);
    }

    fn text(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
