//! Unpacks raw DEFLATE data (RFC 1951) from pieces of any size into buffers of the caller, without keeping a window of its
//! own: what was unpacked last stays in the caller's buffer, where the next bytes are copied from.
//!
//! It takes and refuses what zlib takes and refuses; fuzzing and property tests hold it to that. It needs no memory but its
//! tables, has no unsafe code, and is there because one entry of a package can only be unpacked by one thread, from its
//! beginning to its end, which is most of what verifying a large package takes.

mod codes;
mod header;
mod quick;

use codes::{Distances, END, LITERAL, RARE, Symbols, base, low, taken, value};

/// How far back a copy can reach, bytes.
pub const HISTORY: usize = 32 * 1024;

/// How much room the output needs, bytes, before anything is unpacked into it: two bytes and the longest copy, 258, are made at
/// once, and the copy in pieces of 16.
pub const ROOM: usize = 320;

/// The data are not DEFLATE data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packed data are damaged")]
pub struct Damaged;

/// Why unpacking stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// All input is used; more must follow.
    Input,
    /// Fewer than [`ROOM`] bytes of the output are free.
    Output,
    /// The data have ended.
    End {
        /// So many bytes of what was used of the input stand behind them, and so does what is left of it.
        behind: u32,
    },
}

/// What is known of a stream between two pieces.
pub struct Inflater {
    /// The next bits of the stream, lowest first, and how many of them there are. Those above are zero.
    bits: u64,
    held: u32,
    /// Bytes that a copy can reach back to, at most [`HISTORY`].
    history: usize,
    step: Step,
    is_last: bool,
    lengths: header::WordLengths,
    symbols: Symbols,
    distances: Distances,
    /// The length that nearly all words in the block will have, all of them for bytes; 0 when there is none.
    likely: u32,
    /// The block has the fixed codes instead.
    is_fixed: bool,
}

/// What comes next in the stream.
#[derive(Clone, Copy)]
enum Step {
    Block,
    StoredLength,
    Stored { left: usize },
    Counts,
    Lengths,
    Symbols,
    End,
    Damaged,
}

