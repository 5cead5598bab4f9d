//! Prefix codes, as tables that are looked up with the next bits of the stream: a root table for short codes, and for each
//! beginning that longer codes share a second one behind it.

use crate::Damaged;

/// What the next bits mean. From the lowest bit on:
///
/// - 6 bits: how many bits it takes from the stream, those that its value adds included;
/// - from bit 8, 4 bits: how many of them are its code, or with [`SECOND`] how many look up the second table;
/// - from bit 13, the flags [`SECOND`], [`END`] and [`RARE`];
/// - from bit 16, 15 bits: the byte, the least length or distance, or where the second table begins;
/// - [`LITERAL`].
pub(crate) type Entry = u32;

/// A byte that stands for itself.
pub(crate) const LITERAL: Entry = 1 << 31;
/// What is not met at each step: a second table, the end, or no code at all.
pub(crate) const RARE: Entry = 1 << 15;
/// The end of the block.
pub(crate) const END: Entry = 1 << 14;
/// Look further, in the second table.
pub(crate) const SECOND: Entry = 1 << 13;

/// Bits that are no code. One of them is enough to say so.
const NONE: Entry = RARE | 1;

/// How many bits it takes from the stream.
#[inline]
pub(crate) const fn taken(entry: Entry) -> u32 {
    entry & 0x3f
}

/// The number, byte or place that it has without its extra bits.
#[inline]
pub(crate) const fn base(entry: Entry) -> usize {
    ((entry >> 16) & 0x7fff) as usize
}

/// The length or distance, when `bits` come next.
#[inline]
pub(crate) fn value(entry: Entry, bits: u64) -> usize {
    let code = (entry >> 8) & 0xf;
    base(entry).wrapping_add(low(bits, taken(entry)) >> code)
}

/// The lowest `count` of `bits`, fewer than 32.
#[inline]
pub(crate) fn low(bits: u64, count: u32) -> usize {
    usize::try_from(bits & (1_u64 << (count & 0x1f)).wrapping_sub(1)).unwrap_or_default()
}

/// A code whose words have up to [`LONGEST`] bits; the first `ROOT` look up the root table. `SIZE` is what the root table and
/// all second ones can come to.
pub(crate) struct Codes<const ROOT: u32, const SIZE: usize> {
    entries: [Entry; SIZE],
}

/// For bytes, lengths and the end: 288 symbols.
pub(crate) type Symbols = Codes<11, 2342>;
/// For distances: 32 symbols.
pub(crate) type Distances = Codes<8, 402>;
/// For the lengths of the words of the other two.
pub(crate) type Lengths = Codes<7, 128>;

/// Bits of the longest word.
const LONGEST: usize = 15;
/// Symbols of the largest code.
const SYMBOLS: usize = 288;

/// What a code may leave unused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unused {
    /// Nothing, unless it has no words at all.
    Nothing,
    /// Half of it, too, next to a single word of one bit.
    OneWord,
}

impl<const ROOT: u32, const SIZE: usize> Codes<ROOT, SIZE> {
    pub(crate) const fn new() -> Self {
        Self { entries: [NONE; SIZE] }
    }

    /// What `bits` mean, or where to look further.
    #[inline]
    pub(crate) fn first(&self, bits: u64) -> Entry {
        self.entries.get(low(bits, ROOT)).copied().unwrap_or(NONE)
    }

    /// What `bits`, those behind the root's, mean to the second table that `entry` names.
    #[inline]
    pub(crate) fn second(&self, entry: Entry, bits: u64) -> Entry {
        let at = base(entry).wrapping_add(low(bits, (entry >> 8) & 0xf));
        self.entries.get(at).copied().unwrap_or(NONE)
    }

    /// What `bits` mean, of which only `held` are there, and how many of them looked up a second table; nothing when more are
    /// needed.
    pub(crate) fn among(&self, bits: u64, held: u32) -> Option<(Entry, u32)> {
        let mut entry = self.first(bits);
        let mut before = 0;
        if entry & SECOND != 0 {
            before = ROOT;
            entry = self.second(entry, bits >> ROOT);
        }
        (before + taken(entry) <= held).then_some((entry, before))
    }

    /// Takes over the code whose words have these lengths, 0 for none, symbol by symbol. `meaning` gives an entry that takes
    /// nothing but its extra bits yet.
    ///
    /// # Errors
    /// More words than there is room for, or more unused than `unused`.
    pub(crate) fn build(
        &mut self,
        lengths: &[u8],
        unused: Unused,
        meaning: impl Fn(usize) -> Entry,
    ) -> Result<(), Damaged> {
        let counts = counted(lengths);
        let longest = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        let mut room = 1_i32;
        let mut begins = [0_u16; LONGEST + 1];
        let mut sum = 0;
        for (count, begins) in counts.iter().zip(&mut begins).skip(1) {
            room = room * 2 - i32::from(*count);
            if room < 0 {
                return Err(Damaged);
            }
            *begins = sum;
            sum += count;
        }
        if room > 0 {
            if longest > 1 || longest == 1 && unused == Unused::Nothing {
                return Err(Damaged);
            }
            // It spreads over what no word takes. A complete code takes the whole root table, and every second one that this
            // points to.
            *self.entries.first_mut().ok_or(Damaged)? = NONE;
        }
        let mut sorted = [0_u16; SYMBOLS];
        for (symbol, length) in (0_u16..).zip(lengths).filter(|(_, length)| **length > 0) {
            let at = begins.get_mut(usize::from(*length)).ok_or(Damaged)?;
            *sorted.get_mut(usize::from(*at)).ok_or(Damaged)? = symbol;
            *at += 1;
        }
        self.fill(sorted.get(..usize::from(sum)).ok_or(Damaged)?, &counts, longest, meaning)
    }

