//! What stands before the symbols of a block: its kind, and the lengths of the words of its codes.

use std::sync::LazyLock;

use crate::codes::{Distances, END, Entry, LITERAL, Lengths, RARE, Symbols, Unused, base, low, taken};
use crate::quick::LIKELY;
use crate::{Damaged, Inflater, Step};

/// Lengths of words, as far as they have been read.
pub(crate) struct WordLengths {
    /// How many bytes, lengths and end there are, how many distances, and how many words for the lengths of those.
    symbols: usize,
    distances: usize,
    words: usize,
    /// How many of the words for lengths are known, and how many lengths.
    known_words: usize,
    known: usize,
    of_words: [u8; 19],
    lengths: [u8; 320],
    codes: Lengths,
}

impl WordLengths {
    pub(crate) const fn new() -> Self {
        Self {
            symbols: 0,
            distances: 0,
            words: 0,
            known_words: 0,
            known: 0,
            of_words: [0; 19],
            lengths: [0; 320],
            codes: Lengths::new(),
        }
    }
}

impl Inflater {
    /// A block begins.
    pub(crate) fn block(&mut self, input: &mut &[u8]) -> Result<bool, Damaged> {
        if !self.need(3, input) {
            return Ok(false);
        }
        self.is_last = self.take(1) == 1;
        self.step = match self.take(2) {
            0 => {
                self.skip(self.held & 7);
                Step::StoredLength
            }
            1 => {
                self.is_fixed = true;
                self.likely = 0;
                Step::Symbols
            }
            2 => Step::Counts,
            _ => return Err(Damaged),
        };
        Ok(true)
    }

    pub(crate) fn stored_length(&mut self, input: &mut &[u8]) -> Result<bool, Damaged> {
        if !self.need(32, input) {
            return Ok(false);
        }
        let (left, inverted) = (self.take(16), self.take(16));
        if left != inverted ^ 0xffff {
            return Err(Damaged);
        }
        self.step = Step::Stored { left };
        Ok(true)
    }

    pub(crate) fn counts(&mut self, input: &mut &[u8]) -> Result<bool, Damaged> {
        if !self.need(14, input) {
            return Ok(false);
        }
        let (symbols, distances, words) = (self.take(5) + 257, self.take(5) + 1, self.take(4) + 4);
        if symbols > 286 || distances > 30 {
            return Err(Damaged);
        }
        let lengths = &mut self.lengths;
        (lengths.symbols, lengths.distances, lengths.words) = (symbols, distances, words);
        (lengths.known_words, lengths.known) = (0, 0);
        lengths.of_words.fill(0);
        self.step = Step::Lengths;
        Ok(true)
    }

    pub(crate) fn word_lengths(&mut self, input: &mut &[u8]) -> Result<bool, Damaged> {
        while let Some(word) = ORDER.get(..self.lengths.words).and_then(|o| o.get(self.lengths.known_words)) {
            if !self.need(3, input) {
                return Ok(false);
            }
            let length = u8::try_from(self.take(3)).map_err(|_| Damaged)?;
            *self.lengths.of_words.get_mut(*word).ok_or(Damaged)? = length;
            self.lengths.known_words += 1;
            if self.lengths.known_words == self.lengths.words {
                let WordLengths { of_words, codes, .. } = &mut self.lengths;
                codes.build(of_words, Unused::Nothing, |word| entry(word, 0))?;
            }
        }
        let all = self.lengths.symbols + self.lengths.distances;
        while self.lengths.known < all {
            if !self.word_length(all, input)? {
                return Ok(false);
            }
        }
        let WordLengths { symbols, lengths, .. } = &self.lengths;
        let (of_symbols, of_distances) =
            lengths.get(..all).and_then(|l| l.split_at_checked(*symbols)).ok_or(Damaged)?;
        // As zlib does, before it looks at anything else.
        if of_symbols.get(256).is_none_or(|length| *length == 0) {
            return Err(Damaged);
        }
        self.is_fixed = false;
        self.symbols.build(of_symbols, Unused::OneWord, symbol)?;
        self.likely = likely(of_symbols);
        self.distances.build(of_distances, Unused::OneWord, distance)?;
        self.step = Step::Symbols;
        Ok(true)
    }

    /// Takes the next length, or the next repetition of one.
    fn word_length(&mut self, all: usize, input: &mut &[u8]) -> Result<bool, Damaged> {
        // The longest word, and the most extra bits.
        let _ = self.need(14, input);
        let entry = self.lengths.codes.first(self.bits);
        let word = base(entry);
        let (extra, least) = match word {
            16 => (2, 3),
            17 => (3, 3),
            18 => (7, 11),
            _ => (0, 1),
        };
        if self.held < taken(entry) + extra {
            return Ok(false);
        }
        let WordLengths { known, lengths, .. } = &mut self.lengths;
        let length = match word {
            16 => known.checked_sub(1).and_then(|last| lengths.get(last)).copied().ok_or(Damaged)?,
            17 | 18 => 0,
            _ => u8::try_from(word).map_err(|_| Damaged)?,
        };
        let times = least + low(self.bits >> taken(entry), extra);
        let end = *known + times;
        lengths.get_mut(..all).and_then(|l| l.get_mut(*known..end)).ok_or(Damaged)?.fill(length);
        *known = end;
        self.skip(taken(entry) + extra);
        Ok(true)
    }
}

/// The codes that need no lengths. A block that has them may be ten bits long, so they are made once.
pub(crate) static FIXED: LazyLock<(Symbols, Distances)> = LazyLock::new(|| {
    let mut lengths = [8; 288];
    lengths.iter_mut().take(256).skip(144).for_each(|length| *length = 9);
    lengths.iter_mut().take(280).skip(256).for_each(|length| *length = 7);
    let (mut symbols, mut distances) = (Symbols::new(), Distances::new());
    // Both are complete. If they were not, no word of theirs would mean anything.
    let _ = symbols.build(&lengths, Unused::Nothing, symbol);
    let _ = distances.build(&[5; 32], Unused::Nothing, distance);
    (symbols, distances)
});

/// The length of words for bytes that together take 13/16 of the code or more, as they do where contents do not pack; 0 when there
/// is none. What a word takes of its code is about how often it comes.
fn likely(lengths: &[u8]) -> u32 {
    let bytes = lengths.get(..256).unwrap_or_default();
    let nearly_all = |length: u8| {
        let words = bytes.iter().filter(|of| **of == length).count();
        words * 16 >= 13 << length
    };
    LIKELY.into_iter().find(|length| nearly_all(*length)).map_or(0, u32::from)
}

/// In which order the lengths of the words for lengths stand.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Least values, and how many extra bits add to them.
const LENGTHS: [(usize, Entry); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

fn symbol(symbol: usize) -> Entry {
    match symbol {
        0..=255 => entry(symbol, 0) | LITERAL,
        256 => RARE | END,
        _ => LENGTHS.get(symbol - 257).map_or(RARE, |(least, extra)| entry(*least, *extra)),
    }
}

fn distance(symbol: usize) -> Entry {
    match u32::try_from(symbol) {
        Ok(0..=3) => entry(symbol + 1, 0),
        // Two symbols for each number of extra bits.
        Ok(of @ 4..=29) => entry(1 + ((2 + symbol % 2) << (of / 2 - 1)), of / 2 - 1),
        _ => RARE,
    }
}

fn entry(base: usize, extra: Entry) -> Entry {
    u32::try_from(base).map_or(RARE, |base| base << 16 | extra)
}
