//! Finds the end of a chunked body (RFC 9112, 7.1) without looking at its data. Every line must end in CR LF; what comes
//! near to a chunk and is none is told as broken, never guessed at. Called by `watch`.

/// Where a chunked body is.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Of the chunk that is being read.
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    Start,
    Size,
    /// Blanks after a size.
    Blank,
    Extension,
    SizeEnd,
    Data,
    DataReturn,
    DataEnd,
    TrailerStart,
    Trailer,
    TrailerEnd,
    LastEnd,
}

/// What came of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// All of them belong to the body, and it goes on.
    More,
    /// The body is over; these come after it.
    End(&'a [u8]),
    /// This is no chunked body.
    Broken,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Start, size: 0 }
    }
}

impl Chunks {
    pub(super) fn on_bytes<'a>(&mut self, mut bytes: &'a [u8]) -> Step<'a> {
        while let Some((&byte, after)) = bytes.split_first() {
            if self.at == At::Data {
                let taken = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len());
                self.size = self.size.saturating_sub(taken as u64);
                bytes = bytes.get(taken..).unwrap_or_default();
                if self.size == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            bytes = after;
            let digit = char::from(byte).to_digit(16).map(u64::from);
            self.at = match (self.at, byte) {
                (At::Start | At::Size, _) if digit.is_some() => {
                    let grown =
                        self.size.checked_mul(16).zip(digit).and_then(|(size, d)| size.checked_add(d));
                    let Some(size) = grown else { return Step::Broken };
                    self.size = size;
                    At::Size
                }
                (At::Size | At::Blank, b' ' | b'\t') => At::Blank,
                (At::Size | At::Blank, b';') => At::Extension,
                (At::Size | At::Blank | At::Extension, b'\r') => At::SizeEnd,
                (At::Extension, byte) if byte != b'\n' => At::Extension,
                (At::SizeEnd, b'\n') if self.size == 0 => At::TrailerStart,
                (At::SizeEnd, b'\n') => At::Data,
                (At::DataReturn, b'\r') => At::DataEnd,
                (At::DataEnd, b'\n') => At::Start,
                (At::TrailerStart, b'\r') => At::LastEnd,
                (At::TrailerStart | At::Trailer, byte) if byte != b'\r' && byte != b'\n' => At::Trailer,
                (At::Trailer, b'\r') => At::TrailerEnd,
                (At::TrailerEnd, b'\n') => At::TrailerStart,
                (At::LastEnd, b'\n') => return Step::End(bytes),
                _ => return Step::Broken,
            };
        }
        Step::More
    }
}