    /// Fills the tables with the words of the symbols, which are sorted by the lengths of their words.
    fn fill(
        &mut self,
        sorted: &[u16],
        counts: &[u16; LONGEST + 1],
        longest: usize,
        meaning: impl Fn(usize) -> Entry,
    ) -> Result<(), Damaged> {
        let root = ROOT as usize;
        let mut symbols = sorted.iter().map(|symbol| usize::from(*symbol));
        let mut counted = (1..).zip(counts.iter().skip(1));
        // The next word, first bit highest.
        let mut word = 0_u16;
        for (length, count) in counted.by_ref().take(root) {
            // The words so far mean the same whatever the bit behind them.
            let half = 1 << (length - 1);
            let table = self.entries.get_mut(..2 * half).ok_or(Damaged)?;
            table.copy_within(..half, half);
            for symbol in symbols.by_ref().take(usize::from(*count)) {
                *table.get_mut(reversed(word, length)).ok_or(Damaged)? = with_code(meaning(symbol), length)?;
                word = word.wrapping_add(1);
            }
            word = word.wrapping_mul(2);
        }
        // For which beginning the last second table is, and where it begins and ends.
        let mut second = (usize::MAX, 0, 1 << root);
        for (length, count) in counted.take(longest.saturating_sub(root)) {
            let code = length - root;
            for (left, symbol) in (1..=*count).rev().zip(symbols.by_ref()) {
                let word_reversed = reversed(word, length);
                let beginning = word_reversed & ((1 << root) - 1);
                if second.0 != beginning {
                    let bits = second_bits(counts, root, length, left, longest);
                    second = (beginning, second.2, second.2 + (1 << bits));
                    *self.entries.get_mut(beginning).ok_or(Damaged)? = pointer(second.1, bits, ROOT)?;
                }
                let table = self.entries.get_mut(second.1..second.2).ok_or(Damaged)?;
                let entry = with_code(meaning(symbol), code)?;
                let places = table.iter_mut().skip(word_reversed >> root).step_by(1 << code);
                places.for_each(|place| *place = entry);
                word = word.wrapping_add(1);
            }
            word = word.wrapping_mul(2);
        }
        Ok(())
    }
}

/// How many words there are of each length.
fn counted(lengths: &[u8]) -> [u16; LONGEST + 1] {
    // Apart, because many of the same length follow each other, and each would wait for the one before it.
    let mut apart = [[0_u16; LONGEST + 1]; 4];
    for four in lengths.chunks(apart.len()) {
        for (counts, length) in apart.iter_mut().zip(four) {
            if let Some(count) = counts.get_mut(usize::from(*length & 0xf)) {
                *count += 1;
            }
        }
    }
    let [mut counts, others @ ..] = apart;
    for other in others {
        counts.iter_mut().zip(other).for_each(|(count, other)| *count += other);
    }
    counts[0] = 0;
    counts
}

/// The lowest `length` bits of a word as the stream has them, first bit lowest.
fn reversed(word: u16, length: usize) -> usize {
    usize::from(word.reverse_bits() >> (16 - length))
}

/// A meaning whose code looks up `length` bits.
fn with_code(meaning: Entry, length: usize) -> Result<Entry, Damaged> {
    let length = u32::try_from(length).map_err(|_| Damaged)?;
    Ok((meaning + length) | length << 8)
}

/// An entry that names the second table at `begins`, which the next `bits` bits look up.
fn pointer(begins: usize, bits: usize, root: u32) -> Result<Entry, Damaged> {
    let (begins, bits) = (u32::try_from(begins), u32::try_from(bits));
    let (begins, bits) = (begins.map_err(|_| Damaged)?, bits.map_err(|_| Damaged)?);
    Ok(RARE | SECOND | begins << 16 | bits << 8 | root)
}

/// How many bits look up the second table that begins with a word of `length`, when `left` of that length are still to come:
/// as many as the longest words of the same beginning need.
fn second_bits(counts: &[u16; LONGEST + 1], root: usize, length: usize, left: u16, longest: usize) -> usize {
    let mut bits = length - root;
    let mut room = (1_i32 << bits) - i32::from(left);
    while room > 0 && root + bits < longest {
        bits += 1;
        room = room * 2 - i32::from(counts.get(root + bits).copied().unwrap_or_default());
    }
    bits
}