impl Inflater {
    /// One that begins a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bits: 0,
            held: 0,
            history: 0,
            step: Step::Block,
            is_last: false,
            lengths: header::WordLengths::new(),
            symbols: Symbols::new(),
            distances: Distances::new(),
            likely: 0,
            is_fixed: false,
        }
    }

    /// Begins a new stream.
    pub const fn reset(&mut self) {
        (self.bits, self.held, self.history) = (0, 0, 0);
        (self.step, self.is_last) = (Step::Block, false);
    }

    /// Unpacks `input`, of which it leaves what it did not use, into `output` from `*at` on, which it moves to the end of what
    /// it wrote. Before `*at` must stand what was unpacked before, [`HISTORY`] bytes of it or all that there is; what stands
    /// behind the new `*at` means nothing.
    ///
    /// # Errors
    /// The data are damaged; they stay so until another stream begins.
    pub fn inflate(&mut self, input: &mut &[u8], output: &mut [u8], at: &mut usize) -> Result<Stop, Damaged> {
        let from = *at;
        let begin = from.saturating_sub(self.history);
        let stopped = self.steps(input, output, at, begin);
        if stopped.is_err() {
            self.step = Step::Damaged;
        }
        let made = at.checked_sub(from).ok_or(Damaged)?;
        self.history = self.history.saturating_add(made).min(HISTORY);
        stopped
    }

    fn steps(
        &mut self,
        input: &mut &[u8],
        output: &mut [u8],
        at: &mut usize,
        begin: usize,
    ) -> Result<Stop, Damaged> {
        loop {
            let more = match self.step {
                Step::Block => self.block(input)?,
                Step::StoredLength => self.stored_length(input)?,
                Step::Counts => self.counts(input)?,
                Step::Lengths => self.word_lengths(input)?,
                Step::Stored { left } => {
                    if self.stored(left, input, output, at) {
                        true
                    } else if !has_room(output, *at) {
                        return Ok(Stop::Output);
                    } else {
                        false
                    }
                }
                Step::Symbols => {
                    if !has_room(output, *at) {
                        return Ok(Stop::Output);
                    }
                    self.quickly(input, output, at, begin)?;
                    if matches!(self.step, Step::Symbols) && has_room(output, *at) {
                        self.symbol(input, output, at, begin)?
                    } else {
                        true
                    }
                }
                Step::Damaged => return Err(Damaged),
                Step::End => return Ok(Stop::End { behind: self.held / 8 }),
            };
            if !more {
                return Ok(Stop::Input);
            }
        }
    }

    /// Sees to it that `count` bits are held, at most 56; false when there are too few yet.
    fn need(&mut self, count: u32, input: &mut &[u8]) -> bool {
        while self.held < count {
            let Some((byte, rest)) = input.split_first() else { return false };
            self.bits |= u64::from(*byte) << (self.held & 0x3f);
            self.held += 8;
            *input = rest;
        }
        true
    }

    /// Takes `count` bits that are held, fewer than 32.
    fn take(&mut self, count: u32) -> usize {
        let taken = low(self.bits, count);
        self.skip(count);
        taken
    }

    fn skip(&mut self, count: u32) {
        self.bits >>= count & 0x3f;
        self.held = self.held.saturating_sub(count);
    }

    /// A block has ended.
    const fn block_ended(&mut self) {
        self.step = if self.is_last { Step::End } else { Step::Block };
    }

    fn stored(&mut self, left: usize, input: &mut &[u8], output: &mut [u8], at: &mut usize) -> bool {
        let mut left = left;
        while left > 0 && self.held >= 8 {
            let Some(place) = output.get_mut(*at) else { break };
            *place = self.bits.to_le_bytes()[0];
            self.skip(8);
            (left, *at) = (left - 1, *at + 1);
        }
        if self.held == 0 {
            let out = output.get_mut(*at..).unwrap_or_default();
            let length = left.min(out.len()).min(input.len());
            if let (Some(to), Some((from, rest))) = (out.get_mut(..length), input.split_at_checked(length)) {
                to.copy_from_slice(from);
                *input = rest;
                (left, *at) = (left - length, *at + length);
            }
        }
        self.step = Step::Stored { left };
        if left == 0 {
            self.block_ended();
        }
        left == 0
    }

    /// The codes of the block.
    fn codes(&self) -> (&Symbols, &Distances) {
        if self.is_fixed { (&header::FIXED.0, &header::FIXED.1) } else { (&self.symbols, &self.distances) }
    }

    /// Unpacks one symbol; false when its bits are not all there yet.
    fn symbol(
        &mut self,
        input: &mut &[u8],
        output: &mut [u8],
        at: &mut usize,
        begin: usize,
    ) -> Result<bool, Damaged> {
        // The longest word of each code, and the most extra bits.
        let _ = self.need(48, input);
        let (symbols, distances) = self.codes();
        let Some((entry, before)) = symbols.among(self.bits, self.held) else { return Ok(false) };
        let mut used = before + taken(entry);
        if entry & LITERAL != 0 {
            *output.get_mut(*at).ok_or(Damaged)? = base(entry).to_le_bytes()[0];
            *at += 1;
        } else if entry & END != 0 {
            self.block_ended();
        } else if entry & RARE != 0 {
            return Err(Damaged);
        } else {
            let length = value(entry, self.bits >> before);
            let (bits, held) = (self.bits >> used, self.held - used);
            let Some((entry, before)) = distances.among(bits, held) else { return Ok(false) };
            let distance = value(entry, bits >> before);
            if entry & RARE != 0 || distance > at.saturating_sub(begin) {
                return Err(Damaged);
            }
            used += before + taken(entry);
            quick::copy(output, *at, distance, length)?;
            *at += length;
        }
        self.skip(used);
        Ok(true)
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

fn has_room(output: &[u8], at: usize) -> bool {
    output.len().saturating_sub(at) >= ROOM
}
